//! Closed windows: their records, per flow log, in portions.

use std::sync::Arc;

use palisade_flow::{Delta, Hop};
use palisade_policy::EniKey;
use palisade_policy::flow_log::Interval;

use super::open::Open;
use super::watch::Watch;
use super::{Aggregator, Outlet};
use crate::description::Description;
use crate::directory::Directory;
use crate::record::{Content, Record};
use crate::subscription::wants;

/// A window whose records are being written.
pub(super) struct Closed {
    open: Open,
    records: Vec<Delta>,
    written: usize,
    /// The daemon stops before its end, so nobody can say that there was no traffic.
    unfinished: bool,
}

impl Closed {
    pub(super) fn new(mut open: Open) -> Self {
        Self { records: open.drain(), open, written: 0, unfinished: false }
    }

    pub(super) fn unfinished(open: Open) -> Self {
        Self { unfinished: true, ..Self::new(open) }
    }
}

impl Aggregator {
    /// Writes up to `budget` records of closed windows, and what there is to say beside them once a window is through.
    pub(super) fn publish(&mut self, mut budget: usize, outlet: &mut impl Outlet) {
        while let Some(closed) = self.closed.front_mut() {
            let Self { directory, watches, .. } = self;
            let portion = closed.records.len().min(closed.written.saturating_add(budget));
            let mut audience = Audience::default();
            for delta in &closed.records[closed.written..portion] {
                audience.of(directory, watches, &closed.open, delta);
                audience.tell(directory, watches, delta, outlet);
            }
            budget -= portion - closed.written;
            closed.written = portion;
            if portion < closed.records.len() {
                return;
            }
            tell_rest(directory, watches, closed, outlet);
            self.closed.pop_front();
        }
    }

    /// Writes records before their windows end (FL-12).
    pub(super) fn write_early(&mut self, outlet: &mut impl Outlet) {
        for (interval, delta) in std::mem::take(&mut self.early) {
            self.taken.early += 1;
            let from = self.window(interval, delta.first).from;
            let Self { directory, watches, .. } = self;
            let open = Open { from, ..Open::at(interval, delta.first, std::iter::empty()) };
            let mut audience = Audience::default();
            audience.of(directory, watches, &open, &delta);
            audience.tell(directory, watches, &delta, outlet);
        }
    }
}

/// The flow logs that get records of one ENI, kept from one record to the next.
#[derive(Default)]
struct Audience {
    of: Option<(EniKey, u64, Arc<Description>)>,
    watches: Vec<usize>,
}

impl Audience {
    fn of(&mut self, directory: &Directory, watches: &mut [Watch], open: &Open, delta: &Delta) {
        let asked = (delta.eni, delta.generation);
        if self.of.as_ref().is_some_and(|(eni, generation, _)| (*eni, *generation) == asked) {
            return;
        }
        self.watches.clear();
        self.of = directory
            .eni(delta.eni, delta.generation)
            .map(|it| (delta.eni, delta.generation, Arc::clone(it)));
        let Some((eni, _, description)) = &self.of else { return };
        for (at, watch) in watches.iter_mut().enumerate() {
            if watch.watches(open) && watch.covers(description, open.interval) {
                watch.seen.insert(*eni);
                self.watches.push(at);
            }
        }
    }

    fn tell(&self, directory: &Directory, watches: &[Watch], delta: &Delta, outlet: &mut impl Outlet) {
        let Some((.., description)) = &self.of else { return };
        let mut names = None;
        for watch in self.watches.iter().map(|at| &watches[*at]) {
            if wants(watch.log.traffic, delta.action()) {
                let (rule, hop) = names.get_or_insert_with(|| names_of(directory, delta));
                outlet.record(&watch.log, &Record::of(description, delta, rule.as_deref(), hop.as_deref()));
            }
        }
    }
}

type Names = (Option<Arc<str>>, Option<Arc<Description>>);

fn names_of(directory: &Directory, delta: &Delta) -> Names {
    let hop = match delta.hop {
        Hop::Eni(key) => directory.eni(key, delta.generation).cloned(),
        Hop::None | Hop::InternetGateway => None,
    };
    (delta.rule.and_then(|slot| directory.rule(slot)), hop)
}

/// SKIPDATA and NODATA, one line per ENI, window and flow log (FL-47).
fn tell_rest(directory: &Directory, watches: &mut [Watch], closed: &Closed, outlet: &mut impl Outlet) {
    let open = &closed.open;
    for watch in watches.iter_mut().filter(|watch| watch.watches(open)) {
        let told = |eni: &EniKey| open.lost_before.contains(eni) && watch.since <= open.start;
        for eni in open.losses.keys().filter(|eni| !told(eni)) {
            if let Some(description) = covered(directory, watch, *eni, open.interval) {
                outlet.record(&watch.log, &record(description, open, Content::SkipData));
                watch.seen.insert(*eni);
            }
        }
        if !open.late && !closed.unfinished && watch.sees_the_end(open) {
            tell_quiet(directory, watch, open, outlet);
        }
    }
}

/// NODATA of every ENI that has had traffic before and is still there (FL-48).
fn tell_quiet(directory: &Directory, watch: &mut Watch, open: &Open, outlet: &mut impl Outlet) {
    watch.seen.retain(|eni| directory.is_present(*eni));
    let sets = [&open.active, &open.active_before, &open.lost_before];
    let is_busy = |eni: &EniKey| open.losses.contains_key(eni) || sets.iter().any(|set| set.contains(eni));
    let mut quiet: Vec<_> = watch.seen.iter().filter(|eni| !is_busy(eni)).copied().collect();
    quiet.sort_unstable();
    for eni in quiet {
        if let Some(description) = covered(directory, watch, eni, open.interval) {
            outlet.record(&watch.log, &record(description, open, Content::NoData));
        }
    }
}

const fn record<'a>(eni: &'a Description, open: &Open, content: Content<'a>) -> Record<'a> {
    Record { eni, start: open.start, end: open.end(), content }
}

fn covered<'d>(
    directory: &'d Directory,
    watch: &Watch,
    eni: EniKey,
    interval: Interval,
) -> Option<&'d Arc<Description>> {
    directory.eni(eni, u64::MAX).filter(|description| watch.covers(description, interval))
}
