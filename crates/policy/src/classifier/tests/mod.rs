//! The compiled classifiers against the specification's worked tables and against the reference evaluator.

mod differential;
mod tables;

use crate::model::{AclAction, AclIndex, Direction, EniIndex, RuleNumber, SubnetIndex};
use crate::reference;
use crate::snapshot::{RuleName, RuleSlot, Snapshot};
use crate::{FilterKey, GroupMatch};

const DIRECTIONS: [Direction; 2] = [Direction::Ingress, Direction::Egress];

/// What the compiled ACL of the first subnet decides, after making sure that the reference agrees.
fn acl(snapshot: &Snapshot, direction: Direction, key: &FilterKey) -> (AclAction, Option<u16>) {
    let decision = snapshot.subnet(SubnetIndex(0)).acl.decide(direction, key);
    let expected = reference::acl_decide(snapshot.vpc(), AclIndex(0), direction, key);
    assert_eq!((decision.action, decision.number), expected, "{direction:?} {key:?}");
    let id = snapshot.vpc().network_acls[0].id.clone();
    let name = match expected.1.map(RuleNumber::get) {
        Some(number) => RuleName::AclEntry { acl: id, direction, number },
        None => RuleName::AclDefault { acl: id, direction, ipv6: key.address.is_ipv6() },
    };
    assert_eq!(snapshot.rule(decision.slot), Some(&name));
    (decision.action, decision.number.map(RuleNumber::get))
}

/// The rules that match at an ENI, `(anywhere, any)`, after making sure that the reference agrees.
fn groups(
    snapshot: &Snapshot,
    eni: EniIndex,
    direction: Direction,
    key: &FilterKey,
    referenced: bool,
) -> (Option<String>, Option<String>) {
    let GroupMatch { anywhere, any } = snapshot.enis()[eni.0].groups.decide(direction, key, referenced);
    let found = (name(snapshot, anywhere), name(snapshot, any));
    let groups = &snapshot.vpc()[eni].groups;
    let expected = reference::group_decide(snapshot.vpc(), groups, direction, key, referenced);
    let id = |named: Option<reference::NamedRule<'_>>| named.map(|named| named.rule.id.clone());
    assert_eq!(
        found,
        (id(expected.anywhere), id(expected.any)),
        "{eni:?} {direction:?} {key:?} {referenced}"
    );
    found
}

fn name(snapshot: &Snapshot, slot: Option<RuleSlot>) -> Option<String> {
    slot.map(|slot| match snapshot.rule(slot) {
        Some(RuleName::GroupRule { rule, .. }) => rule.clone(),
        other => panic!("a group named {other:?}"),
    })
}
