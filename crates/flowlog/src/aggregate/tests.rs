//! What windows are made of deltas, with exact lines.

use std::collections::BTreeMap;
use std::sync::Arc;

use palisade_flow::{Action, Delta, Ground, Loss, Window};
use palisade_packet::Direction::{Egress, Ingress};
use palisade_policy::flow_log::{Destination, Format, LineTarget, Traffic};
use palisade_policy::{EniKey, Snapshot};
use proptest::prelude::*;

use super::*;
use crate::record::Content;
use crate::subscription::Resource;
use crate::testing::{WORLD, key_of, packet, snapshot, snapshot_after};

const REQUEST: (&str, &str) = ("203.0.113.12", "10.0.1.10");
const REPLY: (&str, &str) = ("10.0.1.10", "203.0.113.12");
const SHORT: &str = "${interface-id} ${srcaddr} ${action} ${packets} ${start} ${end} ${log-status}";

/// Keeps lines per flow log.
#[derive(Default)]
struct Lines {
    of: BTreeMap<String, Vec<String>>,
    packets: BTreeMap<String, u64>,
    ended: Vec<String>,
}

impl Outlet for Lines {
    fn record(&mut self, log: &FlowLog, record: &Record<'_>) {
        let mut line = String::new();
        record.write(&log.format, &mut line);
        self.of.entry(log.id.clone()).or_default().push(line.trim_end().to_owned());
        if let Content::Flow { delta, .. } = record.content {
            *self.packets.entry(log.id.clone()).or_default() += delta.packets;
        }
    }

    fn ended(&mut self, log: &FlowLog) {
        self.ended.push(log.id.clone());
    }
}

impl Lines {
    fn take(&mut self, id: &str) -> Vec<String> {
        self.of.remove(id).unwrap_or_default()
    }
}

struct Bench {
    aggregator: Aggregator,
    lines: Lines,
    snapshot: Arc<Snapshot>,
}

impl Bench {
    fn new(logs: &[FlowLog]) -> Self {
        Self::with(logs, 1000)
    }

    fn with(logs: &[FlowLog], most: usize) -> Self {
        let snapshot = snapshot(WORLD);
        let mut aggregator = Aggregator::new(most);
        aggregator.learn(Arc::clone(&snapshot), 0);
        aggregator.subscribe(logs.iter().cloned().map(Arc::new).collect(), 0);
        let mut bench = Self { aggregator, lines: Lines::default(), snapshot };
        bench.tick(0);
        bench
    }

    fn key(&self, name: &str) -> EniKey {
        key_of(&self.snapshot, name)
    }

    fn tick(&mut self, now: u32) {
        while self.aggregator.tick(now, 3, &mut self.lines) {}
    }

    /// One packet at an ENI.
    fn see(&mut self, name: &str, direction: palisade_packet::Direction, addresses: (&str, &str), at: u32) {
        let delta = packet(self.key(name), direction, addresses, at);
        self.aggregator.take(&[delta]);
    }
}

fn log(id: &str, resource: Resource, interval: Interval) -> FlowLog {
    FlowLog {
        id: id.into(),
        account: "123456789010".into(),
        region: "us-east-1".into(),
        resource,
        traffic: Traffic::All,
        interval,
        format: Format::parse(SHORT).unwrap(),
        destination: Destination::Lines(LineTarget::Stdout),
    }
}

fn vpc(id: &str) -> FlowLog {
    log(id, Resource::Vpc("vpc-0a000001".into()), Interval::Minute)
}

/// FL-10, FL-11, FL-13: what is one record, and when it starts and ends.
#[test]
fn fl_10_packets_of_a_window_are_one_record() {
    let mut bench = Bench::new(&[vpc("fl-1")]);
    for at in [65, 61, 99] {
        bench.see("web-1", Ingress, REQUEST, at);
    }
    bench.see("web-1", Egress, REPLY, 70);
    let refused = Delta { ground: Ground::NoRule, ..packet(bench.key("web-1"), Ingress, REQUEST, 80) };
    bench.aggregator.take(&[refused]);
    bench.see("web-1", Ingress, REQUEST, 120);
    bench.tick(121);
    assert_eq!(bench.lines.take("fl-1"), Vec::<String>::new(), "the window lingers for those who hand over");
    bench.tick(122);
    assert_eq!(
        bench.lines.take("fl-1"),
        [
            "eni-0a000001 203.0.113.12 ACCEPT 3 61 99 OK",
            "eni-0a000001 10.0.1.10 ACCEPT 1 70 70 OK",
            "eni-0a000001 203.0.113.12 REJECT 1 80 80 OK",
        ]
    );
    bench.tick(182);
    assert_eq!(bench.lines.take("fl-1"), ["eni-0a000001 203.0.113.12 ACCEPT 1 120 120 OK"]);
}

/// FL-12: ten minutes are ten minutes; FL-10: but not where the hardware allows one only.
#[test]
fn fl_12_minutes_are_merged_into_ten() {
    let ten = log("fl-10", Resource::Vpc("vpc-0a000001".into()), Interval::TenMinutes);
    let mut bench = Bench::new(&[ten]);
    for minute in 0..10 {
        bench.see("v6-1", Ingress, ("203.0.113.12", "10.0.1.30"), minute * 60 + 5);
        bench.tick(minute * 60 + 30);
    }
    bench.see("web-1", Ingress, REQUEST, 3);
    bench.tick(601);
    assert_eq!(
        bench.lines.take("fl-10"),
        ["eni-0a000001 203.0.113.12 ACCEPT 1 3 3 OK"],
        "late, and a minute's"
    );
    bench.tick(602);
    let (minute, ten) = ("eni-0a000001 - - - 540 600 NODATA", "eni-0a000003 203.0.113.12 ACCEPT 10 5 545 OK");
    assert_eq!(bench.lines.take("fl-10"), [minute, ten]);
}

/// FL-3, FL-4: every flow log gets its own, whatever others get.
#[test]
fn fl_3_fl_4_each_flow_log_has_its_own_filter() {
    let only = |id: &str, traffic| FlowLog { traffic, ..vpc(id) };
    let subnet = log("fl-s", Resource::Subnet("subnet-0a000002".into()), Interval::Minute);
    let eni = log("fl-e", Resource::Eni("eni-0a000001".into()), Interval::Minute);
    let logs = [vpc("fl-v"), only("fl-a", Traffic::Accept), only("fl-r", Traffic::Reject), subnet, eni];
    let mut bench = Bench::new(&logs);
    bench.see("web-1", Ingress, REQUEST, 1);
    let refused = Delta { ground: Ground::AclDefault, ..packet(bench.key("db-1"), Ingress, REQUEST, 2) };
    bench.aggregator.take(&[refused]);
    bench.tick(62);
    let (accepted, rejected) =
        ("eni-0a000001 203.0.113.12 ACCEPT 1 1 1 OK", "eni-0a000002 203.0.113.12 REJECT 1 2 2 OK");
    assert_eq!(bench.lines.take("fl-v"), [accepted, rejected]);
    assert_eq!(bench.lines.take("fl-a"), [accepted]);
    assert_eq!(bench.lines.take("fl-r"), [rejected]);
    assert_eq!(bench.lines.take("fl-s"), [rejected]);
    assert_eq!(bench.lines.take("fl-e"), [accepted]);
    bench.tick(122);
    let quiet = |eni| format!("{eni} - - - 60 120 NODATA");
    let both = [quiet("eni-0a000001"), quiet("eni-0a000002")];
    for log in ["fl-v", "fl-a", "fl-r"] {
        assert_eq!(bench.lines.take(log), both, "{log}");
    }
    assert_eq!(bench.lines.take("fl-s"), [quiet("eni-0a000002")]);
}

/// FL-47, FL-48: NODATA per window, of ENIs that have had traffic since and are still there.
#[test]
fn fl_47_windows_without_traffic() {
    let mut bench = Bench::new(&[vpc("fl-1")]);
    bench.tick(62);
    assert_eq!(bench.lines.take("fl-1"), Vec::<String>::new(), "never any traffic");
    bench.see("web-1", Ingress, REQUEST, 70);
    bench.see("db-1", Ingress, ("203.0.113.12", "10.0.2.10"), 70);
    bench.tick(122);
    assert_eq!(bench.lines.take("fl-1").len(), 2);
    bench.tick(242);
    assert_eq!(
        bench.lines.take("fl-1"),
        [
            "eni-0a000001 - - - 120 180 NODATA",
            "eni-0a000002 - - - 120 180 NODATA",
            "eni-0a000001 - - - 180 240 NODATA",
            "eni-0a000002 - - - 180 240 NODATA",
        ]
    );
    let cut = WORLD.split("[eni.db-1]").next().unwrap();
    let next = snapshot_after(&bench.snapshot, cut);
    bench.aggregator.learn(next, 250);
    bench.tick(302);
    assert_eq!(bench.lines.take("fl-1"), ["eni-0a000001 - - - 240 300 NODATA"]);
}

/// FL-7, FL-47: losses are told once per window and ENI, beside what was not lost, whatever the filter.
#[test]
fn fl_47_losses_are_told() {
    let mut bench = Bench::new(&[vpc("fl-1"), FlowLog { traffic: Traffic::Reject, ..vpc("fl-2") }]);
    bench.see("web-1", Ingress, REQUEST, 5);
    let eni = bench.key("web-1");
    for packets in [7, 5] {
        let loss = Loss { eni, window: Window(0), deltas: 2, packets, bytes: 700 };
        bench.aggregator.lose(&loss);
    }
    bench.tick(62);
    let skip = "eni-0a000001 - - - 0 60 SKIPDATA";
    assert_eq!(bench.lines.take("fl-1"), ["eni-0a000001 203.0.113.12 ACCEPT 1 5 5 OK", skip]);
    assert_eq!(bench.lines.take("fl-2"), [skip]);
    assert_eq!(bench.aggregator.taken().lost, 12);
}

/// FL-12: a full cache writes what has no room at once, and nothing is lost.
#[test]
fn fl_12_what_has_no_room_is_written_at_once() {
    let mut bench = Bench::with(&[vpc("fl-1")], 2);
    for source in ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.1"] {
        bench.see("web-1", Ingress, (source, "10.0.1.10"), 5);
    }
    bench.tick(6);
    assert_eq!(bench.lines.take("fl-1"), ["eni-0a000001 192.0.2.3 ACCEPT 1 5 5 OK"]);
    bench.tick(62);
    assert_eq!(
        bench.lines.take("fl-1"),
        ["eni-0a000001 192.0.2.1 ACCEPT 2 5 5 OK", "eni-0a000001 192.0.2.2 ACCEPT 1 5 5 OK"]
    );
    assert_eq!((bench.aggregator.taken().early, bench.aggregator.taken().overflown), (1, 0));
}

/// FL-12: an ENI that goes takes its windows with it; what workers still hand over of it is written too.
#[test]
fn fl_12_an_eni_that_goes_ends_its_windows() {
    let mut bench = Bench::new(&[vpc("fl-1")]);
    bench.see("db-1", Ingress, ("203.0.113.12", "10.0.2.10"), 5);
    let gone = bench.key("db-1");
    let next = snapshot_after(&bench.snapshot, WORLD.split("[eni.db-1]").next().unwrap());
    bench.aggregator.learn(next, 6);
    bench.tick(6);
    assert_eq!(bench.lines.take("fl-1"), ["eni-0a000002 203.0.113.12 ACCEPT 1 5 5 OK"]);
    bench.aggregator.take(&[packet(gone, Ingress, ("203.0.113.12", "10.0.2.10"), 7)]);
    bench.tick(62);
    assert_eq!(bench.lines.take("fl-1"), ["eni-0a000002 203.0.113.12 ACCEPT 1 7 7 OK"]);
    bench.tick(182);
    assert_eq!(bench.lines.take("fl-1"), Vec::<String>::new(), "nobody is left to have no data");
}

/// FL-5: a deleted flow log gets the records of the minute in progress, a new one begins with the next minute.
#[test]
fn fl_5_flow_logs_come_and_go_between_minutes() {
    let ten = |id: &str| log(id, Resource::Vpc("vpc-0a000001".into()), Interval::TenMinutes);
    let to = ("203.0.113.12", "10.0.1.30");
    let mut bench = Bench::new(&[ten("fl-old"), ten("fl-stays")]);
    bench.see("v6-1", Ingress, to, 10);
    bench.tick(70);
    bench.aggregator.subscribe(vec![Arc::new(ten("fl-stays")), Arc::new(ten("fl-new"))], 70);
    bench.see("v6-1", Ingress, to, 100);
    bench.see("v6-1", Ingress, to, 120);
    bench.see("v6-1", Ingress, to, 500);
    bench.tick(122);
    let early = ["eni-0a000003 203.0.113.12 ACCEPT 2 10 100 OK"];
    assert_eq!(
        (bench.lines.take("fl-old"), bench.lines.take("fl-stays")),
        (early.map(Into::into).into(), early.map(Into::into).into())
    );
    assert_eq!(bench.lines.ended, ["fl-old"]);
    bench.tick(602);
    let rest = ["eni-0a000003 203.0.113.12 ACCEPT 2 120 500 OK"];
    assert_eq!(
        (bench.lines.take("fl-new"), bench.lines.take("fl-stays")),
        (rest.map(Into::into).into(), rest.map(Into::into).into())
    );
    assert_eq!(bench.lines.take("fl-old"), Vec::<String>::new());
    bench.tick(1202);
    let quiet = ["eni-0a000003 - - - 600 1200 NODATA".to_owned()];
    assert_eq!((bench.lines.take("fl-new"), bench.lines.take("fl-stays")), (quiet.to_vec(), quiet.to_vec()));
}

/// FL-47: traffic in an earlier part of a window is traffic.
#[test]
fn fl_47_parts_of_a_window_are_one_window() {
    let ten = |id: &str| log(id, Resource::Vpc("vpc-0a000001".into()), Interval::TenMinutes);
    let mut bench = Bench::new(&[ten("fl-1")]);
    bench.see("v6-1", Ingress, ("203.0.113.12", "10.0.1.30"), 10);
    bench.aggregator.lose(&Loss {
        eni: bench.key("v6-1"),
        window: Window(0),
        deltas: 1,
        packets: 1,
        bytes: 1,
    });
    bench.aggregator.subscribe(vec![Arc::new(ten("fl-1")), Arc::new(ten("fl-2"))], 70);
    bench.aggregator.lose(&Loss {
        eni: bench.key("v6-1"),
        window: Window(5),
        deltas: 1,
        packets: 1,
        bytes: 1,
    });
    bench.tick(602);
    let skip = "eni-0a000003 - - - 0 600 SKIPDATA";
    assert_eq!(bench.lines.take("fl-1"), ["eni-0a000003 203.0.113.12 ACCEPT 1 10 10 OK", skip]);
    assert_eq!(bench.lines.take("fl-2"), [skip]);
}

#[test]
fn a_stop_writes_what_there_is_and_claims_nothing_else() {
    let mut bench = Bench::new(&[vpc("fl-1")]);
    bench.see("db-1", Ingress, ("203.0.113.12", "10.0.2.10"), 5);
    bench.tick(62);
    bench.lines.take("fl-1");
    bench.see("web-1", Ingress, REQUEST, 70);
    bench.aggregator.finish(&mut bench.lines);
    assert_eq!(bench.lines.take("fl-1"), ["eni-0a000001 203.0.113.12 ACCEPT 1 70 70 OK"]);
}

/// A clock that is set from 1970 to now has not seen fifty years without traffic.
#[test]
fn a_leap_of_the_clock_is_not_made_up_for_wholly() {
    let mut bench = Bench::new(&[vpc("fl-1")]);
    bench.see("web-1", Ingress, REQUEST, 5);
    bench.tick(62);
    bench.lines.take("fl-1");
    bench.tick(1_790_000_000);
    let told = bench.lines.take("fl-1").len();
    assert!((1440..=1441).contains(&told), "{told}");
}

#[test]
fn nobody_knows_an_eni_that_never_was() {
    let mut bench = Bench::new(&[]);
    bench.see("web-1", Ingress, REQUEST, 5);
    bench.aggregator.take(&[packet(EniKey(99), Ingress, REQUEST, 5)]);
    let Taken { packets, uncovered, unknown, .. } = bench.aggregator.taken();
    assert_eq!((packets, uncovered, unknown), (0, 1, 1));
}

proptest! {
    /// Packets in = packets in records + in open windows + lost for lack of room, for each flow log of type ALL, in any order of
    /// deltas and ticks, however little room there is.
    #[test]
    fn packets_are_conserved(
        steps in prop::collection::vec((0u8..3, 0u8..12, 0u32..40, 1u64..9, any::<bool>()), 1..300),
        most in 1usize..30,
        budget in 1usize..20,
    ) {
        let ten = log("fl-ten", Resource::Vpc("vpc-0a000001".into()), Interval::TenMinutes);
        let split = |id: &str, traffic| FlowLog { traffic, ..vpc(id) };
        let logs = [vpc("fl-all"), split("fl-a", Traffic::Accept), split("fl-r", Traffic::Reject), ten];
        let mut bench = Bench::with(&logs, most);
        let (mut now, mut sent) = (0u32, BTreeMap::from([(Action::Accept, 0), (Action::Reject, 0)]));
        for (eni, source, later, packets, accepted) in steps {
            now += later;
            let name = ["web-1", "db-1", "v6-1"][usize::from(eni)];
            let source = format!("192.0.2.{source}");
            let ground = if accepted { Ground::Tracked } else { Ground::NoRule };
            let delta = Delta { packets, ground, ..packet(bench.key(name), Ingress, (&source, "10.0.0.9"), now) };
            *sent.get_mut(&delta.action()).unwrap() += packets;
            bench.aggregator.take(&[delta]);
            if later % 3 == 0 {
                bench.aggregator.tick(now, budget, &mut bench.lines);
            }
        }
        bench.aggregator.finish(&mut bench.lines);
        prop_assert_eq!(bench.aggregator.taken().overflown, 0);
        let all = sent.values().sum::<u64>();
        prop_assert_eq!(bench.aggregator.taken().packets, all);
        let written = |id: &str| bench.lines.packets.get(id).copied().unwrap_or(0);
        prop_assert_eq!(written("fl-all"), all);
        prop_assert_eq!(written("fl-ten"), all);
        prop_assert_eq!((written("fl-a"), written("fl-r")), (sent[&Action::Accept], sent[&Action::Reject]));
    }
}
