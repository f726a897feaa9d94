//! Bytes to [`PacketSummary`]: one pass, no allocation, no checksum (CT-48).
//!
//! Each reader takes a chunk of fixed size from the front of a slice, so that a short packet is a `None` and never a
//! panic. Faults of the Ethernet and IP headers end the reading; faults of the upper-layer header are part of the summary.
//! The commonest frames have a reader of their own (`plain`), which says the same.

mod ipv4;
mod ipv6;
mod plain;
mod quoted;
mod transport;

use std::net::Ipv4Addr;

pub(crate) use plain::read as read_plain;

use crate::summary::{Arp, Body, PacketSummary};
use crate::{ETHERNET_LEN, MacAddr};

/// Why a frame has no summary.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Malformed {
    /// Fewer than the 14 bytes of an Ethernet header.
    #[error("the frame is shorter than an Ethernet header")]
    FrameTooShort,
    /// The frame carries an 802.1Q or 802.1ad tag (ethertype 0x8100, 0x88a8 or 0x9100).
    #[error("the frame carries a VLAN tag")]
    VlanTagged,
    /// Neither ARP, IPv4 nor IPv6; 802.3 length fields count as foreign too.
    #[error("the ethertype is neither ARP, IPv4 nor IPv6")]
    ForeignEthertype,
    /// Not whole, not Ethernet/IPv4, or neither a request nor a reply (RFC 826).
    #[error("the ARP packet is truncated, not Ethernet/IPv4, or neither request nor reply")]
    Arp,
    /// Truncated, another version, a header length below 20 bytes or beyond the frame, or a total length below the
    /// header length (RFC 791).
    #[error("the IPv4 header is truncated or contradicts itself")]
    Ipv4Header,
    /// Truncated or another version (RFC 8200).
    #[error("the IPv6 header is truncated or of another version")]
    Ipv6Header,
    /// The IP packet claims to reach beyond the end of the frame.
    #[error("the IP packet is longer than the frame")]
    IpLength,
}

/// Reads an Ethernet frame (no virtio-net header before it). Never looks at checksums (CT-48).
///
/// Bytes behind the IP packet are Ethernet padding and not part of it. An IPv4 total length or IPv6 payload length of 0
/// is what Linux writes into segmentation-offload frames above 64 KiB: the length is then that of the frame.
///
/// # Errors
///
/// [`Malformed`], for faults of the Ethernet, ARP and IP headers only: those of the upper-layer header become
/// [`crate::Transport::Invalid`].
#[inline]
pub fn parse(frame: &[u8]) -> Result<PacketSummary, Malformed> {
    match read_plain(frame) {
        Some(summary) => Ok(summary),
        None => parse_any(frame),
    }
}

/// Reads frames of every kind. Not inlined, so that reading a plain frame does not pay for the registers that this needs.
#[inline(never)]
pub(crate) fn parse_any(frame: &[u8]) -> Result<PacketSummary, Malformed> {
    let (header, payload) = frame.split_first_chunk::<ETHERNET_LEN>().ok_or(Malformed::FrameTooShort)?;
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = *header;
    let body = match u16::from_be_bytes([t0, t1]) {
        0x0800 => Body::Ip(ipv4::read(payload)?),
        0x86dd => Body::Ip(ipv6::read(payload)?),
        0x0806 => Body::Arp(arp(payload)?),
        0x8100 | 0x88a8 | 0x9100 => return Err(Malformed::VlanTagged),
        _ => return Err(Malformed::ForeignEthertype),
    };
    let source_mac = MacAddr([s0, s1, s2, s3, s4, s5]);
    let destination_mac = MacAddr([d0, d1, d2, d3, d4, d5]);
    Ok(PacketSummary { source_mac, destination_mac, body })
}

/// Hardware type Ethernet, protocol type IPv4, address lengths 6 and 4.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];

fn arp(packet: &[u8]) -> Result<Arp, Malformed> {
    let (kind, rest) = packet.split_first_chunk::<6>().ok_or(Malformed::Arp)?;
    let (&[o0, o1, m0, m1, m2, m3, m4, m5, s0, s1, s2, s3], rest) =
        rest.split_first_chunk::<12>().ok_or(Malformed::Arp)?;
    let &[_, _, _, _, _, _, t0, t1, t2, t3] = rest.first_chunk::<10>().ok_or(Malformed::Arp)?;
    let operation = u16::from_be_bytes([o0, o1]);
    if *kind != ETHERNET_IPV4 || !matches!(operation, 1 | 2) {
        return Err(Malformed::Arp);
    }
    Ok(Arp {
        operation,
        sender_mac: MacAddr([m0, m1, m2, m3, m4, m5]),
        sender: Ipv4Addr::new(s0, s1, s2, s3),
        target: Ipv4Addr::new(t0, t1, t2, t3),
    })
}
