//! Delivery: sealed segments of a spool go to their destination, one after the other, until it has taken them.

mod batch;
mod bucket;
mod delivery_stream;
mod directory;
mod lines;
mod log_group;
mod service;
#[cfg(test)]
mod service_tests;
#[cfg(test)]
mod stub;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::spool::{Address, Segment, Store};
use bucket::Bucket;
use delivery_stream::DeliveryStream;
use lines::Lines;
use log_group::LogGroup;
use palisade_policy::flow_log::{Destination, Objects, Service};
use service::{Clock, Keyring};
use sha2::{Digest as _, Sha256};

/// Seconds after the first failure until the next attempt; twice as many after each further one.
const FIRST_PAUSE: u32 = 1;

/// Longest pause between attempts, in seconds.
const LONGEST_PAUSE: u32 = 60;

/// Delivers what one flow log's spool holds. It may block, so it belongs on a thread of its own.
#[derive(Debug)]
pub struct Courier {
    store: Arc<Store>,
    way: Way,
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
    /// Records that the destination refuses for good, because they are too old or too new.
    pub refused: u64,
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
    /// Delivers from a spool; it must be the only one that does. `credentials` is the file of keys for AWS services, if it is not
    /// where AWS's SDKs have it.
    #[must_use]
    pub fn new(store: Arc<Store>, credentials: Option<PathBuf>) -> Self {
        let way = Way::to(&store.address().destination, credentials);
        Self { store, way, failures: 0, not_before: 0, figures: Figures::default() }
    }

    /// Delivers what is sealed, in the order in which it was begun. After a failure nothing is tried before its pause is over.
    pub fn deliver(&mut self, now: u32) -> Round {
        if now < self.not_before {
            return Round::Failed { again: self.not_before };
        }
        match self.deliver_all(Clock::at(now)) {
            Ok(()) if self.store.remove_if_ended() => Round::Done,
            Ok(()) => Round::Empty,
            Err(error) => {
                self.not_before = now.saturating_add(self.pause());
                self.failures += 1;
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

    /// Seconds until the next attempt. The later half of a pause is of a length of its own for each spool, so that many that
    /// failed together do not come back together.
    fn pause(&self) -> u32 {
        let whole = (FIRST_PAUSE << self.failures.min(6)).min(LONGEST_PAUSE);
        let name = format!("{} {}", self.store.address().spool, self.failures);
        let lot: [u8; 32] = Sha256::digest(name).into();
        whole - u32::from(lot[0]) % (whole / 2 + 1)
    }

    fn deliver_all(&mut self, clock: Clock) -> io::Result<()> {
        if self.store.used() == 0 {
            return Ok(());
        }
        for segment in Segment::list(self.store.directory())? {
            self.figures.refused += self.way.put(self.store.address(), &segment, clock)?;
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

/// How segments get to a destination.
#[derive(Debug)]
enum Way {
    Directory(PathBuf, Objects),
    Bucket(Bucket),
    LogGroup(LogGroup),
    DeliveryStream(DeliveryStream),
    Lines(Lines),
}

impl Way {
    fn to(destination: &Destination, credentials: Option<PathBuf>) -> Self {
        let keyring = |service: &Service| Keyring { file: credentials, profile: service.profile.clone() };
        match destination {
            Destination::Directory { path, objects } => Self::Directory(path.clone(), objects.clone()),
            Destination::S3 { bucket, objects, service } => {
                Self::Bucket(Bucket::new(bucket, objects, service, keyring(service)))
            }
            Destination::CloudWatchLogs { group, service } => {
                Self::LogGroup(LogGroup::new(group, service, keyring(service)))
            }
            Destination::Firehose { stream, service } => {
                Self::DeliveryStream(DeliveryStream::new(stream, service, keyring(service)))
            }
            Destination::Lines(target) => Self::Lines(Lines::new(target)),
        }
    }

    /// Hands a segment over; what is put twice is there once, where the destination has names for what it takes. Gives how many
    /// records the destination refuses for good.
    fn put(&mut self, address: &Address, segment: &Segment, clock: Clock) -> io::Result<u64> {
        match self {
            Self::Directory(path, objects) => directory::put(address, path, objects, segment)?,
            Self::Bucket(bucket) => bucket.put(address, segment, clock)?,
            Self::LogGroup(group) => return group.put(segment, clock),
            Self::DeliveryStream(stream) => stream.put(segment, clock)?,
            Self::Lines(lines) => lines.put(segment)?,
        }
        Ok(0)
    }
}
