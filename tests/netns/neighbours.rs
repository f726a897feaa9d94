//! ARP and neighbour discovery, answered by the fabric (RES-40, RES-40a, RES-40b).

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use palisade_tests::frame::{self, Arp, Ndp};
use palisade_tests::wire::{Injector, SILENCE, SOON, Sniffer};
use palisade_tests::{Bed, Guest, Policy, PortKind, Setup, tool};

use crate::probe::{ask_arp, router_mac};

fn beds() -> impl Iterator<Item = Bed> {
    // Neither kind of answer may depend on the policy.
    [PortKind::Tap, PortKind::Packet]
        .into_iter()
        .map(|kind| Bed::start(Setup::new(kind, kind).with_service(), &Policy::closed()))
}

fn ask_ndp(guest: &Guest, question: &Ndp, within: Duration) -> Option<[u8; 6]> {
    let sniffer = Sniffer::on(&guest.netns);
    Injector::on(&guest.netns).send(&question.frame());
    sniffer.find(within, |frame| {
        let (target, mac) = frame::advertisement(frame)?;
        (target == question.target && frame[6..12] != guest.plan.mac()).then_some(mac)
    })
}

#[test]
fn arp_is_answered_for_the_router_reserved_addresses_and_neighbours_only() {
    for bed in beds() {
        let (a, c) = (bed.guest("a"), bed.guest("c"));
        let router = router_mac(a);
        assert_eq!(router[0] & 3, 2, "a locally administered unicast address");
        assert_eq!(router_mac(c), router, "one router per subnet");
        let ask = |target, within| ask_arp(a, &Arp::ask(a.plan.mac(), a.plan.ipv4(), target), within);
        assert_eq!(ask(c.plan.ipv4(), SOON), Some(c.plan.mac()));
        assert_eq!(ask(Ipv4Addr::new(169, 254, 169, 253), SOON), Some(router), "a service");
        for silent in ["10.0.1.77", "10.0.2.10", "10.0.1.255", "192.0.2.1"] {
            assert_eq!(ask(silent.parse().unwrap(), SILENCE), None, "{silent}");
        }
    }
}

/// RES-40a, RFC 5227.
#[test]
fn arp_probes_are_legal_and_not_answered_for_the_askers_own_address() {
    for bed in beds() {
        let (a, c) = (bed.guest("a"), bed.guest("c"));
        let probe = |target| Arp::ask(a.plan.mac(), Ipv4Addr::UNSPECIFIED, target);
        assert_eq!(ask_arp(a, &probe(a.plan.ipv4()), SILENCE), None);
        assert_eq!(ask_arp(a, &probe(c.plan.ipv4()), SOON), Some(c.plan.mac()));
        assert_eq!(bed.daemon().drops("arp-spoof"), 0);
        let tool = tool::run(&a.netns, Duration::from_secs(9), "arping -D -c 2 -w 2 -I eth0 10.0.1.10");
        assert!(tool.ok, "arping -D found the address taken: {}", tool.out);
    }
}

#[test]
fn arp_with_a_foreign_sender_is_dropped() {
    for bed in beds() {
        let (a, c) = (bed.guest("a"), bed.guest("c"));
        let router = Ipv4Addr::new(10, 0, 1, 1);
        let honest = Arp::ask(a.plan.mac(), a.plan.ipv4(), router);
        let lies = [
            ("address", Arp { sender: (a.plan.mac(), c.plan.ipv4()), ..honest }, "arp-spoof"),
            ("router's address", Arp { sender: (a.plan.mac(), router), ..honest }, "arp-spoof"),
            ("hardware address", Arp { sender: (c.plan.mac(), a.plan.ipv4()), ..honest }, "arp-spoof"),
            ("frame", Arp { mac: (c.plan.mac(), honest.mac.1), ..honest }, "source-mac"),
        ];
        for (what, lie, reason) in lies {
            let before = bed.daemon().drops(reason);
            assert_eq!(ask_arp(a, &lie, SILENCE), None, "foreign {what}");
            assert!(bed.daemon().drops(reason) > before, "foreign {what}: counted as {reason}");
        }
        assert_eq!(ask_arp(a, &honest, SOON), Some(router_mac(a)));
    }
}

/// ARP and neighbour discovery of one guest are never seen by another, gratuitous ones change nothing.
#[test]
fn neighbour_traffic_stays_between_guest_and_fabric() {
    for bed in beds() {
        bed.reload(&Policy::open()).unwrap();
        let (a, c) = (bed.guest("a"), bed.guest("c"));
        let watchers = [Sniffer::on(&bed.guest("b").netns), Sniffer::on(&c.netns)];
        let mut injector = Injector::on(&a.netns);
        let (mac, v4, v6) = (a.plan.mac(), a.plan.ipv4(), a.plan.ipv6());
        let gratuitous = Arp { request: false, ..Arp::ask(mac, v4, v4) };
        let advertisement = Ndp { icmp_type: 136, target: v6, ..Ndp::ask(mac, v6, Ipv6Addr::LOCALHOST) };
        injector.send(&Arp::ask(mac, v4, c.plan.ipv4()).frame());
        injector.send(&Arp { mac: (mac, c.plan.mac()), ..Arp::ask(mac, v4, c.plan.ipv4()) }.frame());
        injector.send(&gratuitous.frame());
        injector.send(&Ndp::ask(mac, v6, c.plan.ipv6()).frame());
        injector.send(&Ndp { ip: (v6, c.plan.ipv6()), mac: (mac, c.plan.mac()), ..advertisement }.frame());
        let from_a = |frame: &[u8]| {
            let neighbour =
                frame[12..14] == [0x08, 0x06] || frame.get(54).is_some_and(|kind| (133..=137).contains(kind));
            (frame[6..12] == mac && neighbour).then(|| frame.to_vec())
        };
        for watcher in &watchers {
            assert_eq!(watcher.find(SILENCE, from_a), None);
        }
        assert!(tool::ping(&c.netns, &v4.to_string(), "") > 0.99, "a is where it was");
        assert!(tool::ping(&c.netns, &v6.to_string(), "") > 0.99);
    }
}

/// RES-40b, RES-22v6.
#[test]
fn neighbour_solicitations_are_answered_for_the_router_and_neighbours_only() {
    for bed in beds() {
        let (a, c) = (bed.guest("a"), bed.guest("c"));
        let router = router_mac(a);
        let ask = |target, within| ask_ndp(a, &Ndp::ask(a.plan.mac(), a.plan.ipv6(), target), within);
        assert_eq!(ask(c.plan.ipv6(), SOON), Some(c.plan.mac()));
        let routers =
            ["2001:db8:1:1::1".parse().unwrap(), "fe80:ec2::1".parse().unwrap(), frame::link_local(router)];
        for address in routers {
            assert_eq!(ask(address, SOON), Some(router), "{address}");
        }
        for silent in ["2001:db8:1:1::77", "2001:db8:1:2::10", "2001:db8:9::1", "fe80::77"] {
            assert_eq!(ask(silent.parse().unwrap(), SILENCE), None, "{silent}");
        }
    }
}

/// RES-40b, RES-24v6.
#[test]
fn false_neighbour_solicitations_are_dropped() {
    for bed in beds() {
        let (a, c) = (bed.guest("a"), bed.guest("c"));
        let honest = Ndp::ask(a.plan.mac(), a.plan.ipv6(), c.plan.ipv6());
        let lies = [
            ("source address", Ndp { ip: (c.plan.ipv6(), honest.ip.1), ..honest }, "ndp-spoof"),
            ("link-layer option", Ndp { link_layer: Some(c.plan.mac()), ..honest }, "ndp-spoof"),
            ("frame", Ndp { mac: (c.plan.mac(), honest.mac.1), ..honest }, "source-mac"),
            ("hop limit", Ndp { hop_limit: 64, ..honest }, "ndp-invalid"),
        ];
        for (what, lie, reason) in lies {
            let before = bed.daemon().drops(reason);
            assert_eq!(ask_ndp(a, &lie, SILENCE), None, "{what}");
            assert!(bed.daemon().drops(reason) > before, "{what}: counted as {reason}");
        }
        assert_eq!(ask_ndp(a, &honest, SOON), Some(c.plan.mac()));
    }
}

/// RFC 4862: the source of a probe for duplicates is the unspecified address.
#[test]
fn duplicate_address_detection_is_legal_and_not_answered_for_the_askers_own_address() {
    for bed in beds() {
        let (a, c) = (bed.guest("a"), bed.guest("c"));
        let probe = |target| Ndp {
            ip: (Ipv6Addr::UNSPECIFIED, frame::solicited_node(target)),
            link_layer: None,
            ..Ndp::ask(a.plan.mac(), a.plan.ipv6(), target)
        };
        assert_eq!(ask_ndp(a, &probe(a.plan.ipv6()), SILENCE), None);
        assert_eq!(ask_ndp(a, &probe(c.plan.ipv6()), SOON), Some(c.plan.mac()));
        assert_eq!(bed.daemon().drops("ndp-spoof"), 0);
    }
}
