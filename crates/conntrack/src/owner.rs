//! Whom an entry belongs to, and how long it may be idle.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The name space of an entry: one per ENI (CT-2). Never given to another ENI later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Zone(pub u32);

/// The idle times that an ENI can set (CT-30, CT-31, CT-32).
///
/// The ranges are the configuration's to check; here a time-out is anything up to a year in hundredths of a second; what is
/// between two of them is rounded up, and longer ones count as a year.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeOuts {
    /// TCP established: 60 to 432,000 s, normally 432,000.
    pub tcp_established: Duration,
    /// UDP, one direction only or a single request and response: 30 to 60 s, normally 30.
    pub udp: Duration,
    /// UDP with more than one request and response: 60 to 180 s, normally 180.
    pub udp_stream: Duration,
}

impl Default for TimeOuts {
    fn default() -> Self {
        Self {
            tcp_established: Duration::from_hours(120),
            udp: Duration::from_secs(30),
            udp_stream: Duration::from_mins(3),
        }
    }
}

/// What the ENI of an entry says about it at the moment of a commit (CT-25, CT-70).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner {
    /// The ENI.
    pub zone: Zone,
    /// The instance whose allowance the ENI shares.
    pub instance: u32,
    /// The allowance: most entries the instance may have alive.
    pub max_tracked: u32,
    /// The idle times now in force.
    pub time_outs: TimeOuts,
}
