//! Limits: CT-70, CT-71, CT-73, and the place that CT-45 hands on.

use std::time::Duration;

use palisade_conntrack::{Refused, Zone};

use crate::world::*;

fn limited(max: u32) -> World {
    let mut w = World::new();
    w.owner.max_tracked = max;
    w
}

#[test]
fn ct_70_a_full_instance_refuses_new_flows_in_both_directions_and_keeps_the_old_ones() {
    let w = limited(2);
    w.tx(udp().ports(1, 1));
    w.rx(udp().ports(2, 2));
    let before = w.table.totals();
    assert_eq!(w.tx(udp().ports(3, 3)), Fate::Refused(Refused::Allowance));
    assert_eq!(w.rx(tcp("S")), Fate::Refused(Refused::Allowance));
    assert_eq!(w.table.totals(), before, "nothing was changed");
    assert_eq!(w.rx(udp().ports(1, 1)), Fate::Tracked);
    assert_eq!(w.tx(tcp("A").ports(9, 9)), Fate::Stateless, "what needs no entry is not refused");
}

#[test]
fn ct_70_the_allowance_is_shared_by_the_enis_of_an_instance_and_by_no_other() {
    let mut w = limited(1);
    w.tx(udp());
    w.owner.zone = Zone(2);
    assert_eq!(w.tx(udp()), Fate::Refused(Refused::Allowance));
    w.owner.instance = 10;
    assert_eq!(w.tx(udp()), Fate::Opened);
}

#[test]
fn ct_70_nothing_fits_in_nothing() {
    assert_eq!(limited(0).tx(udp()), Fate::Refused(Refused::Allowance));
    assert_eq!(World::with_capacity(0).tx(udp()), Fate::Refused(Refused::TableFull));
}

#[test]
fn ct_71_what_is_available() {
    let mut w = limited(3);
    assert_eq!(w.table.available(9, 3, w.now), 3);
    w.tx(udp().ports(1, 1));
    w.tx(udp().ports(2, 2));
    assert_eq!((w.table.tracked(9, w.now), w.table.available(9, 3, w.now)), (2, 1));
    assert_eq!(w.table.available(9, 1, w.now), 0, "a limit that was lowered");
    w.wait(secs(30));
    assert_eq!((w.table.tracked(9, w.now), w.table.available(9, 3, w.now)), (0, 3));
}

#[test]
fn ct_73_expired_entries_do_not_count_though_nobody_swept() {
    let mut w = limited(2);
    w.tx(udp().ports(1, 1));
    w.wait(NANO);
    w.tx(udp().ports(2, 2));
    w.wait(Duration::from_nanos(29_999_999_998));
    assert_eq!(w.tx(udp().ports(3, 3)), Fate::Refused(Refused::Allowance), "one nanosecond early");
    w.wait(NANO);
    assert_eq!(w.tx(udp().ports(3, 3)), Fate::Opened);
    assert_eq!(w.tx(udp().ports(4, 4)), Fate::Refused(Refused::Allowance), "exactly one place came free");
    w.wait(NANO);
    assert_eq!(w.tx(udp().ports(4, 4)), Fate::Opened);
    w.assert_conserved();
}

#[test]
fn ct_73_holds_for_an_entry_whose_life_was_shortened() {
    let mut w = limited(1);
    w.tx(tcp("S"));
    w.rx(tcp("SA"));
    w.tx(tcp("A"));
    w.wait(secs(400_000));
    w.tx(tcp("FA"));
    w.wait(almost(120));
    assert_eq!(w.tx(udp()), Fate::Refused(Refused::Allowance));
    w.wait(NANO);
    assert_eq!(w.tx(udp()), Fate::Opened);
}

#[test]
fn ct_73_an_expired_entry_of_the_same_key_makes_room_for_its_successor() {
    let mut w = limited(1);
    w.tx(udp());
    w.wait(secs(30));
    assert_eq!(w.rx(udp()), Fate::Opened);
    let totals = w.table.totals();
    assert_eq!((totals.expired, totals.alive, w.entry().origin), (1, 1, Ingress));
    w.assert_conserved();
}

#[test]
fn ct_73_one_expired_entry_is_found_behind_many_refreshed_ones() {
    let mut w = limited(2_000);
    w.owner.max_tracked = 1_000;
    for port in 0..1_000 {
        w.tx(udp().ports(port, 53));
    }
    w.wait(secs(29));
    for port in (0..1_000).filter(|port| *port != 777) {
        w.rx(udp().ports(port, 53));
    }
    w.wait(secs(1));
    assert_eq!(w.tx(udp().ports(5_000, 53)), Fate::Opened);
    assert_eq!(w.tx(udp().ports(5_001, 53)), Fate::Refused(Refused::Allowance));
}

#[test]
fn ct_45_and_70_a_replaced_entry_hands_its_place_to_its_successor() {
    let w = limited(1);
    w.tx(tcp("S").seq(5));
    w.tx(tcp("R").seq(5));
    assert_eq!(w.state(), "close");
    assert_eq!(w.tx(udp()), Fate::Refused(Refused::Allowance), "CLOSE counts until it ends");
    assert_eq!(w.rx(tcp("S").seq(9)), Fate::Opened);
    assert_eq!((w.state(), w.table.tracked(9, w.now)), ("syn-sent", 1));
    w.assert_conserved();
}

#[test]
fn ct_45_when_the_eni_has_moved_to_a_full_instance_the_old_entry_stays() {
    let mut w = limited(1);
    w.tx(tcp("S").seq(5));
    w.tx(tcp("R").seq(5));
    w.owner.instance = 10;
    w.owner.zone = Zone(2);
    assert_eq!(w.tx(udp()), Fate::Opened);
    w.owner.zone = ZONE;
    assert_eq!(w.tx(tcp("S")), Fate::Refused(Refused::Allowance));
    assert_eq!((w.table.tracked(9, w.now), w.table.totals().closed), (1, 0));
    w.owner.max_tracked = 2;
    assert_eq!(w.tx(tcp("S")), Fate::Opened);
    assert_eq!((w.table.tracked(9, w.now), w.table.tracked(10, w.now)), (0, 2));
}

#[test]
fn a_full_table_refuses_and_makes_room_like_a_full_instance() {
    let mut w = World::with_capacity(2);
    w.tx(udp().ports(1, 1));
    w.owner.instance = 10;
    w.tx(udp().ports(2, 2));
    w.owner.instance = 11;
    assert_eq!(w.tx(udp().ports(3, 3)), Fate::Refused(Refused::TableFull));
    assert_eq!(w.table.tracked(11, w.now), 0, "the place taken from the allowance is given back");
    w.wait(almost(30));
    assert_eq!(w.tx(udp().ports(3, 3)), Fate::Refused(Refused::TableFull));
    w.wait(NANO);
    assert_eq!(w.tx(udp().ports(3, 3)), Fate::Opened, "an expired entry of another instance makes room");
    w.assert_conserved();
}
