//! What is asked of a device before it is opened.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use palisade_packet::MacAddr;

/// A TAP device to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TapSpec {
    /// Interface name, 1 to 15 bytes.
    pub device: String,
    /// Network namespace to make it in, by its name under `/run/netns`; `None`: the caller's.
    pub netns: Option<String>,
    /// MAC address of the interface, which is the guest's own.
    pub mac: MacAddr,
    /// Maximum transmission unit in bytes of IP packet, 68 to 65,521.
    pub mtu: u16,
    /// Whether the guest may hand over segmentation-offload frames and partial checksums, and is given them.
    pub offload: bool,
    /// Addresses and routes to set in the namespace; the link and `lo` are then set up as well.
    pub setup: Option<NetworkSetup>,
}

/// What a guest's own network configuration would be.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NetworkSetup {
    /// Addresses with the prefix length of their subnet, the primary one first. IPv6 ones are used at once, without
    /// duplicate address detection: the fabric knows that they are unique.
    pub addresses: Vec<IpNet>,
    /// Default routes.
    pub routes: DefaultRoutes,
}

/// Where packets without a better route go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DefaultRoutes {
    /// No default route.
    #[default]
    None,
    /// Through a gateway on the subnet, per family.
    Via {
        /// IPv4 gateway.
        v4: Option<Ipv4Addr>,
        /// IPv6 gateway.
        v6: Option<Ipv6Addr>,
    },
    /// Straight through the device, for each family that has an address: for a service, whose peers the fabric
    /// resolves.
    OnLink,
}

/// An existing interface to be taken over by a packet socket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PacketSpec {
    /// Interface name, 1 to 15 bytes.
    pub device: String,
    /// Network namespace of the interface, by its name under `/run/netns`; `None`: the caller's.
    pub netns: Option<String>,
    /// Maximum transmission unit that the interface must have at least, in bytes of IP packet.
    pub mtu: u16,
    /// Whether frames may be handed over with segmentation offload and partial checksums.
    pub offload: bool,
    /// How the kernel's own stack is kept off the interface.
    pub takeover: TakeoverMethod,
}

/// How the kernel's own stack is kept off an interface.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum TakeoverMethod {
    /// tcx; where the kernel lacks it, nftables.
    #[default]
    Auto,
    /// A BPF program at the interface's tcx hooks (Linux 6.6).
    Tcx,
    /// An nftables table of family `netdev`, held by an `nft` process (Linux 5.16 and nft 1.0.1).
    Nftables,
}
