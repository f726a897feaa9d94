//! Entries of an ordered list that change nothing, decided exactly over every cell of the list.
//!
//! A set of entries is named such that *any* of them can be removed, one, some or all, and every packet meets the verdict
//! that it met before. An entry that is not named is needed: if those that are named are removed in some way, its own
//! removal changes the verdict of a packet.
//!
//! In a cell, let the first entry be `e`, and behind it the longest run of entries that decide like `e`. If `e` goes, the
//! run decides, unless all of it goes too; then what stands behind the run decides: an entry that decides otherwise, or the
//! list's end. So `e` may go only if some entry of the run stays, or if the run ends with the list and `e` denies.

use std::collections::{BTreeSet, HashSet};

use crate::classifier::span::Field;
use crate::classifier::{Cell, Rule, for_each_cell};
use crate::model::AclAction;

/// What an entry is worth.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// The verdict of some packet depends on it.
    Needed,
    /// There is no packet that it could match, whatever stands before it.
    Void,
    /// It decides nothing: these earlier entries match all that it matches.
    Shadowed { by: Vec<usize> },
    /// What it decides, these later entries decide alike, and the end of the list if `default`.
    Repeated { by: Vec<usize>, default: bool },
}

/// The standing of every entry; `rules` are in the order of evaluation, all of one family.
pub(super) fn standings<T: Field>(rules: &[Rule<T>], actions: &[AclAction]) -> Vec<Standing> {
    let mut list = List::new(rules.len(), actions);
    for_each_cell(rules, |cell| list.survey(cell));
    for_each_cell(rules, |cell| list.constrain(cell));
    let gone = list.gone();
    let mut reasons = vec![Reason::default(); rules.len()];
    for_each_cell(rules, |cell| list.explain(cell, &gone, &mut reasons));
    let standing = |(at, reason): (usize, Reason)| {
        let by = || reason.by.iter().copied().collect();
        match (rules[at].services.is_empty(), gone[at], list.decides[at]) {
            (true, ..) => Standing::Void,
            (_, false, _) => Standing::Needed,
            (_, true, false) => Standing::Shadowed { by: by() },
            (_, true, true) => Standing::Repeated { by: by(), default: reason.default },
        }
    };
    reasons.into_iter().enumerate().map(standing).collect()
}

struct List<'l> {
    actions: &'l [AclAction],
    /// The entry is the first of some cell.
    decides: Vec<bool>,
    /// The entry is the first of some cell in which nothing behind it could take its place.
    alone: Vec<bool>,
    /// Of entries that decide and are not alone: runs of which some entry must stay.
    runs: Vec<HashSet<Vec<usize>>>,
}

#[derive(Clone, Default)]
struct Reason {
    by: BTreeSet<usize>,
    default: bool,
}

/// The first entry of a cell and those that decide alike right behind it.
struct Run {
    first: usize,
    alike: Vec<usize>,
    /// The list ends behind them and decides alike as well.
    default: bool,
}

impl<'l> List<'l> {
    fn new(len: usize, actions: &'l [AclAction]) -> Self {
        let no = vec![false; len];
        Self { actions, decides: no.clone(), alone: no, runs: vec![HashSet::new(); len] }
    }

    fn run(&self, cell: &Cell<'_>) -> Option<Run> {
        let mut matching = cell.matching();
        let first = matching.next()?;
        let mut run = Run { first, alike: Vec::new(), default: false };
        for entry in matching {
            if self.actions[entry] != self.actions[first] {
                return Some(run);
            }
            run.alike.push(entry);
        }
        run.default = self.actions[first] == AclAction::Deny;
        Some(run)
    }

    fn survey(&mut self, cell: &Cell<'_>) {
        let Some(run) = self.run(cell) else { return };
        self.decides[run.first] = true;
        self.alone[run.first] |= run.alike.is_empty() && !run.default;
    }

    /// A run with an entry that stays for certain binds nobody.
    fn constrain(&mut self, cell: &Cell<'_>) {
        let Some(run) = self.run(cell) else { return };
        let bound = run.alike.iter().any(|&entry| self.alone[entry]);
        if !run.default && !self.alone[run.first] && !bound {
            self.runs[run.first].insert(run.alike);
        }
    }

    /// Which entries may go, all of them together: from the last to the first, so that whether an entry's run stays is
    /// known when the entry is looked at.
    fn gone(&self) -> Vec<bool> {
        let mut gone: Vec<bool> = self.decides.iter().map(|decides| !decides).collect();
        for entry in (0..gone.len()).rev().filter(|&entry| self.decides[entry] && !self.alone[entry]) {
            gone[entry] = self.runs[entry].iter().all(|run| run.iter().any(|&other| !gone[other]));
        }
        gone
    }

    fn explain(&self, cell: &Cell<'_>, gone: &[bool], reasons: &mut [Reason]) {
        let Some(run) = self.run(cell) else { return };
        if gone[run.first] {
            let reason = &mut reasons[run.first];
            match run.alike.iter().find(|&&entry| !gone[entry]) {
                Some(&entry) => reason.by.extend([entry]),
                None => reason.default = true,
            }
        }
        for entry in cell.matching().skip(1).filter(|&entry| !self.decides[entry]) {
            reasons[entry].by.insert(run.first);
        }
    }
}
