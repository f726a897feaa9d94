//! The parser, fact by fact.

use std::net::{IpAddr, Ipv4Addr};

use super::samples::*;
use crate::{Body, Fragment, InvalidTransport, Malformed, Selector, Tcp, TcpFlags, Transport, parse};

const SYN: u8 = 2;
const ACK: u8 = 0x10;

fn tcp_of(frame: &[u8]) -> Tcp {
    match transport_of(frame) {
        Transport::Tcp(tcp) => tcp,
        other => panic!("not TCP: {other:?}"),
    }
}

fn invalid(frame: &[u8]) -> InvalidTransport {
    match transport_of(frame) {
        Transport::Invalid(why) => why,
        other => panic!("not invalid: {other:?}"),
    }
}

#[test]
fn an_ipv4_tcp_frame_is_read_field_by_field() {
    let frame = V4::new(6, &tcp(ACK, &[], b"data")).options(&[1, 1, 1, 0]).fragment(DF).frame();
    let summary = parse(&frame).unwrap();
    assert_eq!((summary.source_mac, summary.destination_mac), (GUEST_MAC, ROUTER_MAC));
    let packet = ip(&frame);
    assert_eq!((packet.source, packet.destination), (IpAddr::V4(GUEST), IpAddr::V4(PEER)));
    assert_eq!((packet.protocol, packet.hop_limit, packet.dont_fragment), (6, 64, true));
    assert_eq!((packet.ip_len, packet.network_offset, packet.transport_offset), (48, 14, 38));
    assert_eq!((packet.transport_len(), packet.fragment), (24, None));
    let expected = Tcp {
        source: 40000,
        destination: 443,
        flags: TcpFlags::ACK,
        sequence: 0xffff_ff00,
        acknowledgement: 9,
        window: 0x2000,
        window_scale: None,
        header_len: 20,
    };
    assert_eq!(packet.transport, Transport::Tcp(expected));
}

#[test]
fn ethernet_faults_have_their_own_names() {
    let ip = V4::new(17, &udp(b"")).packet();
    assert_eq!(parse(&[0; 13]), Err(Malformed::FrameTooShort));
    for tag in [0x8100, 0x88a8, 0x9100] {
        assert_eq!(parse(&ethernet(tag, &ip)), Err(Malformed::VlanTagged));
    }
    for foreign in [0x0026, 0x88cc, 0x86de, 0xffff] {
        assert_eq!(parse(&ethernet(foreign, &ip)), Err(Malformed::ForeignEthertype));
    }
}

#[test]
fn arp_is_ethernet_ipv4_request_or_reply() {
    let arp = |head: [u8; 8]| {
        let tail = [2, 0, 0x0a, 0, 1, 0x0a, 10, 0, 1, 10, 0, 0, 0, 0, 0, 0, 10, 0, 1, 1];
        ethernet(0x0806, &[&head[..], &tail].concat())
    };
    let Body::Arp(read) = parse(&arp([0, 1, 8, 0, 6, 4, 0, 1])).unwrap().body else { panic!("not ARP") };
    assert_eq!((read.operation, read.sender_mac, read.sender), (1, GUEST_MAC, GUEST));
    assert_eq!(read.target, Ipv4Addr::new(10, 0, 1, 1));
    for head in [
        [0, 2, 8, 0, 6, 4, 0, 1],
        [0, 1, 0x86, 0xdd, 6, 4, 0, 1],
        [0, 1, 8, 0, 8, 4, 0, 1],
        [0, 1, 8, 0, 6, 16, 0, 1],
        [0, 1, 8, 0, 6, 4, 0, 3],
        [0, 1, 8, 0, 6, 4, 0, 0],
    ] {
        assert_eq!(parse(&arp(head)), Err(Malformed::Arp), "{head:?}");
    }
    let short = arp([0, 1, 8, 0, 6, 4, 0, 1]);
    assert_eq!(parse(&short[..short.len() - 1]), Err(Malformed::Arp));
}

#[test]
fn ipv4_header_faults_are_refused() {
    let good = V4::new(17, &udp(b"abcd")).frame();
    let with = |at: usize, value: u8| {
        let mut frame = good.clone();
        frame[at] = value;
        parse(&frame)
    };
    assert_eq!(with(14, 0x55), Err(Malformed::Ipv4Header), "version 5");
    assert_eq!(with(14, 0x44), Err(Malformed::Ipv4Header), "IHL 4");
    assert_eq!(with(14, 0x4f), Err(Malformed::Ipv4Header), "IHL beyond the total length");
    assert_eq!(with(17, 19), Err(Malformed::Ipv4Header), "total length below the header");
    assert_eq!(with(17, 33), Err(Malformed::IpLength), "total length beyond the frame");
    assert_eq!(parse(&good[..33]), Err(Malformed::Ipv4Header), "19 bytes of header");
    assert_eq!(parse(&ethernet(0x0800, &[])), Err(Malformed::Ipv4Header));
}

#[test]
fn checksums_are_not_looked_at() {
    let mut frame = V4::new(6, &tcp(SYN, &[], &[])).frame();
    frame[24] ^= 0xff; // CT-48: nor is the header's
    assert_eq!(tcp_of(&frame).destination, 443);
}

#[test]
fn ipv6_header_faults_are_refused() {
    let good = v6_frame(17, &udp(b"abcd"));
    let mut version = good.clone();
    version[14] = 0x40;
    assert_eq!(parse(&version), Err(Malformed::Ipv6Header));
    assert_eq!(parse(&good[..53]), Err(Malformed::Ipv6Header));
    assert_eq!(parse(&good[..good.len() - 1]), Err(Malformed::IpLength));
}

#[test]
fn ethernet_padding_is_not_part_of_the_packet() {
    for mut frame in [V4::new(17, &udp(b"x")).frame(), v6_frame(17, &udp(b"x"))] {
        let bare = ip(&frame);
        frame.resize(frame.len() + 17, 0xaa);
        assert_eq!(ip(&frame), bare);
    }
}

#[test]
fn a_length_of_zero_means_the_frame_s() {
    let big = vec![0; 66_000];
    let v4 = ip(&V4::new(6, &tcp(ACK, &[], &big)).frame());
    assert_eq!((v4.ip_len, v4.transport_len()), (66_040, 66_020));
    let v6 = ip(&v6_frame(6, &tcp(ACK, &[], &big)));
    assert_eq!((v6.ip_len, v6.transport_len()), (66_060, 66_020));
}

#[test]
fn truncated_transports_are_invalid_not_malformed() {
    for (protocol, len) in [(6, 19), (17, 7), (1, 7), (6, 0)] {
        let upper = &tcp(ACK, &[], &[])[..len];
        assert_eq!(invalid(&V4::new(protocol, upper).frame()), InvalidTransport::Truncated, "CT-48");
    }
    for (protocol, len) in [(6, 19), (17, 7), (58, 7), (58, 0)] {
        let upper = &tcp(ACK, &[], &[])[..len];
        assert_eq!(invalid(&v6_frame(protocol, upper)), InvalidTransport::Truncated, "CT-48");
    }
}

#[test]
fn transports_with_wrong_lengths_are_invalid() {
    let mut low = tcp(ACK, &[], &[]);
    low[12] = 0x40;
    let mut high = tcp(ACK, &[], &[]);
    high[12] = 0x60;
    let mut short = udp(b"abcd");
    short[5] = 7;
    let mut long = udp(b"abcd");
    long[5] = 13;
    for (protocol, upper) in [(6, low), (6, high), (17, short), (17, long)] {
        assert_eq!(invalid(&V4::new(protocol, &upper).frame()), InvalidTransport::Length);
        assert_eq!(invalid(&v6_frame(protocol, &upper)), InvalidTransport::Length);
    }
}

#[test]
fn icmp_of_the_other_family_is_another_protocol() {
    let echo = [8, 0, 0, 0, 0, 7, 0, 1];
    assert_eq!(transport_of(&V4::new(58, &echo).frame()), Transport::Other, "CT-58");
    assert_eq!(transport_of(&v6_frame(1, &echo)), Transport::Other, "CT-58");
    let Transport::Icmp(icmp) = transport_of(&V4::new(1, &echo).frame()) else { panic!("not ICMP") };
    assert_eq!((icmp.v6, icmp.icmp_type, icmp.code, icmp.identifier, icmp.quoted), (false, 8, 0, 7, None));
}

#[test]
fn window_scale_is_read_from_syns_only_and_capped() {
    let mss_then_scale = |shift| [2, 4, 5, 0xb4, 1, 3, 3, shift];
    let scale = |flags, options: &[u8]| tcp_of(&V4::new(6, &tcp(flags, options, &[])).frame()).window_scale;
    assert_eq!(scale(SYN, &mss_then_scale(7)), Some(7));
    assert_eq!(scale(SYN | ACK, &mss_then_scale(0)), Some(0));
    assert_eq!(scale(SYN, &mss_then_scale(200)), Some(14), "RFC 7323 §2.3");
    assert_eq!(scale(ACK, &mss_then_scale(7)), None);
    assert_eq!(scale(SYN, &[0, 3, 3, 7]), None, "behind the end of options");
    assert_eq!(scale(SYN, &[8, 0, 3, 3, 7, 0, 0, 0]), None, "an option of length 0");
    assert_eq!(scale(SYN, &[8, 1, 3, 3, 7, 0, 0, 0]), None, "an option of length 1");
    assert_eq!(scale(SYN, &[8, 40, 3, 3]), None, "an option beyond the header");
    assert_eq!(scale(SYN, &[1, 1, 3, 3]), None, "cut off");
    assert_eq!(scale(SYN, &[3, 2, 3, 3, 5, 0, 0, 0]), Some(5), "a scale option of another length is skipped");
}

#[test]
fn first_fragments_carry_their_header_and_later_ones_do_not() {
    let first = V4::new(17, &udp(&[0; 100])[..56]).fragment(MF).frame();
    let packet = ip(&first);
    assert_eq!(packet.transport, Transport::Udp { source: 40000, destination: 53 }, "CT-60");
    assert_eq!(packet.fragment, Some(Fragment { identification: 0x1234, offset: 0, len: 56, more: true }));
    let later = ip(&V4::new(17, &[0xff; 52]).fragment(7).frame());
    assert_eq!((later.transport, later.tuple()), (Transport::LaterFragment, None));
    assert_eq!(later.fragment, Some(Fragment { identification: 0x1234, offset: 56, len: 52, more: false }));
}

#[test]
fn ipv6_fragments_are_read_behind_their_header() {
    let rest = fragment_header(17, 0, true, &udp(&[0; 100])[..48]);
    let first = ip(&v6_frame(44, &rest));
    assert_eq!((first.protocol, first.transport_offset), (17, 62));
    assert_eq!(first.transport, Transport::Udp { source: 40000, destination: 53 });
    let id = 0xdead_beef;
    assert_eq!(first.fragment, Some(Fragment { identification: id, offset: 0, len: 48, more: true }));
    let (next, rest) = chain(&[0, 43], 44, &fragment_header(60, 48, false, &[9; 60]));
    let later = ip(&v6_frame(next, &rest));
    assert_eq!((later.protocol, later.transport, later.transport_offset), (60, Transport::LaterFragment, 78));
    assert_eq!(later.fragment, Some(Fragment { identification: id, offset: 48, len: 60, more: false }));
}

#[test]
fn an_atomic_fragment_is_an_unfragmented_packet() {
    let packet = ip(&v6_frame(44, &fragment_header(6, 0, false, &tcp(SYN, &[], &[]))));
    assert_eq!((packet.fragment, packet.protocol, packet.transport_offset), (None, 6, 62), "CT-65");
    assert!(matches!(packet.transport, Transport::Tcp(_)));
}

#[test]
fn impossible_fragments_are_invalid() {
    let invalid_v4 =
        |fragmentation, len| invalid(&V4::new(17, &vec![0; len]).fragment(fragmentation).frame());
    assert_eq!(invalid_v4(MF, 57), InvalidTransport::Fragment, "CT-63: not a multiple of 8");
    assert_eq!(invalid_v4(0x1fff, 8), InvalidTransport::Fragment, "CT-63: ends at 65,536");
    let edge = ip(&V4::new(17, &[0; 7]).fragment(0x1fff).frame());
    assert_eq!(edge.transport, Transport::LaterFragment, "ends at 65,535");
    let invalid_v6 =
        |offset, more, len| invalid(&v6_frame(44, &fragment_header(17, offset, more, &vec![0; len])));
    assert_eq!(invalid_v6(0, true, 57), InvalidTransport::Fragment);
    assert_eq!(invalid_v6(65_528, false, 8), InvalidTransport::Fragment);
}

#[test]
fn tiny_first_fragments_are_invalid() {
    assert_eq!(invalid(&V4::new(6, &[0; 16]).fragment(MF).frame()), InvalidTransport::Truncated, "CT-63");
    assert_eq!(invalid(&V4::new(17, &[]).fragment(MF).frame()), InvalidTransport::Truncated);
    let rest = fragment_header(6, 0, true, &[0; 16]);
    assert_eq!(invalid(&v6_frame(44, &rest)), InvalidTransport::Truncated);
    let options_in_the_next = &tcp(SYN, &[1; 20], &[])[..24];
    assert_eq!(tcp_of(&V4::new(6, options_in_the_next).fragment(MF).frame()).header_len, 40, "CT-63: 20 do");
    let rest = fragment_header(6, 0, true, options_in_the_next);
    assert_eq!(invalid(&v6_frame(44, &rest)), InvalidTransport::Truncated, "CT-63: the whole chain");
    let chain_in_the_next = fragment_header(60, 0, true, &[6, 1, 1, 4, 0, 0, 0, 0]);
    assert_eq!(invalid(&v6_frame(44, &chain_in_the_next)), InvalidTransport::Truncated, "CT-63");
}

#[test]
fn extension_headers_are_walked_up_to_eight() {
    let (next, rest) = chain(&[0, 60, 43, 60, 43, 60, 43, 60], 17, &udp(b""));
    let packet = ip(&v6_frame(next, &rest));
    assert_eq!((packet.protocol, packet.transport_offset), (17, 54 + 64), "SG-27");
    assert_eq!(packet.transport, Transport::Udp { source: 40000, destination: 53 });
    let (next, rest) = chain(&[0, 60, 43, 60, 43, 60, 43, 60, 60], 17, &udp(b""));
    assert_eq!(invalid(&v6_frame(next, &rest)), InvalidTransport::ExtensionHeaders, "SG-27: nine");
}

#[test]
fn misplaced_and_truncated_extension_headers_are_invalid() {
    let invalid_chain = |numbers: &[u8], keep: usize| {
        let (next, rest) = chain(numbers, 17, &udp(b""));
        invalid(&v6_frame(next, &rest[..keep.min(rest.len())]))
    };
    assert_eq!(invalid_chain(&[60, 0], 99), InvalidTransport::ExtensionHeaders, "hop-by-hop not first");
    assert_eq!(invalid_chain(&[0, 0], 99), InvalidTransport::ExtensionHeaders);
    assert_eq!(invalid_chain(&[0, 60], 12), InvalidTransport::Truncated);
    let twice = fragment_header(44, 0, false, &fragment_header(17, 0, false, &udp(b"")));
    assert_eq!(invalid(&v6_frame(44, &twice)), InvalidTransport::ExtensionHeaders);
    let mut beyond = chain(&[60], 17, &udp(b"")).1;
    beyond[1] = 9;
    assert_eq!(invalid(&v6_frame(60, &beyond)), InvalidTransport::Truncated);
}

#[test]
fn esp_ah_and_everything_else_are_upper_layers() {
    for protocol in [50, 51, 47, 59, 135, 139] {
        let (next, rest) = chain(&[60], protocol, &[0; 24]);
        let packet = ip(&v6_frame(next, &rest));
        assert_eq!(
            (packet.protocol, packet.transport, packet.transport_offset),
            (protocol, Transport::Other, 62)
        );
        assert_eq!(packet.tuple().unwrap().selector, Selector::None, "CT-4");
    }
}

fn quoted_by(error: [u8; 8], quote: &[u8]) -> Option<(Selector, u8, bool)> {
    let upper = [&error[..], quote].concat();
    let v6 = error[0] < 3 && error[0] != 0;
    let frame = if v6 { v6_frame(58, &upper) } else { V4::new(1, &upper).frame() };
    let Transport::Icmp(icmp) = transport_of(&frame) else { panic!("not ICMP") };
    icmp.quoted.map(|quoted| (quoted.tuple.selector, quoted.tuple.protocol, quoted.is_icmp_error))
}

const UNREACHABLE: [u8; 8] = [3, 3, 0, 0, 0, 0, 0, 0];
const TOO_BIG: [u8; 8] = [2, 0, 0, 0, 0, 0, 5, 0];
const TCP_PORTS: Selector = Selector::Ports { source: 40000, destination: 443 };
const UDP_PORTS: Selector = Selector::Ports { source: 40000, destination: 53 };

#[test]
fn the_quoted_packet_is_read_leniently() {
    let whole = V4::new(6, &tcp(ACK, &[], &[0; 500])).options(&[1; 8]).packet();
    assert_eq!(
        quoted_by(UNREACHABLE, &whole[..36]),
        Some((TCP_PORTS, 6, false)),
        "header and 8 bytes, CT-53"
    );
    assert_eq!(quoted_by(UNREACHABLE, &whole[..35]), None, "CT-53");
    let first = V4::new(17, &udp(&[0; 64])).fragment(MF).packet();
    assert_eq!(quoted_by(UNREACHABLE, &first[..28]), Some((UDP_PORTS, 17, false)));
    let other = V4::new(47, &[0; 8]).packet();
    assert_eq!(quoted_by(UNREACHABLE, &other), Some((Selector::None, 47, false)));
    let (next, rest) = chain(&[0, 60], 17, &udp(&[0; 100]));
    let whole = v6_packet(next, &rest);
    assert_eq!(quoted_by(TOO_BIG, &whole[..64]), Some((UDP_PORTS, 17, false)));
    assert_eq!(quoted_by(TOO_BIG, &whole[..63]), None, "CT-53");
    let cut_first = v6_packet(44, &fragment_header(17, 0, true, &udp(&[0; 13])));
    assert_eq!(quoted_by(TOO_BIG, &cut_first), Some((UDP_PORTS, 17, false)), "its length means nothing here");
}

#[test]
fn what_cannot_be_related_is_not_read() {
    let later = V4::new(17, &udp(&[0; 64])).fragment(1).packet();
    assert_eq!(quoted_by(UNREACHABLE, &later), None, "CT-53: a later fragment");
    let later = v6_packet(44, &fragment_header(17, 8, false, &udp(&[0; 64])));
    assert_eq!(quoted_by(TOO_BIG, &later), None, "CT-53: a later fragment");
    assert_eq!(quoted_by(UNREACHABLE, &v6_packet(17, &udp(b""))), None, "CT-53: another version");
    assert_eq!(quoted_by(TOO_BIG, &V4::new(17, &udp(&[0; 64])).packet()), None, "CT-53: another version");
    let redirect = [5, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(quoted_by(redirect, &V4::new(17, &udp(b"")).packet()), None, "CT-54");
}

#[test]
fn a_quoted_icmp_message_keeps_its_identity() {
    let echo = V4::new(1, &[8, 0, 0, 0, 0x12, 0x34, 0, 1]).packet();
    let query = Selector::Query { source_type: 8, destination_type: 0, identifier: 0x1234 };
    assert_eq!(quoted_by(UNREACHABLE, &echo), Some((query, 1, false)));
    let error = V4::new(1, &[11, 0, 0, 0, 0, 0, 0, 0]).packet();
    assert_eq!(quoted_by(UNREACHABLE, &error).map(|quoted| quoted.2), Some(true), "CT-53");
    let error = v6_packet(58, &[3, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(quoted_by(TOO_BIG, &error).map(|quoted| quoted.2), Some(true), "CT-53");
}
