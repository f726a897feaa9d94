//! The virtio-net header in front of a frame, and what it may claim.
//!
//! The header is **hostile input**: a guest can write one of its own choice, and whoever completes the checksum it asks for
//! overwrites two bytes of the packet after it was judged. So nothing of a received header is ever passed on. It is
//! compared with the parsed packet and becomes an [`Offload`]; the header to send is made anew from that.

use crate::checksum;
use crate::summary::{Body, IpPacket, PacketSummary, Transport};

/// `struct virtio_net_hdr` of the legacy layout, ten bytes (virtio 1.2, 5.1.6), as a TAP device with `IFF_VNET_HDR` or a
/// packet socket with `PACKET_VNET_HDR` puts it before each frame. Any value may stand in any field.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct VnetHeader {
    /// [`Self::NEEDS_CSUM`], [`Self::DATA_VALID`] or neither; other bits were never negotiated.
    pub flags: u8,
    /// 0 none, 1 `TCPv4`, 4 `TCPv6`, 5 UDP segmentation, +128 for TCP with ECN.
    pub gso_type: u8,
    /// A hint: bytes of headers, Ethernet included. Never believed.
    pub hdr_len: u16,
    /// Payload bytes of one wire packet.
    pub gso_size: u16,
    /// Offset in the frame at which checksumming starts.
    pub csum_start: u16,
    /// Offset of the checksum field from `csum_start`.
    pub csum_offset: u16,
}

impl VnetHeader {
    /// Length on the wire, in bytes.
    pub const LEN: usize = 10;
    /// Flag: the checksum is partial, `csum_start` and `csum_offset` say how to finish it.
    pub const NEEDS_CSUM: u8 = 1;
    /// Flag: the checksum was verified, or the packet never left the machine.
    pub const DATA_VALID: u8 = 2;
    /// `gso_type`: no segmentation.
    pub const GSO_NONE: u8 = 0;
    /// `gso_type`: TCP over IPv4.
    pub const GSO_TCPV4: u8 = 1;
    /// `gso_type`: UDP fragmentation offload, withdrawn from Linux and always refused here.
    pub const GSO_UDP: u8 = 3;
    /// `gso_type`: TCP over IPv6.
    pub const GSO_TCPV6: u8 = 4;
    /// `gso_type`: UDP segmentation, over either IP version.
    pub const GSO_UDP_L4: u8 = 5;
    /// Bit of `gso_type`: the TCP segments carry ECN.
    pub const GSO_ECN: u8 = 0x80;

    /// Reads the little-endian layout.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let [flags, gso_type, h0, h1, g0, g1, s0, s1, o0, o1] = bytes;
        Self {
            flags,
            gso_type,
            hdr_len: u16::from_le_bytes([h0, h1]),
            gso_size: u16::from_le_bytes([g0, g1]),
            csum_start: u16::from_le_bytes([s0, s1]),
            csum_offset: u16::from_le_bytes([o0, o1]),
        }
    }

    /// Writes the little-endian layout.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; Self::LEN] {
        let [h0, h1] = self.hdr_len.to_le_bytes();
        let [g0, g1] = self.gso_size.to_le_bytes();
        let [s0, s1] = self.csum_start.to_le_bytes();
        let [o0, o1] = self.csum_offset.to_le_bytes();
        [self.flags, self.gso_type, h0, h1, g0, g1, s0, s1, o0, o1]
    }

    /// Compares the header with the packet behind it.
    ///
    /// A segmentation frame whose payload fits into one segment is an ordinary packet and comes back as
    /// [`Offload::Partial`]. Linux sends three values of `flags`: 0, [`Self::NEEDS_CSUM`] and, for a frame whose checksum it
    /// has verified, [`Self::DATA_VALID`]; the first two fields after `hdr_len` are then 0, and ignored here.
    ///
    /// # Errors
    ///
    /// [`BadOffload`] if the header asks for anything but the finishing of the packet's own TCP or UDP checksum and, with
    /// it, a segmentation that suits the packet.
    pub fn check(&self, packet: &PacketSummary) -> Result<Offload, BadOffload> {
        match (self.flags, self.gso_type) {
            (0, Self::GSO_NONE) => return Ok(Offload::None),
            (Self::DATA_VALID, Self::GSO_NONE) => return Ok(Offload::Valid),
            (Self::NEEDS_CSUM, _) => {}
            (0 | Self::DATA_VALID, _) => return Err(BadOffload::GsoWithoutChecksum),
            _ => return Err(BadOffload::Flags),
        }
        let Body::Ip(packet) = &packet.body else { return Err(BadOffload::Transport) };
        self.check_checksum(packet)?;
        if self.gso_type == Self::GSO_NONE {
            return Ok(Offload::Partial);
        }
        let (kind, ecn) = self.kind(packet).ok_or(BadOffload::GsoType)?;
        let segments = Offload::Segments { kind, size: self.gso_size, ecn };
        match payload_len(packet) {
            _ if self.gso_size == 0 => Err(BadOffload::GsoSize),
            payload if payload <= u32::from(self.gso_size) => Ok(Offload::Partial),
            _ => Ok(segments),
        }
    }

    fn check_checksum(&self, packet: &IpPacket) -> Result<(), BadOffload> {
        let field = checksum::field_offset(&packet.transport).ok_or(BadOffload::Transport)?;
        if packet.fragment.is_some() {
            return Err(BadOffload::Fragment);
        }
        if self.csum_start != packet.transport_offset || self.csum_offset != field {
            return Err(BadOffload::ChecksumField);
        }
        Ok(())
    }

    /// What the GSO type means for this packet; `None` if it does not fit.
    fn kind(&self, packet: &IpPacket) -> Option<(GsoKind, bool)> {
        let ecn = self.gso_type & Self::GSO_ECN != 0;
        match (self.gso_type & !Self::GSO_ECN, &packet.transport) {
            (Self::GSO_TCPV4, Transport::Tcp(_)) if packet.is_ipv4() => Some((GsoKind::Tcp4, ecn)),
            (Self::GSO_TCPV6, Transport::Tcp(_)) if !packet.is_ipv4() => Some((GsoKind::Tcp6, ecn)),
            (Self::GSO_UDP_L4, Transport::Udp { .. }) if !ecn => Some((GsoKind::Udp, false)),
            _ => None,
        }
    }
}

/// Why a virtio-net header is refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum BadOffload {
    /// Unknown or never negotiated flag bits (receive coalescing, tunnels), or a checksum both partial and valid.
    #[error("the virtio-net header carries flags that were not negotiated or contradict each other")]
    Flags,
    /// A partial checksum of something that is neither a whole TCP nor a whole UDP header.
    #[error("the virtio-net header offloads a packet that is neither TCP nor UDP")]
    Transport,
    /// Offload of a fragment.
    #[error("the virtio-net header offloads a fragment")]
    Fragment,
    /// `csum_start` or `csum_offset` point elsewhere than at the packet's own checksum field.
    #[error("the virtio-net header points at something else than the packet's checksum field")]
    ChecksumField,
    /// Segmentation of a packet whose checksum is not partial.
    #[error("the virtio-net header asks for segmentation of a packet with a complete checksum")]
    GsoWithoutChecksum,
    /// The GSO type is unknown, withdrawn (UDP fragmentation), or does not fit the packet.
    #[error("the GSO type of the virtio-net header does not fit the packet")]
    GsoType,
    /// A GSO size of 0.
    #[error("the GSO size of the virtio-net header is zero")]
    GsoSize,
}

/// What is left to do on a frame before it is fit for a wire: a checked [`VnetHeader`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offload {
    /// Nothing: the checksum is complete as far as its sender knows.
    None,
    /// Nothing, and the sender's kernel says the checksum was verified.
    Valid,
    /// The TCP or UDP checksum field holds the pseudo-header sum only.
    Partial,
    /// Several packets in one frame: a partial checksum, and a payload of more than `size` bytes.
    Segments {
        /// How it is cut.
        kind: GsoKind,
        /// Payload bytes of every wire packet but the last; above 0.
        size: u16,
        /// The TCP segments carry ECN (RFC 3168): CWR belongs to the first one only.
        ecn: bool,
    },
}

/// How a segmentation frame is cut.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum GsoKind {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP datagrams of one flow over either IP version (USO, Linux `UDP_SEGMENT`).
    Udp,
}

impl Offload {
    /// The header to send before the frame; `hdr_len` is computed from the packet.
    #[must_use]
    pub fn header(self, packet: &IpPacket) -> VnetHeader {
        match self {
            Self::None => VnetHeader::default(),
            Self::Valid => VnetHeader { flags: VnetHeader::DATA_VALID, ..VnetHeader::default() },
            Self::Partial => partial(packet),
            Self::Segments { kind, size, ecn } => {
                let ecn = if ecn { VnetHeader::GSO_ECN } else { 0 };
                VnetHeader { gso_type: kind.gso_type() | ecn, gso_size: size, ..partial(packet) }
            }
        }
    }

    /// How many packets the frame is on a wire: what counters and flow logs count.
    #[must_use]
    pub fn wire_packets(self, packet: &IpPacket) -> u32 {
        match self {
            Self::Segments { size, .. } => payload_len(packet).div_ceil(u32::from(size).max(1)).max(1),
            _ => 1,
        }
    }

    /// IP length in bytes of the largest wire packet: what an MTU is compared with.
    #[must_use]
    pub fn largest_ip_len(self, packet: &IpPacket) -> u32 {
        let payload = payload_len(packet);
        match self {
            Self::Segments { size, .. } => packet.ip_len - payload + payload.min(u32::from(size)),
            _ => packet.ip_len,
        }
    }
}

impl GsoKind {
    const fn gso_type(self) -> u8 {
        match self {
            Self::Tcp4 => VnetHeader::GSO_TCPV4,
            Self::Tcp6 => VnetHeader::GSO_TCPV6,
            Self::Udp => VnetHeader::GSO_UDP_L4,
        }
    }
}

fn partial(packet: &IpPacket) -> VnetHeader {
    VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        hdr_len: packet.transport_offset + transport_header_len(packet),
        csum_start: packet.transport_offset,
        csum_offset: checksum::field_offset(&packet.transport).unwrap_or(0),
        ..VnetHeader::default()
    }
}

/// Length of the TCP or UDP header in bytes, 0 for everything else.
pub(crate) const fn transport_header_len(packet: &IpPacket) -> u16 {
    match packet.transport {
        Transport::Tcp(tcp) => tcp.header_len as u16,
        Transport::Udp { .. } => 8,
        _ => 0,
    }
}

/// Bytes behind the TCP or UDP header.
fn payload_len(packet: &IpPacket) -> u32 {
    packet.transport_len().saturating_sub(u32::from(transport_header_len(packet)))
}
