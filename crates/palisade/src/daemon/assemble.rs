//! From a configuration file to a running daemon: VPC, policy, ports, workers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use palisade_engine::Engine;
use palisade_io::{Port, TakeoverMethod};
use palisade_policy::model::Vpc;
use palisade_policy::{PortKey, Snapshot};
use palisade_runtime::{Dataplane, Options};

use super::Daemon;
use super::ports::{Attached, Opener, PortPlan};
use crate::failure::Failure;

/// What the command line says of a daemon, besides its configuration.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// How the kernel's own stack is kept off the interfaces of packet attachments.
    pub(crate) takeover: TakeoverMethod,
    /// Directory of captures.
    pub(crate) capture: Option<PathBuf>,
    /// How long a worker polls after a frame before it sleeps.
    pub(crate) spin: Duration,
}

impl Daemon {
    /// Opens every port and starts to forward. `config` is where a reload reads the VPC again.
    ///
    /// # Errors
    /// A port cannot be opened or a worker not be started; what was opened is closed again, nothing forwards.
    pub(crate) fn start(config: PathBuf, vpc: Vpc, settings: Settings) -> Result<Self, Failure> {
        let daemon = vpc.daemon.clone();
        let Settings { takeover, capture, spin } = settings;
        let opener = Opener { takeover, capture };
        let snapshot = Arc::new(Snapshot::compile(vpc, None));
        let engine = Arc::new(Engine::new(usize::try_from(daemon.max_connections).unwrap_or(usize::MAX)));
        let (known, ports) = open_all(&opener, &snapshot)?;
        let options = Options { workers: daemon.workers, spin, ..Options::default() };
        let judge = Arc::clone(&engine);
        let dataplane = Dataplane::start(judge, snapshot, ports, options)
            .map_err(|error| Failure::new(error, "nothing is forwarded; see the log above"))?;
        Ok(Self {
            config,
            engine,
            dataplane,
            opener,
            ports: Mutex::new(known),
            stopped: AtomicBool::new(false),
            settings: daemon,
            started: Instant::now(),
        })
    }
}

type Opened = (BTreeMap<PortKey, Attached>, Vec<(PortKey, Port)>);

/// Opens the ports of a policy, all of them or none.
fn open_all(opener: &Opener, snapshot: &Snapshot) -> Result<Opened, Failure> {
    let (mut attached, mut ports) = (BTreeMap::new(), Vec::new());
    for plan in PortPlan::all(snapshot, opener.takeover) {
        let (open, port) = opener.open(&plan, snapshot.generation())?;
        attached.insert(plan.key, open);
        ports.push((plan.key, port));
    }
    Ok((attached, ports))
}
