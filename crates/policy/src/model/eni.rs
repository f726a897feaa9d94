//! Elastic network interfaces, the instances they belong to, and service attachments.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use palisade_packet::MacAddr;

use super::{GroupIndex, InstanceIndex, SubnetIndex};

/// An elastic network interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Eni {
    /// `eni-…`.
    pub id: String,
    /// Name in the configuration file.
    pub name: String,
    /// Its subnet.
    pub subnet: SubnetIndex,
    /// Its instance.
    pub instance: InstanceIndex,
    /// MAC address, unique in the VPC.
    pub mac: MacAddr,
    /// Primary private IPv4 address.
    pub address: Ipv4Addr,
    /// Secondary private IPv4 addresses.
    pub secondary_addresses: Vec<Ipv4Addr>,
    /// IPv6 addresses.
    pub ipv6_addresses: Vec<Ipv6Addr>,
    /// Security groups, at least one (SG-7).
    pub groups: Vec<GroupIndex>,
    /// Source/destination check (RES-42).
    pub source_dest_check: bool,
    /// Maximum transmission unit in bytes of IP packet, 68 to 9001 (1280 at least with an IPv6 address).
    pub mtu: u16,
    /// Idle time-outs of tracked connections.
    pub connection_tracking: ConnectionTracking,
    /// The device it is attached to.
    pub attachment: Attachment,
    /// Number of the worker that receives from the device, from 0; `None`: the one with the fewest ports.
    pub worker: Option<usize>,
}

impl Eni {
    /// Every address: primary, secondary, IPv6.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let v4 =
            std::iter::once(self.address).chain(self.secondary_addresses.iter().copied()).map(IpAddr::V4);
        v4.chain(self.ipv6_addresses.iter().copied().map(IpAddr::V6))
    }
}

/// Idle time-outs that can be set per ENI (CT-30..32).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectionTracking {
    /// Established TCP, 60 s to 432,000 s.
    pub tcp_established: Duration,
    /// UDP with one request and answer at most, 30 s to 60 s.
    pub udp: Duration,
    /// UDP after the second completed transaction, 60 s to 180 s.
    pub udp_stream: Duration,
}

impl ConnectionTracking {
    /// AWS's defaults for a profile.
    #[must_use]
    pub const fn defaults(profile: Profile) -> Self {
        let tcp_established = match profile {
            Profile::Nitro => 432_000,
            Profile::NitroV6 => 350,
        };
        Self {
            tcp_established: Duration::from_secs(tcp_established),
            udp: Duration::from_secs(30),
            udp_stream: Duration::from_mins(3),
        }
    }
}

/// Generation of the instance's hardware, as far as time-outs depend on it (CT-30).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Profile {
    /// Established TCP idles for five days.
    #[default]
    Nitro,
    /// Established TCP idles for 350 s.
    NitroV6,
}

/// An instance: the ENIs that share one tracking allowance (CT-70).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Instance {
    /// `i-…`.
    pub id: String,
    /// Name in the configuration file; an ENI that no instance names has one of its own name.
    pub name: String,
    /// Most tracked connections, its ENIs together.
    pub max_tracked: u32,
    /// Hardware profile.
    pub profile: Profile,
}

/// The device an ENI or a service is attached to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Attachment {
    /// A TAP device that the daemon makes.
    Tap {
        /// Interface name, at most 15 bytes.
        device: String,
        /// Network namespace to make it in, by its name under `/run/netns`; `None`: the daemon's.
        netns: Option<String>,
        /// Whether to set addresses, routes and link state there.
        configure: bool,
        /// Whether the device takes segmentation-offload frames and partial checksums.
        offload: bool,
    },
    /// An existing interface, taken over by a packet socket.
    Packet {
        /// Interface name.
        device: String,
        /// Whether frames may be handed over with segmentation offload and partial checksums.
        offload: bool,
    },
}

impl Attachment {
    /// Name of the interface.
    #[must_use]
    pub fn device(&self) -> &str {
        match self {
            Self::Tap { device, .. } | Self::Packet { device, .. } => device,
        }
    }

    /// Network namespace of the interface, if it is not the daemon's.
    #[must_use]
    pub fn netns(&self) -> Option<&str> {
        match self {
            Self::Tap { netns, .. } => netns.as_deref(),
            Self::Packet { .. } => None,
        }
    }
}

impl Service {
    /// MTU of every service's link in bytes of IP packet: what any device carries. Guests learn it from the fabric's
    /// ICMP errors and from the services' own maximum segment size.
    pub const MTU: u16 = 1500;
}

/// A service attachment: a device that owns reserved addresses (RES-1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Service {
    /// Name in the configuration file.
    pub name: String,
    /// MAC address, derived from the name.
    pub mac: MacAddr,
    /// Reserved addresses it answers on; in 169.254.0.0/16, the first four of a subnet, the VPC's DNS address,
    /// `fd00:ec2::/32` or the first four of an IPv6 subnet.
    pub addresses: Vec<IpAddr>,
    /// The device.
    pub attachment: Attachment,
    /// Number of the worker that receives from the device, from 0; `None`: the one with the fewest ports.
    pub worker: Option<usize>,
}
