//! UDP transactions: CT-39c.

use crate::world::*;

/// Sends a string of O (originator) and R (responder) and says how long the entry then lives.
fn life(steps: &str, origin: Direction) -> u64 {
    let w = World::new();
    for step in steps.chars() {
        w.pass(if step == 'O' { origin } else { origin.opposite() }, udp());
    }
    w.entry().left.as_secs()
}

#[test]
fn ct_39c_the_second_completed_transaction_makes_a_stream() {
    for origin in [Egress, Ingress] {
        let cases = [
            ("O", 30),
            ("OOOO", 30),
            ("OR", 30),
            ("OORR", 30),
            ("ORRRR", 30),
            ("ORO", 30),
            ("ORORO", 180),
            ("OROR", 180),
            ("OOROOR", 180),
            ("ORRORR", 180),
            ("ORORRRRR", 180),
        ];
        for (steps, seconds) in cases {
            assert_eq!(life(steps, origin), seconds, "{steps} {origin:?}");
        }
    }
}

#[test]
fn ct_39c_a_stream_stays_one_until_it_expires() {
    let mut w = World::new();
    for direction in [Egress, Ingress, Egress, Ingress] {
        w.pass(direction, udp());
    }
    for _ in 0..5 {
        w.wait(secs(179));
        assert_eq!(w.tx(udp()), Fate::Tracked);
        assert_eq!(w.state(), "udp-stream");
    }
    w.wait(secs(180));
    assert_eq!(w.tx(udp()), Fate::Opened);
    assert_eq!((w.state(), w.entry().left), ("udp-single", secs(30)));
}
