//! Work for an instruction counter: one path of the data plane, so many times, and nothing else in the function that is counted.
//!
//! `scripts/instructions.sh` runs it under callgrind. Usage: `instructions acl-RULES|groups-RULES|parse|hit|logged|delta|unmirrored|mirrored|vxlan|miss COUNT`.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use palisade_benches::{Bed, ENVELOPE, LINK, Mirrored, frame, world};
use palisade_engine::{FlowCache, Tray};
use palisade_mirror::Unsealed;
use palisade_packet::Direction;
use palisade_policy::{FilterKey, Match, Snapshot};
use palisade_scenario::notation::Frame;

/// The rules of the instruction counts, per ACL and per group.
const RULES: (usize, usize) = (1_000, 1_000);
/// A flow log of the whole VPC.
const LOG: &str = "[flow_log.all]\ndestination = { json_lines = \"stdout\" }\n";
/// Flows that are opened before time passes, so that the table stays small.
const ROUND: u16 = 1_000;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let path = words.next();
    let count = words.next().and_then(|count| count.parse().ok()).unwrap_or(10_000);
    match path.as_deref() {
        Some("parse") => parse_path(&established().1, count),
        Some("hit") => {
            let (mut bed, made) = established();
            segments(&mut bed, &made, 100);
            hit_path(&mut bed, &made, count);
        }
        Some("logged") => {
            let (mut bed, made) = established_in(Bed::new(RULES.0, RULES.1, 4_096).covered());
            segments(&mut bed, &made, 100);
            logged_path(&mut bed, &made, count);
        }
        Some("delta") => {
            let (bed, tray, _) = Bed::logged(RULES, LOG, 4_096, FlowCache::DEFAULT_ENTRIES);
            let (mut bed, made) = established_in(bed);
            segments(&mut bed, &made, 100);
            delta_path(&mut bed, &tray, &made, count);
        }
        Some("unmirrored") => {
            let (mut bed, made) = established_in(Bed::mirrored(RULES.0, RULES.1, Mirrored::Nothing));
            segments(&mut bed, &made, 100);
            hit_path(&mut bed, &made, count); // two functions that do the same would be made one
        }
        Some("mirrored") => {
            let (mut bed, made) = established_in(Bed::mirrored(RULES.0, RULES.1, Mirrored::Everything));
            copies(&mut bed, &made, 100);
            mirrored_path(&mut bed, &made, count);
        }
        Some("vxlan") => vxlan_path(&established().1.bytes, count),
        Some("miss") => {
            let mut bed = Bed::new(RULES.0, RULES.1, 65_536);
            let made = frame(&bed.snapshot, "udp 10.0.1.10:1024 > 10.0.2.10:53 len 30");
            miss_path(&mut bed, &made, count);
        }
        Some(path) => return classify(path, count),
        None => return ExitCode::from(2),
    }
    ExitCode::SUCCESS
}

/// Asks one ACL, or the groups of an interface, about a packet that only the last rule matches; `acl-RULES` or `groups-RULES`.
fn classify(path: &str, count: u32) -> ExitCode {
    let Some((what, Ok(rules))) = path.split_once('-').map(|(what, rules)| (what, rules.parse())) else {
        return ExitCode::from(2);
    };
    let key = FilterKey { address: [10, 0, 1, 10].into(), protocol: 6, selector: Match::Port(443) };
    match what {
        "acl" => acl_path(&world(rules, 1), &key, count),
        "groups" => groups_path(&world(1, rules), &key, count),
        _ => return ExitCode::from(2),
    }
    ExitCode::SUCCESS
}

#[inline(never)]
fn acl_path(snapshot: &Snapshot, key: &FilterKey, count: u32) {
    let acl = &snapshot.subnet(snapshot.enis()[1].subnet).acl;
    for _ in 0..count {
        black_box(acl.decide(Direction::Ingress, black_box(key)));
    }
}

#[inline(never)]
fn groups_path(snapshot: &Snapshot, key: &FilterKey, count: u32) {
    let groups = &snapshot.enis()[1].groups;
    for _ in 0..count {
        black_box(groups.decide(Direction::Ingress, black_box(key), true));
    }
}

/// A world with one established connection, and a segment of it.
fn established() -> (Bed, Frame) {
    established_in(Bed::new(RULES.0, RULES.1, 4096))
}

fn established_in(mut bed: Bed) -> (Bed, Frame) {
    for text in [
        "tcp 10.0.1.10:40000 > 10.0.2.10:443 S seq 1",
        "tcp 10.0.2.10:443 > 10.0.1.10:40000 SA seq 9 ack 2",
        "tcp 10.0.1.10:40000 > 10.0.2.10:443 A seq 2 ack 10",
    ] {
        let mut made = frame(&bed.snapshot, text);
        bed.walk(made.port, &mut made.bytes, made.vnet);
    }
    let made = frame(&bed.snapshot, "tcp 10.0.1.10:40000 > 10.0.2.10:443 A seq 2 ack 10");
    (bed, made)
}

/// Bytes to summary.
#[inline(never)]
fn parse_path(made: &Frame, count: u32) {
    for _ in 0..count {
        black_box(&palisade_packet::parse(black_box(&made.bytes)));
    }
}

/// Segments of an established connection, served from the flow cache.
#[inline(never)]
fn hit_path(bed: &mut Bed, made: &Frame, count: u32) {
    segments(bed, made, count);
}

/// The same with flow logs, a thousand a second, which all come at its beginning; so the flow is settled once in a thousand.
#[inline(never)]
fn logged_path(bed: &mut Bed, made: &Frame, count: u32) {
    let mut bytes = made.bytes.clone();
    for number in 0..count {
        if number.is_multiple_of(1_000) {
            bed.pass(Duration::from_secs(1));
        }
        bytes[..12].copy_from_slice(&made.bytes[..12]);
        black_box(&bed.walk(made.port, black_box(&mut bytes), made.vnet));
    }
}

/// A segment a second, so that each settles its flow: what it has counted goes to the ledger, for both ENIs; the ledger's records go
/// on at the end of the minute.
#[inline(never)]
fn delta_path(bed: &mut Bed, tray: &Tray, made: &Frame, count: u32) {
    let mut bytes = made.bytes.clone();
    for number in 0..count {
        bed.pass(Duration::from_secs(1));
        bytes[..12].copy_from_slice(&made.bytes[..12]);
        black_box(&bed.walk(made.port, black_box(&mut bytes), made.vnet));
        if number.is_multiple_of(60) {
            bed.keep_house(0, usize::MAX);
            while tray.take().is_some() {}
        }
    }
}

/// A copy of a frame into VXLAN, and nothing else.
#[inline(never)]
fn vxlan_path(frame: &[u8], count: u32) {
    let mut out = Vec::with_capacity(2_000);
    for number in 0..count {
        let unsealed = Unsealed { frame: black_box(frame), addresses: Some([2; 12]) };
        let [low, high, ..] = number.to_le_bytes();
        let identification = u16::from_le_bytes([low, high]);
        black_box(ENVELOPE).seal(unsealed, black_box(LINK), identification, 50_000, &mut out);
        black_box(&out);
    }
}

/// The same, with the two copies of sessions that copy everything.
#[inline(never)]
fn mirrored_path(bed: &mut Bed, made: &Frame, count: u32) {
    copies(bed, made, count);
}

fn copies(bed: &mut Bed, made: &Frame, count: u32) {
    let mut bytes = made.bytes.clone();
    for _ in 0..count {
        bytes[..12].copy_from_slice(&made.bytes[..12]);
        let outcome = bed.walk(made.port, &mut bytes, made.vnet);
        assert_eq!(bed.copy(&outcome, &bytes), 2);
    }
}

fn segments(bed: &mut Bed, made: &Frame, count: u32) {
    let mut bytes = made.bytes.clone();
    for _ in 0..count {
        bytes[..12].copy_from_slice(&made.bytes[..12]);
        black_box(&bed.walk(made.port, black_box(&mut bytes), made.vnet));
    }
}

/// First packets of flows: both groups, both ACLs, two entries each.
#[inline(never)]
fn miss_path(bed: &mut Bed, made: &Frame, count: u32) {
    let mut bytes = made.bytes.clone();
    let mut port: u16 = 0;
    for _ in 0..count {
        port = port.wrapping_add(1);
        if port.is_multiple_of(ROUND) {
            bed.pass(Duration::from_secs(31));
            bed.reclaim(usize::MAX);
        }
        bytes[..12].copy_from_slice(&made.bytes[..12]);
        bytes[34..36].copy_from_slice(&port.to_be_bytes());
        black_box(bed.walk(made.port, black_box(&mut bytes), made.vnet));
    }
}
