//! What workers cost each other: the same work by one thread and by several at once, on one engine.
//!
//! Prints nanoseconds a packet and thread. Where nothing is shared they are the same however many threads there are, as far
//! as the machine has processors of its own for them; what they are more is the price of sharing.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::panic, reason = "a benchmark talks, and fails by panicking")]

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant as Real};

use palisade_conntrack::Instant;
use palisade_engine::{Counters, Engine, FlowCache, Lane, Now, Received, Verdict};
use palisade_policy::{Snapshot, draft};
use palisade_scenario::notation::{self, Frame};

/// How long each measurement runs.
const SLICE: Duration = Duration::from_millis(200);
/// Measurements of each kind; the median is told.
const ROUNDS: usize = 7;
/// Connections that there is room for, and openings of one thread before it begins anew.
const ROOM: usize = 1 << 20;
const OPENINGS: u32 = 60_000;

/// What each thread does.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// Segments of an established connection, each thread one of its own between guests of its own.
    OwnFlows,
    /// Segments of one connection: even threads one direction, odd ones the other.
    OneFlow,
    /// First packets of flows, each thread between guests of its own.
    OwnOpenings,
    /// First packets of flows between the same two guests.
    SharedOpenings,
}

impl Work {
    const ALL: [Self; 4] = [Self::OwnFlows, Self::OneFlow, Self::OwnOpenings, Self::SharedOpenings];

    const fn name(self) -> &'static str {
        match self {
            Self::OwnFlows => "segments, a connection and guests of its own each",
            Self::OneFlow => "segments, one connection, a direction each",
            Self::OwnOpenings => "new flows, guests of its own each",
            Self::SharedOpenings => "new flows, the same two guests",
        }
    }

    /// Number of the pair of guests that a thread works for.
    const fn pair(self, thread: usize) -> usize {
        match self {
            Self::OwnFlows | Self::OwnOpenings => thread,
            Self::OneFlow | Self::SharedOpenings => 0,
        }
    }
}

fn main() {
    let most = std::thread::available_parallelism().map_or(2, usize::from).min(64);
    let counts: Vec<_> =
        std::iter::successors(Some(1), |count| Some(count * 2)).take_while(|count| *count <= most).collect();
    println!("nanoseconds a packet and thread, median of {ROUNDS}\n");
    print!("{:<52}", "threads");
    for count in &counts {
        print!("{count:>8}");
    }
    println!();
    for work in Work::ALL {
        print!("{:<52}", work.name());
        let mut samples = vec![Vec::new(); counts.len()];
        for _ in 0..ROUNDS {
            for (count, samples) in counts.iter().zip(&mut samples) {
                samples.push(measure(work, *count));
            }
        }
        for mut samples in samples {
            samples.sort_by(f64::total_cmp);
            print!("{:>8.0}", samples[ROUNDS / 2]);
        }
        println!();
    }
}

/// Pairs of guests `aN` and `bN` in two subnets, each an instance of its own.
fn world(pairs: usize) -> Snapshot {
    let mut text = String::from(
        "[vpc]\ncidr_blocks = [\"10.0.0.0/16\"]\n[subnet.a]\ncidr = \"10.0.1.0/24\"\n[subnet.b]\ncidr = \"10.0.2.0/24\"\n\
         [security_group.g]\ningress = [\"all from 10.0.0.0/16\"]\negress = [\"all to 10.0.0.0/16\"]\n",
    );
    for (side, subnet) in [("a", 1), ("b", 2)] {
        for pair in 0..pairs {
            let _ = write!(
                text,
                "[instance.{side}{pair}]\nenis = [\"{side}{pair}\"]\nmax_tracked = {ROOM}\n\
                 [eni.{side}{pair}]\nsubnet = \"{side}\"\naddress = \"10.0.{subnet}.{}\"\ngroups = [\"g\"]\n\
                 attach = {{ tap = \"{side}{pair}\" }}\n",
                10 + pair
            );
        }
    }
    let vpc = draft::load("scaling", &text).unwrap_or_else(|errors| panic!("{errors}"));
    Snapshot::compile(vpc, None)
}

/// What the threads of a measurement share.
struct Plane {
    engine: Engine,
    snapshot: Snapshot,
    start: Barrier,
    stop: AtomicBool,
}

/// Nanoseconds a packet took a thread.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn measure(work: Work, threads: usize) -> f64 {
    let plane = Plane {
        engine: Engine::new(ROOM),
        snapshot: world(threads),
        start: Barrier::new(threads + 1),
        stop: AtomicBool::new(false),
    };
    let packets: u64 = std::thread::scope(|scope| {
        let hands: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn({
                    let plane = &plane;
                    move || hand(plane, work, thread)
                })
            })
            .collect();
        plane.start.wait();
        std::thread::sleep(SLICE);
        plane.stop.store(true, Ordering::Relaxed);
        hands.into_iter().map(|hand| hand.join().unwrap_or_else(|_| panic!("a thread failed"))).sum()
    });
    SLICE.as_nanos() as f64 * threads as f64 / packets as f64
}

/// One thread: its packets until it is told to stop.
fn hand(plane: &Plane, work: Work, thread: usize) -> u64 {
    let counters = Counters::new();
    counters.ensure_rules(plane.snapshot.rule_slots());
    let mut lane = Lane::new(Arc::new(counters), FlowCache::DEFAULT_ENTRIES);
    let pair = work.pair(thread);
    let mut packets = 0;
    let mut send = |made: &Frame, bytes: &mut [u8]| {
        bytes[..12].copy_from_slice(&made.bytes[..12]);
        let received = Received { vnet: made.vnet, ..Received::default() };
        let now = Now { monotonic: Instant::from_secs(1), unix: Duration::ZERO };
        let outcome = plane.engine.process(&plane.snapshot, &mut lane, now, made.port, bytes, received);
        assert!(matches!(outcome.verdict, Verdict::Deliver(_)), "every packet passes");
    };
    let made = match work {
        Work::OwnFlows | Work::OneFlow => {
            establish(plane, pair, &mut send, thread == pair);
            segment(plane, pair, matches!(work, Work::OneFlow) && thread % 2 == 1)
        }
        Work::OwnOpenings | Work::SharedOpenings => {
            frame(plane, &format!("udp 10.0.1.{0}:1024 > 10.0.2.{0}:53 len 30", 10 + pair))
        }
    };
    let mut bytes = made.bytes.clone();
    plane.start.wait();
    let begin = Real::now();
    while !plane.stop.load(Ordering::Relaxed) && begin.elapsed() < 4 * SLICE {
        for _ in 0..64 {
            if matches!(work, Work::OwnOpenings | Work::SharedOpenings) {
                name(&mut bytes, thread, packets);
            }
            send(&made, &mut bytes);
            packets += 1;
        }
    }
    packets
}

/// Source and destination port of the next flow of a thread.
fn name(bytes: &mut [u8], thread: usize, packets: u64) {
    let flow = u32::try_from(packets % u64::from(u32::MAX)).unwrap_or_default();
    let port = |number: u32| u16::try_from(1_024 + number % OPENINGS).unwrap_or_default().to_be_bytes();
    bytes[34..36].copy_from_slice(&port(flow));
    let thread = u32::try_from(thread).unwrap_or_default();
    bytes[36..38].copy_from_slice(&port(thread * 900 + flow / OPENINGS));
}

/// Opens the connection of a pair, by one of the threads that use it.
fn establish(plane: &Plane, pair: usize, send: &mut impl FnMut(&Frame, &mut [u8]), mine: bool) {
    if !mine {
        while plane.engine.connections().totals().alive == 0 {
            std::thread::yield_now();
        }
        // The other thread's three packets take microseconds.
        std::thread::sleep(Duration::from_millis(20));
        return;
    }
    let host = 10 + pair;
    for text in [
        format!("tcp 10.0.1.{host}:40000 > 10.0.2.{host}:443 S seq 1"),
        format!("tcp 10.0.2.{host}:443 > 10.0.1.{host}:40000 SA seq 9 ack 2"),
        format!("tcp 10.0.1.{host}:40000 > 10.0.2.{host}:443 A seq 2 ack 10"),
    ] {
        let made = frame(plane, &text);
        send(&made, &mut made.bytes.clone());
    }
}

fn segment(plane: &Plane, pair: usize, back: bool) -> Frame {
    let host = 10 + pair;
    let text = if back {
        format!("tcp 10.0.2.{host}:443 > 10.0.1.{host}:40000 A seq 10 ack 2 len 100")
    } else {
        format!("tcp 10.0.1.{host}:40000 > 10.0.2.{host}:443 A seq 2 ack 10 len 100")
    };
    frame(plane, &text)
}

fn frame(plane: &Plane, text: &str) -> Frame {
    let spec = notation::parse(text).unwrap_or_else(|error| panic!("{error}"));
    spec.frame(&plane.snapshot).unwrap_or_else(|error| panic!("{error}"))
}
