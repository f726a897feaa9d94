//! A guest: a namespace with one interface, `eth0`, that has an ENI's MAC address and addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::{Netns, tool};

/// How a guest is attached to the daemon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PortKind {
    /// A TAP device that the daemon makes and configures in the guest's namespace.
    Tap,
    /// A veth pair; the daemon takes over the end in its own namespace by a packet socket.
    Packet,
}

/// What a guest is to be.
#[derive(Clone, Debug)]
pub struct GuestPlan {
    /// Name of the guest, its ENI and its group.
    pub name: &'static str,
    /// Subnet: `web` or `data`.
    pub subnet: &'static str,
    /// Attachment.
    pub kind: PortKind,
    /// Last part of its addresses.
    pub host: u8,
    /// MTU of the ENI.
    pub mtu: u16,
    /// Whether the daemon may hand over segmentation-offload frames and partial checksums.
    pub offload: bool,
}

impl GuestPlan {
    /// Third byte of the subnet's IPv4 block and last group of its IPv6 block.
    #[must_use]
    pub fn subnet_number(&self) -> u8 {
        if self.subnet == "web" { 1 } else { 2 }
    }

    /// Its private IPv4 address.
    #[must_use]
    pub fn ipv4(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, self.subnet_number(), self.host)
    }

    /// Its IPv6 address; the last group reads like the last part of the IPv4 address.
    #[must_use]
    pub fn ipv6(&self) -> Ipv6Addr {
        let text = format!("2001:db8:1:{}::{}", self.subnet_number(), self.host);
        text.parse().expect("an address by construction")
    }

    /// Its MAC address.
    #[must_use]
    pub fn mac(&self) -> [u8; 6] {
        [2, 0, 10, 0, self.subnet_number(), self.host]
    }

    /// Interface name of the daemon's end of a veth pair.
    #[must_use]
    pub fn host_device(&self) -> String {
        format!("veth-{}", self.name)
    }
}

/// A guest that exists.
#[derive(Debug)]
pub struct Guest {
    /// What it was planned to be.
    pub plan: GuestPlan,
    /// Its namespace.
    pub netns: Netns,
}

impl Guest {
    /// Makes the namespace and, for a packet attachment, the veth pair with its guest end configured.
    #[must_use]
    pub fn create(plan: GuestPlan, fabric: &Netns) -> Self {
        let guest = Self { netns: Netns::create(plan.name), plan };
        if guest.plan.kind == PortKind::Packet {
            guest.make_veth(fabric);
        }
        guest
    }

    /// Its address of a family.
    #[must_use]
    pub fn address(&self, ipv6: bool) -> IpAddr {
        if ipv6 { self.plan.ipv6().into() } else { self.plan.ipv4().into() }
    }

    /// Switches the large-packet and checksum offloads of `eth0`.
    pub fn set_offloads(&self, on: bool) {
        let state = if on { "on" } else { "off" };
        let line = format!("ethtool -K eth0 tso {state} gso {state} gro {state} tx {state} rx {state}");
        let ran = tool::run(&self.netns, Duration::from_secs(5), &line);
        assert!(ran.ok || ran.err.contains("Could not change any"), "{line}: {}", ran.err);
    }

    /// Packets with a bad checksum that the guest's kernel has seen.
    #[must_use]
    pub fn checksum_errors(&self) -> u64 {
        ["Tcp", "Udp"]
            .iter()
            .map(|prefix| tool::kernel_counter(&self.netns, "snmp", prefix, "InCsumErrors"))
            .sum()
    }

    fn make_veth(&self, fabric: &Netns) {
        let (plan, netns) = (&self.plan, self.netns.name());
        let (device, mtu, mac) = (plan.host_device(), plan.mtu, mac_text(plan.mac()));
        fabric.ip(&format!(
            "link add {device} mtu {mtu} type veth peer name eth0 netns {netns} address {mac} mtu {mtu}"
        ));
        fabric.ip(&format!("link set {device} addrgenmode none"));
        fabric.ip(&format!("link set {device} up"));
        self.netns.ip("link set eth0 up");
        self.netns.ip(&format!("address add {}/24 dev eth0", plan.ipv4()));
        self.netns.ip(&format!("address add {}/64 dev eth0 nodad", plan.ipv6()));
        self.netns.ip(&format!("route add default via 10.0.{}.1", plan.subnet_number()));
        self.netns.ip("route add default via fe80:ec2::1 dev eth0");
    }
}

/// `02:00:0a:00:01:0a`.
#[must_use]
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
