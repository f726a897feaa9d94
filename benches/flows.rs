//! Connections by the thousand and by the million, at 1,000 ACL entries and 1,000 group rules per side: what opening one
//! costs, a segment of an established one, its end; what one takes of memory; and the longest step of a worker meanwhile. In
//! CPU time of the thread. Prints a line per size. Numbers of flows may be given as arguments.
//!
//! Time is virtual, so that a time-out takes none. Segments are minimal ones, of both directions, of flows in random order:
//! 32 in a burst, then each in a burst of its own (`lone`), which has to stamp its connections and waits for memory alone.
//! Buckets of the flow cache may be full, so that some of them walk; `served` says how many do not.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::panic, reason = "a benchmark talks, and fails by panicking")]

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use palisade_benches::{Bed, frame, resident};
use palisade_engine::Verdict;
use palisade_scenario::notation::Frame;

const RULES: usize = 1_000;
const SIZES: [u32; 4] = [1_000, 100_000, 1_000_000, 4_000_000];
/// Frames judged between two looks at what else is to be done, as in a worker.
const BURST: u32 = 32;
/// Entries that a worker reclaims at a time.
const PORTION: usize = 1_024;
/// Segments sent to see what one costs.
const HITS: u32 = 1_000_000;
/// Source ports of the flows; beyond, the destination port is the next one.
const SOURCES: u32 = 60_000;
/// Coprime to every size: stepping by it visits all flows, none near the one before.
const STRIDE: u64 = 2_654_435_761;

fn main() {
    let asked: Vec<u32> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    println!(
        "{:>9} {:>9} {:>9} {:>9} {:>9} {:>8} {:>9} {:>12} {:>12} {:>12}",
        "flows",
        "open",
        "complete",
        "segment",
        "lone",
        "served",
        "end",
        "bytes each",
        "longest open",
        "longest end"
    );
    for flows in if asked.is_empty() { SIZES.to_vec() } else { asked } {
        measure(flows);
    }
}

/// One line of the table.
fn measure(flows: u32) {
    let before = resident();
    let entries = flows as usize * 2;
    let mut plane = Plane::new(Bed::with_room(RULES, RULES, entries + entries / 8 + 1_000, entries * 5 / 4));
    let (open, longest_open) = plane.send_all(flows, &[Kind::Syn]);
    let (complete, _) = plane.send_all(flows, &[Kind::SynAck, Kind::Ack, Kind::Ack, Kind::Answer]);
    let memory = (resident() - before) / u64::from(flows);
    let (segment, served) = plane.hits(flows, false);
    let (lone, _) = plane.hits(flows, true);
    let (end, longest_end) = plane.end(flows);
    println!(
        "{flows:>9} {open:>9.0?} {complete:>9.0?} {segment:>9.1?} {lone:>9.1?} {served:>7.1}% {end:>9.0?} {memory:>12} {longest_open:>12.0?} {longest_end:>12.0?}"
    );
}

/// What is sent of a flow.
#[derive(Clone, Copy)]
enum Kind {
    Syn,
    SynAck,
    Ack,
    Answer,
}

struct Plane {
    bed: Bed,
    /// By [`Kind`].
    frames: [Frame; 4],
}

impl Plane {
    fn new(bed: Bed) -> Self {
        let frames = [
            "tcp 10.0.1.10:1024 > 10.0.2.10:1024 S seq 1",
            "tcp 10.0.2.10:1024 > 10.0.1.10:1024 SA seq 9 ack 2",
            "tcp 10.0.1.10:1024 > 10.0.2.10:1024 A seq 2 ack 10",
            "tcp 10.0.2.10:1024 > 10.0.1.10:1024 A seq 10 ack 2",
        ]
        .map(|text| frame(&bed.snapshot, text));
        Self { bed, frames }
    }

    /// Sends these packets of every flow; returns the time a flow took and the longest burst.
    fn send_all(&mut self, flows: u32, kinds: &[Kind]) -> (Duration, Duration) {
        let start = cpu_time();
        let mut longest = Duration::ZERO;
        for first in (0..flows).step_by(BURST as usize) {
            let begun = cpu_time();
            for flow in first..flows.min(first + BURST) {
                for kind in kinds {
                    self.send(*kind, flow);
                }
            }
            longest = longest.max(cpu_time().saturating_sub(begun));
        }
        (cpu_time().saturating_sub(start) / flows, longest)
    }

    /// Sends segments of flows in random order, each in a burst of its own or many in one; returns the time one took, and how
    /// many of a hundred the cache served.
    fn hits(&mut self, flows: u32, lone: bool) -> (Duration, f64) {
        let hits = self.bed.hits();
        let start = cpu_time();
        let mut next = 0;
        while next < u64::from(HITS) {
            for kind in [Kind::Ack, Kind::Answer] {
                let burst = if lone { 1 } else { BURST };
                let flow = |number| u32::try_from(number * STRIDE % u64::from(flows)).unwrap_or_default();
                let numbers = (next..next + u64::from(burst)).map(flow);
                self.burst(kind, numbers);
                next += u64::from(burst);
                if lone {
                    self.bed.pass(Duration::from_nanos(100));
                }
            }
        }
        let took = cpu_time().saturating_sub(start) / HITS;
        let served = u32::try_from(self.bed.hits() - hits).unwrap_or(HITS);
        (took, 100.0 * f64::from(served) / f64::from(HITS))
    }

    /// Sends packets of these flows as a worker gets them, in one burst.
    fn burst(&mut self, kind: Kind, flows: impl Iterator<Item = u32>) {
        let mut frames = [[0; 54]; BURST as usize];
        let mut filled = 0;
        for (frame, flow) in frames.iter_mut().zip(flows) {
            *frame = self.frame(kind, flow);
            filled += 1;
        }
        let Frame { port, vnet, .. } = self.frames[kind as usize];
        let frames = &mut frames[..filled];
        self.bed.prefetch(port, frames);
        for frame in frames {
            let outcome = self.bed.walk(port, frame, vnet);
            assert!(matches!(outcome.verdict, Verdict::Deliver(_)), "it is delivered");
        }
    }

    /// Lets all flows end; returns the time one took, and the longest portion.
    fn end(&mut self, flows: u32) -> (Duration, Duration) {
        self.bed.pass(Duration::from_hours(121));
        let start = cpu_time();
        let mut longest = Duration::ZERO;
        while self.bed.alive() > 0 {
            let begun = cpu_time();
            self.bed.reclaim(PORTION);
            longest = longest.max(cpu_time().saturating_sub(begun));
        }
        (cpu_time().saturating_sub(start) / flows, longest)
    }

    fn send(&mut self, kind: Kind, flow: u32) {
        self.burst(kind, std::iter::once(flow));
    }

    fn frame(&self, kind: Kind, flow: u32) -> [u8; 54] {
        let ports = [1_024 + flow % SOURCES, 1_024 + flow / SOURCES].map(u32::to_be_bytes);
        let [[.., s0, s1], [.., d0, d1]] = ports;
        let ports = match kind {
            Kind::Syn | Kind::Ack => [s0, s1, d0, d1],
            Kind::SynAck | Kind::Answer => [d0, d1, s0, s1],
        };
        let mut bytes = [0; 54];
        bytes.copy_from_slice(&self.frames[kind as usize].bytes[..54]);
        bytes[34..38].copy_from_slice(&ports);
        bytes
    }
}

/// Of this thread.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}
