//! What other workers can do between a consultation and its commit, played out in one thread.

use palisade_conntrack::{Consult, Plan, Refused};

use crate::world::*;

/// A consultation whose commit comes later.
struct Pending {
    plan: Plan,
    direction: Direction,
    packet: P,
}

fn consult(w: &World, direction: Direction, packet: P) -> Pending {
    match w.table.consult(ZONE, direction, &packet.going(direction), w.now) {
        Consult::Tracked(plan) | Consult::New(plan) => Pending { plan, direction, packet },
        other => panic!("{other:?}"),
    }
}

fn commit(w: &World, pending: Pending) -> Result<(), Refused> {
    let packet = pending.packet.going(pending.direction);
    w.table.commit(pending.plan, &w.owner, &packet, w.now)
}

/// An entry in CLOSE.
fn closed() -> World {
    let w = World::new();
    w.tx(tcp("S").seq(5));
    w.tx(tcp("R").seq(5));
    assert_eq!(w.state(), "close");
    w
}

#[test]
fn two_open_the_same_flow_one_wins_and_the_other_refreshes() {
    let mut w = World::new();
    w.owner.max_tracked = 1;
    let (first, second) = (consult(&w, Egress, udp()), consult(&w, Ingress, udp()));
    assert_eq!(commit(&w, second), Ok(()));
    assert_eq!(commit(&w, first), Ok(()), "it needs no place of its own");
    assert_eq!((w.table.totals().created, w.entry().origin), (1, Ingress));
    assert_eq!((w.entry().forward.packets, w.entry().reply.packets), (1, 1));
    w.tx(udp());
    w.rx(udp());
    w.tx(udp());
    assert_eq!(w.state(), "udp-stream", "the loser's packet completed the first transaction, once");
}

#[test]
fn ct_42_two_syns_that_cross_are_a_simultaneous_open() {
    let w = World::new();
    let (first, second) = (consult(&w, Egress, tcp("S")), consult(&w, Ingress, tcp("S")));
    assert_eq!((commit(&w, first), commit(&w, second)), (Ok(()), Ok(())));
    assert_eq!((w.state(), w.table.totals().created), ("syn-sent2", 1));
}

#[test]
fn the_loser_of_an_opening_is_refused_if_the_winner_is_gone_and_the_place_taken() {
    let mut w = World::new();
    w.owner.max_tracked = 1;
    let late = consult(&w, Egress, udp());
    w.tx(udp());
    w.table.remove_zone(ZONE);
    w.tx(other(47));
    assert_eq!(commit(&w, late), Err(Refused::Allowance));
    assert_eq!(w.state(), "other");
}

#[test]
fn an_entry_that_was_removed_meanwhile_is_neither_refreshed_nor_opened_again() {
    let w = World::new();
    w.tx(udp());
    let late = consult(&w, Ingress, udp());
    w.table.remove_zone(ZONE);
    assert_eq!(commit(&w, late), Ok(()), "the packet had passed");
    assert_eq!((w.state(), w.table.totals().created), ("gone", 1));
    w.assert_conserved();
}

#[test]
fn an_entry_whose_time_ends_meanwhile_is_not_revived() {
    for sweep in [false, true] {
        let mut w = World::new();
        w.tx(udp());
        let late = consult(&w, Ingress, udp());
        w.wait(secs(30));
        if sweep {
            assert_eq!(w.table.advance(w.now, usize::MAX), 1);
        }
        assert_eq!(commit(&w, late), Ok(()));
        assert_eq!(w.state(), "gone");
        assert_eq!(w.table.tracked(9, w.now), 0);
    }
}

#[test]
fn ct_45_two_replace_the_same_entry_and_the_second_joins_the_first() {
    let mut w = closed();
    w.owner.max_tracked = 1;
    let (first, second) = (consult(&w, Egress, tcp("S")), consult(&w, Ingress, tcp("S")));
    assert_eq!((commit(&w, first), commit(&w, second)), (Ok(()), Ok(())));
    let totals = w.table.totals();
    assert_eq!((w.state(), totals.closed, totals.alive), ("syn-sent2", 1, 1));
}

#[test]
fn ct_45_the_entry_to_be_replaced_expires_meanwhile() {
    let mut w = closed();
    w.owner.max_tracked = 1;
    let late = consult(&w, Ingress, tcp("S"));
    w.wait(secs(10));
    assert_eq!(commit(&w, late), Ok(()));
    let totals = w.table.totals();
    assert_eq!((w.state(), totals.expired, totals.closed, totals.alive), ("syn-sent", 1, 0, 1));
}

#[test]
fn ct_45_a_syn_judged_on_a_live_entry_leaves_the_closed_one_alone() {
    let mut w = World::new();
    for (direction, letters) in [(Egress, "S"), (Ingress, "SA"), (Egress, "FA"), (Ingress, "FA")] {
        w.pass(direction, tcp(letters));
    }
    let late = consult(&w, Egress, tcp("S"));
    w.tx(tcp("A"));
    w.wait(secs(1));
    assert_eq!(commit(&w, late), Ok(()), "it passed as part of the old connection");
    assert_eq!((w.state(), w.entry().idle, w.table.totals().closed), ("time-wait", secs(1), 0));
}

#[test]
fn the_step_is_taken_from_the_state_at_the_commit() {
    let w = World::new();
    for (direction, letters) in [(Egress, "S"), (Ingress, "SA"), (Egress, "A")] {
        w.pass(direction, tcp(letters));
    }
    let (first, second) = (consult(&w, Egress, tcp("FA")), consult(&w, Ingress, tcp("FA")));
    assert_eq!((commit(&w, first), commit(&w, second)), (Ok(()), Ok(())));
    assert_eq!(w.state(), "last-ack", "both FINs count, though both were planned from established");
}

#[test]
fn an_untracked_commit_after_the_closed_entry_was_replaced_deletes_nothing() {
    let w = closed();
    let late = consult(&w, Ingress, tcp("S"));
    w.tx(tcp("S"));
    w.table.commit_untracked(late.plan, &late.packet.going(Ingress), w.now);
    assert_eq!((w.state(), w.table.totals().closed), ("syn-sent", 1));
}

#[test]
fn a_plan_can_be_dropped() {
    let w = World::new();
    drop(consult(&w, Egress, udp()));
    assert_eq!(w.table.totals().created, 0);
}
