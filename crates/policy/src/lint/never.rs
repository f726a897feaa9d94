//! Rules and entries that can match nothing, or more than they seem to.

use ipnet::IpNet;

use super::book::{Book, DIRECTIONS, EntryAt, Subject};
use super::code::Code;
use super::union::RuleAt;
use crate::model::{AclIndex, Cidr, GroupIndex, Peer, Protocol, Subnet};

/// Destinations and sources that no rule ever sees: exempt (RES-1, RES-20v6), link scope (RES-23v6), multicast and
/// broadcast (SG-74).
pub(super) const UNSEEN: [(&str, &str); 6] = [
    ("169.254.0.0/16", "link-local: services there are exempt, everything else is dropped (RES-3, RES-5)"),
    ("224.0.0.0/4", "multicast, which is dropped before any rule (SG-74)"),
    ("255.255.255.255/32", "broadcast, which is dropped before any rule (SG-74)"),
    ("fd00:ec2::/32", "reserved for services, which are exempt (RES-20v6)"),
    ("fe80::/10", "link-local, which never leaves the link (RES-23v6)"),
    ("ff00::/8", "multicast, which is dropped before any rule (SG-74)"),
];

/// Looks at every rule and entry.
pub(super) fn check(book: &mut Book<'_>) {
    for group in (0..book.vpc.security_groups.len()).map(GroupIndex) {
        for direction in DIRECTIONS {
            for at in 0..book.vpc[group].rules(direction).len() {
                check_rule(book, RuleAt { group, direction, at });
            }
        }
    }
    let acls: Vec<AclIndex> = book.acls().map(|(acl, _)| acl).collect();
    for acl in acls {
        for direction in DIRECTIONS {
            for at in 0..book.vpc[acl].list(direction).len() {
                check_entry(book, EntryAt { acl, direction, at });
            }
        }
    }
}

fn check_rule(book: &mut Book<'_>, at: RuleAt) {
    let subject = Subject::Rule(at);
    if !book.is_written(subject) {
        return; // AWS's default, which nobody can change for the better
    }
    let rule = at.of(book.vpc);
    let text = super::rules::title(book, at);
    check_ports(book, subject, &text);
    match rule.peer {
        Peer::Cidr(cidr) => check_block(book, subject, &text, rule.protocol, cidr, "SG-15"),
        Peer::Group(group) => check_members(book, subject, &text, rule.protocol, group),
        Peer::PrefixList(list) => {
            let (ipv6, is_empty) = (book.vpc[list].ipv6, book.vpc[list].entries.is_empty());
            let name = &book.vpc[list].name;
            if is_empty {
                let message = format!("{text} matches nothing: prefix list {name} has no entry");
                let help = "add entries to the list, or remove the rule (SG-40)";
                book.note_void(Code::EmptyPrefixList, subject, message, help);
            } else if is_foreign(rule.protocol, ipv6) {
                note_foreign(book, subject, &text, rule.protocol, "SG-15");
            } else if ipv6 && !book.vpc.has_ipv6() {
                note_no_ipv6(book, subject, &text);
            }
        }
        Peer::Stale(group) => {
            let message = format!("{text} matches nothing: the security group {group} no longer exists");
            let help = "remove it, or refer to another group; it counts in the quota all the same (SG-38)";
            book.note_void(Code::StaleReference, subject, message, help);
        }
    }
}

fn check_entry(book: &mut Book<'_>, at: EntryAt) {
    let subject = Subject::Entry(at);
    if !book.is_written(subject) {
        return;
    }
    let entry = book.entry(at);
    let text = super::entries::title(book, at);
    check_ports(book, subject, &text);
    check_block(book, subject, &text, entry.protocol, entry.cidr, "NACL-13");
    if !book.is_void(subject)
        && let Some(subnet) = only_subnet(book, at.acl).filter(|subnet| holds(subnet, entry.cidr))
    {
        let (name, addresses) = (&subnet.name, entry.cidr);
        let message = format!(
            "{text} matches nothing: {addresses} is inside subnet {name}, whose traffic within meets no ACL"
        );
        let help = "use a security group between hosts of one subnet (NACL-20), or name other addresses";
        book.note_void(Code::EntryInsideSubnet, subject, message, help);
    }
}

fn check_ports(book: &mut Book<'_>, subject: Subject, text: &str) {
    if book.has_idle_ports(subject) {
        let message = format!(
            "the ports or types that are written mean nothing: it is {text} and matches whatever the ports are"
        );
        let help =
            "name tcp, udp, icmp or icmpv6 to have them compared, else leave them out (SG-12, NACL-12)";
        book.note(Code::IgnoredPorts, subject, &[], message, help);
    }
}

fn check_block(
    book: &mut Book<'_>,
    subject: Subject,
    text: &str,
    protocol: Protocol,
    cidr: Cidr,
    statement: &str,
) {
    let ipv6 = cidr.addr().is_ipv6();
    if is_foreign(protocol, ipv6) {
        note_foreign(book, subject, text, protocol, statement);
    } else if ipv6 && !book.vpc.has_ipv6() {
        note_no_ipv6(book, subject, text);
    } else if let Some(why) = unseen(book, cidr) {
        let message = format!("{text} matches nothing: {cidr} is {why}");
        let help = "remove it: rules neither open nor close this";
        book.note_void(Code::UnseenAddress, subject, message, help);
    }
}

/// ICMP in the other family: of an ACL a protocol number that nobody sends there.
fn is_foreign(protocol: Protocol, ipv6: bool) -> bool {
    match protocol {
        Protocol::Icmp { .. } | Protocol::Number(1) => ipv6,
        Protocol::Icmpv6 { .. } | Protocol::Number(58) => !ipv6,
        _ => false,
    }
}

fn note_foreign(book: &mut Book<'_>, subject: Subject, text: &str, protocol: Protocol, statement: &str) {
    let (is, meant) = match protocol {
        Protocol::Icmp { .. } | Protocol::Number(1) => ("ICMP is spoken over IPv4", "icmpv6"),
        _ => ("ICMPv6 is spoken over IPv6", "icmp"),
    };
    let message = format!("{text} matches nothing: {is} only");
    let help = format!(
        "write `{meant}`, whose types have other numbers, or addresses of the other family ({statement})"
    );
    book.note_void(Code::IcmpOtherFamily, subject, message, help);
}

fn note_no_ipv6(book: &mut Book<'_>, subject: Subject, text: &str) {
    let message = format!("{text} matches nothing: the VPC has no IPv6 block");
    let help = "remove it, or give the VPC one with `ipv6_cidr_block = …` in [vpc]";
    book.note_void(Code::Ipv6InIpv4Vpc, subject, message, help);
}

fn check_members(book: &mut Book<'_>, subject: Subject, text: &str, protocol: Protocol, group: GroupIndex) {
    let name = &book.vpc[group].name;
    let why = if book.vpc.members(group).next().is_none() {
        format!("no network interface has group {name}")
    } else if matches!(protocol, Protocol::Icmpv6 { .. })
        && book.vpc.members(group).all(|eni| book.vpc[eni].ipv6_addresses.is_empty())
    {
        format!("no network interface with group {name} has an IPv6 address")
    } else {
        return;
    };
    let message = format!("{text} matches nothing: {why}");
    let help = "put the group on an interface, or remove the rule (SG-30)";
    book.note_void(Code::ReferenceWithoutMembers, subject, message, help);
}

fn unseen(book: &Book<'_>, cidr: Cidr) -> Option<&'static str> {
    let dns = book.vpc.dns_address().map(IpNet::from);
    if dns.is_some_and(|dns| dns == cidr) {
        return Some("the VPC's DNS address, which is exempt (RES-1)");
    }
    let inside = |(range, _): &&(&str, &str)| range.parse::<IpNet>().is_ok_and(|range| range.contains(&cidr));
    UNSEEN.iter().find(inside).map(|(_, why)| *why)
}

fn only_subnet<'a>(book: &Book<'a>, acl: AclIndex) -> Option<&'a Subnet> {
    let mut subnets = book.vpc.subnets.iter().filter(|subnet| subnet.network_acl == acl);
    let only = subnets.next()?;
    subnets.next().is_none().then_some(only)
}

fn holds(subnet: &Subnet, cidr: Cidr) -> bool {
    match cidr {
        IpNet::V4(v4) => subnet.cidr.contains(&v4),
        IpNet::V6(v6) => subnet.ipv6_cidr.is_some_and(|block| block.contains(&v6)),
    }
}
