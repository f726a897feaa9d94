//! A table of a million connections: filled, listed, under changing rules, revoked, expired, while packets of an
//! established connection flow on another thread. Prints what it takes and fails if anything is lost.
//!
//! Time is virtual, so that a time-out takes none; the packets that flow are walked as a worker walks them.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::panic, reason = "a benchmark talks, and fails by panicking")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant as Real};

use palisade_benches::resident;
use palisade_conntrack::{ConnTable, Instant};
use palisade_engine::{Counters, Engine, FlowCache, Lane, Now, Received, Selection, Verdict};
use palisade_policy::{Snapshot, draft};
use palisade_scenario::notation::{self, Frame};

/// Entries: each flow has one at its sender and one at its receiver (CT-2).
const ENTRIES: u32 = 2 * FLOWS;
const FLOWS: u32 = 500_000;
/// Those that are opened first, and expire first.
const HALF: u32 = FLOWS / 2;
/// Flows that another worker opens while the table is listed, at most.
const NEWCOMERS: u32 = 2_000;
/// Room for entries beyond [`ENTRIES`].
const SPARE: u32 = 10_000;
/// Source ports of the flows; beyond, the destination port is the next one.
const SOURCES: u32 = 62_500;
/// Entries of the connection that flows.
const STEADY: u64 = 2;

const RULES: [&str; 4] = [
    "\"udp 1-65535 from 10.0.0.0/16\", \"tcp 443 from 10.0.1.10/32\"",
    "\"udp 1-65535 from 10.0.0.0/16\", \"tcp 443 from 10.0.1.10/32\", \"tcp 80 from 10.0.1.0/24\"",
    "\"tcp 80 from 10.0.1.0/24\"",
    "\"tcp 443 from 10.0.1.10/32\"",
];

/// `others` changes the rules of an ENI that no packet meets.
fn world(rules: &str, others: u16, revocation: &str, previous: Option<&Snapshot>) -> Arc<Snapshot> {
    let text = format!(
        "[vpc]\ncidr_blocks = [\"10.0.0.0/16\"]\nrevocation = \"{revocation}\"\n\
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
    /// Longest time between two looks at the established connection since somebody asked, in nanoseconds.
    gap: AtomicU64,
}

impl Plane {
    fn now(&self) -> Now {
        let nanos = self.clock.load(Ordering::Acquire);
        Now { monotonic: Instant::from_nanos(nanos), unix: Duration::from_nanos(nanos) }
    }

    /// Moves the clock.
    fn pass(&self, time: Duration) {
        self.clock.fetch_add(nanos(time), Ordering::AcqRel);
    }

    /// The longest gap that the established connection has seen since the last call.
    fn gap(&self) -> Duration {
        Duration::from_nanos(self.gap.swap(0, Ordering::AcqRel))
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
    fn publish(&self, counters: &Counters, rules: &str, others: u16, revocation: &str) -> Duration {
        let start = Real::now();
        let old = self.snapshot();
        let new = world(rules, others, revocation, Some(&old));
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
}

fn main() {
    let snapshot = world(RULES[0], 1000, "aws", None);
    let before = resident();
    let plane = Plane {
        engine: Engine::new((ENTRIES + SPARE) as usize),
        snapshot: Mutex::new(snapshot),
        clock: AtomicU64::new(1),
        stop: AtomicBool::new(false),
        gap: AtomicU64::new(0),
    };
    let counters = [(); 3].map(|()| Arc::new(Counters::new()));
    for counters in &counters {
        counters.ensure_rules(4_096);
    }
    println!(
        "{:>9} entries fit, in some {} MiB; {} MiB taken at start",
        ENTRIES + SPARE,
        mib(budget()),
        mib(resident() - before)
    );
    let flowed = std::thread::scope(|scope| {
        let steady = scope.spawn(|| flow(&plane, &counters[0]));
        let stop = Stop(&plane.stop);
        live(&plane, [&counters[1], &counters[2]], before);
        drop(stop);
        steady.join().unwrap_or_else(|_| panic!("the flowing thread failed"))
    });
    println!("{:>9} packets flowed meanwhile, {} lost", flowed.packets, flowed.lost);
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
    let mut flowed = Flowed { packets: 0, lost: 0 };
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
        plane.gap.fetch_max(nanos(now - last), Ordering::AcqRel);
        last = now;
    }
    flowed
}

/// Fill, list, change, expire half, revoke the rest at one end, expire it at the other.
fn live(plane: &Plane, [ours, others]: [&Arc<Counters>; 2], before: u64) {
    let mut lane = Lane::new(Arc::clone(ours), FlowCache::DEFAULT_ENTRIES);
    let table = plane.engine.connections();
    while table.totals().alive < STEADY {
        std::thread::yield_now();
    }
    plane.gap();
    let start = Real::now();
    assert_eq!(fill(plane, &mut lane, 0..HALF), HALF as usize, "every flow opens");
    plane.pass(Duration::from_secs(10));
    assert_eq!(fill(plane, &mut lane, HALF..FLOWS), HALF as usize, "every flow opens");
    let (took, alive, memory) = (start.elapsed(), table.totals().alive, resident() - before);
    println!(
        "{alive:>9} entries after {took:.2?}: {:?} a flow, {} MiB, {} bytes an entry; longest gap {:.2?}",
        took / FLOWS,
        mib(memory),
        memory / alive,
        plane.gap()
    );
    assert_eq!(alive, u64::from(ENTRIES) + STEADY);
    // Lanes and frames are in it, too.
    assert!(memory <= budget() + budget() / 8, "more than is said of it");

    list(plane, others);
    change(plane, ours, &mut lane);
    expire(plane, ours);
}

/// Lists all; then the first of all, as `palisade conns` does, while another worker opens connections.
fn list(plane: &Plane, counters: &Arc<Counters>) {
    let (table, start) = (plane.engine.connections(), Real::now());
    let listed = table.list(plane.now().monotonic).len();
    println!("{listed:>9} entries listed in {:.2?}; longest gap {:.2?}", start.elapsed(), plane.gap());
    assert_eq!(listed as u64, u64::from(ENTRIES) + STEADY);

    let done = AtomicBool::new(false);
    let (opened, slowest) = std::thread::scope(|scope| {
        let newcomers = scope.spawn(|| newcomers(plane, counters, &done));
        let stop = Stop(&done);
        let (snapshot, before, start) = (plane.snapshot(), resident(), Real::now());
        let listing = plane.engine.select(&Selection::default(), &snapshot, plane.now(), 1_000);
        println!(
            "{:>9} entries counted and the first {} listed in {:.2?} and {} MiB; longest gap {:.2?}",
            listing.total,
            listing.first.len(),
            start.elapsed(),
            mib(resident().saturating_sub(before)),
            plane.gap()
        );
        assert_eq!(listing.first.len(), 1_000);
        assert!(listing.total as u64 >= u64::from(ENTRIES) + STEADY, "some were left out");
        drop(stop);
        newcomers.join().unwrap_or_else(|_| panic!("the opening thread failed"))
    });
    println!("{opened:>9} connections opened meanwhile, the slowest in {slowest:.2?}");
}

/// Opens connections until told to stop; returns how many, and how long one took at most.
fn newcomers(plane: &Plane, counters: &Arc<Counters>, done: &AtomicBool) -> (u32, Duration) {
    let mut lane = Lane::new(Arc::clone(counters), FlowCache::DEFAULT_ENTRIES);
    let (mut opened, mut slowest) = (0, Duration::ZERO);
    while opened < NEWCOMERS && !done.load(Ordering::Acquire) {
        let (flow, start) = (FLOWS + opened, Real::now());
        assert_eq!(fill(plane, &mut lane, flow..flow + 1), 1, "there is room for it");
        slowest = slowest.max(start.elapsed());
        opened += 1;
    }
    (opened, slowest)
}

/// Rules change under all of them.
fn change(plane: &Plane, counters: &Arc<Counters>, lane: &mut Lane) {
    let table = plane.engine.connections();
    let alive = table.totals().alive;
    let took: Duration = (0..100).map(|n| plane.publish(counters, RULES[0], 2_000 + n, "aws")).sum();
    println!(
        "      100 changes of another ENI's rules, {:.2?} each; longest gap {:.2?}",
        took / 100,
        plane.gap()
    );
    for (rules, what) in
        [(RULES[1], "change of this ENI's rules"), (RULES[2], "rule taken away under all of them")]
    {
        let took = plane.publish(counters, rules, 3_000, "aws");
        println!("        1 {what}, {took:.2?}; longest gap {:.2?}", plane.gap());
    }
    assert_eq!(table.totals().alive, alive, "tracked connections outlive their rule (CT-20)");
    assert_eq!(fill(plane, lane, 0..1_000), 1_000, "their packets pass");
    let strangers = FLOWS + NEWCOMERS;
    assert_eq!(fill(plane, lane, strangers..strangers + 1_000), 0, "no new one does");
}

/// The time-outs of the first half pass; a strict policy revokes the rest at the end that refuses it (CT-27); then the
/// time-outs of what is left pass.
fn expire(plane: &Plane, counters: &Counters) {
    let table = plane.engine.connections();
    plane.pass(Duration::from_secs(21));
    reclaim(plane, counters);
    let alive = table.totals().alive;
    let took = plane.publish(counters, RULES[3], 3_000, "strict");
    let revoked = table.totals().revoked;
    println!("{revoked:>9} entries revoked in {took:.2?}; longest gap {:.2?}", plane.gap());
    assert_eq!(table.totals().alive, alive - revoked);
    assert!(revoked >= u64::from(HALF) && revoked < alive, "those of one end");
    plane.pass(Duration::from_secs(31));
    reclaim(plane, counters);
    assert_eq!(table.list(plane.now().monotonic).len() as u64, STEADY, "the established connection stays");
}

/// What has expired is reclaimed in portions, as a worker does it.
fn reclaim(plane: &Plane, counters: &Counters) {
    let table = plane.engine.connections();
    let (before, mut living) = (table.totals().expired, 0);
    table.visit(plane.now().monotonic, |_| living += 1);
    plane.gap();
    let (start, mut portions, mut longest) = (Real::now(), 0, Duration::ZERO);
    while table.totals().alive > living {
        let portion = Real::now();
        plane.engine.advance(counters, plane.now(), 1_024);
        longest = longest.max(portion.elapsed());
        portions += 1;
    }
    println!(
        "{:>9} entries expired in {:.2?}, {portions} portions, the longest {longest:.2?}; longest gap {:.2?}",
        table.totals().expired - before,
        start.elapsed(),
        plane.gap()
    );
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

/// What a full table takes.
fn budget() -> u64 {
    ConnTable::memory((ENTRIES + SPARE) as usize) as u64
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

const fn mib(bytes: u64) -> u64 {
    bytes >> 20
}
