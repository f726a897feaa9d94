//! ACLs and groups of one generation: resolved, compiled, and taken over from the previous one where nothing changed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::names::{Names, RuleName, RuleSlot};
use crate::classifier::{
    CompiledAcl, GroupRules, GroupSet, ListSlots, ResolvedGroup, ResolvedPeer, ResolvedRule,
};
use crate::model::{Cidr, Direction, GroupIndex, GroupRule, NetworkAcl, Peer, SecurityGroup, Vpc};

/// Every compiled rule set, and the names of the rules.
#[derive(Debug)]
pub(super) struct Policy {
    /// In the order of the VPC's.
    pub(super) acls: Vec<Arc<CompiledAcl>>,
    /// One for each set of groups that some ENI has.
    pub(super) sets: HashMap<Box<[GroupIndex]>, Arc<GroupSet>>,
    pub(super) names: Names,
    groups: Vec<Arc<ResolvedGroup>>,
}

impl Policy {
    pub(super) fn compile(vpc: &Vpc, previous: Option<(&Vpc, &Self)>) -> Self {
        let nothing = Names::default();
        let old_names = previous.map_or(&nothing, |(_, policy)| &policy.names);
        let mut slots = Slots { old: old_names, new: old_names.successor() };
        let acls = acls(vpc, previous, &mut slots);
        let groups = groups(vpc, previous.map(|(_, policy)| policy), &mut slots);
        let sets = sets(vpc, &groups, previous.map(|(_, policy)| policy));
        Self { acls, sets, names: slots.new, groups }
    }

    /// A group with its references replaced by what they stand for.
    pub(super) fn group(&self, group: GroupIndex) -> &ResolvedGroup {
        &self.groups[group.0]
    }

    /// The compiled set of an ENI's groups. `None` if this is not an ENI of the VPC that was compiled.
    pub(super) fn set(&self, groups: &[GroupIndex]) -> Option<&Arc<GroupSet>> {
        self.sets.get(&canonical(groups))
    }
}

/// Gives slots to the rules of a new generation.
struct Slots<'a> {
    old: &'a Names,
    new: Names,
}

impl Slots<'_> {
    fn get(&mut self, old: Option<RuleSlot>, name: impl FnOnce() -> RuleName) -> RuleSlot {
        match old {
            Some(slot) => self.new.keep(self.old, slot),
            None => self.new.assign(name()),
        }
    }
}

fn acls(vpc: &Vpc, previous: Option<(&Vpc, &Policy)>, slots: &mut Slots<'_>) -> Vec<Arc<CompiledAcl>> {
    let known: HashMap<&str, (&NetworkAcl, &Arc<CompiledAcl>)> = previous
        .into_iter()
        .flat_map(|(vpc, policy)| vpc.network_acls.iter().zip(&policy.acls))
        .map(|(acl, compiled)| (acl.id.as_str(), (acl, compiled)))
        .collect();
    let compile = |acl: &NetworkAcl| {
        let old = known.get(acl.id.as_str());
        let [ingress, egress] = [Direction::Ingress, Direction::Egress].map(|direction| {
            list_slots(acl, direction, old.map(|(_, compiled)| compiled.slots(direction)), slots)
        });
        match old {
            Some((old, compiled)) if old.ingress == acl.ingress && old.egress == acl.egress => {
                Arc::clone(compiled)
            }
            _ => Arc::new(CompiledAcl::compile(acl, ingress, egress)),
        }
    };
    vpc.network_acls.iter().map(compile).collect()
}

fn list_slots(
    acl: &NetworkAcl,
    direction: Direction,
    old: Option<&ListSlots>,
    slots: &mut Slots<'_>,
) -> ListSlots {
    let id = || acl.id.clone();
    let mut default = |ipv6, old| slots.get(old, || RuleName::AclDefault { acl: id(), direction, ipv6 });
    let default_v4 = default(false, old.map(|old| old.default_v4));
    let default_v6 = default(true, old.map(|old| old.default_v6));
    let entry = |entry: &crate::model::AclEntry| {
        let number = entry.number;
        let name = || RuleName::AclEntry { acl: id(), direction, number: number.get() };
        (number, slots.get(old.and_then(|old| old.entry(number)), name))
    };
    ListSlots { entries: acl.list(direction).iter().map(entry).collect(), default_v4, default_v6 }
}

fn groups(vpc: &Vpc, previous: Option<&Policy>, slots: &mut Slots<'_>) -> Vec<Arc<ResolvedGroup>> {
    let known: HashMap<&str, &Arc<ResolvedGroup>> = previous
        .into_iter()
        .flat_map(|policy| &policy.groups)
        .map(|group| (group.id.as_str(), group))
        .collect();
    let peers = Peers::of(vpc);
    let resolve = |group: &SecurityGroup| {
        let old = known.get(group.id.as_str()).copied();
        let mut rules =
            |direction| rules(group, direction, old.map(|old| old.rules(direction)), &peers, slots);
        let (ingress, egress) = (rules(Direction::Ingress), rules(Direction::Egress));
        let new = ResolvedGroup { id: group.id.clone(), ingress, egress };
        old.filter(|old| ***old == new).map_or_else(|| Arc::new(new), Arc::clone)
    };
    vpc.security_groups.iter().map(resolve).collect()
}

fn rules(
    group: &SecurityGroup,
    direction: Direction,
    old: Option<&[ResolvedRule]>,
    peers: &Peers,
    slots: &mut Slots<'_>,
) -> Vec<ResolvedRule> {
    let known: HashMap<&str, RuleSlot> =
        old.into_iter().flatten().map(|rule| (rule.id.as_str(), rule.slot)).collect();
    let resolve = |rule: &GroupRule| {
        let name = || RuleName::GroupRule { group: group.id.clone(), rule: rule.id.clone(), direction };
        let slot = slots.get(known.get(rule.id.as_str()).copied(), name);
        ResolvedRule { id: rule.id.clone(), slot, protocol: rule.protocol, peer: peers.resolve(rule.peer) }
    };
    group.rules(direction).iter().map(resolve).collect()
}

/// What references stand for.
struct Peers {
    members: Vec<Arc<[IpAddr]>>,
    lists: Vec<Arc<[Cidr]>>,
}

impl Peers {
    fn of(vpc: &Vpc) -> Self {
        let mut members = vec![Vec::new(); vpc.security_groups.len()];
        for eni in &vpc.enis {
            for group in &eni.groups {
                members[group.0].extend(eni.addresses());
            }
        }
        let sorted = |mut addresses: Vec<IpAddr>| {
            addresses.sort_unstable();
            addresses.dedup();
            addresses.into()
        };
        Self {
            members: members.into_iter().map(sorted).collect(),
            lists: vpc.prefix_lists.iter().map(|list| list.entries.as_slice().into()).collect(),
        }
    }

    fn resolve(&self, peer: Peer) -> ResolvedPeer {
        match peer {
            Peer::Cidr(cidr) => ResolvedPeer::Cidr(cidr),
            Peer::Group(group) => ResolvedPeer::Members(Arc::clone(&self.members[group.0])),
            Peer::PrefixList(list) => ResolvedPeer::List(Arc::clone(&self.lists[list.0])),
            Peer::Stale(_) => ResolvedPeer::Members(Arc::default()),
        }
    }
}

/// Compiles every set of groups that some ENI has, or takes it over if all its groups were taken over.
fn sets(
    vpc: &Vpc,
    groups: &[Arc<ResolvedGroup>],
    previous: Option<&Policy>,
) -> HashMap<Box<[GroupIndex]>, Arc<GroupSet>> {
    let known: HashMap<Vec<*const ResolvedGroup>, &Arc<GroupRules>> = previous
        .into_iter()
        .flat_map(|policy| {
            policy.sets.values().map(|set| (identity(set.groups(), &policy.groups), set.rules()))
        })
        .collect();
    let mut sets: HashMap<Box<[GroupIndex]>, Arc<GroupSet>> = HashMap::new();
    for eni in &vpc.enis {
        sets.entry(canonical(&eni.groups)).or_insert_with_key(|set| {
            let compile = || {
                let members: Vec<_> = set.iter().map(|group| Arc::clone(&groups[group.0])).collect();
                Arc::new(GroupRules::compile(&members))
            };
            let rules = known.get(&identity(set, groups)).map_or_else(compile, |rules| Arc::clone(rules));
            Arc::new(GroupSet::new(set.clone(), rules))
        });
    }
    sets
}

/// The groups of a set by the addresses of what they resolve to; both generations are alive while it is used.
fn identity(set: &[GroupIndex], groups: &[Arc<ResolvedGroup>]) -> Vec<*const ResolvedGroup> {
    let mut identity: Vec<_> = set.iter().map(|group| Arc::as_ptr(&groups[group.0])).collect();
    identity.sort_unstable();
    identity
}

fn canonical(groups: &[GroupIndex]) -> Box<[GroupIndex]> {
    let mut groups = groups.to_vec();
    groups.sort_unstable();
    groups.dedup();
    groups.into()
}
