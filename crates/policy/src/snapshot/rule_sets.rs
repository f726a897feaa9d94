//! Compiled rule sets one by one, for whoever wants to know what they cost.

use super::Snapshot;
use crate::classifier::{ClassifierKind, ClassifierSize, rebuild};
use crate::model::{AclIndex, Direction, GroupIndex};

/// The rules of one direction and family of an ACL or a set of groups, compiled.
#[derive(Clone, Debug)]
pub struct RuleSet<'s> {
    snapshot: &'s Snapshot,
    /// What it belongs to.
    pub owner: RuleOwner<'s>,
    /// Direction of its rules.
    pub direction: Direction,
    /// Family of its rules.
    pub ipv6: bool,
    /// How it is compiled.
    pub kind: ClassifierKind,
    /// How much there is of it.
    pub size: ClassifierSize,
    /// How many subnets (of an ACL) or ENIs (of groups) share it: it is in memory once.
    pub shared_by: usize,
}

/// What a rule set belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RuleOwner<'s> {
    /// A network ACL.
    Acl(AclIndex),
    /// All the groups of an ENI together (SG-20), ascending.
    Groups(&'s [GroupIndex]),
}

impl Snapshot {
    /// Every compiled rule set that has rules: ACLs in the VPC's order, then sets of groups.
    #[must_use]
    pub fn rule_sets(&self) -> Vec<RuleSet<'_>> {
        let acls = (0..self.policy.acls.len()).map(|at| RuleOwner::Acl(AclIndex(at)));
        let mut sets: Vec<_> = self.policy.sets.keys().map(|groups| RuleOwner::Groups(groups)).collect();
        sets.sort_by_key(|owner| if let RuleOwner::Groups(groups) = owner { groups } else { &[][..] });
        let owners = acls.chain(sets);
        let halves = owners.flat_map(|owner| {
            [Direction::Ingress, Direction::Egress]
                .into_iter()
                .flat_map(move |direction| [false, true].map(|ipv6| self.rule_set(owner, direction, ipv6)))
        });
        halves.filter(|set| set.size.rules > 0).collect()
    }

    fn rule_set<'s>(&'s self, owner: RuleOwner<'s>, direction: Direction, ipv6: bool) -> RuleSet<'s> {
        let ((kind, size), shared_by) = match owner {
            RuleOwner::Acl(acl) => {
                let users = self.vpc.subnets.iter().filter(|subnet| subnet.network_acl == acl).count();
                (self.policy.acls[acl.0].half(direction, ipv6), users)
            }
            RuleOwner::Groups(groups) => {
                let users = self.enis.iter().filter(|eni| eni.groups.groups() == groups).count();
                (self.policy.sets[groups].half(direction, ipv6), users)
            }
        };
        RuleSet { snapshot: self, owner, direction, ipv6, kind, size, shared_by }
    }
}

impl RuleSet<'_> {
    /// Compiles it once more and throws the result away: nothing here reads a clock, so whoever wants to know how long
    /// it takes measures this. Returns the size, which is that of the first time.
    #[must_use]
    pub fn rebuild(&self) -> ClassifierSize {
        let policy = &self.snapshot.policy;
        match self.owner {
            RuleOwner::Acl(acl) => {
                policy.acls[acl.0].rebuild(&self.snapshot.vpc[acl], self.direction, self.ipv6)
            }
            RuleOwner::Groups(groups) => {
                let groups: Vec<_> = groups.iter().map(|group| policy.group(*group)).collect();
                rebuild(&groups, self.direction, self.ipv6)
            }
        }
    }
}
