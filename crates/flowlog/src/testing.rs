//! A small VPC and deltas for tests.

use std::net::IpAddr;
use std::sync::Arc;

use palisade_flow::{Delta, Ground, Hop};
use palisade_packet::Direction;
use palisade_policy::flow_log::{Destination, Format, Interval, LineTarget, Traffic};
use palisade_policy::{EniKey, Snapshot, draft};

use crate::subscription::{FlowLog, Resource};

/// Two subnets; `web-1` with a secondary address, `db-1`, and `v6-1` on hardware without a longest interval.
pub(crate) const WORLD: &str = r#"
[vpc]
id = "vpc-0a000001"
account = "123456789010"
region = "us-east-1"
cidr_blocks = ["10.0.0.0/16"]
ipv6_cidr_block = "2001:db8:1::/56"
[subnet.web]
id = "subnet-0a000001"
cidr = "10.0.1.0/24"
ipv6_cidr = "2001:db8:1:1::/64"
[subnet.data]
id = "subnet-0a000002"
cidr = "10.0.2.0/24"
[security_group.all]
ingress = [{ rule = "all from 0.0.0.0/0", id = "sgr-00000001" }]
[instance.app]
id = "i-0a000001"
enis = ["web-1"]
[instance.new]
id = "i-0a000003"
enis = ["v6-1"]
profile = "nitro-v6"
[eni.web-1]
id = "eni-0a000001"
subnet = "web"
address = "10.0.1.10"
secondary_addresses = ["10.0.1.11"]
ipv6_addresses = ["2001:db8:1:1::10", "2001:db8:1:1::11"]
groups = ["all"]
attach = { packet = "web-1" }
[eni.v6-1]
id = "eni-0a000003"
subnet = "web"
address = "10.0.1.30"
groups = ["all"]
attach = { packet = "v6-1" }
[eni.db-1]
id = "eni-0a000002"
subnet = "data"
address = "10.0.2.10"
groups = ["all"]
attach = { packet = "db-1" }
"#;

pub(crate) fn snapshot(text: &str) -> Arc<Snapshot> {
    Arc::new(Snapshot::compile(draft::load("test", text).unwrap(), None))
}

pub(crate) fn snapshot_after(previous: &Snapshot, text: &str) -> Arc<Snapshot> {
    Arc::new(Snapshot::compile(draft::load("test", text).unwrap(), Some(previous)))
}

pub(crate) fn key_of(snapshot: &Snapshot, name: &str) -> EniKey {
    snapshot.eni_named(name).unwrap().key
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// An accepted packet of 60 bytes, `source` to `destination`, TCP 40000 to 443, at a second.
pub(crate) fn packet(
    eni: EniKey,
    direction: Direction,
    (source, destination): (&str, &str),
    at: u32,
) -> Delta {
    Delta {
        source: ip(source),
        destination: ip(destination),
        source_port: 40000,
        destination_port: 443,
        protocol: 6,
        direction,
        eni,
        packets: 1,
        bytes: 60,
        first: at,
        last: at,
        tcp_flags: 0,
        ground: Ground::Tracked,
        rule: None,
        generation: 1,
        hop: Hop::None,
    }
}

/// A flow log of the whole VPC in the default format, by minutes.
pub(crate) fn log(id: &str) -> FlowLog {
    FlowLog {
        id: id.into(),
        account: "123456789010".into(),
        region: "us-east-1".into(),
        resource: Resource::Vpc("vpc-0a000001".into()),
        traffic: Traffic::All,
        interval: Interval::Minute,
        format: Format::default(),
        destination: Destination::Lines(LineTarget::Stdout),
    }
}
