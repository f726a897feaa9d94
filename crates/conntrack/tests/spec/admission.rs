//! What the table keeps so that rules can judge an entry again, and the ends that this brings about.

use palisade_conntrack::{ConnHandle, ConnTable, Consult, Ids, Zone};

use crate::world::*;

fn open(w: &World, direction: Direction, packet: P, stamp: u64, referenced: bool) {
    let packet = packet.going(direction);
    let Consult::New(plan) = w.table.consult(ZONE, direction, &packet, w.now) else { panic!("{packet:?}") };
    w.table.commit(plan.admitted(stamp, referenced), &w.owner, &packet, w.now).unwrap();
}

fn handle(w: &World, direction: Direction, packet: P) -> ConnHandle {
    w.table.handle(ZONE, direction, &packet.going(direction), w.now).unwrap()
}

#[test]
fn an_entry_remembers_what_rules_saw_of_its_opener() {
    let w = World::new();
    let ping =
        P { body: Body::Icmp { v6: false, icmp_type: 8, code: 3, identifier: 1, quoted: None }, ..udp() };
    open(&w, Ingress, ping, 7, true);
    let entry = w.entry();
    assert_eq!((entry.opener.code, entry.opener.referenced), (3, true));
    assert_eq!(w.rx(icmp(8, 1)), Fate::Tracked, "CT-55: the code is no part of the key");
    assert_eq!(w.entry().opener.code, 3, "what opened it is what opened it");
}

#[test]
fn an_entry_is_admitted_by_the_stamp_it_was_opened_under_and_by_later_ones_only_when_told() {
    let w = World::new();
    open(&w, Egress, udp(), 7, false);
    let entry = handle(&w, Ingress, udp());
    assert!(entry.is_admitted_by(7) && !entry.is_admitted_by(8));
    w.rx(udp());
    assert!(entry.is_admitted_by(7), "packets change nothing about it");
    entry.admit(8);
    assert!(entry.is_admitted_by(8) && !entry.is_admitted_by(7));
}

#[test]
fn an_entry_that_nobody_vouched_for_is_admitted_by_no_stamp() {
    let w = World::new();
    w.tx(udp());
    let entry = handle(&w, Egress, udp());
    assert!((0..100).all(|stamp| !entry.is_admitted_by(stamp)));
}

#[test]
fn unadmitted_entries_are_found_by_their_eni() {
    let mut w = World::new();
    open(&w, Egress, udp().ports(1, 1), 7, false);
    open(&w, Egress, udp().ports(2, 2), 6, false);
    open(&w, Egress, icmp(8, 1), 6, false);
    w.owner.zone = Zone(2);
    w.tx(udp());
    w.wait(secs(29));
    let stamps = [(ZONE, 7), (Zone(99), 7)];
    let found = w.table.unadmitted(&stamps, w.now);
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|entry| !entry.is_admitted_by(7)));
    w.wait(secs(1));
    assert_eq!(
        w.table.unadmitted(&stamps, w.now).len(),
        0,
        "CT-39a: what is idle for too long has ended already"
    );
}

#[test]
fn a_revoked_entry_is_removed_once_and_frees_its_place() {
    let mut w = World::new();
    w.owner.max_tracked = 1;
    open(&w, Ingress, tcp("S"), 7, false);
    assert_eq!(w.rx(tcp("S").ports(1, 1)), Fate::Refused(palisade_conntrack::Refused::Allowance));
    let entry = handle(&w, Ingress, tcp("S"));
    assert!(w.table.revoke(&entry));
    assert!(!w.table.revoke(&entry) && !w.table.end(&entry), "it has ended");
    assert!(!entry.is_alive(w.now));
    assert_eq!(w.rx(tcp("A")), Fate::Stateless, "CT-44");
    assert_eq!(w.rx(tcp("S").ports(1, 1)), Fate::Opened, "CT-70");
    let totals = w.table.totals();
    assert_eq!((totals.removed, totals.revoked), (1, 1));
    w.assert_conserved();
}

#[test]
fn an_entry_that_was_ended_by_choice_is_removed_and_not_revoked() {
    let w = World::new();
    w.tx(udp());
    w.tx(udp().ports(5, 5));
    let local_port_5 = |view: &palisade_conntrack::ConnView| view.ids == Ids::Ports { local: 5, remote: 5 };
    let chosen = w.table.select(local_port_5, w.now);
    assert_eq!(chosen.len(), 1);
    assert!(w.table.end(&chosen[0]));
    assert!(w.table.list(w.now).iter().all(|view| !local_port_5(view)));
    assert_eq!(w.table.list(w.now).len(), 1);
    let totals = w.table.totals();
    assert_eq!((totals.removed, totals.revoked), (1, 0));
    w.assert_conserved();
}

#[test]
fn ending_an_entry_does_not_end_its_successor() {
    let w = World::new();
    w.tx(udp());
    let old = handle(&w, Egress, udp());
    w.table.remove_zone(ZONE);
    w.tx(udp());
    assert!(!w.table.end(&old));
    assert_eq!(w.entry().forward.packets, 1);
}

#[test]
fn a_packet_can_be_shown_to_the_table_as_if_it_had_no_entry() {
    let w = World::new();
    w.tx(udp());
    w.tx(tcp("S"));
    let fresh = |packet: P| Consult::without_entry(ZONE, Egress, &packet.going(Egress));
    assert_eq!(w.drop_after_consult(Egress, udp()), Fate::Tracked);
    assert!(matches!(fresh(udp()), Consult::New(_)));
    assert!(matches!(fresh(tcp("S")), Consult::New(_)));
    assert!(matches!(fresh(tcp("A")), Consult::Stateless), "CT-40");
    assert!(matches!(fresh(error(3, udp().quoted(Ingress))), Consult::Stateless), "CT-53");
}

#[test]
fn an_error_passes_on_the_authority_of_the_entry_it_is_about() {
    let w = World::new();
    open(&w, Egress, udp(), 7, false);
    let error = error(3, udp().quoted(Egress)).going(Ingress);
    let consult = w.table.consult(ZONE, Ingress, &error, w.now);
    assert!(consult.entry().unwrap().is_admitted_by(7));
    let unrelated = w.table.consult(ZONE, Ingress, &udp().ports(9, 9).going(Ingress), w.now);
    assert!(unrelated.entry().is_none());
}

#[test]
fn who_admitted_an_entry_does_not_survive_an_import() {
    let w = World::new();
    open(&w, Egress, udp(), 7, true);
    let next = World { table: ConnTable::new(10), now: w.now, owner: w.owner };
    next.table.import(w.table.export(w.now), next.now);
    let entry = handle(&next, Egress, udp());
    assert!(!entry.is_admitted_by(7), "another process numbers its policies anew");
    assert!(next.entry().opener.referenced, "but what the opener was does");
}
