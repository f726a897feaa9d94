//! Flow logs: what workers counted becomes records, and records reach their destinations.
//!
//! ```text
//! workers ── Delta, Loss ─▶ Collector ── records ─▶ Spool ── sealed segments ─▶ Courier ─▶ destination
//!                              ▲     Aggregator     on disk, bounded            on a thread of its own
//!                              └─ Snapshot: who is who at the time of a packet
//! ```
//!
//! Nothing here reads the time of day: `now`, in Unix seconds, comes in.
#![forbid(unsafe_code)]

mod aggregate;
mod collector;
#[cfg(feature = "parquet")]
mod columns;
mod deliver;
mod description;
mod directory;
mod object;
mod read;
mod record;
mod row;
mod select;
mod spool;
mod stamp;
mod subscription;
#[cfg(test)]
mod testing;

pub use aggregate::{Aggregator, LINGER, Outlet, Taken};
pub use collector::{Collector, Limits, Written};
pub use deliver::{Courier, Figures, Round};
pub use description::Description;
pub use directory::Directory;
pub use object::{Key, LARGEST, SLOT};
pub use palisade_policy::flow_log::{
    Destination, Field, FileFormat, Format, FormatError, Interval, Kind, LineTarget, Objects, Service,
    Traffic,
};
pub use read::{Records, find};
pub use record::{Content, Record};
pub use row::{json, values};
pub use select::{Selection, SelectionError};
pub use spool::{Address, Lost, Segment, Spool, Store};
pub use subscription::{FlowLog, Resource};
