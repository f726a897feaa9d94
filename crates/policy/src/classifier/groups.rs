//! Security groups, compiled: all the groups of an ENI together, for they are one set of rules (SG-20).

use std::net::IpAddr;
use std::sync::Arc;

use palisade_packet::summary::protocol::{TCP, UDP};

use super::span::{Field, Span, merged};
use super::{Classifier, ClassifierKind, ClassifierSize, Rule, service};
use crate::filter::{FilterKey, GroupMatch};
use crate::model::{Cidr, Direction, GroupIndex, Protocol};
use crate::snapshot::RuleSlot;

/// A set of security groups, compiled; shared by all ENIs that have exactly these groups. The compiled rules are shared
/// by generations in which they are the same.
#[derive(Debug)]
pub struct GroupSet {
    groups: Box<[GroupIndex]>,
    rules: Arc<GroupRules>,
}

impl GroupSet {
    pub(crate) fn new(groups: Box<[GroupIndex]>, rules: Arc<GroupRules>) -> Self {
        Self { groups, rules }
    }

    /// What the rules of all groups say to a packet. `referenced`: whether references to groups may match (SG-34 for
    /// ingress; always true for egress).
    #[must_use]
    #[inline]
    pub fn decide(&self, direction: Direction, key: &FilterKey, referenced: bool) -> GroupMatch {
        let side = self.rules.side(direction);
        let service = service::point(key);
        match key.address {
            IpAddr::V4(address) => side.v4.decide(address.to_bits(), service, referenced),
            IpAddr::V6(address) => side.v6.decide(address.to_bits(), service, referenced),
        }
    }

    /// CT-10 (b): whether some rule of this direction with exactly 0.0.0.0/0 (`::/0`) covers all ports of TCP or UDP.
    /// False for any other protocol.
    #[must_use]
    pub fn open_to_anywhere(&self, direction: Direction, ipv6: bool, protocol: u8) -> bool {
        let side = self.rules.side(direction);
        let open = if ipv6 { side.v6.open } else { side.v4.open };
        match protocol {
            TCP => open.tcp,
            UDP => open.udp,
            _ => false,
        }
    }

    /// The groups, ascending.
    #[must_use]
    pub fn groups(&self) -> &[GroupIndex] {
        &self.groups
    }

    /// How much there is of it.
    #[must_use]
    pub fn size(&self) -> ClassifierSize {
        let sides = [&self.rules.ingress, &self.rules.egress];
        sides.into_iter().map(|side| side.v4.size() + side.v6.size()).sum()
    }

    pub(crate) fn rules(&self) -> &Arc<GroupRules> {
        &self.rules
    }

    /// What the rules of one direction and family became.
    pub(crate) fn half(&self, direction: Direction, ipv6: bool) -> (ClassifierKind, ClassifierSize) {
        let side = self.rules.side(direction);
        if ipv6 { side.v6.describe() } else { side.v4.describe() }
    }
}

/// Compiles the rules of one direction and family of some groups, and says how much that gives.
pub(crate) fn rebuild(groups: &[&ResolvedGroup], direction: Direction, ipv6: bool) -> ClassifierSize {
    let rules = sorted(groups.iter().copied(), direction);
    if ipv6 { Half::<u128>::compile(&rules).size() } else { Half::<u32>::compile(&rules).size() }
}

/// A security group whose references are replaced by what they stand for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ResolvedGroup {
    pub(crate) id: String,
    pub(crate) ingress: Vec<ResolvedRule>,
    pub(crate) egress: Vec<ResolvedRule>,
}

impl ResolvedGroup {
    pub(crate) fn rules(&self, direction: Direction) -> &[ResolvedRule] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ResolvedRule {
    /// `sgr-…`.
    pub(crate) id: String,
    pub(crate) slot: RuleSlot,
    pub(crate) protocol: Protocol,
    pub(crate) peer: ResolvedPeer,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ResolvedPeer {
    Cidr(Cidr),
    /// Every address of every member (SG-30), ascending.
    Members(Arc<[IpAddr]>),
    /// The entries of a prefix list.
    List(Arc<[Cidr]>),
}

impl ResolvedPeer {
    fn addresses<T: Field>(&self) -> Vec<Span<T>> {
        let spans = match self {
            Self::Cidr(cidr) => T::block(cidr).into_iter().collect(),
            Self::Members(members) => members.iter().filter_map(T::address).map(Span::point).collect(),
            Self::List(entries) => entries.iter().filter_map(T::block).collect(),
        };
        merged(spans)
    }

    /// CT-11 (iii): no list and no reference is `anywhere`, whatever it holds.
    fn is_anywhere(&self) -> bool {
        matches!(self, Self::Cidr(cidr) if cidr.prefix_len() == 0)
    }
}

/// The rules of a set of groups, both directions.
#[derive(Debug)]
pub(crate) struct GroupRules {
    ingress: Side,
    egress: Side,
}

impl GroupRules {
    pub(crate) fn compile(groups: &[Arc<ResolvedGroup>]) -> Self {
        Self {
            ingress: Side::compile(groups, Direction::Ingress),
            egress: Side::compile(groups, Direction::Egress),
        }
    }

    #[inline]
    fn side(&self, direction: Direction) -> &Side {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

#[derive(Debug)]
struct Side {
    v4: Half<u32>,
    v6: Half<u128>,
}

impl Side {
    fn compile(groups: &[Arc<ResolvedGroup>], direction: Direction) -> Self {
        let rules = sorted(groups.iter().map(AsRef::as_ref), direction);
        Self { v4: Half::compile(&rules), v6: Half::compile(&rules) }
    }
}

fn sorted<'g>(
    groups: impl Iterator<Item = &'g ResolvedGroup>,
    direction: Direction,
) -> Vec<&'g ResolvedRule> {
    let mut rules: Vec<_> = groups.flat_map(|group| group.rules(direction)).collect();
    rules.sort_by(|a, b| a.id.cmp(&b.id));
    rules
}

/// The rules of one direction and family, by ascending `sgr-` id.
#[derive(Debug)]
struct Half<T> {
    classifier: Classifier<T>,
    slots: Box<[RuleSlot]>,
    open: Open,
}

/// CT-10 (b), per protocol.
#[derive(Clone, Copy, Debug)]
struct Open {
    tcp: bool,
    udp: bool,
}

impl<T: Field> Half<T> {
    fn compile(rules: &[&ResolvedRule]) -> Self {
        let (slots, rules): (Vec<_>, Vec<_>) =
            rules.iter().filter_map(|resolved| Some((resolved.slot, Rule::of_group_rule(resolved)?))).unzip();
        let covers = |protocol| {
            let all = service::covered(protocol, T::IPV6);
            rules.iter().any(|rule| rule.anywhere && all.iter().all(|&all| includes(&rule.services, all)))
        };
        let open = Open {
            tcp: covers(Protocol::Tcp { from: 0, to: u16::MAX }),
            udp: covers(Protocol::Udp { from: 0, to: u16::MAX }),
        };
        Self { classifier: Classifier::build(&rules), slots: slots.into(), open }
    }

    #[inline]
    fn decide(&self, address: T, service: u32, referenced: bool) -> GroupMatch {
        let found = self.classifier.find(address, service, referenced);
        let slot = |rule: usize| self.slots[rule];
        GroupMatch { anywhere: found.anywhere.map(slot), any: found.any.map(slot) }
    }

    fn size(&self) -> ClassifierSize {
        self.classifier.size()
    }

    fn describe(&self) -> (ClassifierKind, ClassifierSize) {
        (self.classifier.kind(), self.size())
    }
}

impl<T: Field> Rule<T> {
    /// `None` if the rule can match nothing in this family.
    pub(crate) fn of_group_rule(resolved: &ResolvedRule) -> Option<Self> {
        let addresses = resolved.peer.addresses();
        let services = service::covered(resolved.protocol, T::IPV6);
        let anywhere = resolved.peer.is_anywhere();
        let reference = matches!(resolved.peer, ResolvedPeer::Members(_));
        (!addresses.is_empty() && !services.is_empty()).then_some(Self {
            addresses,
            services,
            anywhere,
            reference,
        })
    }
}

fn includes(services: &[Span<u32>], wanted: Span<u32>) -> bool {
    services.iter().any(|span| span.contains(wanted.low) && span.contains(wanted.high))
}
