//! Frames that the fabric itself sends: ARP replies, neighbour advertisements, ICMP errors.
//!
//! Every builder clears the buffer it is given and writes one complete Ethernet frame, without padding.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::MacAddr;
use crate::checksum::{self, Sum, pseudo_header};
use crate::summary::{Arp, Fragment, IpPacket, Transport, protocol};

/// Most bytes of IP in an `ICMPv4` error, quotation included (RFC 1812 §4.3.2.3, RT-64).
pub const ICMPV4_ERROR_MAX: usize = 576;
/// Most bytes of IP in an `ICMPv6` error, quotation included (RFC 4443 §2.4 c, RT-64).
pub const ICMPV6_ERROR_MAX: usize = 1280;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// DSCP CS6, internetwork control (RFC 1812 §4.3.2.5).
const CS6: u8 = 0xc0;
const DONT_FRAGMENT: u16 = 0x4000;

/// The Ethernet addresses of a frame to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// Who seems to send it.
    pub source: MacAddr,
    /// Who is to receive it.
    pub destination: MacAddr,
}

/// What an ICMP error says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IcmpError {
    /// Type.
    pub icmp_type: u8,
    /// Code.
    pub code: u8,
    /// The next-hop MTU in bytes of "fragmentation needed" (RFC 1191, at most 65,535) and "packet too big"
    /// (RFC 4443 §3.2); 0 for every other error.
    pub mtu: u32,
}

impl IcmpError {
    /// `ICMPv4` "fragmentation needed and DF set" (RT-61).
    #[must_use]
    pub const fn fragmentation_needed(mtu: u16) -> Self {
        Self { icmp_type: 3, code: 4, mtu: mtu as u32 }
    }

    /// `ICMPv6` "packet too big" (RT-62).
    #[must_use]
    pub const fn packet_too_big(mtu: u32) -> Self {
        Self { icmp_type: 2, code: 0, mtu }
    }
}

/// Answers an ARP request: `request.target` is at `answering` (RES-40). The frame goes to the asker alone, also in answer to
/// a probe (RFC 5227).
pub fn arp_reply(out: &mut Vec<u8>, answering: MacAddr, request: &Arp) {
    ethernet(out, Link { source: answering, destination: request.sender_mac }, ETHERTYPE_ARP);
    out.extend_from_slice(&[0, 1, 8, 0, 6, 4, 0, 2]);
    out.extend_from_slice(&answering.0);
    out.extend_from_slice(&request.target.octets());
    out.extend_from_slice(&request.sender_mac.0);
    out.extend_from_slice(&request.sender.octets());
}

/// Answers a neighbour solicitation: `target` is at `link.source` (RES-40b, RFC 4861 §7.2.4). The advertisement overrides
/// and carries the target link-layer address. `asker` is the source of the solicitation: if it is `::`, duplicate-address
/// detection, the answer is not "solicited" and goes to all nodes, in a frame to the asker alone (RFC 6085).
/// `router` sets the router flag.
pub fn neighbour_advertisement(
    out: &mut Vec<u8>,
    link: Link,
    target: Ipv6Addr,
    asker: Ipv6Addr,
    router: bool,
) {
    const ROUTER: u8 = 0x80;
    const SOLICITED: u8 = 0x40;
    const OVERRIDE: u8 = 0x20;
    let (destination, solicited) = if asker.is_unspecified() { (ALL_NODES, 0) } else { (asker, SOLICITED) };
    let flags = OVERRIDE | solicited | if router { ROUTER } else { 0 };
    ethernet(out, link, ETHERTYPE_IPV6);
    ipv6_header(out, Ipv6Header { source: target, destination, hop_limit: 255, payload_len: 32 });
    let start = out.len();
    out.extend_from_slice(&[136, 0, 0, 0, flags, 0, 0, 0]);
    out.extend_from_slice(&target.octets());
    out.extend_from_slice(&[2, 1]);
    out.extend_from_slice(&link.source.0);
    seal_icmpv6(out, start, target, destination);
}

/// Writes an `ICMPv4` error from `source` to the sender of the packet, quoting as much of it as fits into
/// [`ICMPV4_ERROR_MAX`] (RFC 792, RFC 1812 §4.3.2, RT-64).
///
/// False, and an empty buffer, if no error may be sent about the packet ([`deserves_error`]), or it is not IPv4.
#[must_use]
pub fn icmpv4_error(
    out: &mut Vec<u8>,
    link: Link,
    source: Ipv4Addr,
    error: IcmpError,
    frame: &[u8],
    packet: &IpPacket,
) -> bool {
    out.clear();
    let IpAddr::V4(destination) = packet.source else { return false };
    let Some(quote) = quote(frame, packet, ICMPV4_ERROR_MAX - 28).filter(|_| deserves_error(packet)) else {
        return false;
    };
    ethernet(out, link, ETHERTYPE_IPV4);
    ipv4_header(out, source, destination, 28 + quote.len());
    let start = out.len();
    out.extend_from_slice(&[error.icmp_type, error.code, 0, 0, 0, 0]);
    out.extend_from_slice(&u16::try_from(error.mtu).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(quote);
    let message = out.get_mut(start..).unwrap_or_default();
    let checksum = Sum::ZERO.bytes(message).checksum();
    checksum::write_field(message, 2, checksum);
    true
}

/// Writes an `ICMPv6` error from `source` to the sender of the packet, quoting as much of it as fits into
/// [`ICMPV6_ERROR_MAX`] (RFC 4443 §2.4, RT-64).
///
/// False, and an empty buffer, if no error may be sent about the packet ([`deserves_error`]), or it is not IPv6.
#[must_use]
pub fn icmpv6_error(
    out: &mut Vec<u8>,
    link: Link,
    source: Ipv6Addr,
    error: IcmpError,
    frame: &[u8],
    packet: &IpPacket,
) -> bool {
    out.clear();
    let IpAddr::V6(destination) = packet.source else { return false };
    let Some(quote) = quote(frame, packet, ICMPV6_ERROR_MAX - 48).filter(|_| deserves_error(packet)) else {
        return false;
    };
    ethernet(out, link, ETHERTYPE_IPV6);
    ipv6_header(out, Ipv6Header { source, destination, hop_limit: 64, payload_len: 8 + quote.len() });
    let start = out.len();
    out.extend_from_slice(&[error.icmp_type, error.code, 0, 0]);
    out.extend_from_slice(&error.mtu.to_be_bytes());
    out.extend_from_slice(quote);
    seal_icmpv6(out, start, source, destination);
    true
}

/// Whether an ICMP error may be sent about the packet: not about an ICMP error or redirect, a fragment other than the first,
/// a multicast or broadcast destination, or a source that is not one host (RT-64; RFC 1122 §3.2.2, RFC 4443 §2.4 e).
#[must_use]
pub fn deserves_error(packet: &IpPacket) -> bool {
    let is_error = match packet.transport {
        Transport::Icmp(icmp) if icmp.v6 => icmp.icmp_type < 128 || icmp.icmp_type == 137,
        Transport::Icmp(icmp) => matches!(icmp.icmp_type, 3 | 4 | 5 | 11 | 12),
        _ => false,
    };
    let is_later_fragment = packet.fragment.as_ref().is_some_and(|fragment| !Fragment::is_first(fragment));
    let no_host = packet.source.is_unspecified() || packet.source.is_loopback() || is_group(packet.source);
    !is_error && !is_later_fragment && !no_host && !is_group(packet.destination)
}

fn is_group(address: IpAddr) -> bool {
    address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST)
}

/// The first bytes of the IP packet, at most `limit`.
fn quote<'a>(frame: &'a [u8], packet: &IpPacket, limit: usize) -> Option<&'a [u8]> {
    let start = usize::from(packet.network_offset);
    let len = limit.min(packet.ip_len as usize);
    frame.get(start..)?.get(..len)
}

fn ethernet(out: &mut Vec<u8>, link: Link, ethertype: u16) {
    out.clear();
    out.extend_from_slice(&link.destination.0);
    out.extend_from_slice(&link.source.0);
    out.extend_from_slice(&ethertype.to_be_bytes());
}

/// The header of an ICMP error: identification 0 is right for an atomic datagram (RFC 6864 §4.1).
fn ipv4_header(out: &mut Vec<u8>, source: Ipv4Addr, destination: Ipv4Addr, total_len: usize) {
    let start = out.len();
    out.extend_from_slice(&[0x45, CS6]);
    out.extend_from_slice(&u16::try_from(total_len).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&DONT_FRAGMENT.to_be_bytes());
    out.extend_from_slice(&[64, protocol::ICMP, 0, 0]);
    out.extend_from_slice(&source.octets());
    out.extend_from_slice(&destination.octets());
    checksum::seal_ipv4_header(out.get_mut(start..).unwrap_or_default(), 20);
}

#[derive(Clone, Copy)]
struct Ipv6Header {
    source: Ipv6Addr,
    destination: Ipv6Addr,
    hop_limit: u8,
    payload_len: usize,
}

fn ipv6_header(out: &mut Vec<u8>, header: Ipv6Header) {
    out.extend_from_slice(&[0x60, 0, 0, 0]);
    out.extend_from_slice(&u16::try_from(header.payload_len).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(&[protocol::ICMPV6, header.hop_limit]);
    out.extend_from_slice(&header.source.octets());
    out.extend_from_slice(&header.destination.octets());
}

fn seal_icmpv6(out: &mut [u8], start: usize, source: Ipv6Addr, destination: Ipv6Addr) {
    let Some(message) = out.get_mut(start..) else { return };
    let len = u32::try_from(message.len()).unwrap_or(0); // built here: at most 1,240 bytes
    let pseudo = pseudo_header(source.into(), destination.into(), protocol::ICMPV6, len);
    let checksum = pseudo.bytes(message).checksum();
    checksum::write_field(message, 2, checksum);
}

#[cfg(test)]
mod tests {
    use etherparse::{Icmpv4Type, Icmpv6Type, NetSlice, SlicedPacket, TransportSlice};

    use super::*;
    use crate::ndp::{self, NdpMessage};
    use crate::tests::samples::*;
    use crate::{Body, parse};

    const LINK: Link = Link { source: ROUTER_MAC, destination: GUEST_MAC };
    const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);
    const ROUTER6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 1);

    #[test]
    fn an_arp_reply_answers_the_request() {
        let request = Arp { operation: 1, sender_mac: GUEST_MAC, sender: GUEST, target: ROUTER };
        let mut out = vec![1; 99];
        arp_reply(&mut out, ROUTER_MAC, &request);
        let summary = parse(&out).unwrap();
        assert_eq!((summary.source_mac, summary.destination_mac), (ROUTER_MAC, GUEST_MAC));
        let reply = Arp { operation: 2, sender_mac: ROUTER_MAC, sender: ROUTER, target: GUEST };
        assert_eq!((summary.body, out.len()), (Body::Arp(reply), 42));
        assert_eq!(out[32..38], GUEST_MAC.0, "target hardware address");
    }

    fn advertised(asker: Ipv6Addr, router: bool) -> (IpAddr, u8) {
        let mut out = Vec::new();
        neighbour_advertisement(&mut out, LINK, PEER6, asker, router);
        let packet = ip(&out);
        let Ok(NdpMessage::Advertisement(read)) = ndp::read(&out, &packet) else { panic!("{packet:?}") };
        assert_eq!((read.target, read.source_link_layer), (PEER6, None));
        assert_eq!(read.target_link_layer, Some(ROUTER_MAC));
        assert_eq!(packet.source, IpAddr::V6(PEER6));
        assert_eq!(parse(&out).unwrap().destination_mac, GUEST_MAC);
        (packet.destination, out[58])
    }

    #[test]
    fn a_neighbour_advertisement_is_solicited_and_overrides() {
        assert_eq!(advertised(GUEST6, false), (IpAddr::V6(GUEST6), 0x60));
        assert_eq!(advertised(GUEST6, true), (IpAddr::V6(GUEST6), 0xe0));
    }

    #[test]
    fn duplicate_address_detection_is_answered_to_all_nodes() {
        assert_eq!(advertised(Ipv6Addr::UNSPECIFIED, false), (IpAddr::V6(ALL_NODES), 0x20));
    }

    fn v4_error(frame: &[u8]) -> Option<Vec<u8>> {
        let mut out = vec![7];
        let error = IcmpError::fragmentation_needed(1400);
        let built = icmpv4_error(&mut out, LINK, ROUTER, error, frame, &ip(frame));
        assert_eq!(built, !out.is_empty());
        built.then_some(out)
    }

    fn v6_error(frame: &[u8]) -> Option<Vec<u8>> {
        let mut out = vec![7];
        let built = icmpv6_error(&mut out, LINK, ROUTER6, IcmpError::packet_too_big(1400), frame, &ip(frame));
        assert_eq!(built, !out.is_empty());
        built.then_some(out)
    }

    #[test]
    fn an_icmpv4_error_quotes_up_to_576_bytes() {
        let long = V4::new(6, &tcp(0x10, &[], &[9; 1400])).fragment(DF).frame();
        let error = v4_error(&long).unwrap();
        assert_eq!(error.len(), 14 + ICMPV4_ERROR_MAX, "RT-64");
        let sliced = SlicedPacket::from_ethernet(&error).unwrap();
        let (Some(NetSlice::Ipv4(net)), Some(TransportSlice::Icmpv4(icmp))) = (sliced.net, sliced.transport)
        else {
            panic!("not ICMP");
        };
        let header = net.header().to_header();
        assert_eq!((header.source, header.destination), (ROUTER.octets(), GUEST.octets()));
        assert_eq!(header.header_checksum, header.calc_header_checksum());
        let why = etherparse::icmpv4::DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: 1400 };
        assert_eq!(icmp.icmp_type(), Icmpv4Type::DestinationUnreachable(why));
        assert_eq!(icmp.payload(), &long[14..14 + 548]);
        assert!(checksum::transport_is_valid(&error, &ip(&error)));
    }

    #[test]
    fn an_icmpv6_error_quotes_up_to_1280_bytes() {
        let long = v6_frame(6, &tcp(0x10, &[], &[9; 1400]));
        let error = v6_error(&long).unwrap();
        assert_eq!(error.len(), 14 + ICMPV6_ERROR_MAX, "RT-64");
        let sliced = SlicedPacket::from_ethernet(&error).unwrap();
        let Some(TransportSlice::Icmpv6(icmp)) = sliced.transport else { panic!("not ICMPv6") };
        assert_eq!(icmp.icmp_type(), Icmpv6Type::PacketTooBig { mtu: 1400 });
        assert!(icmp.is_checksum_valid(ROUTER6.octets(), GUEST6.octets()));
        assert_eq!(&error[62..], &long[14..14 + 1232]);
    }

    #[test]
    fn short_packets_are_quoted_whole_and_without_padding() {
        let mut short = V4::new(17, &udp(b"x")).frame();
        short.resize(60, 0xee);
        assert_eq!(&v4_error(&short).unwrap()[42..], &short[14..43]);
        let short = v6_frame(17, &udp(b"x"));
        assert_eq!(&v6_error(&short).unwrap()[62..], &short[14..]);
    }

    #[test]
    fn a_quoting_error_is_read_back_as_related() {
        let tcp_frame = V4::new(6, &tcp(0x10, &[], &[9; 1400])).frame();
        let Transport::Icmp(icmp) = transport_of(&v4_error(&tcp_frame).unwrap()) else { panic!() };
        assert_eq!(icmp.quoted.map(|quoted| quoted.tuple), ip(&tcp_frame).tuple(), "CT-50");
        let tcp_frame = v6_frame(6, &tcp(0x10, &[], &[9; 1400]));
        let Transport::Icmp(icmp) = transport_of(&v6_error(&tcp_frame).unwrap()) else { panic!() };
        assert_eq!(icmp.quoted.map(|quoted| quoted.tuple), ip(&tcp_frame).tuple(), "CT-50");
    }

    #[test]
    fn no_error_about_errors_later_fragments_groups_or_no_host() {
        let echo = V4::new(1, &[8, 0, 0, 0, 0, 0, 0, 0]).frame();
        assert!(v4_error(&echo).is_some());
        let with = |at: usize, octets: &[u8]| {
            let mut frame = echo.clone();
            frame[at..at + octets.len()].copy_from_slice(octets);
            frame
        };
        for refused in [
            with(34, &[3]),
            with(34, &[5]),
            with(20, &[0x00, 0x09]),
            with(30, &[224, 0, 0, 1]),
            with(30, &[255, 255, 255, 255]),
            with(26, &[0, 0, 0, 0]),
            with(26, &[127, 0, 0, 1]),
            with(26, &[224, 0, 0, 1]),
        ] {
            assert_eq!(v4_error(&refused), None, "RT-64");
        }
        let first = V4::new(17, &udp(&[0; 96])[..96]).fragment(MF).frame();
        assert!(v4_error(&first).is_some());
        for icmp_type in [1, 2, 100, 127, 137] {
            assert_eq!(v6_error(&v6_frame(58, &[icmp_type, 0, 0, 0, 0, 0, 0, 0])), None, "RT-64");
        }
        assert!(v6_error(&v6_frame(58, &[128, 0, 0, 0, 0, 0, 0, 0])).is_some());
    }

    #[test]
    fn the_families_are_not_mixed() {
        assert_eq!(v4_error(&v6_frame(17, &udp(b""))), None);
        assert_eq!(v6_error(&V4::new(17, &udp(b"")).frame()), None);
    }
}
