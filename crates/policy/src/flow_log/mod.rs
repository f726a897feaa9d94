//! Flow logs as a configuration asks for them: what they watch, which records they want, and where those go.
//!
//! Plain values. Nothing here judges packets, so a change of flow logs leaves every policy stamp as it was.

mod destination;
mod field;
mod format;

use serde::{Deserialize, Serialize};

pub use destination::{Destination, FileFormat, LineTarget, Objects, Service};
pub use field::{Field, Kind};
pub use format::{Format, FormatError};

use crate::ids::IdKind;
use crate::model::{EniIndex, SubnetIndex, Vpc};

/// A flow log of a [`Vpc`]. It never changes: one that differs in anything is another one (FL-5).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FlowLog {
    /// `fl-…`.
    pub id: String,
    /// Name in the configuration file.
    pub name: String,
    /// What it watches.
    pub resource: Watched,
    /// Which records it wants.
    pub traffic: Traffic,
    /// Longest time that a record covers.
    pub interval: Interval,
    /// Fields of its records.
    pub format: Format,
    /// Where its records go.
    pub destination: Destination,
}

/// What a flow log watches: every ENI there, present and future (FL-1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Watched {
    /// The whole VPC.
    Vpc,
    /// A subnet.
    Subnet(SubnetIndex),
    /// One ENI.
    Eni(EniIndex),
}

impl Watched {
    /// The id of what is watched, in the VPC that the index is of.
    #[must_use]
    pub fn id(self, vpc: &Vpc) -> &str {
        match self {
            Self::Vpc => &vpc.id,
            Self::Subnet(subnet) => &vpc[subnet].id,
            Self::Eni(eni) => &vpc[eni].id,
        }
    }
}

/// Which records of flows a flow log wants; NODATA and SKIPDATA it gets whatever it wants (FL-4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Traffic {
    /// Accepted packets.
    Accept,
    /// Rejected packets.
    Reject,
    /// Both.
    #[default]
    All,
}

impl Traffic {
    /// Each of them, as AWS lists them.
    pub const ALL: [Self; 3] = [Self::Accept, Self::Reject, Self::All];

    /// AWS's word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "ACCEPT",
            Self::Reject => "REJECT",
            Self::All => "ALL",
        }
    }
}

/// The longest time that one record covers (FL-10).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Interval {
    /// 60 s.
    Minute,
    /// 600 s.
    #[default]
    TenMinutes,
}

impl Interval {
    /// Both, the shorter one first.
    pub const ALL: [Self; 2] = [Self::Minute, Self::TenMinutes];

    /// Its length in seconds.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        match self {
            Self::Minute => 60,
            Self::TenMinutes => 600,
        }
    }
}

impl FlowLog {
    /// The id of a flow log that was given none. It follows from everything that the flow log is, so that one that is
    /// edited is another one (FL-5), and what the first still has to deliver goes where the first said.
    #[must_use]
    pub(crate) fn derive_id(&self, vpc: &Vpc) -> String {
        let Self { id: _, name, resource, traffic, interval, format, destination } = self;
        let (watched, traffic, seconds) = (resource.id(vpc), traffic.as_str(), interval.seconds());
        let definition = format!("{name}\n{watched}\n{traffic}\n{seconds}\n{format}\n{}", destination.text());
        IdKind::FlowLog.derive(&vpc.id, &definition)
    }

    /// Whether two would write the same records to the same place (FL-6).
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        let key = |log: &Self| (log.resource, log.traffic);
        key(self) == key(other) && self.destination == other.destination && self.format == other.format
    }
}
