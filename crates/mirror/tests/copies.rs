//! Copies read back with etherparse.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::net::Ipv4Addr;

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use palisade_mirror::{Envelope, Link, OVERHEAD, PORT, Unsealed, on_the_wire, source_port};
use palisade_packet::{Body, IpPacket, MacAddr, VnetHeader, parse};
use proptest::prelude::*;

const LINK: Link = Link { source: MacAddr([2, 0, 0, 0, 0, 1]), destination: MacAddr([2, 0, 0, 0, 0, 2]) };

fn envelope(mtu: u16, packet_length: Option<u16>) -> Envelope {
    let [source, destination] = [[10, 0, 1, 10], [10, 0, 9, 9]].map(Ipv4Addr::from);
    Envelope { source, destination, vni: 0x00ab_cdef, packet_length, mtu }
}

fn tcp(source: u16, payload: usize) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], [2, 0, 0, 0, 0, 8])
        .ipv4([10, 0, 1, 10], [10, 0, 2, 20], 64)
        .tcp(source, 443, 7, 1_000)
        .ack(9);
    let mut frame = Vec::new();
    builder.write(&mut frame, &vec![0x5a; payload]).unwrap();
    frame
}

fn ip(frame: &[u8]) -> IpPacket {
    match parse(frame).unwrap().body {
        Body::Ip(packet) => packet,
        Body::Arp(arp) => panic!("{arp:?}"),
    }
}

/// VNI, copied bytes and UDP source port of a copy, whose outer headers are checked.
fn open(copy: &[u8]) -> (u32, Vec<u8>, u16) {
    let sliced = SlicedPacket::from_ethernet(copy).unwrap();
    let Some(NetSlice::Ipv4(ipv4)) = &sliced.net else { panic!("{:?}", sliced.net) };
    let header = ipv4.header();
    assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
    assert_eq!(
        (header.source_addr(), header.destination_addr()),
        ([10, 0, 1, 10].into(), [10, 0, 9, 9].into())
    );
    assert_eq!(
        (header.ttl(), header.dcp().value(), header.dont_fragment(), header.identification()),
        (64, 0, false, 77),
        "TM-34"
    );
    assert_eq!(usize::from(header.total_len()), copy.len() - 14);
    let Some(TransportSlice::Udp(udp)) = &sliced.transport else { panic!("{:?}", sliced.transport) };
    assert_eq!((udp.destination_port(), udp.checksum()), (PORT, 0), "TM-32");
    assert_eq!(usize::from(udp.length()), copy.len() - 34);
    let payload = udp.payload();
    assert_eq!((&payload[..4], payload[7]), (&[8, 0, 0, 0][..], 0), "TM-33");
    let vni = u32::from_be_bytes([0, payload[4], payload[5], payload[6]]);
    (vni, payload[8..].to_vec(), udp.source_port())
}

fn seal(envelope: &Envelope, frame: &[u8]) -> Vec<u8> {
    let mut out = vec![9; 9];
    envelope.seal(Unsealed { frame, addresses: None }, LINK, 77, source_port(&ip(frame)), &mut out);
    out
}

#[test]
fn tm_30_tm_31_tm_33_the_frame_is_inside() {
    let frame = tcp(40_000, 100);
    let copy = seal(&envelope(1500, None), &frame);
    assert_eq!((&copy[..6], &copy[6..12]), (&LINK.destination.0[..], &LINK.source.0[..]));
    let (vni, inner, _) = open(&copy);
    assert_eq!((vni, inner), (0x00ab_cdef, frame));
}

#[test]
fn tm_36_tm_57_packet_length_counts_from_the_inner_ethernet_header() {
    let short = tcp(40_000, 20);
    assert_eq!(short.len(), 74, "60 bytes of IP");
    assert_eq!(open(&seal(&envelope(9001, Some(100)), &short)).1, short, "TM-57");
    let long = tcp(40_000, 1_000);
    assert_eq!(open(&seal(&envelope(9001, Some(100)), &long)).1, long[..100], "nothing in it is rewritten");
    assert_eq!(open(&seal(&envelope(9001, Some(1)), &long)).1, long[..1]);
}

#[test]
fn tm_37_a_copy_that_is_too_large_is_cut_to_fit() {
    let frame = tcp(40_000, 1_446);
    assert_eq!(frame.len(), 1_500);
    let copy = seal(&envelope(1_500, None), &frame);
    assert_eq!((copy.len() - 14, open(&copy).1), (1_500, frame[..1_464].to_vec()));
    let fits = tcp(40_000, 1_410);
    assert_eq!(open(&seal(&envelope(1_500, None), &fits)).1, fits);
    assert_eq!(envelope(20, None).kept(100), 0, "a target that takes not even the headers");
}

#[test]
fn tm_32_the_source_port_is_that_of_the_flow() {
    let ports: Vec<_> = (0..1_000).map(|port| source_port(&ip(&tcp(40_000 + port, 0)))).collect();
    assert!(ports.iter().all(|port| *port >= 49_152));
    assert_eq!(source_port(&ip(&tcp(40_001, 700))), ports[1], "whatever the packet");
    let mut different = ports.clone();
    different.sort_unstable();
    different.dedup();
    assert!(different.len() > 900, "{} ports for 1,000 flows", different.len());
}

#[test]
fn a_super_packet_is_copied_as_its_segments() {
    let mut frame = tcp(40_000, 3_000);
    let packet = ip(&frame);
    let partial =
        palisade_packet::checksum::pseudo_header(packet.source, packet.destination, 6, 3_020).folded();
    frame[50..52].copy_from_slice(&partial.to_be_bytes());
    let vnet =
        VnetHeader { flags: 1, gso_type: 1, hdr_len: 54, gso_size: 1_400, csum_start: 34, csum_offset: 16 };
    let offload = vnet.check(&parse(&frame).unwrap()).unwrap();
    let mut segments = Vec::new();
    on_the_wire(&frame, &packet, offload, &mut Vec::new(), &mut |segment| segments.push(segment.to_vec()));
    assert_eq!(segments.iter().map(Vec::len).collect::<Vec<_>>(), [1_454, 1_454, 254]);
    for segment in segments {
        let (_, inner, _) = open(&seal(&envelope(9_001, None), &segment));
        let packet = ip(&inner);
        assert!(
            palisade_packet::checksum::transport_is_valid(&inner, &packet)
                && palisade_packet::checksum::header_is_valid(&inner, &packet)
        );
    }
}

proptest! {
    #[test]
    fn no_copy_exceeds_the_mtu_or_lacks_a_byte_that_fits(
        frame in prop::collection::vec(any::<u8>(), 0..10_000),
        mtu in 50..9_002_u16,
        length in prop::option::of(1..8_501_u16),
    ) {
        let mut out = Vec::new();
        envelope(mtu, length).seal(Unsealed { frame: &frame, addresses: None }, LINK, 77, 50_000, &mut out);
        let kept = out.len() - 14 - OVERHEAD;
        prop_assert!(out.len() - 14 <= usize::from(mtu));
        prop_assert!(kept == frame.len() || kept == usize::from(mtu) - OVERHEAD || Some(kept) == length.map(usize::from));
        prop_assert_eq!(&open(&out).1, &frame[..kept]);
    }
}
