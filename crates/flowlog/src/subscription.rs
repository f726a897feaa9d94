//! Flow logs as they are asked for.

use std::sync::Arc;

use palisade_flow::Action;
use palisade_policy::Vpc;
use palisade_policy::flow_log::{self, Destination, Format, Interval, Traffic, Watched};

use crate::description::Description;

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

impl FlowLog {
    /// The flow logs of a VPC, with the names of their resources resolved.
    #[must_use]
    pub fn all(vpc: &Vpc) -> Vec<Arc<Self>> {
        vpc.flow_logs.iter().map(|log| Arc::new(Self::of(vpc, log))).collect()
    }

    fn of(vpc: &Vpc, log: &flow_log::FlowLog) -> Self {
        let id = log.resource.id(vpc).to_owned();
        Self {
            id: log.id.clone(),
            account: vpc.account.clone(),
            region: vpc.region.clone(),
            resource: match log.resource {
                Watched::Vpc => Resource::Vpc(id),
                Watched::Subnet(_) => Resource::Subnet(id),
                Watched::Eni(_) => Resource::Eni(id),
            },
            traffic: log.traffic,
            interval: log.interval,
            format: log.format.clone(),
            destination: log.destination.clone(),
        }
    }
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

/// Whether a flow log wants the records with an action; NODATA and SKIPDATA it gets whatever it wants (FL-4).
#[must_use]
pub(crate) const fn wants(traffic: Traffic, action: Action) -> bool {
    match traffic {
        Traffic::Accept => matches!(action, Action::Accept),
        Traffic::Reject => matches!(action, Action::Reject),
        Traffic::All => true,
    }
}

/// The interval in effect at an ENI: its hardware may not take a longer one than a minute (FL-10).
#[must_use]
pub(crate) fn interval_at(asked: Interval, eni: &Description) -> Interval {
    match eni.longest_interval {
        Some(longest) if longest < asked.seconds() => Interval::Minute,
        _ => asked,
    }
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
        let at = |name, interval: Interval| interval_at(interval, &description(name));
        assert_eq!(at("web-1", Interval::TenMinutes), Interval::Minute);
        assert_eq!(at("v6-1", Interval::TenMinutes), Interval::TenMinutes);
        assert_eq!(at("v6-1", Interval::Minute), Interval::Minute);
    }

    #[test]
    fn what_a_configuration_says_is_what_is_delivered() {
        let text = format!(
            "{WORLD}[flow_log.all]\nid = \"fl-0a000001\"\ndestination = {{ directory = \"/logs\" }}\n\
             [flow_log.data]\nsubnet = \"data\"\ntraffic_type = \"REJECT\"\nmax_aggregation_interval = 60\n\
             log_format = \"${{srcaddr}}\"\ndestination = {{ json_lines = \"stdout\" }}\n"
        );
        let [all, data] = &*FlowLog::all(snapshot(&text).vpc()) else { panic!("not two") };
        assert_eq!((&*all.id, &*all.account, &*all.region), ("fl-0a000001", "123456789010", "us-east-1"));
        assert_eq!(all.resource, Resource::Vpc("vpc-0a000001".into()));
        assert_eq!((all.traffic, all.interval), (Traffic::All, Interval::TenMinutes));
        assert_eq!(data.resource, Resource::Subnet("subnet-0a000002".into()));
        assert_eq!((data.traffic, data.interval), (Traffic::Reject, Interval::Minute));
        assert_eq!(data.format.header(), "srcaddr");
    }
}
