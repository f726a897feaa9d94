//! The parser against etherparse, and its reader of common frames against its general one.
//!
//! Known differences, left out of the comparison: etherparse reads no transport header of first fragments, walks on behind
//! the fragment header of later ones, walks AH, mobility, HIP and shim6 headers as extension headers, and has no limit to
//! their number; it refuses ICMP timestamps that are not exactly 20 bytes long.

use std::net::IpAddr;

use etherparse::{NetSlice, SlicedPacket, TcpOptionElement, TransportSlice};
use proptest::prelude::*;

use super::{cases, samples::*};
use crate::parse::{parse_any, read_plain};
use crate::{Body, IpPacket, PacketSummary, Tcp, Transport, parse};

/// Well-formed frames of every kind, with padding behind some.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let payload = || proptest::collection::vec(any::<u8>(), 0..64);
    let tcp = (any::<u8>(), 0_usize..=10, payload()).prop_map(|(flags, words, payload)| {
        let options = [2, 4, 5, 180, 3, 3, 9, 1, 1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
        (6, tcp(flags, &options.repeat(2)[..words * 4], &payload))
    });
    let udp = payload().prop_map(|payload| (17, udp(&payload)));
    let icmp = (prop_oneof![Just(1), Just(58)], any::<[u8; 8]>(), payload())
        .prop_filter("timestamps", |(_, head, _)| !matches!(head[0], 13 | 14))
        .prop_map(|(protocol, head, rest)| (protocol, [&head[..], &rest].concat()));
    let other = (prop_oneof![Just(47), Just(50), Just(132)], payload());
    let upper = prop_oneof![tcp, udp, icmp, other];
    let option_words = 0_usize..=10;
    let extensions = proptest::collection::vec(prop_oneof![Just(43_u8), Just(60)], 0..7);
    (upper, any::<bool>(), option_words, extensions, any::<bool>(), 0_usize..30).prop_map(
        |((protocol, upper), v6, words, mut extensions, hop_by_hop, padding)| {
            let mut frame = if v6 {
                if hop_by_hop {
                    extensions.insert(0, 0);
                }
                let (next, rest) = chain(&extensions, protocol, &upper);
                v6_frame(next, &rest)
            } else {
                V4::new(protocol, &upper).options(&vec![1; words * 4]).frame()
            };
            frame.resize(frame.len() + padding, 0);
            frame
        },
    )
}

/// The same with a few bytes changed.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (frames(), changes, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(mut frame, changes, keep, cut)| {
            for (at, value) in changes {
                let at = at.index(frame.len());
                frame[at] = value;
            }
            if cut {
                frame.truncate(keep.index(frame.len() + 1));
            }
            frame
        },
    )
}

fn tcp_agrees(ours: &Tcp, theirs: &etherparse::TcpSlice<'_>) -> Result<(), TestCaseError> {
    prop_assert_eq!((ours.source, ours.destination), (theirs.source_port(), theirs.destination_port()));
    prop_assert_eq!(ours.sequence, theirs.sequence_number());
    prop_assert_eq!(ours.acknowledgement, theirs.acknowledgment_number());
    prop_assert_eq!(ours.window, theirs.window_size());
    prop_assert_eq!(usize::from(ours.header_len), theirs.header_slice().len());
    prop_assert_eq!(ours.flags.0, theirs.header_slice()[13]);
    let scale = theirs.options_iterator().find_map(|option| match option {
        Ok(TcpOptionElement::WindowScale(shift)) => Some(shift.min(14)),
        _ => None,
    });
    let malformed = theirs.options_iterator().any(|option| option.is_err());
    // etherparse gives up at options it does not know; a scale behind one is read here.
    if !malformed {
        prop_assert_eq!(ours.window_scale, scale.filter(|_| theirs.syn()));
    }
    Ok(())
}

fn transport_agrees(ours: &Transport, theirs: &TransportSlice<'_>) -> Result<(), TestCaseError> {
    match (ours, theirs) {
        (Transport::Tcp(ours), TransportSlice::Tcp(theirs)) => tcp_agrees(ours, theirs)?,
        (Transport::Udp { source, destination }, TransportSlice::Udp(theirs)) => {
            prop_assert_eq!((*source, *destination), (theirs.source_port(), theirs.destination_port()));
        }
        (Transport::Icmp(ours), TransportSlice::Icmpv4(theirs)) if !ours.v6 => {
            prop_assert_eq!((ours.icmp_type, ours.code), (theirs.type_u8(), theirs.code_u8()));
        }
        (Transport::Icmp(ours), TransportSlice::Icmpv6(theirs)) if ours.v6 => {
            prop_assert_eq!((ours.icmp_type, ours.code), (theirs.type_u8(), theirs.code_u8()));
        }
        // CT-58: ICMP of the other family is another protocol, and so is IGMP.
        (
            Transport::Other,
            TransportSlice::Icmpv4(_) | TransportSlice::Icmpv6(_) | TransportSlice::Igmp(_),
        ) => {}
        _ => prop_assert!(false, "{ours:?} is not {theirs:?}"),
    }
    Ok(())
}

fn net_agrees(frame: &[u8], ours: &IpPacket, theirs: &NetSlice<'_>) -> Result<(), TestCaseError> {
    let (source, destination, payload): (IpAddr, IpAddr, _) = match theirs {
        NetSlice::Ipv4(slice) => {
            let header = slice.header();
            prop_assert_eq!((ours.hop_limit, ours.dont_fragment), (header.ttl(), header.dont_fragment()));
            (header.source_addr().into(), header.destination_addr().into(), slice.payload())
        }
        NetSlice::Ipv6(slice) => {
            let header = slice.header();
            prop_assert_eq!(ours.hop_limit, header.hop_limit());
            (header.source_addr().into(), header.destination_addr().into(), slice.payload())
        }
        NetSlice::Arp(_) => return Err(TestCaseError::fail("etherparse read ARP")),
    };
    prop_assert_eq!((ours.source, ours.destination), (source, destination));
    prop_assert_eq!(ours.fragment.is_some(), payload.fragmented);
    if ours.transport == Transport::LaterFragment {
        return Ok(());
    }
    let start = usize::from(ours.transport_offset);
    let upper = &frame[start..start + ours.transport_len() as usize];
    prop_assert_eq!((ours.protocol, upper), (payload.ip_number.0, payload.payload));
    Ok(())
}

/// Whether etherparse walks headers that are upper layers here.
fn walks_further(ours: &IpPacket) -> bool {
    matches!(ours.protocol, 51 | 135 | 139 | 140)
}

fn agrees(frame: &[u8], ours: &PacketSummary, theirs: &SlicedPacket<'_>) -> Result<(), TestCaseError> {
    let Body::Ip(ours) = &ours.body else { return Ok(()) };
    if walks_further(ours) || matches!(ours.transport, Transport::Invalid(_)) {
        return Ok(());
    }
    let Some(net) = &theirs.net else { return Err(TestCaseError::fail("etherparse saw no IP")) };
    net_agrees(frame, ours, net)?;
    match &theirs.transport {
        Some(transport) => transport_agrees(&ours.transport, transport)?,
        None => prop_assert!(ours.fragment.is_some() || ours.transport == Transport::Other),
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn well_formed_frames_are_read_as_etherparse_reads_them(frame in frames()) {
        let theirs = SlicedPacket::from_ethernet(&frame).expect("etherparse reads it");
        let ours = parse(&frame).expect("so do we");
        prop_assert!(!matches!(ip(&frame).transport, Transport::Invalid(_)));
        agrees(&frame, &ours, &theirs)?;
    }

    #[test]
    fn what_both_read_of_a_damaged_frame_is_the_same(frame in damaged()) {
        if let (Ok(ours), Ok(theirs)) = (parse(&frame), SlicedPacket::from_ethernet(&frame)) {
            agrees(&frame, &ours, &theirs)?;
        }
    }
    #[test]
    fn a_plain_frame_is_read_as_the_general_reader_reads_it(frame in prop_oneof![frames(), damaged()]) {
        if let Some(summary) = read_plain(&frame) {
            prop_assert_eq!(Ok(summary), parse_any(&frame));
        }
    }
}

#[test]
fn common_frames_are_plain() {
    let frames = [
        V4::new(6, &tcp(0x10, &[], &[])),
        V4::new(6, &tcp(0x18, &[1; 12], &[7; 1_400])),
        V4::new(6, &tcp(0x11, &[1; 40], &[])).fragment(DF),
        V4::new(17, &udp(&[])),
        V4::new(17, &udp(&[7; 64])),
    ];
    for frame in frames {
        let frame = frame.frame();
        let read = read_plain(&frame).expect("it is plain");
        assert_eq!(Ok(read), parse_any(&frame));
    }
}
