//! What a frame is on a wire: with its checksum finished, cut into segments, and its fragments put together.
//!
//! A device that cannot do such work has it done for it, and a narrow link takes a datagram in fragments, so the same
//! packet may arrive in several ways. Two frames are the same packet if they are the same here.

use palisade_packet::checksum::{self, Sum};
use palisade_packet::{Body, ETHERNET_LEN, Offload, VnetHeader, parse, segment};

use crate::notation::Frame;
use crate::stage::Arrival;

/// Bytes in front of the Ethernet type, which forwarding rewrites.
const ADDRESSES: usize = 12;

/// Whether these frames, in this order, are the packet of `sent` and nothing else, apart from MAC addresses.
#[must_use]
pub fn same_packet<'a>(arrived: impl Iterator<Item = (VnetHeader, &'a [u8])> + Clone, sent: &Frame) -> bool {
    let mut whole = arrived.clone();
    if let (Some((vnet, bytes)), None) = (whole.next(), whole.next())
        && bytes.get(ADDRESSES..) == sent.bytes.get(ADDRESSES..)
        && offload(vnet, bytes) == offload(sent.vnet, &sent.bytes)
    {
        return true;
    }
    let seen = arrived.flat_map(|(vnet, bytes)| packets(vnet, bytes)).collect();
    joined(seen) == joined(packets(sent.vnet, &sent.bytes).collect())
}

/// What is left to do; whether a finished checksum has been verified is the receiver's business.
fn offload(vnet: VnetHeader, frame: &[u8]) -> Option<Offload> {
    let offload = vnet.check(&parse(frame).ok()?).ok()?;
    Some(if offload == Offload::Valid { Offload::None } else { offload })
}

/// How many packets these frames are on the wire.
pub(crate) fn count<'a>(arrivals: impl IntoIterator<Item = &'a Arrival>) -> usize {
    let arrivals = arrivals.into_iter();
    arrivals.map(|arrival| segments(arrival.vnet, &arrival.bytes).len()).sum()
}

/// The frames of the packets that a frame stands for, checksums finished.
pub(crate) fn segments(vnet: VnetHeader, frame: &[u8]) -> Vec<Vec<u8>> {
    let Some((offload, Body::Ip(ip))) =
        offload(vnet, frame).zip(parse(frame).ok().map(|summary| summary.body))
    else {
        return vec![frame.to_vec()];
    };
    match offload {
        Offload::None | Offload::Valid => vec![frame.to_vec()],
        Offload::Partial => {
            let mut frame = frame.to_vec();
            checksum::complete(&mut frame, &ip);
            vec![frame]
        }
        Offload::Segments { kind, size, .. } => {
            let mut out = Vec::new();
            segment(frame, &ip, kind, size, &mut Vec::new(), &mut |segment| out.push(segment.to_vec()));
            out
        }
    }
}

/// The same without MAC addresses.
fn packets(vnet: VnetHeader, frame: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    segments(vnet, frame).into_iter().map(|frame| frame.get(ADDRESSES..).unwrap_or_default().to_vec())
}

/// Puts IPv4 fragments together that follow each other.
fn joined(packets: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> = Vec::new();
    for packet in packets {
        match out.last_mut().and_then(|before| Some((follows(before, &packet)?, before))) {
            Some((payload, before)) => extend(before, payload, more(&packet)),
            None => out.push(packet),
        }
    }
    out
}

/// The IPv4 header in a packet without MAC addresses.
const IP: usize = ETHERNET_LEN - ADDRESSES;
const MORE: u8 = 0x20;

/// The payload of a fragment, if it continues the one before.
fn follows<'a>(before: &[u8], packet: &'a [u8]) -> Option<&'a [u8]> {
    let is_ipv4 = |packet: &[u8]| packet.starts_with(&[0x08, 0x00]);
    // Identification, protocol and addresses.
    let datagram = |packet: &[u8]| {
        Some((
            packet.get(IP + 4..IP + 6)?.to_vec(),
            *packet.get(IP + 9)?,
            packet.get(IP + 12..IP + 20)?.to_vec(),
        ))
    };
    let continues =
        is_ipv4(before) && is_ipv4(packet) && more(before) && datagram(before)? == datagram(packet)?;
    let end = offset(before)? + payload(before)?.len();
    (continues && offset(packet)? == end).then(|| payload(packet))?
}

fn more(packet: &[u8]) -> bool {
    packet.get(IP + 6).is_some_and(|flags| flags & MORE != 0)
}

fn offset(packet: &[u8]) -> Option<usize> {
    let field: [u8; 2] = packet.get(IP + 6..IP + 8)?.try_into().ok()?;
    Some(usize::from(u16::from_be_bytes(field) & 0x1fff) * 8)
}

fn payload(packet: &[u8]) -> Option<&[u8]> {
    packet.get(IP + header_len(packet)?..)
}

fn header_len(packet: &[u8]) -> Option<usize> {
    packet.get(IP).map(|first| usize::from(first & 0x0f) * 4)
}

/// Appends a payload and writes the header anew.
fn extend(packet: &mut Vec<u8>, payload: &[u8], more: bool) {
    packet.extend_from_slice(payload);
    let total = u16::try_from(packet.len() - IP).unwrap_or(u16::MAX);
    let end = IP + header_len(packet).unwrap_or_default();
    let Some(header) = packet.get_mut(IP..end) else { return };
    header[2..4].copy_from_slice(&total.to_be_bytes());
    header[6] = if more { header[6] | MORE } else { header[6] & !MORE };
    header[10..12].fill(0);
    let checksum = Sum::ZERO.bytes(header).checksum();
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use palisade_packet::{fragment_ipv4, offload::GsoKind};
    use palisade_policy::{EniKey, PortKey};

    use super::*;
    use crate::notation;

    fn frame(text: &str) -> Frame {
        let world = "[vpc]\ncidr_blocks = ['10.0.0.0/16']\n[subnet.a]\ncidr = '10.0.1.0/24'\n\
                     [eni.a1]\nsubnet = 'a'\naddress = '10.0.1.10'\nattach = { tap = 'a1' }";
        let vpc = palisade_policy::draft::load("world", world).unwrap();
        let snapshot = palisade_policy::Snapshot::compile(vpc, None);
        notation::parse(text).unwrap().frame(&snapshot).unwrap()
    }

    fn ip(frame: &Frame) -> palisade_packet::IpPacket {
        let Body::Ip(ip) = parse(&frame.bytes).unwrap().body else { panic!("an IP packet") };
        ip
    }

    fn is_carried(arrived: &[(VnetHeader, Vec<u8>)], sent: &Frame) -> bool {
        same_packet(arrived.iter().map(|(vnet, bytes)| (*vnet, &**bytes)), sent)
    }

    #[test]
    fn fragments_are_the_datagram_they_came_from() {
        let sent = frame("udp 10.0.1.10:1 > 10.0.1.11:2 len 4000");
        let mut pieces = Vec::new();
        let mut keep = |piece: &[u8]| pieces.push((VnetHeader::default(), piece.to_vec()));
        fragment_ipv4(&sent.bytes, &ip(&sent), 1400, &mut Vec::new(), &mut keep).unwrap();
        assert!(pieces.len() > 2 && is_carried(&pieces, &sent));
        assert!(!is_carried(&pieces[1..], &sent), "the first is missing");
        assert!(!is_carried(&pieces[..2], &sent), "the last is missing");
        pieces[1].1[100] ^= 1;
        assert!(!is_carried(&pieces, &sent), "a payload byte differs");
        assert!(
            !is_carried(&[pieces[0].clone(), pieces[2].clone(), pieces[1].clone()], &sent),
            "out of order"
        );
    }

    #[test]
    fn a_fragment_cut_further_is_the_fragment() {
        let sent = frame("udp 10.0.1.10:1 > 10.0.1.11:2 len 2400 frag id 7 offset 800 more");
        let mut pieces = Vec::new();
        let mut keep = |piece: &[u8]| pieces.push((VnetHeader::default(), piece.to_vec()));
        fragment_ipv4(&sent.bytes, &ip(&sent), 1400, &mut Vec::new(), &mut keep).unwrap();
        assert!(pieces.len() == 2 && is_carried(&pieces, &sent));
    }

    #[test]
    fn segments_are_the_frame_they_came_from() {
        let sent = frame("tcp 10.0.1.10:1 > 10.0.1.11:2 A len 3000 gso 1400");
        let mut pieces = Vec::new();
        let mut keep = |piece: &[u8]| pieces.push((VnetHeader::default(), piece.to_vec()));
        segment(&sent.bytes, &ip(&sent), GsoKind::Tcp4, 1400, &mut Vec::new(), &mut keep);
        assert!(pieces.len() == 3 && is_carried(&pieces, &sent));
        assert!(is_carried(&[(sent.vnet, sent.bytes.clone())], &sent), "whole");
        assert!(!is_carried(&[(VnetHeader::default(), sent.bytes.clone())], &sent), "as one huge packet");
        assert!(!is_carried(&[pieces.clone(), pieces[2..].to_vec()].concat(), &sent), "the last twice");
        for (_, piece) in &pieces {
            let Body::Ip(ip) = parse(piece).unwrap().body else { panic!("an IP packet") };
            assert!(checksum::transport_is_valid(piece, &ip), "as a kernel would have left it");
        }
    }

    #[test]
    fn a_frame_is_nothing_but_itself() {
        let sent = frame("tcp 10.0.1.10:1 > 10.0.1.11:2 S");
        let readdressed = [vec![9; 12], sent.bytes[12..].to_vec()].concat();
        let plain = |bytes: &[u8]| (VnetHeader::default(), bytes.to_vec());
        assert!(is_carried(&[plain(&readdressed)], &sent));
        assert!(!is_carried(&[plain(&readdressed), plain(&readdressed)], &sent), "twice");
        assert!(!is_carried(&[plain(&[&readdressed[..], &[0]].concat())], &sent), "a byte more");
        let verified = VnetHeader { flags: VnetHeader::DATA_VALID, ..VnetHeader::default() };
        assert!(is_carried(&[(verified, readdressed)], &sent), "a kernel has verified the checksum");
        assert_eq!(sent.port, PortKey::Eni(EniKey(0)));
    }
}
