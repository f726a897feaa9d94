//! Network ACLs, compiled.

use std::net::IpAddr;

use super::span::{Field, Span};
use super::{Classifier, ClassifierKind, ClassifierSize, Rule, service};
use crate::filter::{AclDecision, FilterKey};
use crate::model::{AclAction, AclEntry, Direction, NetworkAcl, RuleNumber};
use crate::snapshot::RuleSlot;

/// A network ACL, compiled; shared by the subnets that it is associated with, and by generations in which it is the
/// same.
#[derive(Debug)]
pub struct CompiledAcl {
    id: String,
    ingress: List,
    egress: List,
}

impl CompiledAcl {
    /// `acl-…`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The first entry, by number, that matches; the family's `*` entry if none does (NACL-21, NACL-16).
    #[must_use]
    #[inline]
    pub fn decide(&self, direction: Direction, key: &FilterKey) -> AclDecision {
        let list = self.list(direction);
        let service = service::point(key);
        match key.address {
            IpAddr::V4(address) => list.v4.decide(address.to_bits(), service),
            IpAddr::V6(address) => list.v6.decide(address.to_bits(), service),
        }
    }

    /// How much there is of it.
    #[must_use]
    pub fn size(&self) -> ClassifierSize {
        [&self.ingress, &self.egress]
            .into_iter()
            .map(|list| list.v4.classifier.size() + list.v6.classifier.size())
            .sum()
    }

    /// What the entries of one direction and family became.
    pub(crate) fn half(&self, direction: Direction, ipv6: bool) -> (ClassifierKind, ClassifierSize) {
        let list = self.list(direction);
        if ipv6 { list.v6.describe() } else { list.v4.describe() }
    }

    /// Compiles the entries of one direction and family again, and says how much that gives.
    pub(crate) fn rebuild(&self, acl: &NetworkAcl, direction: Direction, ipv6: bool) -> ClassifierSize {
        let (entries, slots) = (acl.list(direction), self.slots(direction));
        if ipv6 {
            Half::<u128>::compile(entries, slots, slots.default_v6).classifier.size()
        } else {
            Half::<u32>::compile(entries, slots, slots.default_v4).classifier.size()
        }
    }

    /// Compiles `acl`; the slots say where hits are counted.
    pub(crate) fn compile(acl: &NetworkAcl, ingress: ListSlots, egress: ListSlots) -> Self {
        Self {
            id: acl.id.clone(),
            ingress: List::compile(&acl.ingress, ingress),
            egress: List::compile(&acl.egress, egress),
        }
    }

    /// Where the hits of one direction are counted.
    pub(crate) fn slots(&self, direction: Direction) -> &ListSlots {
        &self.list(direction).slots
    }

    fn list(&self, direction: Direction) -> &List {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

/// Where the hits of one direction's entries are counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ListSlots {
    /// Of every entry, ascending by number.
    pub(crate) entries: Vec<(RuleNumber, RuleSlot)>,
    /// Of the `*` entry for IPv4.
    pub(crate) default_v4: RuleSlot,
    /// Of the `*` entry for IPv6.
    pub(crate) default_v6: RuleSlot,
}

impl ListSlots {
    /// The slot of the entry with this number.
    pub(crate) fn entry(&self, number: RuleNumber) -> Option<RuleSlot> {
        let at = self.entries.binary_search_by_key(&number, |&(number, _)| number).ok()?;
        Some(self.entries[at].1)
    }
}

#[derive(Debug)]
struct List {
    v4: Half<u32>,
    v6: Half<u128>,
    slots: ListSlots,
}

impl List {
    fn compile(entries: &[AclEntry], slots: ListSlots) -> Self {
        let v4 = Half::compile(entries, &slots, slots.default_v4);
        let v6 = Half::compile(entries, &slots, slots.default_v6);
        Self { v4, v6, slots }
    }
}

/// The entries of one direction and family.
#[derive(Debug)]
struct Half<T> {
    classifier: Classifier<T>,
    /// What each rule of the classifier decides.
    decisions: Box<[AclDecision]>,
    default: AclDecision,
}

impl<T: Field> Half<T> {
    /// `entries` and `slots.entries` are both ascending by number.
    fn compile(entries: &[AclEntry], slots: &ListSlots, default: RuleSlot) -> Self {
        let compiled = entries.iter().zip(&slots.entries).filter_map(|(entry, &(number, slot))| {
            let decision = AclDecision { action: entry.action, slot, number: Some(number) };
            Some((decision, Rule::of_entry(entry)?))
        });
        let (decisions, rules): (Vec<_>, Vec<_>) = compiled.unzip();
        Self {
            classifier: Classifier::build(&rules),
            decisions: decisions.into(),
            default: AclDecision { action: AclAction::Deny, slot: default, number: None },
        }
    }

    fn describe(&self) -> (ClassifierKind, ClassifierSize) {
        (self.classifier.kind(), self.classifier.size())
    }

    #[inline]
    fn decide(&self, address: T, service: u32) -> AclDecision {
        self.classifier.first(address, service).map_or(self.default, |rule| self.decisions[rule])
    }
}

impl<T: Field> Rule<T> {
    /// `None` if the entry is of the other family.
    pub(crate) fn of_entry(entry: &AclEntry) -> Option<Self> {
        let addresses: Vec<Span<T>> = vec![T::block(&entry.cidr)?];
        let services = service::covered(entry.protocol, T::IPV6);
        Some(Self { addresses, services, anywhere: false, reference: false })
    }
}
