//! TCP states: CT-40 to CT-45, CT-47.

use std::time::Duration;

use crate::world::*;

/// A connection opened by the ENI, with sequence numbers 100 and 500.
fn established() -> World {
    let w = World::new();
    assert_eq!(w.tx(tcp("S").seq(100)), Fate::Opened);
    assert_eq!(w.rx(tcp("SA").seq(500).ack(101)), Fate::Tracked);
    assert_eq!(w.tx(tcp("A").seq(101).ack(501)), Fate::Tracked);
    assert_eq!(w.state(), "established");
    w
}

/// Ends it in order; the ENI closes first.
fn time_wait() -> World {
    let w = established();
    for (direction, letters, state) in [
        (Egress, "FA", "fin-wait"),
        (Ingress, "A", "close-wait"),
        (Ingress, "FA", "last-ack"),
        (Egress, "A", "time-wait"),
    ] {
        w.pass(direction, tcp(letters).seq(501).ack(102));
        assert_eq!(w.state(), state);
    }
    w
}

fn script(w: &World, steps: &[(Direction, &str, &str)]) {
    for (index, (direction, letters, state)) in steps.iter().enumerate() {
        assert_eq!(w.pass(*direction, tcp(letters)), Fate::Tracked, "step {index}");
        assert_eq!(w.state(), *state, "step {index}: {direction:?} {letters}");
    }
}

#[test]
fn ct_40_only_a_syn_opens_an_entry() {
    let w = World::new();
    for letters in ["A", "PA", "SA", "F", "FA", "R", "RA", "P", "U"] {
        assert_eq!(w.tx(tcp(letters)), Fate::Stateless, "{letters}");
        assert_eq!(w.rx(tcp(letters)), Fate::Stateless, "{letters}");
    }
    assert_eq!(w.table.totals().created, 0);
    assert_eq!(w.rx(tcp("S")), Fate::Opened);
    assert_eq!(w.state(), "syn-sent");
}

#[test]
fn ct_40_impossible_flags_touch_nothing() {
    let mut w = established();
    w.wait(secs(50));
    for letters in ["SF", "SR", "FR", "", "SFRA"] {
        assert_eq!(w.rx(tcp(letters).seq(501).ack(101)), Fate::Stateless, "{letters}");
    }
    assert_eq!((w.state(), w.entry().idle), ("established", secs(50)));
}

#[test]
fn ct_41_the_handshake_and_its_retransmissions() {
    let mut w = World::new();
    assert_eq!(w.rx(tcp("S")), Fate::Opened);
    let steps = [
        (Ingress, "S", "syn-sent"),
        (Egress, "SA", "syn-recv"),
        (Egress, "SA", "syn-recv"),
        (Ingress, "S", "syn-recv"),
        (Egress, "S", "syn-recv"),
        (Egress, "A", "syn-recv"),
        (Ingress, "A", "established"),
    ];
    for step in steps {
        w.wait(secs(59));
        script(&w, &[step]);
        assert_eq!(w.entry().idle, Duration::ZERO, "a retransmission refreshes: {step:?}");
    }
}

#[test]
fn ct_41_data_before_established_is_of_the_flow() {
    let w = World::new();
    w.tx(tcp("S"));
    script(&w, &[(Egress, "PA", "syn-sent"), (Ingress, "A", "syn-sent"), (Ingress, "P", "syn-sent")]);
    script(&w, &[(Ingress, "SA", "syn-recv"), (Ingress, "PA", "syn-recv"), (Egress, "PA", "established")]);
}

#[test]
fn ct_42_simultaneous_open() {
    let w = World::new();
    w.tx(tcp("S"));
    script(
        &w,
        &[
            (Ingress, "S", "syn-sent2"),
            (Egress, "S", "syn-sent2"),
            (Ingress, "S", "syn-sent2"),
            (Ingress, "A", "syn-sent2"),
            (Egress, "SA", "syn-recv"),
            (Ingress, "SA", "syn-recv"),
            (Egress, "A", "established"),
        ],
    );
    let w = World::new();
    w.tx(tcp("S"));
    script(&w, &[(Ingress, "S", "syn-sent2"), (Ingress, "SA", "syn-recv"), (Egress, "A", "established")]);
}

#[test]
fn ct_43_a_fin_before_the_synack_changes_nothing() {
    let w = World::new();
    w.tx(tcp("S"));
    script(&w, &[(Egress, "FA", "syn-sent"), (Ingress, "F", "syn-sent"), (Ingress, "S", "syn-sent2")]);
    script(&w, &[(Egress, "FA", "syn-sent2"), (Ingress, "FA", "syn-sent2"), (Ingress, "SA", "syn-recv")]);
    script(&w, &[(Ingress, "FA", "fin-wait")]);
}

#[test]
fn ct_43_close_in_order_from_either_side() {
    for (first, second) in [(Egress, Ingress), (Ingress, Egress)] {
        let w = established();
        script(
            &w,
            &[
                (first, "FA", "fin-wait"),
                (first, "FA", "fin-wait"),
                (first, "A", "fin-wait"),
                (second, "P", "fin-wait"),
                (second, "PA", "close-wait"),
                (first, "A", "close-wait"),
                (first, "FA", "close-wait"),
                (second, "PA", "close-wait"),
                (second, "FA", "last-ack"),
                (second, "A", "last-ack"),
                (second, "FA", "last-ack"),
                (first, "FA", "last-ack"),
                (first, "P", "last-ack"),
                (first, "A", "time-wait"),
            ],
        );
    }
}

#[test]
fn ct_43_simultaneous_close_ends_with_an_ack_of_either_side() {
    for (first, second, last) in
        [(Egress, Ingress, Egress), (Egress, Ingress, Ingress), (Ingress, Egress, Egress)]
    {
        let w = established();
        script(&w, &[(first, "FA", "fin-wait"), (second, "FA", "last-ack"), (last, "A", "time-wait")]);
    }
}

#[test]
fn ct_43_half_open_data_refreshes_the_current_time_out() {
    let mut w = established();
    script(&w, &[(Egress, "FA", "fin-wait"), (Ingress, "A", "close-wait")]);
    for _ in 0..20 {
        w.wait(secs(59));
        script(&w, &[(Ingress, "PA", "close-wait"), (Egress, "A", "close-wait")]);
    }
    w.wait(secs(60));
    assert_eq!(w.state(), "gone");
}

#[test]
fn ct_40b_a_synack_reopens_nothing() {
    let w = time_wait();
    script(&w, &[(Ingress, "SA", "time-wait"), (Egress, "SA", "time-wait")]);
    w.rx(tcp("R").seq(102));
    assert_eq!(w.state(), "close");
    script(&w, &[(Ingress, "SA", "close"), (Egress, "SA", "close")]);
    let w = established();
    script(&w, &[(Ingress, "SA", "established"), (Egress, "SA", "established")]);
}

#[test]
fn ct_44_after_the_end_a_packet_is_one_without_entry() {
    let mut w = time_wait();
    w.wait(secs(120));
    assert_eq!(w.rx(tcp("A")), Fate::Stateless);
    assert_eq!(w.rx(tcp("S")), Fate::Opened, "by the rules of its own direction");
}

#[test]
fn ct_45_a_syn_on_a_closed_entry_is_a_new_flow_from_either_side() {
    for direction in [Egress, Ingress] {
        let w = time_wait();
        assert_eq!(w.pass(direction, tcp("S").seq(9)), Fate::Opened);
        let entry = w.entry();
        assert_eq!((entry.state, entry.origin, entry.forward.packets), ("syn-sent", direction, 1));
        let totals = w.table.totals();
        assert_eq!((totals.created, totals.closed, totals.alive), (2, 1, 1));
        w.assert_conserved();
    }
}

#[test]
fn ct_45_a_denied_syn_leaves_the_closed_entry_as_it_was() {
    let mut w = time_wait();
    w.wait(secs(119));
    assert_eq!(w.drop_after_consult(Ingress, tcp("S")), Fate::Opened, "rules are asked");
    assert_eq!((w.state(), w.entry().idle), ("time-wait", secs(119)));
    assert_eq!(w.rx(tcp("A")), Fate::Tracked);
}

#[test]
fn ct_45_an_untracked_syn_deletes_the_closed_entry_and_opens_nothing() {
    let w = time_wait();
    let syn = tcp("S").going(Ingress);
    let palisade_conntrack::Consult::New(plan) = w.table.consult(ZONE, Ingress, &syn, w.now) else {
        panic!("rules decide");
    };
    w.table.commit_untracked(plan, &syn, w.now);
    assert_eq!(w.state(), "gone");
    assert_eq!((w.table.tracked(9, w.now), w.table.totals().closed), (0, 1));
    assert_eq!(w.rx(tcp("A")), Fate::Stateless, "the old entry does not speak for the new flow");
    w.assert_conserved();
}

#[test]
fn ct_45_a_syn_on_a_live_entry_changes_neither_state_nor_expiry() {
    let mut w = established();
    let closing = [(Egress, "FA", "fin-wait"), (Ingress, "A", "close-wait"), (Ingress, "FA", "last-ack")];
    for state in 0..=closing.len() {
        w.wait(secs(7));
        for direction in [Egress, Ingress] {
            let before = w.entry();
            assert_eq!(w.pass(direction, tcp("S").seq(77)), Fate::Tracked);
            let after = w.entry();
            assert_eq!((after.state, after.idle), (before.state, secs(7)));
        }
        if let Some(step) = closing.get(state) {
            script(&w, &[*step]);
        }
    }
}

#[test]
fn ct_47_no_window_check_for_data() {
    let w = established();
    assert_eq!(w.rx(tcp("PA").seq(4_000_000_000).ack(3_000_000_000)), Fate::Tracked);
    assert_eq!(w.tx(tcp("PA").seq(1).ack(2)), Fate::Tracked);
    assert_eq!(w.state(), "established");
}
