//! A small VPC and deltas for tests.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use palisade_conntrack::Instant;
use palisade_engine::Now;
use palisade_flow::{Delta, Ground, Hop};
use palisade_policy::model::Direction;
use palisade_policy::{RuleName, RuleSlot, Snapshot, draft};

const WORLD: &str = r#"
[vpc]
cidr_blocks = ["10.0.0.0/16"]
[subnet.a]
cidr = "10.0.1.0/24"
network_acl = "strict"
[network_acl.strict]
id = "acl-00000001"
ingress = ["120 allow all from 0.0.0.0/0"]
egress = ["120 allow all to 0.0.0.0/0"]
[security_group.all]
ingress = [{ rule = "all from 0.0.0.0/0", id = "sgr-00000001" }]
[eni.web]
id = "eni-00000001"
subnet = "a"
address = "10.0.1.10"
groups = ["all"]
attach = { tap = "web" }
[eni.db]
id = "eni-00000002"
subnet = "a"
address = "10.0.1.20"
groups = ["all"]
attach = { tap = "db" }
"#;

pub(in crate::daemon::flow_logs) fn snapshot() -> Arc<Snapshot> {
    Arc::new(Snapshot::compile(draft::load("test", WORLD).unwrap(), None))
}

/// The next policy, of a text that differs.
pub(in crate::daemon::flow_logs) fn changed(
    before: &Snapshot,
    change: impl Fn(&str) -> String,
) -> Arc<Snapshot> {
    Arc::new(Snapshot::compile(draft::load("test", &change(WORLD)).unwrap(), Some(before)))
}

/// The slot of the only rule of the group.
pub(in crate::daemon::flow_logs) fn rule(snapshot: &Snapshot) -> RuleSlot {
    let is_it = |slot: &RuleSlot| matches!(snapshot.rule(*slot), Some(RuleName::GroupRule { rule, .. }) if rule == "sgr-00000001");
    let slots = (0..u32::try_from(snapshot.rule_slots()).unwrap()).map(RuleSlot);
    slots.into_iter().find(is_it).unwrap()
}

pub(in crate::daemon::flow_logs) fn at(second: u64) -> Now {
    Now { monotonic: Instant::from_secs(second), unix: Duration::from_secs(second) }
}

/// Two packets of 60 bytes that `web` received from a TCP port of 10.0.1.20 in one second.
pub(in crate::daemon::flow_logs) fn delta(port: u16, second: u32) -> Delta {
    let snapshot = snapshot();
    Delta {
        source: IpAddr::from([10, 0, 1, 20]),
        destination: IpAddr::from([10, 0, 1, 10]),
        source_port: port,
        destination_port: 443,
        protocol: 6,
        direction: Direction::Ingress,
        eni: snapshot.eni_named("web").unwrap().key,
        packets: 2,
        bytes: 120,
        first: second,
        last: second,
        tcp_flags: 0,
        ground: Ground::Rule,
        rule: Some(rule(&snapshot)),
        generation: 1,
        hop: Hop::None,
    }
}
