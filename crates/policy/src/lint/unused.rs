//! Groups on no network interface, ACLs on no subnet, prefix lists in no rule.

use std::collections::HashSet;

use super::book::{Book, DIRECTIONS, Subject};
use super::code::Code;
use crate::model::{GroupIndex, Peer};

/// The name of the group that a VPC has in any case (SG-6).
const DEFAULT: &str = "default";

/// Looks at every object. The default group and the default ACL are there whether one wants them or not.
pub(super) fn check(book: &mut Book<'_>) {
    let vpc = book.vpc;
    for group in (0..vpc.security_groups.len()).map(GroupIndex) {
        let name = &vpc[group].name;
        if name != DEFAULT && vpc.members(group).next().is_none() {
            let message =
                format!("security group {name} is on no network interface: none of its rules matters");
            let help =
                "name it in the `groups` of an interface, or remove it with the rules that refer to it";
            book.note(Code::UnusedGroup, Subject::Group(group), &[], message, help);
        }
    }
    let acls: Vec<_> = book.acls().collect();
    for (index, acl) in acls {
        if !acl.is_default && vpc.subnets.iter().all(|subnet| subnet.network_acl != index) {
            let message = format!("network ACL {} is on no subnet: none of its entries matters", acl.name);
            let help = "name it as the `network_acl` of a subnet, or remove it";
            book.note(Code::UnusedAcl, Subject::Acl(index), &[], message, help);
        }
    }
    let used = used_lists(book);
    for (at, list) in vpc.prefix_lists.iter().enumerate().filter(|(at, _)| !used.contains(at)) {
        let message = format!("prefix list {} is in no rule", list.name);
        let help = format!("refer to it as `pl:{}`, or remove it", list.name);
        book.note(Code::UnusedPrefixList, Subject::PrefixList(at), &[], message, help);
    }
}

fn used_lists(book: &Book<'_>) -> HashSet<usize> {
    let groups = book.vpc.security_groups.iter();
    let rules = groups.flat_map(|group| DIRECTIONS.into_iter().flat_map(|direction| group.rules(direction)));
    rules
        .filter_map(|rule| if let Peer::PrefixList(list) = rule.peer { Some(list.0) } else { None })
        .collect()
}
