//! CT-71: refusals of the allowance are counted where they happen.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]

use std::sync::Arc;
use std::time::Duration;

use palisade_conntrack::Instant;
use palisade_engine::{Counters, DropReason, Engine, Lane, Now, Received, Verdict};
use palisade_policy::{Snapshot, draft};
use palisade_scenario::notation;

const WORLD: &str = r#"
    [vpc]
    cidr_blocks = ["10.0.0.0/16"]
    [subnet.one]
    cidr = "10.0.1.0/24"
    [security_group.g]
    ingress = ["udp any from 10.0.0.0/16"]
    [instance.small]
    enis = ["a", "b"]
    max_tracked = 2
    [eni.a]
    subnet = "one"
    address = "10.0.1.10"
    groups = ["g"]
    attach = { tap = "a" }
    [eni.b]
    subnet = "one"
    address = "10.0.1.11"
    groups = ["g"]
    attach = { tap = "b" }
    [eni.c]
    subnet = "one"
    address = "10.0.1.12"
    groups = ["g"]
    attach = { tap = "c" }
"#;

#[test]
fn ct_71_refusals_are_counted_at_the_eni_whose_instance_is_full() {
    let snapshot = Snapshot::compile(draft::load("world", WORLD).unwrap(), None);
    let engine = Engine::new(100);
    let mut lane = Lane::new(Arc::new(Counters::new()), 64);
    lane.counters.ensure_rules(snapshot.rule_slots());
    let now = Now { monotonic: Instant::from_secs(1), unix: Duration::ZERO };
    let mut send = |packet: &str| {
        let mut frame = notation::parse(packet).and_then(|spec| spec.frame(&snapshot)).unwrap();
        let received = Received { vnet: frame.vnet, ..Received::default() };
        engine.process(&snapshot, &mut lane, now, frame.port, &mut frame.bytes, received).verdict
    };
    let refused = |direction: DropReason| Verdict::Drop(direction);
    assert!(matches!(send("udp 10.0.1.10:1 > 10.0.1.11:1"), Verdict::Deliver(_)), "a place for each end");
    assert_eq!(send("udp 10.0.1.10:2 > 10.0.1.12:2"), refused(DropReason::AllowanceEgress));
    assert_eq!(send("udp 10.0.1.10:3 > 10.0.1.12:3 len 3000 gso 1000"), refused(DropReason::AllowanceEgress));
    assert_eq!(send("udp 10.0.1.12:4 > 10.0.1.11:4"), refused(DropReason::AllowanceIngress));
    assert!(
        matches!(send("udp 10.0.1.11:1 > 10.0.1.10:1"), Verdict::Deliver(_)),
        "CT-70: flows that exist go on"
    );
    let at = |name| lane.counters.allowance_exceeded(snapshot.eni_named(name).unwrap().key);
    assert_eq!((at("a"), at("b"), at("c")), (1 + 3, 1, 0), "in packets on the wire");
    let values = lane.counters.values();
    let dropped =
        [DropReason::AllowanceEgress, DropReason::AllowanceIngress].map(|why| values.dropped_for(why));
    assert_eq!(
        at("a") + at("b") + at("c"),
        dropped.iter().sum::<u64>(),
        "each is counted once here and once by reason"
    );
    let instance = snapshot.eni_named("a").unwrap().instance;
    assert_eq!(engine.connections().available(instance.0, 2, now.monotonic), 0);
}
