//! Compares what came of a packet with what must be seen. The same for every stage.

use palisade_engine::{DropReason, Explanation, StageReport};
use palisade_packet::{ETHERNET_LEN, MacAddr};
use palisade_policy::{PortKey, Snapshot};

use crate::answer;
use crate::copies::{Copy, Opened};
use crate::expect::{Expectation, names};
use crate::file::Step;
use crate::notation::Frame;
use crate::run::Failure;
use crate::sight::{Bytes, Decision};
use crate::stage::{Arrival, Resumed, Seen};
use crate::wire;

/// Everything about a packet that is not as it must be.
pub(crate) fn packet(
    step: &Step,
    snapshot: &Snapshot,
    frame: &Frame,
    walk: &Explanation,
    seen: &Seen,
) -> Vec<Failure> {
    let (answers, deliveries): (Vec<_>, Vec<_>) =
        seen.arrivals.iter().partition(|arrival| arrival.port == frame.port);
    let mut judgement = Judgement { walk, failures: Vec::new() };
    let told = describe(snapshot, walk, &deliveries, seen);
    judgement.check(
        is_coherent(walk),
        || "an explanation that agrees with itself".to_owned(),
        || told.clone(),
    );
    judgement.same("explain to say", &explained(walk), &outcome(snapshot, &deliveries, seen));
    judgement.expected(step.expect.as_ref(), &told, &seen.reasons);
    judgement.unchanged(snapshot, frame, &deliveries);
    judgement.watched(step, snapshot, frame, &deliveries);
    judgement.answered(step, snapshot, &answers);
    judgement.copied(&step.copies, snapshot, frame, &seen.copies);
    judgement.failures
}

/// Everything that is not as it must be about fragments that a packet released.
pub(crate) fn released(expected: &[Expectation], snapshot: &Snapshot, released: &[Resumed]) -> Vec<Failure> {
    const NO_MORE: &str = "no more fragments released";
    let mut failures = Vec::new();
    for (at, Resumed { frame, walk, seen }) in released.iter().enumerate() {
        let step = Step { expect: expected.get(at).cloned(), reply: Some(false), ..Step::default() };
        failures.extend(packet(&step, snapshot, frame, walk, seen));
        if step.expect.is_none() {
            let told = describe(snapshot, walk, &seen.arrivals.iter().collect::<Vec<_>>(), seen);
            let walk = Some(walk.clone());
            failures.push(Failure { walk, ..Failure::plain(NO_MORE.to_owned(), told) });
        }
    }
    let missing = expected.iter().skip(released.len());
    failures
        .extend(missing.map(|it| Failure::plain(format!("a released fragment {it}"), NO_MORE.to_owned())));
    failures
}

/// The failures of one packet.
struct Judgement<'a> {
    walk: &'a Explanation,
    failures: Vec<Failure>,
}

impl Judgement<'_> {
    fn check(&mut self, holds: bool, expected: impl FnOnce() -> String, seen: impl FnOnce() -> String) {
        if !holds {
            let walk = Some(self.walk.clone());
            self.failures.push(Failure { step: None, expected: expected(), seen: seen(), walk });
        }
    }

    fn same(&mut self, what: &str, expected: &str, seen: &str) {
        self.check(expected == seen, || format!("{what} `{seen}`"), || format!("`{expected}`"));
    }

    fn expected(&mut self, expected: Option<&Expectation>, seen: &str, reasons: &[&str]) {
        let Some(expected) = expected else { return };
        self.check(expected.allows(seen, reasons), || expected.to_string(), || seen.to_owned());
    }

    /// Nothing behind the MAC addresses is ever edited: no hop is counted (RES-44), no fragment redrawn (CT-64). What is
    /// cut on the way for a link that is too narrow or a device that cannot, is compared put together.
    fn unchanged(&mut self, snapshot: &Snapshot, frame: &Frame, deliveries: &[&Arrival]) {
        let Some(first) = deliveries.first() else { return };
        let same = wire::same_packet(deliveries.iter().map(|arrival| (arrival.vnet, &*arrival.bytes)), frame);
        self.check(same, || "the packet as it was sent".to_owned(), || format!("{:02x?}", first.bytes));
        for arrival in deliveries {
            let mac = mac(snapshot, arrival.port);
            let at = || format!("{:02x?}", arrival.bytes.get(..6).unwrap_or_default());
            self.check(arrival.bytes.starts_with(&mac.0), || format!("a frame to {mac}"), at);
        }
    }

    /// What the step asks of the packet beside its end.
    fn watched(&mut self, step: &Step, snapshot: &Snapshot, frame: &Frame, deliveries: &[&Arrival]) {
        if let Some(wanted) = &step.by {
            let (wanted, seen) = (names(wanted), names(&Decision::all(self.walk)));
            self.check(wanted == seen, || format!("decided by {wanted}"), || seen.clone());
        }
        if let Some(wanted) = &step.link {
            let seen = deliveries.first().map_or_else(|| "no frame".to_owned(), |it| addresses(snapshot, it));
            self.check(*wanted == seen, || format!("link = {wanted}"), || seen.clone());
        }
        if let Some(wanted) = &step.bytes {
            let packet = match wanted {
                Bytes::Same => frame.bytes.get(ETHERNET_LEN..).unwrap_or_default(),
                Bytes::Packet(bytes) => bytes,
            };
            let seen: Vec<&[u8]> = deliveries.iter().filter_map(|it| it.bytes.get(ETHERNET_LEN..)).collect();
            self.check(seen == [packet], || format!("one packet {packet:02x?}"), || format!("{seen:02x?}"));
        }
        if let Some(wanted) = step.packets {
            let seen = wire::count(deliveries.iter().copied());
            self.check(wanted == seen, || format!("{wanted} packets on the wire"), || seen.to_string());
        }
    }

    /// Copies keep their order at a port (TM-46); between ports there is none.
    fn copied(&mut self, wanted: &[Copy], snapshot: &Snapshot, frame: &Frame, seen: &[Arrival]) {
        let mut wanted: Vec<&Copy> = wanted.iter().collect();
        let mut seen: Vec<_> = seen.iter().filter_map(|copy| Opened::of(snapshot, copy)).collect();
        wanted.sort_by_key(|copy| copy.to().to_owned());
        seen.sort_by_key(|copy| copy.to().to_owned());
        let told = (0..).zip(&seen).map(|(at, copy)| copy.tell(wanted.get(at).copied(), frame).to_string());
        let told = told.collect::<Vec<_>>();
        let said = wanted.iter().map(ToString::to_string).collect::<Vec<_>>();
        self.check(
            said == told,
            || format!("copies: {}", names(&said)),
            || format!("copies: {}", names(&told)),
        );
        for fault in seen.iter().filter_map(|copy| copy.fault(frame)) {
            self.check(false, || "a copy as RFC 7348 has it".to_owned(), || fault.to_owned());
        }
    }

    fn answered(&mut self, step: &Step, snapshot: &Snapshot, answers: &[&Arrival]) {
        let got = !answers.is_empty();
        let wanted = step.reply.unwrap_or(got);
        self.check(wanted == got, || format!("reply = {wanted}"), || format!("reply = {got}"));
        let told = match answers {
            [] => "none".to_owned(),
            [one] => answer::describe(snapshot, &one.bytes),
            many => format!("{} answers", many.len()),
        };
        let answer = step.answer.as_ref().unwrap_or(&told);
        self.check(*answer == told && answers.len() < 2, || answer.clone(), || told.clone());
    }
}

/// `delivered PORT`, the reason of a drop, what consumed it, or `held`, as `explain` foresaw it.
fn explained(walk: &Explanation) -> String {
    let outcome = &walk.outcome;
    match (&outcome.to, outcome.reason) {
        (Some(to), _) => format!("{} {to}", outcome.verdict),
        (None, Some(reason)) => reason.to_owned(),
        (None, None) => outcome.verdict.to_owned(),
    }
}

/// The same, as it came.
fn outcome(snapshot: &Snapshot, deliveries: &[&Arrival], seen: &Seen) -> String {
    let mut ends: Vec<String> =
        deliveries.iter().map(|it| format!("delivered {}", name(snapshot, it.port))).collect();
    ends.dedup();
    ends.extend(seen.reasons.iter().map(|&reason| reason.to_owned()));
    ends.extend(seen.held.then(|| "held".to_owned()));
    if ends.is_empty() { "nothing".to_owned() } else { ends.join(" and ") }
}

/// What is seen, and where the walk says that it happened.
fn describe(snapshot: &Snapshot, walk: &Explanation, deliveries: &[&Arrival], seen: &Seen) -> String {
    match (deliveries, &*seen.reasons) {
        ([], [reason]) if walk.outcome.reason == Some(*reason) => Expectation::of(walk).to_string(),
        ([], []) if seen.held && walk.outcome.verdict == "held" => Expectation::of(walk).to_string(),
        _ => outcome(snapshot, deliveries, seen),
    }
}

/// Whether an explanation agrees with itself. Of a drop the last stage must have denied, be the one at which the reason
/// drops, and have the direction and the kind of rule that the reason names; no other stage may have denied.
fn is_coherent(walk: &Explanation) -> bool {
    let denials = walk.stages.iter().filter(|stage| stage.result == "denied").count();
    if walk.outcome.verdict != "dropped" {
        return denials == 0;
    }
    let reason = walk.outcome.reason.and_then(DropReason::named);
    let last = walk.stages.last().filter(|last| denials == 1 && last.result == "denied");
    reason.zip(last).is_some_and(|(reason, last)| fits(last, reason))
}

fn fits(last: &StageReport, reason: DropReason) -> bool {
    let by_entry = last.rule.as_ref().map(|rule| !rule.ends_with('*'));
    let wanted = match reason {
        DropReason::GroupIngress => (Some("ingress"), None),
        DropReason::GroupEgress => (Some("egress"), None),
        DropReason::AclIngressEntry => (Some("ingress"), Some(true)),
        DropReason::AclIngressDefault => (Some("ingress"), Some(false)),
        DropReason::AclEgressEntry => (Some("egress"), Some(true)),
        DropReason::AclEgressDefault => (Some("egress"), Some(false)),
        DropReason::FragmentOrphan | DropReason::FragmentInvalid => (last.direction, None),
        _ => (None, None),
    };
    last.stage == reason.stage() && (last.direction, by_entry) == wanted
}

/// `FROM > TO`, as [`Step::link`] writes them.
fn addresses(snapshot: &Snapshot, arrival: &Arrival) -> String {
    let mac = |at: usize| {
        let octets = arrival.bytes.get(at..at + 6).and_then(|octets| octets.try_into().ok());
        octets.map_or_else(|| "nobody".to_owned(), |octets| answer::owner(snapshot, MacAddr(octets)))
    };
    format!("{} > {}", mac(6), mac(0))
}

/// The name of an ENI, or `service` and the name of a service.
pub(crate) fn name(snapshot: &Snapshot, port: PortKey) -> String {
    let found = match port {
        PortKey::Eni(key) => snapshot.eni(key).map(|eni| snapshot.vpc()[eni.index].name.clone()),
        PortKey::Service(key) => snapshot.service(key).map(|service| format!("service {}", service.name)),
    };
    found.unwrap_or_else(|| "a port that is gone".to_owned())
}

fn mac(snapshot: &Snapshot, port: PortKey) -> MacAddr {
    let found = match port {
        PortKey::Eni(key) => snapshot.eni(key).map(|eni| eni.mac),
        PortKey::Service(key) => snapshot.service(key).map(|service| service.mac),
    };
    found.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use palisade_packet::VnetHeader;

    use super::*;
    use crate::in_process::{InProcess, Mode};
    use crate::notation;
    use crate::stage::Stage as _;

    const WORLD: &str = "
        [vpc]
        cidr_blocks = ['10.0.0.0/16']
        [subnet.a]
        cidr = '10.0.1.0/24'
        [security_group.open]
        ingress = ['tcp 22 from 10.0.1.0/24']
        [eni.a1]
        subnet = 'a'
        address = '10.0.1.10'
        groups = ['open']
        attach = { tap = 'a1' }
        [eni.a2]
        subnet = 'a'
        address = '10.0.1.11'
        groups = ['open']
        attach = { tap = 'a2' }
        [eni.a3]
        subnet = 'a'
        address = '10.0.1.12'
        groups = ['open']
        attach = { tap = 'a3' }";

    fn step(expect: &str) -> Step {
        let text = format!("at = '0s'\nexpect = '{expect}'");
        toml::from_str(&text).unwrap()
    }

    /// What a stage sees of a packet that expects something, after a liar has changed it.
    fn failures(packet_text: &str, expect: &str, lie: impl FnOnce(&mut Seen)) -> Vec<String> {
        let mut stage = InProcess::open(&toml::from_str(WORLD).unwrap(), Mode::ALL[0]).unwrap();
        stage.advance(Duration::ZERO).unwrap();
        let snapshot = stage.snapshot();
        let frame = notation::parse(packet_text).unwrap().frame(&snapshot).unwrap();
        let walk = stage.explain(&frame);
        let mut seen = stage.send(&frame).unwrap();
        lie(&mut seen);
        let found = packet(&step(expect), &snapshot, &frame, &walk, &seen);
        found.into_iter().map(|failure| failure.seen).collect()
    }

    /// What is wrong about the fragments that a first one released, after a liar has changed them.
    fn failures_of_released(expected: &[&str], lie: impl FnOnce(&mut Vec<Resumed>)) -> usize {
        let mut stage = InProcess::open(&toml::from_str(WORLD).unwrap(), Mode::ALL[0]).unwrap();
        let snapshot = stage.snapshot();
        let fragments = [
            "len 8 frag id 7 offset 48 more",
            "len 8 frag id 7 offset 56",
            "A len 28 frag id 7 offset 0 more",
        ];
        let seen = fragments.map(|fragment| {
            let text = format!("tcp 10.0.1.10:1 > 10.0.1.11:22 {fragment}");
            stage.send(&notation::parse(&text).unwrap().frame(&snapshot).unwrap()).unwrap()
        });
        assert_eq!(seen.each_ref().map(|seen| seen.held), [true, true, false]);
        let [.., Seen { released: mut resumed, .. }] = seen;
        lie(&mut resumed);
        let expected: Vec<Expectation> = expected.iter().map(|text| text.parse().unwrap()).collect();
        released(&expected, &snapshot, &resumed).len()
    }

    #[test]
    fn every_released_fragment_is_judged_and_no_other() {
        const BOTH: [&str; 2] = ["delivered a2", "delivered a2"];
        assert_eq!(failures_of_released(&BOTH, |_| {}), 0);
        assert_eq!(failures_of_released(&BOTH[1..], |_| {}), 1, "one more than expected");
        assert_eq!(failures_of_released(&[BOTH[0], "delivered a3"], |_| {}), 1);
        assert_eq!(failures_of_released(&[BOTH[0], "held a2"], |_| {}), 1);
        assert_eq!(failures_of_released(&BOTH, |resumed| drop(resumed.pop())), 1, "one less");
        assert_eq!(failures_of_released(&BOTH, |resumed| resumed[1].seen.arrivals[0].bytes[40] ^= 1), 1);
        assert!(failures_of_released(&BOTH, |resumed| resumed[0].seen.arrivals.clear()) > 0, "lost");
        assert!(failures_of_released(&BOTH, |resumed| resumed[0].seen.held = true) > 0, "held again");
    }

    const OPEN: &str = "tcp 10.0.1.10:1 > 10.0.1.11:22 S";
    const SHUT: &str = "tcp 10.0.1.10:1 > 10.0.1.11:23 S";

    #[test]
    fn the_truth_is_no_failure() {
        assert_eq!(failures(OPEN, "delivered a2", |_| {}), [""; 0]);
        assert_eq!(failures(SHUT, "dropped a2 security-group no-rule", |_| {}), [""; 0]);
        assert_eq!(failures(SHUT, "dropped group-ingress", |_| {}), [""; 0]);
    }

    #[test]
    fn a_wrong_expectation_is_a_failure() {
        assert_eq!(failures(OPEN, "dropped group-ingress", |_| {}), ["delivered a2"]);
        assert_eq!(failures(OPEN, "delivered a3", |_| {}), ["delivered a2"]);
        assert_eq!(failures(SHUT, "delivered a2", |_| {}), ["dropped a2 security-group no-rule"]);
        assert_eq!(failures(SHUT, "dropped group-egress", |_| {}), ["dropped a2 security-group no-rule"]);
        assert_eq!(failures(SHUT, "dropped a1 security-group no-rule", |_| {}).len(), 1);
    }

    #[test]
    fn a_frame_that_comes_where_none_may_is_a_failure() {
        let stray = |seen: &mut Seen| {
            let port = PortKey::Eni(palisade_policy::EniKey(1));
            seen.arrivals.push(Arrival { port, vnet: VnetHeader::default(), bytes: vec![0; 60] });
        };
        assert!(!failures(SHUT, "dropped group-ingress", stray).is_empty(), "dropped and yet there");
        assert!(!failures(OPEN, "delivered a2", stray).is_empty(), "a second frame");
        let elsewhere = |seen: &mut Seen| seen.arrivals[0].port = PortKey::Eni(palisade_policy::EniKey(2));
        assert!(!failures(OPEN, "delivered a2", elsewhere).is_empty(), "at another's port");
        let back = |seen: &mut Seen| seen.arrivals[0].port = PortKey::Eni(palisade_policy::EniKey(0));
        assert!(!failures(OPEN, "delivered a2", back).is_empty(), "at the sender's port");
    }

    #[test]
    fn a_frame_that_is_lost_or_changed_is_a_failure() {
        assert!(!failures(OPEN, "delivered a2", |seen| seen.arrivals.clear()).is_empty(), "lost");
        assert!(
            !failures(OPEN, "delivered a2", |seen| seen.arrivals[0].bytes[40] ^= 1).is_empty(),
            "payload"
        );
        assert!(
            !failures(OPEN, "delivered a2", |seen| seen.arrivals[0].bytes[5] ^= 1).is_empty(),
            "receiver"
        );
    }

    #[test]
    fn a_counter_that_does_not_move_or_a_second_one_is_a_failure() {
        assert!(!failures(SHUT, "dropped group-ingress", |seen| seen.reasons.clear()).is_empty());
        assert!(!failures(SHUT, "dropped group-ingress", |seen| seen.reasons.push("mtu")).is_empty());
        assert!(!failures(OPEN, "delivered a2", |seen| seen.reasons.push("mtu")).is_empty());
    }
}
