//! IPv4 fragmentation (RFC 791 §3.2, RT-61). IPv6 is never fragmented on the way (RT-62).

use crate::checksum;
use crate::summary::IpPacket;

const RESERVED_AND_DF: u16 = 0xc000;
const MORE_FRAGMENTS: u16 = 0x2000;
const MAX_OFFSET_UNITS: usize = 0x1fff;

/// Why a packet cannot be fragmented.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Unfragmentable {
    /// The DF bit is set, or the packet is IPv6: the sender is told instead (RT-61, RT-62).
    #[error("the packet must not be fragmented")]
    DontFragment,
    /// The MTU does not even hold the header and eight bytes.
    #[error("the MTU is too small for a fragment")]
    MtuTooSmall,
    /// A fragment would have to stand beyond the last offset the header can express, or the frame is not the packet's.
    #[error("the packet is longer than an IPv4 datagram can be")]
    TooLong,
}

/// Emits the packet in fragments of at most `mtu` bytes of IP, in order, each with a complete header checksum and without
/// Ethernet padding; a packet that fits is emitted as it is. `scratch` is overwritten and may be reused between calls.
///
/// A fragment is cut further as RFC 791 says: offsets count on, and the last piece keeps its MF bit. Options without the
/// copied flag are blanked to NOPs in every fragment but the datagram's first. A partial upper-layer checksum
/// must have been completed before ([`checksum::complete`]).
///
/// # Errors
///
/// [`Unfragmentable`]; nothing has been emitted then.
pub fn fragment_ipv4(
    frame: &[u8],
    packet: &IpPacket,
    mtu: u16,
    scratch: &mut Vec<u8>,
    emit: &mut dyn FnMut(&[u8]),
) -> Result<(), Unfragmentable> {
    let upper = checksum::upper_range(packet);
    let payload = frame.get(upper.clone()).ok_or(Unfragmentable::TooLong)?;
    let headers = frame.get(..upper.start).ok_or(Unfragmentable::TooLong)?;
    if packet.ip_len <= u32::from(mtu) {
        emit(frame.get(..upper.end).unwrap_or(frame));
        return Ok(());
    }
    let step = step(packet, mtu)?;
    let first = packet.fragment.map_or(0, |fragment| usize::from(fragment.offset) / 8);
    let count = payload.len().div_ceil(step);
    if first + count.saturating_sub(1) * step / 8 > MAX_OFFSET_UNITS {
        return Err(Unfragmentable::TooLong);
    }
    let more_after = packet.fragment.is_some_and(|fragment| fragment.more);
    for (index, piece) in payload.chunks(step).enumerate() {
        scratch.clear();
        scratch.extend_from_slice(headers);
        scratch.extend_from_slice(piece);
        let more = more_after || index + 1 < count;
        seal(scratch, packet, first + index * step / 8, more);
        emit(scratch);
    }
    Ok(())
}

/// Payload bytes of every fragment but the last: a multiple of eight, above 0.
fn step(packet: &IpPacket, mtu: u16) -> Result<usize, Unfragmentable> {
    if packet.dont_fragment || !packet.is_ipv4() {
        return Err(Unfragmentable::DontFragment);
    }
    let header_len = packet.transport_offset - packet.network_offset;
    let room = mtu.saturating_sub(header_len) & !7;
    if room == 0 { Err(Unfragmentable::MtuTooSmall) } else { Ok(usize::from(room)) }
}

/// Writes length, flags, offset and checksum of a fragment that starts `units` of eight bytes into its datagram.
fn seal(fragment: &mut [u8], packet: &IpPacket, units: usize, more: bool) {
    let header_len = usize::from(packet.transport_offset - packet.network_offset);
    let Some(ip) = fragment.get_mut(usize::from(packet.network_offset)..) else { return };
    checksum::write_field(ip, 2, u16::try_from(ip.len()).unwrap_or(u16::MAX));
    let kept = ip.get(6..).and_then(<[u8]>::first_chunk).map_or(0, |word| u16::from_be_bytes(*word));
    let more = if more { MORE_FRAGMENTS } else { 0 };
    let units = u16::try_from(units).unwrap_or(0); // bounded by MAX_OFFSET_UNITS
    checksum::write_field(ip, 6, kept & RESERVED_AND_DF | more | units);
    if units > 0 {
        blank_uncopied_options(ip.get_mut(20..header_len).unwrap_or_default());
    }
    checksum::seal_ipv4_header(ip, header_len);
}

/// RFC 791 §3.1: only options with the copied flag stand in later fragments. Blanking them keeps the header's length;
/// what cannot be read as options is ended there.
fn blank_uncopied_options(mut options: &mut [u8]) {
    const END: u8 = 0;
    const NOP: u8 = 1;
    const COPIED: u8 = 0x80;
    loop {
        let len = match *options {
            [] | [END, ..] => return,
            [NOP, ..] => 1,
            [_, len, ..] if len >= 2 && usize::from(len) <= options.len() => usize::from(len),
            _ => return options.fill(END),
        };
        let (option, rest) = options.split_at_mut(len);
        if option.first().is_some_and(|kind| kind & COPIED == 0) {
            option.fill(NOP);
        }
        options = rest;
    }
}
