//! From a configuration file to a running daemon: VPC, policy, ports, workers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use palisade_engine::Engine;
use palisade_io::{Port, TakeoverMethod};
use palisade_policy::model::Vpc;
use palisade_policy::{PortKey, Snapshot};
use palisade_runtime::{Clock, Dataplane, Judge, Options};

use super::Daemon;
use super::flow_logs::FlowLogs;
use super::ports::{Attached, Devices, PortPlan};
use crate::failure::Failure;

/// What a daemon is given besides its configuration.
pub(crate) struct Settings {
    /// How the kernel's own stack is kept off the interfaces of packet attachments.
    pub(crate) takeover: TakeoverMethod,
    /// Holds the state of connections and fragments.
    pub(crate) engine: Arc<Engine>,
    /// Judges frames: the engine, or somebody who asks it.
    pub(crate) judge: Arc<dyn Judge>,
    /// Where ports get their devices.
    pub(crate) devices: Arc<dyn Devices>,
    /// Where the time comes from.
    pub(crate) clock: Clock,
}

impl Daemon {
    /// Opens every port and starts to forward. `config` is where a reload reads the VPC again.
    ///
    /// # Errors
    /// A port cannot be opened or a worker not be started; what was opened is closed again, nothing forwards.
    pub(crate) fn start(config: PathBuf, vpc: Vpc, settings: Settings) -> Result<Self, Failure> {
        let daemon = vpc.daemon.clone();
        let Settings { takeover, engine, judge, devices, clock } = settings;
        let snapshot = Arc::new(Snapshot::compile(vpc, None));
        let coverage = Arc::default();
        let flow_logs = FlowLogs::start(&snapshot, Arc::clone(&coverage), clock.clone())?;
        let (known, ports) = open_all(&*devices, &snapshot, takeover)?;
        let options = Options {
            workers: daemon.workers.unwrap_or_else(Options::suitable_workers),
            by_load: daemon.workers.is_none(),
            worker_cpus: daemon.worker_cpus.clone(),
            latency: daemon.latency,
            clock,
            flow_cache: usize::try_from(daemon.flow_cache).unwrap_or(usize::MAX),
            gro: daemon.gro,
            coverage,
            ..Options::default()
        };
        let dataplane = Dataplane::start(judge, snapshot, Vec::new(), options)
            .and_then(|dataplane| {
                flow_logs.attach(dataplane.trays());
                let mut ports = ports.into_iter();
                let added =
                    ports.try_for_each(|(key, port)| dataplane.add_port(key, port, known[&key].plan.worker));
                added.map(|()| dataplane)
            })
            .map_err(|error| Failure::new(error, "nothing is forwarded; see the log above"))?;
        Ok(Self {
            config,
            engine,
            dataplane,
            takeover,
            devices,
            ports: Mutex::new(known),
            stopped: AtomicBool::new(false),
            listing: Mutex::default(),
            flow_logs,
            settings: daemon,
            started: Instant::now(),
        })
    }
}

/// The engine that a configuration asks for.
pub(crate) fn engine(vpc: &Vpc) -> Arc<Engine> {
    Arc::new(Engine::new(usize::try_from(vpc.daemon.max_connections).unwrap_or(usize::MAX)))
}

type Opened = (BTreeMap<PortKey, Attached>, Vec<(PortKey, Port)>);

/// Opens the ports of a policy, all of them or none.
fn open_all(devices: &dyn Devices, snapshot: &Snapshot, takeover: TakeoverMethod) -> Result<Opened, Failure> {
    let (mut attached, mut ports) = (BTreeMap::new(), Vec::new());
    for plan in PortPlan::all(snapshot, takeover) {
        let (open, port) = devices.open(&plan, snapshot.generation())?;
        attached.insert(plan.key, open);
        ports.push((plan.key, port));
    }
    Ok((attached, ports))
}
