//! The workers as the control side sees them.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};
use palisade_engine::{CounterValues, Counters, Lane, Ledger, SessionValues, Tray};
use palisade_io::Receive;
use palisade_policy::{EniKey, MirrorKey, PortKey, RuleSlot};

use crate::balance::Effort;
use crate::dataplane::Options;
use crate::error::RuntimeError;
use crate::inlet::Inlet;
use crate::judge::Judge;
use crate::publication::{Mark, Publication, Reader};
use crate::status::WorkerStatus;
use crate::worker::{Command, Parts, Worker};

/// What a worker gives back when it ends.
type Receivers = Vec<Box<dyn Receive>>;

/// All workers.
pub(crate) struct Crew {
    hands: Vec<Hand>,
}

/// One worker.
pub(crate) struct Hand {
    name: String,
    wake: Arc<EventFd>,
    commands: Sender<Command>,
    mark: Arc<Mark>,
    counters: Arc<Counters>,
    effort: Arc<Effort>,
    tray: Arc<Tray>,
    thread: Mutex<Option<JoinHandle<Receivers>>>,
}

impl Crew {
    /// Starts the workers. The first one keeps house.
    pub(crate) fn muster(
        judge: &Arc<dyn Judge>,
        publication: &Arc<Publication>,
        options: &Options,
    ) -> Result<Self, RuntimeError> {
        let start = |index| {
            let reclaim = (index == 0).then_some(options.reclaim_budget);
            let name = format!("palisade-w{index}");
            let hand = Hand::start(name.clone(), judge, publication, options, reclaim)
                .map_err(|source| RuntimeError::Worker { worker: name.clone(), source })?;
            match options.worker_cpus.get(index) {
                Some(&cpu) => hand.bind(cpu).map(|()| hand),
                None => Ok(hand),
            }
        };
        let mut crew = Self { hands: Vec::new() };
        for index in 0..options.workers.max(1) {
            match start(index) {
                Ok(hand) => crew.hands.push(hand),
                Err(error) => {
                    publication.stop();
                    crew.dismiss();
                    return Err(error);
                }
            }
        }
        Ok(crew)
    }

    pub(crate) fn len(&self) -> usize {
        self.hands.len()
    }

    /// A worker by its number, which is below [`Self::len`].
    pub(crate) fn hand(&self, index: usize) -> &Hand {
        &self.hands[index]
    }

    /// Brings every worker to its next burst boundary.
    pub(crate) fn wake(&self) {
        self.hands.iter().for_each(Hand::wake);
    }

    /// Has every worker count what its flow cache has not handed over yet.
    pub(crate) fn settle(&self, patience: Duration) -> Result<(), RuntimeError> {
        self.hands.iter().try_for_each(|hand| {
            let (answer, answered) = mpsc::channel();
            hand.ask(Command::Settle(answer), &answered, patience)
        })
    }

    /// The first running worker that has not taken up an epoch.
    pub(crate) fn laggard(&self, epoch: u64) -> Option<&Hand> {
        self.hands.iter().find(|hand| !hand.mark.has(epoch) && hand.is_running())
    }

    /// Makes room for rule counters before a policy with so many is published.
    pub(crate) fn make_room(&self, rule_slots: usize) {
        self.hands.iter().for_each(|hand| hand.counters.ensure_rules(rule_slots));
    }

    pub(crate) fn counters(&self) -> CounterValues {
        let mut sum = CounterValues::default();
        self.hands.iter().for_each(|hand| sum += &hand.counters.values());
        sum
    }

    pub(crate) fn rule_hits(&self, slot: RuleSlot) -> u64 {
        self.hands.iter().map(|hand| hand.counters.rule_hits(slot)).sum()
    }

    pub(crate) fn allowance_exceeded(&self, eni: EniKey) -> u64 {
        self.hands.iter().map(|hand| hand.counters.allowance_exceeded(eni)).sum()
    }

    pub(crate) fn trays(&self) -> Vec<Arc<Tray>> {
        self.hands.iter().map(|hand| Arc::clone(&hand.tray)).collect()
    }

    pub(crate) fn unrecorded(&self, eni: EniKey) -> (u64, u64) {
        let counts = self.hands.iter().map(|hand| hand.counters.unrecorded(eni));
        counts.fold((0, 0), |sum, (exempt, hidden)| (sum.0 + exempt, sum.1 + hidden))
    }

    pub(crate) fn copies_of(&self, session: MirrorKey) -> SessionValues {
        let mut sum = SessionValues::default();
        self.hands.iter().for_each(|hand| sum += &hand.counters.copies_of(session));
        sum
    }

    pub(crate) fn status(&self) -> Vec<WorkerStatus> {
        self.hands.iter().map(Hand::status).collect()
    }

    /// Waits for the workers, which have been told to stop, and closes their receive halves.
    pub(crate) fn dismiss(&self) {
        self.wake();
        self.hands.iter().for_each(Hand::join);
    }
}

impl Hand {
    fn start(
        name: String,
        judge: &Arc<dyn Judge>,
        publication: &Arc<Publication>,
        options: &Options,
        reclaim: Option<usize>,
    ) -> io::Result<Self> {
        let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        let (mark, counters) = (Arc::new(Mark::default()), Arc::new(Counters::new()));
        let (commands, orders) = mpsc::channel();
        let effort = Arc::new(Effort::default());
        let tray = Arc::new(Tray::new(options.tray));
        let ledger = Ledger::new(options.ledger, Arc::clone(&options.coverage), Arc::clone(&tray));
        let lane = Lane::new(Arc::clone(&counters), options.flow_cache).with_ledger(ledger);
        let parts = Parts {
            judge: Arc::clone(judge),
            reader: Reader::new(Arc::clone(publication), Arc::clone(&mark)),
            clock: options.clock.clone(),
            wake: Arc::clone(&wake),
            commands: orders,
            latency: options.latency,
            effort: Arc::clone(&effort),
            gro: options.gro,
            reclaim,
        };
        let worker = Worker::new(parts, lane)?;
        let thread = thread::Builder::new().name(name.clone()).spawn(|| worker.run())?;
        Ok(Self { name, wake, commands, mark, counters, effort, tray, thread: Mutex::new(Some(thread)) })
    }

    /// Has it run on one CPU only.
    fn bind(&self, cpu: usize) -> Result<(), RuntimeError> {
        let (answer, answered) = mpsc::channel();
        let patience = Duration::from_secs(10);
        self.ask(Command::Bind(cpu, answer), &answered, patience)?.map_err(|source| RuntimeError::Bind {
            worker: self.name.clone(),
            cpu,
            source,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// CPU time since its start in which it worked.
    pub(crate) fn worked(&self) -> Duration {
        self.effort.spent().unwrap_or_default()
    }

    /// The generation it forwards by.
    pub(crate) fn generation(&self) -> u64 {
        self.mark.generation()
    }

    /// Has it receive from a port.
    pub(crate) fn add(&self, inlet: Inlet, patience: Duration) -> Result<(), RuntimeError> {
        let port = inlet.port.name.clone();
        let (answer, answered) = mpsc::channel();
        self.ask(Command::Add(inlet, answer), &answered, patience)?
            .map_err(|source| RuntimeError::Wait { port, source })
    }

    /// Has it give a receive half back; `None` if it has none for this key.
    pub(crate) fn remove(
        &self,
        key: PortKey,
        patience: Duration,
    ) -> Result<Option<Box<dyn Receive>>, RuntimeError> {
        let (answer, answered) = mpsc::channel();
        self.ask(Command::Remove(key, answer), &answered, patience)
    }

    fn ask<T>(
        &self,
        command: Command,
        answered: &Receiver<T>,
        patience: Duration,
    ) -> Result<T, RuntimeError> {
        let stopped = || RuntimeError::Stopped { worker: self.name.clone() };
        self.commands.send(command).map_err(|_| stopped())?;
        self.wake();
        answered.recv_timeout(patience).map_err(|error| match error {
            mpsc::RecvTimeoutError::Timeout => {
                RuntimeError::NotAcknowledged { worker: self.name.clone(), live: self.generation() }
            }
            mpsc::RecvTimeoutError::Disconnected => stopped(),
        })
    }

    fn wake(&self) {
        // Fails only if the counter is at its limit, and then the worker is being woken anyway.
        let _ = self.wake.write(1);
    }

    fn is_running(&self) -> bool {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    fn status(&self) -> WorkerStatus {
        WorkerStatus {
            name: self.name.clone(),
            running: self.is_running(),
            generation: self.generation(),
            ports: 0,
        }
    }

    fn join(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(worker = self.name, "the worker has panicked; its ports were not served since");
        }
    }
}
