//! Segments and fragments put together again are what was cut, and etherparse finds every checksum right.

use etherparse::defrag::IpDefragBuf;
use etherparse::{IpFragOffset, IpNumber, NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;

use super::{cases, samples::*};
use crate::{GsoKind, IpPacket, Transport, Unfragmentable, checksum, fragment_ipv4, parse, segment};

const FIN_PSH_CWR_ACK: u8 = 0x01 | 0x08 | 0x80 | 0x10;

fn segments(frame: &[u8], kind: GsoKind, size: u16) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    segment(frame, &ip(frame), kind, size, &mut Vec::new(), &mut |wire| out.push(wire.to_vec()));
    out
}

fn fragments(frame: &[u8], mtu: u16) -> Result<Vec<Vec<u8>>, Unfragmentable> {
    let mut out = Vec::new();
    fragment_ipv4(frame, &ip(frame), mtu, &mut Vec::new(), &mut |wire| out.push(wire.to_vec()))?;
    Ok(out)
}

/// The payload behind the transport header, after etherparse has verified every checksum and length.
fn verified_payload(frame: &[u8]) -> Vec<u8> {
    let sliced = SlicedPacket::from_ethernet(frame).expect("a whole packet");
    let transport = sliced.transport.expect("a transport header");
    match (sliced.net.expect("an IP header"), transport) {
        (NetSlice::Ipv4(net), transport) => {
            let header = net.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum(), "IPv4 header checksum");
            assert_eq!(usize::from(header.total_len) + 14, frame.len());
            match transport {
                TransportSlice::Tcp(tcp) => {
                    assert_eq!(Ok(tcp.checksum()), tcp.calc_checksum_ipv4(header.source, header.destination));
                    tcp.payload().to_vec()
                }
                TransportSlice::Udp(udp) => {
                    let sum = udp.to_header().calc_checksum_ipv4(&header, udp.payload()).unwrap();
                    assert_eq!(udp.checksum(), if sum == 0 { 0xffff } else { sum });
                    udp.payload().to_vec()
                }
                other => panic!("{other:?}"),
            }
        }
        (NetSlice::Ipv6(net), TransportSlice::Tcp(tcp)) => {
            let header = net.header().to_header();
            assert_eq!(Ok(tcp.checksum()), tcp.calc_checksum_ipv6(header.source, header.destination));
            assert_eq!(usize::from(header.payload_length) + 54, frame.len());
            tcp.payload().to_vec()
        }
        (NetSlice::Ipv6(net), TransportSlice::Udp(udp)) => {
            let header = net.header().to_header();
            let sum = udp.to_header().calc_checksum_ipv6(&header, udp.payload()).unwrap();
            assert_eq!(udp.checksum(), if sum == 0 { 0xffff } else { sum });
            udp.payload().to_vec()
        }
        other => panic!("{other:?}"),
    }
}

/// A partial frame of the kind, over IPv6 if `v6`, with options or an extension header if `longer`.
fn partial_frame(kind: GsoKind, v6: bool, longer: bool, payload: &[u8]) -> Vec<u8> {
    let (protocol, upper) = match kind {
        GsoKind::Udp => (17, udp(payload)),
        _ => (6, tcp(FIN_PSH_CWR_ACK, &[1; 12], payload)),
    };
    let mut frame = if v6 {
        let (next, rest) = chain(if longer { &[60] } else { &[] }, protocol, &upper);
        v6_frame(next, &rest)
    } else {
        V4::new(protocol, &upper).options(if longer { &[1; 8] } else { &[] }).frame()
    };
    make_partial(&mut frame);
    frame
}

fn kinds() -> impl Strategy<Value = (GsoKind, bool)> {
    prop_oneof![
        Just((GsoKind::Tcp4, false)),
        Just((GsoKind::Tcp6, true)),
        Just((GsoKind::Udp, false)),
        Just((GsoKind::Udp, true)),
    ]
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn segments_hold_the_payload_and_verify(
        (kind, v6) in kinds(),
        longer: bool,
        payload in proptest::collection::vec(any::<u8>(), 0..9_000),
        size in 1_u16..3_000,
    ) {
        let frame = partial_frame(kind, v6, longer, &payload);
        let size = size.max(u16::try_from(payload.len() / 500).unwrap()).max(1);
        let out = segments(&frame, kind, size);
        prop_assert_eq!(out.len(), payload.len().div_ceil(usize::from(size)).max(1));
        let joined: Vec<u8> = out.iter().flat_map(|wire| verified_payload(wire)).collect();
        prop_assert_eq!(joined, payload);
        for wire in &out {
            let packet = ip(wire);
            prop_assert!(checksum::header_is_valid(wire, &packet) && checksum::transport_is_valid(wire, &packet));
        }
    }

    #[test]
    fn a_completed_checksum_verifies(
        (kind, v6) in kinds(),
        longer: bool,
        payload in proptest::collection::vec(any::<u8>(), 0..300),
        padding in 0_usize..5,
    ) {
        let mut frame = partial_frame(kind, v6, longer, &payload);
        let len = frame.len();
        frame.resize(len + padding, 0xa5);
        let packet = ip(&frame);
        checksum::complete(&mut frame, &packet);
        prop_assert_eq!(verified_payload(&frame[..len]), payload);
        prop_assert!(checksum::transport_is_valid(&frame, &packet));
        frame[usize::from(packet.transport_offset)] ^= 1;
        prop_assert!(!checksum::transport_is_valid(&frame, &packet));
    }

    #[test]
    fn fragments_reassemble(
        payload in proptest::collection::vec(any::<u8>(), 0..4_000),
        words in 0_usize..=10,
        mtu in 68_u16..2_000,
        second_mtu in 68_u16..2_000,
    ) {
        let upper = udp(&payload);
        let frame = V4::new(17, &upper).options(&vec![1; words * 4]).frame();
        let cut = fragments(&frame, mtu).unwrap();
        prop_assert_eq!(reassembled(&cut, mtu), upper.clone());
        let cut_again: Vec<_> = cut.iter().flat_map(|wire| fragments(wire, second_mtu).unwrap()).collect();
        prop_assert_eq!(reassembled(&cut_again, mtu.min(second_mtu)), upper);
    }
}

/// The datagram's payload by etherparse's defragmentation, after every fragment's header was verified.
fn reassembled(fragments: &[Vec<u8>], mtu: u16) -> Vec<u8> {
    let mut buffer = IpDefragBuf::new(IpNumber::UDP, Vec::new(), Vec::new());
    for frame in fragments {
        let packet = ip(frame);
        assert!(packet.ip_len <= u32::from(mtu));
        assert!(checksum::header_is_valid(frame, &packet));
        assert_ne!(packet.transport, Transport::Invalid(crate::InvalidTransport::Fragment));
        assert_eq!(usize::try_from(packet.ip_len).unwrap() + 14, frame.len());
        let upper = &frame[checksum::upper_range(&packet)];
        let (offset, more) = packet.fragment.map_or((0, false), |fragment| (fragment.offset, fragment.more));
        buffer.add(IpFragOffset::try_new(offset / 8).unwrap(), more, upper).expect("fragments that fit");
    }
    assert!(buffer.is_complete());
    buffer.take_bufs().0
}

fn tcp_header(frame: &[u8]) -> crate::Tcp {
    match transport_of(frame) {
        Transport::Tcp(tcp) => tcp,
        other => panic!("{other:?}"),
    }
}

#[test]
fn tcp_flags_sequence_and_identification_follow_the_segments() {
    let frame = partial_frame(GsoKind::Tcp4, false, false, &[7; 700]);
    let out = segments(&frame, GsoKind::Tcp4, 300);
    let seen: Vec<_> = out
        .iter()
        .map(|wire| (tcp_header(wire).flags.0, tcp_header(wire).sequence, [wire[18], wire[19]]))
        .collect();
    let expected = [
        (0x90, 0xffff_ff00, [0x12, 0x34]), // CWR on the first
        (0x10, 0x0000_002c, [0x12, 0x35]), // the sequence number wraps
        (0x19, 0x0000_0158, [0x12, 0x36]), // FIN and PSH on the last
    ];
    assert_eq!(seen, expected);
}

#[test]
fn a_single_segment_keeps_all_its_flags() {
    let frame = partial_frame(GsoKind::Tcp4, false, false, &[7; 10]);
    let out = segments(&frame, GsoKind::Tcp4, 300);
    assert_eq!(out.iter().map(|wire| tcp_header(wire).flags.0).collect::<Vec<_>>(), [FIN_PSH_CWR_ACK]);
}

#[test]
fn the_wrong_kind_or_size_cuts_nothing() {
    let frame = partial_frame(GsoKind::Tcp4, false, false, &[7; 700]);
    assert!(segments(&frame, GsoKind::Tcp6, 300).is_empty());
    assert!(segments(&frame, GsoKind::Udp, 300).is_empty());
    assert!(segments(&frame, GsoKind::Tcp4, 0).is_empty());
}

#[test]
fn frames_above_64_kib_are_cut_into_packets_that_exist() {
    let payload = vec![1; 66_000];
    let mut frame = V4::new(6, &tcp(0x10, &[], &payload)).frame();
    make_partial(&mut frame);
    let out = segments(&frame, GsoKind::Tcp4, u16::MAX);
    assert_eq!(out.iter().map(|wire| verified_payload(wire).len()).collect::<Vec<_>>(), [65_495, 505]);
}

#[test]
fn a_packet_that_fits_is_not_fragmented() {
    let mut frame = V4::new(17, &udp(&[0; 472])).frame();
    let bare = frame.clone();
    frame.resize(600, 0);
    assert_eq!(fragments(&frame, 500).unwrap(), [bare]);
}

#[test]
fn unfragmentable_packets_are_refused() {
    let df = V4::new(17, &udp(&[0; 600])).fragment(DF).frame();
    assert_eq!(fragments(&df, 500), Err(Unfragmentable::DontFragment), "RT-61");
    assert_eq!(fragments(&v6_frame(17, &udp(&[0; 600])), 500), Err(Unfragmentable::DontFragment), "RT-62");
    let clear = V4::new(17, &udp(&[0; 600])).frame();
    assert_eq!(fragments(&clear, 27), Err(Unfragmentable::MtuTooSmall));
    assert_eq!(fragments(&clear, 28).unwrap().len(), 76);
}

#[test]
fn only_copied_options_stand_in_later_fragments() {
    // Record route (7, not copied), stream id (136, copied), padding.
    let options = [7, 7, 4, 0, 0, 0, 0, 136, 4, 0xab, 0xcd, 0];
    let frame = V4::new(17, &udp(&[0; 200])).options(&options).frame();
    let out = fragments(&frame, 132).unwrap();
    assert_eq!(out.len(), 3);
    assert_eq!(out[0][34..46], options);
    for later in &out[1..] {
        assert_eq!(later[34..46], [1, 1, 1, 1, 1, 1, 1, 136, 4, 0xab, 0xcd, 0], "RFC 791 §3.1");
    }
}

#[test]
fn a_fragment_s_last_piece_keeps_its_more_bit() {
    let middle = V4::new(17, &[5; 160]).fragment(MF | 0x0a).frame();
    let seen: Vec<_> = fragments(&middle, 100)
        .unwrap()
        .iter()
        .map(|wire| ip(wire).fragment.map(|fragment| (fragment.offset, fragment.len, fragment.more)))
        .collect();
    assert_eq!(seen, [Some((80, 80, true)), Some((160, 80, true))]);
    let packet: IpPacket = ip(&middle);
    assert!(parse(&middle).is_ok() && packet.fragment.is_some());
}
