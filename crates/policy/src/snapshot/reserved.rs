//! Reserved addresses (RES-1..22v6), as they look from a subnet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::compiled::CompiledSubnet;
use super::keys::ServiceKey;
use crate::model::Vpc;

/// Who answers at an exempt address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reserved {
    /// The implicit router: base + 1, in IPv6 also `fe80:ec2::1` and its EUI-64 link-local address (RES-22v6), unless a
    /// service owns the address.
    Router,
    /// A service attachment.
    Service(ServiceKey),
    /// Nobody (RES-5).
    Unserved,
}

/// Where the resolver answers beside base + 2 of the VPC (RES-16, RES-20v6).
pub(super) const RESOLVERS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 253)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0253)),
];

/// How many addresses at the start of a subnet are reserved and exempt.
const FIRST: u32 = 4;

/// The router's well-known link-local address.
const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0x0ec2, 0, 0, 0, 0, 0, 1);

impl CompiledSubnet {
    /// RES-1 a, b, d and RES-25v6: whether an address is exempt from here, the VPC's DNS address aside.
    pub(super) fn exempts(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => v4.is_link_local() || self.holds_first(v4),
            IpAddr::V6(v6) => is_amazon(v6) || self.holds_first_v6(v6) || self.is_router(address),
        }
    }

    pub(super) fn is_router(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => v4 == self.router_v4,
            IpAddr::V6(v6) => {
                v6 == ROUTER
                    || v6 == self.router_link_local
                    || self.router_v6.is_some_and(|router| router == v6)
            }
        }
    }

    fn holds_first(&self, address: Ipv4Addr) -> bool {
        address.to_bits().wrapping_sub(self.cidr.network().to_bits()) < FIRST
    }

    fn holds_first_v6(&self, address: Ipv6Addr) -> bool {
        let base = self.ipv6_cidr.map(|net| net.network().to_bits());
        base.is_some_and(|base| address.to_bits().wrapping_sub(base) < u128::from(FIRST))
    }
}

/// `fd00:ec2::/32` (RES-20v6).
fn is_amazon(address: Ipv6Addr) -> bool {
    matches!(address.segments(), [0xfd00, 0x0ec2, ..])
}

/// The blocks of all subnets, for the question whether an address is reserved in any (RES-8).
#[derive(Debug)]
pub(super) struct Blocks {
    /// First and last address, ascending; disjoint.
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl Blocks {
    pub(super) fn of(vpc: &Vpc) -> Self {
        let v4 = vpc.subnets.iter().map(|subnet| subnet.cidr);
        let v6 = vpc.subnets.iter().filter_map(|subnet| subnet.ipv6_cidr);
        Self {
            v4: sorted(v4.map(|net| (net.network().to_bits(), net.broadcast().to_bits()))),
            v6: sorted(v6.map(|net| (net.network().to_bits(), net.broadcast().to_bits()))),
        }
    }

    /// One of the first four or the last address of some subnet.
    pub(super) fn reserve(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => {
                let address = v4.to_bits();
                holding(&self.v4, address).is_some_and(|(low, high)| address - low < FIRST || address == high)
            }
            IpAddr::V6(v6) => {
                let address = v6.to_bits();
                let in_first = |low| address - low < u128::from(FIRST);
                holding(&self.v6, address).is_some_and(|(low, high)| in_first(low) || address == high)
            }
        }
    }
}

fn sorted<T: Ord>(blocks: impl Iterator<Item = (T, T)>) -> Box<[(T, T)]> {
    let mut blocks: Vec<_> = blocks.collect();
    blocks.sort_unstable();
    blocks.into()
}

/// The block that holds `value`.
fn holding<T: Copy + Ord>(blocks: &[(T, T)], value: T) -> Option<(T, T)> {
    let after = blocks.partition_point(|&(low, _)| low <= value);
    let block = *blocks.get(after.checked_sub(1)?)?;
    (value <= block.1).then_some(block)
}
