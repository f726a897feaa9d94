//! The whole walk of a packet, from bytes to verdict: tracked, new, denied. No step of it may allocate but the set-up of a flow.

use std::time::Duration;

use divan::{AllocProfiler, Bencher, black_box};
use palisade_benches::{Bed, Mirrored, frame};
use palisade_engine::FlowCache;

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

const RULES: [(usize, usize); 2] = [(20, 60), (1_000, 1_000)];

fn main() {
    divan::main();
}

/// A segment of an established connection.
#[divan::bench(args = RULES)]
fn tracked(bencher: Bencher<'_, '_>, (entries, rules): (usize, usize)) {
    let mut bed = Bed::new(entries, rules, 4096);
    for text in [
        "tcp 10.0.1.10:40000 > 10.0.2.10:443 S seq 1",
        "tcp 10.0.2.10:443 > 10.0.1.10:40000 SA seq 9 ack 2",
        "tcp 10.0.1.10:40000 > 10.0.2.10:443 A seq 2 ack 10",
    ] {
        let mut made = frame(&bed.snapshot, text);
        bed.walk(made.port, &mut made.bytes, made.vnet);
    }
    let made = frame(&bed.snapshot, "tcp 10.0.1.10:40000 > 10.0.2.10:443 PA seq 2 ack 10 len 100");
    let mut bytes = made.bytes.clone();
    bencher.bench_local(|| {
        bytes[..12].copy_from_slice(&made.bytes[..12]);
        black_box(bed.walk(made.port, &mut bytes, made.vnet))
    });
}

/// The same with a flow log of the whole VPC, a segment a second: each settles its flow and is a delta at both ENIs, which leaves at
/// the end of the minute.
#[divan::bench]
fn settled(bencher: Bencher<'_, '_>) {
    const LOG: &str = "[flow_log.all]\ndestination = { json_lines = \"stdout\" }\n";
    let (mut bed, tray, _) = Bed::logged((20, 60), LOG, 4_096, FlowCache::DEFAULT_ENTRIES);
    for text in
        ["tcp 10.0.1.10:40000 > 10.0.2.10:443 S seq 1", "tcp 10.0.2.10:443 > 10.0.1.10:40000 SA seq 9 ack 2"]
    {
        let mut made = frame(&bed.snapshot, text);
        bed.walk(made.port, &mut made.bytes, made.vnet);
    }
    let made = frame(&bed.snapshot, "tcp 10.0.1.10:40000 > 10.0.2.10:443 PA seq 2 ack 10 len 100");
    let mut bytes = made.bytes.clone();
    bencher.bench_local(|| {
        bed.pass(Duration::from_secs(1));
        bytes[..12].copy_from_slice(&made.bytes[..12]);
        black_box(bed.walk(made.port, &mut bytes, made.vnet));
        bed.keep_house(0, 64);
        while tray.take().is_some() {}
    });
}

/// The same, where the sessions of both guests copy it: walked, copied twice, put into VXLAN. 1,400 bytes of payload.
#[divan::bench]
fn mirrored(bencher: Bencher<'_, '_>) {
    let mut bed = Bed::mirrored(20, 60, Mirrored::Everything);
    for text in
        ["tcp 10.0.1.10:40000 > 10.0.2.10:443 S seq 1", "tcp 10.0.2.10:443 > 10.0.1.10:40000 SA seq 9 ack 2"]
    {
        let mut made = frame(&bed.snapshot, text);
        bed.walk(made.port, &mut made.bytes, made.vnet);
    }
    let made = frame(&bed.snapshot, "tcp 10.0.1.10:40000 > 10.0.2.10:443 PA seq 2 ack 10 len 1400");
    let mut bytes = made.bytes.clone();
    bencher.bench_local(|| {
        bytes[..12].copy_from_slice(&made.bytes[..12]);
        let outcome = bed.walk(made.port, &mut bytes, made.vnet);
        black_box(bed.copy(&outcome, &bytes))
    });
}

/// The first packet of a flow: both groups, both ACLs, two new entries. Expired flows are reclaimed on the way.
#[divan::bench(args = RULES, sample_size = 1000)]
fn opening(bencher: Bencher<'_, '_>, (entries, rules): (usize, usize)) {
    let mut bed = Bed::new(entries, rules, 65_536);
    let made = frame(&bed.snapshot, "udp 10.0.1.10:1024 > 10.0.2.10:53 len 30");
    let mut bytes = made.bytes.clone();
    let mut port: u16 = 0;
    bencher.bench_local(|| {
        port = port.wrapping_add(1);
        if port.is_multiple_of(16_384) {
            bed.pass(Duration::from_secs(31));
            bed.reclaim(usize::MAX);
        }
        bytes[..12].copy_from_slice(&made.bytes[..12]);
        bytes[34..36].copy_from_slice(&port.to_be_bytes());
        black_box(bed.walk(made.port, &mut bytes, made.vnet))
    });
}

/// A packet that the sender's source check refuses: the cheapest way out.
#[divan::bench]
fn spoofed(bencher: Bencher<'_, '_>) {
    let mut bed = Bed::new(20, 60, 4096);
    let mut made = frame(&bed.snapshot, "a1 udp 10.0.1.99:1024 > 10.0.2.10:53");
    bencher.bench_local(|| black_box(bed.walk(made.port, &mut made.bytes, made.vnet)));
}
