//! IPv6 headers and the chain of extension headers (RFC 8200, SG-27).

use std::net::{IpAddr, Ipv6Addr};

use super::Malformed;
use super::transport::{self, Family, Span};
use crate::NETWORK_OFFSET;
use crate::summary::{Fragment, InvalidTransport, IpPacket, Transport};

/// Length of the fixed header, in bytes.
pub(super) const HEADER_LEN: usize = 40;
const HEADER_SPAN: u16 = 40;

/// SG-27: a packet with more extension headers is dropped.
const MAX_EXTENSION_HEADERS: usize = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

/// Where a chain of extension headers leads.
pub(super) struct Chain {
    /// What follows the last header read: the upper-layer protocol, or of a later fragment what its header names.
    pub(super) protocol: u8,
    /// Bytes of extension headers before that: at most eight times 2,048.
    pub(super) len: u16,
    /// Set by a fragment header that is not atomic (CT-65).
    pub(super) fragment: Option<Fragment>,
    /// Why the walk ended early.
    pub(super) fault: Option<InvalidTransport>,
}

/// Reads what follows an Ethernet header of type 0x86dd.
pub(super) fn read(payload: &[u8]) -> Result<IpPacket, Malformed> {
    let (header, rest) = fixed_header(payload).ok_or(Malformed::Ipv6Header)?;
    let upper_len = match usize::from(u16::from_be_bytes([header[4], header[5]])) {
        0 => rest.len(),
        len => len,
    };
    let rest = rest.get(..upper_len).ok_or(Malformed::IpLength)?;
    let chain = walk(header[6], rest);
    Ok(IpPacket {
        source: IpAddr::V6(address(header, 8)),
        destination: IpAddr::V6(address(header, 24)),
        protocol: chain.protocol,
        hop_limit: header[7],
        dont_fragment: true,
        ip_len: u32::try_from(HEADER_LEN + upper_len).map_err(|_| Malformed::IpLength)?,
        network_offset: NETWORK_OFFSET,
        transport_offset: NETWORK_OFFSET + HEADER_SPAN + chain.len,
        fragment: chain.fragment,
        transport: upper_layer(&chain, rest),
    })
}

/// The first 40 bytes and what follows; `None` if they are not whole or of another version.
pub(super) fn fixed_header(packet: &[u8]) -> Option<(&[u8; HEADER_LEN], &[u8])> {
    packet.split_first_chunk::<HEADER_LEN>().filter(|(header, _)| header[0] >> 4 == 6)
}

/// The address that starts at byte `at` of a fixed header: 8 for the source, 24 for the destination.
pub(super) fn address(header: &[u8; HEADER_LEN], at: usize) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&header[at..at + 16]);
    Ipv6Addr::from_octets(octets)
}

/// Walks hop-by-hop, routing, destination-options and fragment headers. Everything else, ESP and AH included, is an
/// upper layer (SG-27).
pub(super) fn walk(first: u8, rest: &[u8]) -> Chain {
    let mut chain = Chain { protocol: first, len: 0, fragment: None, fault: None };
    let mut fragment_headers = 0;
    for position in 0..=MAX_EXTENSION_HEADERS {
        match chain.protocol {
            HOP_BY_HOP if position == 0 => {}
            ROUTING | DESTINATION_OPTIONS if position < MAX_EXTENSION_HEADERS => {}
            FRAGMENT if position < MAX_EXTENSION_HEADERS && fragment_headers == 0 => fragment_headers += 1,
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | FRAGMENT => {
                chain.fault = Some(InvalidTransport::ExtensionHeaders);
                break;
            }
            _ => break,
        }
        if !chain.step(rest) {
            break;
        }
    }
    chain
}

impl Chain {
    /// Passes one extension header; false if the walk ends here.
    fn step(&mut self, rest: &[u8]) -> bool {
        let header = rest.get(usize::from(self.len)..).unwrap_or_default();
        let Some(&[next, units, o0, o1, i0, i1, i2, i3]) = header.first_chunk::<8>() else {
            return self.fail(InvalidTransport::Truncated);
        };
        if self.protocol == FRAGMENT {
            self.protocol = next;
            self.len += 8;
            return self.enter(u16::from_be_bytes([o0, o1]), [i0, i1, i2, i3], header.len() - 8);
        }
        let len = (u16::from(units) + 1) * 8;
        if usize::from(len) > header.len() {
            return self.fail(InvalidTransport::Truncated);
        }
        self.protocol = next;
        self.len += len;
        true
    }

    /// Notes a fragment header; false if no header follows that could be read.
    fn enter(&mut self, offset_and_more: u16, identification: [u8; 4], payload_len: usize) -> bool {
        let more = offset_and_more & 1 != 0;
        let offset = offset_and_more & 0xfff8;
        if !more && offset == 0 {
            return true; // CT-65: an atomic fragment is an unfragmented packet
        }
        let len = u16::try_from(payload_len).unwrap_or(u16::MAX);
        let identification = u32::from_be_bytes(identification);
        self.fragment = Some(Fragment { identification, offset, len, more });
        offset == 0
    }

    fn fail(&mut self, fault: InvalidTransport) -> bool {
        self.fault = Some(fault);
        false
    }
}

fn upper_layer(chain: &Chain, rest: &[u8]) -> Transport {
    if chain.fragment.is_some_and(|fragment| !transport::fits(&fragment)) {
        return Transport::Invalid(InvalidTransport::Fragment);
    }
    if let Some(fault) = chain.fault {
        return Transport::Invalid(fault);
    }
    let span = match chain.fragment {
        Some(fragment) if !fragment.is_first() => return Transport::LaterFragment,
        Some(_) => Span::FirstFragment,
        None => Span::Whole,
    };
    transport::read(Family::V6, chain.protocol, rest.get(usize::from(chain.len)..).unwrap_or_default(), span)
}
