//! From a [`Vpc`] to a [`Snapshot`].

use std::sync::Arc;

use super::Snapshot;
use super::compiled::{CompiledEni, CompiledService, CompiledSubnet};
use super::keys::Keys;
use super::lookup::Lookup;
use super::mirror::MirrorPlan;
use super::policy::Policy;
use super::reserved::Blocks;
use super::stamp::Next;
use super::versions::Versions;
use crate::model::{Eni, EniIndex, SubnetIndex, Vpc};

impl Snapshot {
    /// Compiles `vpc`. Keys, rule slots and unchanged rule sets are those of the previous generation.
    #[must_use]
    pub fn compile(vpc: Vpc, previous: Option<&Self>) -> Self {
        let generation = previous.map_or(1, |previous| previous.generation + 1);
        let keys = Keys::assign(&vpc, previous.map(|previous| (&previous.vpc, &previous.keys)));
        let policy = Policy::compile(&vpc, previous.map(|previous| (&previous.vpc, &previous.policy)));
        let versions = Versions::assign(&vpc, previous.map(|previous| (&previous.vpc, &previous.versions)));
        let services = services(&vpc, &keys);
        let mut subnets = subnets(&vpc, &policy);
        let mut enis = enis(&vpc, &keys, &policy);
        let next = Next { generation, vpc: &vpc, previous };
        let stamps = next.stamp(&mut enis, &mut subnets, &services);
        Self {
            generation,
            lookup: Lookup::of(&enis, &services),
            enis,
            services,
            subnets,
            blocks: Blocks::of(&vpc),
            dns: vpc.dns_address(),
            policy,
            keys,
            stamps,
            versions,
            vpc,
        }
    }
}

fn services(vpc: &Vpc, keys: &Keys) -> Box<[CompiledService]> {
    let compile = |(at, service): (usize, &crate::model::Service)| CompiledService {
        key: keys.service(at),
        name: service.name.clone(),
        mac: service.mac,
        addresses: service.addresses.as_slice().into(),
    };
    vpc.services.iter().enumerate().map(compile).collect()
}

fn subnets(vpc: &Vpc, policy: &Policy) -> Box<[CompiledSubnet]> {
    let acl = |subnet: &crate::model::Subnet| Arc::clone(&policy.acls[subnet.network_acl.0]);
    let compile = |(at, subnet)| CompiledSubnet::new(SubnetIndex(at), subnet, acl(subnet));
    vpc.subnets.iter().enumerate().map(compile).collect()
}

fn enis(vpc: &Vpc, keys: &Keys, policy: &Policy) -> Box<[CompiledEni]> {
    vpc.enis.iter().enumerate().map(|(at, eni)| compile_eni(vpc, keys, policy, EniIndex(at), eni)).collect()
}

fn compile_eni(vpc: &Vpc, keys: &Keys, policy: &Policy, index: EniIndex, eni: &Eni) -> CompiledEni {
    let groups = policy.set(&eni.groups).expect("`Policy::compile` made a set for every ENI of this VPC");
    CompiledEni {
        key: keys.eni(index.0),
        index,
        subnet: eni.subnet,
        mac: eni.mac,
        addresses: eni.addresses().collect(),
        source_dest_check: eni.source_dest_check,
        mtu: eni.mtu,
        instance: keys.instance(eni.instance.0),
        max_tracked: vpc[eni.instance].max_tracked,
        time_outs: eni.connection_tracking,
        groups: Arc::clone(groups),
        mirror: MirrorPlan::compile(vpc, keys, index).map(Arc::new),
        stamp: 0,
    }
}
