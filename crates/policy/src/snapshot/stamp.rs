//! Policy stamps: in which generation something last changed. Everything is compared, nothing is hashed, so a stamp is
//! kept if and only if what it stands for is the same.

use std::sync::Arc;

use super::Snapshot;
use super::compiled::{CompiledEni, CompiledService, CompiledSubnet};
use crate::model::{SubnetIndex, Vpc};

/// Stamps of what all ENIs see.
#[derive(Clone, Copy, Debug)]
pub(super) struct FabricStamps {
    /// Services, the VPC's blocks, its revocation policy.
    pub(super) fabric: u64,
    /// Subnets, and who has which address and MAC address in them, the whole VPC over.
    pub(super) ownership: u64,
}

/// A new generation, with which the one before is compared.
pub(super) struct Next<'a> {
    pub(super) generation: u64,
    pub(super) vpc: &'a Vpc,
    pub(super) previous: Option<&'a Snapshot>,
}

impl Next<'_> {
    /// Stamps subnets, then ENIs.
    pub(super) fn stamp(
        &self,
        enis: &mut [CompiledEni],
        subnets: &mut [CompiledSubnet],
        services: &[CompiledService],
    ) -> FabricStamps {
        let fabric = self.fabric(services);
        let mut owners: Vec<Vec<&CompiledEni>> = vec![Vec::new(); subnets.len()];
        for eni in enis.iter() {
            owners[eni.subnet.0].push(eni);
        }
        let stamps: Vec<u64> =
            subnets.iter().zip(&owners).map(|(subnet, owners)| self.subnet(subnet, owners, fabric)).collect();
        let ownership = self.ownership(enis, subnets);
        subnets.iter_mut().zip(stamps).for_each(|(subnet, stamp)| subnet.stamp = stamp);
        for eni in enis {
            eni.stamp = self.eni(eni, &subnets[eni.subnet.0]);
        }
        FabricStamps { fabric, ownership }
    }

    fn fabric(&self, services: &[CompiledService]) -> u64 {
        let same = |old: &&Snapshot| {
            old.vpc.cidr_blocks == self.vpc.cidr_blocks
                && old.vpc.ipv6_cidr_blocks == self.vpc.ipv6_cidr_blocks
                && old.vpc.revocation == self.vpc.revocation
                && *old.services == *services
        };
        self.previous.filter(same).map_or(self.generation, |old| old.stamps.fabric)
    }

    fn subnet(&self, subnet: &CompiledSubnet, owners: &[&CompiledEni], fabric: u64) -> u64 {
        let Some((old, was)) = self.old_subnet(subnet) else { return self.generation };
        let had = |eni: &&CompiledEni| old.eni(eni.key).is_some_and(|was| same_place(old, was, self, eni));
        let count = old.enis.iter().filter(|eni| eni.subnet == was.index).count();
        let same = same_blocks(was, subnet)
            && Arc::ptr_eq(&was.acl, &subnet.acl)
            && old.stamps.fabric == fabric
            && count == owners.len()
            && owners.iter().all(had);
        if same { was.stamp } else { self.generation }
    }

    fn old_subnet(&self, subnet: &CompiledSubnet) -> Option<(&Snapshot, &CompiledSubnet)> {
        let old = self.previous?;
        old.subnets.iter().find(|was| was.id == subnet.id).map(|was| (old, was))
    }

    fn ownership(&self, enis: &[CompiledEni], subnets: &[CompiledSubnet]) -> u64 {
        let same = |old: &&Snapshot| {
            let had = |eni: &CompiledEni| old.eni(eni.key).is_some_and(|was| same_place(old, was, self, eni));
            let there = |subnet| self.old_subnet(subnet).is_some_and(|(_, was)| same_blocks(was, subnet));
            old.subnets.len() == subnets.len()
                && old.enis.len() == enis.len()
                && subnets.iter().all(there)
                && enis.iter().all(had)
        };
        self.previous.filter(same).map_or(self.generation, |old| old.stamps.ownership)
    }

    fn eni(&self, eni: &CompiledEni, subnet: &CompiledSubnet) -> u64 {
        let old = self.previous.and_then(|old| old.eni(eni.key).map(|was| (old, was)));
        let Some((old, was)) = old else { return self.generation };
        let same = same_place(old, was, self, eni)
            && old.subnet(was.subnet).stamp == subnet.stamp
            && Arc::ptr_eq(was.groups.rules(), eni.groups.rules())
            && settings(was) == settings(eni)
            && same_mirror(was, eni);
        if same { was.stamp } else { self.generation }
    }

    fn subnet_id(&self, subnet: SubnetIndex) -> &str {
        &self.vpc[subnet].id
    }
}

fn same_blocks(was: &CompiledSubnet, subnet: &CompiledSubnet) -> bool {
    was.cidr == subnet.cidr && was.ipv6_cidr == subnet.ipv6_cidr
}

/// The same addresses in the same subnet.
fn same_place(old: &Snapshot, was: &CompiledEni, next: &Next<'_>, eni: &CompiledEni) -> bool {
    was.mac == eni.mac
        && was.addresses == eni.addresses
        && old.vpc[was.subnet].id == next.subnet_id(eni.subnet)
}

fn same_mirror(was: &CompiledEni, eni: &CompiledEni) -> bool {
    match (&was.mirror, &eni.mirror) {
        (None, None) => true,
        (Some(was), Some(plan)) => was.is_same(plan),
        _ => false,
    }
}

fn settings(eni: &CompiledEni) -> impl PartialEq + use<> {
    (eni.source_dest_check, eni.mtu, eni.instance, eni.max_tracked, eni.time_outs)
}
