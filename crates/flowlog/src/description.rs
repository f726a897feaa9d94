//! What records, and those who watch, are told of an ENI besides its flows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use palisade_policy::model::{EniIndex, Profile, Vpc};

/// An ENI as it was in some generations of the policy: everything that its records print, and its name. It outlives the ENI for as long as
/// records may still speak of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Description {
    /// Its name in the configuration, for people.
    pub name: String,
    /// `eni-…`.
    pub eni: String,
    /// `subnet-…`.
    pub subnet: String,
    /// `vpc-…`.
    pub vpc: String,
    /// `i-…`.
    pub instance: String,
    /// Twelve digits.
    pub account: String,
    /// Such as `us-east-1`.
    pub region: String,
    /// Primary private address, which stands for all of the ENI's IPv4 addresses (FL-41).
    pub address: Ipv4Addr,
    /// IPv6 addresses.
    pub ipv6: Box<[Ipv6Addr]>,
    /// Longest aggregation interval in seconds, if the hardware profile has one (FL-10).
    pub longest_interval: Option<u32>,
}

impl Description {
    /// An ENI of a VPC.
    #[must_use]
    pub fn of(vpc: &Vpc, index: EniIndex) -> Self {
        let eni = &vpc[index];
        let instance = &vpc[eni.instance];
        Self {
            name: eni.name.clone(),
            eni: eni.id.clone(),
            subnet: vpc[eni.subnet].id.clone(),
            vpc: vpc.id.clone(),
            instance: instance.id.clone(),
            account: vpc.account.clone(),
            region: vpc.region.clone(),
            address: eni.address,
            ipv6: eni.ipv6_addresses.as_slice().into(),
            longest_interval: match instance.profile {
                Profile::Nitro => Some(60),
                Profile::NitroV6 => None,
            },
        }
    }

    /// What `srcaddr` or `dstaddr` prints for the ENI's side of a packet that used `address`; `None`: nothing (FL-41).
    #[must_use]
    pub fn own_address(&self, address: IpAddr) -> Option<IpAddr> {
        match address {
            IpAddr::V4(_) => Some(self.address.into()),
            IpAddr::V6(used) if self.ipv6.contains(&used) => Some(address),
            IpAddr::V6(_) => self.ipv6.first().copied().map(IpAddr::V6),
        }
    }
}
