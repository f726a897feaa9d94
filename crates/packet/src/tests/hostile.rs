//! Random and mutated bytes through everything that takes bytes: nothing panics, and what is promised holds.

use proptest::prelude::*;

use super::{cases, samples::*};
use crate::build::{self, IcmpError, Link};
use crate::{
    Body, IpPacket, Offload, PacketSummary, VnetHeader, checksum, fragment_ipv4, ndp, parse, segment,
};

/// Valid frames of all kinds to mutate.
fn seeds() -> Vec<Vec<u8>> {
    let too_big = [&[2, 0, 0, 0, 0, 0, 5, 0][..], &v6_packet(6, &tcp(0x10, &[], &[0; 50]))].concat();
    let unreachable = [&[3, 4, 0, 0, 0, 0, 5, 0][..], &V4::new(17, &udp(&[0; 50])).packet()].concat();
    let solicitation = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &PEER6.octets(), &[1, 1], &GUEST_MAC.0].concat();
    let (chained, rest) = chain(&[0, 43, 60], 6, &tcp(0x18, &[1; 4], &[0; 500]));
    vec![
        V4::new(6, &tcp(2, &[2, 4, 5, 180, 3, 3, 7, 0], &[])).frame(),
        V4::new(6, &tcp(0x18, &[1; 12], &[1; 900])).options(&[7, 7, 4, 0, 0, 0, 0, 0]).frame(),
        V4::new(17, &udp(&[2; 300])).frame(),
        V4::new(17, &udp(&[2; 304])).fragment(MF).frame(),
        V4::new(17, &[3; 80]).fragment(40).frame(),
        V4::new(1, &unreachable).frame(),
        v6_frame(58, &too_big),
        v6_frame(58, &solicitation),
        v6_frame(chained, &rest),
        v6_frame(44, &fragment_header(17, 0, true, &udp(&[0; 96]))),
        v6_frame(44, &fragment_header(17, 96, false, &[0; 40])),
        v6_frame(17, &udp(&[4; 200])),
        ethernet(0x0806, &[&[0, 1, 8, 0, 6, 4, 0, 1][..], &[9; 20]].concat()),
    ]
}

fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    (prop::sample::select(seeds()), changes, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(mut frame, changes, cut, truncate)| {
            for (at, value) in changes {
                let at = at.index(frame.len());
                frame[at] = value;
            }
            if truncate {
                frame.truncate(cut.index(frame.len() + 1));
            }
            frame
        },
    )
}

fn exercise(frame: &[u8], vnet: VnetHeader) {
    let Ok(summary) = parse(frame) else { return };
    let offload = vnet.check(&summary);
    let packet = match summary.body {
        Body::Arp(arp) => return build::arp_reply(&mut Vec::new(), ROUTER_MAC, &arp),
        Body::Ip(packet) => packet,
    };
    offsets_lie_inside(frame, &packet);
    if let Ok(offload) = offload {
        re_encodes(offload, &summary, &packet);
        cut(frame, offload, &packet);
    }
    edit_and_answer(frame, &packet);
}

fn offsets_lie_inside(frame: &[u8], packet: &IpPacket) {
    let end = usize::from(packet.network_offset) + packet.ip_len as usize;
    assert!(packet.network_offset < packet.transport_offset);
    assert!(usize::from(packet.transport_offset) <= end && end <= frame.len());
    assert_eq!(packet.source.is_ipv4(), packet.destination.is_ipv4());
}

fn re_encodes(offload: Offload, summary: &PacketSummary, packet: &IpPacket) {
    let header = offload.header(packet);
    assert_eq!(header.check(summary), Ok(offload));
    assert_eq!(VnetHeader::from_bytes(header.to_bytes()), header);
    assert!(offload.largest_ip_len(packet) <= packet.ip_len);
}

fn cut(frame: &[u8], offload: Offload, packet: &IpPacket) {
    let Offload::Segments { kind, size, .. } = offload else { return };
    let headers = offload.largest_ip_len(packet) - u32::from(size);
    let (mut count, mut payload) = (0, 0);
    segment(frame, packet, kind, size, &mut Vec::new(), &mut |wire| {
        let cut = ip(wire);
        assert!(cut.ip_len <= headers + u32::from(size));
        count += 1;
        payload += cut.ip_len - headers;
    });
    assert_eq!((count, payload), (offload.wire_packets(packet), packet.ip_len - headers));
}

fn edit_and_answer(frame: &[u8], packet: &IpPacket) {
    checksum::complete(&mut frame.to_vec(), packet);
    let _ = checksum::transport_is_valid(frame, packet) || checksum::header_is_valid(frame, packet);
    let _ = ndp::read(frame, packet);
    for mtu in [0, 20, 28, 68, 300] {
        let mut longest = 0;
        let mut emit = |wire: &[u8]| longest = longest.max(wire.len());
        if fragment_ipv4(frame, packet, mtu, &mut Vec::new(), &mut emit).is_ok() {
            assert!(longest <= usize::from(mtu) + 14);
        }
    }
    let link = Link { source: ROUTER_MAC, destination: GUEST_MAC };
    let mut out = Vec::new();
    if build::icmpv4_error(&mut out, link, PEER, IcmpError::fragmentation_needed(1500), frame, packet)
        || build::icmpv6_error(&mut out, link, PEER6, IcmpError::packet_too_big(1500), frame, packet)
    {
        let error = ip(&out);
        assert!(checksum::transport_is_valid(&out, &error) && checksum::header_is_valid(&out, &error));
    }
}

/// A header that suits the frame, to be spoilt.
fn suitable(frame: &[u8], gso_type: u8, gso_size: u16) -> VnetHeader {
    let Ok(PacketSummary { body: Body::Ip(packet), .. }) = parse(frame) else { return VnetHeader::default() };
    VnetHeader { gso_type, gso_size, ..Offload::Partial.header(&packet) }
}

proptest! {
    #![proptest_config(cases(4_000))]

    #[test]
    fn random_bytes_do_no_harm(frame: Vec<u8>, vnet: [u8; 10]) {
        exercise(&frame, VnetHeader::from_bytes(vnet));
    }

    #[test]
    fn mutated_frames_do_no_harm(
        frame in mutated(),
        gso_type in prop::sample::select(vec![0_u8, 1, 3, 4, 5, 0x81, 0x84, 0x85]),
        gso_size in 0_u16..400,
        spoil in proptest::option::of((0_usize..10, any::<u8>())),
    ) {
        let mut bytes = suitable(&frame, gso_type, gso_size).to_bytes();
        if let Some((at, value)) = spoil {
            bytes[at] = value;
        }
        exercise(&frame, VnetHeader::from_bytes(bytes));
    }
}
