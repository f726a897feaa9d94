//! Delivery: sealed segments of a spool go to their destination, one after the other, until it has taken them.

mod directory;
mod lines;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::sync::Arc;

use crate::spool::{Address, Segment, Store};
use palisade_policy::flow_log::Destination;

/// Seconds after the first failure until the next attempt; twice as many after each further one.
const FIRST_PAUSE: u32 = 1;

/// Longest pause between attempts, in seconds.
const LONGEST_PAUSE: u32 = 60;

/// Delivers what one flow log's spool holds. It may block, so it belongs on a thread of its own.
#[derive(Debug)]
pub struct Courier {
    store: Arc<Store>,
    failures: u32,
    not_before: u32,
    figures: Figures,
}

/// What a courier has done.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Figures {
    /// Segments that the destination has taken.
    pub delivered: u64,
    /// Their bytes, as they were in the spool.
    pub bytes: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Why the last one failed; `None` once one has succeeded since (FL-77).
    pub error: Option<String>,
}

/// How a round of deliveries ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Round {
    /// Nothing is left to deliver for now.
    Empty,
    /// The destination did not take a segment; the next attempt is due at this Unix second.
    Failed {
        /// When to try again.
        again: u32,
    },
    /// The flow log is deleted, everything is delivered, and the spool is gone: the courier has done its work.
    Done,
}

impl Courier {
    /// Delivers from a spool; it must be the only one that does.
    #[must_use]
    pub fn new(store: Arc<Store>) -> Self {
        Self { store, failures: 0, not_before: 0, figures: Figures::default() }
    }

    /// Delivers what is sealed, in the order in which it was begun. After a failure nothing is tried before its pause is over.
    pub fn deliver(&mut self, now: u32) -> Round {
        if now < self.not_before {
            return Round::Failed { again: self.not_before };
        }
        match self.deliver_all() {
            Ok(()) if self.store.remove_if_ended() => Round::Done,
            Ok(()) => Round::Empty,
            Err(error) => {
                let pause = FIRST_PAUSE << self.failures.min(6);
                self.failures += 1;
                self.not_before = now.saturating_add(pause.min(LONGEST_PAUSE));
                self.figures.failures += 1;
                self.figures.error = Some(error.to_string());
                Round::Failed { again: self.not_before }
            }
        }
    }

    /// Whose spool it is.
    #[must_use]
    pub fn address(&self) -> &Address {
        self.store.address()
    }

    /// What it has done.
    #[must_use]
    pub const fn figures(&self) -> &Figures {
        &self.figures
    }

    fn deliver_all(&mut self) -> io::Result<()> {
        if self.store.used() == 0 {
            return Ok(());
        }
        for segment in Segment::list(self.store.directory())? {
            put(self.store.address(), &segment)?;
            let bytes = fs::metadata(&segment.path)?.len();
            fs::remove_file(&segment.path)?;
            self.store.release(bytes);
            self.figures.delivered += 1;
            self.figures.bytes += bytes;
            self.figures.error = None;
            self.failures = 0;
        }
        Ok(())
    }
}

/// Hands a segment over; what is put twice is there once, where the destination has names for what it takes.
fn put(address: &Address, segment: &Segment) -> io::Result<()> {
    match &address.destination {
        Destination::Directory { path, objects } => directory::put(address, path, objects, segment),
        Destination::Lines(target) => lines::put(target, segment),
        other => Err(io::Error::new(io::ErrorKind::Unsupported, format!("{other}: no way there yet"))),
    }
}
