//! What the control side publishes and how it learns that every worker has taken it up.
//!
//! Two values change, a policy `S` and a table of ports `P`; this crate knows nothing of either. Their slots are swapped
//! first, then the epoch is raised, then the workers are woken. A worker that sees the new epoch at a burst boundary
//! loads both slots anew and acknowledges the epoch; from then on it uses nothing older. Whoever published holds the old
//! value until all have acknowledged, so it dies on the control thread.
//!
//! *Which policy goes with which ports.* A worker loads the policy before the ports. So whoever publishes ports before
//! the policy that speaks of them never has a worker that knows the policy and not the ports. Ports that a policy no
//! longer speaks of are taken away after it is in force everywhere.
//!
//! A crate of its own, since model checks build it anew with `--cfg palisade_loom` (see `models`).
#![forbid(unsafe_code)]

#[cfg(test)]
#[cfg(palisade_loom)]
mod models;
mod sync;

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crate::sync::{AtomicBool, AtomicU64, Condvar, Mutex, Slot};

/// The published values, shared by all threads.
#[derive(Debug)]
pub struct Publication<S, P> {
    policy: Slot<S>,
    ports: Slot<P>,
    generation_of: fn(&S) -> u64,
    epoch: AtomicU64,
    stopping: AtomicBool,
    acknowledged: Condvar,
    guard: Mutex<()>,
}

/// What one worker has taken up. The worker writes it, anyone reads it.
#[derive(Debug, Default)]
pub struct Mark {
    epoch: AtomicU64,
    generation: AtomicU64,
}

impl Mark {
    /// Generation of the policy that the worker forwards by; 0 before it has started.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// Whether the worker has taken up everything published up to an epoch.
    #[must_use]
    pub fn has(&self, epoch: u64) -> bool {
        self.epoch.load(Ordering::Acquire) >= epoch
    }
}

impl<S, P> Publication<S, P> {
    /// The first values, as epoch 1, and how to read the generation of a policy.
    pub fn new(policy: Arc<S>, ports: P, generation_of: fn(&S) -> u64) -> Self {
        Self {
            policy: Slot::new(policy),
            ports: Slot::new(Arc::new(ports)),
            generation_of,
            epoch: AtomicU64::new(1),
            stopping: AtomicBool::new(false),
            acknowledged: Condvar::new(),
            guard: Mutex::new(()),
        }
    }

    /// The policy published last.
    #[must_use]
    pub fn policy(&self) -> Arc<S> {
        self.policy.load_full()
    }

    /// Publishes a policy; returns the one before and the epoch to wait for.
    pub fn publish_policy(&self, policy: Arc<S>) -> (Arc<S>, u64) {
        let old = self.policy.swap(policy);
        (old, self.mark())
    }

    /// Publishes a table of ports; returns the one before and the epoch to wait for.
    pub fn publish_ports(&self, ports: P) -> (Arc<P>, u64) {
        let old = self.ports.swap(Arc::new(ports));
        (old, self.mark())
    }

    /// Publishes nothing; returns the epoch that a worker acknowledges at its next burst boundary.
    pub fn mark(&self) -> u64 {
        self.epoch.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Tells the workers to leave at the next burst boundary.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.mark();
    }

    /// Waits until `done`, which is asked again whenever a worker acknowledges; false if `patience` ran out before.
    pub fn wait(&self, patience: Duration, done: impl Fn() -> bool) -> bool {
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
}

/// One worker's copy of the published values.
#[derive(Debug)]
pub struct Reader<S, P> {
    publication: Arc<Publication<S, P>>,
    mark: Arc<Mark>,
    epoch: u64,
    policy: Arc<S>,
    ports: Arc<P>,
}

impl<S, P> Reader<S, P> {
    /// A reader that has acknowledged nothing yet.
    pub fn new(publication: Arc<Publication<S, P>>, mark: Arc<Mark>) -> Self {
        let (policy, ports) = publication.load();
        Self { publication, mark, epoch: 0, policy, ports }
    }

    /// The policy to judge by until the next burst boundary.
    #[must_use]
    pub const fn policy(&self) -> &Arc<S> {
        &self.policy
    }

    /// The ports to send by until the next burst boundary.
    #[must_use]
    pub const fn ports(&self) -> &Arc<P> {
        &self.ports
    }

    /// A burst boundary: takes up what was published since the last one. Costs one load if nothing was.
    pub fn refresh(&mut self) {
        let epoch = self.publication.epoch.load(Ordering::Acquire);
        if epoch != self.epoch {
            self.take_up(epoch);
        }
    }

    /// Whether the worker is to leave.
    #[must_use]
    pub fn stopping(&self) -> bool {
        self.publication.stopping.load(Ordering::Acquire)
    }

    #[cold]
    fn take_up(&mut self, epoch: u64) {
        (self.policy, self.ports) = self.publication.load();
        self.acknowledge(epoch);
        // Taken so that the notification cannot fall between a waiter's question and its sleep.
        let _guard = self.publication.guard.lock().unwrap_or_else(PoisonError::into_inner);
        self.publication.acknowledged.notify_all();
    }

    fn acknowledge(&mut self, epoch: u64) {
        self.epoch = epoch;
        let generation = (self.publication.generation_of)(&self.policy);
        self.mark.generation.store(generation, Ordering::Relaxed);
        self.mark.epoch.store(epoch, Ordering::Release);
    }
}

impl<S, P> Publication<S, P> {
    /// The policy first, see the head of this file.
    fn load(&self) -> (Arc<S>, Arc<P>) {
        let policy = self.policy.load_full();
        (policy, self.ports.load_full())
    }
}
