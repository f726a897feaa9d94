//! Worlds and frames that the benchmarks share.
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use palisade_conntrack::Instant;
use palisade_engine::{Counters, Coverage, Engine, FlowCache, Lane, Ledger, Now, Outcome, Received, Tray};
use palisade_mirror::{Envelope, Link};
use palisade_packet::MacAddr;
use palisade_policy::{PortKey, Snapshot, draft};
use palisade_scenario::notation::{self, Frame};

/// Two guests in two subnets, with so many ACL entries per subnet and direction and so many group rules per side. What the
/// benchmarks send matches the last of each.
///
/// # Panics
///
/// Never: the text is well formed.
#[must_use]
pub fn world(acl_entries: usize, group_rules: usize) -> Snapshot {
    compile(&config(acl_entries, group_rules))
}

fn compile(text: &str) -> Snapshot {
    let vpc = draft::load("benchmark", text).unwrap_or_else(|errors| unreachable!("{errors}"));
    Snapshot::compile(vpc, None)
}

/// What a mirror session of both guests copies, to a third one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mirrored {
    /// Nothing that the benchmarks send: every rule of the filter looks at it in vain.
    Nothing,
    /// All of it.
    Everything,
}

/// What copies of one session have in common, uncut.
pub const ENVELOPE: Envelope = Envelope {
    source: Ipv4Addr::new(10, 0, 1, 10),
    destination: Ipv4Addr::new(10, 0, 2, 99),
    vni: 7,
    packet_length: None,
    mtu: 9001,
};

/// The way to the target of that session.
pub const LINK: Link = Link { source: MacAddr([2, 0, 0, 0, 0, 1]), destination: MacAddr([2, 0, 0, 0, 0, 2]) };

impl Mirrored {
    fn config(self) -> String {
        let last = if self == Self::Everything { "accept" } else { "reject" };
        let rules: Vec<_> = (1..5)
            .map(|n| format!("\"{n} accept udp from 172.16.{n}.0/24 to 0.0.0.0/0 {n}\""))
            .chain([format!("\"9 {last} all from 0.0.0.0/0 to 0.0.0.0/0\"")])
            .collect();
        let rules = rules.join(", ");
        let sessions = ["a1", "b1"].map(|eni| {
            format!(
                "[mirror_session.{eni}]\nsource = \"{eni}\"\ntarget = \"ids\"\nfilter = \"f\"\nnumber = 1\n"
            )
        });
        format!(
            "[security_group.ids]\ningress = [\"udp 4789 from 10.0.0.0/16\"]\n\
             [eni.ids]\nsubnet = \"b\"\naddress = \"10.0.2.99\"\ngroups = [\"ids\"]\nattach = {{ tap = \"ids\" }}\n\
             [mirror_target.ids]\neni = \"ids\"\n[mirror_filter.f]\ningress = [{rules}]\negress = [{rules}]\n{}",
            sessions.concat()
        )
    }
}

/// Entries and rules in the manner of real policies: mostly TCP, prefixes of several lengths, few of them denials.
fn config(acl_entries: usize, group_rules: usize) -> String {
    let mut text = String::from("[vpc]\ncidr_blocks = [\"10.0.0.0/16\"]\n");
    let _ = writeln!(
        text,
        "[quotas]\nnetwork_acl_entries = 32767\nsecurity_group_rules = 20000\nrules_per_eni = 100000"
    );
    for subnet in ["a", "b"] {
        let _ = writeln!(
            text,
            "[subnet.{subnet}]\ncidr = \"10.0.{}.0/24\"\nnetwork_acl = \"{subnet}\"",
            u8::from(subnet == "b") + 1
        );
        let _ = writeln!(text, "[network_acl.{subnet}]\ningress = [{}]", entries(acl_entries, "from"));
        let _ = writeln!(text, "egress = [{}]", entries(acl_entries, "to"));
        let _ = writeln!(text, "[security_group.{subnet}]\ningress = [{}]", rules(group_rules, "from"));
        let _ = writeln!(text, "egress = [{}]", rules(group_rules, "to"));
    }
    for (eni, subnet, host) in [("a1", "a", "1.10"), ("b1", "b", "2.10")] {
        let _ = writeln!(
            text,
            "[instance.{eni}]\nenis = [\"{eni}\"]\nmax_tracked = 100_000_000\n\
             [eni.{eni}]\nsubnet = \"{subnet}\"\naddress = \"10.0.{host}\"\ngroups = [\"{subnet}\"]\nattach = {{ tap = \"{eni}\" }}"
        );
    }
    text
}

fn entries(count: usize, way: &str) -> String {
    let mut list = String::new();
    for number in 1..count {
        let action = if number % 4 == 3 { "deny" } else { "allow" };
        let protocol = if number % 2 == 1 { "tcp" } else { "udp" };
        let port = 100 + number % 60_000;
        let _ = write!(
            list,
            "\"{number} {action} {protocol} {port} {way} 172.{}.{}.0/24\", ",
            16 + number / 256 % 16,
            number % 256
        );
    }
    let _ = write!(list, "\"{count} allow all {way} 10.0.0.0/16\"");
    list
}

fn rules(count: usize, way: &str) -> String {
    let mut list = String::new();
    for number in 1..count {
        let protocol = if number % 5 == 4 { "udp" } else { "tcp" };
        let _ = write!(
            list,
            "\"{protocol} {} {way} 192.168.{}.{}/32\", ",
            20 + number % 60_000,
            number / 250 % 250,
            1 + number % 250
        );
    }
    let _ = write!(list, "\"all {way} 10.0.0.0/16\"");
    list
}

/// A frame in the notation of `palisade explain`.
///
/// # Panics
///
/// If the text is not a packet of that world.
#[must_use]
pub fn frame(snapshot: &Snapshot, text: &str) -> Frame {
    let spec = notation::parse(text).unwrap_or_else(|error| unreachable!("{error}"));
    spec.frame(snapshot).unwrap_or_else(|error| unreachable!("{error}"))
}

/// An engine in a world, as a worker sees it.
#[derive(Debug)]
pub struct Bed {
    /// The world.
    pub snapshot: Snapshot,
    engine: Engine,
    lane: Lane,
    now: Now,
}

impl Bed {
    /// A world of so many rules, and room for so many connections.
    #[must_use]
    pub fn new(acl_entries: usize, group_rules: usize, connections: usize) -> Self {
        Self::with_room(acl_entries, group_rules, connections, FlowCache::DEFAULT_ENTRIES)
    }

    /// A world of so many rules, and room for so many connections and flows in the cache.
    #[must_use]
    pub fn with_room(acl_entries: usize, group_rules: usize, connections: usize, flows: usize) -> Self {
        Self::of(world(acl_entries, group_rules), connections, flows)
    }

    /// A world of so many rules in which both guests are mirrored.
    #[must_use]
    pub fn mirrored(acl_entries: usize, group_rules: usize, what: Mirrored) -> Self {
        let snapshot = compile(&(config(acl_entries, group_rules) + &what.config()));
        Self::of(snapshot, 4_096, FlowCache::DEFAULT_ENTRIES)
    }

    /// A world of so many rules per ACL and group, in which every packet is counted for flow logs; `log` is the configuration
    /// of one. What is counted goes to the tray. The policy comes once more, for whoever empties it.
    #[must_use]
    pub fn logged(
        (acl_entries, group_rules): (usize, usize),
        log: &str,
        connections: usize,
        flows: usize,
    ) -> (Self, Arc<Tray>, Arc<Snapshot>) {
        let text = config(acl_entries, group_rules) + log;
        let tray = Arc::new(Tray::new(Tray::DEFAULT_CAPACITY));
        (Self::of(compile(&text), connections, flows).counting(&tray), tray, Arc::new(compile(&text)))
    }

    /// Counts every packet for flow logs.
    fn counting(mut self, tray: &Arc<Tray>) -> Self {
        let coverage = Arc::new(Coverage::default());
        self.snapshot.enis().iter().for_each(|eni| coverage.set(eni.key, true));
        let ledger = Ledger::new(Ledger::DEFAULT_ENTRIES, coverage, Arc::clone(tray));
        self.lane = self.lane.with_ledger(ledger);
        self
    }

    fn of(snapshot: Snapshot, connections: usize, flows: usize) -> Self {
        let counters = Counters::new();
        counters.ensure_rules(snapshot.rule_slots());
        let lane = Lane::new(Arc::new(counters), flows);
        Self { snapshot, engine: Engine::new(connections), lane, now: at(Duration::ZERO) }
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) {
        self.now = at(self.now.unix + time);
    }

    /// Unix second of the bed's clock.
    #[must_use]
    pub const fn second(&self) -> u64 {
        self.now.unix.as_secs()
    }

    /// Settles so many buckets of the flow cache and hands over at most so many deltas; true if more wait.
    pub fn keep_house(&mut self, buckets: usize, deltas: usize) -> bool {
        self.lane.settle(self.now, buckets);
        self.lane.ledger.hand_over(self.now, deltas)
    }

    /// Buckets of the flow cache.
    #[must_use]
    pub const fn buckets(&self) -> usize {
        self.lane.flows.buckets()
    }

    /// Hands over everything that was counted.
    pub fn close(&mut self) {
        self.lane.close(self.now);
    }

    /// Reclaims connections that have expired, at most so many.
    pub fn reclaim(&mut self, budget: usize) {
        self.engine.advance(&self.lane.counters, self.now, budget);
    }

    /// Entries of the connection table that are alive.
    #[must_use]
    pub fn alive(&self) -> u64 {
        self.engine.connections().totals().alive
    }

    /// The same one, with a flow log that covers every ENI.
    #[must_use]
    pub fn covered(self) -> Self {
        self.counting(&Arc::new(Tray::new(Tray::DEFAULT_CAPACITY)))
    }

    /// Packets served from the flow cache.
    #[must_use]
    pub const fn hits(&self) -> u64 {
        self.lane.flows.hits()
    }

    /// Brings near what frames of a burst will need.
    pub fn prefetch(&self, from: PortKey, frames: &[[u8; 54]]) {
        self.lane.flows.prefetch(from, frames.iter().map(<[u8; 54]>::as_slice));
    }

    /// Walks a frame.
    pub fn walk(&mut self, from: PortKey, frame: &mut [u8], vnet: palisade_packet::VnetHeader) -> Outcome {
        let received = Received { vnet, ..Received::default() };
        self.engine.process(&self.snapshot, &mut self.lane, self.now, from, frame, received)
    }

    /// Makes the copies that are owed of a frame that has been walked; how many there are.
    pub fn copy(&mut self, outcome: &Outcome, frame: &[u8]) -> u32 {
        let (true, Some(tapped)) = (outcome.tapped, self.lane.tapped) else { return 0 };
        let mut copies = 0;
        self.engine.copy(
            &self.snapshot,
            &mut self.lane,
            self.now,
            (&tapped, frame),
            &mut u32::MAX.clone(),
            &mut |copy| {
                std::hint::black_box(copy.frame);
                copies += 1;
            },
        );
        copies
    }
}

/// Resident memory of this process, in bytes.
#[must_use]
pub fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    pages * 4_096
}

fn at(time: Duration) -> Now {
    Now { monotonic: Instant::from_nanos(0) + time, unix: time }
}
