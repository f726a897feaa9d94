//! Frames byte by byte, independent of the builders under test.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::checksum::pseudo_header;
use crate::{Body, IpPacket, MacAddr, Transport, parse};

pub(crate) const GUEST_MAC: MacAddr = MacAddr([2, 0, 0x0a, 0, 1, 0x0a]);
pub(crate) const ROUTER_MAC: MacAddr = MacAddr([2, 0, 0x0a, 0, 1, 1]);
pub(crate) const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 10);
pub(crate) const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 10);
pub(crate) const GUEST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 0x10);
pub(crate) const PEER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 2, 0, 0, 0, 0x10);

pub(crate) const MF: u16 = 0x2000;
pub(crate) const DF: u16 = 0x4000;

pub(crate) fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&ROUTER_MAC.0[..], &GUEST_MAC.0, &ethertype.to_be_bytes(), payload].concat()
}

/// An IPv4 packet from the guest to the peer.
#[derive(Clone, Debug)]
pub(crate) struct V4 {
    pub(crate) protocol: u8,
    pub(crate) options: Vec<u8>,
    /// The flags and offset word.
    pub(crate) fragmentation: u16,
    pub(crate) upper: Vec<u8>,
}

impl V4 {
    pub(crate) fn new(protocol: u8, upper: &[u8]) -> Self {
        Self { protocol, options: Vec::new(), fragmentation: 0, upper: upper.to_vec() }
    }

    pub(crate) fn fragment(mut self, fragmentation: u16) -> Self {
        self.fragmentation = fragmentation;
        self
    }

    pub(crate) fn options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self
    }

    pub(crate) fn packet(&self) -> Vec<u8> {
        let header_len = 20 + self.options.len();
        let first = 0x40 | u8::try_from(header_len / 4).unwrap();
        let total = u16::try_from(header_len + self.upper.len()).unwrap_or(0).to_be_bytes();
        let mut packet = vec![first, 0, total[0], total[1], 0x12, 0x34];
        packet.extend(self.fragmentation.to_be_bytes());
        packet.extend([64, self.protocol, 0, 0]);
        packet.extend(GUEST.octets());
        packet.extend(PEER.octets());
        packet.extend(&self.options);
        crate::checksum::seal_ipv4_header(&mut packet, header_len);
        packet.extend(&self.upper);
        packet
    }

    pub(crate) fn frame(&self) -> Vec<u8> {
        ethernet(0x0800, &self.packet())
    }
}

/// An IPv6 packet from the guest to the peer; `rest` is everything behind the fixed header.
pub(crate) fn v6_packet(next: u8, rest: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rest.len()).unwrap_or(0).to_be_bytes();
    let fixed = [0x60, 0, 0, 0, len[0], len[1], next, 255];
    [&fixed[..], &GUEST6.octets(), &PEER6.octets(), rest].concat()
}

pub(crate) fn v6_frame(next: u8, rest: &[u8]) -> Vec<u8> {
    ethernet(0x86dd, &v6_packet(next, rest))
}

/// A chain of hop-by-hop, routing or destination-options headers of 8 bytes each, and what is behind it. Returns the number
/// of the first.
pub(crate) fn chain(numbers: &[u8], upper_protocol: u8, upper: &[u8]) -> (u8, Vec<u8>) {
    let following = numbers.iter().skip(1).chain([&upper_protocol]);
    let mut rest: Vec<u8> = following.flat_map(|next| [*next, 0, 1, 4, 0, 0, 0, 0]).collect();
    rest.truncate(numbers.len() * 8);
    rest.extend(upper);
    (numbers.first().copied().unwrap_or(upper_protocol), rest)
}

/// An IPv6 fragment header and what is behind it; `offset` in bytes.
pub(crate) fn fragment_header(next: u8, offset: u16, more: bool, rest: &[u8]) -> Vec<u8> {
    let word = (offset | u16::from(more)).to_be_bytes();
    [&[next, 0, word[0], word[1], 0xde, 0xad, 0xbe, 0xef], rest].concat()
}

/// TCP 40000 > 443 with checksum 0; `options` is padded to a multiple of four.
pub(crate) fn tcp(flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut options = options.to_vec();
    options.resize(options.len().next_multiple_of(4), 0);
    let offset = u8::try_from((20 + options.len()) / 4).unwrap() << 4;
    let mut segment = vec![0x9c, 0x40, 0x01, 0xbb, 0xff, 0xff, 0xff, 0x00, 0, 0, 0, 9];
    segment.extend([offset, flags, 0x20, 0x00, 0, 0, 0, 0]);
    segment.extend(options);
    segment.extend(payload);
    segment
}

/// UDP 40000 > 53 with checksum 0.
pub(crate) fn udp(payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(8 + payload.len()).unwrap().to_be_bytes();
    [&[0x9c, 0x40, 0, 53, len[0], len[1], 0, 0], payload].concat()
}

pub(crate) fn ip(frame: &[u8]) -> IpPacket {
    match parse(frame).expect("a well-formed frame").body {
        Body::Ip(packet) => packet,
        Body::Arp(arp) => panic!("not IP: {arp:?}"),
    }
}

pub(crate) fn transport_of(frame: &[u8]) -> Transport {
    ip(frame).transport
}

/// Puts the pseudo-header sum into the TCP or UDP checksum field, as a sender does that leaves the rest to its device.
pub(crate) fn make_partial(frame: &mut [u8]) {
    let packet = ip(frame);
    let sum = pseudo_header(packet.source, packet.destination, packet.protocol, packet.transport_len());
    let field = crate::checksum::field_offset(&packet.transport).expect("TCP or UDP");
    crate::checksum::write_field(frame, usize::from(packet.transport_offset + field), sum.folded());
}
