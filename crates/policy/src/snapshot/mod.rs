//! Snapshots: a [`Vpc`] compiled into what workers look things up in.
//!
//! A snapshot is immutable and belongs to whoever publishes it. Compiled rule sets are shared (`Arc`) with the previous
//! generation as far as nothing in them changed.

mod compile;
mod compiled;
mod keys;
mod lookup;
mod mirror;
mod names;
mod policy;
mod reserved;
mod rule_sets;
mod stamp;
mod versions;

use std::net::IpAddr;

use palisade_packet::MacAddr;

pub use compiled::{CompiledEni, CompiledService, CompiledSubnet};
pub use keys::{EniKey, InstanceKey, MirrorKey, PortKey, ServiceKey};
pub use mirror::{CompiledMirror, MirrorChoice, MirrorPlan, MirrorTo};
pub use names::{RuleName, RuleSlot};
pub use reserved::Reserved;
pub use rule_sets::{RuleOwner, RuleSet};

use crate::classifier::{ClassifierSize, ResolvedGroup};
use crate::model::{GroupIndex, MirrorSessionIndex, PrefixListIndex, Revocation, SubnetIndex, Vpc};
use lookup::Lookup;
use policy::Policy;
use reserved::Blocks;
use stamp::FabricStamps;
use versions::Versions;

/// One generation of a VPC, compiled.
#[derive(Debug)]
pub struct Snapshot {
    generation: u64,
    vpc: Vpc,
    enis: Box<[CompiledEni]>,
    services: Box<[CompiledService]>,
    subnets: Box<[CompiledSubnet]>,
    lookup: Lookup,
    blocks: Blocks,
    /// [`Vpc::dns_address`].
    dns: Option<IpAddr>,
    policy: Policy,
    keys: keys::Keys,
    stamps: FabricStamps,
    versions: Versions,
}

impl Snapshot {
    /// 1 for the first, then one more than the previous.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What it was compiled from.
    #[must_use]
    pub fn vpc(&self) -> &Vpc {
        &self.vpc
    }

    /// The ENI with this key, if it is part of this generation.
    #[must_use]
    pub fn eni(&self, key: EniKey) -> Option<&CompiledEni> {
        self.lookup.eni(key).map(|at| &self.enis[at])
    }

    /// Every ENI, in the order of [`Vpc::enis`].
    #[must_use]
    pub fn enis(&self) -> &[CompiledEni] {
        &self.enis
    }

    /// An ENI by its `eni-…` id or its name in the configuration file; an id goes before a name.
    #[must_use]
    pub fn eni_named(&self, name_or_id: &str) -> Option<&CompiledEni> {
        let by_id = self.vpc.enis.iter().position(|eni| eni.id == name_or_id);
        let by_name = || self.vpc.enis.iter().position(|eni| eni.name == name_or_id);
        by_id.or_else(by_name).map(|at| &self.enis[at])
    }

    /// The service with this key, if it is part of this generation.
    #[must_use]
    pub fn service(&self, key: ServiceKey) -> Option<&CompiledService> {
        self.lookup.service(key).map(|at| &self.services[at])
    }

    /// Every service, in the order of [`Vpc::services`].
    #[must_use]
    pub fn services(&self) -> &[CompiledService] {
        &self.services
    }

    /// A subnet of this generation: the index must come from it.
    #[must_use]
    pub fn subnet(&self, index: SubnetIndex) -> &CompiledSubnet {
        &self.subnets[index.0]
    }

    /// The ENI that has a private address, the whole VPC over (RES-45).
    #[must_use]
    pub fn owner(&self, address: IpAddr) -> Option<&CompiledEni> {
        self.lookup.owner(address).map(|at| &self.enis[at])
    }

    /// The ENI of a subnet that has a MAC address.
    #[must_use]
    pub fn eni_by_mac(&self, subnet: SubnetIndex, mac: MacAddr) -> Option<&CompiledEni> {
        self.lookup.mac(mac).map(|at| &self.enis[at]).filter(|eni| eni.subnet == subnet)
    }

    /// Whether `address`, as seen from a subnet, is exempt (RES-1, RES-25v6), and who answers there. Reserved addresses
    /// of other subnets are not, the VPC's DNS address excepted (RES-8).
    #[must_use]
    pub fn reserved(&self, subnet: SubnetIndex, address: IpAddr) -> Option<Reserved> {
        let subnet = self.subnet(subnet);
        if !subnet.exempts(address) && self.dns != Some(address) {
            return None;
        }
        let service = self.lookup.service_at(address).map(Reserved::Service);
        let router = || if subnet.is_router(address) { Reserved::Router } else { Reserved::Unserved };
        Some(service.unwrap_or_else(router))
    }

    /// Whether `address` is the last one of the subnet, in either family (RES-14, RES-21v6): reserved but not exempt
    /// (RES-7).
    #[must_use]
    pub fn is_subnet_broadcast(&self, subnet: SubnetIndex, address: IpAddr) -> bool {
        let subnet = self.subnet(subnet);
        match address {
            IpAddr::V4(v4) => subnet.broadcast == v4,
            IpAddr::V6(v6) => subnet.last_v6 == Some(v6),
        }
    }

    /// Whether `address` is one of the first four or the last of any subnet (RES-8).
    #[must_use]
    pub fn is_reserved_anywhere(&self, address: IpAddr) -> bool {
        self.blocks.reserve(address)
    }

    /// Whether `address` lies in a CIDR block of the VPC and so is covered by the `local` route (RT-11).
    #[must_use]
    pub fn in_vpc(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => self.vpc.cidr_blocks.iter().any(|block| block.contains(&v4)),
            IpAddr::V6(v6) => self.vpc.ipv6_cidr_blocks.iter().any(|block| block.contains(&v6)),
        }
    }

    /// Whether the Amazon resolver answers at `address`: base + 2 of the VPC, or one of the two link-local ones (TM-26).
    #[must_use]
    pub fn is_resolver(&self, address: IpAddr) -> bool {
        self.dns == Some(address) || reserved::RESOLVERS.contains(&address)
    }

    /// The key of a mirror session of this generation: the index must come from it.
    #[must_use]
    pub fn mirror_key(&self, session: MirrorSessionIndex) -> MirrorKey {
        self.keys.mirror_session(session.0)
    }

    /// The keys of all mirror sessions, in the order of [`Vpc::mirror_sessions`].
    pub fn mirror_keys(&self) -> impl Iterator<Item = MirrorKey> {
        (0..self.vpc.mirror_sessions.len()).map(|at| self.keys.mirror_session(at))
    }

    /// What becomes of tracked connections that the rules no longer admit.
    #[must_use]
    pub fn revocation(&self) -> Revocation {
        self.vpc.revocation
    }

    /// How many rule slots there are, those of rules that have gone included: every slot is below it.
    #[must_use]
    pub fn rule_slots(&self) -> usize {
        self.policy.names.len()
    }

    /// What a slot counts; `None` if its rule has gone.
    #[must_use]
    pub fn rule(&self, slot: RuleSlot) -> Option<&RuleName> {
        self.policy.names.get(slot)
    }

    /// The generation in which the subnets' blocks, or who has which address and MAC address in them, last changed.
    /// Results that no ENI received depend on it beside the sender's [`CompiledEni::stamp`].
    #[must_use]
    pub fn ownership_stamp(&self) -> u64 {
        self.stamps.ownership
    }

    /// A group with its references replaced by what they stand for.
    pub(crate) fn resolved_group(&self, group: GroupIndex) -> &ResolvedGroup {
        self.policy.group(group)
    }

    /// The version of a prefix list of this generation: 1 for the first, then one more with each change of its entries
    /// (SG-40). The list's entries are those of this version; no rule sees another one.
    #[must_use]
    pub fn prefix_list_version(&self, list: PrefixListIndex) -> u64 {
        self.versions.of(list)
    }

    /// How much was compiled.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        Statistics {
            network_acls: self.policy.acls.len(),
            acl_size: self.policy.acls.iter().map(|acl| acl.size()).sum(),
            group_sets: self.policy.sets.len(),
            group_size: self.policy.sets.values().map(|set| set.size()).sum(),
        }
    }
}

/// How much a snapshot holds of compiled rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Statistics {
    /// Network ACLs.
    pub network_acls: usize,
    /// All of them together.
    pub acl_size: ClassifierSize,
    /// Different sets of security groups that ENIs have.
    pub group_sets: usize,
    /// All of them together.
    pub group_size: ClassifierSize,
}

#[cfg(test)]
mod tests;
