//! The control side: starts the workers, publishes to them, moves ports in and out, sums up.
//!
//! Every method may be called from any thread; those that change something exclude each other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use palisade_conntrack::Instant;
use palisade_engine::{CounterValues, Counters, Coverage, FlowCache, Ledger, Now, SessionValues, Tray};
use palisade_io::Port;
use palisade_policy::model::Latency;
use palisade_policy::{EniKey, MirrorKey, PortKey, RuleSlot, Snapshot};

use crate::balance::{self, Balance, Load, Move};
use crate::clock::Clock;
use crate::crew::{Crew, Hand};
use crate::error::RuntimeError;
use crate::inlet::Inlet;
use crate::judge::Judge;
use crate::laws;
use crate::publication::Publication;
use crate::registry::{PortState, PortTable};
use crate::status::{PortStatus, PortValues, RuntimeStatus, Totals};

/// How the data plane runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Worker threads, at least 1. One forwards both directions with the least work per packet; a second one helps only
    /// if it has a CPU of its own.
    pub workers: usize,
    /// Whether ports that nobody has named a worker for are all served by the first one while it keeps up, and spread by
    /// [`Dataplane::balance`] when it does not; otherwise they are dealt to the worker that has the fewest, and stay.
    pub by_load: bool,
    /// The CPU that each worker is bound to, in their order; workers beyond its end run wherever the kernel has them.
    pub worker_cpus: Vec<usize>,
    /// What workers do while nothing arrives.
    pub latency: Latency,
    /// How long a change waits for the workers before it reports that it is not live yet.
    pub patience: Duration,
    /// Expired connections reclaimed at a time, every 5 ms under load: some 0.5 ms of work.
    pub reclaim_budget: usize,
    /// Where the time comes from.
    pub clock: Clock,
    /// Flows whose verdict each worker keeps; with 0 every packet takes the whole walk.
    pub flow_cache: usize,
    /// Whether consecutive segments of one TCP flow leave as one segmentation-offload frame where the port takes it.
    pub gro: bool,
    /// The ENIs that flow logs cover. Whoever owns the flow logs may change it at any time.
    pub coverage: Arc<Coverage>,
    /// Deltas for flow logs that each worker keeps until they are handed over, at least one.
    pub ledger: usize,
    /// Deltas that may wait for whoever takes them from [`Dataplane::trays`], per worker.
    pub tray: usize,
}

impl Options {
    /// Workers that suit the machine: two if they can run at the same time, so that the two directions of bulk traffic do not
    /// wait for each other. More would take CPUs that the guests need.
    #[must_use]
    pub fn suitable_workers() -> usize {
        std::thread::available_parallelism().map_or(1, |cpus| cpus.get().min(2))
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: 1,
            by_load: false,
            worker_cpus: Vec::new(),
            latency: Latency::default(),
            patience: Duration::from_secs(2),
            reclaim_budget: 1024,
            clock: Clock::system(),
            flow_cache: FlowCache::DEFAULT_ENTRIES,
            gro: true,
            coverage: Arc::default(),
            ledger: Ledger::DEFAULT_ENTRIES,
            tray: Tray::DEFAULT_CAPACITY,
        }
    }
}

/// Running workers and the ports they serve. Dropping it stops them.
pub struct Dataplane {
    judge: Arc<dyn Judge>,
    options: Options,
    publication: Arc<Publication>,
    crew: Crew,
    control: Mutex<Control>,
}

/// What only the control side needs.
#[derive(Default)]
struct Control {
    ports: BTreeMap<PortKey, Attached>,
    /// What the control side itself drops: fragments held where nothing is any more.
    counters: Counters,
    /// Counters of ports that were removed.
    departed: PortValues,
    balance: Balance,
    /// When [`Dataplane::balance`] last looked, and how long each worker had worked by then.
    looked: Option<(Instant, Vec<Duration>)>,
    /// Policies that a worker may still use; their state is retired with the next one that all have taken up.
    unretired: Vec<Arc<Snapshot>>,
}

/// A port and who receives from it.
struct Attached {
    state: Arc<PortState>,
    worker: usize,
    /// A worker was named for it.
    named: bool,
    /// Bytes received when [`Dataplane::balance`] last looked.
    received: u64,
}

impl Dataplane {
    /// Time between two calls of [`Self::balance`].
    pub const LOOK_EVERY: Duration = balance::LOOK_EVERY;

    /// Starts the workers and returns once each of them forwards.
    ///
    /// # Errors
    ///
    /// [`RuntimeError`] if a thread or a port's place in it could not be had, or two ports have one key. All ports are
    /// closed then.
    pub fn start(
        judge: Arc<dyn Judge>,
        snapshot: Arc<Snapshot>,
        ports: Vec<(PortKey, Port)>,
        options: Options,
    ) -> Result<Self, RuntimeError> {
        let rule_slots = snapshot.rule_slots();
        let publication = Arc::new(Publication::new(snapshot, PortTable::default(), Snapshot::generation));
        let crew = Crew::muster(&judge, &publication, &options)?;
        crew.make_room(rule_slots);
        let dataplane = Self { judge, options, publication, crew, control: Mutex::default() };
        dataplane.await_epoch(1)?;
        for (key, port) in ports {
            dataplane.add_port(key, port, None)?;
        }
        Ok(dataplane)
    }

    /// Puts a policy in force; returns its generation once every worker forwards by it.
    ///
    /// State of ENIs and addresses that are gone is ended then (CT-26), and of connections that a strict policy refuses.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::NotAcknowledged`] if a worker did not take it up in time. It is in force nevertheless.
    pub fn publish(&self, snapshot: Arc<Snapshot>) -> Result<u64, RuntimeError> {
        let mut control = self.control();
        let control = &mut *control;
        self.crew.make_room(snapshot.rule_slots());
        let (old, epoch) = self.publication.publish_policy(snapshot);
        control.unretired.push(old);
        self.await_epoch(epoch)?;
        let new = self.publication.policy();
        for old in control.unretired.drain(..) {
            self.judge.retire(&control.counters, &old, &new, self.now());
        }
        Ok(new.generation())
    }

    /// Attaches a port to a worker; to the one that has the fewest ports if none is named, or there is no such worker.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::PortExists`], [`RuntimeError::Wait`] or [`RuntimeError::Stopped`]; the port is closed then.
    pub fn add_port(&self, key: PortKey, port: Port, worker: Option<usize>) -> Result<(), RuntimeError> {
        let mut control = self.control();
        if let Some(attached) = control.ports.get(&key) {
            return Err(RuntimeError::PortExists { port: attached.state.name.clone() });
        }
        let Port { name, receive, transmit, .. } = port;
        let state = Arc::new(PortState::new(key, name, transmit));
        let named = worker.filter(|worker| *worker < self.crew.len());
        let dealt = || if self.options.by_load { 0 } else { control.least_loaded(self.crew.len()) };
        let worker = named.unwrap_or_else(dealt);
        let attached = Attached { state: Arc::clone(&state), worker, named: named.is_some(), received: 0 };
        control.ports.insert(key, attached);
        let received = self
            .await_epoch(self.publication.publish_ports(control.table()).1)
            .and_then(|()| self.crew.hand(worker).add(Inlet::new(state, receive), self.options.patience));
        if received.is_err() {
            control.ports.remove(&key);
            // A worker that does not answer closes the port when it goes on.
            let _ = self.await_epoch(self.publication.publish_ports(control.table()).1);
        }
        received
    }

    /// Has another worker receive from a port. Frames that wait are received by the new one, so a flow's frames keep their
    /// order. Nothing happens if there is no such worker.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::NoSuchPort`]; otherwise nobody receives from the port any more.
    pub fn move_port(&self, key: PortKey, worker: usize) -> Result<(), RuntimeError> {
        let mut control = self.control();
        let attached = control.ports.get_mut(&key).ok_or(RuntimeError::NoSuchPort)?;
        attached.named |= worker < self.crew.len();
        self.hand_over(key, attached, worker)
    }

    /// Looks at what the workers have to do and moves ports to where there is time, if that is left to the load. To be called
    /// every [`Self::LOOK_EVERY`]; does nothing while ports or policy are being changed.
    ///
    /// # Errors
    ///
    /// As for [`Self::move_port`].
    pub fn balance(&self) -> Result<(), RuntimeError> {
        let Ok(mut control) = self.control.try_lock() else { return Ok(()) };
        if !self.options.by_load {
            return Ok(());
        }
        let control = &mut *control;
        let Some(loads) = control.loads(&self.crew, self.options.clock.monotonic()) else { return Ok(()) };
        for Move { port, to } in control.balance.decide(&loads) {
            let Some(attached) = control.ports.get_mut(&port) else { continue };
            tracing::debug!(port = attached.state.name, worker = to, "moved to another worker");
            self.hand_over(port, attached, to)?;
        }
        Ok(())
    }

    fn hand_over(&self, key: PortKey, attached: &mut Attached, worker: usize) -> Result<(), RuntimeError> {
        if worker >= self.crew.len() || worker == attached.worker {
            return Ok(());
        }
        let received = self.crew.hand(attached.worker).remove(key, self.options.patience)?;
        attached.worker = worker;
        let Some(receive) = received else { return Ok(()) };
        let inlet = Inlet::new(Arc::clone(&attached.state), receive);
        self.crew.hand(worker).add(inlet, self.options.patience)
    }

    /// Detaches a port and closes it, which removes what was made for it. Frames that its guest sent and no worker has
    /// read are lost.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::NoSuchPort`]; otherwise the port is gone, or will be as soon as the worker named in
    /// [`RuntimeError::NotAcknowledged`] goes on.
    pub fn remove_port(&self, key: PortKey) -> Result<(), RuntimeError> {
        let mut control = self.control();
        let attached = control.ports.remove(&key).ok_or(RuntimeError::NoSuchPort)?;
        let receive = self.crew.hand(attached.worker).remove(key, self.options.patience);
        let (old, epoch) = self.publication.publish_ports(control.table());
        let acknowledged = self.await_epoch(epoch);
        control.departed += attached.state.counters.values();
        // In this order, so that the last holder of either half is this thread.
        drop(old);
        drop(receive?);
        acknowledged
    }

    /// The time as workers tell it to the engine.
    #[must_use]
    pub fn now(&self) -> Now {
        self.options.clock.now()
    }

    /// Returns once every worker has come to a burst boundary after this call: what it had received by then is judged and
    /// handed to the ports, and counted, also in the counters of rules, which otherwise show packets up to a second late. Each
    /// worker looks at its whole flow cache for that: not for a data plane of many flows whose packets must not wait.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::NotAcknowledged`] if a worker did not come to one in time.
    pub fn settle(&self) -> Result<(), RuntimeError> {
        let _control = self.control();
        self.await_epoch(self.publication.mark())?;
        self.crew.settle(self.options.patience)
    }

    /// Brings every worker to its next burst boundary, also one that sleeps, to look at what has changed in the coverage. Waits
    /// for none of them.
    pub fn wake(&self) {
        self.crew.wake();
    }

    /// Reclaims everything that has expired by now, as the workers do little by little.
    pub fn reclaim(&self) {
        let control = self.control();
        self.judge.advance(&control.counters, self.now(), usize::MAX);
    }

    /// The policy published last.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.publication.policy()
    }

    /// How often a rule has decided, in packets; up to a second late.
    #[must_use]
    pub fn rule_hits(&self, slot: RuleSlot) -> u64 {
        self.crew.rule_hits(slot)
    }

    /// Packets of an ENI that were dropped because its instance may track no more connections
    /// (`conntrack_allowance_exceeded` of CT-71).
    #[must_use]
    pub fn allowance_exceeded(&self, eni: EniKey) -> u64 {
        self.crew.allowance_exceeded(eni)
    }

    /// What workers have counted for flow logs, to be taken from here: one tray per worker.
    #[must_use]
    pub fn trays(&self) -> Vec<Arc<Tray>> {
        self.crew.trays()
    }

    /// Packets at an ENI that no flow log speaks of: exempt ones, and those whose drop is hidden.
    #[must_use]
    pub fn unrecorded(&self, eni: EniKey) -> (u64, u64) {
        self.crew.unrecorded(eni)
    }

    /// What became of the copies of one mirror session since it exists (TM-45).
    #[must_use]
    pub fn copies_of(&self, session: MirrorKey) -> SessionValues {
        self.crew.copies_of(session)
    }

    /// The state at this moment. Fragments whose time is over are not held any more.
    #[must_use]
    pub fn status(&self) -> RuntimeStatus {
        let control = self.control();
        self.judge.advance(&control.counters, self.now(), 0);
        let snapshot = self.publication.policy();
        let mut workers = self.crew.status();
        for attached in control.ports.values() {
            workers[attached.worker].ports += 1;
        }
        RuntimeStatus {
            generation: workers.iter().map(|worker| worker.generation).min().unwrap_or_default(),
            published_generation: snapshot.generation(),
            ports: control
                .ports
                .values()
                .map(|port| port.status(&snapshot, self.crew.hand(port.worker)))
                .collect(),
            workers,
            counters: self.counters(&control),
            connections: self.judge.connections(),
            holding: self.judge.holding(),
        }
    }

    /// Stops receiving, hands on what was received, ends the threads and closes the ports.
    ///
    /// A second call returns the same totals.
    pub fn stop(&self) -> Totals {
        let mut control = self.control();
        self.publication.stop();
        self.crew.dismiss();
        self.judge.drain(&control.counters);
        let ports = std::mem::take(&mut control.ports);
        for attached in ports.values() {
            control.departed += attached.state.counters.values();
        }
        self.publication.publish_ports(PortTable::default());
        drop(ports);
        self.totals(&control)
    }

    fn totals(&self, control: &Control) -> Totals {
        let (counters, ports) = (self.counters(control), control.departed);
        let (connections, holding) = (self.judge.connections(), self.judge.holding());
        let laws = laws::check(&counters, &ports, &connections, holding);
        Totals { counters, ports, connections, holding, laws }
    }

    fn counters(&self, control: &Control) -> CounterValues {
        let mut sum = self.crew.counters();
        sum += &control.counters.values();
        sum
    }

    /// Wakes the workers and waits until they have taken up what was published up to an epoch.
    fn await_epoch(&self, epoch: u64) -> Result<(), RuntimeError> {
        self.crew.wake();
        let laggard = || self.crew.laggard(epoch);
        if self.publication.wait(self.options.patience, || laggard().is_none()) {
            return Ok(());
        }
        let Some(hand) = laggard() else { return Ok(()) };
        Err(RuntimeError::NotAcknowledged { worker: hand.name().to_owned(), live: hand.generation() })
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Dataplane {
    fn drop(&mut self) {
        self.stop();
    }
}

impl std::fmt::Debug for Dataplane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dataplane").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Control {
    fn table(&self) -> PortTable {
        PortTable::new(self.ports.values().map(|attached| Arc::clone(&attached.state)).collect())
    }

    /// What each worker has done since the last look; `None` at the first one.
    fn loads(&mut self, crew: &Crew, now: Instant) -> Option<Vec<Load>> {
        let worked: Vec<_> = (0..crew.len()).map(|worker| crew.hand(worker).worked()).collect();
        let (before, worked_before) = self.looked.replace((now, worked.clone()))?;
        let time = now.since(before).as_secs_f64().max(1e-9);
        let busy = worked.iter().zip(&worked_before).map(|(now, before)| now.saturating_sub(*before));
        let busy = busy.map(|busy| (busy.as_secs_f64() / time).clamp(0.0, 1.0));
        let mut loads: Vec<_> = busy.map(|busy| Load { busy, ports: Vec::new() }).collect();
        for (key, port) in &mut self.ports {
            let received = port.state.counters.values().received.bytes;
            let fresh = received - std::mem::replace(&mut port.received, received);
            if !port.named {
                loads[port.worker].ports.push((*key, fresh));
            }
        }
        Some(loads)
    }

    fn least_loaded(&self, workers: usize) -> usize {
        let load = |worker: &usize| self.ports.values().filter(|attached| attached.worker == *worker).count();
        (0..workers).min_by_key(load).unwrap_or_default()
    }
}

impl Attached {
    fn status(&self, snapshot: &Snapshot, hand: &Hand) -> PortStatus {
        let state = &self.state;
        PortStatus {
            owner: owner(snapshot, state.key),
            service: matches!(state.key, PortKey::Service(_)),
            device: state.name.clone(),
            up: state.is_up(),
            worker: hand.name().to_owned(),
            values: state.counters.values(),
        }
    }
}

fn owner(snapshot: &Snapshot, key: PortKey) -> Option<String> {
    match key {
        PortKey::Eni(key) => snapshot.eni(key).map(|eni| snapshot.vpc()[eni.index].name.clone()),
        PortKey::Service(key) => snapshot.service(key).map(|service| service.name.clone()),
    }
}

#[cfg(test)]
#[path = "dataplane_tests.rs"]
mod tests;
