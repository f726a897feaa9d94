//! Mirror copies through the data plane: after production packets, and never in their way (TM-45).

use std::sync::Arc;

use etherparse::PacketBuilder;
use palisade_engine::{DropReason, Engine, SessionValues};
use palisade_io::TransmitError;
use palisade_packet::{Body, Transport, parse};
use palisade_policy::{PortKey, Snapshot, draft};

use crate::copies::ROOM;
use crate::dataplane::{Dataplane, Options};
use crate::testing::{Guest, eventually, port};

const WORLD: &str = r#"
    [vpc]
    cidr_blocks = ["10.0.0.0/16"]

    [subnet.one]
    cidr = "10.0.1.0/24"

    [subnet.two]
    cidr = "10.0.2.0/24"

    [security_group.open]
    ingress = ["udp any from 10.0.0.0/16"]

    [eni.a]
    subnet = "one"
    address = "10.0.1.10"
    groups = ["open"]
    attach = { tap = "pal-a" }

    [eni.b]
    subnet = "two"
    address = "10.0.2.10"
    groups = ["open"]
    mtu = 576
    attach = { tap = "pal-b" }

    [eni.ids]
    subnet = "two"
    address = "10.0.2.99"
    groups = ["open"]
    attach = { tap = "pal-ids" }

    [mirror_target.ids]
    eni = "ids"

    [mirror_filter.all]
    ingress = ["1 accept all from 0.0.0.0/0 to 0.0.0.0/0"]
    egress = ["1 accept all from 0.0.0.0/0 to 0.0.0.0/0"]

    [mirror_session.a]
    source = "a"
    target = "ids"
    filter = "all"
    number = 1

    [mirror_session.b]
    source = "b"
    target = "ids"
    filter = "all"
    number = 1
"#;

struct World {
    dataplane: Dataplane,
    snapshot: Arc<Snapshot>,
    guests: [Guest; 3],
}

fn world() -> World {
    let snapshot = Arc::new(Snapshot::compile(draft::load("test.toml", WORLD).unwrap(), None));
    let [a, b, ids] = ["a", "b", "ids"].map(|name| {
        let (port, guest) = port(name);
        ((PortKey::Eni(snapshot.eni_named(name).unwrap().key), port), guest)
    });
    let ports = vec![a.0, b.0, ids.0];
    let engine = Arc::new(Engine::new(1_000));
    let dataplane = Dataplane::start(engine, Arc::clone(&snapshot), ports, Options::default()).unwrap();
    World { dataplane, snapshot, guests: [a.1, b.1, ids.1] }
}

impl World {
    /// A datagram of a.
    fn frame(&self, to: [u8; 4], payload: &[u8]) -> Vec<u8> {
        let a = self.snapshot.eni_named("a").unwrap();
        let router = self.snapshot.subnet(a.subnet).router_mac;
        let mut header =
            etherparse::Ipv4Header { time_to_live: 64, protocol: 17.into(), ..Default::default() };
        (header.source, header.destination, header.dont_fragment) = ([10, 0, 1, 10], to, false);
        let ip = etherparse::IpHeaders::Ipv4(header, etherparse::Ipv4Extensions::default());
        let mut frame = Vec::new();
        let builder = PacketBuilder::ethernet2(a.mac.0, router.0).ip(ip).udp(40_000, 9);
        builder.write(&mut frame, payload).unwrap();
        frame
    }

    /// What became of the copies of a session.
    fn copies(&self, session: &str) -> SessionValues {
        let at = self.snapshot.vpc().mirror_sessions.iter().position(|known| known.name == session).unwrap();
        self.dataplane.copies_of(self.snapshot.mirror_keys().nth(at).unwrap())
    }

    fn made(&self) -> u64 {
        self.dataplane.status().counters.copies.made
    }

    fn stop(self) {
        let totals = self.dataplane.stop();
        assert!(totals.lawful(), "{:#?}", totals.laws);
    }
}

fn destination_port(frame: &[u8]) -> u16 {
    let Body::Ip(ip) = parse(frame).unwrap().body else { panic!("not IP") };
    let Transport::Udp { destination, .. } = ip.transport else { panic!("not UDP") };
    destination
}

#[test]
fn tm_45_copies_leave_after_production_packets() {
    let world = world();
    world.guests[0].send((0..3).map(|_| world.frame([10, 0, 2, 99], b"to the target itself")));
    eventually("packets and copies arrive", || world.guests[2].frames().len() == 6);
    let ports: Vec<_> = world.guests[2].frames().iter().map(|frame| destination_port(frame)).collect();
    assert_eq!(ports, [9, 9, 9, 4789, 4789, 4789]);
    assert_eq!((world.copies("a").packets, world.copies("b").packets), (3, 0));
    world.stop();
}

#[test]
fn tm_45_what_a_burst_has_no_room_for_is_lost_and_counted_and_packets_are_not() {
    let world = world();
    let datagrams = 64;
    // One copy at the sender, 15 fragments at the receiver: twice what may be made at a time.
    world.guests[0].send((0..datagrams).map(|_| world.frame([10, 0, 2, 10], &[7; 8_000])));
    eventually("all are judged", || world.made() == datagrams * 16);
    eventually("all fragments arrive", || world.guests[1].frames().len() as u64 == datagrams * 15);
    let (a, b) = (world.copies("a"), world.copies("b"));
    let lost = a.dropped_for(DropReason::MirrorQueue) + b.dropped_for(DropReason::MirrorQueue);
    assert_eq!(a.packets + b.packets + lost, datagrams * 16);
    assert!(lost > 0 && a.packets + b.packets >= u64::from(ROOM) - 15, "{a:?} {b:?}");
    assert_eq!(world.guests[2].frames().len() as u64, a.packets + b.packets);
    world.stop();
}

#[test]
fn a_target_that_takes_nothing_costs_its_sessions_and_nobody_else() {
    let world = world();
    world.guests[2].refuse(Some(TransmitError::Full));
    world.guests[0].send([world.frame([10, 0, 2, 10], b"x")]);
    eventually("the copies are lost", || world.copies("b").dropped.total() == 1);
    assert_eq!(world.copies("a").dropped_for(DropReason::PortFull), 1);
    assert_eq!(world.guests[1].frames().len(), 1);
    assert_eq!(world.dataplane.status().counters.dropped.total(), 0, "no packet is lost");
    world.stop();
}
