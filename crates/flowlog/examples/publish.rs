//! Publishes a few flow logs of made-up traffic into a directory, for readers that others wrote: `publish DIRECTORY`.
//!
//! tests/flowlogs/readers.py runs it and knows what it publishes.

use std::error::Error;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use palisade_flow::{Delta, Ground, Hop, Loss, Window};
use palisade_flowlog::{
    Collector, Destination, FileFormat, FlowLog, Format, Interval, Limits, Objects, Resource, Traffic,
};
use palisade_packet::Direction::{self, Egress, Ingress};
use palisade_policy::{EniKey, Snapshot, draft};

/// 2026-11-26 14:20:00.
const BEGIN: u32 = 1_795_702_800;

const WORLD: &str = r#"
[vpc]
id = "vpc-0a000001"
account = "123456789010"
cidr_blocks = ["10.0.0.0/16"]
[subnet.web]
id = "subnet-0a000001"
cidr = "10.0.1.0/24"
[eni.web-1]
id = "eni-0a000001"
subnet = "web"
address = "10.0.1.10"
attach = { packet = "web-1" }
[eni.web-2]
id = "eni-0a000002"
subnet = "web"
address = "10.0.1.20"
attach = { packet = "web-2" }
"#;

const PARQUET: &str = "${version} ${interface-id} ${srcaddr} ${dstaddr} ${dstport} ${packets} ${bytes} ${start} ${end} \
                       ${action} ${log-status} ${vpc-id} ${tcp-flags} ${flow-direction} ${traffic-path} ${palisade-rule}";

fn main() -> Result<(), Box<dyn Error>> {
    let directory = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: publish DIRECTORY")?);
    let spools = directory.join("spool");
    let snapshot = Arc::new(Snapshot::compile(draft::load("world", WORLD)?, None));
    let [one, two] = ["web-1", "web-2"].map(|name| snapshot.eni_named(name).map(|eni| eni.key));
    let (one, two) = one.zip(two).ok_or("the world has both")?;
    let mut collector = Collector::new(&spools, Limits::default())?;
    collector.learn(snapshot, BEGIN);
    let logs = [
        log("fl-0a000001", &directory.join("text"), Format::default(), FileFormat::PlainText),
        log("fl-0a000002", &directory.join("parquet"), Format::parse(PARQUET)?, FileFormat::Parquet),
    ];
    let mut couriers = collector.subscribe(logs.map(Arc::new).into(), BEGIN)?;
    collector.tick(BEGIN, usize::MAX);
    collector.take(&[
        flow(one, Egress, (40000, 443), 5, Ground::Tracked, Hop::Eni(two)),
        flow(two, Ingress, (40000, 443), 5, Ground::Tracked, Hop::Eni(one)),
        flow(one, Egress, (40000, 443), 42, Ground::Tracked, Hop::Eni(two)),
        flow(two, Ingress, (40001, 22), 59, Ground::NoRule, Hop::None),
        flow(one, Egress, (40000, 443), 310, Ground::Tracked, Hop::Eni(two)),
    ]);
    collector.lose(&Loss { eni: one, window: Window::of(BEGIN + 120), deltas: 1, packets: 9, bytes: 900 });
    collector.tick(BEGIN + 602, usize::MAX);
    for courier in &mut couriers {
        courier.deliver(BEGIN + 602);
        if let Some(error) = &courier.figures().error {
            return Err(error.clone().into());
        }
    }
    Ok(())
}

fn log(id: &str, path: &Path, format: Format, files: FileFormat) -> FlowLog {
    let objects = Objects { format: files, ..Objects::default() };
    FlowLog {
        id: id.into(),
        account: "123456789010".into(),
        region: "us-east-1".into(),
        resource: Resource::Vpc("vpc-0a000001".into()),
        traffic: Traffic::All,
        interval: Interval::Minute,
        format,
        destination: Destination::Directory { path: path.into(), objects },
    }
}

/// Two packets of 100 bytes from web-1 to web-2.
fn flow(eni: EniKey, direction: Direction, ports: (u16, u16), after: u32, ground: Ground, hop: Hop) -> Delta {
    Delta {
        source: IpAddr::from([10, 0, 1, 10]),
        destination: IpAddr::from([10, 0, 1, 20]),
        source_port: ports.0,
        destination_port: ports.1,
        protocol: 6,
        direction,
        eni,
        packets: 2,
        bytes: 200,
        first: BEGIN + after,
        last: BEGIN + after,
        tcp_flags: 2,
        ground,
        rule: None,
        generation: 1,
        hop,
    }
}
