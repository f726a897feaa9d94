//! A million connections with flow logs of the whole VPC, over the ends of minutes: how long a worker's packets wait while
//! everything that was counted in a minute leaves it, what that takes of memory, and whether all of it is in records.
//!
//! Time is virtual: in each millisecond of it a burst is walked, and housekeeping is done as often and in such portions as a
//! worker does it, while a thread takes up what is handed over, as the daemon's does. The steps are measured in CPU time of
//! the worker's thread, the gap between two bursts in real time, in which others may have had the processor.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::panic, reason = "a benchmark talks, and fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use palisade_benches::{Bed, frame, resident};
use palisade_engine::{Handed, Tray, Verdict};
use palisade_flowlog::{Collector, FlowLog, Limits};
use palisade_policy::Snapshot;
use palisade_scenario::notation::Frame;

const RULES: usize = 1_000;
const FLOWS: u32 = 1_000_000;
/// Flows opened, and packets sent once all are open, in a burst.
const OPENED: u32 = 32;
const BURST: u32 = 64;
/// Between two rounds of housekeeping, in milliseconds; and what is done in one. As in a worker.
const KEEP_HOUSE_EVERY: u64 = 5;
const SETTLE: usize = 256;
const HAND_OVER: usize = 1_024;
/// Minutes that pass with all flows open.
const MINUTES: u64 = 1;
/// Records of open windows: four a flow (both ends, both directions), for two windows.
const RECORDS: usize = 8 * FLOWS as usize;
/// Source ports of the flows; beyond, the destination port is the next one.
const SOURCES: u32 = 60_000;
/// Coprime to [`FLOWS`]: stepping by it visits all flows, none near the one before.
const STRIDE: u64 = 2_654_435_761;

fn main() {
    let directory = std::env::temp_dir().join(format!("palisade-rollover-{}", std::process::id()));
    let log = format!(
        "[flow_log.all]\nid = \"fl-0a000001\"\nmax_aggregation_interval = 60\ndestination = {{ directory = \"{}\" }}\n",
        directory.display()
    );
    let start = resident();
    let flows = FLOWS as usize;
    let (bed, tray, snapshot) = Bed::logged((RULES, RULES), &log, flows * 9 / 4, flows * 5 / 2);
    let keeper =
        Keeper { tray, second: AtomicU64::new(bed.second()), stopped: AtomicBool::new(false), snapshot };
    println!("{:>9} MiB taken at start", mib(resident() - start));
    let (sent, told) = std::thread::scope(|scope| {
        let taking = scope.spawn(|| keeper.keep(&directory));
        let mut worker = Worker::new(bed, &keeper);
        worker.run(start);
        let sent = worker.finish();
        keeper.stopped.store(true, Ordering::Release);
        (sent, taking.join().unwrap_or_else(|_| panic!("the thread that keeps flow logs failed")))
    });
    std::fs::remove_dir_all(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    println!(
        "{:>9} records of {} packets, {} packets lost; {} MiB at the end",
        told.records,
        told.packets,
        told.lost,
        mib(resident() - start)
    );
    assert_eq!((told.packets, told.lost), (2 * sent, 0), "law 2: each packet is seen at two ENIs");
}

/// Who takes up what is handed over.
struct Keeper {
    tray: Arc<Tray>,
    /// Unix second of the virtual clock.
    second: AtomicU64,
    stopped: AtomicBool,
    snapshot: Arc<Snapshot>,
}

/// What has become of it.
#[derive(Default)]
struct Told {
    records: u64,
    packets: u64,
    lost: u64,
}

impl Keeper {
    fn keep(&self, directory: &Path) -> Told {
        let limits = Limits { records: RECORDS, spool: 8 << 30 };
        let mut collector = Collector::new(directory, limits).unwrap_or_else(|error| panic!("{error}"));
        let logs = FlowLog::all(self.snapshot.vpc());
        let now = || u32::try_from(self.second.load(Ordering::Acquire)).unwrap_or(u32::MAX);
        collector.learn(Arc::clone(&self.snapshot), now());
        collector.subscribe(logs.clone(), now()).unwrap_or_else(|error| panic!("{error}"));
        let mut missing = 0;
        loop {
            let stopped = self.stopped.load(Ordering::Acquire);
            let batch: Vec<_> = std::iter::from_fn(|| self.tray.take()).take(4_096).collect();
            let rest = if stopped { self.tray.take_remains() } else { Vec::new() };
            let is_calm = batch.is_empty();
            for handed in batch.into_iter().chain(rest) {
                match handed {
                    Handed::Delta(delta) => collector.take(&[delta]),
                    Handed::Loss(untold) => {
                        missing += untold.packets;
                        collector.lose(&untold);
                    }
                }
            }
            let more = collector.tick(now(), 16_384);
            if is_calm && !more {
                if stopped {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        collector.finish();
        let written = logs.first().and_then(|log| collector.written(&log.id)).unwrap_or_default();
        Told { records: written.records, packets: written.packets, lost: missing + written.lost.packets }
    }
}

/// The longest of some steps.
#[derive(Default)]
struct Longest {
    step: Duration,
    gap: Duration,
}

struct Worker<'k> {
    bed: Bed,
    keeper: &'k Keeper,
    /// SYN, its answer, segments each way.
    frames: [Frame; 4],
    sent: u64,
    milliseconds: u64,
    last: Instant,
    longest: Longest,
    /// Something of an earlier minute had not been handed over after the last round of housekeeping.
    behind: bool,
}

impl<'k> Worker<'k> {
    fn new(bed: Bed, keeper: &'k Keeper) -> Self {
        let frames = [
            "tcp 10.0.1.10:1024 > 10.0.2.10:1024 S seq 1",
            "tcp 10.0.2.10:1024 > 10.0.1.10:1024 SA seq 9 ack 2",
            "tcp 10.0.1.10:1024 > 10.0.2.10:1024 A seq 2 ack 10",
            "tcp 10.0.2.10:1024 > 10.0.1.10:1024 A seq 10 ack 2",
        ]
        .map(|text| frame(&bed.snapshot, text));
        let (longest, last) = (Longest::default(), Instant::now());
        Self { bed, keeper, frames, sent: 0, milliseconds: 0, last, longest, behind: false }
    }

    fn run(&mut self, start: u64) {
        for first in (0..FLOWS).step_by(OPENED as usize) {
            self.step(|worker| {
                (first..first + OPENED).for_each(|flow| (0..3).for_each(|kind| worker.send(kind, flow)));
            });
        }
        self.tell(&format!("{FLOWS:>9} connections opened, {} MiB", mib(resident() - start)));
        let mut next = 0_u64;
        for minute in 1..=MINUTES {
            self.minute(&mut next, |worker| !worker.bed.second().is_multiple_of(60));
            self.tell(&format!("{minute:>9}. minute"));
            let begun = self.milliseconds;
            let sweep = self.bed.buckets().div_ceil(SETTLE) as u64 * KEEP_HOUSE_EVERY;
            self.minute(&mut next, |worker| worker.milliseconds - begun < sweep || worker.behind);
            let took = Duration::from_millis(self.milliseconds - begun);
            self.tell(&format!("          its end: all of it handed over within {took:.1?}"));
        }
    }

    /// Sends segments of flows in random order, while it lasts.
    fn minute(&mut self, next: &mut u64, lasts: impl Fn(&Self) -> bool) {
        let begun = self.milliseconds;
        while self.milliseconds == begun || lasts(self) {
            let first = *next;
            self.step(|worker| {
                for number in first..first + u64::from(BURST) {
                    let flow = u32::try_from(number / 2 * STRIDE % u64::from(FLOWS)).unwrap_or_default();
                    worker.send(if number % 2 == 0 { 2 } else { 3 }, flow);
                }
            });
            *next += u64::from(BURST);
        }
    }

    /// A millisecond.
    fn step(&mut self, work: impl FnOnce(&mut Self)) {
        let begun = cpu_time();
        work(self);
        self.milliseconds += 1;
        self.bed.pass(Duration::from_millis(1));
        if self.milliseconds.is_multiple_of(KEEP_HOUSE_EVERY) {
            self.behind = self.bed.keep_house(SETTLE, HAND_OVER);
        }
        self.longest.step = self.longest.step.max(cpu_time().saturating_sub(begun));
        let now = Instant::now();
        self.longest.gap = self.longest.gap.max(now - self.last);
        self.keeper.second.store(self.bed.second(), Ordering::Release);
        // Virtual time runs faster than the other thread can work: it gets the time that it would have had.
        while self.keeper.tray.len() > Tray::DEFAULT_CAPACITY / 2 {
            std::thread::yield_now();
        }
        self.last = Instant::now();
    }

    fn tell(&mut self, what: &str) {
        let Longest { step, gap } = std::mem::take(&mut self.longest);
        println!("{what}; longest step {step:.0?}, longest gap {gap:.0?}");
    }

    fn send(&mut self, kind: usize, flow: u32) {
        let Frame { port, vnet, ref bytes, .. } = self.frames[kind];
        let mut packet = [0; 54];
        packet.copy_from_slice(&bytes[..54]);
        let ports = [1_024 + flow % SOURCES, 1_024 + flow / SOURCES].map(u32::to_be_bytes);
        let [[.., s0, s1], [.., d0, d1]] = ports;
        let there = kind.is_multiple_of(2);
        packet[34..38].copy_from_slice(&if there { [s0, s1, d0, d1] } else { [d0, d1, s0, s1] });
        let outcome = self.bed.walk(port, &mut packet, vnet);
        assert!(matches!(outcome.verdict, Verdict::Deliver(_)), "it is delivered");
        self.sent += 1;
    }

    /// Hands over what is left; returns how many packets there were.
    fn finish(mut self) -> u64 {
        self.bed.close();
        self.sent
    }
}

/// Of this thread.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

const fn mib(bytes: u64) -> u64 {
    bytes >> 20
}
