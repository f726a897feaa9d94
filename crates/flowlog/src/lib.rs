//! Flow logs: what workers counted becomes records, and records reach their destinations.
#![forbid(unsafe_code)]

mod aggregate;
mod description;
mod directory;
mod field;
mod format;
mod record;
mod subscription;
#[cfg(test)]
mod testing;

pub use aggregate::{Aggregator, LINGER, Outlet, Taken};
pub use description::Description;
pub use directory::Directory;
pub use field::{Field, Kind};
pub use format::{Format, FormatError};
pub use record::{Content, Record};
pub use subscription::{Destination, FlowLog, Interval, LineTarget, Objects, Resource, Traffic};
