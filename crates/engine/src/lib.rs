//! The walk of a packet: one function that forwarding, explaining and scenarios share.
//!
//! The page to read first is [`walk`](../src/walk.rs). Frames and the time come in, frames and counts go out; nothing
//! here reads a clock, opens a file or knows a socket.
#![forbid(unsafe_code)]

mod cache;
mod copying;
mod counters;
mod end;
mod engine;
mod explain;
mod fragments;
mod handover;
mod intake;
mod lane;
mod ledger;
mod limiter;
mod listing;
mod mirroring;
mod outcome;
mod reason;
mod selection;
mod slots;
mod stage;
mod stages;
mod walk;
mod witness;
pub mod words;

pub use cache::FlowCache;
pub use counters::{CopyValues, CounterValues, Counters, SessionValues, SideValues, StageValues, Tally};
pub use engine::Engine;
pub use explain::{Explanation, OutcomeReport, StageReport};
pub use fragments::{Holding, Released};
pub use lane::Lane;
pub use ledger::{Coverage, Handed, Ledger, Tray};
pub use listing::Listing;
pub use mirroring::{Copied, Tapped, Taps};
pub use outcome::{Delivery, Link, Now, Outcome, Received, Reply, Side, Verdict, Walked};
pub use reason::{Consumed, DropReason};
pub use selection::{Selection, SelectionError};
pub use stage::Stage;
