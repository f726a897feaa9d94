//! Fragments that come out of order (CT-61), through two workers and the engine that Palisade runs with.

use std::sync::Arc;
use std::time::Duration;

use etherparse::{IpHeaders, Ipv4Extensions, Ipv4Header, PacketBuilder};
use palisade_engine::{DropReason, Engine};
use palisade_packet::{Body, IpPacket, parse};
use palisade_policy::{PortKey, Snapshot, draft};

use crate::clock::{Clock, ClockHand};
use crate::dataplane::{Dataplane, Options};
use crate::status::Totals;
use crate::testing::{Guest, eventually, port};

const HEAD: &str = r#"
    [vpc]
    cidr_blocks = ["10.0.0.0/16"]

    [subnet.one]
    cidr = "10.0.1.0/24"

    [subnet.two]
    cidr = "10.0.2.0/24"

    [security_group.open]
    ingress = ["udp 53 from 10.0.0.0/16"]

    [eni.a]
    subnet = "one"
    address = "10.0.1.10"
    groups = ["open"]
    attach = { tap = "pal-a" }

    [eni.c]
    subnet = "one"
    address = "10.0.1.11"
    groups = ["open"]
    source_dest_check = false
    attach = { tap = "pal-c" }
"#;

const ENI_B: &str = r#"
    [eni.b]
    subnet = "two"
    address = "10.0.2.10"
    groups = ["open"]
    attach = { tap = "pal-b" }
"#;

/// a and b belong to the first worker, c to the second.
struct World {
    dataplane: Dataplane,
    engine: Arc<Engine>,
    snapshot: Arc<Snapshot>,
    hand: ClockHand,
    a: Guest,
    b: Guest,
    c: Guest,
}

impl World {
    fn new() -> Self {
        let snapshot = compile(&format!("{HEAD}{ENI_B}"), None);
        let ((port_a, a), (port_b, b), (port_c, c)) = (port("pal-a"), port("pal-b"), port("pal-c"));
        let key = |name| PortKey::Eni(snapshot.eni_named(name).unwrap().key);
        let ports = vec![(key("a"), port_a), (key("c"), port_c), (key("b"), port_b)];
        let hand = ClockHand::new();
        let options = Options { workers: 2, clock: Clock::manual(&hand), ..Options::default() };
        let engine = Arc::new(Engine::new(1000));
        let dataplane =
            Dataplane::start(Arc::<Engine>::clone(&engine), Arc::clone(&snapshot), ports, options).unwrap();
        Self { dataplane, engine, snapshot, hand, a, b, c }
    }

    fn mac(&self, eni: &str) -> [u8; 6] {
        self.snapshot.eni_named(eni).unwrap().mac.0
    }

    /// The three fragments of a datagram of a's to b, sent by an ENI to its router.
    fn datagram(&self, sender: &str, port: u16) -> [Vec<u8>; 3] {
        let eni = self.snapshot.eni_named(sender).unwrap();
        let router = self.snapshot.subnet(eni.subnet).router_mac.0;
        let header = Ipv4Header {
            identification: 7,
            time_to_live: 64,
            source: [10, 0, 1, 10],
            destination: [10, 0, 2, 10],
            ..Ipv4Header::default()
        };
        let mut whole = Vec::new();
        PacketBuilder::ethernet2(eni.mac.0, router)
            .ip(IpHeaders::Ipv4(Ipv4Header { dont_fragment: false, ..header }, Ipv4Extensions::default()))
            .udp(40_000, port)
            .write(&mut whole, &[9; 2000])
            .unwrap();
        let mut fragments = Vec::new();
        let mut keep = |fragment: &[u8]| fragments.push(fragment.to_vec());
        palisade_packet::fragment_ipv4(&whole, &ip_of(&whole), 820, &mut Vec::new(), &mut keep).unwrap();
        fragments.try_into().unwrap()
    }

    /// Waits until so many packets have come in, and all is done that can be.
    fn settle(&self, packets: u64) {
        eventually("packets come in", || self.dataplane.status().counters.received >= packets);
        self.dataplane.settle().unwrap();
    }

    fn held(&self) -> u64 {
        self.dataplane.status().holding.fragments
    }

    fn orphans(&self) -> u64 {
        self.dataplane.status().counters.dropped_for(DropReason::FragmentOrphan)
    }

    /// Offsets of the fragments that b has received.
    fn arrived(&self) -> Vec<u16> {
        self.b.frames().iter().map(|frame| ip_of(frame).fragment.unwrap().offset).collect()
    }

    fn stop(self) -> Totals {
        let totals = self.dataplane.stop();
        assert!(totals.lawful(), "{:#?}", totals.laws);
        assert_eq!(totals.holding.fragments, 0);
        totals
    }
}

fn compile(text: &str, previous: Option<&Snapshot>) -> Arc<Snapshot> {
    Arc::new(Snapshot::compile(draft::load("test.toml", text).unwrap(), previous))
}

fn ip_of(frame: &[u8]) -> IpPacket {
    match parse(frame).unwrap().body {
        Body::Ip(ip) => ip,
        Body::Arp(_) => panic!("not IP"),
    }
}

#[test]
fn held_fragments_follow_their_first_one_among_other_frames() {
    let world = World::new();
    let [first, second, third] = world.datagram("a", 53);
    let other = [world.datagram("a", 53)[0].clone()].map(|mut frame| {
        frame[18..20].copy_from_slice(&[0, 8]); // another identification
        frame
    });
    world.a.send([third, second]);
    world.settle(2);
    assert_eq!((world.held(), world.arrived()), (2, vec![]));
    world.a.send([first].into_iter().chain(other));
    world.settle(4);
    assert_eq!((world.held(), world.arrived()), (0, vec![0, 1600, 800, 0]));
    let expected: Vec<_> = world.datagram("a", 53).iter().map(|frame| frame[14..].to_vec()).collect();
    let frames = world.b.frames();
    assert_eq!([0, 2, 1].map(|at| frames[at][14..].to_vec()).to_vec(), expected, "as they were sent");
    assert!(frames.iter().all(|frame| frame[..6] == world.mac("b")), "readdressed to the receiver");
    assert_eq!(world.stop().counters.dropped.total(), 0);
}

#[test]
fn held_fragments_of_a_denied_datagram_are_dropped_with_it() {
    let world = World::new();
    let [first, second, third] = world.datagram("a", 54);
    world.a.send([third, second, first]);
    world.settle(3);
    assert_eq!(world.arrived(), [0_u16; 0]);
    assert_eq!(world.stop().counters.dropped_for(DropReason::GroupIngress), 3);
}

#[test]
fn a_worker_releases_what_another_holds() {
    let world = World::new();
    let [mut first, second, third] = world.datagram("a", 53);
    first[..6].copy_from_slice(&world.mac("c"));
    world.a.send([first]);
    eventually("c has the first fragment", || world.c.frames().len() == 1);
    world.a.send([third, second]);
    world.settle(3);
    assert_eq!(world.held(), 2, "at b");
    world.c.send([world.datagram("c", 53)[0].clone()]);
    world.settle(4);
    assert_eq!((world.held(), world.arrived()), (0, vec![0, 1600, 800]));
    assert_eq!(world.stop().counters.dropped.total(), 0);
}

#[test]
fn housekeeping_drops_what_waits_for_too_long() {
    let world = World::new();
    let [_, second, third] = world.datagram("a", 53);
    world.a.send([second, third]);
    world.settle(2);
    world.hand.move_to(Duration::from_secs(1) + Duration::from_millis(20));
    eventually("a worker keeps house", || world.engine.holding().fragments == 0);
    assert_eq!(world.orphans(), 2);
    world.stop();
}

#[test]
fn what_waits_for_too_long_is_not_shown() {
    let world = World::new();
    let [first, second, _] = world.datagram("a", 53);
    world.a.send([second]);
    world.settle(1);
    world.hand.move_to(Duration::from_nanos(999_999_999));
    world.dataplane.settle().unwrap();
    assert_eq!((world.held(), world.orphans()), (1, 0));
    world.hand.move_to(Duration::from_secs(1));
    assert_eq!((world.held(), world.orphans()), (0, 1), "as soon as somebody looks");
    world.a.send([first]);
    world.settle(2);
    assert_eq!(world.arrived(), [0]);
    world.stop();
}

#[test]
fn what_is_held_at_the_end_or_by_what_is_gone_is_counted_as_dropped() {
    let world = World::new();
    let [mut first, second, third] = world.datagram("a", 53);
    world.a.send([second.clone()]);
    world.settle(1);
    first[..6].copy_from_slice(&world.mac("c"));
    world.a.send([first]);
    eventually("the one at a goes on, to b", || world.c.frames().len() == 1);
    world.a.send([third]);
    world.settle(3);
    assert_eq!(world.held(), 2, "at b");
    world.dataplane.publish(compile(HEAD, Some(&world.snapshot))).unwrap();
    assert_eq!((world.held(), world.orphans()), (0, 2), "b is gone");
    let mut other = second;
    other[18..20].copy_from_slice(&[0, 8]);
    world.a.send([other]);
    world.settle(4);
    assert_eq!(world.held(), 1);
    assert_eq!(world.stop().counters.dropped_for(DropReason::FragmentOrphan), 3);
}
