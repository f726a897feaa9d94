//! Scope, keys, entries, the commit rule: CT-2 to CT-7.

use palisade_conntrack::{Ids, Zone};

use crate::world::*;

#[test]
fn ct_2_each_eni_has_its_own_entries() {
    let mut w = World::new();
    assert_eq!(w.tx(udp()), Fate::Opened);
    w.owner.zone = Zone(2);
    assert_eq!(w.rx(udp()), Fate::Opened, "the same flow at the other ENI is another entry");
    assert_eq!(w.table.list(w.now).len(), 2);
    w.assert_conserved();
}

#[test]
fn ct_3_both_directions_of_an_entry_need_no_rule() {
    let w = World::new();
    assert_eq!(w.tx(udp()), Fate::Opened);
    assert_eq!(w.rx(udp()), Fate::Tracked);
    assert_eq!(w.tx(udp()), Fate::Tracked);
}

#[test]
fn ct_4_and_5_a_packet_that_differs_in_any_element_is_not_of_the_flow() {
    let w = World::new();
    w.tx(udp());
    let strangers = [
        udp().ports(40_001, 443),
        udp().ports(40_000, 444),
        udp().ports(443, 40_000),
        udp().local("10.0.1.11"),
        udp().remote("10.0.2.21"),
    ];
    for stranger in strangers {
        assert_eq!(w.drop_after_consult(Ingress, stranger), Fate::Opened, "{stranger:?}");
        assert_eq!(w.drop_after_consult(Egress, stranger), Fate::Opened, "{stranger:?}");
    }
    assert_eq!(w.drop_after_consult(Ingress, tcp("A")), Fate::Stateless, "another protocol, same ports");
    assert_eq!(w.drop_after_consult(Ingress, udp()), Fate::Tracked, "the exact mirror");
}

#[test]
fn ct_4_families_are_apart() {
    let w = World::new();
    w.tx(other(47).local("0.0.0.1").remote("0.0.0.2"));
    assert_eq!(w.rx(other(47).local("::1").remote("::2")), Fate::Opened);
    assert_eq!(w.rx(other(47).local("::ffff:0.0.0.1").remote("::ffff:0.0.0.2")), Fate::Opened);
}

#[test]
fn ct_4a_a_forwarded_connection_has_two_entries_at_one_eni() {
    let w = World::new();
    let (a, b) = ("192.0.2.1", "198.51.100.2");
    // a -> b comes in: local is b. The same packet goes out again: local is a.
    let inward = udp().local(b).remote(a).ports(53, 9);
    let outward = udp().local(a).remote(b).ports(9, 53);
    assert_eq!(w.rx(inward), Fate::Opened);
    assert_eq!(w.tx(outward), Fate::Opened, "it never passes egress by its ingress entry");
    assert_eq!(w.table.tracked(9, w.now), 2);
}

#[test]
fn ct_6_an_entry_says_what_it_is() {
    let mut w = World::new();
    w.rx(udp().ports(53, 9_999));
    w.wait(secs(5));
    w.tx(udp().ports(53, 9_999));
    w.wait(secs(2));
    let entry = w.entry();
    assert_eq!((entry.zone, entry.instance, entry.protocol), (ZONE, 9, 17));
    assert_eq!((entry.local, entry.remote), (ip("10.0.1.10"), ip("10.0.2.20")));
    assert_eq!(entry.ids, Ids::Ports { local: 53, remote: 9_999 });
    assert_eq!((entry.origin, entry.state), (Ingress, "udp-single"));
    assert_eq!((entry.age, entry.idle, entry.left), (secs(7), secs(2), secs(28)));
    assert_eq!((entry.forward.packets, entry.reply.packets), (1, 1));
    assert_eq!((entry.forward.bytes, entry.reply.bytes), (100, 100));
}

#[test]
fn ct_7_a_dropped_packet_opens_nothing() {
    let w = World::new();
    assert_eq!(w.drop_after_consult(Ingress, tcp("S")), Fate::Opened);
    assert_eq!(w.drop_after_consult(Egress, tcp("SA")), Fate::Stateless, "no return path was opened");
    assert_eq!(w.table.totals().created, 0);
}

#[test]
fn ct_7_a_dropped_packet_neither_refreshes_nor_moves_the_state() {
    let mut w = World::new();
    w.tx(tcp("S").seq(100));
    w.wait(secs(100));
    for letters in ["SA", "RA", "S"] {
        assert_eq!(w.drop_after_consult(Ingress, tcp(letters).ack(101)), Fate::Tracked);
    }
    assert_eq!(w.state(), "syn-sent");
    assert_eq!(w.entry().idle, secs(100));
    w.wait(secs(20));
    assert_eq!(w.state(), "gone");
}

#[test]
fn ct_7_a_dropped_packet_leaves_the_values_of_ct_46_alone() {
    let w = World::new();
    w.tx(tcp("S").seq(100));
    w.rx(tcp("SA").seq(500).ack(101));
    w.tx(tcp("A").seq(101).ack(501).win(10));
    assert_eq!(w.drop_after_consult(Egress, tcp("A").seq(101).ack(9_000).win(10)), Fate::Tracked);
    w.rx(tcp("R").seq(9_000));
    assert_eq!(w.state(), "established", "9,000 was never acknowledged by a packet that passed");
    w.rx(tcp("R").seq(501));
    assert_eq!(w.state(), "close");
}

#[test]
fn ct_7_a_dropped_packet_completes_no_transaction() {
    let w = World::new();
    w.tx(udp());
    assert_eq!(w.drop_after_consult(Ingress, udp()), Fate::Tracked);
    w.tx(udp());
    w.rx(udp());
    assert_eq!(w.state(), "udp-single", "one reply was dropped, one passed");
}
