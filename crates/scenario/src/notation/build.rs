//! From a [`PacketSpec`] to an Ethernet frame: who sends it, and to which MAC address.

use std::net::IpAddr;

use palisade_packet::checksum::pseudo_header;
use palisade_packet::{Body, GsoKind, MacAddr, Offload, VnetHeader, parse};
use palisade_policy::{PortKey, Snapshot};

use super::{BodySpec, Frame, IpSpec, LinkTarget, NotationError, PacketSpec, TransportSpec};

const BROADCAST: MacAddr = MacAddr([0xff; 6]);

impl PacketSpec {
    /// Builds the frame that the sender would put on its link.
    ///
    /// # Errors
    ///
    /// If nobody in the VPC can be the sender, or the packet cannot exist.
    pub fn frame(&self, snapshot: &Snapshot) -> Result<Frame, NotationError> {
        let port = self.sender(snapshot)?;
        if let BodySpec::Raw(bytes) = &self.body {
            let vnet = self.link.vnet.unwrap_or_default();
            return Ok(Frame { port, bytes: bytes.clone(), vnet });
        }
        let own = mac_of(snapshot, port);
        let source = self.link.from_mac.unwrap_or(own);
        let destination = self.next_hop(snapshot, port)?;
        let (ethertype, payload) = self.body.payload(own)?;
        let mut bytes = Vec::with_capacity(payload.len() + 18);
        bytes.extend_from_slice(&destination.0);
        bytes.extend_from_slice(&source.0);
        if let Some(tag) = self.link.vlan {
            bytes.extend_from_slice(&[0x81, 0]);
            bytes.extend_from_slice(&tag.to_be_bytes());
        }
        bytes.extend_from_slice(&ethertype.to_be_bytes());
        bytes.extend_from_slice(&payload);
        let vnet = self.link.vnet.unwrap_or_else(|| self.body.offload(&mut bytes));
        Ok(Frame { port, bytes, vnet })
    }

    fn sender(&self, snapshot: &Snapshot) -> Result<PortKey, NotationError> {
        if let Some(name) = &self.port {
            return port_named(snapshot, name).ok_or_else(|| NotationError::UnknownPort(name.clone()));
        }
        let source = match &self.body {
            BodySpec::Ip(ip) => ip.source,
            BodySpec::Arp(arp) => arp.sender.into(),
            BodySpec::Foreign { .. } | BodySpec::Raw(_) => return Err(NotationError::Anonymous),
        };
        let service = || snapshot.services().iter().find(|service| service.addresses.contains(&source));
        let owner = snapshot.owner(source).map(|eni| PortKey::Eni(eni.key));
        owner
            .or_else(|| service().map(|service| PortKey::Service(service.key)))
            .ok_or(NotationError::NoSender(source))
    }

    /// The destination MAC address: what was written, else the group's address, else what ARP would have answered.
    fn next_hop(&self, snapshot: &Snapshot, port: PortKey) -> Result<MacAddr, NotationError> {
        let subnet = match port {
            PortKey::Eni(key) => snapshot.eni(key).map(|eni| eni.subnet),
            PortKey::Service(_) => None,
        };
        let router = subnet.map(|subnet| snapshot.subnet(subnet).router_mac).unwrap_or_default();
        match (&self.link.to_mac, &self.body) {
            (Some(LinkTarget::Mac(mac)), _) => Ok(*mac),
            (Some(LinkTarget::Port(name)), _) => {
                let port =
                    port_named(snapshot, name).ok_or_else(|| NotationError::UnknownPort(name.clone()))?;
                Ok(mac_of(snapshot, port))
            }
            (Some(LinkTarget::Router), _) | (None, BodySpec::Foreign { .. } | BodySpec::Raw(_)) => Ok(router),
            (None, BodySpec::Arp(_)) => Ok(BROADCAST),
            (None, BodySpec::Ip(ip)) => Ok(group_mac(ip.destination).unwrap_or_else(|| {
                let neighbour = snapshot.owner(ip.destination).filter(|owner| Some(owner.subnet) == subnet);
                neighbour.map_or(router, |owner| owner.mac)
            })),
        }
    }
}

/// Where a stack sends multicast and limited broadcast (RFC 1112 §6.4, RFC 2464 §7).
fn group_mac(address: IpAddr) -> Option<MacAddr> {
    match address {
        IpAddr::V4(address) if address.is_broadcast() => Some(BROADCAST),
        IpAddr::V4(address) if address.is_multicast() => {
            let [_, second, third, fourth] = address.octets();
            Some(MacAddr([1, 0, 0x5e, second & 0x7f, third, fourth]))
        }
        IpAddr::V6(address) if address.is_multicast() => {
            let [.., a, b, c, d] = address.octets();
            Some(MacAddr([0x33, 0x33, a, b, c, d]))
        }
        _ => None,
    }
}

impl BodySpec {
    fn payload(&self, own: MacAddr) -> Result<(u16, Vec<u8>), NotationError> {
        match self {
            Self::Ip(ip) => {
                let bytes = ip.datagram().ok_or(NotationError::TooLong(ip.len))?;
                Ok((if ip.source.is_ipv4() { 0x0800 } else { 0x86dd }, bytes))
            }
            Self::Arp(arp) => Ok((0x0806, arp.bytes(own))),
            Self::Foreign { ethertype, bytes } => Ok((*ethertype, bytes.clone())),
            Self::Raw(bytes) => Ok((0, bytes.clone())),
        }
    }

    /// The virtio-net header of a segmentation-offload frame, whose checksum is left to whoever cuts it.
    fn offload(&self, frame: &mut [u8]) -> VnetHeader {
        let Self::Ip(ip) = self else { return VnetHeader::default() };
        let Some((kind, size)) = ip.segments() else { return VnetHeader::default() };
        let Ok(Body::Ip(packet)) = parse(frame).map(|summary| summary.body) else {
            return VnetHeader::default();
        };
        let header = Offload::Segments { kind, size, ecn: false }.header(&packet);
        let field = usize::from(header.csum_start) + usize::from(header.csum_offset);
        let partial =
            pseudo_header(ip.source, ip.destination, ip.protocol(), packet.transport_len()).folded();
        if let Some(field) = frame.get_mut(field..field + 2).filter(|_| !ip.bad_checksum) {
            field.copy_from_slice(&partial.to_be_bytes());
        }
        header
    }
}

impl IpSpec {
    fn segments(&self) -> Option<(GsoKind, u16)> {
        match &self.transport {
            TransportSpec::Tcp(tcp) if self.source.is_ipv4() => Some((GsoKind::Tcp4, tcp.gso?)),
            TransportSpec::Tcp(tcp) => Some((GsoKind::Tcp6, tcp.gso?)),
            TransportSpec::Udp(udp) => Some((GsoKind::Udp, udp.gso?)),
            TransportSpec::Icmp(_) | TransportSpec::Other(_) => None,
        }
    }
}

/// An ENI by name or id, or a service by name.
pub(crate) fn port_named(snapshot: &Snapshot, name: &str) -> Option<PortKey> {
    let eni = snapshot.eni_named(name).map(|eni| PortKey::Eni(eni.key));
    eni.or_else(|| {
        let service = snapshot.services().iter().find(|service| service.name == name)?;
        Some(PortKey::Service(service.key))
    })
}

fn mac_of(snapshot: &Snapshot, port: PortKey) -> MacAddr {
    match port {
        PortKey::Eni(key) => snapshot.eni(key).map(|eni| eni.mac),
        PortKey::Service(key) => snapshot.service(key).map(|service| service.mac),
    }
    .unwrap_or_default()
}
