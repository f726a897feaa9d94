//! Plausible resets: CT-46.

use crate::world::*;

/// The ENI opens; both sides give their scale. Windows last seen: ENI 10 << 2 after ACK 501; remote 20 << 3 after 101.
fn established() -> World {
    let w = World::new();
    w.tx(tcp("S").seq(100).scale(2));
    w.rx(tcp("SA").seq(500).ack(101).win(65_535).scale(3));
    w.tx(tcp("A").seq(101).ack(501).win(10));
    w.rx(tcp("A").seq(501).ack(101).win(20));
    assert_eq!(w.state(), "established");
    w
}

/// Whether an RST resets a fresh world; it is forwarded in any case, and an implausible one leaves no trace.
fn resets(mut w: World, direction: Direction, rst: P) -> bool {
    let before = w.entry().state;
    w.wait(secs(1));
    assert_eq!(w.pass(direction, rst), Fate::Tracked, "forwarded either way");
    let closed = w.entry().state == "close" && before != "close";
    if closed {
        assert_eq!(w.entry().left, secs(10));
    } else {
        assert_eq!((w.entry().state, w.entry().idle), (before, secs(1)));
    }
    closed
}

#[test]
fn ct_46_the_window_of_the_other_side_bounds_the_sequence_number() {
    for (sequence, expected) in [(500, false), (501, true), (541, true), (542, false), (0, false)] {
        assert_eq!(resets(established(), Ingress, tcp("R").seq(sequence)), expected, "ingress {sequence}");
    }
    for (sequence, expected) in [(100, false), (101, true), (261, true), (262, false)] {
        assert_eq!(resets(established(), Egress, tcp("RA").seq(sequence)), expected, "egress {sequence}");
    }
}

#[test]
fn ct_46_the_newest_acknowledgement_counts_even_if_it_goes_back() {
    let w = established();
    w.tx(tcp("A").ack(9_000).win(1));
    w.tx(tcp("A").ack(8_000).win(1));
    assert!(!resets(w, Ingress, tcp("R").seq(9_000)));
    let w = established();
    w.tx(tcp("A").ack(8_000).win(1));
    assert!(resets(w, Ingress, tcp("R").seq(8_004)));
}

#[test]
fn ct_46_a_reset_does_not_count_as_an_acknowledgement() {
    let w = established();
    w.tx(tcp("RA").seq(7_777).ack(9_000));
    assert!(!resets(w, Ingress, tcp("R").seq(9_000)), "an implausible one");
    let mut w = established();
    w.tx(tcp("RA").seq(101).ack(9_000));
    assert_eq!(w.state(), "close");
    w.wait(secs(1));
    w.rx(tcp("R").seq(9_000));
    assert_eq!(w.entry().left, secs(9), "a plausible one");
    w.rx(tcp("R").seq(501));
    assert_eq!(w.entry().left, secs(10));
}

#[test]
fn ct_46_scale_needs_both_syns() {
    for (mine, theirs, reach) in
        [(Some(2), None, 10), (None, Some(2), 10), (Some(2), Some(0), 40), (None, None, 10)]
    {
        let set = |packet: P, scale: Option<u8>| scale.map_or(packet, |scale| packet.scale(scale));
        let world = || {
            let w = World::new();
            w.tx(set(tcp("S").seq(100), mine));
            w.rx(set(tcp("SA").seq(500).ack(101), theirs));
            w.tx(tcp("A").seq(101).ack(501).win(10));
            w
        };
        assert!(resets(world(), Ingress, tcp("R").seq(501 + reach)), "{mine:?} {theirs:?}");
        assert!(!resets(world(), Ingress, tcp("R").seq(502 + reach)), "{mine:?} {theirs:?}");
    }
}

#[test]
fn ct_46_the_window_of_a_synack_is_not_scaled() {
    let world = || {
        let w = World::new();
        w.tx(tcp("S").seq(100).scale(7));
        w.rx(tcp("SA").seq(500).ack(101).win(5).scale(7));
        w
    };
    assert!(resets(world(), Egress, tcp("R").seq(106)));
    assert!(!resets(world(), Egress, tcp("R").seq(107)));
}

#[test]
fn ct_46_arithmetic_wraps() {
    let world = || {
        let w = established();
        w.tx(tcp("A").ack(u32::MAX - 1).win(1));
        w
    };
    for (sequence, expected) in
        [(u32::MAX - 2, false), (u32::MAX - 1, true), (u32::MAX, true), (0, true), (2, true), (3, false)]
    {
        assert_eq!(resets(world(), Ingress, tcp("R").seq(sequence)), expected, "{sequence}");
    }
}

#[test]
fn ct_46_in_syn_sent() {
    let world = || {
        let w = World::new();
        w.tx(tcp("S").seq(u32::MAX));
        w
    };
    assert!(resets(world(), Ingress, tcp("RA").seq(0).ack(0)), "ACK = SYN + 1, modulo 2^32");
    assert!(!resets(world(), Ingress, tcp("R").seq(0).ack(0)), "an ACK value without ACK says nothing");
    assert!(!resets(world(), Ingress, tcp("RA").seq(0).ack(1)));
    assert!(resets(world(), Egress, tcp("R").seq(u32::MAX)));
    assert!(resets(world(), Egress, tcp("R").seq(0)));
    assert!(!resets(world(), Egress, tcp("R").seq(1)));
    assert!(!resets(world(), Egress, tcp("R").seq(u32::MAX - 1)));
}

#[test]
fn ct_46_in_syn_sent2() {
    let world = || {
        let w = World::new();
        w.tx(tcp("S").seq(100));
        w.rx(tcp("S").seq(500));
        assert_eq!(w.state(), "syn-sent2");
        w
    };
    assert!(resets(world(), Ingress, tcp("RA").ack(101)));
    assert!(!resets(world(), Ingress, tcp("RA").seq(500).ack(100)));
    assert!(resets(world(), Egress, tcp("R").seq(101)));
    assert!(!resets(world(), Egress, tcp("R").seq(102)));
}

#[test]
fn ct_46_the_newest_syn_of_the_handshake_counts() {
    let w = World::new();
    w.tx(tcp("S").seq(100));
    w.tx(tcp("S").seq(9_000));
    assert!(resets(w, Ingress, tcp("RA").ack(9_001)));
}

#[test]
fn ct_46_without_an_ack_of_the_other_side_its_syn_must_be_acknowledged() {
    let world = || {
        let w = World::new();
        w.tx(tcp("S").seq(100));
        w.rx(tcp("SA").seq(500).ack(101));
        assert_eq!(w.state(), "syn-recv", "the originator has sent no ACK yet");
        w
    };
    assert!(resets(world(), Ingress, tcp("RA").seq(501).ack(101)));
    assert!(!resets(world(), Ingress, tcp("RA").seq(501).ack(102)));
    assert!(!resets(world(), Ingress, tcp("R").seq(501)));
}

#[test]
fn ct_46_time_wait_and_close_are_reset_like_the_others() {
    let world = || {
        let w = established();
        w.tx(tcp("FA").seq(101).ack(501).win(10));
        w.rx(tcp("FA").seq(501).ack(102).win(20));
        w.tx(tcp("A").seq(102).ack(502).win(10));
        assert_eq!(w.state(), "time-wait");
        w
    };
    assert!(resets(world(), Ingress, tcp("R").seq(502)));
    assert!(!resets(world(), Ingress, tcp("R").seq(501)));
}

#[test]
fn ct_46_in_close_everything_restarts_the_ten_seconds_but_an_implausible_rst() {
    let mut w = established();
    w.rx(tcp("R").seq(501));
    for packet in [tcp("A").ack(501).win(10), tcp("FA").ack(501).win(10), tcp("SA"), tcp("P")] {
        w.wait(secs(9));
        assert_eq!(w.tx(packet), Fate::Tracked);
        assert_eq!((w.state(), w.entry().left), ("close", secs(10)));
    }
    w.tx(tcp("A").ack(501).win(10));
    w.wait(secs(9));
    w.rx(tcp("R").seq(501));
    assert_eq!(w.entry().left, secs(10), "a plausible RST");
    w.wait(secs(9));
    w.rx(tcp("R").seq(5));
    assert_eq!(w.entry().left, secs(1), "an implausible RST");
    w.wait(secs(1));
    assert_eq!(w.state(), "gone");
}

#[test]
fn ct_45_a_syn_on_a_live_entry_leaves_the_scale_alone() {
    let w = established();
    w.tx(tcp("S").seq(1).scale(14));
    w.tx(tcp("A").ack(501).win(10));
    assert!(!resets(w, Ingress, tcp("R").seq(542)));
}
