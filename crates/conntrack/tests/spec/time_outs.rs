//! Idle times: CT-25, CT-30 to CT-36, CT-39a; handles.

use std::time::Duration;

use palisade_conntrack::{Consult, TimeOuts};

use crate::world::*;

type Script = &'static [(Direction, &'static str)];

const TCP_STATES: [(&str, u64, Script); 9] = [
    ("syn-sent", 120, &[(Egress, "S")]),
    ("syn-sent2", 120, &[(Egress, "S"), (Ingress, "S")]),
    ("syn-recv", 60, &[(Egress, "S"), (Ingress, "SA")]),
    ("established", 432_000, &[(Egress, "S"), (Ingress, "SA"), (Egress, "A")]),
    ("fin-wait", 120, &[(Egress, "S"), (Ingress, "SA"), (Egress, "A"), (Egress, "FA")]),
    ("close-wait", 60, &[(Egress, "S"), (Ingress, "SA"), (Egress, "FA"), (Ingress, "A")]),
    ("last-ack", 30, &[(Egress, "S"), (Ingress, "SA"), (Egress, "FA"), (Ingress, "FA")]),
    ("time-wait", 120, &[(Egress, "S"), (Ingress, "SA"), (Egress, "FA"), (Ingress, "FA"), (Egress, "A")]),
    ("close", 10, &[(Egress, "S"), (Egress, "R")]),
];

fn play(script: Script) -> World {
    let mut w = World::new();
    for (direction, letters) in script {
        w.wait(secs(3));
        w.pass(*direction, tcp(letters));
    }
    w
}

#[test]
fn ct_30_35_36_39a_every_tcp_state_ends_exactly_at_its_time_out() {
    for (name, seconds, script) in TCP_STATES {
        let mut w = play(script);
        assert_eq!((w.entry().state, w.entry().left), (name, secs(seconds)));
        w.wait(almost(seconds));
        assert_eq!((w.state(), w.entry().left), (name, NANO));
        assert_eq!(w.drop_after_consult(Ingress, tcp("A")), Fate::Tracked, "{name}");
        w.wait(NANO);
        assert_eq!(w.drop_after_consult(Ingress, tcp("A")), Fate::Stateless, "{name}: >= is gone");
        assert_eq!(w.state(), "gone");
    }
}

#[test]
fn ct_39a_every_packet_restarts_the_time_out_of_the_state_it_leads_to() {
    for (name, seconds, script) in TCP_STATES {
        let mut w = play(script);
        for direction in [Ingress, Egress] {
            w.wait(almost(seconds));
            assert_eq!(w.pass(direction, tcp("P")), Fate::Tracked, "{name}");
            assert_eq!((w.entry().state, w.entry().left), (name, secs(seconds)));
        }
    }
}

#[test]
fn ct_31_32_34_the_datagram_classes_end_exactly() {
    for (packets, seconds) in [(1, 30), (2, 30), (4, 180)] {
        let mut w = World::new();
        for index in 0..packets {
            w.pass(if index % 2 == 0 { Egress } else { Ingress }, udp());
        }
        w.wait(almost(seconds));
        assert_ne!(w.state(), "gone");
        w.wait(NANO);
        assert_eq!(w.state(), "gone");
    }
    let mut w = World::new();
    w.tx(icmp(8, 1));
    w.wait(almost(30));
    assert_eq!(w.rx(icmp(0, 1)), Fate::Tracked);
    w.wait(secs(30));
    assert_eq!(w.rx(icmp(0, 1)), Fate::Stateless);
}

#[test]
fn ct_25_a_new_setting_counts_from_the_next_packet() {
    let mut w = play(TCP_STATES[3].2);
    w.owner.time_outs.tcp_established = secs(60);
    w.wait(secs(1_000));
    assert_eq!(w.state(), "established", "the idle entry keeps its old expiry");
    assert_eq!(w.rx(tcp("A")), Fate::Tracked);
    assert_eq!(w.entry().left, secs(60));
    w.owner.time_outs.tcp_established = secs(432_000);
    w.wait(secs(59));
    assert_eq!(w.entry().left, secs(1), "also when the new one is longer");
    w.wait(secs(1));
    assert_eq!(w.state(), "gone");
}

#[test]
fn ct_25_a_packet_that_does_not_refresh_brings_no_new_setting() {
    let mut w = play(TCP_STATES[3].2);
    w.owner.time_outs.tcp_established = secs(60);
    w.wait(secs(100));
    w.rx(tcp("S"));
    w.rx(tcp("R").seq(4_000_000_000));
    assert_eq!(w.entry().left, secs(432_000 - 100));
}

#[test]
fn ct_25_udp_settings_count_when_the_class_is_reached() {
    let mut w = World::new();
    w.owner.time_outs = TimeOuts { udp: secs(60), udp_stream: secs(90), ..TimeOuts::default() };
    w.tx(udp());
    assert_eq!(w.entry().left, secs(60));
    w.rx(udp());
    w.tx(udp());
    w.owner.time_outs.udp_stream = secs(120);
    w.rx(udp());
    assert_eq!((w.state(), w.entry().left), ("udp-stream", secs(120)));
}

#[test]
fn advance_reclaims_what_is_over_and_nothing_else() {
    let mut w = World::new();
    for port in 0..100 {
        w.tx(udp().ports(port, 53));
        w.wait(Duration::from_millis(100));
    }
    // The clock stands at 10 s; the entries end at 30.0, 30.1, … 39.9 s.
    assert_eq!(w.table.advance(w.now, usize::MAX), 0);
    w.wait(secs(25));
    assert_eq!(w.table.advance(w.now, usize::MAX), 51, "30.0 up to and with 35.0");
    assert_eq!(w.table.list(w.now).len(), 49);
    w.tx(udp().ports(99, 53));
    w.wait(secs(5));
    assert_eq!(w.table.advance(w.now, usize::MAX), 48);
    assert_eq!(w.table.totals().alive, 1, "the refreshed one");
    w.wait(secs(100));
    assert_eq!(w.table.advance(w.now, usize::MAX), 1);
    w.assert_conserved();
}

#[test]
fn advance_keeps_to_its_budget() {
    let mut w = World::new();
    for port in 0..200 {
        w.tx(udp().ports(port, 53));
    }
    w.wait(secs(40));
    let (mut total, mut rounds) = (0, 0);
    while total < 200 {
        let reclaimed = w.table.advance(w.now, 10);
        assert!(reclaimed <= 10);
        total += reclaimed;
        rounds += 1;
        assert!(rounds <= 100, "every round gets on");
    }
    assert_eq!(w.table.totals().expired, 200);
}

#[test]
fn a_life_that_is_shortened_is_noticed_in_time() {
    let mut w = play(TCP_STATES[3].2);
    w.table.advance(w.now, usize::MAX);
    w.tx(tcp("FA"));
    w.wait(secs(119));
    assert_eq!(w.table.advance(w.now, usize::MAX), 0);
    w.wait(secs(1));
    assert_eq!(w.table.advance(w.now, usize::MAX), 1, "not after the five days it was armed for");
}

#[test]
fn five_days_pass_in_steps_and_in_one_jump() {
    for steps in [1, 7, 432_000 / 600] {
        let mut w = play(TCP_STATES[3].2);
        for _ in 0..steps {
            assert_eq!(w.table.advance(w.now, usize::MAX), 0);
            w.wait(secs(432_000) / steps);
        }
        w.wait(secs(1));
        assert_eq!(w.table.advance(w.now, usize::MAX), 1, "{steps} steps");
    }
}

#[test]
fn a_handle_refreshes_without_a_look_up_and_refuses_to_move_the_state() {
    let mut w = play(TCP_STATES[3].2);
    let ack = tcp("A").going(Ingress);
    let handle = w.table.handle(ZONE, Ingress, &ack, w.now).unwrap();
    w.wait(secs(100));
    assert!(handle.touch(Ingress, &ack, &w.owner.time_outs, w.now).is_some());
    assert_eq!(w.entry().idle, Duration::ZERO);
    w.wait(secs(1));
    assert!(handle.touch(Ingress, &tcp("FA").going(Ingress), &w.owner.time_outs, w.now).is_none());
    assert_eq!((w.state(), w.entry().idle), ("established", secs(1)), "nothing was done");
    let shorter = TimeOuts { tcp_established: secs(60), ..w.owner.time_outs };
    assert!(handle.touch(Ingress, &ack, &shorter, w.now).is_some());
    assert_eq!(w.entry().left, secs(60), "CT-25");
    handle.account(Ingress, 10, 1_000);
    assert_eq!(w.entry().reply.packets, 11);
    w.wait(secs(60));
    assert!(!handle.is_alive(w.now));
    assert!(handle.touch(Ingress, &ack, &shorter, w.now).is_none(), "the dead stay dead");
}

#[test]
fn a_handle_keeps_the_values_of_ct_46() {
    let w = play(TCP_STATES[3].2);
    let ack = tcp("A").ack(7_000).win(1).going(Egress);
    let handle = w.table.handle(ZONE, Egress, &ack, w.now).unwrap();
    assert!(handle.touch(Egress, &ack, &w.owner.time_outs, w.now).is_some());
    w.rx(tcp("R").seq(7_001));
    assert_eq!(w.state(), "close");
}

#[test]
fn a_handle_does_not_outlive_its_entry_into_the_next() {
    let w = play(TCP_STATES[8].2);
    let syn = tcp("S").going(Egress);
    let old = w.table.handle(ZONE, Egress, &syn, w.now).unwrap();
    let Consult::New(plan) = w.table.consult(ZONE, Egress, &syn, w.now) else { panic!("CT-45") };
    let new = w.table.commit_handle(plan, &w.owner, &syn, w.now).unwrap();
    assert!(!old.is_alive(w.now) && new.is_alive(w.now));
}

#[test]
fn a_udp_stream_is_touched_and_a_transaction_is_not() {
    let w = World::new();
    w.tx(udp());
    let handle = w.table.handle(ZONE, Egress, &udp().going(Egress), w.now).unwrap();
    let touch =
        |direction| handle.touch(direction, &udp().going(direction), &w.owner.time_outs, w.now).is_some();
    assert!(touch(Egress), "the originator again");
    assert!(!touch(Ingress), "completes a transaction");
    assert_eq!(w.rx(udp()), Fate::Tracked);
    assert!(touch(Ingress) && !touch(Egress));
    w.tx(udp());
    w.rx(udp());
    assert!(touch(Ingress) && touch(Egress));
}
