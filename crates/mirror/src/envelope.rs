//! VXLAN (RFC 7348) around a copy: outer Ethernet, IPv4, UDP and VXLAN headers.

use std::hash::BuildHasher;
use std::net::Ipv4Addr;

use foldhash::fast::FixedState;
pub use palisade_packet::build::Link;
use palisade_packet::checksum::seal_ipv4_header;
use palisade_packet::{ETHERNET_LEN, IpPacket, Transport};

/// The UDP port to which copies are sent.
pub const PORT: u16 = 4789;
/// Bytes of outer IP packet before the copied frame.
pub const OVERHEAD: usize = IPV4 + UDP + VXLAN;

const IPV4: usize = 20;
const UDP: usize = 8;
const VXLAN: usize = 8;
/// First of the ports from which copies are sent: 49152 to 65535 (TM-32).
const FIRST_PORT: u16 = 0xc000;
/// The I bit: the network identifier is valid.
const VNI_VALID: u8 = 0x08;

/// What the copies of one session have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// Primary private address of the source ENI (TM-31).
    pub source: Ipv4Addr,
    /// Address of the target.
    pub destination: Ipv4Addr,
    /// VXLAN network identifier; its low 24 bits count.
    pub vni: u32,
    /// Most bytes of a copied frame, Ethernet header included (TM-36).
    pub packet_length: Option<u16>,
    /// Largest IP packet that the target takes; a copy is cut so that it fits (TM-37).
    pub mtu: u16,
}

/// A frame to be copied.
#[derive(Clone, Copy, Debug)]
pub struct Unsealed<'f> {
    /// The frame.
    pub frame: &'f [u8],
    /// What stands in its first bytes in the copy, the two MAC addresses, if they have been replaced since.
    pub addresses: Option<[u8; 12]>,
}

impl Envelope {
    /// Bytes kept of a frame of `len` bytes.
    #[must_use]
    pub fn kept(&self, len: usize) -> usize {
        let room = usize::from(self.mtu).saturating_sub(OVERHEAD);
        len.min(self.packet_length.map_or(usize::MAX, usize::from)).min(room)
    }

    /// Writes the frame that carries a copy into `out`, which is emptied first.
    ///
    /// `identification` should increase from copy to copy (TM-34); `source_port` is that of the packet's flow
    /// ([`source_port`]). What is cut off is missing, nothing in the copy is rewritten (TM-36).
    pub fn seal(
        &self,
        original: Unsealed<'_>,
        link: Link,
        identification: u16,
        source_port: u16,
        out: &mut Vec<u8>,
    ) {
        let Unsealed { frame, addresses } = original;
        let copy = frame.get(..self.kept(frame.len())).unwrap_or(frame);
        // Bounded by the MTU, a 16-bit number.
        let ip_len = u16::try_from(OVERHEAD + copy.len()).unwrap_or(u16::MAX);
        let udp_len = ip_len.saturating_sub(20);
        out.clear();
        out.reserve(ETHERNET_LEN + OVERHEAD + copy.len());
        out.extend_from_slice(&link.destination.0);
        out.extend_from_slice(&link.source.0);
        out.extend_from_slice(&[0x08, 0x00, 0x45, 0]);
        out.extend_from_slice(&ip_len.to_be_bytes());
        out.extend_from_slice(&identification.to_be_bytes());
        out.extend_from_slice(&[0, 0, 64, 17, 0, 0]);
        out.extend_from_slice(&self.source.octets());
        out.extend_from_slice(&self.destination.octets());
        seal_ipv4_header(out.get_mut(ETHERNET_LEN..).unwrap_or_default(), IPV4);
        out.extend_from_slice(&source_port.to_be_bytes());
        out.extend_from_slice(&PORT.to_be_bytes());
        out.extend_from_slice(&udp_len.to_be_bytes());
        // No checksum: TM-32, RFC 7348 §5.
        out.extend_from_slice(&[0, 0, VNI_VALID, 0, 0, 0]);
        let [_, high, middle, low] = self.vni.to_be_bytes();
        out.extend_from_slice(&[high, middle, low, 0]);
        let start = out.len();
        out.extend_from_slice(copy);
        let written = out.get_mut(start..).unwrap_or_default().iter_mut();
        written.zip(addresses.iter().flatten()).for_each(|(byte, was)| *byte = *was);
    }
}

/// The port from which copies of a packet's flow are sent: the same for all packets of one direction, and at every start
/// (TM-32). A later fragment should be shown with the ports of its first one.
#[must_use]
pub fn source_port(packet: &IpPacket) -> u16 {
    let ports = match packet.transport {
        Transport::Tcp(tcp) => (tcp.source, tcp.destination),
        Transport::Udp { source, destination } => (source, destination),
        _ => (0, 0),
    };
    let flow = (packet.source, packet.destination, packet.protocol, ports);
    let [low, high, ..] = FixedState::default().hash_one(flow).to_le_bytes();
    FIRST_PORT | u16::from_le_bytes([low, high])
}
