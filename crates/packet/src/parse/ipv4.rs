//! IPv4 headers (RFC 791).

use std::net::{IpAddr, Ipv4Addr};

use super::Malformed;
use super::transport::{self, Family, Span};
use crate::NETWORK_OFFSET;
use crate::summary::{Fragment, InvalidTransport, IpPacket, Transport};

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;

/// The fields of a header's first 20 bytes that matter here.
pub(super) struct Header {
    /// Header length in bytes, options included; at least 20.
    pub(super) len: u16,
    pub(super) total_len: u16,
    pub(super) identification: u16,
    pub(super) dont_fragment: bool,
    pub(super) more_fragments: bool,
    /// Fragment offset in bytes.
    pub(super) offset: u16,
    pub(super) hop_limit: u8,
    pub(super) protocol: u8,
    pub(super) source: Ipv4Addr,
    pub(super) destination: Ipv4Addr,
}

impl Header {
    /// `None` if there are fewer than 20 bytes, the version is not 4, or the header length is below 20.
    pub(super) fn read(packet: &[u8]) -> Option<Self> {
        let h = packet.first_chunk::<20>()?;
        let len = u16::from(h[0] & 0x0f) * 4;
        if h[0] >> 4 != 4 || len < 20 {
            return None;
        }
        let fragmentation = u16::from_be_bytes([h[6], h[7]]);
        Some(Self {
            len,
            total_len: u16::from_be_bytes([h[2], h[3]]),
            identification: u16::from_be_bytes([h[4], h[5]]),
            dont_fragment: fragmentation & DONT_FRAGMENT != 0,
            more_fragments: fragmentation & MORE_FRAGMENTS != 0,
            offset: (fragmentation & OFFSET_MASK) << 3,
            hop_limit: h[8],
            protocol: h[9],
            source: Ipv4Addr::new(h[12], h[13], h[14], h[15]),
            destination: Ipv4Addr::new(h[16], h[17], h[18], h[19]),
        })
    }

    const fn is_fragment(&self) -> bool {
        self.more_fragments || self.offset != 0
    }
}

/// Reads what follows an Ethernet header of type 0x0800.
pub(super) fn read(payload: &[u8]) -> Result<IpPacket, Malformed> {
    let header = Header::read(payload).ok_or(Malformed::Ipv4Header)?;
    let (packet, ip_len) = bound(payload, &header)?;
    let upper = packet.get(usize::from(header.len)..).ok_or(Malformed::Ipv4Header)?;
    let fragment = header.is_fragment().then(|| fragment(&header, upper.len()));
    Ok(IpPacket {
        source: IpAddr::V4(header.source),
        destination: IpAddr::V4(header.destination),
        protocol: header.protocol,
        hop_limit: header.hop_limit,
        dont_fragment: header.dont_fragment,
        ip_len,
        network_offset: NETWORK_OFFSET,
        transport_offset: NETWORK_OFFSET + header.len,
        fragment,
        transport: upper_layer(&header, fragment, upper),
    })
}

/// The packet without Ethernet padding, and its length.
fn bound<'a>(payload: &'a [u8], header: &Header) -> Result<(&'a [u8], u32), Malformed> {
    let total = match usize::from(header.total_len) {
        0 => payload.len(),
        total if total < usize::from(header.len) => return Err(Malformed::Ipv4Header),
        total => total,
    };
    let packet = payload.get(..total).ok_or(Malformed::IpLength)?;
    Ok((packet, u32::try_from(total).map_err(|_| Malformed::IpLength)?))
}

fn fragment(header: &Header, payload_len: usize) -> Fragment {
    Fragment {
        identification: u32::from(header.identification),
        offset: header.offset,
        len: u16::try_from(payload_len).unwrap_or(u16::MAX),
        more: header.more_fragments,
    }
}

fn upper_layer(header: &Header, fragment: Option<Fragment>, upper: &[u8]) -> Transport {
    let span = match fragment {
        Some(fragment) if !transport::fits(&fragment) => {
            return Transport::Invalid(InvalidTransport::Fragment);
        }
        Some(fragment) if !fragment.is_first() => return Transport::LaterFragment,
        Some(_) => Span::FirstFragment,
        None => Span::Whole,
    };
    transport::read(Family::V4, header.protocol, upper, span)
}
