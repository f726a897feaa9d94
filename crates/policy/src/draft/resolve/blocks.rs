//! CIDR blocks of the VPC and its subnets.

use ipnet::{IpNet, Ipv6Net};

use super::Scope;
use super::names::DEFAULT;
use super::quotas::Quota;
use crate::diagnostics::{Code, Report};
use crate::draft::file::{SubnetTable, VpcTable};
use crate::draft::value::{At, Field};
use crate::model::{AclIndex, Subnet};

/// Ranges that have another meaning on every host (RES-1, RES-4, RES-20v6).
const FORBIDDEN: &[&str] = &[
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/3",
    "::/8",
    "fd00:ec2::/32",
    "fe80::/10",
    "ff00::/8",
];

/// Every IPv6 block of the VPC.
pub(super) fn ipv6_blocks(table: &VpcTable) -> impl Iterator<Item = At<Ipv6Net>> + '_ {
    let further = table.ipv6_cidr_blocks.items();
    table.ipv6_cidr_block.given().into_iter().chain(further).copied()
}

/// Sizes, number and disjointness of the VPC's own blocks (RT-70).
pub(super) fn check_vpc(scope: &Scope<'_>, report: &mut Report<'_>) {
    let v4 = blocks_v4(scope.table);
    let v6: Vec<_> = ipv6_blocks(scope.table).map(widen_v6).collect();
    for block in v4.iter().chain(&v6) {
        check_size(
            *block,
            "a VPC's IPv4 block is /16 to /28",
            "a VPC's IPv6 block is /44, /48, /52, /56 or /60",
            60,
            report,
        );
        check_forbidden(*block, report);
    }
    check_overlaps(v4.clone(), "block", report);
    check_overlaps(v6.clone(), "block", report);
    for (blocks, what) in [(&v4, "IPv4 blocks"), (&v6, "IPv6 blocks")] {
        if let Some(last) = blocks.last() {
            scope.limits.check(blocks.len() as u64, Quota::CidrBlocks, last.span, what, report);
        }
    }
    if let Field::Given(list) = &scope.table.cidr_blocks
        && list.items.is_empty()
        && list.complete
    {
        report.add(
            Code::EmptyList,
            list.span,
            "the VPC has no IPv4 block",
            "write one to five, such as 10.0.0.0/16",
        );
    }
}

/// The subnets, each inside the VPC, all disjoint.
pub(super) fn subnets(scope: &Scope<'_>, report: &mut Report<'_>) -> Option<Vec<Subnet>> {
    let tables = scope.file.subnet.entries();
    let v4: Vec<_> =
        tables.iter().filter_map(|(_, table)| table.cidr.given()).map(|b| widen_v4(*b)).collect();
    let v6: Vec<_> =
        tables.iter().filter_map(|(_, table)| table.ipv6_cidr.given()).map(|b| widen_v6(*b)).collect();
    for block in v4.iter().chain(&v6) {
        let v6_sizes = "a subnet's IPv6 block is /44 to /64 in steps of 4, usually /64";
        check_size(*block, "a subnet's IPv4 block is /16 to /28", v6_sizes, 64, report);
        check_inside(scope, *block, report);
    }
    check_overlaps(v4, "subnet", report);
    check_overlaps(v6, "subnet", report);
    if let Some((name, _)) = tables.last() {
        scope.limits.check(tables.len() as u64, Quota::Subnets, name.span, "subnets", report);
    }
    tables
        .iter()
        .enumerate()
        .map(|(at, (_, table))| subnet(scope, at, table, report))
        .collect::<Vec<_>>()
        .into_iter()
        .collect()
}

fn subnet(scope: &Scope<'_>, at: usize, table: &SubnetTable, report: &mut Report<'_>) -> Option<Subnet> {
    let acl = match &table.network_acl {
        Field::Absent => scope.acls.place(DEFAULT),
        Field::Faulty => None,
        Field::Given(reference) => scope.acls.find(reference, report),
    };
    let object = &scope.subnets.objects()[at];
    Some(Subnet {
        id: object.id.clone(),
        name: object.name.clone(),
        cidr: table.cidr.given()?.value,
        ipv6_cidr: table.ipv6_cidr.given().map(|block| block.value),
        network_acl: AclIndex(acl?),
    })
}

fn blocks_v4(table: &VpcTable) -> Vec<At<IpNet>> {
    table.cidr_blocks.items().iter().map(|block| widen_v4(*block)).collect()
}

fn widen_v4(block: At<ipnet::Ipv4Net>) -> At<IpNet> {
    At { value: IpNet::V4(block.value), span: block.span }
}

fn widen_v6(block: At<Ipv6Net>) -> At<IpNet> {
    At { value: IpNet::V6(block.value), span: block.span }
}

fn check_size(block: At<IpNet>, v4: &str, v6: &str, longest_v6: u8, report: &mut Report<'_>) {
    let length = block.value.prefix_len();
    let (fits, help) = match block.value {
        IpNet::V4(_) => ((16..=28).contains(&length), v4),
        IpNet::V6(_) => ((44..=longest_v6).contains(&length) && length.is_multiple_of(4), v6),
    };
    if !fits {
        report.add(Code::BlockSize, block.span, format!("/{length} is not an allowed size"), help);
    }
}

fn check_forbidden(block: At<IpNet>, report: &mut Report<'_>) {
    let ranges = FORBIDDEN.iter().filter_map(|text| text.parse::<IpNet>().ok());
    for range in ranges.filter(|range| overlap(range, &block.value)) {
        let message = format!("`{}` overlaps {range}, which no VPC can use", block.value);
        let help = "take a private range: 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, or IPv6 of your own";
        report.add(Code::ForbiddenRange, block.span, message, help);
    }
}

fn check_inside(scope: &Scope<'_>, block: At<IpNet>, report: &mut Report<'_>) {
    let (blocks, complete) = match block.value {
        IpNet::V4(_) => (blocks_v4(scope.table), scope.table.cidr_blocks.is_complete()),
        IpNet::V6(_) => (ipv6_blocks(scope.table).map(widen_v6).collect(), ipv6_known(scope.table)),
    };
    if !complete || blocks.iter().any(|outer| outer.value.contains(&block.value)) {
        return;
    }
    if blocks.is_empty() && block.value.network().is_ipv6() {
        let help = "give the VPC one with `ipv6_cidr_block = …` in [vpc]";
        report.add(Code::NoIpv6, block.span, "the VPC has no IPv6 block", help);
        return;
    }
    let allowed: Vec<_> = blocks.iter().map(|outer| outer.value.to_string()).collect();
    let message = format!("`{}` is outside the VPC", block.value);
    report.add(Code::OutsideVpc, block.span, message, format!("the VPC has {}", allowed.join(", ")));
}

fn ipv6_known(table: &VpcTable) -> bool {
    !table.ipv6_cidr_block.is_faulty() && table.ipv6_cidr_blocks.is_complete()
}

/// Blocks nest or are disjoint, so in the order of their first addresses each has only to be compared with the widest
/// one before it.
fn check_overlaps(mut blocks: Vec<At<IpNet>>, what: &str, report: &mut Report<'_>) {
    blocks.sort_by_key(|block| (block.value.network(), block.value.prefix_len()));
    let mut covers = blocks.first().copied();
    for block in blocks.iter().skip(1) {
        let Some(cover) = covers else { return };
        if cover.value.contains(&block.value.network()) {
            note_overlap(cover, *block, what, report);
        } else {
            covers = Some(*block);
        }
    }
}

/// The later of the two in the file is at fault.
fn note_overlap(a: At<IpNet>, b: At<IpNet>, what: &str, report: &mut Report<'_>) {
    let (first, second) = if a.span <= b.span { (a, b) } else { (b, a) };
    let message = format!("`{}` overlaps the {what} {}", second.value, first.value);
    let help = format!("{what}s must be disjoint");
    report.add(Code::Overlap, second.span, message, help).related(first.span, "the other one");
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}
