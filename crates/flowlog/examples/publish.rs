//! Publishes flow logs of made-up traffic, for readers that others wrote.
//!
//! ```text
//! publish DIRECTORY                                  ten minutes, as text and as Parquet, into the directory
//! publish DIRECTORY ENDPOINT BEGIN                   the same to S3 in both forms, CloudWatch Logs, Firehose and a socket
//! publish DIRECTORY ENDPOINT BEGIN MINUTES LIMIT     a hundred flows in each minute to S3, CloudWatch Logs and Firehose, from
//!                                                    spools of LIMIT bytes; tells what it has counted, waits for a line on
//!                                                    standard input, and delivers all there is
//! ```
//!
//! Spools lie in `DIRECTORY/spool`, the socket is `DIRECTORY/lines.sock`. tests/flowlogs/readers.py and services.py run it and know what
//! it publishes.

use std::error::Error;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use palisade_flow::{Delta, Ground, Hop, Loss, Window};
use palisade_flowlog::{
    Collector, Courier, Destination, FileFormat, FlowLog, Format, Interval, Limits, LineTarget, Objects,
    Resource, Round, Service, Traffic,
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

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let usage = "usage: publish DIRECTORY [ENDPOINT BEGIN [MINUTES LIMIT]]";
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [directory] => ten_minutes(Path::new(directory), directories(Path::new(directory))?, BEGIN),
        [directory, endpoint, begin] => {
            ten_minutes(Path::new(directory), services(Path::new(directory), endpoint)?, begin.parse()?)
        }
        [directory, endpoint, begin, minutes, limit] => {
            let logs =
                services(Path::new(directory), endpoint)?.into_iter().filter(|log| log.id != "fl-0a000005");
            let limits = Limits { spool: limit.parse()?, ..Limits::default() };
            many_minutes(Path::new(directory), logs.collect(), (begin.parse()?, minutes.parse()?), limits)
        }
        _ => Err(usage.into()),
    }
}

fn directories(directory: &Path) -> Result<Vec<FlowLog>, Box<dyn Error>> {
    let to =
        |name: &str, format| Destination::Directory { path: directory.join(name), objects: objects(format) };
    Ok(vec![
        log("fl-0a000001", to("text", FileFormat::PlainText), Format::default()),
        log("fl-0a000002", to("parquet", FileFormat::Parquet), Format::parse(PARQUET)?),
    ])
}

fn services(directory: &Path, endpoint: &str) -> Result<Vec<FlowLog>, Box<dyn Error>> {
    let service = || Service { region: "us-east-1".into(), endpoint: Some(endpoint.into()), profile: None };
    let bucket = |bucket: &str, format| Destination::S3 {
        bucket: bucket.into(),
        objects: objects(format),
        service: service(),
    };
    let socket = LineTarget::Socket(directory.join("lines.sock"));
    Ok(vec![
        log("fl-0a000001", bucket("text", FileFormat::PlainText), Format::default()),
        log("fl-0a000002", bucket("parquet", FileFormat::Parquet), Format::parse(PARQUET)?),
        log(
            "fl-0a000003",
            Destination::CloudWatchLogs { group: "flows".into(), service: service() },
            Format::default(),
        ),
        log(
            "fl-0a000004",
            Destination::Firehose { stream: "flows".into(), service: service() },
            Format::default(),
        ),
        log("fl-0a000005", Destination::Lines(socket), Format::default()),
    ])
}

/// Both ENIs of the world.
type Enis = (EniKey, EniKey);

fn begin(
    directory: &Path,
    logs: Vec<FlowLog>,
    limits: Limits,
    now: u32,
) -> Result<(Collector, Vec<Courier>, Enis), Box<dyn Error>> {
    let snapshot = Arc::new(Snapshot::compile(draft::load("world", WORLD)?, None));
    let [one, two] = ["web-1", "web-2"].map(|name| snapshot.eni_named(name).map(|eni| eni.key));
    let enis = one.zip(two).ok_or("the world has both")?;
    let mut collector = Collector::new(directory.join("spool"), limits)?;
    collector.learn(snapshot, now);
    let couriers = collector.subscribe(logs.into_iter().map(Arc::new).collect(), now)?;
    collector.tick(now, usize::MAX);
    Ok((collector, couriers, enis))
}

fn ten_minutes(directory: &Path, logs: Vec<FlowLog>, now: u32) -> Outcome {
    let (mut collector, mut couriers, (one, two)) = begin(directory, logs, Limits::default(), now)?;
    let flow =
        |eni, direction, ports, after, ground, hop| flow(eni, direction, ports, now + after, ground, hop);
    collector.take(&[
        flow(one, Egress, (40000, 443), 5, Ground::Tracked, Hop::Eni(two)),
        flow(two, Ingress, (40000, 443), 5, Ground::Tracked, Hop::Eni(one)),
        flow(one, Egress, (40000, 443), 42, Ground::Tracked, Hop::Eni(two)),
        flow(two, Ingress, (40001, 22), 59, Ground::NoRule, Hop::None),
        flow(one, Egress, (40000, 443), 310, Ground::Tracked, Hop::Eni(two)),
    ]);
    collector.lose(&Loss { eni: one, window: Window::of(now + 120), deltas: 1, packets: 9, bytes: 900 });
    collector.tick(now + 602, usize::MAX);
    for courier in &mut couriers {
        courier.deliver(now + 602);
        if let Some(error) = &courier.figures().error {
            return Err(format!("{}: {error}", courier.address().log).into());
        }
    }
    Ok(())
}

fn many_minutes(
    directory: &Path,
    logs: Vec<FlowLog>,
    (from, minutes): (u32, u32),
    limits: Limits,
) -> Outcome {
    let names: Vec<_> = logs.iter().map(|log| log.id.clone()).collect();
    let (mut collector, mut couriers, (one, two)) = begin(directory, logs, limits, from)?;
    for second in 0..minutes * 60 {
        if second % 60 == 7 {
            let ports = (0..100).map(|port| (10_000 + port, 443));
            let flows =
                ports.map(|ports| flow(one, Egress, ports, from + second, Ground::Tracked, Hop::Eni(two)));
            collector.take(&flows.collect::<Vec<_>>());
        }
        collector.tick(from + second, usize::MAX);
        for courier in &mut couriers {
            courier.deliver(from + second);
        }
    }
    let mut now = from + minutes * 60 + 302;
    collector.tick(now, usize::MAX);
    tell(&collector, &names);
    std::io::stdin().read_line(&mut String::new())?;
    // Losses are told as soon as there is room.
    for _ in 0..2 {
        for courier in &mut couriers {
            now = deliver(courier, now)?;
        }
        now += 1;
        collector.tick(now, usize::MAX);
    }
    tell(&collector, &names);
    Ok(())
}

/// Delivers everything; the destination has a while to come back.
fn deliver(courier: &mut Courier, mut now: u32) -> Result<u32, Box<dyn Error>> {
    for _ in 0..100 {
        match courier.deliver(now) {
            Round::Failed { again } => now = again,
            Round::Empty | Round::Done => return Ok(now),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(format!("{}: {:?}", courier.address().log, courier.figures().error).into())
}

/// A line for each flow log: records and packets that went to the spool, and that were lost.
#[expect(clippy::print_stdout, reason = "it is what the example is for")]
fn tell(collector: &Collector, logs: &[String]) {
    for log in logs {
        let written = collector.written(log).unwrap_or_default();
        let lost = written.lost;
        println!("{log} {} {} {} {}", written.records, written.packets, lost.records, lost.packets);
    }
    println!("end");
}

fn objects(format: FileFormat) -> Objects {
    Objects { format, ..Objects::default() }
}

fn log(id: &str, destination: Destination, format: Format) -> FlowLog {
    FlowLog {
        id: id.into(),
        account: "123456789010".into(),
        region: "us-east-1".into(),
        resource: Resource::Vpc("vpc-0a000001".into()),
        traffic: Traffic::All,
        interval: Interval::Minute,
        format,
        destination,
    }
}

/// Two packets of 100 bytes from web-1 to web-2.
fn flow(eni: EniKey, direction: Direction, ports: (u16, u16), at: u32, ground: Ground, hop: Hop) -> Delta {
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
        first: at,
        last: at,
        tcp_flags: 2,
        ground,
        rule: None,
        generation: 1,
        hop,
    }
}
