//! From a [`PacketSpec`] to an Ethernet frame.

use std::net::IpAddr;

use etherparse::{
    IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header, PacketBuilder, TcpHeader, TcpOptionElement,
};
use palisade_packet::{Body, GsoKind, MacAddr, Offload, TcpFlags, VnetHeader, parse};
use palisade_policy::{PortKey, Snapshot};

use super::{Frame, LinkTarget, NotationError, PacketSpec, TcpSpec, TransportSpec};

impl PacketSpec {
    /// Builds the frame that the sender would put on its link.
    ///
    /// # Errors
    ///
    /// If nobody in the VPC can be the sender, or the packet cannot exist.
    pub fn frame(&self, snapshot: &Snapshot) -> Result<Frame, NotationError> {
        let port = self.sender(snapshot)?;
        let own = mac_of(snapshot, port);
        let source = self.from_mac.unwrap_or(own);
        let destination = self.next_hop(snapshot, port)?;
        let bytes = self.ethernet(source, destination).ok_or(NotationError::TooLong(self.len))?;
        let vnet = self.offload(&bytes);
        Ok(Frame { port, bytes, vnet })
    }

    fn sender(&self, snapshot: &Snapshot) -> Result<PortKey, NotationError> {
        if let Some(name) = &self.port {
            return port_named(snapshot, name).ok_or_else(|| NotationError::UnknownPort(name.clone()));
        }
        let service = || snapshot.services().iter().find(|service| service.addresses.contains(&self.source));
        let owner = snapshot.owner(self.source).map(|eni| PortKey::Eni(eni.key));
        owner
            .or_else(|| service().map(|service| PortKey::Service(service.key)))
            .ok_or(NotationError::NoSender(self.source))
    }

    /// The destination MAC address: what was written, else what ARP would have answered.
    fn next_hop(&self, snapshot: &Snapshot, port: PortKey) -> Result<MacAddr, NotationError> {
        let subnet = match port {
            PortKey::Eni(key) => snapshot.eni(key).map(|eni| eni.subnet),
            PortKey::Service(_) => None,
        };
        let router = subnet.map(|subnet| snapshot.subnet(subnet).router_mac).unwrap_or_default();
        match &self.to_mac {
            Some(LinkTarget::Mac(mac)) => Ok(*mac),
            Some(LinkTarget::Port(name)) => {
                let port =
                    port_named(snapshot, name).ok_or_else(|| NotationError::UnknownPort(name.clone()))?;
                Ok(mac_of(snapshot, port))
            }
            Some(LinkTarget::Router) => Ok(router),
            None => {
                let neighbour = snapshot.owner(self.destination).filter(|owner| Some(owner.subnet) == subnet);
                Ok(neighbour.map_or(router, |owner| owner.mac))
            }
        }
    }

    fn ethernet(&self, source: MacAddr, destination: MacAddr) -> Option<Vec<u8>> {
        let payload: Vec<u8> = (0..self.len).map(|at| at.to_be_bytes()[1]).collect();
        let link = PacketBuilder::ethernet2(source.0, destination.0);
        let ip = link.ip(self.ip_header());
        let mut out = Vec::with_capacity(usize::from(self.len) + 100);
        match &self.transport {
            TransportSpec::Tcp(tcp) => ip.tcp_header(tcp.header()?).write(&mut out, &payload),
            TransportSpec::Udp { source, destination } => {
                ip.udp(*source, *destination).write(&mut out, &payload)
            }
            TransportSpec::Icmp { icmp_type, code, id } => {
                let [high, low] = id.to_be_bytes();
                let rest = [high, low, 0, 1];
                if self.source.is_ipv4() {
                    ip.icmpv4_raw(*icmp_type, *code, rest).write(&mut out, &payload)
                } else {
                    ip.icmpv6_raw(*icmp_type, *code, rest).write(&mut out, &payload)
                }
            }
            TransportSpec::Other(number) => ip.write(&mut out, IpNumber(*number), &payload),
        }
        .ok()?;
        Some(out)
    }

    fn ip_header(&self) -> etherparse::IpHeaders {
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let header = Ipv4Header {
                    source: source.octets(),
                    destination: destination.octets(),
                    time_to_live: self.ttl,
                    dont_fragment: self.dont_fragment,
                    ..Ipv4Header::default()
                };
                etherparse::IpHeaders::Ipv4(header, etherparse::Ipv4Extensions::default())
            }
            (source, destination) => {
                let octets = |address: IpAddr| match address {
                    IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                    IpAddr::V6(v6) => v6.octets(),
                };
                let header = Ipv6Header {
                    flow_label: Ipv6FlowLabel::ZERO,
                    source: octets(source),
                    destination: octets(destination),
                    hop_limit: self.ttl,
                    ..Ipv6Header::default()
                };
                etherparse::IpHeaders::Ipv6(header, etherparse::Ipv6Extensions::default())
            }
        }
    }

    fn offload(&self, frame: &[u8]) -> VnetHeader {
        let TransportSpec::Tcp(TcpSpec { gso: Some(size), .. }) = self.transport else {
            return VnetHeader::default();
        };
        let kind = if self.source.is_ipv4() { GsoKind::Tcp4 } else { GsoKind::Tcp6 };
        match parse(frame).map(|summary| summary.body) {
            Ok(Body::Ip(ip)) => Offload::Segments { kind, size, ecn: false }.header(&ip),
            _ => VnetHeader::default(),
        }
    }
}

impl TcpSpec {
    fn header(&self) -> Option<TcpHeader> {
        let mut header = TcpHeader::new(self.source, self.destination, self.sequence, self.window);
        let has = |flag| self.flags.contains(flag);
        header.fin = has(TcpFlags::FIN);
        header.syn = has(TcpFlags::SYN);
        header.rst = has(TcpFlags::RST);
        header.psh = has(TcpFlags::PSH);
        header.ack = has(TcpFlags::ACK);
        header.urg = has(TcpFlags::URG);
        header.ece = has(TcpFlags::ECE);
        header.cwr = has(TcpFlags::CWR);
        header.acknowledgment_number = self.acknowledgement;
        if let Some(shift) = self.window_scale {
            header.set_options(&[TcpOptionElement::WindowScale(shift)]).ok()?;
        }
        Some(header)
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
