//! What a snapshot holds of each ENI, service and subnet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{Ipv4Net, Ipv6Net};
use palisade_packet::MacAddr;

use super::keys::{EniKey, InstanceKey, ServiceKey};
use super::mirror::MirrorPlan;
use crate::classifier::{CompiledAcl, GroupSet};
use crate::ids;
use crate::model::{ConnectionTracking, EniIndex, Subnet, SubnetIndex};

/// An ENI, as the walk needs it.
#[derive(Clone, Debug)]
pub struct CompiledEni {
    /// The same over generations.
    pub key: EniKey,
    /// Where it stands in this generation's [`crate::Vpc::enis`].
    pub index: EniIndex,
    /// Its subnet, in this generation.
    pub subnet: SubnetIndex,
    /// MAC address.
    pub mac: MacAddr,
    /// Primary, secondary and IPv6 addresses.
    pub addresses: Box<[IpAddr]>,
    /// Source/destination check (RES-42).
    pub source_dest_check: bool,
    /// Maximum transmission unit in bytes of IP packet.
    pub mtu: u16,
    /// Whose tracking allowance it uses (CT-70).
    pub instance: InstanceKey,
    /// That allowance, in connections.
    pub max_tracked: u32,
    /// Idle time-outs.
    pub time_outs: ConnectionTracking,
    /// Its security groups.
    pub groups: Arc<GroupSet>,
    /// What is copied of its packets; `None`: nothing.
    pub mirror: Option<Arc<MirrorPlan>>,
    /// The generation in which something that this ENI's walks can see last changed: its settings, what is mirrored of it, its groups' rules
    /// with the members and prefix lists they refer to, its subnet and that one's ACL, who has which address there, the
    /// services, the VPC's blocks and its revocation policy. A result that involves two ENIs holds as long as the stamps of both are the same; a
    /// result without a receiver depends on [`crate::Snapshot::ownership_stamp`] too.
    pub stamp: u64,
}

/// A service attachment, as the walk needs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CompiledService {
    /// The same over generations.
    pub key: ServiceKey,
    /// Name in the configuration file.
    pub name: String,
    /// MAC address.
    pub mac: MacAddr,
    /// Reserved addresses it answers on.
    pub addresses: Box<[IpAddr]>,
}

/// A subnet, as the walk needs it.
#[derive(Clone, Debug)]
pub struct CompiledSubnet {
    /// Where it stands in this generation's [`crate::Vpc::subnets`].
    pub index: SubnetIndex,
    /// `subnet-…`.
    pub id: String,
    /// IPv4 block.
    pub cidr: Ipv4Net,
    /// IPv6 block.
    pub ipv6_cidr: Option<Ipv6Net>,
    /// MAC address of the implicit router, derived from the subnet's id, locally administered.
    pub router_mac: MacAddr,
    /// Its address, base + 1 (RES-11).
    pub router_v4: Ipv4Addr,
    /// Its address, base + 1 (RES-21v6).
    pub router_v6: Option<Ipv6Addr>,
    /// Its link-local address, EUI-64 from the MAC address (RES-22v6).
    pub router_link_local: Ipv6Addr,
    /// Last IPv4 address (RES-14).
    pub broadcast: Ipv4Addr,
    /// Last IPv6 address (RES-21v6).
    pub last_v6: Option<Ipv6Addr>,
    /// The associated network ACL.
    pub acl: Arc<CompiledAcl>,
    /// The generation in which this subnet, its ACL, or who has which address in it last changed.
    pub stamp: u64,
}

impl CompiledSubnet {
    /// Compiles a subnet; the caller stamps it.
    pub(super) fn new(index: SubnetIndex, subnet: &Subnet, acl: Arc<CompiledAcl>) -> Self {
        let router_mac = ids::router_mac(&subnet.id);
        let base_v6 = |net: Ipv6Net| net.network().to_bits();
        Self {
            index,
            id: subnet.id.clone(),
            cidr: subnet.cidr,
            ipv6_cidr: subnet.ipv6_cidr,
            router_mac,
            router_v4: Ipv4Addr::from_bits(subnet.cidr.network().to_bits() | 1),
            router_v6: subnet.ipv6_cidr.map(|net| Ipv6Addr::from_bits(base_v6(net) | 1)),
            router_link_local: router_mac.link_local(),
            broadcast: subnet.cidr.broadcast(),
            last_v6: subnet.ipv6_cidr.map(|net| net.broadcast()),
            acl,
            stamp: 0,
        }
    }
}
