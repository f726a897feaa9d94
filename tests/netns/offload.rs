//! The virtio-net header is hostile input: whoever completes a checksum writes two bytes where the header says.

use palisade_tests::frame::{self, Ends};
use palisade_tests::wire::{self, Mark, VnetHeader};
use palisade_tests::{Bed, Mode, Policy, PortKind, Setup};

use crate::probe::{Control, PORT, Probe};

/// Where UDP starts in a frame without options, and where its checksum lies.
const UDP: (u16, u16) = (34, 6);

fn partial(csum_start: u16, csum_offset: u16) -> VnetHeader {
    VnetHeader { flags: 1, csum_start, csum_offset, ..VnetHeader::default() }
}

/// Only one port of `b` is open, so that a port rewritten after the verdict would show.
fn policy() -> Policy {
    let port = format!("udp {PORT} from 10.0.1.0/24");
    Policy::open().group("b", &[&port], &[])
}

#[test]
fn an_honest_partial_checksum_is_completed_or_carried() {
    for (bed, _) in beds() {
        let mut probe = Probe::new(&bed, "a", Control::Guest("b"));
        let ends = probe.ends("b", false);
        assert!(send(&bed, &partial(UDP.0, UDP.1), &ends).is_some_and(|mark| probe.watcher("b").sees(&mark)));
        probe.passes("without a header", "b", &ends);
    }
}

#[test]
fn a_forged_header_is_refused_and_nothing_arrives() {
    let segments = |gso_type, gso_size, csum_offset| VnetHeader {
        gso_type,
        gso_size,
        hdr_len: 42,
        ..partial(UDP.0, csum_offset)
    };
    let forgeries = [
        ("checksum over the destination port", partial(UDP.0, 2)),
        ("checksum over the source port", partial(UDP.0, 0)),
        ("checksum over the length", partial(UDP.0, 4)),
        ("checksum over the destination address", partial(14, 16)),
        ("checksum over the MAC address", partial(0, 0)),
        ("checksum two bytes late", partial(UDP.0 + 2, UDP.1)),
        ("checksum where TCP has it", partial(UDP.0, 16)),
        ("checksum in the payload", partial(42, 6)),
        ("TCP segments of a datagram", segments(1, 100, 16)),
        ("TCP segments over IPv6 of an IPv4 datagram", segments(4, 100, 16)),
        ("segments of no size", segments(5, 0, UDP.1)),
    ];
    for (bed, kind) in beds() {
        let mut arrived_at_daemon = 0;
        let mut probe = Probe::new(&bed, "a", Control::Guest("b"));
        let ends = probe.ends("b", false);
        for (what, header) in forgeries {
            let before = bed.daemon().drops("bad-offload");
            let Some(mark) = send(&bed, &header, &ends) else {
                println!("{kind:?}: {what}: refused by the guest's own kernel");
                continue;
            };
            probe.reaches_nobody(what, |other| frame::udp(&Ends { port: (1, 1), ..ends }, other));
            assert!(probe.watcher("b").marked(&mark).is_empty(), "{kind:?}: {what}: it arrived");
            assert_eq!(bed.daemon().drops("bad-offload"), before + 1, "{kind:?}: {what}");
            arrived_at_daemon += 1;
        }
        assert!(arrived_at_daemon >= 7, "{kind:?}: too few forgeries left the guest to prove anything");
    }
}

/// The port that was judged is the port that arrives: a denied port stays denied whatever the header says.
#[test]
fn a_denied_port_is_denied_with_any_header() {
    for (bed, kind) in beds() {
        let mut probe = Probe::new(&bed, "a", Control::Guest("b"));
        let ends = Ends { port: (40_000, 22), ..probe.ends("b", false) };
        for header in
            [partial(UDP.0, UDP.1), partial(UDP.0, 2), VnetHeader { flags: 2, ..VnetHeader::default() }]
        {
            let mark = send(&bed, &header, &ends).expect("the guest's kernel sends it");
            probe.reaches_nobody("port 22", |other| frame::udp(&ends, other));
            assert!(probe.watcher("b").marked(&mark).is_empty(), "{kind:?}: {header:?}");
        }
    }
}

fn beds() -> impl Iterator<Item = (Bed, PortKind)> {
    Mode::with_kinds().map(|(kind, mode)| (Bed::start(Setup::new(kind, kind).in_mode(mode), &policy()), kind))
}

/// Sends a datagram with a header; its mark, or `None` if the guest's own kernel refused.
fn send(bed: &Bed, header: &VnetHeader, ends: &Ends) -> Option<Mark> {
    let mark = Mark::new();
    wire::send_with_header(&bed.guest("a").netns, header, &frame::udp(ends, mark.bytes())).then_some(mark)
}
