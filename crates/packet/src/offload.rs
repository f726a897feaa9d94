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
    #[inline]
    pub fn check(&self, packet: &PacketSummary) -> Result<Offload, BadOffload> {
        match (self.flags, self.gso_type) {
            (0, Self::GSO_NONE) => Ok(Offload::None),
            _ => self.check_request(packet),
        }
    }

    /// The same of a header that says something.
    #[inline(never)]
    fn check_request(&self, packet: &PacketSummary) -> Result<Offload, BadOffload> {
        match (self.flags, self.gso_type) {
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

/// What a frame is on a wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OnWire {
    /// [`Offload::wire_packets`].
    pub packets: u32,
    /// [`Offload::wire_ip_len`]: some MiB at most, headers of the smallest segments included.
    pub bytes: u32,
    /// [`Offload::largest_ip_len`].
    pub largest: u32,
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

    /// What the frame is on a wire, in one.
    #[must_use]
    #[inline]
    pub fn on_wire(self, packet: &IpPacket) -> OnWire {
        match self {
            Self::Segments { .. } => self.many_on_wire(packet),
            _ => OnWire { packets: 1, bytes: packet.ip_len, largest: packet.ip_len },
        }
    }

    #[inline(never)]
    fn many_on_wire(self, packet: &IpPacket) -> OnWire {
        let bytes = u32::try_from(self.wire_ip_len(packet)).unwrap_or(u32::MAX);
        OnWire { packets: self.wire_packets(packet), bytes, largest: self.largest_ip_len(packet) }
    }

    /// How many packets the frame is on a wire: what counters and flow logs count.
    #[must_use]
    #[inline]
    pub fn wire_packets(self, packet: &IpPacket) -> u32 {
        match self {
            Self::Segments { size, .. } => payload_len(packet).div_ceil(u32::from(size).max(1)).max(1),
            _ => 1,
        }
    }

    /// IP length in bytes of all wire packets together: what flow logs count (FL-14).
    #[must_use]
    #[inline]
    pub fn wire_ip_len(self, packet: &IpPacket) -> u64 {
        match self {
            Self::Segments { .. } => {
                let headers = packet.ip_len - payload_len(packet);
                let others = u64::from(self.wire_packets(packet)) - 1;
                u64::from(packet.ip_len) + others * u64::from(headers)
            }
            _ => packet.ip_len.into(),
        }
    }

    /// IP length in bytes of the largest wire packet: what an MTU is compared with.
    #[must_use]
    #[inline]
    pub fn largest_ip_len(self, packet: &IpPacket) -> u32 {
        match self {
            Self::Segments { size, .. } => {
                let payload = payload_len(packet);
                packet.ip_len - payload + payload.min(u32::from(size))
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;
    use crate::tests::samples::*;

    const NEEDS_CSUM: u8 = VnetHeader::NEEDS_CSUM;
    const TCP_CSUM: (u16, u16) = (34, 16);

    fn tcp4(payload: usize) -> PacketSummary {
        parse(&V4::new(6, &tcp(0x10, &[1; 12], &vec![0; payload])).frame()).unwrap()
    }

    fn tcp6(payload: usize) -> PacketSummary {
        parse(&v6_frame(6, &tcp(0x10, &[], &vec![0; payload]))).unwrap()
    }

    fn udp4(payload: usize) -> PacketSummary {
        parse(&V4::new(17, &udp(&vec![0; payload])).frame()).unwrap()
    }

    fn header(flags: u8, gso_type: u8, gso_size: u16, (csum_start, csum_offset): (u16, u16)) -> VnetHeader {
        VnetHeader { flags, gso_type, hdr_len: 0xffff, gso_size, csum_start, csum_offset }
    }

    fn packet(summary: &PacketSummary) -> &IpPacket {
        match &summary.body {
            Body::Ip(packet) => packet,
            Body::Arp(arp) => panic!("{arp:?}"),
        }
    }

    #[test]
    fn the_layout_is_little_endian() {
        let header = VnetHeader {
            flags: 1,
            gso_type: 4,
            hdr_len: 0x0203,
            gso_size: 0x0405,
            csum_start: 0x0607,
            csum_offset: 0x0809,
        };
        assert_eq!(header.to_bytes(), [1, 4, 3, 2, 5, 4, 7, 6, 9, 8]);
        assert_eq!(VnetHeader::from_bytes(header.to_bytes()), header);
    }

    #[test]
    fn frames_without_offload_need_nothing() {
        assert_eq!(VnetHeader::default().check(&tcp4(0)), Ok(Offload::None));
        assert_eq!(header(2, 0, 0, (0, 0)).check(&tcp4(0)), Ok(Offload::Valid));
        let later = parse(&V4::new(6, &[0; 8]).fragment(9).frame()).unwrap();
        assert_eq!(VnetHeader::default().check(&later), Ok(Offload::None));
        assert_eq!(header(2, 0, 0, (0, 0)).check(&later), Ok(Offload::Valid));
    }

    #[test]
    fn a_partial_checksum_is_the_packet_s_own_or_refused() {
        let check = |at, summary: &PacketSummary| header(NEEDS_CSUM, 0, 0, at).check(summary);
        assert_eq!(check(TCP_CSUM, &tcp4(9)), Ok(Offload::Partial));
        assert_eq!(check((54, 16), &tcp6(9)), Ok(Offload::Partial));
        assert_eq!(check((34, 6), &udp4(9)), Ok(Offload::Partial));
        // The destination port, the IP addresses, the payload, the other protocol's field.
        for at in [(34, 2), (34, 0), (14, 16), (36, 14), (34, 18), (34, 6), (0, 50), (0xffff, 0x33)] {
            assert_eq!(check(at, &tcp4(9)), Err(BadOffload::ChecksumField), "{at:?}");
        }
        assert_eq!(check((34, 16), &udp4(9)), Err(BadOffload::ChecksumField));
        assert_eq!(check(TCP_CSUM, &tcp6(9)), Err(BadOffload::ChecksumField));
    }

    #[test]
    fn only_whole_tcp_and_udp_packets_are_offloaded() {
        let check = |frame: Vec<u8>| header(NEEDS_CSUM, 0, 0, TCP_CSUM).check(&parse(&frame).unwrap());
        assert_eq!(check(V4::new(1, &[8; 40]).frame()), Err(BadOffload::Transport));
        assert_eq!(check(V4::new(132, &[8; 40]).frame()), Err(BadOffload::Transport), "SCTP");
        assert_eq!(check(V4::new(6, &[0; 19]).frame()), Err(BadOffload::Transport), "truncated");
        let first = V4::new(6, &tcp(0x10, &[], &[0; 20])).fragment(MF).frame();
        assert_eq!(check(first), Err(BadOffload::Fragment));
        assert_eq!(check(V4::new(6, &[0; 40]).fragment(5).frame()), Err(BadOffload::Transport));
        let arp = ethernet(0x0806, &[&[0, 1, 8, 0, 6, 4, 0, 1][..], &[9; 20]].concat());
        assert_eq!(check(arp), Err(BadOffload::Transport));
    }

    #[test]
    fn unknown_and_contradictory_flags_are_refused() {
        for flags in [3, 4, 5, 6, 7, 8, 0x10, 0x80, 0xff] {
            assert_eq!(header(flags, 0, 0, TCP_CSUM).check(&tcp4(9)), Err(BadOffload::Flags), "{flags}");
        }
    }

    #[test]
    fn gso_types_fit_their_packets() {
        let check = |gso_type, at, summary: &PacketSummary| header(1, gso_type, 100, at).check(summary);
        let segments = |kind, ecn| Ok(Offload::Segments { kind, size: 100, ecn });
        assert_eq!(check(1, TCP_CSUM, &tcp4(999)), segments(GsoKind::Tcp4, false));
        assert_eq!(check(0x81, TCP_CSUM, &tcp4(999)), segments(GsoKind::Tcp4, true));
        assert_eq!(check(4, (54, 16), &tcp6(999)), segments(GsoKind::Tcp6, false));
        assert_eq!(check(5, (34, 6), &udp4(999)), segments(GsoKind::Udp, false));
        for gso_type in [2, 3, 4, 5, 6, 0x21, 0x41, 0x80, 0x83, 0x84, 0x85, 0xff] {
            assert_eq!(check(gso_type, TCP_CSUM, &tcp4(999)), Err(BadOffload::GsoType), "{gso_type}");
        }
        for gso_type in [1, 3, 4, 0x80, 0x85] {
            assert_eq!(check(gso_type, (34, 6), &udp4(999)), Err(BadOffload::GsoType), "{gso_type}");
        }
        assert_eq!(check(1, (54, 16), &tcp6(999)), Err(BadOffload::GsoType));
    }

    #[test]
    fn segmentation_needs_a_size_and_a_partial_checksum() {
        assert_eq!(header(1, 1, 0, TCP_CSUM).check(&tcp4(999)), Err(BadOffload::GsoSize));
        for flags in [0, 2] {
            let gso = header(flags, 1, 100, TCP_CSUM);
            assert_eq!(gso.check(&tcp4(999)), Err(BadOffload::GsoWithoutChecksum));
        }
    }

    #[test]
    fn a_frame_of_one_segment_is_an_ordinary_packet() {
        assert_eq!(header(1, 1, 100, TCP_CSUM).check(&tcp4(100)), Ok(Offload::Partial));
        assert_eq!(header(1, 1, 100, TCP_CSUM).check(&tcp4(0)), Ok(Offload::Partial));
        let two = Offload::Segments { kind: GsoKind::Tcp4, size: 100, ecn: false };
        assert_eq!(header(1, 1, 100, TCP_CSUM).check(&tcp4(101)), Ok(two));
    }

    #[test]
    fn the_header_sent_is_made_anew() {
        let summary = tcp4(999);
        let offload = header(1, 0x81, 100, TCP_CSUM).check(&summary).unwrap();
        let sent = offload.header(packet(&summary));
        assert_eq!(sent, VnetHeader { hdr_len: 14 + 20 + 32, ..header(1, 0x81, 100, TCP_CSUM) });
        let summary = udp4(9);
        let sent = header(1, 0, 77, (34, 6)).check(&summary).unwrap().header(packet(&summary));
        assert_eq!(sent, VnetHeader { hdr_len: 42, ..header(1, 0, 0, (34, 6)) });
        assert_eq!(Offload::None.header(packet(&summary)), VnetHeader::default());
        assert_eq!(Offload::Valid.header(packet(&summary)), header_of_flags(2));
    }

    fn header_of_flags(flags: u8) -> VnetHeader {
        VnetHeader { flags, ..VnetHeader::default() }
    }

    #[test]
    fn wire_packets_and_their_length_are_counted() {
        let summary = tcp4(1001);
        let packet = packet(&summary);
        let segments = |size| Offload::Segments { kind: GsoKind::Tcp4, size, ecn: false };
        assert_eq!((segments(1000).wire_packets(packet), segments(1000).largest_ip_len(packet)), (2, 1052));
        assert_eq!((segments(100).wire_packets(packet), segments(100).largest_ip_len(packet)), (11, 152));
        assert_eq!(
            (Offload::Partial.wire_packets(packet), Offload::Partial.largest_ip_len(packet)),
            (1, 1053)
        );
        assert_eq!(segments(1000).wire_ip_len(packet), 1052 + 53);
        assert_eq!((segments(2000).wire_ip_len(packet), Offload::Partial.wire_ip_len(packet)), (1053, 1053));
    }
}
