//! Windows that are open: the records that deltas are merged into.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use palisade_flow::{Delta, Loss};
use palisade_policy::EniKey;
use palisade_policy::flow_log::Interval;

/// One window of one interval, or a part of it where the set of flow logs changed within.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) interval: Interval,
    /// First second of the window.
    pub(super) start: u32,
    /// First second of this part.
    pub(super) from: u32,
    /// First second after this part.
    pub(super) until: u32,
    /// It was closed before: what comes now is an addition to what was written of it.
    pub(super) late: bool,
    pub(super) records: HashTable<Delta>,
    /// ENIs with traffic in this part.
    pub(super) active: BTreeSet<EniKey>,
    /// ENIs with traffic in earlier parts of the window.
    pub(super) active_before: BTreeSet<EniKey>,
    /// What was lost in this part.
    pub(super) losses: BTreeMap<EniKey, Loss>,
    /// ENIs with losses in earlier parts.
    pub(super) lost_before: BTreeSet<EniKey>,
}

impl Open {
    /// The part of the window that holds a second, cut at `turns`.
    pub(super) fn at(interval: Interval, second: u32, turns: impl Iterator<Item = u32>) -> Self {
        let start = second - second % interval.seconds();
        let (mut from, mut until) = (start, start.saturating_add(interval.seconds()));
        for turn in turns {
            if turn <= second { from = from.max(turn) } else { until = until.min(turn) }
        }
        Self {
            interval,
            start,
            from,
            until,
            late: false,
            records: HashTable::new(),
            active: BTreeSet::new(),
            active_before: BTreeSet::new(),
            losses: BTreeMap::new(),
            lost_before: BTreeSet::new(),
        }
    }

    /// First second after the window, whatever its parts.
    pub(super) const fn end(&self) -> u32 {
        self.start.saturating_add(self.interval.seconds())
    }

    /// Whether this part holds a second.
    pub(super) const fn holds(&self, second: u32) -> bool {
        self.from <= second && second < self.until
    }

    /// How many records it has.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Counts a delta in; false, with nothing changed, if that takes a new record and there is no room for one.
    pub(super) fn count(&mut self, delta: &Delta, hasher: &RandomState, room: bool) -> bool {
        let hash = hash(hasher, delta);
        if let Some(record) = self.records.find_mut(hash, |record| record.is_of_record(delta)) {
            record.merge(delta);
            return true;
        }
        if room {
            self.records.insert_unique(hash, *delta, |record| self::hash(hasher, record));
            self.active.insert(delta.eni);
        }
        room
    }

    /// Counts a loss in.
    pub(super) fn lose(&mut self, loss: &Loss) {
        let sum = self.losses.entry(loss.eni).or_insert(Loss { deltas: 0, packets: 0, bytes: 0, ..*loss });
        sum.deltas += loss.deltas;
        sum.packets += loss.packets;
        sum.bytes += loss.bytes;
    }

    /// Ends this part at a second inside it; what comes later goes to a part of its own.
    pub(super) fn cut(&mut self, at: u32) {
        self.until = at;
    }

    /// Learns what was in an earlier part of the same window.
    pub(super) fn follow(&mut self, before: &Self) {
        if self.interval == before.interval && self.start == before.start && before.until <= self.from {
            self.active_before.extend(before.active.union(&before.active_before));
            self.lost_before.extend(before.losses.keys().chain(&before.lost_before));
        }
    }

    /// Takes out the records of some ENIs.
    pub(super) fn take(&mut self, enis: &[EniKey]) -> Vec<Delta> {
        self.records.extract_if(|record| enis.binary_search(&record.eni).is_ok()).collect()
    }

    /// Takes out every record, by ENI and, within one, by time.
    pub(super) fn drain(&mut self) -> Vec<Delta> {
        let mut records: Vec<_> = std::mem::take(&mut self.records).into_iter().collect();
        records.sort_unstable_by_key(|it| {
            let ports = (it.source_port, it.destination_port);
            (it.eni, it.first, it.direction, it.source, it.destination, it.protocol, ports, it.action())
        });
        records
    }
}

/// Of what [`Delta::is_of_record`] compares.
fn hash(hasher: &RandomState, delta: &Delta) -> u64 {
    let bits = |address: std::net::IpAddr| match address {
        std::net::IpAddr::V4(v4) => u128::from(v4.to_bits()),
        std::net::IpAddr::V6(v6) => v6.to_bits(),
    };
    let ports = u64::from(delta.source_port) << 16 | u64::from(delta.destination_port);
    let rest = u64::from(delta.protocol) << 8 | (delta.direction as u64) << 1 | delta.action() as u64;
    hasher.hash_one((bits(delta.source), bits(delta.destination), ports << 32 | rest, delta.eni.0))
}
