//! Network interfaces: addresses, groups, time-outs.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use palisade_packet::MacAddr;

use super::daemon::given_worker;
use super::instances::Assignment;
use super::names::DEFAULT;
use super::quotas::Quota;
use super::services::offset;
use super::{Scope, devices};
use crate::diagnostics::{Code, Report, Span};
use crate::draft::file::{EniTable, SubnetTable, TrackingTable};
use crate::draft::value::{At, Field};
use crate::ids;
use crate::model::{ConnectionTracking, Eni, GroupIndex, Profile, SubnetIndex};

const DEFAULT_MTU: u16 = 9001;
/// RFC 8200, section 5.
const LEAST_IPV6_MTU: u32 = 1280;

/// The ENIs in the order of the file.
pub(super) fn enis(scope: &Scope<'_>, assignment: &Assignment, report: &mut Report<'_>) -> Option<Vec<Eni>> {
    let mut enis = Vec::new();
    let mut owners = HashMap::new();
    for (at, (_, table)) in scope.file.eni.entries().iter().enumerate() {
        let subnet = table.subnet.given().and_then(|reference| scope.subnets.find(reference, report));
        check_addresses(scope, table, subnet, report);
        check_owners(table, &mut owners, report);
        check_mtu(table, report);
        let builder = Builder { scope, at, table };
        enis.push(builder.eni(subnet, assignment, report));
    }
    check_macs(scope, report);
    enis.into_iter().collect()
}

struct Builder<'b> {
    scope: &'b Scope<'b>,
    at: usize,
    table: &'b EniTable,
}

impl Builder<'_> {
    fn eni(&self, subnet: Option<usize>, assignment: &Assignment, report: &mut Report<'_>) -> Option<Eni> {
        let groups = self.groups(report);
        let attachment = devices::attachment(&self.table.attach, report);
        let object = self.scope.enis.objects().get(self.at)?;
        let instance = *assignment.get(self.at)?;
        let table = self.table;
        Some(Eni {
            id: object.id.clone(),
            name: object.name.clone(),
            subnet: SubnetIndex(subnet?),
            instance,
            mac: mac(table, &object.id),
            address: table.address.given()?.value,
            secondary_addresses: table.secondary_addresses.items().iter().map(|a| a.value).collect(),
            ipv6_addresses: ipv6(table).map(|address| address.value).collect(),
            groups: groups?,
            source_dest_check: table.source_dest_check.given().is_none_or(|check| check.value),
            mtu: mtu(table),
            connection_tracking: tracking(&table.connection_tracking, self.profile(instance.0)),
            attachment: attachment?,
            worker: given_worker(&self.table.attach).map(|worker| worker.value),
        })
    }

    fn profile(&self, instance: usize) -> Profile {
        let table = self.scope.file.instance.entries().get(instance);
        let profile = table.and_then(|(_, table)| table.profile.given());
        profile.map(|profile| profile.value).unwrap_or_default()
    }

    /// SG-7, SG-52.
    fn groups(&self, report: &mut Report<'_>) -> Option<Vec<GroupIndex>> {
        let list = match &self.table.groups {
            Field::Absent => return Some(vec![GroupIndex(self.scope.groups.place(DEFAULT)?)]),
            Field::Faulty => return None,
            Field::Given(list) => list,
        };
        if list.items.is_empty() && list.complete {
            let help = "name one at least, or leave the key out for the default group (SG-7)";
            report.add(Code::EmptyList, list.span, "an ENI always has a security group", help);
        }
        let mut seen = HashMap::new();
        let mut groups = Vec::new();
        for reference in &list.items {
            let place = self.scope.groups.find(reference, report);
            groups.push(place.map(GroupIndex));
            let Some(first) = place.and_then(|place| seen.insert(place, reference.span)) else { continue };
            let message = format!("the group `{}` stands twice in the list", reference.value);
            report.add(Code::Repeated, reference.span, message, "remove one").related(first, "first here");
        }
        if let Some(last) = list.items.last() {
            let count = list.items.len() as u64;
            self.scope.limits.check(count, Quota::GroupsPerEni, last.span, "groups of this ENI", report);
        }
        groups.into_iter().collect()
    }
}

fn ipv6(table: &EniTable) -> impl Iterator<Item = At<std::net::Ipv6Addr>> + '_ {
    table.ipv6_address.given().into_iter().chain(table.ipv6_addresses.items()).copied()
}

/// Every address of the table, of both families.
fn addresses(table: &EniTable) -> impl Iterator<Item = At<IpAddr>> + '_ {
    let v4 = table.address.given().into_iter().chain(table.secondary_addresses.items());
    let v4 = v4.map(|address| At { value: IpAddr::V4(address.value), span: address.span });
    v4.chain(ipv6(table).map(|address| At { value: IpAddr::V6(address.value), span: address.span }))
}

fn check_addresses(scope: &Scope<'_>, table: &EniTable, subnet: Option<usize>, report: &mut Report<'_>) {
    let Some((name, subnet)) = subnet.and_then(|at| scope.file.subnet.entries().get(at)) else { return };
    for address in addresses(table) {
        match block_for(subnet, address.value) {
            Field::Given(block) => check_address(address, block, &name.value, report),
            Field::Faulty => {}
            Field::Absent => {
                let message = format!("the subnet `{}` has no IPv6 block", name.value);
                let help = "give the subnet one with `ipv6_cidr = …`, or remove the address";
                report.add(Code::NoIpv6, address.span, message, help);
            }
        }
    }
}

/// The subnet's block of an address's family.
fn block_for(subnet: &SubnetTable, address: IpAddr) -> Field<IpNet> {
    match address {
        IpAddr::V4(_) => {
            subnet.cidr.given().map_or(Field::Faulty, |block| Field::Given(IpNet::V4(block.value)))
        }
        IpAddr::V6(_) => match &subnet.ipv6_cidr {
            Field::Given(block) => Field::Given(IpNet::V6(block.value)),
            Field::Absent => Field::Absent,
            Field::Faulty => Field::Faulty,
        },
    }
}

/// RES-10b, RES-21v6.
fn check_address(address: At<IpAddr>, block: IpNet, subnet: &str, report: &mut Report<'_>) {
    let help =
        format!("the subnet `{subnet}` is {block}; its first four addresses and its last one are reserved");
    let Some(at) = offset(block, address.value) else {
        let message = format!("`{}` is outside the subnet", address.value);
        report.add(Code::OutsideSubnet, address.span, message, help);
        return;
    };
    if at < 4 || address.value == block.broadcast() {
        let message = format!("`{}` is in the subnet's reserved address range", address.value);
        report.add(Code::ReservedAddress, address.span, message, help);
    }
}

/// RES-45.
fn check_owners(table: &EniTable, owners: &mut HashMap<IpAddr, Span>, report: &mut Report<'_>) {
    for address in addresses(table) {
        if let Some(first) = owners.insert(address.value, address.span) {
            let message = format!("`{}` belongs to an ENI already", address.value);
            let help = "a private address is unique in the VPC (RES-45)";
            report.add(Code::DuplicateAddress, address.span, message, help).related(first, "first here");
        }
    }
}

fn check_mtu(table: &EniTable, report: &mut Report<'_>) {
    let Some(mtu) = table.mtu.given() else { return };
    if mtu.value.0 < LEAST_IPV6_MTU && ipv6(table).next().is_some() {
        let message = format!("an MTU of {} cannot carry IPv6", mtu.value.0);
        report.add(
            Code::BadMtu,
            mtu.span,
            message,
            "write 1280 to 9001 for an ENI with an IPv6 address (RFC 8200)",
        );
    }
}

fn mtu(table: &EniTable) -> u16 {
    table.mtu.given().and_then(|mtu| u16::try_from(mtu.value.0).ok()).unwrap_or(DEFAULT_MTU)
}

fn mac(table: &EniTable, id: &str) -> MacAddr {
    table.mac.given().map_or_else(|| ids::eni_mac(id), |mac| mac.value)
}

/// MAC addresses are unique over ENIs, services and routers; only a given one can be at fault.
fn check_macs(scope: &Scope<'_>, report: &mut Report<'_>) {
    let mut seen: HashMap<MacAddr, Option<Span>> = HashMap::new();
    for (name, _) in scope.file.service.entries() {
        seen.insert(ids::service_mac(&scope.vpc_id, &name.value), None);
    }
    for subnet in scope.subnets.objects() {
        seen.insert(ids::router_mac(&subnet.id), None);
    }
    for ((_, table), object) in scope.file.eni.entries().iter().zip(scope.enis.objects()) {
        if table.mac.given().is_none() {
            seen.insert(ids::eni_mac(&object.id), None);
        }
    }
    for mac in scope.file.eni.entries().iter().filter_map(|(_, table)| table.mac.given()) {
        let Some(first) = seen.insert(mac.value, Some(mac.span)) else { continue };
        let message = format!("`{}` is the MAC address of another device", mac.value);
        let finding =
            report.add(Code::DuplicateMac, mac.span, message, "leave the key out for a derived one");
        if let Some(first) = first {
            finding.related(first, "first here");
        }
    }
}

/// CT-30..32, CT-39b.
fn tracking(table: &Field<TrackingTable>, profile: Profile) -> ConnectionTracking {
    let mut tracking = ConnectionTracking::defaults(profile);
    let Some(table) = table.given() else { return tracking };
    if let Some(time) = table.tcp_established.given() {
        tracking.tcp_established = time.value.0;
    }
    if let Some(time) = table.udp.given() {
        tracking.udp = time.value.0;
    }
    if let Some(time) = table.udp_stream.given() {
        tracking.udp_stream = time.value.0;
    }
    tracking
}
