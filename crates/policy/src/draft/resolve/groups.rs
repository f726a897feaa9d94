//! Security groups: rules with their peers looked up, ids derived, AWS's defaults.

use std::collections::HashMap;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::names::{DEFAULT, Object, check_id};
use super::quotas::Quota;
use super::{Scope, prefix_lists};
use crate::diagnostics::{Code, Report, Span};
use crate::draft::file::GroupTable;
use crate::draft::rule::{GroupRuleLine, PeerDraft, RuleDraft};
use crate::draft::value::{At, Field, List};
use crate::ids::IdKind;
use crate::model::{
    Direction, GroupIndex, GroupRule, ListSize, Peer, PrefixListIndex, Protocol, SecurityGroup, StaleGroup,
};

/// What AWS calls the group that every VPC has.
const DEFAULT_DESCRIPTION: &str = "default VPC security group";

/// The groups of the file in its order, the default group last if the file has no table for it.
pub(super) fn security_groups(scope: &Scope<'_>, report: &mut Report<'_>) -> Option<Vec<SecurityGroup>> {
    let tables = scope.file.security_group.entries();
    if let Some((name, _)) = tables.last() {
        let count = scope.groups.objects().len() as u64;
        scope.limits.check(count, Quota::Groups, name.span, "security groups", report);
    }
    let mut ids = HashMap::new();
    let mut groups = Vec::new();
    for (at, object) in scope.groups.objects().iter().enumerate() {
        let table = tables.get(at).map(|(_, table)| table);
        groups.push(Builder { scope, object, index: GroupIndex(at) }.group(table, &mut ids, report));
    }
    groups.into_iter().collect()
}

type RuleIds = HashMap<String, Span>;

struct Builder<'b> {
    scope: &'b Scope<'b>,
    object: &'b Object,
    index: GroupIndex,
}

impl Builder<'_> {
    fn group(
        &self,
        table: Option<&GroupTable>,
        ids: &mut RuleIds,
        report: &mut Report<'_>,
    ) -> Option<SecurityGroup> {
        let description = table.and_then(|table| table.description.given());
        if let Some(text) = description.filter(|text| text.0.value.is_empty()) {
            let help = "write what the group is for, or leave the key out for its name (SG-3)";
            report.add(Code::BadDescription, text.0.span, "the description is empty", help);
        }
        let ingress = table.map_or(&Field::Absent, |table| &table.ingress);
        let egress = table.map_or(&Field::Absent, |table| &table.egress);
        let ingress = self.rules(Direction::Ingress, &drafts(ingress), ids, report);
        let egress = self.rules(Direction::Egress, &drafts(egress), ids, report);
        Some(SecurityGroup {
            id: self.object.id.clone(),
            name: self.object.name.clone(),
            description: description.map_or_else(|| self.default_description(), |text| text.0.value.clone()),
            ingress: ingress?,
            egress: egress?,
        })
    }

    fn is_default(&self) -> bool {
        self.object.name == DEFAULT
    }

    fn default_description(&self) -> String {
        let text = if self.is_default() { DEFAULT_DESCRIPTION } else { self.object.name.as_str() };
        text.to_owned()
    }

    fn rules(
        &self,
        direction: Direction,
        drafts: &Field<Vec<&RuleDraft>>,
        ids: &mut RuleIds,
        report: &mut Report<'_>,
    ) -> Option<Vec<GroupRule>> {
        let drafts = match drafts {
            Field::Absent => return Some(self.default_rules(direction)),
            Field::Faulty => return None,
            Field::Given(drafts) => drafts,
        };
        let mut seen = HashMap::new();
        let mut rules = Vec::new();
        let mut weight = Weight::default();
        for draft in drafts {
            if let Some(id) = &draft.id {
                check_id(ids, id, report);
            }
            let peer = self.peer(draft, report);
            let Some((protocol, peer)) = draft.protocol.zip(peer) else { continue };
            let rule = self.rule(direction, draft, protocol, peer);
            if let Some(first) = seen.insert((protocol, peer), draft.span) {
                note_equal(draft.span, first, report);
            } else if let (None, Some(first)) = (&draft.id, ids.insert(rule.id.clone(), draft.span)) {
                note_taken(&rule.id, draft.span, first, report);
            }
            rules.push(rule);
            weight.add(self.scope, peer, draft.span);
        }
        weight.check(self, direction, report);
        Some(rules)
    }

    fn rule(&self, direction: Direction, draft: &RuleDraft, protocol: Protocol, peer: Peer) -> GroupRule {
        let given = draft.id.as_ref().map(|id| id.value.clone());
        let id = given.unwrap_or_else(|| self.rule_id(direction, protocol, peer));
        GroupRule { id, description: draft.description.clone(), protocol, peer }
    }

    fn peer(&self, draft: &RuleDraft, report: &mut Report<'_>) -> Option<Peer> {
        match draft.peer.as_ref()? {
            PeerDraft::Cidr(cidr) => Some(Peer::Cidr(*cidr)),
            PeerDraft::Group(name) => self.scope.groups.find(name, report).map(GroupIndex).map(Peer::Group),
            PeerDraft::PrefixList(name) => {
                self.scope.prefix_lists.find(name, report).map(PrefixListIndex).map(Peer::PrefixList)
            }
            PeerDraft::Stale(group) => {
                self.check_gone(group, report);
                Some(Peer::Stale(group.value))
            }
        }
    }

    /// Only what is not there can be stale (SG-39).
    fn check_gone(&self, group: &At<StaleGroup>, report: &mut Report<'_>) {
        let id = group.value.to_string();
        let Some(place) = self.scope.groups.place(&id) else { return };
        let name = &self.scope.groups.objects()[place].name;
        let message = format!("`{id}` is there: it is the security group `{name}`");
        report.add(Code::NotStale, group.span, message, format!("write sg:{name}"));
    }

    /// SG-5, SG-6.
    fn default_rules(&self, direction: Direction) -> Vec<GroupRule> {
        let peers = match direction {
            Direction::Ingress if self.is_default() => vec![Peer::Group(self.index)],
            Direction::Ingress => vec![],
            Direction::Egress => anywhere(self.scope.may_have_ipv6()),
        };
        let rule = |peer| GroupRule {
            id: self.rule_id(direction, Protocol::All, peer),
            description: None,
            protocol: Protocol::All,
            peer,
        };
        peers.into_iter().map(rule).collect()
    }

    /// Two equal rules cannot be in one direction of a group, so what a rule says tells it apart.
    fn rule_id(&self, direction: Direction, protocol: Protocol, peer: Peer) -> String {
        let peer = match peer {
            Peer::Cidr(cidr) => cidr.to_string(),
            Peer::Group(group) => self.scope.groups.objects()[group.0].id.clone(),
            Peer::PrefixList(list) => self.scope.prefix_lists.objects()[list.0].id.clone(),
            // As while the group was there: a rule that becomes stale keeps its id.
            Peer::Stale(group) => group.to_string(),
        };
        let rule = format!("{} {} {peer}", direction.as_str(), canonical(protocol));
        IdKind::GroupRule.derive(&self.object.id, &rule)
    }
}

fn note_equal(span: Span, first: Span, report: &mut Report<'_>) {
    let message = "the group has this rule already in this direction";
    let help = "rules with equal protocol, ports and peer are one rule (SG-60)";
    report.add(Code::DuplicateRule, span, message, help).related(first, "first here");
}

fn note_taken(id: &str, span: Span, first: Span, report: &mut Report<'_>) {
    let message = format!("the id of this rule, `{id}`, is given to another");
    report.add(Code::DuplicateId, span, message, "an id names one rule").related(first, "here");
}

fn drafts<const EGRESS: bool>(lines: &Field<List<GroupRuleLine<EGRESS>>>) -> Field<Vec<&RuleDraft>> {
    match lines {
        Field::Absent => Field::Absent,
        Field::Faulty => Field::Faulty,
        Field::Given(list) => Field::Given(list.items.iter().map(|line| &line.0).collect()),
    }
}

fn anywhere(ipv6: bool) -> Vec<Peer> {
    let v4 = Peer::Cidr(IpNet::V4(Ipv4Net::default()));
    let v6 = Peer::Cidr(IpNet::V6(Ipv6Net::default()));
    std::iter::once(v4).chain(ipv6.then_some(v6)).collect()
}

/// One text for equal protocols; part of derived ids, so it must never change.
fn canonical(protocol: Protocol) -> String {
    let any = |value: Option<u8>| value.map_or_else(|| "any".to_owned(), |value| value.to_string());
    match protocol {
        Protocol::All => "all".to_owned(),
        Protocol::Tcp { from, to } => format!("tcp {from}-{to}"),
        Protocol::Udp { from, to } => format!("udp {from}-{to}"),
        Protocol::Icmp { icmp_type, code } => format!("icmp {}/{}", any(icmp_type), any(code)),
        Protocol::Icmpv6 { icmp_type, code } => format!("icmpv6 {}/{}", any(icmp_type), any(code)),
        Protocol::Number(number) => number.to_string(),
    }
}

/// What the rules of one direction count per family (SG-41, SG-54).
#[derive(Default)]
struct Weight {
    v4: u64,
    v6: u64,
    last: Span,
    /// The heaviest prefix list of each family: what it counts and where that is written.
    lists: [Option<(u32, Span)>; 2],
}

impl Weight {
    fn add(&mut self, scope: &Scope<'_>, peer: Peer, span: Span) {
        self.last = span;
        let (v4, v6) = weight(scope, peer);
        self.v4 += u64::from(v4);
        self.v6 += u64::from(v6);
        let Peer::PrefixList(list) = peer else { return };
        let table = scope.file.prefix_list.entries().get(list.0);
        let Some(span) = table.and_then(|(_, table)| prefix_lists::size_span(table)) else { return };
        let heaviest = &mut self.lists[usize::from(v6 > 0)];
        *heaviest = (*heaviest).max(Some((v4.max(v6), span)));
    }

    /// SG-42: where a list outgrows the quota, both the group and the list are named.
    fn check(&self, builder: &Builder<'_>, direction: Direction, report: &mut Report<'_>) {
        for (count, family, list) in [(self.v4, "IPv4", self.lists[0]), (self.v6, "IPv6", self.lists[1])] {
            let what = format!("{family} rules of group {}, {}", builder.object.name, direction.as_str());
            let limits = &builder.scope.limits;
            let finding = limits.check(count, Quota::GroupRules, self.last, &what, report);
            if let (Some(finding), Some((weight, span))) = (finding, list) {
                finding.related(span, format!("this list counts {weight} in it"));
            }
        }
    }
}

fn weight(scope: &Scope<'_>, peer: Peer) -> (u32, u32) {
    match peer {
        Peer::Cidr(IpNet::V4(_)) => (1, 0),
        Peer::Cidr(IpNet::V6(_)) => (0, 1),
        Peer::Group(_) | Peer::Stale(_) => (1, 1),
        Peer::PrefixList(list) => {
            let Some((_, table)) = scope.file.prefix_list.entries().get(list.0) else { return (0, 0) };
            let (ListSize::MaxEntries(entries) | ListSize::Weight(entries)) = prefix_lists::size(table);
            match prefix_lists::is_ipv6(table) {
                Some(true) => (0, entries),
                Some(false) => (entries, 0),
                None => (0, 0),
            }
        }
    }
}
