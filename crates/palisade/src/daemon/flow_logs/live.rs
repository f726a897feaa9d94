//! Flows that somebody watches, counted beside flow logs and whether or not there are any.
//!
//! Lives under a lease: each request makes it last another [`LEASE`], and when nobody has asked for so long, it is dropped with
//! everything that it knows. Owned by the desk.

mod choice;
mod rates;
mod table;
#[cfg(test)]
pub(super) mod testing;

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use palisade_conntrack::Instant;
use palisade_engine::{Handed, Now};
use palisade_flow::Delta;
use palisade_flowlog::Directory;
use palisade_policy::{EniKey, RuleSlot, Snapshot};

use crate::control::protocol::{FlowOrder, FlowsRequest, MAX_FLOWS, Refusal};
use crate::report::flows::{Flow, FlowsReport, Names, RATES_LAG};
use choice::Choice;
use table::{Row, Table};

/// How long flows are watched for somebody who does not ask again.
const LEASE: Duration = Duration::from_secs(30);

/// Flows, who is who in them, and until when they are watched.
#[derive(Debug)]
pub(super) struct Live {
    table: Table,
    directory: Directory,
    snapshot: Arc<Snapshot>,
    /// Unix second in which watching began.
    since: u32,
    until: Instant,
    /// Packets that workers could not tell of.
    lost: u64,
}

impl Live {
    /// Begins to watch under a policy.
    pub(super) fn begin(snapshot: &Arc<Snapshot>, now: Now) -> Self {
        let since = super::second(now);
        let mut directory = Directory::new();
        directory.learn(Arc::clone(snapshot), since);
        let snapshot = Arc::clone(snapshot);
        Self {
            table: Table::new(Table::MOST),
            directory,
            snapshot,
            since,
            until: now.monotonic + LEASE,
            lost: 0,
        }
    }

    /// Takes up a policy before any worker judges by it.
    pub(super) fn learn(&mut self, snapshot: &Arc<Snapshot>, now: u32) {
        self.directory.learn(Arc::clone(snapshot), now);
        self.snapshot = Arc::clone(snapshot);
    }

    /// Counts what workers have handed over. What they began to count before is nothing to who watches: it may be up to a minute
    /// old.
    pub(super) fn count(&mut self, handed: &Handed) {
        match handed {
            Handed::Delta(delta) if delta.first >= self.since => self.table.count(delta),
            Handed::Loss(loss) if loss.window.end() > self.since => self.lost += loss.packets,
            Handed::Delta(_) | Handed::Loss(_) => {}
        }
    }

    /// Whether nobody has asked for too long.
    pub(super) fn is_over(&self, now: Now) -> bool {
        self.until <= now.monotonic
    }

    /// Forgets who has gone and is not spoken of.
    pub(super) fn forget(&mut self, now: u32) {
        self.directory.forget(now);
    }

    /// Flows that are asked for, and the lease anew.
    ///
    /// # Errors
    /// A filter word is none, or names what there is not; the lease is as it was.
    pub(super) fn show(&mut self, request: &FlowsRequest, now: Now) -> Result<FlowsReport, Refusal> {
        request.check()?;
        let choice = Choice::parse(&request.filter, self)?;
        self.until = now.monotonic + LEASE;
        let second = super::second(now);
        // A wall clock that was set back.
        self.since = self.since.min(second);
        let interval = u32::from(request.interval);
        let last = second.saturating_sub(RATES_LAG);
        let rate = |row: &Row| row.over((last + 1).saturating_sub(interval), last);
        let mut found: Vec<_> = self
            .table
            .rows()
            .filter(|row| choice.includes(&row.seen))
            .map(|row| (rank(request.sort, row, rate(row)), row))
            .collect();
        let total = found.len();
        let limit = usize::try_from(request.limit.clamp(1, MAX_FLOWS)).unwrap_or(usize::MAX);
        if limit < total {
            found.select_nth_unstable_by_key(limit, |(rank, row)| (Reverse(*rank), place(&row.seen)));
            found.truncate(limit);
        }
        found.sort_unstable_by_key(|(rank, row)| (Reverse(*rank), place(&row.seen)));
        let flows = found
            .into_iter()
            .map(|(_, row)| Flow::new(&row.seen, self.names(&row.seen), rate(row), interval));
        Ok(FlowsReport {
            at: second,
            watched_seconds: second.saturating_sub(self.since),
            interval_seconds: interval,
            total,
            forgotten: self.table.forgotten(),
            lost_packets: self.lost,
            flows: flows.collect(),
        })
    }

    /// ENIs of a name or id: the present one, and those that have gone and have flows.
    fn enis_named(&self, name: &str) -> Vec<EniKey> {
        let is_it = |key: &EniKey, generation| {
            let eni = self.directory.eni(*key, generation);
            eni.is_some_and(|eni| eni.name == name || eni.eni == name)
        };
        let rows = self.table.rows().map(|row| (row.seen.eni, row.seen.generation));
        let mut keys: Vec<_> =
            rows.filter(|(key, generation)| is_it(key, *generation)).map(|(key, _)| key).collect();
        keys.extend(self.snapshot.eni_named(name).map(|eni| eni.key));
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Rules and entries as records call them, those of the present and those that decided on flows.
    fn rules(&self) -> impl Iterator<Item = (RuleSlot, Arc<str>)> {
        let present =
            (0..self.snapshot.rule_slots()).filter_map(|slot| u32::try_from(slot).ok()).map(RuleSlot);
        let slots = present.chain(self.table.rows().filter_map(|row| row.seen.rule));
        slots.filter_map(|slot| Some((slot, self.directory.rule(slot)?)))
    }

    fn names(&self, seen: &Delta) -> Names {
        let eni = self.directory.eni(seen.eni, seen.generation);
        let rule = seen.rule.and_then(|slot| self.directory.rule(slot));
        Names {
            eni: eni.map_or_else(String::new, |eni| eni.name.clone()),
            eni_id: eni.map_or_else(String::new, |eni| eni.eni.clone()),
            rule: rule
                .as_deref()
                .or_else(|| seen.ground.is_default().then_some("default"))
                .map(str::to_owned),
        }
    }
}

/// What comes first is the greatest; among equals, who was active last.
fn rank(order: FlowOrder, row: &Row, (packets, bytes): (u64, u64)) -> (u64, u64, u32) {
    let Delta { packets: all_packets, bytes: all_bytes, last, .. } = row.seen;
    match order {
        FlowOrder::Rate => (bytes, packets, last),
        FlowOrder::Packets => (all_packets, all_bytes, last),
        FlowOrder::Bytes => (all_bytes, all_packets, last),
        FlowOrder::Last => (last.into(), bytes, last),
    }
}

/// The order of what is equal otherwise: any that stays from one answer to the next.
fn place(seen: &Delta) -> impl Ord + use<> {
    let Delta { source, source_port, destination, destination_port, protocol, eni, direction, .. } = *seen;
    (source, destination, protocol, source_port, destination_port, eni, direction, seen.action())
}

#[cfg(test)]
mod tests {
    use palisade_flow::{Ground, Loss, Window};

    use super::testing::{at, delta, snapshot};
    use super::*;

    fn shown(live: &mut Live, request: &FlowsRequest, second: u64) -> Vec<u16> {
        let report = live.show(request, at(second)).unwrap();
        report.flows.iter().map(|flow| flow.source_port.unwrap()).collect()
    }

    fn live(deltas: &[Delta]) -> Live {
        let mut live = Live::begin(&snapshot(), at(100));
        for delta in deltas {
            live.count(&Handed::Delta(*delta));
        }
        live
    }

    #[test]
    fn flows_come_in_the_order_that_is_asked_for() {
        let many = Delta { packets: 90, bytes: 900, ..delta(1, 101) };
        let large = Delta { packets: 10, bytes: 9000, ..delta(2, 103) };
        let fast = Delta { packets: 5, bytes: 500, ..delta(3, 110) };
        let fresh = Delta { packets: 1, bytes: 40, ..delta(4, 112) };
        let mut live = live(&[many, large, fast, fresh]);
        let request = |sort, limit| FlowsRequest { sort, limit, ..FlowsRequest::default() };
        assert_eq!(shown(&mut live, &request(FlowOrder::Rate, 9), 112), [3, 4, 2, 1]);
        assert_eq!(shown(&mut live, &request(FlowOrder::Packets, 9), 112), [1, 2, 3, 4]);
        assert_eq!(shown(&mut live, &request(FlowOrder::Bytes, 2), 112), [2, 1]);
        assert_eq!(shown(&mut live, &request(FlowOrder::Last, 1), 112), [4]);
        let report = live.show(&request(FlowOrder::Rate, 1), at(112)).unwrap();
        assert_eq!((report.total, report.flows.len(), report.watched_seconds), (4, 1, 12));
    }

    /// Workers tell of a second until more than one has passed, so rates are of the seconds before.
    #[test]
    fn rates_are_of_seconds_that_are_complete() {
        let mut live = live(&[]);
        for second in 101..=112 {
            live.count(&Handed::Delta(Delta { packets: 10, bytes: 1000, ..delta(1, second) }));
        }
        let rate = |live: &mut Live, interval, second| {
            let request = FlowsRequest { interval, ..FlowsRequest::default() };
            let flow = live.show(&request, at(second)).unwrap().flows.remove(0);
            (flow.packets_per_second, flow.bits_per_second)
        };
        for interval in [1, 2, 10] {
            assert_eq!(rate(&mut live, interval, 113), (10.0, 8000.0), "{interval}");
        }
        assert_eq!(rate(&mut live, 2, 115), (5.0, 4000.0));
        assert_eq!(rate(&mut live, 2, 116), (0.0, 0.0));
    }

    #[test]
    fn it_lasts_as_long_as_somebody_asks() {
        let mut live = live(&[]);
        assert!(!live.is_over(at(129)) && live.is_over(at(130)));
        live.show(&FlowsRequest::default(), at(129)).unwrap();
        assert!(!live.is_over(at(158)) && live.is_over(at(159)));
        let wrong = FlowsRequest { filter: vec!["enni=a".to_owned()], ..FlowsRequest::default() };
        assert!(live.show(&wrong, at(158)).is_err());
        assert!(live.is_over(at(159)), "a request that is none renews nothing");
    }

    #[test]
    fn what_was_counted_before_is_left_out_and_losses_are_told() {
        let mut live = live(&[delta(1, 99), Delta { first: 99, ..delta(2, 100) }, delta(3, 100)]);
        let loss = |window| Loss { eni: EniKey(0), window: Window(window), deltas: 1, packets: 7, bytes: 70 };
        live.count(&Handed::Loss(loss(0)));
        live.count(&Handed::Loss(loss(1)));
        let report = live.show(&FlowsRequest::default(), at(101)).unwrap();
        assert_eq!((report.total, report.lost_packets), (1, 7));
    }

    #[test]
    fn who_has_gone_is_known_by_name() {
        let mut live = live(&[delta(1, 101), Delta { ground: Ground::NoRule, rule: None, ..delta(2, 101) }]);
        let gone = testing::changed(&live.snapshot, |text| {
            text.replace("eni.web", "eni.www").replace("sgr-00000001", "sgr-00000009")
        });
        live.learn(&gone, 102);
        let request = FlowsRequest { filter: vec!["eni=web".to_owned()], ..FlowsRequest::default() };
        let flows = live.show(&request, at(103)).unwrap().flows;
        let told: Vec<_> = flows.iter().map(|flow| (&*flow.eni, flow.rule.as_deref().unwrap())).collect();
        assert_eq!(told, [("web", "sgr-00000001"), ("web", "default")]);
    }
}
