//! Joining the segments of a bulk transfer, or the datagrams of a flow, into one segmentation-offload frame: the reverse
//! of [`crate::segment()`].
//!
//! A receiver's stack pays per frame, not per byte, and pays it inside the write to its device. So consecutive segments
//! of one flow go out as one frame. Only what [`crate::segment()`] would restore byte for byte is joined: the same link,
//! network and transport headers but for what counts up (sequence number, IPv4 identification) and the PSH that ends a
//! train; equal payloads but for the last; no SYN, FIN, RST, URG or CWR; no datagram without a checksum; no padding, no
//! options below TCP or UDP, no extension header. A complete checksum is verified first, since the joined frame's is made
//! anew: damage must stay visible.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::ETHERNET_LEN;
use crate::checksum::{self, Sum};
use crate::offload::{GsoKind, Offload, VnetHeader, transport_header_len};
use crate::summary::{IpPacket, TcpFlags, Transport, protocol};

/// Where the parts of a TCP segment or UDP datagram are in its frame, and whether it may travel in a train at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    transport: u16,
    payload: u16,
    end: u16,
    upper: Upper,
    ipv4: bool,
    partial: bool,
    joinable: bool,
}

/// What is cut into segments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Upper {
    Tcp(TcpFlags),
    Udp,
}

const IP: usize = ETHERNET_LEN;
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;

impl Segment {
    /// What a frame is to a train; `None` for anything but a TCP segment or a UDP datagram. Those that may not be joined are
    /// told too, because they end the train of their flow.
    #[must_use]
    pub fn of(frame_len: usize, packet: &IpPacket, offload: Offload) -> Option<Self> {
        let (upper, plain) = match packet.transport {
            Transport::Tcp(tcp) => {
                let plain = tcp.flags.0 & !(TcpFlags::PSH.0 | TcpFlags::ECE.0) == TcpFlags::ACK.0;
                (Upper::Tcp(tcp.flags), plain)
            }
            Transport::Udp { .. } => (Upper::Udp, true),
            _ => return None,
        };
        let ipv4 = packet.is_ipv4();
        let header = if ipv4 { IPV4_HEADER } else { IPV6_HEADER };
        let end = usize::from(packet.network_offset).checked_add(usize::try_from(packet.ip_len).ok()?)?;
        let payload = packet.transport_offset.checked_add(transport_header_len(packet))?;
        let end = u16::try_from(end).ok();
        let joinable = plain
            && packet.fragment.is_none()
            && usize::from(packet.network_offset) == IP
            && usize::from(packet.transport_offset) == IP + header
            && end.is_some_and(|end| payload < end && usize::from(end) == frame_len)
            && !matches!(offload, Offload::Segments { .. });
        Some(Self {
            transport: packet.transport_offset,
            payload,
            end: end.unwrap_or_default(),
            upper,
            ipv4,
            partial: offload == Offload::Partial,
            joinable,
        })
    }

    /// Whether it is a UDP datagram; otherwise it is a TCP segment.
    #[must_use]
    pub const fn is_udp(&self) -> bool {
        matches!(self.upper, Upper::Udp)
    }

    /// Offset in the frame of the TCP or UDP payload.
    #[must_use]
    pub const fn payload_start(&self) -> usize {
        self.payload as usize
    }

    fn payload_len(&self) -> u16 {
        self.end.saturating_sub(self.payload)
    }

    fn pushes(&self) -> bool {
        matches!(self.upper, Upper::Tcp(flags) if flags.contains(TcpFlags::PSH))
    }

    /// Addresses and ports, as they stand in the frame.
    fn flow<'f>(&self, frame: &'f [u8]) -> Option<(&'f [u8], &'f [u8])> {
        let transport = usize::from(self.transport);
        let addresses = if self.ipv4 { IP + 12..IP + 20 } else { IP + 8..IP + 40 };
        Some((frame.get(addresses)?, frame.get(transport..transport + 4)?))
    }

    /// Whether its checksums are what [`crate::segment()`] would write.
    fn is_sound(&self, frame: &[u8]) -> bool {
        let transport = usize::from(self.transport);
        let (Some(ip), Some(upper)) = (frame.get(IP..transport), frame.get(transport..)) else {
            return false;
        };
        let header = !self.ipv4 || (Sum::ZERO.bytes(ip).checksum() == 0 && field(ip, 10) != 0xffff);
        // 0 and 0xffff are one number: TCP writes the first, UDP the second, since its 0 means that there is no checksum.
        let never = if self.is_udp() { 0 } else { 0xffff };
        header
            && (self.partial
                || (field(upper, self.upper.checksum()) != never && self.sum(frame, upper) == 0xffff))
    }

    fn sum(&self, frame: &[u8], upper: &[u8]) -> u16 {
        let len = u32::try_from(upper.len()).unwrap_or(u32::MAX);
        let Some((source, destination)) = self.addresses(frame) else { return 0 };
        let pseudo = checksum::pseudo_header(source, destination, self.upper.protocol(), len);
        pseudo.with(Sum::ZERO.bytes(upper)).folded()
    }

    fn addresses(&self, frame: &[u8]) -> Option<(IpAddr, IpAddr)> {
        let ip = frame.get(IP..)?;
        if self.ipv4 {
            let at =
                |at: usize| ip.get(at..)?.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets).into());
            Some((at(12)?, at(16)?))
        } else {
            let at =
                |at: usize| ip.get(at..)?.first_chunk::<16>().map(|octets| Ipv6Addr::from(*octets).into());
            Some((at(8)?, at(24)?))
        }
    }
}

impl Upper {
    const fn protocol(self) -> u8 {
        match self {
            Self::Tcp(_) => protocol::TCP,
            Self::Udp => protocol::UDP,
        }
    }

    /// Offset of the checksum in the header.
    const fn checksum(self) -> usize {
        match self {
            Self::Tcp(_) => 16,
            Self::Udp => 6,
        }
    }
}

/// Segments of one flow that follow each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Train {
    first: Segment,
    /// Payload of every segment but the last, in bytes.
    size: u16,
    /// What the next segment must carry; 0 of UDP.
    sequence: u32,
    identification: u16,
    segments: u16,
    /// Bytes of IP packet, all together.
    ip_len: u32,
    /// The last one carries PSH.
    pushed: bool,
    /// Nothing follows a shorter segment or a PSH.
    open: bool,
}

impl Train {
    /// A train of one segment, if others may follow it. Its checksum is not verified until one does.
    #[must_use]
    pub fn begin(frame: &[u8], segment: Segment) -> Option<Self> {
        let open = segment.joinable && !segment.pushes();
        let upper = frame.get(usize::from(segment.transport)..).filter(|_| open)?;
        let size = segment.payload_len();
        let identification = if segment.ipv4 { field(frame.get(IP..)?, 4) } else { 0 };
        Some(Self {
            first: segment,
            size,
            sequence: if segment.is_udp() { 0 } else { long(upper, 4)?.wrapping_add(size.into()) },
            identification: identification.wrapping_add(1),
            segments: 1,
            ip_len: u32::from(segment.end.saturating_sub(crate::NETWORK_OFFSET)),
            pushed: false,
            open,
        })
    }

    /// Whether a segment belongs to the flow of the train, which `head` began.
    #[must_use]
    pub fn is_of_flow(&self, head: &[u8], frame: &[u8], segment: &Segment) -> bool {
        (self.first.ipv4, self.first.is_udp()) == (segment.ipv4, segment.is_udp())
            && segment.flow(frame).is_some_and(|flow| self.first.flow(head) == Some(flow))
    }

    /// Joins a segment of the flow; false if it cannot be, and then the train has ended.
    #[must_use]
    pub fn join(&mut self, head: &[u8], frame: &[u8], segment: Segment) -> bool {
        let len = segment.payload_len();
        let fits = self.open
            && segment.joinable
            && len <= self.size
            && u16::try_from(self.ip_len + u32::from(len)).is_ok()
            && self.continues(head, frame, segment)
            && (self.segments > 1 || self.first.is_sound(head))
            && segment.is_sound(frame);
        self.open = fits && len == self.size && !segment.pushes();
        if fits {
            self.sequence = self.sequence.wrapping_add(len.into());
            self.identification = self.identification.wrapping_add(1);
            self.segments += 1;
            self.ip_len += u32::from(len);
            self.pushed = segment.pushes();
        }
        fits
    }

    /// Segments so far.
    #[must_use]
    pub const fn segments(&self) -> u16 {
        self.segments
    }

    /// What is left to do on the joined frame.
    #[must_use]
    pub const fn offload(&self) -> Offload {
        let kind = match self.first.upper {
            Upper::Udp => GsoKind::Udp,
            Upper::Tcp(_) if self.first.ipv4 => GsoKind::Tcp4,
            Upper::Tcp(_) => GsoKind::Tcp6,
        };
        Offload::Segments { kind, size: self.size, ecn: false }
    }

    /// The virtio-net header of the joined frame.
    #[must_use]
    pub fn vnet(&self) -> VnetHeader {
        let gso_type = match self.first.upper {
            Upper::Udp => VnetHeader::GSO_UDP_L4,
            Upper::Tcp(_) if self.first.ipv4 => VnetHeader::GSO_TCPV4,
            Upper::Tcp(_) => VnetHeader::GSO_TCPV6,
        };
        VnetHeader {
            flags: VnetHeader::NEEDS_CSUM,
            gso_type,
            hdr_len: self.first.payload,
            gso_size: self.size,
            csum_start: self.first.transport,
            csum_offset: if self.first.is_udp() { 6 } else { 16 },
        }
    }

    /// Appends the headers of the joined frame, which the payloads follow. `head` is the frame of the first segment.
    pub fn write_head(&self, head: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(head.get(..usize::from(self.first.payload)).unwrap_or_default());
        let Some(ip) = out.get_mut(start + IP..) else { return };
        let [_, _, high, low] = self.ip_len.to_be_bytes();
        let ip_len = u16::from_be_bytes([high, low]);
        let header = usize::from(self.first.transport) - IP;
        if self.first.ipv4 {
            checksum::write_field(ip, 2, ip_len);
            checksum::seal_ipv4_header(ip, header);
        } else {
            checksum::write_field(ip, 4, ip_len.saturating_sub(40));
        }
        let Some(upper) = ip.get_mut(header..) else { return };
        let upper_len = self.ip_len - u32::try_from(header).unwrap_or_default();
        if self.first.is_udp() {
            checksum::write_field(upper, 4, u16::try_from(upper_len).unwrap_or(u16::MAX));
        } else if let Some(flags) = upper.get_mut(13).filter(|_| self.pushed) {
            *flags |= TcpFlags::PSH.0;
        }
        let Some((source, destination)) = self.first.addresses(head) else { return };
        let pseudo = checksum::pseudo_header(source, destination, self.first.upper.protocol(), upper_len);
        checksum::write_field(upper, self.first.upper.checksum(), pseudo.folded());
    }

    /// Whether every header says what the head's says, and what counts up has counted up by one segment.
    fn continues(&self, head: &[u8], frame: &[u8], segment: Segment) -> bool {
        let same_place = (segment.transport, segment.payload, segment.partial)
            == (self.first.transport, self.first.payload, self.first.partial);
        let (headers, transport) = (usize::from(self.first.payload), usize::from(self.first.transport));
        let (Some(ours), Some(theirs)) = (head.get(..headers), frame.get(..headers)) else { return false };
        let same = |range: std::ops::Range<usize>| ours.get(range.clone()) == theirs.get(range);
        let network = if self.first.ipv4 {
            // Version, header length, DSCP and ECN; fragment bits, TTL, protocol; addresses.
            same(0..IP + 2)
                && same(IP + 6..IP + 10)
                && same(IP + 12..IP + 20)
                && theirs.get(IP..).is_some_and(|ip| field(ip, 4) == self.identification)
        } else {
            same(0..IP + 4) && same(IP + 6..IP + 40)
        };
        let psh = |flags: TcpFlags| flags.0 & !TcpFlags::PSH.0;
        let (ours, theirs) = (ours.get(transport..), theirs.get(transport..));
        let upper = match (self.first.upper, segment.upper) {
            (Upper::Tcp(first), Upper::Tcp(flags)) => {
                theirs.and_then(|tcp| long(tcp, 4)) == Some(self.sequence)
                    && same(transport + 8..transport + 13)
                    && psh(flags) == psh(first)
                    && same(transport + 14..transport + 16)
                    && same(transport + 18..headers)
            }
            // A length that is not the datagram's own would not be restored.
            (Upper::Udp, Upper::Udp) => {
                let says = |udp: Option<&[u8]>, len: u16| udp.is_some_and(|udp| field(udp, 4) == len + 8);
                says(ours, self.size) && says(theirs, segment.payload_len())
            }
            _ => false,
        };
        same_place && network && same(transport..transport + 4) && upper
    }
}

fn field(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |field| u16::from_be_bytes(*field))
}

fn long(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_be_bytes(*word))
}
