//! Flow logs as they are asked for.

use std::path::PathBuf;

use palisade_flow::Action;
use serde::{Deserialize, Serialize};

use crate::description::Description;
use crate::format::Format;

/// A flow log. It never changes: one that differs in anything is another one (FL-5).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FlowLog {
    /// `fl-…`.
    pub id: String,
    /// Account that owns it: twelve digits.
    pub account: String,
    /// Its Region, such as `us-east-1`.
    pub region: String,
    /// What it watches.
    pub resource: Resource,
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
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Resource {
    /// A VPC, by its id.
    Vpc(String),
    /// A subnet, by its id.
    Subnet(String),
    /// One ENI, by its id.
    Eni(String),
}

impl Resource {
    /// Whether an ENI is watched.
    #[must_use]
    pub fn covers(&self, eni: &Description) -> bool {
        match self {
            Self::Vpc(id) => *id == eni.vpc,
            Self::Subnet(id) => *id == eni.subnet,
            Self::Eni(id) => *id == eni.eni,
        }
    }
}

/// Which records of flows a flow log wants; NODATA and SKIPDATA it gets whatever it wants (FL-4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
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
    /// Whether records with this action are wanted.
    #[must_use]
    pub const fn wants(self, action: Action) -> bool {
        match self {
            Self::Accept => matches!(action, Action::Accept),
            Self::Reject => matches!(action, Action::Reject),
            Self::All => true,
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

    /// The interval in effect at an ENI: its hardware may not take a longer one than a minute (FL-10).
    #[must_use]
    pub fn at(self, eni: &Description) -> Self {
        match eni.longest_interval {
            Some(longest) if longest < self.seconds() => Self::Minute,
            _ => self,
        }
    }
}

/// Where records go.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Destination {
    /// Objects in a local directory, under the keys they would have in a bucket (FL-71).
    Directory {
        /// The directory, which stands for the bucket.
        path: PathBuf,
        /// How objects are called and written.
        objects: Objects,
    },
    /// A JSON object per line, for people and pipes.
    Lines(LineTarget),
}

/// How objects are called and written (FL-71, FL-72, FL-73).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Objects {
    /// What keys begin with, without slashes at its ends; empty: with `AWSLogs`.
    pub prefix: String,
    /// Whether folders are called `year=2026` and so on, as Hive has it.
    pub hive_compatible: bool,
    /// Whether each hour has a folder.
    pub per_hour: bool,
    /// How objects are written.
    pub format: FileFormat,
}

/// How objects are written (FL-73).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileFormat {
    /// Lines behind a header, compressed with gzip.
    #[default]
    PlainText,
    /// Parquet, its columns compressed with gzip.
    #[cfg(feature = "parquet")]
    Parquet,
}

impl FileFormat {
    /// What keys end with.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::PlainText => ".log.gz",
            #[cfg(feature = "parquet")]
            Self::Parquet => ".log.parquet",
        }
    }
}

/// Where lines of JSON go.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LineTarget {
    /// Standard output.
    Stdout,
    /// A unix socket that somebody listens at.
    Socket(PathBuf),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{WORLD, snapshot};

    fn description(name: &str) -> Description {
        let snapshot = snapshot(WORLD);
        Description::of(snapshot.vpc(), snapshot.eni_named(name).unwrap().index)
    }

    /// FL-1.
    #[test]
    fn fl_1_what_a_flow_log_watches() {
        let (web, db) = (description("web-1"), description("db-1"));
        let covered = |resource: Resource| [&web, &db].map(|eni| resource.covers(eni));
        assert_eq!(covered(Resource::Vpc("vpc-0a000001".into())), [true, true]);
        assert_eq!(covered(Resource::Vpc("vpc-0a000002".into())), [false, false]);
        assert_eq!(covered(Resource::Subnet("subnet-0a000002".into())), [false, true]);
        assert_eq!(covered(Resource::Eni("eni-0a000001".into())), [true, false]);
    }

    /// FL-10: "nitro" never more than a minute.
    #[test]
    fn fl_10_the_profile_limits_the_interval() {
        let at = |name, interval: Interval| interval.at(&description(name));
        assert_eq!(at("web-1", Interval::TenMinutes), Interval::Minute);
        assert_eq!(at("v6-1", Interval::TenMinutes), Interval::TenMinutes);
        assert_eq!(at("v6-1", Interval::Minute), Interval::Minute);
    }
}
