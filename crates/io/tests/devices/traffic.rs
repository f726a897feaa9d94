//! Kernels talking TCP through two joined ports of every combination of kinds, with offload on.

use std::sync::atomic::Ordering::Relaxed;

use crate::support::{CrossConnect, Kind, Netns, attach, transfer};
use palisade_io::Faults;

const BYTES: usize = 48 << 20;

fn cross(a_kind: Kind, b_kind: Kind) {
    let (host, a, b) = (Netns::new(), Netns::new(), Netns::new());
    let joined =
        CrossConnect::new(attach(a_kind, &host, &a, "10.9.0.1/24"), attach(b_kind, &host, &b, "10.9.0.2/24"));
    transfer(&a, &b, "10.9.0.2:5001".parse().unwrap(), BYTES);
    transfer(&b, &a, "10.9.0.1:5001".parse().unwrap(), BYTES);
    let seen = &joined.seen;
    assert!(seen.longest.load(Relaxed) > 60_000, "64 KB frames cross whole");
    assert!(seen.segmented.load(Relaxed) > 100, "most data is in such frames");
    assert!(seen.partial.load(Relaxed) > 100, "checksums cross unfinished");
    assert_eq!(seen.failed.load(Relaxed), 0);
    assert_eq!(seen.truncated.load(Relaxed), 0);
}

#[test]
fn tap_to_tap() {
    cross(Kind::Tap, Kind::Tap);
}

#[test]
fn packet_to_packet() {
    cross(Kind::Packet, Kind::Packet);
}

#[test]
fn tap_to_packet() {
    cross(Kind::Tap, Kind::Packet);
}

#[test]
fn ipv6_with_offload() {
    let (host, a, b) = (Netns::new(), Netns::new(), Netns::new());
    let joined = CrossConnect::new(
        attach(Kind::Tap, &host, &a, "fd00:9::1/64"),
        attach(Kind::Packet, &host, &b, "fd00:9::2/64"),
    );
    transfer(&a, &b, "[fd00:9::2]:5001".parse().unwrap(), BYTES);
    assert!(joined.seen.longest.load(Relaxed) > 60_000);
}

#[test]
fn tcp_survives_faults() {
    let (host, a, b) = (Netns::new(), Netns::new(), Netns::new());
    let faults = Faults { seed: 1, loss: 0.02, duplication: 0.01, reordering: 0.01 };
    let joined = CrossConnect::new(
        attach(Kind::Tap, &host, &a, "10.9.0.1/24").faulty(faults).traced(),
        attach(Kind::Packet, &host, &b, "10.9.0.2/24"),
    );
    // Enough frames of 64 KiB that some are lost for sure.
    transfer(&a, &b, "10.9.0.2:5001".parse().unwrap(), 32 << 20);
    let shown = String::from_utf8(a.try_run("nstat -az TcpRetransSegs").stdout).unwrap();
    let resent: u64 = shown.lines().last().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(resent > 0, "losses are made good: {shown}");
    drop(joined);
}
