//! VPCs for tests, put together in code.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use palisade_packet::MacAddr;

use crate::filter::{FilterKey, Match};
use crate::model::{
    AclAction, AclEntry, AclIndex, Attachment, Cidr, ConnectionTracking, Daemon, Eni, EniIndex, GroupIndex,
    GroupRule, Instance, InstanceIndex, ListSize, NetworkAcl, Peer, PrefixList, PrefixListIndex, Profile,
    Protocol, Quotas, RuleNumber, SecurityGroup, Service, Subnet, SubnetIndex, Vpc,
};

pub(crate) const WEB: SubnetIndex = SubnetIndex(0);
pub(crate) const DATA: SubnetIndex = SubnetIndex(1);

/// 10.0.0.0/16 and `2001:db8:1::/56`; `WEB` is 10.0.1.0/24 and `2001:db8:1:1::/64`, `DATA` 10.0.2.0/24; a default ACL that
/// allows all of IPv4; no groups, no ENIs.
pub(crate) fn empty() -> Vpc {
    let acl = NetworkAcl {
        id: "acl-default".into(),
        name: "default".into(),
        is_default: true,
        ingress: vec![entry(100, AclAction::Allow, Protocol::All, "0.0.0.0/0")],
        egress: vec![entry(100, AclAction::Allow, Protocol::All, "0.0.0.0/0")],
    };
    Vpc {
        id: "vpc-1".into(),
        region: "us-east-1".into(),
        account: "123456789012".into(),
        cidr_blocks: vec!["10.0.0.0/16".parse().unwrap()],
        ipv6_cidr_blocks: vec!["2001:db8:1::/56".parse().unwrap()],
        revocation: crate::model::Revocation::default(),
        subnets: vec![
            subnet("web", "10.0.1.0/24", Some("2001:db8:1:1::/64")),
            subnet("data", "10.0.2.0/24", None),
        ],
        network_acls: vec![acl],
        security_groups: vec![],
        prefix_lists: vec![],
        instances: vec![],
        enis: vec![],
        services: vec![],
        mirror_targets: vec![],
        mirror_filters: vec![],
        mirror_sessions: vec![],
        flow_logs: vec![],
        quotas: Quotas::default(),
        daemon: Daemon::default(),
    }
}

pub(crate) fn subnet(name: &str, cidr: &str, ipv6_cidr: Option<&str>) -> Subnet {
    Subnet {
        id: format!("subnet-{name}"),
        name: name.into(),
        cidr: cidr.parse().unwrap(),
        ipv6_cidr: ipv6_cidr.map(|cidr| cidr.parse().unwrap()),
        network_acl: AclIndex(0),
    }
}

pub(crate) fn entry(number: u16, action: AclAction, protocol: Protocol, cidr: &str) -> AclEntry {
    AclEntry { number: RuleNumber::new(number).unwrap(), action, protocol, cidr: cidr.parse().unwrap() }
}

pub(crate) fn tcp(from: u16, to: u16) -> Protocol {
    Protocol::Tcp { from, to }
}

pub(crate) fn udp(from: u16, to: u16) -> Protocol {
    Protocol::Udp { from, to }
}

pub(crate) fn peer(cidr: &str) -> Peer {
    Peer::Cidr(cidr.parse().unwrap())
}

/// A rule with id `sgr-NAME`.
pub(crate) fn rule(name: &str, protocol: Protocol, peer: Peer) -> GroupRule {
    GroupRule { id: format!("sgr-{name}"), description: None, protocol, peer }
}

/// Adds group `sg-NAME`.
pub(crate) fn group(
    vpc: &mut Vpc,
    name: &str,
    ingress: Vec<GroupRule>,
    egress: Vec<GroupRule>,
) -> GroupIndex {
    let group = SecurityGroup {
        id: format!("sg-{name}"),
        name: name.into(),
        description: name.into(),
        ingress,
        egress,
    };
    vpc.security_groups.push(group);
    GroupIndex(vpc.security_groups.len() - 1)
}

pub(crate) fn prefix_list(vpc: &mut Vpc, name: &str, entries: &[&str]) -> PrefixListIndex {
    let entries: Vec<Cidr> = entries.iter().map(|entry| entry.parse().unwrap()).collect();
    vpc.prefix_lists.push(PrefixList {
        id: format!("pl-{name}"),
        name: name.into(),
        ipv6: entries.first().is_some_and(|entry| entry.addr().is_ipv6()),
        size: ListSize::MaxEntries(1000),
        entries,
    });
    PrefixListIndex(vpc.prefix_lists.len() - 1)
}

/// Adds `eni-NAME` with an instance of its own, an address in its subnet and, in `WEB`, an IPv6 address.
pub(crate) fn eni(
    vpc: &mut Vpc,
    name: &str,
    subnet: SubnetIndex,
    host: u8,
    groups: &[GroupIndex],
) -> EniIndex {
    vpc.instances.push(Instance {
        id: format!("i-{name}"),
        name: name.into(),
        max_tracked: 1000,
        profile: Profile::Nitro,
    });
    let base = vpc[subnet].cidr.network().to_bits();
    let v6 = vpc[subnet].ipv6_cidr.map(|net| Ipv6Addr::from_bits(net.network().to_bits() + u128::from(host)));
    let index = u8::try_from(subnet.0).unwrap();
    vpc.enis.push(Eni {
        id: format!("eni-{name}"),
        name: name.into(),
        subnet,
        instance: InstanceIndex(vpc.instances.len() - 1),
        mac: MacAddr([2, 0, 0, 0, index, host]),
        address: Ipv4Addr::from_bits(base + u32::from(host)),
        secondary_addresses: vec![],
        ipv6_addresses: v6.into_iter().collect(),
        groups: groups.to_vec(),
        source_dest_check: true,
        mtu: 9001,
        connection_tracking: ConnectionTracking::defaults(Profile::Nitro),
        attachment: attachment(name),
        worker: None,
    });
    EniIndex(vpc.enis.len() - 1)
}

pub(crate) fn service(vpc: &mut Vpc, name: &str, addresses: &[&str]) {
    vpc.services.push(Service {
        name: name.into(),
        mac: crate::ids::service_mac(&vpc.id, name),
        addresses: addresses.iter().map(|address| ip(address)).collect(),
        attachment: attachment(name),
        worker: None,
    });
}

fn attachment(name: &str) -> Attachment {
    Attachment::Packet { device: name.into(), offload: true }
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn tcp_key(address: &str, port: u16) -> FilterKey {
    FilterKey { address: ip(address), protocol: 6, selector: Match::Port(port) }
}

pub(crate) fn udp_key(address: &str, port: u16) -> FilterKey {
    FilterKey { address: ip(address), protocol: 17, selector: Match::Port(port) }
}

pub(crate) fn icmp_key(address: &str, icmp_type: u8, code: u8) -> FilterKey {
    let address = ip(address);
    let protocol = if address.is_ipv6() { 58 } else { 1 };
    FilterKey { address, protocol, selector: Match::Icmp { icmp_type, code } }
}

pub(crate) fn whole_key(address: &str, protocol: u8) -> FilterKey {
    FilterKey { address: ip(address), protocol, selector: Match::Whole }
}
