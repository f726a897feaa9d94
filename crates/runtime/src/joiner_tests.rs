//! Whatever order flows come in: each one's frames, cut again, are its frames as they came.

use std::collections::BTreeMap;

use etherparse::PacketBuilder;
use palisade_engine::Delivery;
use palisade_io::Capabilities;
use palisade_packet::{Body, IpPacket, Offload, segment};
use palisade_policy::{EniKey, PortKey};
use proptest::prelude::*;

use super::*;
use crate::outlet::Outlet;

const CAN: Capabilities = Capabilities { checksum: true, tso: true, uso: true };

/// The first flow of datagrams.
const UDP: u16 = 100;

/// What a sender does next in one of its flows.
#[derive(Clone, Copy, Debug)]
struct Send {
    /// From [`UDP`] on, datagrams.
    flow: u16,
    len: usize,
    psh: bool,
    fin: bool,
    lost: bool,
}

fn sends() -> impl Strategy<Value = Vec<Send>> {
    let one = (
        prop_oneof![0_u16..4, UDP..UDP + 2],
        prop_oneof![4 => Just(700_usize), 1 => 0_usize..700],
        any::<[bool; 8]>(),
    )
        .prop_map(|(flow, len, [psh, psh2, psh3, fin, fin2, fin3, lost, lost2])| Send {
            flow,
            len,
            psh: psh && psh2 && psh3,
            fin: fin && fin2 && fin3,
            lost: lost && lost2,
        });
    proptest::collection::vec(one, 2..Burst::MAX_FRAMES)
}

/// The frames of a burst. Identifications and sequence numbers count up per flow.
fn frames(sends: &[Send]) -> Vec<Vec<u8>> {
    let mut state: BTreeMap<u16, (u16, u32)> = BTreeMap::new();
    let mut out = Vec::new();
    for send in sends {
        let (identification, sequence) = state.entry(send.flow).or_insert((65_530, u32::MAX - 1_000));
        let mut frame = Vec::new();
        let ip = etherparse::Ipv4Header {
            identification: *identification,
            dont_fragment: true,
            time_to_live: 64,
            source: [10, 0, 1, 10],
            destination: [10, 0, 2, 10],
            ..Default::default()
        };
        let ip = etherparse::IpHeaders::Ipv4(ip, etherparse::Ipv4Extensions::default());
        let ip = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).ip(ip);
        let payload = vec![send.flow.to_be_bytes()[1]; send.len];
        if send.flow >= UDP {
            ip.udp(1000 + send.flow, 2000).write(&mut frame, &payload).unwrap();
        } else {
            let mut tcp = ip.tcp(1000 + send.flow, 2000, *sequence, 0xffff).ack(7);
            if send.psh {
                tcp = tcp.psh();
            }
            if send.fin {
                tcp = tcp.fin();
            }
            tcp.write(&mut frame, &payload).unwrap();
        }
        *identification = identification.wrapping_add(1);
        *sequence = sequence.wrapping_add(u32::try_from(send.len).unwrap());
        if !send.lost {
            out.push(frame);
        }
    }
    out
}

fn ip_of(frame: &[u8]) -> IpPacket {
    match palisade_packet::parse(frame).unwrap().body {
        Body::Ip(ip) => ip,
        Body::Arp(_) => panic!("not IP"),
    }
}

/// By source port, in order.
fn by_flow(frames: impl IntoIterator<Item = Vec<u8>>) -> BTreeMap<[u8; 2], Vec<Vec<u8>>> {
    let mut flows: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for frame in frames {
        flows.entry([frame[34], frame[35]]).or_default().push(frame);
    }
    flows
}

/// What goes out, cut into wire packets again, and how many frames it went out in.
fn send_out(sent: &[Vec<u8>], can: Capabilities) -> (Vec<Vec<u8>>, usize) {
    let (mut outlet, mut queue) = (Outlet::default(), Vec::new());
    for (at, frame) in sent.iter().enumerate() {
        let (packet, to) = (ip_of(frame), PortKey::Eni(EniKey(1)));
        let delivery = Delivery { to, offload: Offload::None, fragment: None };
        outlet.prepare(Place::Burst(at), &mut frame.clone(), (&packet, &delivery), can, &mut queue);
    }
    let frames: Vec<&[u8]> = sent.iter().map(Vec::as_slice).collect();
    outlet.join(&mut queue, &frames);
    assert_eq!(queue.iter().map(|planned| planned.packets as usize).sum::<usize>(), sent.len());
    let mut out = Vec::new();
    for planned in &queue {
        let Place::Train { head, first, start } = planned.place else {
            let Place::Burst(at) = planned.place else { panic!("{planned:?}") };
            out.push(sent[at].clone());
            continue;
        };
        let mut whole = outlet.made(head.0, head.1).to_vec();
        let train = (first, u16::try_from(planned.packets).unwrap(), start);
        outlet.payloads(&frames, train).for_each(|payload| whole.extend_from_slice(payload));
        let packet = ip_of(&whole);
        let offload = planned.vnet.check(&palisade_packet::parse(&whole).unwrap()).unwrap();
        let Offload::Segments { kind, size, .. } = offload else { panic!("{offload:?}") };
        segment(&whole, &packet, kind, size, &mut Vec::new(), &mut |wire| out.push(wire.to_vec()));
    }
    (out, queue.len())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_flow_arrives_as_it_was_sent(sends in sends()) {
        let sent = frames(&sends);
        prop_assume!(sent.len() > 1);
        let (out, _) = send_out(&sent, CAN);
        prop_assert_eq!(by_flow(out), by_flow(sent));
    }
}

#[test]
fn interleaved_transfers_leave_in_a_frame_each() {
    for (udp, uso, expected) in [(false, true, 3), (true, true, 3), (true, false, 60), (false, false, 3)] {
        let full = |flow| Send {
            flow: flow + if udp { UDP } else { 0 },
            len: 700,
            psh: false,
            fin: false,
            lost: false,
        };
        let sends: Vec<_> = (0..60).map(|n| full(n % 3)).collect();
        let sent = frames(&sends);
        let (out, count) = send_out(&sent, Capabilities { uso, ..CAN });
        assert_eq!((count, out.len()), (expected, 60), "UDP {udp}, taken {uso}");
    }
}

#[test]
fn many_flows_are_not_too_many() {
    let full = |flow| Send { flow, len: 700, psh: false, fin: false, lost: false };
    let sends: Vec<_> = (0..60).map(|n| full(n % 30)).collect();
    let sent = frames(&sends);
    let (out, _) = send_out(&sent, CAN);
    assert_eq!(by_flow(out), by_flow(sent));
}
