//! Network ACLs: entries in order, AWS's default ACL.

use std::collections::HashMap;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Scope;
use super::names::DEFAULT;
use super::quotas::Quota;
use crate::diagnostics::{Code, Report};
use crate::draft::entry::AclLine;
use crate::draft::value::{Field, List};
use crate::model::{AclAction, AclEntry, AclList, NetworkAcl, Protocol, RuleNumber};

/// The ACLs of the file in its order, the default ACL last if the file has no table for it.
pub(super) fn network_acls(scope: &Scope<'_>, report: &mut Report<'_>) -> Vec<NetworkAcl> {
    let tables = scope.file.network_acl.entries();
    if let Some((name, _)) = tables.last() {
        scope.limits.check(scope.acls.objects().len() as u64, Quota::Acls, name.span, "network ACLs", report);
    }
    let mut acls = Vec::new();
    for (at, object) in scope.acls.objects().iter().enumerate() {
        let table = tables.get(at).map(|(_, table)| table);
        let is_default = object.name == DEFAULT;
        let ingress = table.map_or(&Field::Absent, |table| &table.ingress);
        let egress = table.map_or(&Field::Absent, |table| &table.egress);
        acls.push(NetworkAcl {
            id: object.id.clone(),
            name: object.name.clone(),
            is_default,
            ingress: list(scope, ingress, is_default, report),
            egress: list(scope, egress, is_default, report),
        });
    }
    acls
}

fn list<const EGRESS: bool>(
    scope: &Scope<'_>,
    lines: &Field<List<AclLine<EGRESS>>>,
    is_default: bool,
    report: &mut Report<'_>,
) -> AclList {
    if matches!(lines, Field::Absent) {
        return if is_default { allow_all(scope.may_have_ipv6()) } else { AclList::new() };
    }
    check_numbers(lines.items(), report);
    check_quota(scope, lines.items(), report);
    let mut entries: AclList = lines.items().iter().filter_map(|line| line.entry.clone()).collect();
    entries.sort_by_key(|entry| entry.number);
    entries
}

/// NACL-6.
fn allow_all(ipv6: bool) -> AclList {
    let v4 = (100, IpNet::V4(Ipv4Net::default()));
    let v6 = (101, IpNet::V6(Ipv6Net::default()));
    let entries = std::iter::once(v4).chain(ipv6.then_some(v6));
    let entry = |(number, cidr)| {
        let number = RuleNumber::new(number)?;
        Some(AclEntry { number, action: AclAction::Allow, protocol: Protocol::All, cidr })
    };
    entries.filter_map(entry).collect()
}

/// NACL-3: across both families.
fn check_numbers<const EGRESS: bool>(lines: &[AclLine<EGRESS>], report: &mut Report<'_>) {
    let mut seen = HashMap::new();
    for number in lines.iter().filter_map(|line| line.number) {
        if let Some(first) = seen.insert(number.value, number.span) {
            let message = format!("rule number {} is used twice in this direction", number.value);
            let help = "a number stands once in a direction, whatever the family (NACL-3)";
            report.add(Code::DuplicateRuleNumber, number.span, message, help).related(first, "first here");
        }
    }
}

/// NACL-17: the `*` entry of each family counts.
fn check_quota<const EGRESS: bool>(scope: &Scope<'_>, lines: &[AclLine<EGRESS>], report: &mut Report<'_>) {
    for (ipv6, what) in [(false, "IPv4 entries with `*`"), (true, "IPv6 entries with `*`")] {
        let is_family = |entry: &AclEntry| entry.cidr.network().is_ipv6() == ipv6;
        let of_family: Vec<_> =
            lines.iter().filter(|line| line.entry.as_ref().is_some_and(is_family)).collect();
        if let Some(last) = of_family.last().and_then(|line| line.number) {
            let count = of_family.len() as u64 + 1;
            scope.limits.check(count, Quota::AclEntries, last.span, what, report);
        }
    }
}
