//! Who has an address, a MAC address or a key.

use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use palisade_packet::MacAddr;

use super::compiled::{CompiledEni, CompiledService};
use super::keys::{EniKey, ServiceKey};

type Map<K, V> = HashMap<K, V, RandomState>;

/// Positions in the snapshot's lists.
#[derive(Debug)]
pub(super) struct Lookup {
    v4: Map<Ipv4Addr, usize>,
    v6: Map<Ipv6Addr, usize>,
    macs: Map<MacAddr, usize>,
    enis: Map<EniKey, usize>,
    services: Map<ServiceKey, usize>,
    service_addresses: Map<IpAddr, ServiceKey>,
}

impl Lookup {
    pub(super) fn of(enis: &[CompiledEni], services: &[CompiledService]) -> Self {
        let addresses =
            || enis.iter().enumerate().flat_map(|(at, eni)| eni.addresses.iter().map(move |a| (a, at)));
        let v4 = |(address, at): (&IpAddr, usize)| {
            if let IpAddr::V4(v4) = *address { Some((v4, at)) } else { None }
        };
        let v6 = |(address, at): (&IpAddr, usize)| {
            if let IpAddr::V6(v6) = *address { Some((v6, at)) } else { None }
        };
        let served = services.iter().flat_map(|service| service.addresses.iter().map(|&a| (a, service.key)));
        Self {
            v4: map(addresses().filter_map(v4)),
            v6: map(addresses().filter_map(v6)),
            macs: map(enis.iter().enumerate().map(|(at, eni)| (eni.mac, at))),
            enis: map(enis.iter().enumerate().map(|(at, eni)| (eni.key, at))),
            services: map(services.iter().enumerate().map(|(at, service)| (service.key, at))),
            service_addresses: map(served),
        }
    }

    pub(super) fn owner(&self, address: IpAddr) -> Option<usize> {
        match address {
            IpAddr::V4(v4) => self.v4.get(&v4).copied(),
            IpAddr::V6(v6) => self.v6.get(&v6).copied(),
        }
    }

    pub(super) fn mac(&self, mac: MacAddr) -> Option<usize> {
        self.macs.get(&mac).copied()
    }

    pub(super) fn eni(&self, key: EniKey) -> Option<usize> {
        self.enis.get(&key).copied()
    }

    pub(super) fn service(&self, key: ServiceKey) -> Option<usize> {
        self.services.get(&key).copied()
    }

    pub(super) fn service_at(&self, address: IpAddr) -> Option<ServiceKey> {
        self.service_addresses.get(&address).copied()
    }
}

fn map<K: Hash + Eq, V>(pairs: impl Iterator<Item = (K, V)>) -> Map<K, V> {
    pairs.collect()
}
