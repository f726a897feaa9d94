//! Cutting a segmentation-offload frame into wire packets, for outlets that cannot take it whole.
//!
//! What Linux does in `tcp_gso_segment` and `__udp_gso_segment`, with complete checksums at the end.

use crate::ETHERNET_LEN;
use crate::checksum::{self, Sum};
use crate::offload::{GsoKind, transport_header_len};
use crate::summary::{IpPacket, TcpFlags, Transport};

/// Emits the wire packets of a frame whose offload is [`crate::Offload::Segments`], in order, each with complete
/// checksums, without Ethernet padding. `scratch` is overwritten and may be reused between calls.
///
/// Every packet but the last carries `size` bytes of payload, fewer if an IP packet could not hold them. TCP: the sequence
/// number advances, FIN and PSH stay on the last segment, CWR on the first (RFC 3168). IPv4: the identification is
/// counted up from the frame's. The checksum in the frame must be partial, as the offload says.
///
/// Emits nothing if `size` is 0, or if `frame` and `kind` are not those that `packet` and its checked offload came from.
pub fn segment(
    frame: &[u8],
    packet: &IpPacket,
    kind: GsoKind,
    size: u16,
    scratch: &mut Vec<u8>,
    emit: &mut dyn FnMut(&[u8]),
) {
    let Some(whole) = Whole::of(frame, packet, kind) else { return };
    let size = usize::from(size).min(whole.most_payload());
    if size == 0 {
        return;
    }
    let count = whole.payload.len().div_ceil(size).max(1);
    for index in 0..count {
        let start = index * size;
        let end = whole.payload.len().min(start + size);
        let payload = whole.payload.get(start..end).unwrap_or_default();
        scratch.clear();
        scratch.extend_from_slice(whole.headers);
        scratch.extend_from_slice(payload);
        whole.patch(scratch, Position { index, start, last: index + 1 == count });
        emit(scratch);
    }
}

/// Where a segment stands in its frame.
#[derive(Clone, Copy)]
struct Position {
    index: usize,
    /// Offset of its payload.
    start: usize,
    last: bool,
}

/// The frame as one, taken apart.
struct Whole<'a> {
    packet: &'a IpPacket,
    /// Everything up to the end of the TCP or UDP header.
    headers: &'a [u8],
    payload: &'a [u8],
    /// The upper-layer length that the sender's pseudo-header sum counts, folded.
    counted_len: u16,
}

impl<'a> Whole<'a> {
    fn of(frame: &'a [u8], packet: &'a IpPacket, kind: GsoKind) -> Option<Self> {
        let fits = match (kind, packet.transport) {
            (GsoKind::Tcp4, Transport::Tcp(_)) => packet.is_ipv4(),
            (GsoKind::Tcp6, Transport::Tcp(_)) => !packet.is_ipv4(),
            (GsoKind::Udp, Transport::Udp { .. }) => true,
            _ => false,
        };
        let range = checksum::upper_range(packet);
        if !fits || packet.fragment.is_some() || range.start < ETHERNET_LEN + 20 {
            return None;
        }
        let upper = frame.get(range.clone())?;
        let headers_end = range.start + usize::from(transport_header_len(packet));
        Some(Self {
            packet,
            headers: frame.get(..headers_end)?,
            payload: frame.get(headers_end..range.end)?,
            counted_len: match kind {
                GsoKind::Udp => u16::from_be_bytes(*upper.get(4..)?.first_chunk()?),
                GsoKind::Tcp4 | GsoKind::Tcp6 => Sum::ZERO.long(packet.transport_len()).folded(),
            },
        })
    }

    /// The payload that fits into one IP packet of 65,535 bytes.
    fn most_payload(&self) -> usize {
        usize::from(u16::MAX).saturating_sub(self.headers.len() - usize::from(self.packet.network_offset))
    }

    fn patch(&self, segment: &mut [u8], position: Position) {
        let (network, transport) = (self.packet.network_offset, self.packet.transport_offset);
        let Some(ip) = segment.get_mut(usize::from(network)..) else { return };
        let ip_header_len = usize::from(transport - network);
        if self.packet.is_ipv4() {
            patch_ipv4(ip, ip_header_len, position.index);
        } else {
            checksum::write_field(ip, 4, saturated(ip.len() - 40));
        }
        if let Some(upper) = ip.get_mut(ip_header_len..) {
            self.patch_upper(upper, position);
        }
    }

    fn patch_upper(&self, upper: &mut [u8], position: Position) {
        let len = saturated(upper.len());
        let field = if let Transport::Tcp(tcp) = self.packet.transport {
            patch_tcp(upper, tcp.sequence, position);
            16
        } else {
            checksum::write_field(upper, 4, len);
            6
        };
        // The field holds the pseudo-header sum of the whole frame: only the length in it differs.
        let sum = Sum::ZERO.bytes(upper).without(self.counted_len).word(len);
        checksum::write_field(upper, field, checksum::sendable(self.packet.protocol, sum.checksum()));
    }
}

fn patch_ipv4(ip: &mut [u8], header_len: usize, index: usize) {
    checksum::write_field(ip, 2, saturated(ip.len()));
    let identification = ip.get(4..).and_then(<[u8]>::first_chunk).map_or(0, |id| u16::from_be_bytes(*id));
    let [low, high, ..] = index.to_le_bytes();
    checksum::write_field(ip, 4, identification.wrapping_add(u16::from_le_bytes([low, high])));
    checksum::seal_ipv4_header(ip, header_len);
}

fn patch_tcp(upper: &mut [u8], sequence: u32, position: Position) {
    let Some(header) = upper.first_chunk_mut::<20>() else { return };
    let advance = u32::try_from(position.start).unwrap_or(0); // a frame is far shorter than 4 GiB
    header[4..8].copy_from_slice(&sequence.wrapping_add(advance).to_be_bytes());
    if !position.last {
        header[13] &= !TcpFlags::FIN.with(TcpFlags::PSH).0;
    }
    if position.index > 0 {
        header[13] &= !TcpFlags::CWR.0;
    }
}

fn saturated(len: usize) -> u16 {
    u16::try_from(len).unwrap_or(u16::MAX)
}
