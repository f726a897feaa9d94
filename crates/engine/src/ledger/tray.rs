//! Where a worker puts what it hands over. Bounded: a worker never waits for whoever empties it.

use std::sync::{Mutex, PoisonError};

use crossbeam::queue::ArrayQueue;
use palisade_flow::{Delta, Loss};

/// One thing that was handed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Handed {
    /// What was counted of a flow.
    Delta(Delta),
    /// What could not be handed over.
    Loss(Loss),
}

/// A bounded queue from workers to whoever writes records.
#[derive(Debug)]
pub struct Tray {
    queue: ArrayQueue<Handed>,
    /// What workers had left when they ended.
    remains: Mutex<Vec<Handed>>,
}

impl Tray {
    /// Things that wait, where nothing else is said: some 0.9 MiB.
    pub const DEFAULT_CAPACITY: usize = 8_192;

    /// A tray for so many things, at least one.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { queue: ArrayQueue::new(capacity.max(1)), remains: Mutex::default() }
    }

    /// Takes the oldest.
    #[must_use]
    pub fn take(&self) -> Option<Handed> {
        self.queue.pop()
    }

    /// Takes what workers had left when they ended: as much as their ledgers hold.
    #[must_use]
    pub fn take_remains(&self) -> Vec<Handed> {
        std::mem::take(&mut self.remains.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn room(&self) -> usize {
        self.queue.capacity() - self.queue.len().min(self.queue.capacity())
    }

    /// Puts one in; false if there is no room.
    pub(super) fn put(&self, handed: Handed) -> bool {
        self.queue.push(handed).is_ok()
    }

    pub(super) fn leave(&self, remains: impl Iterator<Item = Handed>) {
        self.remains.lock().unwrap_or_else(PoisonError::into_inner).extend(remains);
    }
}
