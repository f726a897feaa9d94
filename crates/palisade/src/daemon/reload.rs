//! Reload: a changed configuration in force as a whole, or not at all.
//!
//! Order: read and compile; open new devices beside the old ones; close the ports that are in the way; open what they
//! were in the way of; attach; publish; close what is left over. Until the policy is published every step has a way
//! back, so an error leaves ports and policy as they were. Ports come before the policy that knows them: until then the
//! engine drops what comes in by them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use palisade_flowlog::FlowLog;
use palisade_io::Port;
use palisade_policy::diagnostics::Style;
use palisade_policy::model::Daemon as DaemonSettings;
use palisade_policy::{PortKey, Snapshot, Vpc};
use palisade_runtime::RuntimeError;

use super::Daemon;
use super::plan::PortChange;
use super::ports::{Attached, PortPlan};
use crate::check::{self, LoadError};
use crate::control::protocol::{Code, Refusal};
use crate::failure::Failure;
use crate::report::reload::{FlowLogChange, ReloadReport};
use crate::service_manager;

const UNCHANGED: &str = "the policy in force is unchanged";

type Ports = BTreeMap<PortKey, Attached>;

impl Daemon {
    /// Reads the configuration again and puts it in force; tells the log and the service manager.
    ///
    /// # Errors
    /// The file has errors or a device cannot be opened; everything is as it was.
    pub(crate) fn reload(&self) -> Result<ReloadReport, Refusal> {
        let mut ports = self.ports();
        if self.stopped.load(Ordering::Relaxed) {
            return Err(Refusal::new(Code::Failed, "the daemon is stopping", "start it again"));
        }
        service_manager::reloading();
        let outcome = self.change(&mut ports);
        service_manager::ready();
        match &outcome {
            Ok(report) => {
                let ReloadReport { generation, opened, closed, flow_logs, warnings } = report;
                tracing::info!(generation, ?opened, ?closed, ?flow_logs, "reloaded");
                for warning in warnings {
                    tracing::warn!("{warning}");
                }
            }
            Err(refusal) => tracing::error!("reload refused: {}; {}", refusal.message, refusal.details()),
        }
        outcome
    }

    fn change(&self, ports: &mut Ports) -> Result<ReloadReport, Refusal> {
        let vpc = check::load(&self.config)
            .map_err(|error| bad_config(&self.config.display().to_string(), error))?;
        let old = self.dataplane.snapshot();
        let flow_logs = FlowLogChange::between(old.vpc(), &vpc)?;
        let mut warnings = settings_that_wait(&self.settings, &vpc.daemon);
        let snapshot = Arc::new(Snapshot::compile(vpc, Some(&old)));
        let change = PortChange::new(ports, PortPlan::all(&snapshot, self.takeover));
        warnings.extend(change.readdressed.iter().map(readdressed));
        let stage = Stage { workshop: self, generation: snapshot.generation() };
        self.flow_logs.take_up(&snapshot).map_err(|error| no_spool(&error))?;
        let opened = stage.prepare(ports, &change).map_err(|failure| {
            if let Err(error) = self.flow_logs.take_up(&old) {
                tracing::error!(%error, "flow logs are not as they were; reload to try once more");
            }
            refuse(&failure)
        })?;
        let closed = change.displaced.iter().chain(&change.close).copied().collect::<Vec<_>>();
        let closed = closed.into_iter().filter_map(|key| old_name(&old, key)).collect();
        if let Err(error) = self.dataplane.publish(Arc::clone(&snapshot)) {
            warnings.push(error.to_string());
        }
        stage.finish(ports, &change, &mut warnings);
        Ok(ReloadReport { generation: snapshot.generation(), opened, closed, flow_logs, warnings })
    }
}

impl FlowLogChange {
    /// Which flow logs a configuration begins and ends.
    ///
    /// # Errors
    /// One that keeps its id is to be another one (FL-5).
    fn between(old: &Vpc, new: &Vpc) -> Result<Self, Refusal> {
        let (was, is) = (FlowLog::all(old), FlowLog::all(new));
        if let Some(log) = is.iter().find(|log| was.iter().any(|other| other.id == log.id && other != *log)) {
            let what = format!("the flow log {} cannot be changed (FL-5)", log.id);
            let help = format!("give it another id, or leave `id` out and it is derived; {UNCHANGED}");
            return Err(Refusal::new(Code::BadConfig, what, help));
        }
        let names = |of: &Vpc, others: &[Arc<FlowLog>]| {
            let gone = of.flow_logs.iter().filter(|log| !others.iter().any(|other| other.id == log.id));
            gone.map(|log| log.name.clone()).collect()
        };
        Ok(Self { begun: names(new, &was), ended: names(old, &is) })
    }
}

/// Where ports are opened, attached and detached: the daemon, or a stand-in in tests.
trait Workshop {
    /// An open device.
    type Device;

    fn open(&self, plan: &PortPlan, generation: u64) -> Result<(Attached, Self::Device), Failure>;
    fn attach(&self, plan: &PortPlan, device: Self::Device) -> Result<(), RuntimeError>;
    fn reassign(&self, key: PortKey, worker: usize) -> Result<(), RuntimeError>;
    fn detach(&self, key: PortKey) -> Result<(), RuntimeError>;
}

impl Workshop for Daemon {
    type Device = Port;

    fn open(&self, plan: &PortPlan, generation: u64) -> Result<(Attached, Port), Failure> {
        self.devices.open(plan, generation)
    }

    fn attach(&self, plan: &PortPlan, device: Port) -> Result<(), RuntimeError> {
        self.dataplane.add_port(plan.key, device, plan.worker)
    }

    fn reassign(&self, key: PortKey, worker: usize) -> Result<(), RuntimeError> {
        self.dataplane.move_port(key, worker)
    }

    fn detach(&self, key: PortKey) -> Result<(), RuntimeError> {
        self.dataplane.remove_port(key)
    }
}

/// A change of ports under way.
struct Stage<'w, W> {
    workshop: &'w W,
    generation: u64,
}

impl<W: Workshop> Stage<'_, W> {
    /// Everything before the policy is published; returns the names of the ports that were opened.
    ///
    /// # Errors
    /// A device cannot be opened or attached; the ports are as they were.
    fn prepare(&self, ports: &mut Ports, change: &PortChange) -> Result<Vec<String>, Failure> {
        let mut opened = self.open_all(&change.open)?;
        let displaced: Vec<_> = change.displaced.iter().filter_map(|key| ports.remove(key)).collect();
        for port in &displaced {
            self.detach(port);
        }
        let outcome = self.open_all(&change.reopen).and_then(|more| {
            opened.extend(more);
            self.attach_all(opened)
        });
        match outcome {
            Ok(attached) => {
                let names = attached.iter().map(|port| port.plan.name.clone()).collect();
                ports.extend(attached.into_iter().map(|port| (port.plan.key, port)));
                Ok(names)
            }
            Err(failure) => {
                self.put_back(ports, displaced);
                Err(failure)
            }
        }
    }

    /// Everything after it.
    fn finish(&self, ports: &mut Ports, change: &PortChange, warnings: &mut Vec<String>) {
        for port in change.close.iter().filter_map(|key| ports.remove(key)) {
            if let Err(error) = self.workshop.detach(port.plan.key) {
                warnings.push(format!("{}: {error}", port.plan.name));
            }
        }
        for plan in &change.moved {
            // A port that no worker is named for any more is as well where it is.
            let done = plan.worker.map(|worker| self.workshop.reassign(plan.key, worker));
            if let Some(Err(error)) = done {
                warnings.push(format!("{}: {error}", plan.name));
            }
        }
        // They keep their devices; what the new policy calls them and wants on them is noted.
        for plan in change.readdressed.iter().chain(&change.moved) {
            if let Some(port) = ports.get_mut(&plan.key) {
                port.plan = plan.clone();
            }
        }
    }

    fn open_all(&self, plans: &[PortPlan]) -> Result<Vec<(Attached, W::Device)>, Failure> {
        plans.iter().map(|plan| self.workshop.open(plan, self.generation)).collect()
    }

    fn attach_all(&self, opened: Vec<(Attached, W::Device)>) -> Result<Vec<Attached>, Failure> {
        let mut done: Vec<Attached> = Vec::new();
        for (attached, device) in opened {
            if let Err(error) = self.workshop.attach(&attached.plan, device) {
                for port in &done {
                    self.detach(port);
                }
                return Err(Failure::new(
                    format_args!("{}: {error}", attached.plan.name),
                    "see the daemon's log",
                ));
            }
            done.push(attached);
        }
        Ok(done)
    }

    fn put_back(&self, ports: &mut Ports, displaced: Vec<Attached>) {
        for port in displaced {
            let opened =
                self.workshop.open(&port.plan, self.generation).map_err(|failure| failure.to_string());
            let attached = opened.and_then(|(attached, device)| {
                let done = self.workshop.attach(&port.plan, device).map_err(|error| error.to_string());
                done.map(|()| attached)
            });
            match attached {
                Ok(attached) => drop(ports.insert(port.plan.key, attached)),
                Err(error) => {
                    tracing::error!(
                        port = port.plan.name,
                        error,
                        "the port could not be opened again; reload to try once more"
                    );
                }
            }
        }
    }

    /// Closes a port; an error means that it closes later.
    fn detach(&self, port: &Attached) {
        if let Err(error) = self.workshop.detach(port.plan.key) {
            tracing::warn!(port = port.plan.name, %error, "the port is not closed yet");
        }
    }
}

/// Settings of the daemon that a reload does not change.
fn settings_that_wait(one: &DaemonSettings, other: &DaemonSettings) -> Vec<String> {
    let changed = [
        ("daemon.workers", one.workers != other.workers),
        ("daemon.worker_cpus", one.worker_cpus != other.worker_cpus),
        ("daemon.latency", one.latency != other.latency),
        ("daemon.control_socket", one.control_socket != other.control_socket),
        ("daemon.max_connections", one.max_connections != other.max_connections),
        ("daemon.flow_cache", one.flow_cache != other.flow_cache),
        ("daemon.gro", one.gro != other.gro),
        ("daemon.flow_log_spool", one.flow_log_spool != other.flow_log_spool),
        ("daemon.flow_log_spool_limit", one.flow_log_spool_limit != other.flow_log_spool_limit),
        ("daemon.flow_log_records", one.flow_log_records != other.flow_log_records),
        ("daemon.credentials_file", one.credentials_file != other.credentials_file),
    ];
    let names = changed.iter().filter(|(_, changed)| *changed).map(|(name, _)| name);
    names.map(|name| format!("{name} has changed; restart the daemon to have it take effect")).collect()
}

fn readdressed(plan: &PortPlan) -> String {
    format!("the addresses or routes of {} have changed; set them in its network namespace", plan.name)
}

fn old_name(old: &Snapshot, key: PortKey) -> Option<String> {
    match key {
        PortKey::Eni(key) => old.eni(key).map(|eni| old.vpc()[eni.index].name.clone()),
        PortKey::Service(key) => old.service(key).map(|service| service.name.clone()),
    }
}

fn refuse(failure: &Failure) -> Refusal {
    let help =
        if failure.help.is_empty() { UNCHANGED.to_owned() } else { format!("{}; {UNCHANGED}", failure.help) };
    Refusal::new(Code::Failed, failure.what.clone(), help)
}

fn no_spool(error: &std::io::Error) -> Refusal {
    let what = format!("a flow log's spool cannot be opened: {error}");
    refuse(&Failure::new(what, "see `daemon.flow_log_spool` and the disk"))
}

fn bad_config(file: &str, error: LoadError) -> Refusal {
    match error {
        LoadError::Unreadable(failure) => Refusal { code: Code::BadConfig, ..refuse(&failure) },
        LoadError::Faulty(diagnostics) => Refusal {
            errors: serde_json::to_value(&diagnostics).ok(),
            rendered: Some(diagnostics.render(Style::default())),
            ..Refusal::new(
                Code::BadConfig,
                format!("{file}: {}", crate::table::count(diagnostics.len(), "error")),
                format!("mend the file and reload again; {UNCHANGED}"),
            )
        },
    }
}

#[cfg(test)]
#[path = "reload_tests.rs"]
mod tests;
