//! Threads that forward, and everything between them and the control side: published policy, ports that come and go,
//! counters.
//!
//! A [`Dataplane`] owns the workers. A worker owns the receive halves of its ports and runs each burst to completion:
//! receive, judge, hand on. What workers share is immutable and published whole: the policy [`Snapshot`] and the table of
//! ports, both taken up at a burst boundary. Nothing per packet takes a lock, reads a clock, logs or, once the buffers
//! have grown, allocates.
//!
//! [`Snapshot`]: palisade_policy::Snapshot
#![forbid(unsafe_code)]

mod balance;
mod clock;
mod copies;
mod crew;
mod dataplane;
mod error;
mod forward;
mod inlet;
mod joiner;
mod judge;
mod laws;
mod outlet;
mod publication;
mod registry;
mod spin;
mod status;
mod worker;

#[cfg(test)]
mod engine_tests;
#[cfg(test)]
mod fragment_tests;
#[cfg(test)]
mod mirror_tests;
#[cfg(test)]
mod testing;

pub use clock::{Clock, ClockHand};
pub use dataplane::{Dataplane, Options};
pub use error::RuntimeError;
pub use judge::Judge;
pub use laws::LawResult;
pub use status::{PortDrops, PortStatus, PortValues, RuntimeStatus, Totals, Traffic, WorkerStatus};
