//! Ends that the control side brings about: CT-26.

use palisade_conntrack::Zone;

use crate::world::*;

#[test]
fn ct_26_deleting_an_eni_destroys_its_entries_only() {
    let mut w = World::new();
    for port in 0..10 {
        w.tx(udp().ports(port, 53));
    }
    w.tx(tcp("S"));
    w.owner.zone = Zone(2);
    w.tx(udp());
    let handle = w.table.handle(ZONE, Egress, &tcp("A").going(Egress), w.now).unwrap();
    assert_eq!(w.table.remove_zone(ZONE), 11);
    assert_eq!(w.table.remove_zone(ZONE), 0);
    assert!(!handle.is_alive(w.now));
    assert_eq!(w.entry().zone, Zone(2));
    assert_eq!((w.table.totals().removed, w.table.tracked(9, w.now)), (11, 1));
    w.owner.zone = ZONE;
    assert_eq!(w.rx(udp().ports(3, 53)), Fate::Opened, "rules decide again");
    w.assert_conserved();
}

#[test]
fn ct_26_an_eni_whose_entries_belong_to_two_instances() {
    let mut w = World::new();
    w.tx(udp().ports(1, 1));
    w.owner.instance = 10;
    w.tx(udp().ports(2, 2));
    assert_eq!(w.table.remove_zone(ZONE), 2);
    assert_eq!(w.table.list(w.now).len(), 0);
}

#[test]
fn ct_26_giving_up_an_address_destroys_the_entries_with_it_as_local() {
    let mut w = World::new();
    w.tx(udp());
    w.tx(udp().local("10.0.1.11"));
    w.tx(udp().local("10.0.1.12").remote("10.0.1.11"));
    w.owner.zone = Zone(2);
    w.tx(udp().local("10.0.1.11"));
    assert_eq!(w.table.remove_local(ZONE, ip("10.0.1.11")), 1);
    w.owner.zone = ZONE;
    assert_eq!(w.rx(udp()), Fate::Tracked);
    assert_eq!(w.drop_after_consult(Ingress, udp().local("10.0.1.11")), Fate::Opened);
    assert_eq!(w.table.list(w.now).len(), 3);
    w.assert_conserved();
}

#[test]
fn a_removed_entry_is_not_expired_once_more() {
    let mut w = World::new();
    w.tx(udp());
    w.table.remove_local(ZONE, ip("10.0.1.10"));
    w.tx(udp());
    w.wait(secs(31));
    assert_eq!(w.table.advance(w.now, usize::MAX), 1);
    let totals = w.table.totals();
    assert_eq!((totals.created, totals.removed, totals.expired, totals.alive), (2, 1, 1, 0));
}
