//! A table of a million connections: filled, listed, under changing rules, expired, while packets of an established
//! connection flow on another thread. Prints what it takes and fails if anything is lost.
//!
//! Time is virtual, so that a time-out takes none; the packets that flow are walked as a worker walks them.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::panic, reason = "a benchmark talks, and fails by panicking")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant as Real};

use palisade_conntrack::Instant;
use palisade_engine::{Counters, Engine, FlowCache, Lane, Now, Received, Verdict};
use palisade_policy::{Snapshot, draft};
use palisade_scenario::notation::{self, Frame};

/// Entries: each flow has one at its sender and one at its receiver (CT-2).
const ENTRIES: u32 = 2 * FLOWS;
const FLOWS: u32 = 500_000;
/// Source ports of the flows; beyond, the destination port is the next one.
const SOURCES: u32 = 62_500;
/// Entries of the connection that flows.
const STEADY: u64 = 2;

const RULES: [&str; 3] = [
    "\"udp 1-65535 from 10.0.0.0/16\", \"tcp 443 from 10.0.1.10/32\"",
    "\"udp 1-65535 from 10.0.0.0/16\", \"tcp 443 from 10.0.1.10/32\", \"tcp 80 from 10.0.1.0/24\"",
    "\"tcp 80 from 10.0.1.0/24\"",
];

/// `others` changes the rules of an ENI that no packet meets.
fn world(rules: &str, others: u16, previous: Option<&Snapshot>) -> Arc<Snapshot> {
    let text = format!(
        "[vpc]\ncidr_blocks = [\"10.0.0.0/16\"]\n\
         [subnet.a]\ncidr = \"10.0.1.0/24\"\n[subnet.b]\ncidr = \"10.0.2.0/24\"\n\
         [security_group.a]\negress = [\"all to 10.0.0.0/16\"]\n\
         [security_group.b]\ningress = [{rules}]\negress = []\n\
         [security_group.c]\ningress = [\"tcp {others} from 10.0.0.0/16\"]\n\
         [instance.a]\nenis = [\"a1\"]\nmax_tracked = 2_000_000\n\
         [instance.b]\nenis = [\"b1\"]\nmax_tracked = 2_000_000\n\
         [eni.a1]\nsubnet = \"a\"\naddress = \"10.0.1.10\"\ngroups = [\"a\"]\nattach = {{ tap = \"a1\" }}\n\
         [eni.b1]\nsubnet = \"b\"\naddress = \"10.0.2.10\"\ngroups = [\"b\"]\nattach = {{ tap = \"b1\" }}\n\
         [eni.c1]\nsubnet = \"b\"\naddress = \"10.0.2.20\"\ngroups = [\"c\"]\nattach = {{ tap = \"c1\" }}\n"
    );
    let vpc = draft::load("million", &text).unwrap_or_else(|errors| panic!("{errors}"));
    Arc::new(Snapshot::compile(vpc, previous))
}

/// What all threads share.
struct Plane {
    engine: Engine,
    snapshot: Mutex<Arc<Snapshot>>,
    /// Nanoseconds.
    clock: AtomicU64,
    stop: AtomicBool,
}

impl Plane {
    fn now(&self) -> Now {
        let nanos = self.clock.load(Ordering::Acquire);
        Now { monotonic: Instant::from_nanos(nanos), unix: Duration::from_nanos(nanos) }
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn send(&self, lane: &mut Lane, snapshot: &Snapshot, frame: &Frame, bytes: &mut [u8]) -> bool {
        bytes[..12].copy_from_slice(&frame.bytes[..12]);
        let received = Received { vnet: frame.vnet, ..Received::default() };
        let outcome = self.engine.process(snapshot, lane, self.now(), frame.port, bytes, received);
        let delivered = matches!(outcome.verdict, Verdict::Deliver(_));
        if delivered {
            lane.counters.delivered(outcome.packets, bytes.len());
        }
        delivered
    }

    /// Publishes rules as the daemon does; returns how long it took.
    fn publish(&self, counters: &Counters, rules: &str, others: u16) -> Duration {
        let start = Real::now();
        let old = self.snapshot();
        let new = world(rules, others, Some(&old));
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&new);
        self.engine.retire(counters, &old, &new, self.now());
        start.elapsed()
    }
}

/// Ends the flowing thread, also when something fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// What the thread with the established connection saw.
struct Flowed {
    packets: u64,
    lost: u64,
    longest: Duration,
}

fn main() {
    let snapshot = world(RULES[0], 1000, None);
    let before = resident();
    let plane = Plane {
        engine: Engine::new(ENTRIES as usize + 1_000),
        snapshot: Mutex::new(snapshot),
        clock: AtomicU64::new(1),
        stop: AtomicBool::new(false),
    };
    let counters = [(); 2].map(|()| Arc::new(Counters::new()));
    for counters in &counters {
        counters.ensure_rules(4_096);
    }
    println!("{:>9} entries fit; {} MiB taken at start", ENTRIES + 1_000, mib(resident() - before));
    let flowed = std::thread::scope(|scope| {
        let steady = scope.spawn(|| flow(&plane, &counters[0]));
        let stop = Stop(&plane.stop);
        live(&plane, &counters[1], before);
        drop(stop);
        steady.join().unwrap_or_else(|_| panic!("the flowing thread failed"))
    });
    println!(
        "{:>9} packets flowed meanwhile, {} lost, longest gap {:?}",
        flowed.packets, flowed.lost, flowed.longest
    );
    assert_eq!(flowed.lost, 0, "a packet of an established connection was lost");
    conserved(&plane, &counters);
}

/// Sends segments of one connection, both ways, until told to stop.
fn flow(plane: &Plane, counters: &Arc<Counters>) -> Flowed {
    let snapshot = plane.snapshot();
    let mut lane = Lane::new(Arc::clone(counters), FlowCache::DEFAULT_ENTRIES);
    let frame = |text: &str| frame(&snapshot, text);
    for text in [
        "tcp 10.0.1.10:40000 > 10.0.2.10:443 S seq 1",
        "tcp 10.0.2.10:443 > 10.0.1.10:40000 SA seq 9 ack 2",
        "tcp 10.0.1.10:40000 > 10.0.2.10:443 A seq 2 ack 10",
    ] {
        let made = frame(text);
        assert!(plane.send(&mut lane, &snapshot, &made, &mut made.bytes.clone()), "{text}");
    }
    let segments = [
        frame("tcp 10.0.1.10:40000 > 10.0.2.10:443 A seq 2 ack 10 len 100"),
        frame("tcp 10.0.2.10:443 > 10.0.1.10:40000 A seq 10 ack 102 len 100"),
    ];
    let mut bytes = segments.each_ref().map(|segment| segment.bytes.clone());
    let mut flowed = Flowed { packets: 0, lost: 0, longest: Duration::ZERO };
    let mut last = Real::now();
    while !plane.stop.load(Ordering::Acquire) {
        let snapshot = plane.snapshot();
        for _ in 0..32 {
            for (segment, bytes) in segments.iter().zip(&mut bytes) {
                flowed.packets += 1;
                flowed.lost += u64::from(!plane.send(&mut lane, &snapshot, segment, bytes));
            }
        }
        let now = Real::now();
        flowed.longest = flowed.longest.max(now - last);
        last = now;
    }
    flowed
}

/// Fill, list, change, expire.
fn live(plane: &Plane, counters: &Arc<Counters>, before: u64) {
    let mut lane = Lane::new(Arc::clone(counters), FlowCache::DEFAULT_ENTRIES);
    let table = plane.engine.connections();
    while table.totals().alive < STEADY {
        std::thread::yield_now();
    }
    let start = Real::now();
    assert_eq!(fill(plane, &mut lane, 0..FLOWS), FLOWS as usize, "every flow opens");
    let took = start.elapsed();
    let alive = table.totals().alive;
    let memory = resident() - before;
    println!(
        "{alive:>9} entries after {took:.2?}: {:?} a flow, {} MiB, {} bytes an entry",
        took / FLOWS,
        mib(memory),
        memory / alive
    );
    assert_eq!(alive, u64::from(ENTRIES) + STEADY);

    let start = Real::now();
    let listed = table.list(plane.now().monotonic);
    println!("{:>9} entries listed in {:.2?}", listed.len(), start.elapsed());
    assert_eq!(listed.len() as u64, u64::from(ENTRIES) + STEADY);
    drop(listed);

    let took: Duration = (0..100).map(|n| plane.publish(counters, RULES[0], 2_000 + n)).sum();
    println!("      100 changes of another ENI's rules, {:.2?} each", took / 100);
    println!("        1 change of this ENI's rules, {:.2?}", plane.publish(counters, RULES[1], 3_000));
    println!("        1 rule taken away under all of them, {:.2?}", plane.publish(counters, RULES[2], 3_000));
    assert_eq!(
        table.totals().alive,
        u64::from(ENTRIES) + STEADY,
        "tracked connections outlive their rule (CT-20)"
    );
    assert_eq!(fill(plane, &mut lane, 0..1_000), 1_000, "their packets pass");
    assert_eq!(fill(plane, &mut lane, FLOWS..FLOWS + 1_000), 0, "no new one does");
    expire(plane, counters);
}

/// UDP time-outs pass; what expires is reclaimed in portions, as a worker does.
fn expire(plane: &Plane, counters: &Counters) {
    let table = plane.engine.connections();
    plane.clock.fetch_add(31_000_000_000, Ordering::AcqRel);
    let start = Real::now();
    let (mut portions, mut longest) = (0, Duration::ZERO);
    while table.totals().alive > STEADY {
        let portion = Real::now();
        plane.engine.advance(counters, plane.now(), 2_048);
        longest = longest.max(portion.elapsed());
        portions += 1;
    }
    println!(
        "{:>9} entries expired in {:.2?}, {portions} portions, the longest {longest:.2?}",
        table.totals().expired,
        start.elapsed()
    );
    assert_eq!(table.list(plane.now().monotonic).len() as u64, STEADY, "the established connection stays");
}

/// Sends one packet of each flow; returns how many were delivered.
fn fill(plane: &Plane, lane: &mut Lane, flows: std::ops::Range<u32>) -> usize {
    let snapshot = plane.snapshot();
    let made = frame(&snapshot, "udp 10.0.1.10:1024 > 10.0.2.10:53 len 30");
    let mut bytes = made.bytes.clone();
    flows
        .filter(|flow| {
            // No port below 1024: a guest that sends from port 67 is no DHCP server (RES-31).
            let source = u16::try_from(1_024 + flow % SOURCES).unwrap_or_default();
            let destination = u16::try_from(1_024 + flow / SOURCES).unwrap_or_default();
            bytes[34..36].copy_from_slice(&source.to_be_bytes());
            bytes[36..38].copy_from_slice(&destination.to_be_bytes());
            plane.send(lane, &snapshot, &made, &mut bytes)
        })
        .count()
}

/// Conservation laws 1, 3 and 4.
fn conserved(plane: &Plane, counters: &[Arc<Counters>]) {
    let mut values = palisade_engine::CounterValues::default();
    for counters in counters {
        values += &counters.values();
    }
    assert_eq!(values.received, values.delivered + values.dropped.total(), "law 1");
    let connections = plane.engine.connections().totals();
    let ended = connections.expired + connections.closed + connections.removed;
    assert_eq!(connections.created, connections.alive + ended, "law 3");
    let stages = [values.acl_ingress, values.acl_egress, values.group_ingress, values.group_egress];
    let reached: u64 = stages.iter().map(|stage| stage.reached).sum();
    let defaults = values.group_ingress.by_default + values.group_egress.by_default;
    assert_eq!(values.rule_hits + defaults, reached, "law 4");
    println!(
        "conserved: {} packets in, {} delivered, {} dropped; {} entries created, {} expired, {} alive",
        values.received,
        values.delivered,
        values.dropped.total(),
        connections.created,
        connections.expired,
        connections.alive
    );
}

fn frame(snapshot: &Snapshot, text: &str) -> Frame {
    let spec = notation::parse(text).unwrap_or_else(|error| panic!("{error}"));
    spec.frame(snapshot).unwrap_or_else(|error| panic!("{error}"))
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    pages * 4_096
}

const fn mib(bytes: u64) -> u64 {
    bytes >> 20
}
