//! The daemon: configuration, policy, ports and workers put together, and what can be asked of them while they run.
//!
//! Owned by `run`, shared with the threads that answer control requests. The list of ports is guarded by a lock that a
//! reload holds from its first device to its last, so that reloads exclude each other; everything else is shared as it is.

mod assemble;
mod conns;
mod flow_logs;
mod plan;
mod ports;
mod reload;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use palisade_engine::{Engine, Received};
use palisade_io::TakeoverMethod;
use palisade_policy::model::Daemon as DaemonSettings;
use palisade_policy::{EniKey, PortKey, Snapshot};
use palisade_runtime::{Dataplane, PortStatus};
use palisade_scenario::notation::{self, NotationError};

use crate::control::protocol::{Code, FlowsRequest, Refusal, Request};
use crate::control::server::Backend;
use crate::report::explain::ExplainReport;
use crate::report::flows::FlowsReport;
use crate::report::mirror::MirrorReport;
use crate::report::rules::RulesReport;
use crate::report::status::{Allowance, Connections, PortReport, StatusReport};
use crate::report::totals::TotalsReport;

use flow_logs::FlowLogs;

pub(crate) use assemble::{Settings, engine};
pub(crate) use ports::{Attached, Devices, Opener, PortPlan, PortSpec};

/// A running daemon.
#[derive(Debug)]
pub(crate) struct Daemon {
    config: PathBuf,
    engine: Arc<Engine>,
    dataplane: Dataplane,
    takeover: TakeoverMethod,
    devices: Arc<dyn Devices>,
    ports: Mutex<BTreeMap<PortKey, Attached>>,
    /// Set under the lock of `ports`, after which a reload comes too late.
    stopped: AtomicBool,
    /// Held while the table of connections is listed.
    listing: Mutex<()>,
    flow_logs: FlowLogs,
    /// Settings at the start; a reload does not change them.
    settings: DaemonSettings,
    started: Instant,
}

impl Daemon {
    /// The configuration file, as an absolute path.
    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    /// What judges packets.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What forwards them.
    pub(crate) const fn dataplane(&self) -> &Dataplane {
        &self.dataplane
    }

    /// Whether ports are moved between several workers as there is work.
    pub(crate) const fn leaves_workers_to_the_load(&self) -> bool {
        self.settings.workers.is_none()
    }

    /// How many ports are attached.
    pub(crate) fn port_count(&self) -> usize {
        self.ports().len()
    }

    /// What it does.
    pub(crate) fn status(&self) -> StatusReport {
        let ports = self.ports();
        let status = self.dataplane.status();
        let snapshot = self.dataplane.snapshot();
        let connections = Connections::new(
            status.connections,
            self.settings.max_connections.into(),
            self.allowances(&snapshot),
        );
        StatusReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            vpc: snapshot.vpc().id.clone(),
            config: self.config.display().to_string(),
            generation: status.generation,
            published_generation: status.published_generation,
            uptime_seconds: self.started.elapsed().as_secs(),
            workers: status.workers.into_iter().map(Into::into).collect(),
            ports: describe(&ports, &status.ports, |eni| self.dataplane.allowance_exceeded(eni)),
            counters: (&status.counters).into(),
            connections,
            held: status.holding.into(),
            flow_logs: self.flow_logs.report(&snapshot),
        }
    }

    /// Rules in force.
    pub(crate) fn rules(&self) -> RulesReport {
        RulesReport::new(&self.dataplane.snapshot(), |slot| self.dataplane.rule_hits(slot))
    }

    /// Mirror sessions.
    fn mirror(&self) -> MirrorReport {
        MirrorReport::new(&self.dataplane.snapshot(), |session| self.dataplane.copies_of(session))
    }

    /// Flows, watched for a while from now on.
    ///
    /// # Errors
    /// A filter word is none, or names what there is not.
    fn flows(&self, request: &FlowsRequest) -> Result<FlowsReport, Refusal> {
        let report = self.flow_logs.watch(request)?;
        if report.watched_seconds == 0 {
            // What a worker that sleeps has counted before is handed over, so that nothing new is added to it.
            self.dataplane.wake();
        }
        Ok(report)
    }

    /// What would happen to a packet.
    ///
    /// # Errors
    /// The text is not a packet of this VPC.
    pub(crate) fn explain(&self, packet: &str) -> Result<ExplainReport, Refusal> {
        let snapshot = self.dataplane.snapshot();
        explain(&self.engine, &snapshot, self.dataplane.now(), packet)
            .map_err(|error| Refusal::new(Code::BadRequest, format!("`{packet}`: {error}"), NOTATION_HELP))
    }

    /// Stops forwarding, closes the ports and sums up.
    pub(crate) fn stop(&self) -> TotalsReport {
        // A reload that is under way ends first.
        let mut ports = self.ports();
        self.stopped.store(true, Ordering::Relaxed);
        let generation = self.dataplane.snapshot().generation();
        let mut totals = self.dataplane.stop();
        ports.clear();
        totals.laws.extend(self.flow_logs.stop(totals.counters.sides.logged));
        TotalsReport {
            uptime_seconds: self.started.elapsed().as_secs(),
            generation,
            lawful: totals.lawful(),
            totals,
        }
    }

    fn allowances(&self, snapshot: &Snapshot) -> Vec<Allowance> {
        let now = self.dataplane.now().monotonic;
        let vpc = snapshot.vpc();
        let mut found = BTreeMap::new();
        for eni in snapshot.enis() {
            let instance = &vpc[vpc[eni.index].instance];
            found.entry(eni.instance).or_insert_with(|| {
                let tracked = self.engine.connections().tracked(eni.instance.0, now);
                Allowance {
                    instance: instance.name.clone(),
                    id: instance.id.clone(),
                    tracked,
                    limit: eni.max_tracked,
                    conntrack_allowance_available: eni.max_tracked.saturating_sub(tracked),
                }
            });
        }
        found.into_values().collect()
    }

    fn ports(&self) -> MutexGuard<'_, BTreeMap<PortKey, Attached>> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for Daemon {
    fn answer(&self, request: Request) -> Result<String, Refusal> {
        let answer = match request {
            Request::Status {} => serde_json::to_string(&self.status()),
            Request::Conns(request) => serde_json::to_string(&self.conns(&request)?),
            Request::KillConns(request) => serde_json::to_string(&self.kill(&request)?),
            Request::Rules {} => serde_json::to_string(&self.rules()),
            Request::Mirror {} => serde_json::to_string(&self.mirror()),
            Request::Flows(request) => serde_json::to_string(&self.flows(&request)?),
            Request::Explain { packet } => serde_json::to_string(&self.explain(&packet)?),
            Request::Reload {} => serde_json::to_string(&self.reload()?),
            Request::Version {} => {
                Ok(serde_json::json!({ "version": env!("CARGO_PKG_VERSION") }).to_string())
            }
        };
        answer.map_err(|error| Refusal::new(Code::Internal, error.to_string(), "report a bug"))
    }
}

/// What to do about a packet that cannot be read.
pub(crate) const NOTATION_HELP: &str =
    "write it as `tcp 10.0.1.10:40000 > 10.0.2.10:443 syn`; see `palisade explain --help`";

/// Walks a packet without sending it.
pub(crate) fn explain(
    engine: &Engine,
    snapshot: &Snapshot,
    now: palisade_engine::Now,
    packet: &str,
) -> Result<ExplainReport, NotationError> {
    let frame = notation::parse(packet)?.frame(snapshot)?;
    let received = Received { vnet: frame.vnet, ..Received::default() };
    Ok(engine.explain(snapshot, now, frame.port, &frame.bytes, received).into())
}

/// Joins what the runtime knows of ports with how they were opened.
fn describe(
    attached: &BTreeMap<PortKey, Attached>,
    running: &[PortStatus],
    allowance_exceeded: impl Fn(EniKey) -> u64,
) -> Vec<PortReport> {
    let find = |port: &Attached| {
        let is_it = |status: &&PortStatus| {
            status.service == port.plan.is_service()
                && status.owner.as_deref() == Some(port.plan.name.as_str())
        };
        let exceeded = match port.plan.key {
            PortKey::Eni(key) => Some(allowance_exceeded(key)),
            PortKey::Service(_) => None,
        };
        running.iter().find(is_it).map(|status| port.describe(status, exceeded))
    };
    attached.values().filter_map(find).collect()
}
