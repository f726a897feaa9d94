//! Upper-layer headers: TCP, UDP, ICMP.

use super::quoted;
use crate::summary::{Fragment, Icmp, InvalidTransport, Tcp, TcpFlags, Transport, protocol};

/// Which IP version carries the header.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// How much of the datagram is there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Span {
    Whole,
    FirstFragment,
}

/// Whether a fragment can be part of a datagram at all (CT-63).
pub(super) fn fits(fragment: &Fragment) -> bool {
    let end = u32::from(fragment.offset) + u32::from(fragment.len);
    end <= 65_535 && (!fragment.more || fragment.len.is_multiple_of(8))
}

/// Reads the header at the start of `upper`, which ends where the IP packet ends.
pub(super) fn read(family: Family, protocol: u8, upper: &[u8], span: Span) -> Transport {
    let header = match (protocol, family) {
        (protocol::TCP, _) => tcp(upper, family, span),
        (protocol::UDP, _) => udp(upper, span),
        (protocol::ICMP, Family::V4) | (protocol::ICMPV6, Family::V6) => {
            icmp(family, upper).ok_or(InvalidTransport::Truncated)
        }
        _ => Ok(Transport::Other),
    };
    header.unwrap_or_else(Transport::Invalid)
}

fn tcp(upper: &[u8], family: Family, span: Span) -> Result<Transport, InvalidTransport> {
    let (h, rest) = upper.split_first_chunk::<20>().ok_or(InvalidTransport::Truncated)?;
    let header_len = (h[12] >> 4) * 4;
    if header_len < 20 {
        return Err(InvalidTransport::Length);
    }
    let options = rest.get(..usize::from(header_len) - 20);
    match (options.is_some(), span, family) {
        // CT-63: an IPv4 first fragment needs 20 bytes only, an IPv6 one its whole header chain.
        (true, ..) | (false, Span::FirstFragment, Family::V4) => {}
        (false, Span::FirstFragment, Family::V6) => return Err(InvalidTransport::Truncated),
        (false, Span::Whole, _) => return Err(InvalidTransport::Length),
    }
    let flags = TcpFlags(h[13]);
    let window_scale =
        if flags.contains(TcpFlags::SYN) { window_scale(options.unwrap_or(rest)) } else { None };
    Ok(Transport::Tcp(Tcp {
        source: u16::from_be_bytes([h[0], h[1]]),
        destination: u16::from_be_bytes([h[2], h[3]]),
        flags,
        sequence: u32::from_be_bytes([h[4], h[5], h[6], h[7]]),
        acknowledgement: u32::from_be_bytes([h[8], h[9], h[10], h[11]]),
        window: u16::from_be_bytes([h[14], h[15]]),
        window_scale,
        header_len,
    }))
}

/// The shift count of RFC 7323 §2.2; a larger one than 14 counts as 14 (§2.3).
fn window_scale(mut options: &[u8]) -> Option<u8> {
    loop {
        options = match *options {
            [] | [0, ..] => return None,
            [1, ref rest @ ..] => rest,
            [3, 3, shift, ..] => return Some(shift.min(14)),
            [_, len, ..] if len >= 2 => options.get(usize::from(len)..)?,
            _ => return None,
        }
    }
}

fn udp(upper: &[u8], span: Span) -> Result<Transport, InvalidTransport> {
    let &[s0, s1, d0, d1, l0, l1, _, _] = upper.first_chunk::<8>().ok_or(InvalidTransport::Truncated)?;
    let len = usize::from(u16::from_be_bytes([l0, l1]));
    let beyond = span == Span::Whole && len > upper.len();
    if len < 8 || beyond {
        return Err(InvalidTransport::Length);
    }
    Ok(Transport::Udp { source: u16::from_be_bytes([s0, s1]), destination: u16::from_be_bytes([d0, d1]) })
}

fn icmp(family: Family, upper: &[u8]) -> Option<Transport> {
    let (header, quote) = upper.split_first_chunk::<8>()?;
    let mut icmp = icmp_header(family, *header);
    if icmp.is_error() {
        icmp.quoted = quoted::read(family, quote);
    }
    Some(Transport::Icmp(icmp))
}

/// The eight bytes that all messages begin with; reads no quotation.
pub(super) fn icmp_header(family: Family, header: [u8; 8]) -> Icmp {
    let [icmp_type, code, _, _, i0, i1, _, _] = header;
    Icmp { v6: family == Family::V6, icmp_type, code, identifier: u16::from_be_bytes([i0, i1]), quoted: None }
}
