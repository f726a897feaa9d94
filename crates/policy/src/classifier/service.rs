//! Protocol, port, ICMP type and code as one number.
//!
//! Four planes of 65,536 values: TCP by destination port, UDP by destination port, the family's own ICMP by type and
//! code, and everything that has neither by protocol number. So one rule covers one range (seldom two), and a packet
//! is one point.

use palisade_packet::summary::protocol::{ICMP, ICMPV6, TCP, UDP};

use super::span::Span;
use crate::filter::{FilterKey, Match};
use crate::model::Protocol;

const TCP_PLANE: u32 = 0;
const UDP_PLANE: u32 = 1 << 16;
const ICMP_PLANE: u32 = 2 << 16;
const WHOLE_PLANE: u32 = 3 << 16;
const LAST: u32 = (4 << 16) - 1;

/// The planes: of TCP, of UDP, of the family's ICMP, of the rest.
pub(crate) const PLANES: [Span<u32>; 4] =
    [plane(TCP_PLANE), plane(UDP_PLANE), plane(ICMP_PLANE), plane(WHOLE_PLANE)];

/// The service of an ICMP type with code 0.
pub(crate) const fn icmp_type(icmp_type: u8) -> u32 {
    ICMP_PLANE | (icmp_type as u32) << 8
}

/// The point a packet occupies.
#[inline]
pub(crate) fn point(key: &FilterKey) -> u32 {
    match (key.protocol, key.selector) {
        (TCP, Match::Port(port)) => TCP_PLANE | u32::from(port),
        (UDP, Match::Port(port)) => UDP_PLANE | u32::from(port),
        (protocol, Match::Icmp { icmp_type, code }) if protocol == icmp_of(key.address.is_ipv6()) => {
            ICMP_PLANE | u32::from(icmp_type) << 8 | u32::from(code)
        }
        (protocol, _) => WHOLE_PLANE | u32::from(protocol),
    }
}

/// The points a rule covers in one family, disjoint and ascending; none if it can match nothing there (SG-15).
pub(crate) fn covered(protocol: Protocol, ipv6: bool) -> Vec<Span<u32>> {
    match protocol {
        Protocol::All => vec![Span { low: 0, high: LAST }],
        Protocol::Tcp { from, to } => ports(TCP_PLANE, from, to),
        Protocol::Udp { from, to } => ports(UDP_PLANE, from, to),
        Protocol::Icmp { icmp_type, code } if !ipv6 => types(icmp_type, code),
        Protocol::Icmpv6 { icmp_type, code } if ipv6 => types(icmp_type, code),
        Protocol::Icmp { .. } | Protocol::Icmpv6 { .. } => Vec::new(),
        Protocol::Number(number) => whole(number, ipv6),
    }
}

const fn plane(low: u32) -> Span<u32> {
    Span { low, high: low | 0xffff }
}

const fn icmp_of(ipv6: bool) -> u8 {
    if ipv6 { ICMPV6 } else { ICMP }
}

fn ports(plane: u32, from: u16, to: u16) -> Vec<Span<u32>> {
    vec![Span { low: plane | u32::from(from), high: plane | u32::from(to) }]
}

fn types(icmp_type: Option<u8>, code: Option<u8>) -> Vec<Span<u32>> {
    let first = ICMP_PLANE | u32::from(icmp_type.unwrap_or(0)) << 8;
    let last = ICMP_PLANE | u32::from(icmp_type.unwrap_or(u8::MAX)) << 8;
    vec![Span { low: first | u32::from(code.unwrap_or(0)), high: last | u32::from(code.unwrap_or(u8::MAX)) }]
}

fn whole(number: u8, ipv6: bool) -> Vec<Span<u32>> {
    let plane = match number {
        TCP => Some(TCP_PLANE),
        UDP => Some(UDP_PLANE),
        _ if number == icmp_of(ipv6) => Some(ICMP_PLANE),
        _ => None,
    };
    let plane = plane.map(|low| Span { low, high: low | 0xffff });
    plane.into_iter().chain([Span::point(WHOLE_PLANE | u32::from(number))]).collect()
}
