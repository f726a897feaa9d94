//! Whatever leaves an outlet is what the sender meant: put together again, it is the packet that went in.

use etherparse::{IpHeaders, Ipv4Extensions, Ipv4Header, Ipv6Extensions, Ipv6Header, PacketBuilder};
use palisade_packet::{Body, checksum, parse};
use palisade_policy::{EniKey, PortKey};
use proptest::prelude::*;

use super::*;

const ALL: Capabilities = Capabilities { checksum: true, tso: true, uso: true };

/// A packet as a guest's kernel hands it over: its checksum partial.
fn guest_frame(v6: bool, udp: bool, payload: &[u8]) -> Vec<u8> {
    let ip = if v6 {
        let header =
            Ipv6Header { hop_limit: 64, source: [0xfd; 16], destination: [0xfe; 16], ..Default::default() };
        IpHeaders::Ipv6(header, Ipv6Extensions::default())
    } else {
        let header = Ipv4Header {
            identification: 0xfffe,
            dont_fragment: false,
            time_to_live: 64,
            source: [10, 0, 1, 10],
            destination: [10, 0, 2, 10],
            ..Default::default()
        };
        IpHeaders::Ipv4(header, Ipv4Extensions::default())
    };
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).ip(ip);
    let mut frame = Vec::new();
    if udp {
        builder.udp(1000, 2000).write(&mut frame, payload).unwrap();
    } else {
        builder.tcp(1000, 2000, u32::MAX - 5, 0xffff).ack(7).psh().write(&mut frame, payload).unwrap();
    }
    let packet = ip_of(&frame);
    let sum =
        checksum::pseudo_header(packet.source, packet.destination, packet.protocol, packet.transport_len());
    let field = usize::from(packet.transport_offset + checksum::field_offset(&packet.transport).unwrap());
    frame[field..field + 2].copy_from_slice(&sum.folded().to_be_bytes());
    frame
}

fn ip_of(frame: &[u8]) -> IpPacket {
    match parse(frame).unwrap().body {
        Body::Ip(ip) => ip,
        Body::Arp(_) => panic!("not IP"),
    }
}

/// What an outlet made of one frame.
struct Made {
    before: Vec<u8>,
    planned: Vec<Planned>,
    frames: Vec<Vec<u8>>,
    packets: u32,
}

fn prepare(mut frame: Vec<u8>, offload: Offload, fragment: Option<u16>, can: Capabilities) -> Made {
    let (mut outlet, mut planned) = (Outlet::default(), Vec::new());
    let before = frame.clone();
    let delivery = Delivery { to: PortKey::Eni(EniKey(1)), offload, fragment };
    let packet = ip_of(&frame);
    let packets = outlet.prepare(Place::Burst(0), &mut frame, (&packet, &delivery), can, &mut planned);
    let bytes = |planned: &Planned| match planned.place {
        Place::Burst(0) => frame.clone(),
        Place::Made(offset, len) => outlet.made(offset, len).to_vec(),
        _ => panic!("not where it was"),
    };
    Made { before, frames: planned.iter().map(bytes).collect(), planned, packets }
}

/// Puts the fragments of each datagram together, in the order in which they come.
fn reassemble(frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut datagrams: Vec<Vec<u8>> = Vec::new();
    let mut open = false;
    for frame in frames {
        let ip = ip_of(frame);
        assert!(checksum::header_is_valid(frame, &ip));
        let Some(fragment) = ip.fragment else {
            datagrams.push(frame.clone());
            continue;
        };
        let upper = &frame[usize::from(ip.transport_offset)..];
        if !open {
            datagrams.push(frame[..usize::from(ip.transport_offset)].to_vec());
        }
        let datagram = datagrams.last_mut().unwrap();
        assert_eq!(datagram.len() - usize::from(ip.transport_offset), usize::from(fragment.offset), "no gap");
        datagram.extend_from_slice(upper);
        open = fragment.more;
        if !open {
            close_datagram(datagram);
        }
    }
    assert!(!open, "the last fragment came");
    datagrams
}

/// Makes the header that of a whole datagram.
fn close_datagram(datagram: &mut [u8]) {
    let len = u16::try_from(datagram.len() - 14).unwrap();
    datagram[16..18].copy_from_slice(&len.to_be_bytes());
    datagram[20..22].copy_from_slice(&[0, 0]);
    datagram[24..26].copy_from_slice(&[0, 0]);
    let sum = checksum::Sum::ZERO.bytes(&datagram[14..34]).checksum();
    datagram[24..26].copy_from_slice(&sum.to_be_bytes());
}

/// The payloads of finished packets, one behind the other; those of TCP must follow each other in sequence.
fn joined_payloads(datagrams: &[Vec<u8>]) -> Vec<u8> {
    let mut joined = Vec::new();
    let mut next = u32::MAX - 5;
    for datagram in datagrams {
        let ip = ip_of(datagram);
        assert!(checksum::transport_is_valid(datagram, &ip), "the checksum is complete");
        let header = match ip.transport {
            palisade_packet::Transport::Tcp(tcp) => {
                assert_eq!(tcp.sequence, next);
                usize::from(tcp.header_len)
            }
            _ => 8,
        };
        let payload = &datagram[usize::from(ip.transport_offset) + header..];
        next = next.wrapping_add(u32::try_from(payload.len()).unwrap());
        joined.extend_from_slice(payload);
    }
    joined
}

fn capabilities() -> impl Strategy<Value = Capabilities> {
    any::<[bool; 3]>().prop_map(|[checksum, tso, uso]| Capabilities { checksum, tso, uso })
}

fn kind(v6: bool, udp: bool) -> GsoKind {
    match (udp, v6) {
        (true, _) => GsoKind::Udp,
        (false, false) => GsoKind::Tcp4,
        (false, true) => GsoKind::Tcp6,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn packets_arrive_as_they_were_meant(
        [v6, udp, large] in any::<[bool; 3]>(),
        payload in prop::collection::vec(any::<u8>(), 1..20_000),
        size in 100u16..9000,
        mtu in prop::option::of(68u16..9001),
        can in capabilities(),
    ) {
        let frame = guest_frame(v6, udp, &payload);
        let packet = ip_of(&frame);
        let large = large && payload.len() > usize::from(size);
        let offload = if large { Offload::Segments { kind: kind(v6, udp), size, ecn: false } } else { Offload::Partial };
        // RT-61, RT-62: only IPv4 is fragmented, and only what does not fit.
        let mtu = mtu.filter(|mtu| !v6 && offload.largest_ip_len(&packet) > u32::from(*mtu));
        let made = prepare(frame, offload, mtu, can);

        prop_assert_eq!(made.packets, made.planned.iter().map(|planned| planned.packets).sum::<u32>());
        if let [Planned { place: Place::Burst(_), vnet, packets, .. }] = made.planned[..] && vnet != VnetHeader::default() {
            prop_assert!(can.checksum && mtu.is_none());
            prop_assert!(!large || (udp && can.uso) || (!udp && can.tso));
            prop_assert_eq!(vnet, offload.header(&packet));
            prop_assert_eq!(packets, offload.wire_packets(&packet));
            prop_assert_eq!(&made.frames[0], &made.before, "passed on untouched");
            return Ok(());
        }
        prop_assert!(made.planned.iter().all(|planned| planned.vnet == VnetHeader::default() && planned.packets == 1));
        let most = mtu.map_or(offload.largest_ip_len(&packet), u32::from);
        prop_assert!(made.frames.iter().all(|frame| ip_of(frame).ip_len <= most));
        let datagrams = reassemble(&made.frames);
        prop_assert_eq!(datagrams.len(), offload.wire_packets(&packet) as usize);
        prop_assert!(made.packets as usize >= datagrams.len());
        prop_assert_eq!(joined_payloads(&datagrams), payload);
        let addresses = |frame: &Vec<u8>| (ip_of(frame).source, ip_of(frame).destination);
        prop_assert!(made.frames.iter().all(|frame| addresses(frame) == (packet.source, packet.destination)));
    }
}

#[test]
fn a_verified_checksum_is_not_claimed_to_a_port_without_the_header() {
    let mut frame = guest_frame(false, true, b"payload");
    let packet = ip_of(&frame);
    checksum::complete(&mut frame, &packet);
    let made = prepare(frame.clone(), Offload::Valid, None, Capabilities::NONE);
    assert_eq!((made.planned[0].vnet, &made.frames[0]), (VnetHeader::default(), &made.before));
    let made = prepare(frame, Offload::Valid, None, ALL);
    assert_eq!(made.planned[0].vnet.flags, VnetHeader::DATA_VALID);
}

#[test]
fn tso_without_checksum_offload_is_no_tso() {
    let can = Capabilities { checksum: false, ..ALL };
    let offload = Offload::Segments { kind: GsoKind::Tcp4, size: 1000, ecn: false };
    let made = prepare(guest_frame(false, false, &[7; 2500]), offload, None, can);
    assert_eq!(made.frames.len(), 3);
}

#[test]
fn what_cannot_be_fragmented_is_missing_from_the_plan() {
    let made = prepare(guest_frame(false, true, &[7; 2500]), Offload::Partial, Some(20), ALL);
    assert_eq!((made.packets, made.planned.len()), (0, 0));
}

#[test]
fn buffers_are_kept_between_bursts() {
    let mut outlet = Outlet::default();
    outlet.keep(&[1; 5000]);
    let capacity = outlet.made.capacity();
    outlet.clear();
    assert!(outlet.made.is_empty());
    assert_eq!(outlet.made.capacity(), capacity);
}
