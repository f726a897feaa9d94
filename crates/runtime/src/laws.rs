//! The conservation laws: sums that agree however the traffic was, checked when the data plane stops.

use palisade_conntrack::ConnTotals;
use palisade_engine::{CounterValues, Holding, SideValues};
use serde::Serialize;

use crate::status::PortValues;

/// One law, with both sides of the equation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LawResult {
    /// The equation in words.
    pub name: &'static str,
    /// Value of its left side.
    pub left: u64,
    /// Value of its right side.
    pub right: u64,
    /// Whether they agree.
    pub holds: bool,
}

impl LawResult {
    const fn new(name: &'static str, left: u64, right: u64) -> Self {
        Self { name, left, right, holds: left == right }
    }
}

/// Checks every law. They hold for counters of workers that have stopped; running ones may be read between two counts.
pub(crate) fn check(
    counters: &CounterValues,
    ports: &PortValues,
    connections: &ConnTotals,
    holding: Holding,
) -> Vec<LawResult> {
    vec![
        packets(counters, holding),
        sides(counters, holding),
        received(counters, ports),
        sent(counters, ports),
        copies(counters),
        lives(connections),
        stages(counters),
    ]
}

/// Law 1. Bursts run to completion, so that nothing is under way but the fragments that are held.
fn packets(counters: &CounterValues, holding: Holding) -> LawResult {
    LawResult::new(
        "packets in + generated = delivered + dropped + consumed + held",
        counters.received + counters.generated,
        counters.delivered + counters.dropped.total() + counters.consumed.total() + holding.fragments,
    )
}

/// Law 2, the packet path's part of it: whatever comes in, and whatever comes on to a receiver, is judged there, and so told
/// in a record if a flow log covers the ENI, or is exempt, or its drop is hidden, or it waits.
fn sides(counters: &CounterValues, holding: Holding) -> LawResult {
    let SideValues { judged, onward, exempt, hidden, orphaned, logged: _ } = counters.sides;
    LawResult::new(
        "packets in + come on to receivers = judged at ENIs + exempt + hidden drops + held",
        counters.received + onward,
        judged + exempt + hidden + orphaned + holding.fragments,
    )
}

/// The engine and the ports count independently of each other.
fn received(counters: &CounterValues, ports: &PortValues) -> LawResult {
    LawResult::new("packets in = packets received by ports", counters.received, ports.received.packets)
}

fn sent(counters: &CounterValues, ports: &PortValues) -> LawResult {
    LawResult::new(
        "packets delivered + copies sent = packets sent by ports",
        counters.delivered + counters.copies.sent,
        ports.sent.packets,
    )
}

/// Law 1 of mirror copies, which are counted apart.
fn copies(counters: &CounterValues) -> LawResult {
    let copies = &counters.copies;
    LawResult::new("copies made = sent + dropped", copies.made, copies.sent + copies.dropped.total())
}

/// Law 3.
fn lives(connections: &ConnTotals) -> LawResult {
    let ConnTotals { created, alive, expired, closed, removed, revoked: _ } = *connections;
    LawResult::new(
        "connections created = alive + expired + closed + removed",
        created,
        alive + expired + closed + removed,
    )
}

/// Law 4, of network ACLs and security groups together, because hits of rules are not told apart by stage.
fn stages(counters: &CounterValues) -> LawResult {
    let groups = [&counters.group_ingress, &counters.group_egress];
    let reached =
        [&counters.acl_ingress, &counters.acl_egress].into_iter().chain(groups).map(|stage| stage.reached);
    LawResult::new(
        "packets at ACLs and groups = hits of rules + default denials + related errors",
        reached.sum(),
        counters.rule_hits + groups.map(|stage| stage.by_default + stage.related).iter().sum::<u64>(),
    )
}

#[cfg(test)]
mod tests {
    use palisade_engine::{Counters, DropReason};
    use palisade_policy::EniKey;

    use super::*;
    use crate::status::Traffic;

    fn broken(counters: &Counters, ports: &PortValues, connections: &ConnTotals) -> Vec<&'static str> {
        let laws = check(&counters.values(), ports, connections, Holding::default());
        laws.into_iter().filter(|law| !law.holds).map(|law| law.name).collect()
    }

    fn received(packets: u64) -> PortValues {
        PortValues { received: Traffic { packets, ..Traffic::default() }, ..PortValues::default() }
    }

    #[test]
    fn a_packet_that_vanishes_breaks_the_first_law() {
        let counters = Counters::new();
        counters.received(3, 180);
        counters.exempt(EniKey(0), 3);
        counters.dropped(DropReason::Mtu, 2);
        let law = "packets in + generated = delivered + dropped + consumed + held";
        assert_eq!(broken(&counters, &received(3), &ConnTotals::default()), [law]);
        counters.dropped(DropReason::PortFull, 1);
        assert!(broken(&counters, &received(3), &ConnTotals::default()).is_empty());
    }

    #[test]
    fn a_packet_that_no_eni_sees_breaks_the_second_law() {
        let counters = Counters::new();
        counters.received(1, 60);
        counters.dropped(DropReason::Mtu, 1);
        let law = "packets in + come on to receivers = judged at ENIs + exempt + hidden drops + held";
        assert_eq!(broken(&counters, &received(1), &ConnTotals::default()), [law]);
        counters.exempt(EniKey(1), 1);
        assert!(broken(&counters, &received(1), &ConnTotals::default()).is_empty());
    }

    #[test]
    fn engine_and_ports_must_agree() {
        let counters = Counters::new();
        counters.received(2, 120);
        counters.exempt(EniKey(0), 2);
        counters.delivered(2, 120);
        let laws = broken(&counters, &PortValues::default(), &ConnTotals::default());
        assert_eq!(
            laws,
            [
                "packets in = packets received by ports",
                "packets delivered + copies sent = packets sent by ports"
            ]
        );
    }

    #[test]
    fn a_connection_that_vanishes_breaks_the_third_law() {
        let totals = ConnTotals { created: 5, alive: 1, expired: 1, closed: 1, removed: 1, revoked: 1 };
        let laws = broken(&Counters::new(), &PortValues::default(), &totals);
        assert_eq!(laws, ["connections created = alive + expired + closed + removed"]);
    }
}
