//! Frames to summaries, and super-packets to segments.

use divan::{AllocProfiler, Bencher, black_box};
use palisade_benches::{ENVELOPE, LINK, frame, world};
use palisade_mirror::Unsealed;
use palisade_packet::{Body, GsoKind, parse, segment};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

#[divan::bench(args = ["tcp 10.0.1.10:1 > 10.0.2.10:2 A", "udp 10.0.1.10:1 > 10.0.2.10:2 len 64", "icmp 10.0.1.10 > 10.0.2.10"])]
fn parsing(bencher: Bencher<'_, '_>, text: &str) {
    let frame = frame(&world(1, 1), text);
    bencher.bench(|| parse(black_box(&frame.bytes)));
}

/// 64 KB of TCP into segments of 1,448 bytes, checksums and all.
#[divan::bench]
fn segmenting(bencher: Bencher<'_, '_>) {
    let frame = frame(&world(1, 1), "tcp 10.0.1.10:1 > 10.0.2.10:2 A len 65000 gso 1448");
    let Ok(Body::Ip(packet)) = parse(&frame.bytes).map(|summary| summary.body) else { return };
    let mut scratch = Vec::with_capacity(70_000);
    bencher.bench_local(|| {
        segment(black_box(&frame.bytes), &packet, GsoKind::Tcp4, 1448, &mut scratch, &mut |segment| {
            black_box(segment);
        });
    });
}

/// A copy of a segment of 1,400 bytes into VXLAN.
#[divan::bench]
fn encapsulating(bencher: Bencher<'_, '_>) {
    let frame = frame(&world(1, 1), "tcp 10.0.1.10:1 > 10.0.2.10:2 A len 1400");
    let mut out = Vec::with_capacity(2_000);
    bencher.bench_local(|| {
        let unsealed = Unsealed { frame: black_box(&frame.bytes), addresses: Some([2; 12]) };
        ENVELOPE.seal(unsealed, LINK, 1, 50_000, &mut out);
        black_box(&out);
    });
}
