//! Any bytes as an Ethernet frame.

use std::net::{Ipv4Addr, Ipv6Addr};

use palisade_packet::build::{self, IcmpError, Link};
use palisade_packet::{
    Arp, Body, Fragment, InvalidTransport, IpPacket, MacAddr, Transport, checksum, fragment_ipv4, ndp, parse,
};

const LINK: Link = Link { source: MacAddr([2, 0, 0, 0, 0, 1]), destination: MacAddr([2, 0, 0, 0, 0, 2]) };
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);
const ROUTER6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// Parses a frame and does with it everything the data plane might.
///
/// # Panics
///
/// If an offset of the summary lies outside the frame, the summary depends on padding, a checksum edit changes what was
/// judged, fragments do not add up to the packet, or a frame built in answer does not parse.
pub fn frame(data: &[u8]) {
    let Ok(summary) = parse(data) else { return };
    assert_eq!(parse(data), Ok(summary), "reading twice gives the same");
    match summary.body {
        Body::Arp(arp) => answer_arp(&arp),
        Body::Ip(packet) => {
            offsets_lie_inside(data, &packet);
            fragments_are_possible(&packet);
            padding_changes_nothing(data, &packet);
            completing_changes_the_checksum_only(data, &packet);
            fragments_add_up(data, &packet);
            answer_ip(data, &packet);
        }
    }
}

fn answer_arp(request: &Arp) {
    let mut out = Vec::new();
    build::arp_reply(&mut out, LINK.source, request);
    let Ok(Body::Arp(reply)) = parse(&out).map(|summary| summary.body) else { panic!("the reply is no ARP") };
    assert_eq!((reply.operation, reply.sender, reply.target), (2, request.target, request.sender));
}

fn offsets_lie_inside(data: &[u8], packet: &IpPacket) {
    let end = usize::from(packet.network_offset) + packet.ip_len as usize;
    assert!(packet.network_offset < packet.transport_offset, "the IP header has a length");
    assert!(usize::from(packet.transport_offset) <= end && end <= data.len(), "offsets lie in the frame");
    assert_eq!(packet.source.is_ipv4(), packet.destination.is_ipv4(), "one family");
    let header_len = match packet.transport {
        Transport::Tcp(tcp) if packet.fragment.is_none() => u32::from(tcp.header_len),
        Transport::Tcp(_) => 20,
        Transport::Udp { .. } | Transport::Icmp(_) => 8,
        Transport::Other | Transport::LaterFragment | Transport::Invalid(_) => 0,
    };
    assert!(header_len <= packet.transport_len(), "the upper-layer header lies in the packet");
}

fn fragments_are_possible(packet: &IpPacket) {
    let later = packet.fragment.is_some_and(|fragment| !fragment.is_first());
    let has_header = packet.tuple().is_some();
    assert!(!(later && has_header), "a later fragment has no tuple");
    let Some(Fragment { offset, len, more, .. }) = packet.fragment else {
        assert_ne!(packet.transport, Transport::LaterFragment);
        return;
    };
    let possible = u32::from(offset) + u32::from(len) <= 65_535 && (!more || len % 8 == 0);
    let refused = packet.transport == Transport::Invalid(InvalidTransport::Fragment);
    assert_eq!(possible, !refused, "CT-63");
}

/// Only frames whose length field is 0 take their length from the frame.
fn padding_changes_nothing(data: &[u8], packet: &IpPacket) {
    let length_field = if packet.is_ipv4() { 16..18 } else { 18..20 };
    if data.get(length_field) == Some(&[0, 0]) {
        return;
    }
    let end = usize::from(packet.network_offset) + packet.ip_len as usize;
    let bare = data.get(..end).expect("checked above");
    assert_eq!(parse(bare), parse(data), "padding changes nothing");
}

fn completing_changes_the_checksum_only(data: &[u8], packet: &IpPacket) {
    let mut completed = data.to_vec();
    checksum::complete(&mut completed, packet);
    let field = checksum::field_offset(&packet.transport).filter(|_| packet.fragment.is_none());
    let field = field.map(|offset| usize::from(packet.transport_offset + offset));
    for (at, (before, after)) in data.iter().zip(&completed).enumerate() {
        let within = field.is_some_and(|field| (field..field + 2).contains(&at));
        assert!(before == after || within, "byte {at} is not the checksum's");
    }
    let _ = checksum::transport_is_valid(data, packet) || checksum::header_is_valid(data, packet);
}

fn fragments_add_up(data: &[u8], packet: &IpPacket) {
    for mtu in [68, 576, 1500] {
        let (mut payload, mut longest) = (0, 0);
        let header_len = packet.ip_len - packet.transport_len();
        let done = fragment_ipv4(data, packet, mtu, &mut Vec::new(), &mut |wire| {
            let Ok(Body::Ip(piece)) = parse(wire).map(|summary| summary.body) else {
                panic!("a fragment does not parse");
            };
            assert_eq!((piece.source, piece.destination), (packet.source, packet.destination));
            payload += piece.ip_len - header_len;
            longest = longest.max(piece.ip_len);
        });
        if done.is_ok() {
            assert_eq!(payload, packet.transport_len(), "the fragments hold the payload");
            assert!(longest <= u32::from(mtu), "no fragment is above the MTU");
        } else {
            assert_eq!(payload, 0, "nothing is emitted before an error");
        }
    }
}

fn answer_ip(data: &[u8], packet: &IpPacket) {
    if let Ok(ndp::NdpMessage::Solicitation(asked)) = ndp::read(data, packet) {
        let mut out = Vec::new();
        let std::net::IpAddr::V6(asker) = packet.source else { panic!("neighbour discovery over IPv4") };
        build::neighbour_advertisement(&mut out, LINK, asked.target, asker, false);
        valid_answer(&out);
    }
    let mut out = Vec::new();
    let error = IcmpError::fragmentation_needed(1500);
    if build::icmpv4_error(&mut out, LINK, ROUTER, error, data, packet) {
        assert!(valid_answer(&out).ip_len as usize <= build::ICMPV4_ERROR_MAX, "RT-64");
    }
    if build::icmpv6_error(&mut out, LINK, ROUTER6, IcmpError::packet_too_big(1500), data, packet) {
        assert!(valid_answer(&out).ip_len as usize <= build::ICMPV6_ERROR_MAX, "RT-64");
    }
}

fn valid_answer(frame: &[u8]) -> IpPacket {
    let Ok(Body::Ip(packet)) = parse(frame).map(|summary| summary.body) else {
        panic!("the answer does not parse");
    };
    assert!(matches!(packet.transport, Transport::Icmp(_)), "the answer is ICMP");
    assert!(checksum::header_is_valid(frame, &packet) && checksum::transport_is_valid(frame, &packet));
    packet
}
