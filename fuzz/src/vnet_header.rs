//! Ten bytes of virtio-net header, then a frame.

use palisade_packet::{
    Body, GsoKind, IpPacket, Offload, PacketSummary, Transport, VnetHeader, checksum, parse, segment,
};

/// Checks a virtio-net header against the frame behind it and does what an accepted one asks for.
///
/// # Panics
///
/// If an accepted header asks for more than the packet's own checksum, is not accepted again after re-encoding, or if the
/// segments do not verify or do not add up to the frame.
pub fn vnet_header(data: &[u8]) {
    let Some((bytes, frame)) = data.split_first_chunk::<{ VnetHeader::LEN }>() else { return };
    let header = VnetHeader::from_bytes(*bytes);
    assert_eq!(header.to_bytes(), *bytes, "the header round-trips");
    let Ok(summary) = parse(frame) else { return };
    let Ok(offload) = header.check(&summary) else { return };
    let Body::Ip(packet) = summary.body else {
        assert!(matches!(offload, Offload::None | Offload::Valid), "ARP has nothing to offload");
        return;
    };
    asks_for_nothing_else(&header, offload, &packet);
    re_encodes(offload, &summary, &packet);
    if let Offload::Segments { kind, size, .. } = offload {
        segments_add_up(frame, &packet, offload, (kind, size));
    }
}

fn asks_for_nothing_else(header: &VnetHeader, offload: Offload, packet: &IpPacket) {
    if matches!(offload, Offload::None | Offload::Valid) {
        assert_eq!((header.flags & VnetHeader::NEEDS_CSUM, header.gso_type), (0, VnetHeader::GSO_NONE));
        return;
    }
    assert_eq!(header.csum_start, packet.transport_offset);
    assert_eq!(Some(header.csum_offset), checksum::field_offset(&packet.transport));
    assert_eq!(packet.fragment, None, "fragments have no offload");
}

fn re_encodes(offload: Offload, summary: &PacketSummary, packet: &IpPacket) {
    let sent = offload.header(packet);
    assert_eq!(sent.check(summary), Ok(offload), "what is sent is accepted again");
    assert!(u32::from(sent.hdr_len) <= u32::from(packet.network_offset) + packet.ip_len);
    assert!(offload.largest_ip_len(packet) <= packet.ip_len);
    assert!(offload.wire_packets(packet) >= 1);
}

/// With the right pseudo-header sum in the frame, each segment verifies; together they hold the payload.
fn segments_add_up(frame: &[u8], packet: &IpPacket, offload: Offload, (kind, size): (GsoKind, u16)) {
    let mut frame = frame.to_vec();
    make_partial(&mut frame, packet);
    let headers = offload.largest_ip_len(packet) - u32::from(size);
    let headers_end = usize::from(packet.network_offset) + headers as usize;
    let end = usize::from(packet.network_offset) + packet.ip_len as usize;
    let (mut payload, mut count) = (Vec::new(), 0);
    segment(&frame, packet, kind, size, &mut Vec::new(), &mut |wire| {
        let Ok(Body::Ip(piece)) = parse(wire).map(|summary| summary.body) else {
            panic!("a segment does not parse");
        };
        assert_eq!(piece.tuple(), packet.tuple(), "what was judged is what is sent");
        assert!(piece.ip_len <= offload.largest_ip_len(packet));
        assert!(checksum::header_is_valid(wire, &piece) && checksum::transport_is_valid(wire, &piece));
        payload.extend_from_slice(wire.get(headers_end..).unwrap_or_default());
        count += 1;
    });
    assert_eq!(count, offload.wire_packets(packet), "as many as were counted");
    assert_eq!(Some(payload.as_slice()), frame.get(headers_end..end), "the segments hold the payload");
}

fn make_partial(frame: &mut [u8], packet: &IpPacket) {
    let start = usize::from(packet.transport_offset);
    // UDP counts the length in its header, which may differ from that of the packet in a hostile frame.
    let len = match (packet.transport, frame.get(start + 4..start + 6)) {
        (Transport::Udp { .. }, Some(&[high, low])) => u32::from(u16::from_be_bytes([high, low])),
        _ => packet.transport_len(),
    };
    let sum = checksum::pseudo_header(packet.source, packet.destination, packet.protocol, len).folded();
    let field = checksum::field_offset(&packet.transport).map_or(0, usize::from);
    if let Some(field) = frame.get_mut(start + field..start + field + 2) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
}
