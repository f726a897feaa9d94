//! The data plane with the engine that Palisade runs with, on ports in memory.

use std::sync::Arc;

use etherparse::{IpHeaders, Ipv4Extensions, Ipv4Header, PacketBuilder};
use palisade_engine::{Consumed, DropReason, Engine};
use palisade_packet::{Body, IpPacket, MacAddr, parse};
use palisade_policy::{CompiledEni, PortKey, Snapshot, draft};

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
    ingress = ["tcp 443 from 10.0.0.0/16", "udp 53 from 10.0.0.0/16"]

    [eni.a]
    subnet = "one"
    address = "10.0.1.10"
    groups = ["open"]
    attach = { tap = "pal-a" }
"#;

const ENI_B: &str = r#"
    [eni.b]
    subnet = "two"
    address = "10.0.2.10"
    groups = ["open"]
    mtu = 1500
    attach = { tap = "pal-b" }
"#;

struct World {
    dataplane: Dataplane,
    snapshot: Arc<Snapshot>,
    a: Guest,
    b: Guest,
}

fn compile(text: &str, previous: Option<&Snapshot>) -> Arc<Snapshot> {
    Arc::new(Snapshot::compile(draft::load("test.toml", text).unwrap(), previous))
}

fn world() -> World {
    let snapshot = compile(&format!("{HEAD}{ENI_B}"), None);
    let ((port_a, a), (port_b, b)) = (port("pal-a"), port("pal-b"));
    let key = |name| PortKey::Eni(snapshot.eni_named(name).unwrap().key);
    let ports = vec![(key("a"), port_a), (key("b"), port_b)];
    let options = Options { workers: 2, ..Options::default() };
    let dataplane = Dataplane::start(Arc::new(Engine::new(1000)), snapshot.clone(), ports, options).unwrap();
    World { dataplane, snapshot, a, b }
}

impl World {
    fn eni(&self, name: &str) -> &CompiledEni {
        self.snapshot.eni_named(name).unwrap()
    }

    /// A frame from a to b by way of a's router.
    fn frame(&self, tcp: bool, port: u16, payload: &[u8]) -> Vec<u8> {
        let header = Ipv4Header {
            identification: 1,
            dont_fragment: false,
            time_to_live: 64,
            source: [10, 0, 1, 10],
            destination: [10, 0, 2, 10],
            ..Ipv4Header::default()
        };
        let ip = IpHeaders::Ipv4(header, Ipv4Extensions::default());
        let router = self.snapshot.subnet(self.eni("a").subnet).router_mac;
        let builder = PacketBuilder::ethernet2(self.eni("a").mac.0, router.0).ip(ip);
        let mut frame = Vec::new();
        if tcp {
            builder.tcp(40_000, port, 1, 1000).syn().write(&mut frame, payload).unwrap();
        } else {
            builder.udp(40_000, port).write(&mut frame, payload).unwrap();
        }
        frame
    }

    /// Waits until so many packets have ended one way or the other.
    fn settle(&self, packets: u64) {
        eventually("packets are judged", || {
            let counters = self.dataplane.status().counters;
            counters.delivered + counters.dropped.total() + counters.consumed.total() >= packets
        });
    }
}

fn ip_of(frame: &[u8]) -> IpPacket {
    match parse(frame).unwrap().body {
        Body::Ip(ip) => ip,
        Body::Arp(_) => panic!("not IP"),
    }
}

#[track_caller]
fn assert_lawful(totals: &Totals) {
    assert!(totals.lawful(), "{:#?}", totals.laws);
}

#[test]
fn rules_decide_and_the_books_balance() {
    let world = world();
    world.a.send([
        world.frame(true, 443, b""),
        world.frame(true, 444, b""),
        world.frame(false, 53, b"query"),
    ]);
    world.settle(3);
    let frames = world.b.frames();
    assert_eq!(frames.len(), 2);
    let to: Vec<_> = frames.iter().map(|frame| parse(frame).unwrap().destination_mac).collect();
    assert_eq!(to, [world.eni("b").mac; 2], "readdressed to the receiver");
    let totals = world.dataplane.stop();
    assert_eq!(totals.counters.dropped_for(DropReason::GroupIngress), 1);
    assert_eq!(totals.counters.acl_egress.reached, 3);
    assert!(totals.connections.created >= 2, "{:?}", totals.connections);
    assert_lawful(&totals);
}

#[test]
fn an_arp_request_is_answered_by_the_fabric() {
    let world = world();
    let mac = world.eni("a").mac;
    let mut frame = [[0xff; 6], mac.0].concat();
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend([&mac.0[..], &[10, 0, 1, 10], &[0; 6], &[10, 0, 1, 1]].concat());
    world.a.send([frame]);
    eventually("the answer arrives", || !world.a.frames().is_empty());
    let Body::Arp(answer) = parse(&world.a.frames()[0]).unwrap().body else { panic!("not ARP") };
    let router: MacAddr = world.snapshot.subnet(world.eni("a").subnet).router_mac;
    assert_eq!((answer.operation, answer.sender_mac), (2, router));
    let totals = world.dataplane.stop();
    assert_eq!(totals.counters.consumed.get(Consumed::Arp.index()), 1);
    assert_eq!((totals.counters.generated, totals.counters.delivered), (1, 1));
    assert_lawful(&totals);
}

#[test]
fn a_datagram_above_the_path_mtu_arrives_in_fragments() {
    let world = world();
    world.a.send([world.frame(false, 53, &[7; 4000])]);
    eventually("three fragments arrive", || world.b.frames().len() == 3);
    let packets: Vec<_> = world.b.frames().iter().map(|frame| ip_of(frame)).collect();
    assert!(packets.iter().all(|packet| packet.ip_len <= 1500), "RT-61");
    assert_eq!(packets.iter().map(IpPacket::transport_len).sum::<u32>(), 4008);
    let totals = world.dataplane.stop();
    assert_eq!((totals.counters.generated, totals.counters.delivered), (2, 3));
    assert_lawful(&totals);
}

#[test]
fn connections_of_an_eni_that_is_gone_are_removed() {
    let world = world();
    world.a.send([world.frame(true, 443, b"")]);
    world.settle(1);
    let alive = world.dataplane.status().connections.alive;
    world.dataplane.publish(compile(HEAD, Some(&world.snapshot))).unwrap();
    world.dataplane.remove_port(PortKey::Eni(world.eni("b").key)).unwrap();
    let totals = world.dataplane.stop();
    assert!(totals.connections.alive < alive, "CT-26: {:?}", totals.connections);
    assert!(totals.connections.removed > 0, "{:?}", totals.connections);
    assert_lawful(&totals);
}
