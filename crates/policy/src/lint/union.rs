//! Rules of security groups that change nothing, decided exactly over every cell of every ENI's rules.
//!
//! The groups of an ENI are one set of allow rules (SG-20), so a rule changes nothing if on every ENI that has its group the
//! other rules match all that it matches, and if it changes nothing about which flows are untracked (CT-10). A set of rules
//! is named such that *any* of them can be removed, one, some or all; a rule that is not named is needed: if those that are
//! named are removed, its own removal changes what happens to a packet.

use std::collections::{BTreeSet, HashSet};

use super::tracking::Tracking;
use crate::classifier::span::{Field, Span};
use crate::classifier::{ResolvedRule, Rule, for_each_cell};
use crate::model::{Direction, GroupIndex, GroupRule, Peer, Vpc};
use crate::snapshot::Snapshot;

/// A rule by its place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct RuleAt {
    pub(super) group: GroupIndex,
    pub(super) direction: Direction,
    pub(super) at: usize,
}

impl RuleAt {
    pub(super) fn of(self, vpc: &Vpc) -> &GroupRule {
        &vpc[self.group].rules(self.direction)[self.at]
    }
}

/// Why a rule changes nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Redundant {
    pub(super) rule: RuleAt,
    /// Rules that stay and match all that it matches; few, but not always the fewest.
    pub(super) covers: Vec<RuleAt>,
    /// They are of its own group.
    pub(super) own: bool,
    /// They do so whichever members the referenced groups and whichever entries the prefix lists have.
    pub(super) lasting: bool,
}

/// Every group and every set of groups that some ENI has.
pub(super) struct Union<'v> {
    vpc: &'v Vpc,
    snapshot: &'v Snapshot,
    /// Sets of groups of ENIs, and each group that no ENI has by itself.
    pub(super) sets: Vec<Vec<GroupIndex>>,
    /// All rules, ascending.
    pub(super) rules: Vec<RuleAt>,
}

/// Rules as positions in [`Union::rules`].
type Matching = Vec<usize>;

/// The rules of one cell.
struct Met {
    /// Those that match.
    all: Matching,
    /// Those of which one must stay (SG-34): what a rule matches that refers to no group, it matches also where
    /// references do not; so there the others must do so too. All of them, if all refer to groups.
    bound: Matching,
}

impl<'v> Union<'v> {
    /// `snapshot` is compiled from `vpc`.
    pub(super) fn new(vpc: &'v Vpc, snapshot: &'v Snapshot) -> Self {
        let mut sets: BTreeSet<Vec<GroupIndex>> =
            snapshot.enis().iter().map(|eni| eni.groups.groups().to_vec()).collect();
        let used: HashSet<GroupIndex> = sets.iter().flatten().copied().collect();
        let groups = (0..vpc.security_groups.len()).map(GroupIndex);
        sets.extend(groups.clone().filter(|group| !used.contains(group)).map(|group| vec![group]));
        let mut rules: Vec<_> = groups.flat_map(|group| rules_of(vpc, group)).collect();
        rules.sort_unstable();
        Self { vpc, snapshot, sets: sets.into_iter().collect(), rules }
    }

    /// The rules that change nothing. Only those of which `may_go` holds are named.
    pub(super) fn redundant(&self, may_go: impl Fn(RuleAt) -> bool) -> Vec<Redundant> {
        let mut survey = Survey::new(self.rules.len());
        self.for_each_cell(&mut |met| survey.see(met));
        let mut bonds = Bonds::new(self.rules.len());
        self.for_each_cell(&mut |met| bonds.see(&met.bound, &survey));
        let candidates = survey.narrow_first(|rule| may_go(self.rules[rule]));
        let mut gone = vec![false; self.rules.len()];
        for rule in candidates {
            if bonds.allow(rule, &gone) && self.same_tracking(rule, &mut gone) {
                gone[rule] = true;
            }
        }
        self.explained(&gone)
    }

    /// A rule.
    pub(super) fn rule(&self, rule: RuleAt) -> &'v GroupRule {
        rule.of(self.vpc)
    }

    /// A rule as the classifier sees it in one family.
    pub(super) fn compiled<T: Field>(&self, rule: RuleAt) -> Option<Rule<T>> {
        Rule::of_group_rule(self.resolved(rule))
    }

    fn resolved(&self, rule: RuleAt) -> &'v ResolvedRule {
        &self.snapshot.resolved_group(rule.group).rules(rule.direction)[rule.at]
    }

    /// Positions of the rules of a set of groups in a direction.
    pub(super) fn of_set<'s>(
        &'s self,
        set: &'s [GroupIndex],
        direction: Direction,
    ) -> impl Iterator<Item = usize> + 's {
        set.iter().flat_map(move |&group| {
            let first = RuleAt { group, direction, at: 0 };
            let start = self.rules.partition_point(|rule| *rule < first);
            start..start + self.vpc[group].rules(direction).len()
        })
    }

    /// Shows every cell of every set of groups.
    fn for_each_cell(&self, visit: &mut impl FnMut(&Met)) {
        for set in &self.sets {
            for direction in [Direction::Ingress, Direction::Egress] {
                self.cells_of_family::<u32>(set, direction, visit);
                self.cells_of_family::<u128>(set, direction, visit);
            }
        }
    }

    fn cells_of_family<T: Field>(
        &self,
        set: &[GroupIndex],
        direction: Direction,
        visit: &mut impl FnMut(&Met),
    ) {
        let places = self.of_set(set, direction);
        let compiled = places.filter_map(|at| Some((at, self.compiled::<T>(self.rules[at])?)));
        let (places, rules): (Vec<_>, Vec<_>) = compiled.unzip();
        for_each_cell(&rules, |cell| {
            let all: Matching = cell.matching().map(|rule| places[rule]).collect();
            let direct = |&rule: &usize| direction == Direction::Egress || !rules[rule].reference;
            let bound: Matching = cell.matching().filter(direct).map(|rule| places[rule]).collect();
            let bound = if bound.is_empty() { all.clone() } else { bound };
            visit(&Met { all, bound });
        });
    }

    /// Whether the removal of a rule, beside those that go already, leaves the same flows untracked.
    fn same_tracking(&self, rule: usize, gone: &mut [bool]) -> bool {
        let changed = self.rules[rule];
        if !changed.of(self.vpc).peer.is_anywhere() {
            return true;
        }
        self.sets.iter().filter(|set| set.contains(&changed.group)).all(|set| {
            let before = Tracking::of(self, set, gone);
            gone[rule] = true;
            let after = Tracking::of(self, set, gone);
            gone[rule] = false;
            before == after
        })
    }

    fn explained(&self, gone: &[bool]) -> Vec<Redundant> {
        let mut reasons: Vec<HashSet<Matching>> = vec![HashSet::new(); self.rules.len()];
        self.for_each_cell(&mut |met| {
            for &rule in met.all.iter().filter(|&&rule| gone[rule]) {
                let others = if met.bound.contains(&rule) { &met.bound } else { &met.all };
                reasons[rule].insert(others.iter().copied().filter(|&other| !gone[other]).collect());
            }
        });
        let named = (0..self.rules.len()).filter(|&rule| gone[rule]);
        named.map(|rule| self.reason(rule, &reasons[rule], gone)).collect()
    }

    fn reason(&self, rule: usize, cells: &HashSet<Matching>, gone: &[bool]) -> Redundant {
        let at = self.rules[rule];
        let within = |keep: &dyn Fn(RuleAt) -> bool| -> Option<Vec<Matching>> {
            let kept = cells.iter().map(|cell| {
                let kept: Matching = cell.iter().copied().filter(|&other| keep(self.rules[other])).collect();
                (!kept.is_empty()).then_some(kept)
            });
            kept.collect()
        };
        let own = |other: RuleAt| other.group == at.group;
        let of_own_group = within(&own);
        let is_own = of_own_group.is_some();
        let steady = |other: RuleAt| matches!(other.of(self.vpc).peer, Peer::Cidr(_));
        let same = |other: RuleAt| steady(other) || other.of(self.vpc).peer == at.of(self.vpc).peer;
        let lasting = within(&|other| same(other) && (!is_own || own(other)));
        let is_lasting = lasting.is_some() && self.lasts(at, is_own, gone);
        let cells = lasting.filter(|_| is_lasting).or(of_own_group).or_else(|| within(&|_| true));
        let covers = cells.map_or_else(Vec::new, |cells| few(&cells));
        Redundant {
            rule: at,
            covers: covers.into_iter().map(|cover| self.rules[cover]).collect(),
            own: is_own,
            lasting: is_lasting,
        }
    }

    /// Whether a rule stays covered whatever its reference comes to stand for.
    fn lasts(&self, rule: RuleAt, own: bool, gone: &[bool]) -> bool {
        if let Peer::Cidr(_) = rule.of(self.vpc).peer {
            return true;
        }
        let one = [vec![rule.group]];
        let sets = if own { &one[..] } else { &self.sets };
        sets.iter()
            .filter(|set| set.contains(&rule.group))
            .all(|set| self.lasts_in::<u32>(rule, set, gone) && self.lasts_in::<u128>(rule, set, gone))
    }

    fn lasts_in<T: Field>(&self, rule: RuleAt, set: &[GroupIndex], gone: &[bool]) -> bool {
        let Some(judged) = self.potential::<T>(rule, rule) else { return true };
        let others = self.of_set(set, rule.direction).filter(|&other| !gone[other]);
        let others = others.filter_map(|other| self.potential::<T>(rule, self.rules[other]));
        let rules: Vec<_> = std::iter::once(judged).chain(others).collect();
        let mut lasts = true;
        for_each_cell(&rules, |cell| {
            let mut matching = cell.matching();
            lasts &= matching.next() != Some(0) || matching.next().is_some();
        });
        lasts
    }

    /// `other` with every address that the peer of `rule` could ever stand for, if it has the same peer; as it is, if it
    /// has a CIDR block; else nothing.
    fn potential<T: Field>(&self, rule: RuleAt, other: RuleAt) -> Option<Rule<T>> {
        let peer = other.of(self.vpc).peer;
        if let Peer::Cidr(_) = peer {
            return self.compiled(other);
        }
        let services = crate::classifier::service::covered(other.of(self.vpc).protocol, T::IPV6);
        let addresses: Vec<Span<T>> = self.reach(peer);
        let same = peer == rule.of(self.vpc).peer && !services.is_empty() && !addresses.is_empty();
        same.then_some(Rule { addresses, services, anywhere: false, reference: true })
    }

    /// Members have addresses of the VPC; a prefix list may have any of its family.
    fn reach<T: Field>(&self, peer: Peer) -> Vec<Span<T>> {
        match peer {
            Peer::PrefixList(list) if self.vpc[list].ipv6 == T::IPV6 => {
                vec![Span { low: T::ZERO, high: T::MAX }]
            }
            Peer::Group(_) => crate::classifier::span::merged(
                self.vpc.blocks().filter_map(|block| T::block(&block)).collect(),
            ),
            Peer::Cidr(_) | Peer::PrefixList(_) | Peer::Stale(_) => Vec::new(),
        }
    }
}

fn rules_of(vpc: &Vpc, group: GroupIndex) -> impl Iterator<Item = RuleAt> + '_ {
    [Direction::Ingress, Direction::Egress].into_iter().flat_map(move |direction| {
        (0..vpc[group].rules(direction).len()).map(move |at| RuleAt { group, direction, at })
    })
}

/// What is known of rules after a first look at all cells.
struct Survey {
    /// In how many cells each rule matches.
    cells: Vec<usize>,
    /// The rule is the only one of some cell.
    alone: Vec<bool>,
}

impl Survey {
    fn new(len: usize) -> Self {
        Self { cells: vec![0; len], alone: vec![false; len] }
    }

    fn see(&mut self, met: &Met) {
        if let [only] = met.bound[..] {
            self.alone[only] = true;
        }
        met.all.iter().for_each(|&rule| self.cells[rule] += 1);
    }

    /// The rules that may be covered. A rule within another one is in fewer cells, and of equal ones the later is named.
    fn narrow_first(&self, may_go: impl Fn(usize) -> bool) -> Vec<usize> {
        let covered = |&rule: &usize| !self.alone[rule] && self.cells[rule] > 0 && may_go(rule);
        let mut rules: Vec<_> = (0..self.cells.len()).filter(covered).collect();
        rules.sort_by_key(|&rule| (self.cells[rule], std::cmp::Reverse(rule)));
        rules
    }
}

/// Cells of which no rule is known to stay: not all of their rules may go.
struct Bonds {
    cells: HashSet<Matching>,
    of_rule: Vec<Vec<Matching>>,
}

impl Bonds {
    fn new(len: usize) -> Self {
        Self { cells: HashSet::new(), of_rule: vec![Vec::new(); len] }
    }

    fn see(&mut self, bound: &Matching, survey: &Survey) {
        if bound.iter().any(|&rule| survey.alone[rule]) || !self.cells.insert(bound.clone()) {
            return;
        }
        for &rule in bound {
            self.of_rule[rule].push(bound.clone());
        }
    }

    /// Whether a rule may go beside those that go already.
    fn allow(&self, rule: usize, gone: &[bool]) -> bool {
        let stays = |&other: &usize| other != rule && !gone[other];
        self.of_rule[rule].iter().all(|cell| cell.iter().any(stays))
    }
}

/// Rules of which each cell has one: the most frequent first, until every cell is served.
fn few(cells: &[Matching]) -> Vec<usize> {
    let mut left: Vec<&Matching> = cells.iter().collect();
    let mut chosen = Vec::new();
    while !left.is_empty() {
        let mut counts = std::collections::BTreeMap::new();
        left.iter().flat_map(|cell| cell.iter()).for_each(|&rule| *counts.entry(rule).or_insert(0) += 1);
        let best = counts.iter().max_by_key(|&(&rule, &count)| (count, std::cmp::Reverse(rule)));
        let Some((&best, _)) = best else { break };
        chosen.push(best);
        left.retain(|cell| !cell.contains(&best));
    }
    chosen.sort_unstable();
    chosen
}
