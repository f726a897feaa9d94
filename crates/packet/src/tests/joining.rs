//! Segments joined and cut again are, byte for byte, the segments; and what must not be joined is not.

use proptest::prelude::*;

use super::{cases, samples::*};
use crate::{GsoKind, Offload, Segment, Train, checksum, segment};

const ACK: u8 = 0x10;
const PSH: u8 = 0x08;

/// Wire segments of a transfer, as a sender without offloads makes them.
fn transfer(v6: bool, flags: u8, options: &[u8], payload: &[u8], size: u16) -> Vec<Vec<u8>> {
    let upper = tcp(flags, options, payload);
    let mut frame = if v6 { v6_frame(6, &upper) } else { V4::new(6, &upper).fragment(DF).frame() };
    make_partial(&mut frame);
    cut(&frame, v6, size)
}

/// Datagrams of one flow, as a sender without offloads makes them.
fn datagrams(v6: bool, payload: &[u8], size: u16) -> Vec<Vec<u8>> {
    let upper = udp(payload);
    let mut frame = if v6 { v6_frame(17, &upper) } else { V4::new(17, &upper).fragment(DF).frame() };
    make_partial(&mut frame);
    cut(&frame, v6, size)
}

fn cut(frame: &[u8], v6: bool, size: u16) -> Vec<Vec<u8>> {
    let kind = match ip(frame).protocol {
        17 => GsoKind::Udp,
        _ if v6 => GsoKind::Tcp6,
        _ => GsoKind::Tcp4,
    };
    let mut wire = Vec::new();
    segment(frame, &ip(frame), kind, size, &mut Vec::new(), &mut |part| wire.push(part.to_vec()));
    wire
}

fn shape(frame: &[u8]) -> Segment {
    Segment::of(frame.len(), &ip(frame), Offload::None).expect("TCP or UDP")
}

/// The frames that go out instead of `wire`, in order.
fn join(wire: &[Vec<u8>]) -> Vec<(Vec<u8>, Option<u16>)> {
    let mut out = Vec::new();
    let mut rest = wire;
    while let Some((head, followers)) = rest.split_first() {
        let train = Train::begin(head, shape(head));
        let joined = train.map_or(0, |mut train| {
            let count = followers.iter().take_while(|next| train.join(head, next, shape(next))).count();
            if count > 0 {
                out.push(joined_frame(&train, head, &followers[..count]));
            }
            count
        });
        if joined == 0 {
            out.push((head.clone(), None));
        }
        rest = &followers[joined..];
    }
    out
}

fn joined_frame(train: &Train, head: &[u8], followers: &[Vec<u8>]) -> (Vec<u8>, Option<u16>) {
    let mut frame = Vec::new();
    train.write_head(head, &mut frame);
    for part in std::iter::once(head).chain(followers.iter().map(Vec::as_slice)) {
        frame.extend_from_slice(&part[shape(part).payload_start()..]);
    }
    let Offload::Segments { size, .. } = train.offload() else { unreachable!("trains are cut again") };
    assert_eq!(usize::from(train.segments()), followers.len() + 1);
    assert_eq!(train.vnet(), train.offload().header(&ip(&frame)), "as any other frame of its kind");
    (frame, Some(size))
}

fn apart(joined: &[(Vec<u8>, Option<u16>)], v6: bool) -> Vec<Vec<u8>> {
    let parts = joined.iter().map(|(frame, size)| match size {
        Some(size) => cut(frame, v6, *size),
        None => vec![frame.clone()],
    });
    parts.flatten().collect()
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn joined_and_cut_again_is_the_same(
        v6: bool,
        psh: bool,
        options in prop_oneof![Just(vec![]), Just(vec![1; 12])],
        payload in proptest::collection::vec(any::<u8>(), 1..70_000),
        size in 200_u16..9_000,
        damage in proptest::option::of((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1_u8..)),
    ) {
        let payload = &payload[..payload.len().min(60_000)];
        let flags = if psh { ACK | PSH } else { ACK };
        let mut wire = transfer(v6, flags, &options, payload, size);
        if let Some((frame, byte, bits)) = damage {
            let frame = frame.get_mut(&mut wire);
            let at = byte.index(frame.len() - 54) + 54;
            frame[at] ^= bits;
        }
        let joined = join(&wire);
        prop_assert_eq!(apart(&joined, v6), wire, "nothing is repaired, nothing reordered");
    }

    #[test]
    fn datagrams_joined_and_cut_again_are_the_same(
        v6: bool,
        payload in proptest::collection::vec(any::<u8>(), 1..20_000),
        size in 1_u16..2_000,
        damage in proptest::option::of((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1_u8..)),
    ) {
        let most = usize::from(size) * 60;
        let mut wire = datagrams(v6, &payload[..payload.len().min(most)], size);
        if let Some((frame, byte, bits)) = damage {
            let frame = frame.get_mut(&mut wire);
            let (start, end) = (if v6 { 58 } else { 38 }, frame.len());
            frame[start + byte.index(end - start)] ^= bits;
        }
        // A datagram whose length field was damaged may be one no longer: it never comes to a train.
        prop_assume!(wire.iter().all(|frame| Segment::of(frame.len(), &ip(frame), Offload::None).is_some()));
        let joined = join(&wire);
        prop_assert_eq!(apart(&joined, v6), wire, "nothing is repaired, nothing reordered");
    }
}

#[test]
fn datagrams_of_a_flow_become_one_frame() {
    for v6 in [false, true] {
        for (payload, count) in [(64 * 60, 60), (64 * 60 - 1, 60), (64 * 59 + 1, 60), (65, 2)] {
            let wire = datagrams(v6, &vec![7; payload], 64);
            let joined = join(&wire);
            assert_eq!((wire.len(), joined.len()), (count, 1), "{payload}");
            assert!(checksum::header_is_valid(&joined[0].0, &ip(&joined[0].0)));
        }
    }
}

#[test]
fn a_different_datagram_ends_the_train() {
    let wire = datagrams(false, &[7; 600], 100);
    let joins_after = |change: Change| {
        let mut wire = wire.clone();
        change(&mut wire[1]);
        let packet = ip(&wire[1]);
        let partial = checksum::pseudo_header(packet.source, packet.destination, 17, packet.transport_len());
        checksum::write_field(&mut wire[1][34..], 6, partial.folded());
        checksum::complete(&mut wire[1], &packet);
        checksum::seal_ipv4_header(&mut wire[1][14..], 20);
        let mut train = Train::begin(&wire[0], shape(&wire[0])).unwrap();
        train.join(&wire[0], &wire[1], shape(&wire[1]))
    };
    assert!(joins_after(|_| {}), "the control");
    let changes: [(&str, Change); 9] = [
        ("source MAC", |f| f[11] ^= 1),
        ("ECN", |f| f[15] ^= 3),
        ("identification", |f| f[19] ^= 1),
        ("the same identification again", |f| f[19] -= 1),
        ("DF", |f| f[20] ^= 0x40),
        ("TTL", |f| f[22] -= 1),
        ("source port", |f| f[35] ^= 1),
        ("destination port", |f| f[37] ^= 1),
        ("padding", |f| f.push(0)),
    ];
    for (what, change) in changes {
        assert!(!joins_after(change), "{what}");
    }
}

#[test]
fn a_datagram_without_a_checksum_or_with_a_wrong_one_is_not_joined() {
    let wire = datagrams(false, &[7; 300], 100);
    let changes: [Change; 3] = [|f| f[40..42].fill(0), |f| f[41] ^= 1, |f| *f.last_mut().unwrap() ^= 1];
    for (damaged, change) in [0, 1].into_iter().flat_map(|at| changes.map(|change| (at, change))) {
        let mut wire = wire.clone();
        change(&mut wire[damaged]);
        let mut train = Train::begin(&wire[0], shape(&wire[0])).unwrap();
        assert!(!train.join(&wire[0], &wire[1], shape(&wire[1])), "frame {damaged}");
    }
}

/// TCP and UDP of the same addresses and ports are two flows.
#[test]
fn protocols_do_not_mix() {
    let (tcp, udp) = (transfer(false, ACK, &[], &[7; 300], 100), datagrams(false, &[7; 300], 100));
    let train = Train::begin(&tcp[0], shape(&tcp[0])).unwrap();
    assert!(train.is_of_flow(&tcp[0], &tcp[1], &shape(&tcp[1])));
    let mut twin = udp[1].clone();
    twin[26..38].copy_from_slice(&tcp[0][26..38]);
    assert!(!train.is_of_flow(&tcp[0], &twin, &shape(&udp[1])));
}

#[test]
fn a_whole_transfer_becomes_one_frame() {
    for v6 in [false, true] {
        let wire = transfer(v6, ACK | PSH, &[1; 12], &vec![7; 60_000], 1_448);
        let joined = join(&wire);
        assert_eq!((wire.len(), joined.len()), (42, 1));
        let packet = ip(&joined[0].0);
        assert!(checksum::header_is_valid(&joined[0].0, &packet));
    }
}

#[test]
fn a_train_fits_into_an_ip_packet() {
    let mut wire = transfer(false, ACK, &[], &vec![7; 60_000], 1_000);
    let more = transfer(false, ACK, &[], &vec![7; 60_000], 1_000);
    wire.extend(more);
    assert!(join(&wire).iter().all(|(frame, _)| frame.len() <= 65_535 + 14));
}

type Change = fn(&mut Vec<u8>);

#[test]
fn a_difference_ends_the_train() {
    let wire = transfer(false, ACK, &[1; 12], &[7; 6_000], 1_000);
    let joins_after = |change: Change| {
        let mut wire = wire.clone();
        change(&mut wire[1]);
        let packet = ip(&wire[1]);
        // Seal both checksums again, so that only the difference speaks.
        let partial = checksum::pseudo_header(packet.source, packet.destination, 6, packet.transport_len());
        checksum::write_field(&mut wire[1][34..], 16, partial.folded());
        checksum::complete(&mut wire[1], &packet);
        checksum::seal_ipv4_header(&mut wire[1][14..], 20);
        let mut train = Train::begin(&wire[0], shape(&wire[0])).unwrap();
        train.join(&wire[0], &wire[1], shape(&wire[1]))
    };
    assert!(joins_after(|_| {}), "the control");
    let changes: [(&str, Change); 14] = [
        ("source MAC", |f| f[11] ^= 1),
        ("DSCP", |f| f[15] ^= 4),
        ("identification", |f| f[19] ^= 1),
        ("DF", |f| f[20] ^= 0x40),
        ("TTL", |f| f[22] -= 1),
        ("source port", |f| f[35] ^= 1),
        ("sequence", |f| f[41] ^= 1),
        ("acknowledgement", |f| f[45] ^= 1),
        ("FIN", |f| f[47] |= 1),
        ("CWR", |f| f[47] |= 0x80),
        ("ECE", |f| f[47] |= 0x40),
        ("window", |f| f[49] ^= 1),
        ("options", |f| f[54] = 0),
        ("padding", |f| f.push(0)),
    ];
    for (what, change) in changes {
        assert!(!joins_after(change), "{what}");
    }
}

#[test]
fn a_wrong_checksum_is_not_joined() {
    let wire = transfer(false, ACK, &[], &[7; 3_000], 1_000);
    for (damaged, at) in [(0, 60), (1, 60), (0, 24), (1, 24)] {
        let mut wire = wire.clone();
        wire[damaged][at] ^= 1;
        let mut train = Train::begin(&wire[0], shape(&wire[0])).unwrap();
        assert!(!train.join(&wire[0], &wire[1], shape(&wire[1])), "frame {damaged}, byte {at}");
    }
}

#[test]
fn nothing_follows_a_push_or_a_shorter_segment() {
    let wire = transfer(false, ACK | PSH, &[], &[7; 2_500], 1_000);
    let mut train = Train::begin(&wire[0], shape(&wire[0])).unwrap();
    assert!(train.join(&wire[0], &wire[1], shape(&wire[1])));
    assert!(train.join(&wire[0], &wire[2], shape(&wire[2])), "the last may be shorter and carry PSH");
    assert!(!train.join(&wire[0], &wire[2], shape(&wire[2])));
    assert!(Train::begin(&wire[2], shape(&wire[2])).is_none());
}
