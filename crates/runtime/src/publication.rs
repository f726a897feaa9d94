//! What the control side publishes and how it learns that every worker has taken it up.
//!
//! The slots are swapped first, then the epoch is raised, then the workers are woken. A worker that sees the new epoch
//! at a burst boundary loads both slots anew and acknowledges the epoch; from then on it uses nothing older. Whoever
//! published holds the old value until all have acknowledged, so it dies on the control thread.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use palisade_policy::Snapshot;

use crate::registry::PortTable;

/// The published values, shared by all threads.
#[derive(Debug)]
pub(crate) struct Publication {
    snapshot: ArcSwap<Snapshot>,
    ports: ArcSwap<PortTable>,
    epoch: AtomicU64,
    stopping: AtomicBool,
    acknowledged: Condvar,
    guard: Mutex<()>,
}

/// What one worker has taken up. The worker writes it, anyone reads it.
#[derive(Debug, Default)]
pub(crate) struct Mark {
    epoch: AtomicU64,
    generation: AtomicU64,
}

impl Mark {
    /// Generation of the policy that the worker forwards by; 0 before it has started.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// Whether the worker has taken up everything published up to an epoch.
    pub(crate) fn has(&self, epoch: u64) -> bool {
        self.epoch.load(Ordering::Acquire) >= epoch
    }
}

impl Publication {
    /// The first values, as epoch 1.
    pub(crate) fn new(snapshot: Arc<Snapshot>, ports: PortTable) -> Self {
        Self {
            snapshot: ArcSwap::new(snapshot),
            ports: ArcSwap::from_pointee(ports),
            epoch: AtomicU64::new(1),
            stopping: AtomicBool::new(false),
            acknowledged: Condvar::new(),
            guard: Mutex::new(()),
        }
    }

    /// The policy published last.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Publishes a policy; returns the one before and the epoch to wait for.
    pub(crate) fn publish_snapshot(&self, snapshot: Arc<Snapshot>) -> (Arc<Snapshot>, u64) {
        let old = self.snapshot.swap(snapshot);
        (old, self.raise())
    }

    /// Publishes a table of ports; returns the one before and the epoch to wait for.
    pub(crate) fn publish_ports(&self, ports: PortTable) -> (Arc<PortTable>, u64) {
        let old = self.ports.swap(Arc::new(ports));
        (old, self.raise())
    }

    /// Publishes nothing; returns the epoch that a worker acknowledges at its next burst boundary.
    pub(crate) fn mark(&self) -> u64 {
        self.raise()
    }

    /// Tells the workers to leave at the next burst boundary.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.raise();
    }

    /// Waits until `done`, which is asked again whenever a worker acknowledges; false if `patience` ran out before.
    pub(crate) fn wait(&self, patience: Duration, done: impl Fn() -> bool) -> bool {
        let deadline = Instant::now() + patience;
        let mut guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        while !done() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            // A worker that dies does not notify, so `done` is asked now and then in any case.
            let nap = left.min(Duration::from_millis(50));
            guard = self.acknowledged.wait_timeout(guard, nap).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn raise(&self) -> u64 {
        self.epoch.fetch_add(1, Ordering::AcqRel) + 1
    }
}

/// One worker's copy of the published values.
#[derive(Debug)]
pub(crate) struct Reader {
    publication: Arc<Publication>,
    mark: Arc<Mark>,
    epoch: u64,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) ports: Arc<PortTable>,
}

impl Reader {
    /// A reader that has acknowledged nothing yet.
    pub(crate) fn new(publication: Arc<Publication>, mark: Arc<Mark>) -> Self {
        let (snapshot, ports) = (publication.snapshot.load_full(), publication.ports.load_full());
        Self { publication, mark, epoch: 0, snapshot, ports }
    }

    /// A burst boundary: takes up what was published since the last one. Costs one load if nothing was.
    pub(crate) fn refresh(&mut self) {
        let epoch = self.publication.epoch.load(Ordering::Acquire);
        if epoch != self.epoch {
            self.take_up(epoch);
        }
    }

    /// Whether the worker is to leave.
    pub(crate) fn stopping(&self) -> bool {
        self.publication.stopping.load(Ordering::Acquire)
    }

    #[cold]
    fn take_up(&mut self, epoch: u64) {
        self.snapshot = self.publication.snapshot.load_full();
        self.ports = self.publication.ports.load_full();
        self.epoch = epoch;
        self.mark.generation.store(self.snapshot.generation(), Ordering::Relaxed);
        self.mark.epoch.store(epoch, Ordering::Release);
        // Taken so that the notification cannot fall between a waiter's question and its sleep.
        let _guard = self.publication.guard.lock().unwrap_or_else(PoisonError::into_inner);
        self.publication.acknowledged.notify_all();
    }
}
