//! The reference evaluator: ACLs and groups as the specification words them, one rule after the other, from the
//! [`Vpc`] alone. Slow on purpose; the oracle that compiled classifiers are tested against.

use std::net::IpAddr;

use palisade_packet::summary::protocol::{ICMP, ICMPV6, TCP, UDP};

use crate::filter::{FilterKey, Match};
use crate::model::{
    AclAction, AclIndex, Direction, GroupIndex, GroupRule, Peer, Protocol, RuleNumber, SecurityGroup, Vpc,
};

/// What the ACL decides, and by which entry; `None`: by the family's `*` entry (NACL-21).
#[must_use]
pub fn acl_decide(
    vpc: &Vpc,
    acl: AclIndex,
    direction: Direction,
    key: &FilterKey,
) -> (AclAction, Option<RuleNumber>) {
    let mut decision = (AclAction::Deny, None);
    for entry in vpc[acl].list(direction) {
        let comes_first = decision.1.is_none_or(|number| entry.number < number);
        if comes_first && entry.cidr.contains(&key.address) && covers(entry.protocol, key) {
            decision = (entry.action, Some(entry.number));
        }
    }
    decision
}

/// A rule of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NamedRule<'a> {
    /// The group.
    pub group: &'a SecurityGroup,
    /// The rule.
    pub rule: &'a GroupRule,
}

/// What the groups say: the counterpart of [`crate::GroupMatch`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReferenceMatch<'a> {
    /// The matching rule with the lowest id among those whose peer is exactly 0.0.0.0/0 or `::/0`.
    pub anywhere: Option<NamedRule<'a>>,
    /// The matching rule with the lowest id.
    pub any: Option<NamedRule<'a>>,
}

/// What all `groups` together say to a packet (SG-20); `referenced`: whether references may match (SG-34).
#[must_use]
pub fn group_decide<'a>(
    vpc: &'a Vpc,
    groups: &[GroupIndex],
    direction: Direction,
    key: &FilterKey,
    referenced: bool,
) -> ReferenceMatch<'a> {
    let mut found = ReferenceMatch::default();
    for group in groups.iter().map(|&group| &vpc[group]) {
        for rule in group.rules(direction) {
            if peer_holds(vpc, rule.peer, key.address, referenced) && covers(rule.protocol, key) {
                let named = NamedRule { group, rule };
                keep_lower(&mut found.any, named);
                if rule.peer.is_anywhere() {
                    keep_lower(&mut found.anywhere, named);
                }
            }
        }
    }
    found
}

/// CT-10 (b): some rule with exactly 0.0.0.0/0 (`::/0`) covers all ports of `protocol`; false unless that is
/// TCP or UDP.
#[must_use]
pub fn open_to_anywhere(
    vpc: &Vpc,
    groups: &[GroupIndex],
    direction: Direction,
    ipv6: bool,
    protocol: u8,
) -> bool {
    let all_ports = |rule: &GroupRule| match rule.protocol {
        Protocol::All => true,
        Protocol::Tcp { from, to } => protocol == TCP && from == 0 && to == u16::MAX,
        Protocol::Udp { from, to } => protocol == UDP && from == 0 && to == u16::MAX,
        Protocol::Number(number) => protocol == number,
        Protocol::Icmp { .. } | Protocol::Icmpv6 { .. } => false,
    };
    let of_family = |peer| matches!(peer, Peer::Cidr(cidr) if cidr.addr().is_ipv6() == ipv6);
    let mut rules = groups.iter().flat_map(|&group| vpc[group].rules(direction));
    matches!(protocol, TCP | UDP)
        && rules.any(|rule| rule.peer.is_anywhere() && of_family(rule.peer) && all_ports(rule))
}

/// CT-17: whether a TCP or UDP packet that the rules of `direction` allow is part of an untracked flow. `source` is its
/// source port.
#[must_use]
pub fn is_untracked(
    vpc: &Vpc,
    groups: &[GroupIndex],
    direction: Direction,
    key: &FilterKey,
    source: u16,
) -> bool {
    if !matches!((key.protocol, key.selector), (TCP | UDP, Match::Port(_))) {
        return false; // CT-12
    }
    let opens =
        |direction, key: &FilterKey| group_decide(vpc, groups, direction, key, true).anywhere.is_some();
    let open = |direction| open_to_anywhere(vpc, groups, direction, key.address.is_ipv6(), key.protocol);
    let mirrored = FilterKey { selector: Match::Port(source), ..*key };
    let back = direction.opposite();
    (opens(direction, key) && open(back)) || (opens(back, &mirrored) && open(direction))
}

fn keep_lower<'a>(kept: &mut Option<NamedRule<'a>>, named: NamedRule<'a>) {
    if kept.is_none_or(|kept| named.rule.id < kept.rule.id) {
        *kept = Some(named);
    }
}

fn peer_holds(vpc: &Vpc, peer: Peer, address: IpAddr, referenced: bool) -> bool {
    match peer {
        Peer::Cidr(cidr) => cidr.contains(&address),
        Peer::PrefixList(list) => vpc[list].entries.iter().any(|entry| entry.contains(&address)),
        Peer::Stale(_) => false,
        Peer::Group(group) => {
            referenced && vpc.members(group).any(|eni| vpc[eni].addresses().any(|own| own == address))
        }
    }
}

fn covers(protocol: Protocol, key: &FilterKey) -> bool {
    match protocol {
        Protocol::All => true,
        Protocol::Tcp { from, to } => key.protocol == TCP && port_in(from, to, key),
        Protocol::Udp { from, to } => key.protocol == UDP && port_in(from, to, key),
        Protocol::Icmp { icmp_type, code } => {
            key.protocol == ICMP && key.address.is_ipv4() && type_is(icmp_type, code, key)
        }
        Protocol::Icmpv6 { icmp_type, code } => {
            key.protocol == ICMPV6 && key.address.is_ipv6() && type_is(icmp_type, code, key)
        }
        Protocol::Number(number) => key.protocol == number,
    }
}

fn port_in(from: u16, to: u16, key: &FilterKey) -> bool {
    matches!(key.selector, Match::Port(port) if from <= port && port <= to)
}

fn type_is(wanted_type: Option<u8>, wanted_code: Option<u8>, key: &FilterKey) -> bool {
    let Match::Icmp { icmp_type, code } = key.selector else { return false };
    wanted_type.is_none_or(|wanted| wanted == icmp_type) && wanted_code.is_none_or(|wanted| wanted == code)
}
