//! The packet quoted in an ICMP error, read leniently: it is cut off somewhere and routers may have changed it (CT-53).
//!
//! Lengths and checksums are not looked at. The IP header (the header chain) and eight bytes behind it must be there.

use std::net::IpAddr;

use super::transport::{Family, icmp_header};
use super::{ipv4, ipv6};
use crate::summary::{FlowTuple, Quoted, Selector, Transport, protocol};

/// `None` if the quotation is too short, of another IP version than the error, or shows a later fragment.
pub(super) fn read(family: Family, quote: &[u8]) -> Option<Quoted> {
    match family {
        Family::V4 => read_v4(quote),
        Family::V6 => read_v6(quote),
    }
}

fn read_v4(quote: &[u8]) -> Option<Quoted> {
    let header = ipv4::Header::read(quote)?;
    if header.offset != 0 {
        return None;
    }
    let upper = *quote.get(usize::from(header.len)..)?.first_chunk::<8>()?;
    let (selector, is_icmp_error) = selector(Family::V4, header.protocol, upper)?;
    let (source, destination) = (IpAddr::V4(header.source), IpAddr::V4(header.destination));
    Some(Quoted {
        tuple: FlowTuple { source, destination, protocol: header.protocol, selector },
        is_icmp_error,
    })
}

fn read_v6(quote: &[u8]) -> Option<Quoted> {
    let (header, rest) = ipv6::fixed_header(quote)?;
    let chain = ipv6::walk(header[6], rest);
    let is_later_fragment = chain.fragment.is_some_and(|fragment| !fragment.is_first());
    if is_later_fragment || chain.fault.is_some() {
        return None;
    }
    let upper = *rest.get(usize::from(chain.len)..)?.first_chunk::<8>()?;
    let (selector, is_icmp_error) = selector(Family::V6, chain.protocol, upper)?;
    let (source, destination) = (IpAddr::V6(ipv6::address(header, 8)), IpAddr::V6(ipv6::address(header, 24)));
    Some(Quoted {
        tuple: FlowTuple { source, destination, protocol: chain.protocol, selector },
        is_icmp_error,
    })
}

/// What tells the flow apart, and whether the quoted packet is an ICMP error.
fn selector(family: Family, protocol: u8, upper: [u8; 8]) -> Option<(Selector, bool)> {
    let [s0, s1, d0, d1, ..] = upper;
    let ports =
        Selector::Ports { source: u16::from_be_bytes([s0, s1]), destination: u16::from_be_bytes([d0, d1]) };
    match (protocol, family) {
        (protocol::TCP | protocol::UDP, _) => Some((ports, false)),
        (protocol::ICMP, Family::V4) | (protocol::ICMPV6, Family::V6) => {
            let icmp = icmp_header(family, upper);
            Some((Transport::Icmp(icmp).selector()?, icmp.is_error()))
        }
        _ => Some((Selector::None, false)),
    }
}
