//! Rules as a configuration file writes them, in one canonical form.

use crate::model::{AclAction, AclEntry, Direction, GroupRule, Peer, Protocol, Vpc};

/// An entry of a network ACL, such as `100 allow tcp 443 from 0.0.0.0/0`.
#[must_use]
pub fn acl_entry(entry: &AclEntry, direction: Direction) -> String {
    let action = match entry.action {
        AclAction::Allow => "allow",
        AclAction::Deny => "deny",
    };
    format!(
        "{} {action} {} {} {}",
        entry.number,
        protocol(entry.protocol),
        preposition(direction),
        entry.cidr
    )
}

/// A rule of a security group, such as `tcp 22 from pl:offices`.
#[must_use]
pub fn group_rule(vpc: &Vpc, rule: &GroupRule, direction: Direction) -> String {
    let peer = match rule.peer {
        Peer::Cidr(cidr) => cidr.to_string(),
        Peer::Group(group) => format!("sg:{}", vpc[group].name),
        Peer::PrefixList(list) => format!("pl:{}", vpc[list].name),
        Peer::Stale(group) => format!("stale:{group}"),
    };
    format!("{} {} {peer}", protocol(rule.protocol), preposition(direction))
}

pub(crate) fn protocol(protocol: Protocol) -> String {
    match protocol {
        Protocol::All => "all".to_owned(),
        Protocol::Tcp { from, to } => format!("tcp {}", ports(from, to)),
        Protocol::Udp { from, to } => format!("udp {}", ports(from, to)),
        Protocol::Icmp { icmp_type, code } => format!("icmp {}", type_and_code(icmp_type, code)),
        Protocol::Icmpv6 { icmp_type, code } => format!("icmpv6 {}", type_and_code(icmp_type, code)),
        Protocol::Number(number) => number.to_string(),
    }
}

fn ports(from: u16, to: u16) -> String {
    match (from, to) {
        (0, u16::MAX) => "any".to_owned(),
        (one, other) if one == other => one.to_string(),
        _ => format!("{from}-{to}"),
    }
}

fn type_and_code(icmp_type: Option<u8>, code: Option<u8>) -> String {
    let text = |value: Option<u8>| value.map_or_else(|| "any".to_owned(), |value| value.to_string());
    match icmp_type {
        None => "any".to_owned(),
        Some(_) => format!("{}/{}", text(icmp_type), text(code)),
    }
}

/// `from` or `to`.
#[must_use]
pub const fn preposition(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "from",
        Direction::Egress => "to",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_written_as_they_are_read() {
        let cases = [
            (Protocol::All, "all"),
            (Protocol::Tcp { from: 443, to: 443 }, "tcp 443"),
            (Protocol::Tcp { from: 0, to: 65535 }, "tcp any"),
            (Protocol::Udp { from: 1024, to: 65535 }, "udp 1024-65535"),
            (Protocol::Icmp { icmp_type: None, code: None }, "icmp any"),
            (Protocol::Icmp { icmp_type: Some(8), code: None }, "icmp 8/any"),
            (Protocol::Icmpv6 { icmp_type: Some(1), code: Some(4) }, "icmpv6 1/4"),
            (Protocol::Number(47), "47"),
        ];
        for (value, text) in cases {
            assert_eq!(protocol(value), text);
        }
    }
}
