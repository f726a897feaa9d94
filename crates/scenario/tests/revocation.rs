//! Strict revocation on the packet path alone, without the sweep that follows a publication: what a packet meets that comes
//! between the two, on workers that hold different generations.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use palisade_conntrack::{ConnView, Ids, Instant};
use palisade_engine::{Counters, Engine, Lane, Listing, Now, Outcome, Received, Selection, Verdict};
use palisade_policy::{Direction, EniKey, FilterKey, Match, Snapshot, draft, reference};
use palisade_scenario::notation;
use proptest::prelude::*;

const START: Now = Now { monotonic: Instant::from_secs(100), unix: Duration::ZERO };

/// `a` and the appliance `c` in one subnet, `b` in another; `ingress` and `egress` are the rules of `b`.
#[derive(Clone, Debug)]
struct World {
    strict: bool,
    ingress: Vec<&'static str>,
    egress: Vec<&'static str>,
    hosts: Vec<&'static str>,
    /// Whether `a` is in the group that rules refer to.
    member: bool,
}

impl Default for World {
    fn default() -> Self {
        Self { strict: true, ingress: vec![], egress: vec![], hosts: vec!["10.0.1.10/32"], member: false }
    }
}

impl World {
    fn text(&self) -> String {
        let Self { strict, ingress, egress, hosts, member } = self;
        let revocation = if *strict { "strict" } else { "aws" };
        let groups = if *member { r#"["out", "clients"]"# } else { r#"["out"]"# };
        format!(
            r#"
            [vpc]
            cidr_blocks = ["10.0.0.0/16"]
            revocation = "{revocation}"
            [subnet.one]
            cidr = "10.0.1.0/24"
            [subnet.two]
            cidr = "10.0.2.0/24"
            [prefix_list.hosts]
            max_entries = 5
            entries = {hosts:?}
            [security_group.out]
            [security_group.clients]
            egress = []
            [security_group.b]
            ingress = {ingress:?}
            egress = {egress:?}
            [eni.a]
            subnet = "one"
            address = "10.0.1.10"
            groups = {groups}
            attach = {{ tap = "a" }}
            [eni.c]
            subnet = "one"
            address = "10.0.1.11"
            source_dest_check = false
            groups = ["out", "clients"]
            attach = {{ tap = "c" }}
            [eni.b]
            subnet = "two"
            address = "10.0.2.10"
            groups = ["b"]
            attach = {{ tap = "b" }}
            "#
        )
    }

    fn compile(&self, previous: Option<&Snapshot>) -> Snapshot {
        let vpc = draft::load("world", &self.text()).unwrap_or_else(|faults| panic!("{faults}"));
        Snapshot::compile(vpc, previous)
    }
}

/// An engine and the policy it is asked to forward by.
struct Rig {
    engine: Engine,
    lane: Lane,
    snapshot: Snapshot,
    now: Now,
}

impl Rig {
    fn new(world: &World) -> Self {
        Self { engine: Engine::new(1_000), lane: lane(), snapshot: world.compile(None), now: START }
    }

    fn send(&mut self, packet: &str) -> Verdict {
        process(&self.engine, &self.snapshot, &mut self.lane, self.now, packet).verdict
    }

    fn listing(&mut self) -> Vec<ConnView> {
        self.lane.settle_all(self.now);
        let mut views = self.engine.connections().list(self.now.monotonic);
        views.sort_by_key(|view| format!("{view:?}"));
        views
    }
}

/// With a flow cache, which must not outlive an entry that is revoked.
fn lane() -> Lane {
    let counters = Counters::new();
    counters.ensure_rules(10_000);
    Lane::new(Arc::new(counters), 64)
}

fn process(engine: &Engine, snapshot: &Snapshot, lane: &mut Lane, now: Now, packet: &str) -> Outcome {
    let mut frame = notation::parse(packet).and_then(|spec| spec.frame(snapshot)).unwrap();
    let received = Received { vnet: frame.vnet, ..Received::default() };
    engine.process(snapshot, lane, now, frame.port, &mut frame.bytes, received)
}

/// What the reference evaluator says to the opener of an entry, one rule after the other.
fn refused(snapshot: &Snapshot, entry: &ConnView) -> bool {
    let vpc = snapshot.vpc();
    let eni = &vpc[snapshot.eni(EniKey(entry.zone.0)).unwrap().index];
    let selector = match (entry.ids, entry.origin) {
        (Ids::Ports { remote, .. }, Direction::Egress) => Match::Port(remote),
        (Ids::Ports { local, .. }, Direction::Ingress) => Match::Port(local),
        (Ids::Query { .. }, _) => Match::Icmp { icmp_type: 8, code: entry.opener.code },
        (Ids::None, _) => Match::Whole,
    };
    let key = FilterKey { address: entry.remote, protocol: entry.protocol, selector };
    let referenced = entry.opener.referenced;
    reference::group_decide(vpc, &eni.groups, entry.origin, &key, referenced).any.is_none()
}

#[derive(Clone, Debug)]
enum Op {
    Change(World),
    Send(&'static str),
    Wait(u64),
}

const PACKETS: &[&str] = &[
    "a tcp 10.0.1.10:40000 > 10.0.2.10:22 S seq 1",
    "c tcp 10.0.1.10:40000 > 10.0.2.10:22 S seq 1",
    "b tcp 10.0.2.10:22 > 10.0.1.10:40000 SA seq 7 ack 2",
    "a tcp 10.0.1.10:40000 > 10.0.2.10:22 A seq 2 ack 8",
    "b tcp 10.0.2.10:22 > 10.0.1.10:40000 R seq 8",
    "a udp 10.0.1.10:5000 > 10.0.2.10:53",
    "b udp 10.0.2.10:53 > 10.0.1.10:5000",
    "b udp 10.0.2.10:53 > 10.0.1.10:5000 len 1472 frag id 7 offset 0 more",
    "b udp 10.0.2.10:53 > 10.0.1.10:5000 len 100 frag id 7 offset 1480",
    "b icmp 10.0.2.10 > 10.0.1.10 unreachable code 3 quote [udp 10.0.1.10:5000 > 10.0.2.10:53]",
    "a icmp 10.0.1.10 > 10.0.2.10 echo-request id 7",
    "a icmp 10.0.1.10 > 10.0.2.10 echo-request code 3 id 7",
    "b icmp 10.0.2.10 > 10.0.1.10 echo-reply id 7",
    "a proto 47 10.0.1.10 > 10.0.2.10 len 24",
    "b proto 47 10.0.2.10 > 10.0.1.10 len 24",
];

fn world() -> impl Strategy<Value = World> {
    let ingress = prop::sample::subsequence(
        vec![
            "tcp 22 from 10.0.1.10/32",
            "tcp 22 from 0.0.0.0/0",
            "tcp 22 from sg:clients",
            "udp 53 from pl:hosts",
            "udp any from sg:clients",
            "icmp 8/0 from 10.0.1.0/24",
            "icmp 8/any from sg:clients",
            "47 from pl:hosts",
        ],
        0..5,
    );
    let egress = prop::sample::subsequence(
        vec!["all to 0.0.0.0/0", "udp 5000 to 10.0.1.10/32", "47 to sg:clients"],
        0..2,
    );
    let hosts = prop::sample::select(vec![vec!["10.0.1.10/32"], vec!["10.0.9.0/24"]]);
    (ingress, egress, hosts, any::<bool>()).prop_map(|(ingress, egress, hosts, member)| World {
        strict: true,
        ingress,
        egress,
        hosts,
        member,
    })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => world().prop_map(Op::Change),
        5 => prop::sample::select(PACKETS).prop_map(Op::Send),
        1 => (0..20_u64).prop_map(Op::Wait),
    ]
}

/// Ends what the rules refuse, as the reference evaluator has it.
fn end_refused(rig: &Rig) {
    let table = rig.engine.connections();
    for entry in table.select(|entry| refused(&rig.snapshot, entry), rig.now.monotonic) {
        table.end(&entry);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Two engines: a strict one that is swept only when its policy is about to be replaced, so that packets meet what the
    /// policy refuses, and a lenient one in which the reference evaluator ends all of that beforehand. The same packets
    /// pass, and in the end there are the same connections.
    #[test]
    fn what_the_policy_refuses_lets_nothing_pass(first in world(), ops in prop::collection::vec(op(), 1..60)) {
        let lenient = |world: &World| World { strict: false, ..world.clone() };
        let (mut strict, mut eager) = (Rig::new(&first), Rig::new(&lenient(&first)));
        let mut before = first.compile(None);
        for op in ops {
            match op {
                Op::Change(world) => {
                    strict.engine.retire(&strict.lane.counters, &before, &strict.snapshot, strict.now);
                    let next = world.compile(Some(&strict.snapshot));
                    before = std::mem::replace(&mut strict.snapshot, next);
                    eager.snapshot = lenient(&world).compile(Some(&eager.snapshot));
                    end_refused(&eager);
                }
                Op::Wait(seconds) => {
                    for rig in [&mut strict, &mut eager] {
                        rig.now.monotonic = rig.now.monotonic + Duration::from_secs(seconds);
                    }
                }
                Op::Send(packet) => prop_assert_eq!(strict.send(packet), eager.send(packet), "{}", packet),
            }
        }
        strict.engine.retire(&strict.lane.counters, &before, &strict.snapshot, strict.now);
        prop_assert_eq!(strict.listing(), eager.listing());
        let totals = strict.engine.connections().totals();
        prop_assert_eq!(totals.created, totals.alive + totals.expired + totals.closed + totals.removed);
        prop_assert!(totals.revoked <= totals.removed);
    }
}

/// Three workers and somebody who publishes: whoever forwards by a policy that refuses a connection lets none of its packets
/// pass, whatever those do that still hold, or already hold, one that admits it, and whenever the sweeps come.
#[test]
fn no_worker_lets_pass_what_its_own_policy_refuses() {
    let open = World { strict: true, ingress: vec!["tcp 22 from 10.0.1.10/32"], ..World::default() };
    let closed = World { ingress: vec![], ..open.clone() };
    let first = Arc::new(open.compile(None));
    let (engine, published, done) =
        (Engine::new(1_000), Mutex::new(Arc::clone(&first)), AtomicBool::new(false));
    let (passed, stopped) = (AtomicU64::new(0), AtomicU64::new(0));
    let packets = [PACKETS[0], PACKETS[2], PACKETS[3]];
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut lane = lane();
                let mut tick = 0;
                while !done.load(Ordering::Relaxed) {
                    let snapshot = Arc::clone(&published.lock().unwrap());
                    let admits = !snapshot
                        .vpc()
                        .security_groups
                        .iter()
                        .any(|group| group.name == "b" && group.ingress.is_empty());
                    for packet in packets.iter().cycle().take(30) {
                        tick += 1;
                        let now = Now { monotonic: START.monotonic + Duration::from_nanos(tick), ..START };
                        let outcome = process(&engine, &snapshot, &mut lane, now, packet);
                        let delivered = matches!(outcome.verdict, Verdict::Deliver(_));
                        assert!(
                            admits || !delivered,
                            "{packet} passed under generation {}",
                            snapshot.generation()
                        );
                        (if delivered { &passed } else { &stopped }).fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let mut last = first;
        for world in [&closed, &open].into_iter().cycle().take(400) {
            let next = Arc::new(world.compile(Some(&last)));
            *published.lock().unwrap() = Arc::clone(&next);
            engine.retire(&Counters::new(), &last, &next, START); // sooner than the workers know of it
            last = next;
            thread::sleep(Duration::from_micros(300));
        }
        done.store(true, Ordering::Relaxed);
    });
    let (passed, stopped) = (passed.into_inner(), stopped.into_inner());
    assert!(passed > 1_000 && stopped > 1_000, "{passed} packets passed, {stopped} did not");
    let totals = engine.connections().totals();
    assert!(totals.revoked > 10, "{totals:?}");
    assert_eq!(totals.created, totals.alive + totals.expired + totals.closed + totals.removed);
}

fn chosen(rig: &Rig, words: &[&str]) -> Vec<String> {
    let selection = Selection::parse(words, &rig.snapshot).unwrap();
    let mut found: Vec<_> = rig
        .engine
        .select(&selection, &rig.snapshot, rig.now, usize::MAX)
        .first
        .iter()
        .map(|view| {
            format!(
                "{} {} {}",
                rig.snapshot.vpc()[rig.snapshot.eni(EniKey(view.zone.0)).unwrap().index].name,
                view.protocol,
                view.state
            )
        })
        .collect();
    found.sort();
    found
}

fn busy(strict: bool) -> Rig {
    let world = World {
        strict,
        ingress: vec![
            "tcp 22 from 10.0.1.10/32",
            "udp 53 from 10.0.1.10/32",
            "icmp 8/any from 10.0.1.10/32",
            "47 from 10.0.1.10/32",
        ],
        ..World::default()
    };
    let mut rig = Rig::new(&world);
    for packet in [PACKETS[0], PACKETS[2], PACKETS[5], PACKETS[10], PACKETS[13]] {
        assert!(matches!(rig.send(packet), Verdict::Deliver(_)), "{packet}");
    }
    rig
}

/// What a lenient VPC would lose if it became strict is told without ending it, and that is what it loses.
#[test]
fn what_would_be_refused_is_told_under_either_policy() {
    let mut rig = busy(false);
    assert_eq!(chosen(&rig, &["would-refuse"]), [""; 0]);
    let narrower =
        World { ingress: vec!["udp 53 from 10.0.1.10/32", "icmp 8/1 from 10.0.1.10/32"], ..World::default() };
    let lenient = World { strict: false, ..narrower.clone() };
    let old = std::mem::replace(&mut rig.snapshot, lenient.compile(Some(&busy(false).snapshot)));
    rig.engine.retire(&rig.lane.counters, &old, &rig.snapshot, rig.now);
    assert_eq!(chosen(&rig, &["would-refuse"]), ["b 1 icmp", "b 47 other", "b 6 syn-recv"]);
    assert_eq!(rig.listing().len(), 8, "telling ends nothing");
    let strict = World { strict: true, ..narrower };
    let old = std::mem::replace(&mut rig.snapshot, strict.compile(Some(&lenient.compile(Some(&old)))));
    rig.engine.retire(&rig.lane.counters, &old, &rig.snapshot, rig.now);
    assert_eq!(chosen(&rig, &["would-refuse"]), [""; 0]);
    assert_eq!(chosen(&rig, &["eni=b"]), ["b 17 udp-single"]);
    assert_eq!(rig.engine.connections().totals().revoked, 3);
}

/// Explaining tells that the entry would end, and leaves it alone.
#[test]
fn explaining_revokes_nothing() {
    let mut rig = busy(true);
    let closed = World { strict: true, ..World::default() };
    rig.snapshot = closed.compile(Some(&rig.snapshot));
    let frame = notation::parse(PACKETS[2]).and_then(|spec| spec.frame(&rig.snapshot)).unwrap();
    let told = rig.engine.explain(&rig.snapshot, rig.now, frame.port, &frame.bytes, Received::default());
    assert_eq!(told.outcome.reason, Some("group-egress"), "{told}");
    assert!(told.to_string().contains("revocation = strict"), "{told}");
    assert_eq!(rig.engine.connections().totals().revoked, 0);
    assert!(matches!(rig.send(PACKETS[2]), Verdict::Drop(_)));
    assert_eq!(
        rig.engine.connections().totals().revoked,
        1,
        "the packet itself ends it, although it is dropped"
    );
}

#[test]
fn connections_are_chosen_by_words_that_must_all_be_true() {
    let rig = busy(false);
    let all = chosen(&rig, &[]);
    assert_eq!(all.len(), 8);
    for (words, found) in [
        (&["eni=b"][..], &["b 1 icmp", "b 17 udp-single", "b 47 other", "b 6 syn-recv"][..]),
        (&["eni=b", "proto=tcp"], &["b 6 syn-recv"]),
        (&["proto=47"], &["a 47 other", "b 47 other"]),
        (&["proto=icmp", "local=10.0.2.10"], &["b 1 icmp"]),
        (&["remote=10.0.2.0/24", "port=22"], &["a 6 syn-recv"]),
        (&["local-port=53"], &["b 17 udp-single"]),
        (&["remote-port=40000-65535"], &["b 6 syn-recv"]),
        (&["port=40000", "port=22"], &["a 6 syn-recv", "b 6 syn-recv"]),
        (&["state=syn-recv", "origin=ingress"], &["b 6 syn-recv"]),
        (&["port=0"], &[]),
        (&["proto=tcp", "proto=udp"], &[]),
        (&["remote=2001:db8::/32"], &[]),
    ] {
        assert_eq!(chosen(&rig, words), found, "{words:?}");
    }
}

#[test]
fn ending_the_chosen_returns_them_and_leaves_the_others() {
    let mut rig = busy(false);
    let selection = Selection::parse(["proto=udp"], &rig.snapshot).unwrap();
    let ended = rig.engine.kill(&selection, &rig.snapshot, rig.now, usize::MAX);
    assert!(
        ended.total == 2 && ended.first.len() == 2 && ended.first.iter().all(|view| view.protocol == 17),
        "{ended:?}"
    );
    assert_eq!(rig.listing().len(), 6);
    assert_eq!(rig.engine.kill(&selection, &rig.snapshot, rig.now, usize::MAX), Listing::default());
    let totals = rig.engine.connections().totals();
    assert_eq!((totals.removed, totals.revoked), (2, 0));
}

#[test]
fn a_word_that_is_no_filter_is_named_with_what_is_allowed() {
    let rig = busy(false);
    for (word, allowed) in [
        ("prot=tcp", "proto=PROTOCOL"),
        ("refused", "would-refuse"),
        ("", "would-refuse"),
        ("would-refuse=yes", "would-refuse"),
        ("proto=sctp", "icmpv6"),
        ("proto=256", "0 to 255"),
        ("local=10.0.1", "10.0.1.10"),
        ("remote=10.0.2.1/24", "without host bits"),
        ("port=65536", "1024-65535"),
        ("port=9-8", "1024-65535"),
        ("port=", "1024-65535"),
        ("state=open", "established, fin-wait, close-wait"),
        ("origin=both", "egress"),
        ("eni=nobody", "palisade status"),
    ] {
        let error = Selection::parse(["proto=tcp", word], &rig.snapshot).unwrap_err();
        assert_eq!((error.word.as_str(), error.unknown), (word, word.starts_with("eni=")));
        let text = error.to_string();
        assert!(text.contains(&format!("`{word}`")) && text.contains(allowed), "{text}");
    }
}
