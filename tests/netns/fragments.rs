//! Fragments in another order than they were cut (CT-60, CT-61), put together by the receiver's own kernel.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use palisade_tests::frame::{self, Ends};
use palisade_tests::sockets::bind_udp;
use palisade_tests::wire::{Injector, Mark, SILENCE, SOON, Sniffer};
use palisade_tests::{Bed, Mode, Policy, Setup};

use crate::probe::router_mac;

const PORT: u16 = 7000;
/// Fragments of a datagram of a test.
const PIECES: usize = 4;

fn beds(policy: &Policy) -> impl Iterator<Item = Bed> {
    Mode::with_kinds().map(move |(kind, mode)| Bed::start(Setup::new(kind, kind).in_mode(mode), policy))
}

/// A datagram from a to b, each of whose fragments carries its mark.
struct Datagram {
    mark: Mark,
    payload: Vec<u8>,
    fragments: Vec<Vec<u8>>,
}

impl Datagram {
    fn new(bed: &Bed, ipv6: bool) -> Self {
        let (a, b, mark) = (bed.guest("a"), bed.guest("b"), Mark::new());
        let ends = Ends {
            mac: (a.plan.mac(), router_mac(a)),
            ip: (a.address(ipv6), b.address(ipv6)),
            port: (40_000, PORT),
        };
        let payload = mark.bytes().repeat(220);
        let [.., high, low] = *mark.bytes() else { unreachable!("sixteen bytes") };
        let fragments = frame::fragments(&frame::udp(&ends, &payload), u16::from_be_bytes([high, low]), 1000);
        assert_eq!(fragments.len(), PIECES);
        Self { mark, payload, fragments }
    }

    fn arrived(&self, at: &Sniffer) -> usize {
        at.marked(&self.mark).len()
    }
}

fn held(bed: &Bed) -> u64 {
    bed.daemon().status()["held"]["fragments"].as_u64().expect("status says what is held")
}

fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < SOON, "in vain: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_datagram_whose_last_fragment_comes_first_arrives_whole() {
    for bed in beds(&Policy::open().group("b", &["udp 7000 from 0.0.0.0/0", "udp 7000 from ::/0"], &[])) {
        let mut injector = Injector::on(&bed.guest("a").netns);
        for ipv6 in [false, true] {
            let socket =
                bind_udp(&bed.guest("b").netns, SocketAddr::new(bed.guest("b").address(ipv6), PORT), SOON);
            let datagram = Datagram::new(&bed, ipv6);
            datagram.fragments.iter().rev().for_each(|fragment| injector.send(fragment));
            let mut buffer = vec![0; 1 << 16];
            let (length, _) = socket.recv_from(&mut buffer).expect("the datagram arrives");
            assert!(buffer[..length] == datagram.payload, "IPv6 {ipv6}: another payload");
        }
        assert_eq!(bed.daemon().drops("fragment-orphan") + held(&bed), 0);
    }
}

/// The twin of the one above: what holds fragments back may not let them pass by themselves.
#[test]
fn a_datagram_that_no_rule_allows_arrives_in_no_order() {
    for bed in beds(&Policy::open().group("b", &["udp 7001 from 0.0.0.0/0"], &[])) {
        let (mut injector, sniffer) =
            (Injector::on(&bed.guest("a").netns), Sniffer::on(&bed.guest("b").netns));
        let datagram = Datagram::new(&bed, false);
        datagram.fragments.iter().rev().for_each(|fragment| injector.send(fragment));
        eventually("all are judged", || bed.daemon().drops("group-ingress") == PIECES as u64);
        let (a, b, honest) = (bed.guest("a"), bed.guest("b"), Mark::new());
        let ends = Ends {
            mac: (a.plan.mac(), router_mac(a)),
            ip: (a.address(false), b.address(false)),
            port: (40_000, 7001),
        };
        injector.send(&frame::udp(&ends, honest.bytes()));
        assert!(sniffer.sees(&honest), "the honest datagram after it");
        assert_eq!((datagram.arrived(&sniffer), held(&bed)), (0, 0));
    }
}

#[test]
fn fragments_wait_for_their_first_one_and_not_for_ever() {
    for bed in beds(&Policy::open()) {
        let (mut injector, sniffer) =
            (Injector::on(&bed.guest("a").netns), Sniffer::on(&bed.guest("b").netns));
        let datagram = Datagram::new(&bed, false);
        let later = &datagram.fragments[1..];
        for fragment in later {
            injector.send(fragment);
        }
        eventually("they are held", || held(&bed) == later.len() as u64);
        eventually("they are dropped", || bed.daemon().drops("fragment-orphan") == later.len() as u64);
        injector.send(&datagram.fragments[0]);
        assert!(sniffer.sees(&datagram.mark), "the first fragment");
        thread::sleep(SILENCE);
        assert_eq!((datagram.arrived(&sniffer), held(&bed)), (1, 0), "nothing follows it");
    }
}

/// Law 1 is checked when the bed goes.
#[test]
fn a_daemon_may_stop_while_fragments_wait() {
    let mut bed = Bed::start(Setup::taps(), &Policy::open());
    let mut injector = Injector::on(&bed.guest("a").netns);
    let datagram = Datagram::new(&bed, true);
    datagram.fragments[1..].iter().for_each(|fragment| injector.send(fragment));
    eventually("they are held", || held(&bed) == 3);
    bed.daemon.take().expect("it runs").stop();
}
