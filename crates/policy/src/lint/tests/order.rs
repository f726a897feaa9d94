//! Entries of ACLs.

use proptest::prelude::*;

use super::{block, grid, protocol, subsets};
use crate::classifier::Rule;
use crate::classifier::span::Field;
use crate::filter::FilterKey;
use crate::lint::order::{Standing, standings};
use crate::model::{AclAction, AclEntry, AclIndex, Direction, RuleNumber, Vpc};
use crate::reference::acl_decide;
use crate::world::{self, tcp};

fn entries() -> impl Strategy<Value = Vec<AclEntry>> {
    let entry = (any::<bool>(), protocol(), block());
    prop::collection::vec(entry, 0..9).prop_map(|entries| {
        let numbered = (1..).zip(entries);
        let entry = |(number, (allow, protocol, cidr))| AclEntry {
            number: RuleNumber::new(number).unwrap(),
            action: if allow { AclAction::Allow } else { AclAction::Deny },
            protocol,
            cidr,
        };
        numbered.map(entry).collect()
    })
}

/// The standing of every entry of both families, in the order of the list.
fn judged(list: &[AclEntry]) -> Vec<Standing> {
    fn of<T: Field>(list: &[AclEntry]) -> Vec<(usize, Standing)> {
        let found = list.iter().enumerate().filter_map(|(at, entry)| Some((at, Rule::<T>::of_entry(entry)?)));
        let (places, rules): (Vec<_>, Vec<_>) = found.unzip();
        let actions: Vec<_> = places.iter().map(|&at| list[at].action).collect();
        places.into_iter().zip(standings(&rules, &actions)).collect()
    }
    let mut all: Vec<_> = of::<u32>(list).into_iter().chain(of::<u128>(list)).collect();
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, standing)| standing).collect()
}

fn verdicts(vpc: &mut Vpc, list: &[AclEntry], without: &[usize], grid: &[FilterKey]) -> Vec<AclAction> {
    let kept = list.iter().enumerate().filter(|(at, _)| !without.contains(at));
    vpc.network_acls[0].ingress = kept.map(|(_, entry)| entry.clone()).collect();
    grid.iter().map(|key| acl_decide(vpc, AclIndex(0), Direction::Ingress, key).0).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Whatever of the named entries is removed, nothing changes; of the others, each is needed.
    #[test]
    fn entries_that_are_named_change_nothing_and_the_others_do(list in entries()) {
        let (grid, mut vpc) = (grid(), world::empty());
        let standings = judged(&list);
        let is_named = |at: &usize| standings[*at] != Standing::Needed;
        let named: Vec<usize> = (0..list.len()).filter(is_named).collect();
        let mut of = |without: &[usize]| verdicts(&mut vpc, &list, without, &grid);
        let whole = of(&[]);
        let subsets = subsets(&named);
        for subset in &subsets {
            prop_assert_eq!(&of(subset), &whole, "without {:?}: {:?}", subset, standings);
        }
        for needed in (0..list.len()).filter(|at| !is_named(at)) {
            let changes = subsets.iter().any(|subset| of(&[&subset[..], &[needed]].concat()) != whole);
            prop_assert!(changes, "{} is not needed: {:?}", needed, standings);
        }
    }

    /// The entries that are said to decide instead do so: what is not named is enough, and the reasons are in it or named.
    #[test]
    fn shadowed_entries_decide_nothing(list in entries()) {
        let (grid, mut vpc) = (grid(), world::empty());
        vpc.network_acls[0].ingress.clone_from(&list);
        let standings = judged(&list);
        for key in &grid {
            let (_, number) = acl_decide(&vpc, AclIndex(0), Direction::Ingress, key);
            let decided = number.map(|number| usize::from(number.get()) - 1);
            let shadowed = |at: usize| matches!(standings[at], Standing::Shadowed { .. } | Standing::Void);
            prop_assert!(!decided.is_some_and(shadowed), "{:?} {:?}", key, standings);
        }
        for (at, standing) in standings.iter().enumerate() {
            if let Standing::Shadowed { by } = standing {
                prop_assert!(!by.is_empty() && by.iter().all(|&other| other < at));
            }
        }
    }
}

fn list(entries: &[(AclAction, (u16, u16), &str)]) -> Vec<AclEntry> {
    let numbered = (1..).zip(entries);
    numbered
        .map(|(number, &(action, (from, to), cidr))| world::entry(number, action, tcp(from, to), cidr))
        .collect()
}

#[test]
fn a_union_of_several_entries_shadows() {
    use AclAction::{Allow, Deny};
    let found = judged(&list(&[
        (Allow, (0, 99), "10.0.0.0/9"),
        (Deny, (0, 99), "10.128.0.0/9"),
        (Allow, (50, 200), "10.0.0.0/8"),
        (Deny, (60, 150), "10.0.0.0/8"),
    ]));
    let expected = [
        Standing::Needed,
        Standing::Repeated { by: vec![], default: true },
        Standing::Needed,
        Standing::Shadowed { by: vec![0, 1, 2] },
    ];
    // The second only repeats the end of the list, if the third did not stand behind it.
    assert_eq!(found[3], expected[3]);
    assert_eq!(found[1], Standing::Needed);
    assert_eq!((&found[0], &found[2]), (&expected[0], &expected[2]));
}

/// A denial in front of an entry that is shadowed by it must stay, though the end of the list denies alike.
#[test]
fn what_is_named_can_be_removed_in_any_order() {
    use AclAction::{Allow, Deny};
    let found = judged(&list(&[(Deny, (80, 80), "0.0.0.0/0"), (Allow, (80, 80), "0.0.0.0/0")]));
    assert_eq!(found, [Standing::Needed, Standing::Shadowed { by: vec![0] }]);
    let alone = judged(&list(&[(Deny, (80, 80), "0.0.0.0/0")]));
    assert_eq!(alone, [Standing::Repeated { by: vec![], default: true }]);
}

#[test]
fn a_long_list_is_judged_in_time() {
    let hosts = (0..500u32).map(|n| {
        world::entry(1, AclAction::Deny, tcp(0, 65535), &format!("10.{}.{}.0/24", n / 256, n % 256))
    });
    let ports = (0..500u16).map(|n| world::entry(1, AclAction::Allow, tcp(n, n), "0.0.0.0/0"));
    let mut list: Vec<_> = hosts.chain(ports).collect();
    for (number, entry) in (1..).zip(&mut list) {
        entry.number = RuleNumber::new(number).unwrap();
    }
    let named = judged(&list).into_iter().filter(|standing| *standing != Standing::Needed).count();
    assert_eq!(named, 0);
}
