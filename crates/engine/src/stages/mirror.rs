//! The tap of traffic mirroring: which session copies a packet, once a side's filters have passed (TM-40).

use palisade_mirror::source_port;
use palisade_packet::{Direction, IpPacket, Transport};
use palisade_policy::CompiledEni;

use crate::walk::Context;
use crate::witness::{Event, Witness};

/// Asks the sessions of an ENI in their order (TM-24).
pub(crate) fn tap<'s, W: Witness>(
    cx: &mut Context<'s, W>,
    eni: &'s CompiledEni,
    direction: Direction,
    packet: &IpPacket,
) {
    ask(cx, eni, direction, packet, false);
}

/// The same of a packet on the service path, of which sessions copy nothing but DNS of the resolver (TM-26, TM-27).
pub(crate) fn tap_service<'s, W: Witness>(
    cx: &mut Context<'s, W>,
    eni: &'s CompiledEni,
    direction: Direction,
    packet: &IpPacket,
) {
    let (address, port) = match (direction, packet.transport) {
        (Direction::Egress, Transport::Tcp(tcp)) => (packet.destination, tcp.destination),
        (Direction::Ingress, Transport::Tcp(tcp)) => (packet.source, tcp.source),
        (Direction::Egress, Transport::Udp { destination, .. }) => (packet.destination, destination),
        (Direction::Ingress, Transport::Udp { source, .. }) => (packet.source, source),
        // Nobody remembers first fragments on this path; nothing but DNS is that long.
        (Direction::Egress, Transport::LaterFragment) => (packet.destination, DNS),
        (Direction::Ingress, Transport::LaterFragment) => (packet.source, DNS),
        _ => return,
    };
    if port == DNS && cx.snapshot.is_resolver(address) {
        ask(cx, eni, direction, packet, true);
    }
}

const DNS: u16 = 53;

fn ask<'s, W: Witness>(
    cx: &mut Context<'s, W>,
    eni: &'s CompiledEni,
    direction: Direction,
    packet: &IpPacket,
    amazon_dns: bool,
) {
    let Some(plan) = &eni.mirror else { return };
    let Some(choice) = plan.choose(direction, packet, amazon_dns) else { return };
    let taken = match direction {
        Direction::Egress => &mut cx.taps.egress,
        Direction::Ingress => &mut cx.taps.ingress,
    };
    *taken = Some(choice);
    cx.taps.source_port = source_port(packet);
    cx.witness.saw(Event::Mirrored { eni, direction, choice });
}
