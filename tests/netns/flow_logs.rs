//! Flow logs of the daemon: what it publishes of real traffic, held against what was on the wire.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use palisade_tests::sockets::{self, Attempt, Echo};
use palisade_tests::{Bed, Mode, Policy, PortKind, Setup, daemon, tool};
use serde_json::Value;

/// Packets and bytes by interface, source, source port, destination, destination port, protocol and action.
pub(crate) type Sums = BTreeMap<Key, (u64, u64)>;
pub(crate) type Key = (String, String, u64, String, u64, u64, String);

pub(crate) fn logged(bed: &Bed, policy: &Policy) -> Policy {
    policy.clone().and(&format!(
        "[flow_log.all]\nmax_aggregation_interval = 60\ndestination = {{ directory = \"{}\" }}\n",
        published(bed).display()
    ))
}

pub(crate) fn published(bed: &Bed) -> std::path::PathBuf {
    bed.dir().join("published")
}

/// What was published, by the daemon's own reader.
pub(crate) fn sums(directory: &Path) -> Sums {
    let out = tool::must(
        daemon::binary().to_str().unwrap(),
        &["flows", "read", "--records", "--output", "json", directory.to_str().unwrap()],
    );
    let mut sums = Sums::new();
    for line in out.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        if record["log-status"] != "OK" {
            continue;
        }
        let text = |field: &str| record[field].as_str().unwrap().to_owned();
        let number = |field: &str| record[field].as_u64().unwrap();
        let key = (
            text("interface-id"),
            text("srcaddr"),
            number("srcport"),
            text("dstaddr"),
            number("dstport"),
            number("protocol"),
            text("action"),
        );
        let sum = sums.entry(key).or_default();
        sum.0 += number("packets");
        sum.1 += number("bytes");
    }
    sums
}

/// FL-14, FL-30, FL-32, FL-33: at both ends what happened there, in every mode.
#[test]
fn records_tell_of_both_ends_what_passed_and_what_was_rejected() {
    for mode in Mode::ALL {
        let mut bed = Bed::prepare(Setup::new(PortKind::Tap, PortKind::Packet).in_mode(mode));
        let policy =
            Policy::open().group("b", &["icmp 8/any from 10.0.1.0/24", "tcp 80 from 10.0.1.0/24"], &[]);
        let policy = logged(&bed, &policy);
        bed.start_daemon(&policy).unwrap();
        assert!(tool::ping(&bed.guest("a").netns, "10.0.2.10", "") > 0.99);
        let _echo = Echo::tcp(&bed.guest("b").netns, &[22]);
        let to = SocketAddr::new(bed.guest("b").address(false), 22);
        let tried = sockets::attempt(&bed.guest("a").netns, to, Duration::from_millis(300));
        assert_eq!(tried, Attempt::Filtered);
        let status = bed.daemon().status();
        let id = |name: &str| {
            let ports = status["ports"].as_array().unwrap();
            let port = ports.iter().find(|port| port["name"] == name).unwrap();
            port["id"].as_str().unwrap().to_owned()
        };
        let (a, b) = (id("a"), id("b"));
        bed.daemon.take().unwrap().stop();
        let sums = sums(&published(&bed));
        let of = |eni: &str, from: &str, protocol: u64, action: &str| {
            let is_it = |key: &&Key| key.0 == eni && key.1 == from && key.5 == protocol && key.6 == action;
            let found = sums.iter().filter(|(key, _)| is_it(key));
            found.fold((0, 0), |sum, (_, volume)| (sum.0 + volume.0, sum.1 + volume.1))
        };
        for eni in [&a, &b] {
            assert_eq!(of(eni, "10.0.1.10", 1, "ACCEPT"), (3, 3 * 84), "{mode:?} {sums:?}");
            assert_eq!(of(eni, "10.0.2.10", 1, "ACCEPT"), (3, 3 * 84), "{mode:?} {sums:?}");
        }
        let (sent, rejected) = (of(&a, "10.0.1.10", 6, "ACCEPT"), of(&b, "10.0.1.10", 6, "REJECT"));
        assert!(sent.0 >= 1 && sent == rejected, "{mode:?} {sums:?}");
        assert_eq!(of(&a, "10.0.1.10", 6, "REJECT"), (0, 0));
        assert_eq!(of(&b, "10.0.1.10", 6, "ACCEPT"), (0, 0));
    }
}

/// FL-14: offloads on, a frame of the sender is many packets on the wire. What both ends' records tell is what a capture at the
/// receiver, for which the daemon segments, has seen, to the packet and to the byte.
#[test]
fn fl_14_records_of_bulk_traffic_are_what_was_on_the_wire() {
    const BYTES: u64 = 20_000_000;
    let mut bed = Bed::prepare(Setup::taps().with("b", |plan| plan.offload = false));
    let policy = logged(&bed, &Policy::open());
    bed.start_daemon(&policy).unwrap();
    let capture = bed.dir().join("b.pcap");
    let b = &bed.guest("b").netns;
    bed.guest("b").set_offloads(false);
    let line =
        format!("tcpdump -i eth0 -n -U --immediate-mode -s 96 -B 65536 -w {} ip and tcp", capture.display());
    let tcpdump = tool::Background::start(b, &line);
    let begun = std::time::Instant::now();
    while std::fs::metadata(&capture).map_or(0, |file| file.len()) < 24 {
        assert!(begun.elapsed() < Duration::from_secs(5), "the capture has not begun");
        std::thread::sleep(Duration::from_millis(10));
    }
    let _server = tool::Background::start(b, "iperf3 -s -1");
    tool::await_listener(b, 5201);
    let client = format!("iperf3 -c 10.0.2.10 -n {BYTES} -J");
    let said = tool::run(&bed.guest("a").netns, Duration::from_secs(30), &client).expect("iperf3");
    let said: Value = serde_json::from_str(&said).unwrap();
    let received = said["end"]["sum_received"]["bytes"].as_u64().unwrap();
    std::thread::sleep(Duration::from_millis(800));
    drop(tcpdump);
    let status = bed.daemon().status();
    let port = |name: &str| status["ports"].as_array().unwrap().iter().find(|it| it["name"] == name).unwrap();
    let (a, b) = (port("a")["id"].as_str().unwrap().to_owned(), port("b")["id"].as_str().unwrap().to_owned());
    bed.daemon.take().unwrap().stop();
    let (published, captured) = (sums(&published(&bed)), captured(&std::fs::read(&capture).unwrap()));
    for eni in [a, b] {
        let records = published.iter().filter(|(key, _)| key.0 == eni && key.5 == 6);
        let records: BTreeMap<_, _> = records
            .map(|((_, source, source_port, to, to_port, _, action), volume)| {
                assert_eq!(action, "ACCEPT");
                ((source.clone(), *source_port, to.clone(), *to_port), *volume)
            })
            .collect();
        assert_eq!(records, captured, "at {eni}");
        let bulk = records.iter().filter(|(key, _)| key.3 == 5201).map(|(_, volume)| volume.1).sum::<u64>();
        assert!(received > BYTES / 2 && bulk > received, "{bulk} bytes for {received} of payload");
    }
}

/// Packets and IP lengths by addresses and ports, of a capture of Ethernet frames with TCP in IPv4.
fn captured(file: &[u8]) -> BTreeMap<(String, u64, String, u64), (u64, u64)> {
    let word = |at: usize| u32::from_le_bytes(file[at..][..4].try_into().unwrap());
    assert_eq!(word(0), 0xa1b2_c3d4, "a capture in the machine's byte order, with microseconds");
    let (mut at, mut sums) = (24, BTreeMap::new());
    while at + 16 <= file.len() {
        let length = usize::try_from(word(at + 8)).unwrap();
        let ip = &file[at + 16 + 14..at + 16 + length];
        let number = |at: usize| u64::from(u16::from_be_bytes([ip[at], ip[at + 1]]));
        let address =
            |at: usize| std::net::Ipv4Addr::from(<[u8; 4]>::try_from(&ip[at..at + 4]).unwrap()).to_string();
        let tcp = usize::from(ip[0] & 0xf) * 4;
        let sum: &mut (u64, u64) =
            sums.entry((address(12), number(tcp), address(16), number(tcp + 2))).or_default();
        sum.0 += 1;
        sum.1 += number(2);
        at += 16 + length;
    }
    sums
}
