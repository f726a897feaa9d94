//! The only place that reads the time.

use std::time::{Instant as OsInstant, SystemTime, UNIX_EPOCH};

use palisade_conntrack::Instant;
use palisade_engine::Now;

/// Time since the data plane started, beside wall-clock time. Copies agree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: OsInstant,
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Self {
        Self { start: OsInstant::now() }
    }

    /// The time, once per burst. A wall clock before 1970 reads as 1970.
    pub(crate) fn now(&self) -> Now {
        let nanos = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Now {
            monotonic: Instant::from_nanos(nanos),
            unix: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        }
    }
}
