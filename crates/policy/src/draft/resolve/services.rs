//! Services and the reserved addresses they own.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::daemon::given_worker;
use super::{Scope, devices};
use crate::diagnostics::{Code, Report};
use crate::draft::file::ServiceTable;
use crate::draft::value::{At, Text};
use crate::ids;
use crate::model::Service;

/// The services in the order of the file.
pub(super) fn services(scope: &Scope<'_>, report: &mut Report<'_>) -> Option<Vec<Service>> {
    let mut services = Vec::new();
    let mut owners = HashMap::new();
    for (name, table) in scope.file.service.entries() {
        check_name(name, report);
        for address in table.addresses.items() {
            check_reserved(scope, *address, report);
            if let Some(first) = owners.insert(address.value, address.span) {
                let message = format!("`{}` belongs to a service already", address.value);
                let help = "an address has one owner";
                report.add(Code::DuplicateAddress, address.span, message, help).related(first, "first here");
            }
        }
        services.push(service(scope, name, table, report));
    }
    services.into_iter().collect()
}

fn service(scope: &Scope<'_>, name: &Text, table: &ServiceTable, report: &mut Report<'_>) -> Option<Service> {
    let attachment = devices::attachment(&table.attach, report);
    if let Some(list) = table.addresses.given()
        && list.items.is_empty()
        && list.complete
    {
        let help = "write at least one, such as 169.254.169.253";
        report.add(Code::EmptyList, list.span, "the service has no address", help);
    }
    Some(Service {
        name: name.value.clone(),
        mac: ids::service_mac(&scope.vpc_id, &name.value),
        addresses: table.addresses.items().iter().map(|address| address.value).collect(),
        attachment: attachment?,
        worker: given_worker(&table.attach).map(|worker| worker.value),
    })
}

fn check_name(name: &Text, report: &mut Report<'_>) {
    let text = name.value.as_str();
    if text.is_empty() || text.len() > 255 || text.trim() != text || text.contains(char::is_control) {
        let help = "a name has 1 to 255 bytes, no control characters and no space at its ends";
        report.add(Code::BadName, name.span, "this is not a name for a service", help);
    }
}

/// RES-1, RES-20v6, RES-25v6.
fn check_reserved(scope: &Scope<'_>, address: At<IpAddr>, report: &mut Report<'_>) {
    let subnets = scope.file.subnet.entries();
    let unknown = scope.file.subnet.is_faulty()
        || subnets.iter().any(|(_, table)| table.cidr.is_faulty() || table.ipv6_cidr.is_faulty())
        || !scope.table.cidr_blocks.is_complete();
    if unknown || is_reserved(scope, address.value) {
        return;
    }
    let message = format!("`{}` is not a reserved address", address.value);
    let help = "a service answers in 169.254.0.0/16 or fd00:ec2::/32, at the VPC's base + 2, or among the first four \
                addresses of a subnet";
    report.add(Code::NotReserved, address.span, message, help);
}

fn is_reserved(scope: &Scope<'_>, address: IpAddr) -> bool {
    let dns = scope.table.cidr_blocks.items().first().map(|block| IpNet::V4(block.value));
    let is_dns = dns.is_some_and(|block| offset(block, address) == Some(2));
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.segments()[..2] == [0xfd00, 0x0ec2],
    };
    let blocks = scope.file.subnet.entries().iter().flat_map(|(_, table)| {
        let v4 = table.cidr.given().map(|block| IpNet::V4(block.value));
        v4.into_iter().chain(table.ipv6_cidr.given().map(|block| IpNet::V6(block.value)))
    });
    is_dns || link_local || blocks.into_iter().any(|block| offset(block, address).is_some_and(|at| at < 4))
}

/// How far an address is from the first of a block; `None` if it is outside.
pub(super) fn offset(block: IpNet, address: IpAddr) -> Option<u128> {
    if !block.contains(&address) {
        return None;
    }
    match (block.network(), address) {
        (IpAddr::V4(base), IpAddr::V4(address)) => Some(u128::from(address.to_bits() - base.to_bits())),
        (IpAddr::V6(base), IpAddr::V6(address)) => Some(address.to_bits() - base.to_bits()),
        _ => None,
    }
}
