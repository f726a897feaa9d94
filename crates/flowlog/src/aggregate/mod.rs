//! Aggregation: deltas of a minute become the records of each flow log's windows.
//!
//! A delta is counted once per interval that some flow log wants of its ENI, whatever the number of flow logs; what differs
//! between these is looked at when a window is written. Owned by the flow-log thread; `now` comes in.

mod open;
mod publish;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;
use palisade_flow::{Delta, Loss, Window};
use palisade_policy::{EniKey, Snapshot};

use crate::directory::Directory;
use crate::record::Record;
use crate::subscription::FlowLog;
use open::Open;
use palisade_policy::flow_log::Interval;
use publish::Closed;
use watch::Watch;

/// Seconds after the end of a window until it is closed: in them workers hand over what they have counted (FL-78).
pub const LINGER: u32 = 2;

/// How many windows without traffic are made up for when the clock leaps: a day's worth of minutes.
const MOST_BEHIND: u32 = 1440;

/// How many records that had no room in their window may wait to be written.
const MOST_EARLY: usize = 65_536;

/// Where records go.
pub trait Outlet {
    /// Takes a record of a flow log.
    fn record(&mut self, log: &FlowLog, record: &Record<'_>);

    /// A flow log that was deleted has had its last record.
    fn ended(&mut self, log: &FlowLog);
}

/// What has become of the packets that were handed over; each delta and loss is counted once, whatever the number of flow
/// logs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Taken {
    /// Packets of deltas whose ENI some flow log covers, also one that begins or ended within the minute.
    pub packets: u64,
    /// Packets of deltas that none covers.
    pub uncovered: u64,
    /// Packets of ENIs that were never known, or are forgotten.
    pub unknown: u64,
    /// Packets that the workers could not hand over.
    pub lost: u64,
    /// Records written before the end of their window, for lack of room (FL-12).
    pub early: u64,
    /// Packets of records for which there was no room at all, counted in each interval that wanted them.
    pub overflown: u64,
}

/// Windows that are open, and the flow logs that want their records.
pub struct Aggregator {
    directory: Directory,
    watches: Vec<Watch>,
    open: Vec<Open>,
    closed: VecDeque<Closed>,
    /// Records that had no room in their window, or whose ENI has gone.
    early: Vec<(Interval, Delta)>,
    /// Per interval the first second of the next window to be closed; `None` before the first tick.
    next: Option<[u32; 2]>,
    /// Which intervals some flow log wants of an ENI, as far as that was asked.
    wanted: HashMap<EniKey, [bool; 2]>,
    most_records: usize,
    hasher: RandomState,
    taken: Taken,
}

impl Aggregator {
    /// An aggregator that keeps so many records of open windows at most; each takes between 110 and 220 bytes.
    #[must_use]
    pub fn new(most_records: usize) -> Self {
        Self {
            directory: Directory::new(),
            watches: Vec::new(),
            open: Vec::new(),
            closed: VecDeque::new(),
            early: Vec::new(),
            next: None,
            wanted: HashMap::new(),
            most_records,
            hasher: RandomState::default(),
            taken: Taken::default(),
        }
    }

    /// Takes up a new generation of the policy, before any worker judges by it. Records of ENIs that have gone are written
    /// with the next tick (FL-12).
    pub fn learn(&mut self, snapshot: Arc<Snapshot>, now: u32) {
        let gone = self.directory.learn(snapshot, now);
        self.wanted.clear();
        if gone.is_empty() {
            return;
        }
        for open in &mut self.open {
            let interval = open.interval;
            self.early.extend(open.take(&gone).into_iter().map(|delta| (interval, delta)));
        }
        for watch in &mut self.watches {
            watch.seen.retain(|key| gone.binary_search(key).is_err());
        }
    }

    /// The flow logs from now on. Those that are new begin with the next minute, those that are no longer there end with this
    /// one, whose records they still get (FL-5); before the first tick, new ones begin at once.
    pub fn subscribe(&mut self, logs: Vec<Arc<FlowLog>>, now: u32) {
        let turn = if self.next.is_some() { Window::of(now).end() } else { 0 };
        for watch in &mut self.watches {
            if watch.until.is_none() && !logs.contains(&watch.log) {
                watch.until = Some(turn);
            }
        }
        for log in logs {
            if !self.watches.iter().any(|watch| watch.until.is_none() && watch.log == log) {
                self.watches.push(Watch { log, since: turn, until: None, seen: HashSet::new() });
            }
        }
        self.wanted.clear();
        for open in self.open.iter_mut().filter(|open| open.from < turn && open.holds(turn)) {
            open.cut(turn);
        }
    }

    /// Counts deltas in.
    pub fn take(&mut self, deltas: &[Delta]) {
        for delta in deltas {
            let Some(wanted) = self.wanted(delta.eni, delta.generation) else {
                self.taken.unknown += delta.packets;
                continue;
            };
            *if wanted == [false; 2] { &mut self.taken.uncovered } else { &mut self.taken.packets } +=
                delta.packets;
            for interval in Interval::ALL {
                if wanted[interval as usize] {
                    self.count(interval, delta);
                }
            }
        }
    }

    /// Counts losses in: the windows' records say SKIPDATA.
    pub fn lose(&mut self, loss: &Loss) {
        self.taken.lost += loss.packets;
        self.lose_in_windows(loss);
    }

    /// Closes the windows that have ended, and writes up to `budget` of their records. True if there are more to write,
    /// with the next tick.
    pub fn tick(&mut self, now: u32, budget: usize, outlet: &mut impl Outlet) -> bool {
        self.close(now);
        self.write_early(outlet);
        self.publish(budget, outlet);
        if !self.closed.is_empty() {
            return true;
        }
        self.directory.forget(now);
        self.end_watches(outlet);
        false
    }

    /// Closes every window, ended or not, and writes its records: the daemon stops.
    pub fn finish(&mut self, outlet: &mut impl Outlet) {
        self.write_early(outlet);
        let open = std::mem::take(&mut self.open);
        self.closed.extend(open.into_iter().map(Closed::unfinished));
        self.publish(usize::MAX, outlet);
    }

    /// What has become of the packets that were handed over.
    #[must_use]
    pub const fn taken(&self) -> Taken {
        self.taken
    }

    /// Records of windows that are open.
    #[must_use]
    pub fn open_records(&self) -> usize {
        self.open.iter().map(Open::len).sum()
    }

    /// Which intervals some flow log wants of an ENI; `None` if nobody knows it.
    fn wanted(&mut self, eni: EniKey, generation: u64) -> Option<[bool; 2]> {
        if let Some(known) = self.wanted.get(&eni) {
            return Some(*known);
        }
        let description = self.directory.eni(eni, generation)?;
        let wants = |interval| self.watches.iter().any(|watch| watch.covers(description, interval));
        let wanted = Interval::ALL.map(wants);
        self.wanted.insert(eni, wanted);
        Some(wanted)
    }

    fn count(&mut self, interval: Interval, delta: &Delta) {
        let room = self.open_records() < self.most_records;
        let hasher = self.hasher.clone();
        if self.window(interval, delta.first).count(delta, &hasher, room) {
            return;
        }
        self.window(interval, delta.first).active.insert(delta.eni);
        if self.early.len() < MOST_EARLY {
            self.early.push((interval, *delta));
            return;
        }
        self.taken.overflown += delta.packets;
        let Delta { eni, packets, bytes, .. } = *delta;
        let loss = Loss { eni, window: delta.window(), deltas: 1, packets, bytes };
        self.window(interval, delta.first).lose(&loss);
    }

    fn lose_in_windows(&mut self, loss: &Loss) {
        let Some(wanted) = self.wanted(loss.eni, u64::MAX) else { return };
        for interval in Interval::ALL {
            if wanted[interval as usize] {
                self.window(interval, loss.window.start()).lose(loss);
            }
        }
    }

    /// The open window of a second, or the part of it in which the flow logs are the same.
    fn window(&mut self, interval: Interval, second: u32) -> &mut Open {
        let is_it = |open: &Open| open.interval == interval && open.holds(second);
        let at = self.open.iter().position(is_it).unwrap_or_else(|| {
            let turns = self.watches.iter().flat_map(|watch| [Some(watch.since), watch.until]).flatten();
            let late = self.next.is_some_and(|next| second < next[interval as usize]);
            self.open.push(Open { late, ..Open::at(interval, second, turns) });
            self.open.len() - 1
        });
        &mut self.open[at]
    }

    /// Moves what has ended from the open windows to the closed ones, in the order of time. Windows without traffic end too.
    fn close(&mut self, now: u32) {
        let has_ended = |until: u32| until.saturating_add(LINGER) <= now;
        let mut next = self.next.unwrap_or(Interval::ALL.map(|interval| now - now % interval.seconds()));
        for interval in Interval::ALL {
            let (length, next) = (interval.seconds(), &mut next[interval as usize]);
            if now.saturating_sub(*next) / length > MOST_BEHIND {
                *next = now - now % length - MOST_BEHIND * length;
            }
            while has_ended(self.window(interval, *next).until) {
                *next = self.window(interval, *next).until;
            }
        }
        self.next = Some(next);
        let mut done: Vec<_> = self.open.extract_if(.., |open| has_ended(open.until)).collect();
        done.sort_by_key(|open| (open.until, open.interval));
        for at in 0..done.len() {
            let (before, after) = done.split_at_mut(at + 1);
            after.iter_mut().chain(&mut self.open).for_each(|open| open.follow(&before[at]));
        }
        self.closed.extend(done.into_iter().map(Closed::new));
    }

    /// Lets go of flow logs whose last window has been written.
    fn end_watches(&mut self, outlet: &mut impl Outlet) {
        let Some(next) = self.next else { return };
        let written = next[0].min(self.open.iter().map(|open| open.from).min().unwrap_or(u32::MAX));
        let is_done = |watch: &mut Watch| watch.until.is_some_and(|until| until <= written);
        let done: Vec<_> = self.watches.extract_if(.., is_done).collect();
        for watch in &done {
            if !self.watches.iter().any(|other| other.log.id == watch.log.id) {
                outlet.ended(&watch.log);
            }
        }
        if !done.is_empty() {
            self.wanted.clear();
        }
    }
}
