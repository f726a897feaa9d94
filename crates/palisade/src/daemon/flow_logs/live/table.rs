//! The flows that are watched: a bounded table of what was counted since somebody watches.

use std::collections::HashMap;
use std::net::IpAddr;

use palisade_flow::{Action, Delta, Ground};
use palisade_policy::EniKey;
use palisade_policy::model::Direction;

use super::rates::{Rates, Volume};

/// Flows of which counts are kept; the least recently active leave first.
#[derive(Debug)]
pub(super) struct Table {
    rows: HashMap<Key, Box<Row>>,
    most: usize,
    forgotten: u64,
}

/// A flow at an ENI.
#[derive(Debug)]
pub(super) struct Row {
    /// Everything counted of it. What decided is what did so last, tracking aside.
    pub(super) seen: Delta,
    rates: Rates,
}

/// What records are told apart by (FL-10, FL-11, FL-43).
#[derive(PartialEq, Eq, Hash, Debug)]
struct Key {
    eni: EniKey,
    direction: Direction,
    source: (IpAddr, u16),
    destination: (IpAddr, u16),
    protocol: u8,
    action: Action,
}

impl Table {
    /// Flows where nothing else is said: some 30 MiB if all are there.
    pub(super) const MOST: usize = 65_536;

    /// A table of so many flows at most, at least one.
    pub(super) fn new(most: usize) -> Self {
        Self { rows: HashMap::new(), most: most.max(1), forgotten: 0 }
    }

    /// Counts a delta in.
    pub(super) fn count(&mut self, delta: &Delta) {
        let key = Key::of(delta);
        if let Some(row) = self.rows.get_mut(&key) {
            return row.count(delta);
        }
        if self.rows.len() >= self.most {
            self.forget();
        }
        self.rows.insert(key, Box::new(Row::new(delta)));
    }

    /// Every flow that is there.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values().map(|row| &**row)
    }

    /// How many have left for lack of room.
    pub(super) const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Lets the quarter go that was active least recently: finding out which ones takes a look at all, and at a hundred thousand
    /// new flows a second workers cannot wait for that more than a few times.
    fn forget(&mut self) {
        let leaving = (self.rows.len() / 4).max(1);
        let mut lasts: Vec<u32> = self.rows.values().map(|row| row.seen.last).collect();
        let (_, &mut bound, _) = lasts.select_nth_unstable(leaving - 1);
        let older = lasts.iter().filter(|last| **last < bound).count();
        let mut ties = leaving - older;
        self.rows.retain(|_, row| match row.seen.last.cmp(&bound) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal if ties > 0 => {
                ties -= 1;
                false
            }
            _ => true,
        });
        self.forgotten += u64::try_from(leaving).unwrap_or(u64::MAX);
    }
}

impl Row {
    fn new(delta: &Delta) -> Self {
        let mut rates = Rates::from(delta.last);
        rates.count((delta.first, delta.last), (delta.packets, delta.bytes));
        Self { seen: *delta, rates }
    }

    /// What was counted in the seconds from `first` to `last`.
    pub(super) fn over(&self, first: u32, last: u32) -> Volume {
        self.rates.over(first, last)
    }

    /// Records say what decided on their first packet (FL-10). Who watches asks for the present: what decided is what did so
    /// last, and entries of the connection table only tell that something has decided before.
    fn count(&mut self, delta: &Delta) {
        let Delta { ground, rule, generation, hop, .. } = *delta;
        let seen = &mut self.seen;
        if is_decision(ground) || !is_decision(seen.ground) {
            *seen = Delta { ground, rule, generation, hop, ..*seen };
        }
        seen.first = seen.first.min(delta.first);
        seen.last = seen.last.max(delta.last);
        seen.tcp_flags |= delta.tcp_flags;
        seen.packets += delta.packets;
        seen.bytes += delta.bytes;
        self.rates.count((delta.first, delta.last), (delta.packets, delta.bytes));
    }
}

const fn is_decision(ground: Ground) -> bool {
    !matches!(ground, Ground::Tracked | Ground::Related)
}

impl Key {
    fn of(delta: &Delta) -> Self {
        Self {
            eni: delta.eni,
            direction: delta.direction,
            source: (delta.source, delta.source_port),
            destination: (delta.destination, delta.destination_port),
            protocol: delta.protocol,
            action: delta.action(),
        }
    }
}

#[cfg(test)]
mod tests {
    use palisade_policy::RuleSlot;

    use super::super::testing::delta;
    use super::*;

    fn ports(table: &Table) -> Vec<u16> {
        let mut ports: Vec<_> = table.rows().map(|row| row.seen.source_port).collect();
        ports.sort_unstable();
        ports
    }

    #[test]
    fn deltas_of_a_flow_are_one_row() {
        let mut table = Table::new(8);
        table.count(&Delta { tcp_flags: 2, ..delta(1, 100) });
        table.count(&Delta { tcp_flags: 1, first: 130, last: 131, ..delta(1, 100) });
        table.count(&Delta { ground: Ground::NoRule, rule: None, ..delta(1, 100) });
        let rows: Vec<_> = table.rows().filter(|row| row.seen.action() == Action::Accept).collect();
        let [row] = rows[..] else { panic!("{rows:?}") };
        assert_eq!((row.seen.packets, row.seen.bytes, row.seen.tcp_flags), (4, 240, 3));
        assert_eq!((row.seen.first, row.seen.last), (100, 131));
        assert_eq!(row.over(130, 131), (2, 120));
        assert_eq!(table.rows().count(), 2, "two actions, two rows");
    }

    #[test]
    fn what_decided_last_is_told() {
        let mut table = Table::new(8);
        let decided = |table: &Table| {
            let seen = table.rows().next().unwrap().seen;
            (seen.ground, seen.rule, seen.generation)
        };
        let tracked = Delta { ground: Ground::Tracked, rule: None, ..delta(1, 100) };
        table.count(&tracked);
        assert_eq!(decided(&table), (Ground::Tracked, None, 1));
        table.count(&delta(1, 100));
        table.count(&Delta { generation: 2, ..tracked });
        assert_eq!(decided(&table), (Ground::Rule, delta(1, 100).rule, 1));
        table.count(&Delta { rule: Some(RuleSlot(5)), generation: 3, ..delta(1, 101) });
        assert_eq!(decided(&table), (Ground::Rule, Some(RuleSlot(5)), 3));
    }

    #[test]
    fn the_least_recently_active_leave_first_and_are_counted() {
        let mut table = Table::new(32);
        (0..32).for_each(|port| table.count(&delta(port, 100 + u32::from(port))));
        table.count(&delta(0, 200));
        table.count(&delta(32, 201));
        assert_eq!((table.forgotten(), table.rows().count()), (8, 25));
        let expected: Vec<_> = std::iter::once(0).chain(9..=32).collect();
        assert_eq!(ports(&table), expected);
        (33..1000).for_each(|port| table.count(&delta(port, 300)));
        assert!(table.rows().count() <= 32, "the bound holds, also among equals");
        assert_eq!(table.forgotten() + table.rows().count() as u64, 1000);
    }
}
