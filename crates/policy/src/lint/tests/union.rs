//! Rules of groups.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{block, grid, protocol, subsets};
use crate::filter::{FilterKey, Match};
use crate::lint::union::{Redundant, RuleAt, Union};
use crate::model::{Direction, GroupIndex, Peer, PrefixListIndex, Protocol, StaleGroup, Vpc};
use crate::reference::{group_decide, is_untracked};
use crate::snapshot::Snapshot;
use crate::world::{self, DATA, WEB};

const DIRECTIONS: [Direction; 2] = [Direction::Ingress, Direction::Egress];
const GROUPS: usize = 3;

type Written = Vec<(usize, bool, Protocol, Peer)>;

fn peer() -> impl Strategy<Value = Peer> {
    let stale = StaleGroup::new("sg-0123456789abcdef0").unwrap();
    prop_oneof![
        8 => block().prop_map(Peer::Cidr),
        2 => (0..GROUPS).prop_map(|group| Peer::Group(GroupIndex(group))),
        1 => (0..2usize).prop_map(|list| Peer::PrefixList(PrefixListIndex(list))),
        1 => Just(Peer::Stale(stale)),
    ]
}

/// Everywhere, literally or not (CT-11 iii): whether flows are tracked hangs on few rules.
fn everywhere() -> impl Strategy<Value = Peer> {
    let cidrs = ["0.0.0.0/0", "0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1"];
    let cidrs = cidrs.map(|text| Peer::Cidr(text.parse().unwrap()));
    prop::sample::select([&cidrs[..], &[Peer::PrefixList(PrefixListIndex(0))]].concat())
}

fn broad() -> impl Strategy<Value = Protocol> {
    let (tcp, udp) = (world::tcp, world::udp);
    prop::sample::select(vec![
        Protocol::All,
        tcp(0, 65535),
        tcp(0, 65535),
        tcp(80, 80),
        udp(0, 65535),
        tcp(80, 443),
    ])
}

fn written() -> impl Strategy<Value = Written> {
    let mixed = prop::collection::vec((0..GROUPS, any::<bool>(), protocol(), peer()), 0..9);
    let open = prop::collection::vec((0..2usize, any::<bool>(), broad(), everywhere()), 3..9);
    prop_oneof![mixed, open]
}

/// Three groups; ENIs with the first, with the first and the second, and with the second and the third (or without the
/// third).
fn vpc(written: &Written, third: bool) -> Vpc {
    let mut vpc = world::empty();
    for group in 0..GROUPS {
        let rules = |ingress: bool| {
            let mine = written.iter().enumerate().filter(|(_, rule)| rule.0 == group && rule.1 == ingress);
            mine.map(|(at, &(_, _, protocol, peer))| world::rule(&format!("{at:02}"), protocol, peer))
                .collect()
        };
        world::group(&mut vpc, &group.to_string(), rules(true), rules(false));
    }
    world::prefix_list(&mut vpc, "halves", &["0.0.0.0/1", "128.0.0.0/1"]);
    world::prefix_list(&mut vpc, "some", &["10.0.1.0/24"]);
    world::eni(&mut vpc, "one", WEB, 10, &[GroupIndex(0)]);
    world::eni(&mut vpc, "two", WEB, 20, &[GroupIndex(0), GroupIndex(1)]);
    let last = if third { vec![GroupIndex(1), GroupIndex(2)] } else { vec![GroupIndex(1)] };
    world::eni(&mut vpc, "three", DATA, 10, &last);
    vpc
}

fn redundant(vpc: &Vpc) -> Vec<Redundant> {
    let snapshot = Snapshot::compile(vpc.clone(), None);
    Union::new(vpc, &snapshot).redundant(|_| true)
}

fn without(vpc: &Vpc, rules: &[RuleAt]) -> Vpc {
    let mut vpc = vpc.clone();
    let mut descending: Vec<_> = rules.iter().collect::<BTreeSet<_>>().into_iter().collect();
    descending.reverse();
    for RuleAt { group, direction, at } in descending {
        let group = &mut vpc.security_groups[group.0];
        match direction {
            Direction::Ingress => drop(group.ingress.remove(*at)),
            Direction::Egress => drop(group.egress.remove(*at)),
        }
    }
    vpc
}

/// Per packet whether it is allowed and whether it is untracked, on every ENI, in both directions, handed over by the
/// owner of its source or by somebody else. A group without an ENI counts as if it were alone on one.
fn verdicts(vpc: &Vpc, grid: &[FilterKey]) -> Vec<(bool, u32)> {
    let mut sets: Vec<Vec<GroupIndex>> = vpc.enis.iter().map(|eni| eni.groups.clone()).collect();
    sets.extend(
        (0..GROUPS)
            .map(GroupIndex)
            .filter(|group| vpc.members(*group).next().is_none())
            .map(|group| vec![group]),
    );
    let mut found = Vec::new();
    for groups in &sets {
        for direction in DIRECTIONS {
            for key in grid {
                let referenced = [true, direction == Direction::Egress];
                for referenced in referenced {
                    let allowed = group_decide(vpc, groups, direction, key, referenced).any.is_some();
                    found.push((allowed, if allowed { untracked(vpc, groups, direction, key) } else { 0 }));
                }
            }
        }
    }
    found
}

/// One bit per source port.
fn untracked(vpc: &Vpc, groups: &[GroupIndex], direction: Direction, key: &FilterKey) -> u32 {
    let Match::Port(_) = key.selector else { return 0 };
    let sources = [0u16, 79, 80, 81, 443, 444, 32767, 32768, 65535];
    let bit = |(at, source): (usize, u16)| u32::from(is_untracked(vpc, groups, direction, key, source)) << at;
    sources.into_iter().enumerate().map(bit).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Whatever of the named rules is removed, nothing changes; of the others, each is needed.
    #[test]
    fn rules_that_are_named_change_nothing_and_the_others_do(written in written(), third in any::<bool>()) {
        let (grid, vpc) = (grid(), vpc(&written, third));
        let found = redundant(&vpc);
        let named: Vec<RuleAt> = found.iter().map(|redundant| redundant.rule).collect();
        let whole = verdicts(&vpc, &grid);
        for subset in subsets(&named).iter().take(20) {
            prop_assert!(verdicts(&without(&vpc, subset), &grid) == whole, "without {:?}: {:?}", subset, found);
        }
        prop_assert!(verdicts(&without(&vpc, &named), &grid) == whole, "without all: {:?}", found);
        let snapshot = Snapshot::compile(vpc.clone(), None);
        let union = Union::new(&vpc, &snapshot);
        for rule in union.rules.iter().filter(|rule| !named.contains(rule)) {
            let matches = union.compiled::<u32>(*rule).is_some() || union.compiled::<u128>(*rule).is_some();
            let changed = verdicts(&without(&vpc, &[&named[..], &[*rule]].concat()), &grid) != whole;
            prop_assert_eq!(changed, matches, "{:?} is not needed, or matches nothing and is: {:?}", rule, found);
        }
    }

    /// The rules that are said to cover a rule do so by themselves.
    #[test]
    fn covering_rules_are_enough(written in written()) {
        let (grid, vpc) = (grid(), vpc(&written, true));
        for Redundant { rule, covers, own, .. } in redundant(&vpc) {
            prop_assert!(!covers.is_empty() && !covers.contains(&rule));
            prop_assert!(!own || covers.iter().all(|cover| cover.group == rule.group));
            for eni in vpc.enis.iter().filter(|eni| eni.groups.contains(&rule.group)) {
                let matched = |rules: &[RuleAt], key: &FilterKey| {
                    let all = Union::new(&vpc, &Snapshot::compile(vpc.clone(), None)).rules;
                    let others: Vec<_> = all.into_iter().filter(|other| !rules.contains(other)).collect();
                    group_decide(&without(&vpc, &others), &eni.groups, rule.direction, key, true).any.is_some()
                };
                for key in grid.iter().step_by(7) {
                    prop_assert!(!matched(&[rule], key) || matched(&covers, key), "{:?}", key);
                }
            }
        }
    }
}
