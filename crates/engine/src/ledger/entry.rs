//! What a walk means to the ENIs at its ends: a delta for each side that judged it, or why there is none.

use palisade_flow::{Delta, Hop, Window, counted_flags};
use palisade_packet::Direction::{self, Egress, Ingress};
use palisade_packet::{IpPacket, Transport};
use palisade_policy::{EniKey, PortKey};

use super::{Grounds, Ledger, Why, unix_second};
use crate::counters::Counters;
use crate::intake::Inbound;
use crate::outcome::{Now, Side, Verdict, Walked};
use crate::reason::DropReason;
use crate::stage::Stage;

/// Who is named where a packet has nothing to do with an ENI.
const NOBODY: EniKey = EniKey(u32::MAX);

/// First and last second of some packets, within one minute.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) first: u32,
    pub(crate) last: u32,
}

impl Times {
    /// From times since the start, in nanoseconds. A wall clock that was set in between cannot lead out of the minute.
    pub(crate) fn between(first: u64, last: u64, now: Now) -> Self {
        let second = |then: u64| {
            let ago = std::time::Duration::from_nanos(now.monotonic.as_nanos().saturating_sub(then));
            unix_second(now.unix.saturating_sub(ago).as_secs())
        };
        let (first, last) = (second(first), second(last));
        Self { first, last: last.min(Window::of(first).end() - 1) }
    }

    fn at(now: Now) -> Self {
        let second = unix_second(now.unix.as_secs());
        Self { first: second, last: second }
    }
}

/// Packets of one flow between the same ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passage {
    pub(crate) ends: [(std::net::IpAddr, u16); 2],
    pub(crate) protocol: u8,
    pub(crate) tcp_flags: u8,
    pub(crate) times: Times,
    pub(crate) generation: u64,
}

impl Passage {
    fn of(ip: &IpPacket, now: Now, generation: u64) -> Self {
        let (source, destination, tcp_flags) = match ip.transport {
            Transport::Tcp(tcp) => (tcp.source, tcp.destination, counted_flags(tcp.flags.0)),
            Transport::Udp { source, destination } => (source, destination, 0),
            _ => (0, 0, 0), // FL-15
        };
        let ends = [(ip.source, source), (ip.destination, destination)];
        Self { ends, protocol: ip.protocol, tcp_flags, times: Times::at(now), generation }
    }

    /// What one ENI has seen of it.
    pub(crate) fn at(
        &self,
        (eni, direction): (EniKey, Direction),
        (packets, bytes): (u64, u64),
        (ground, rule): Why,
        hop: Hop,
    ) -> Delta {
        let [(source, source_port), (destination, destination_port)] = self.ends;
        let Self { protocol, tcp_flags, generation, times: Times { first, last }, .. } = *self;
        Delta {
            source,
            destination,
            source_port,
            destination_port,
            protocol,
            direction,
            eni,
            packets,
            bytes,
            first,
            last,
            tcp_flags,
            ground,
            rule,
            generation,
            hop,
        }
    }
}

/// Counts a walk at both of its ends: each packet that came in, and each that came to its receiver, in one way.
pub(crate) fn record(
    (ledger, counters): (&mut Ledger, &Counters),
    (now, generation): (Now, u64),
    (from, inbound): (PortKey, &Result<Inbound<'_>, DropReason>),
    (walked, grounds): (&Walked, &Grounds),
) {
    let inbound = inbound.as_ref().ok();
    let PortKey::Eni(sender) = from else { return of_service(counters, walked) };
    let receiver = inbound.and_then(Inbound::held_at_receiver).map(|(eni, _)| eni);
    let came_before = receiver.is_some();
    let mut count = |side: Side, direction, volume, hop| {
        if let Some(ip) = &walked.judged {
            let why = grounds.of(side, direction);
            let passage = Passage::of(ip, now, generation);
            ledger.count(counters, &passage.at((side.eni, direction), volume, why, hop));
        }
    };
    let sent = volume(inbound, walked.packets);
    match walked.a {
        Some(side) => {
            let to = walked.to.filter(|_| side.refused.is_none()); // FL-46
            count(side, Egress, sent, to.map_or(Hop::None, Hop::Eni));
        }
        None if came_before => {}
        None => unjudged(counters, sender, walked),
    }
    let arrived = match walked.b {
        Some(side) => {
            let arrived = inbound.map_or(sent, |inbound| arrived(sent, inbound, walked));
            count(side, Ingress, arrived, Hop::Eni(sender));
            arrived.0
        }
        None => stranded(counters, receiver, walked),
    };
    let counted = if came_before { u64::from(walked.packets) } else { 0 };
    counters.onward(arrived.saturating_sub(counted));
}

/// Packets, and their IP lengths (FL-14).
fn volume(inbound: Option<&Inbound<'_>>, packets: u32) -> (u64, u64) {
    let ip = inbound.and_then(|inbound| Some((inbound.offload, inbound.ip().ok()?)));
    (packets.into(), ip.map_or(0, |(offload, ip)| offload.wire_ip_len(ip)))
}

/// What comes to a receiver for which the router has cut the packets (RT-61): each fragment is a packet (FL-14).
fn arrived(sent: (u64, u64), inbound: &Inbound<'_>, walked: &Walked) -> (u64, u64) {
    let Verdict::Deliver(delivery) = &walked.verdict else { return sent };
    let (Some(mtu), Ok(ip)) = (delivery.fragment, inbound.ip()) else { return sent };
    let header = u64::from(ip.transport_offset.saturating_sub(ip.network_offset)).max(1);
    let room = (u64::from(mtu).saturating_sub(header) & !7).max(8);
    let largest = u64::from(delivery.offload.largest_ip_len(ip));
    let pieces = |packet: u64| packet.saturating_sub(header).div_ceil(room).max(1);
    // All wire packets of a frame are as large as the largest one, but the last.
    let full = sent.0 - 1;
    let last = sent.1 - full * largest;
    let packets = full * pieces(largest) + pieces(last);
    (packets, sent.1 + (packets - sent.0) * header)
}

/// A packet of an ENI that its side did not judge.
fn unjudged(counters: &Counters, sender: EniKey, walked: &Walked) {
    match walked.verdict {
        Verdict::Hold => {}
        Verdict::Deliver(_) | Verdict::Consume(_) => counters.exempt(sender, walked.packets),
        Verdict::Drop(reason) if is_exempt(reason) => counters.exempt(sender, walked.packets),
        Verdict::Drop(_) => counters.hidden(sender, walked.packets),
    }
}

/// Reasons for which only packets to reserved addresses are dropped before a side judges (FL-60).
const fn is_exempt(reason: DropReason) -> bool {
    matches!(reason, DropReason::Unserved | DropReason::ServicePath | DropReason::Mtu)
}

/// A packet that no receiver judged: how many came to one nevertheless, as fragments that wait there or are in vain
/// (FL-16). `receiver` is where it has waited before.
fn stranded(counters: &Counters, receiver: Option<EniKey>, walked: &Walked) -> u64 {
    let packets = walked.packets;
    match walked.verdict {
        Verdict::Hold if walked.to.is_some() => packets.into(),
        Verdict::Drop(reason) if walked.to.is_some() && reason.stage() == Stage::Fragments => {
            counters.hidden(walked.to.unwrap_or(NOBODY), packets);
            packets.into()
        }
        Verdict::Drop(_) => {
            if let Some(receiver) = receiver {
                counters.hidden(receiver, packets);
            }
            0
        }
        _ => 0,
    }
}

/// A packet of a service: exempt, at whoever gets it.
fn of_service(counters: &Counters, walked: &Walked) {
    match walked.verdict {
        Verdict::Drop(_) => counters.hidden(NOBODY, walked.packets),
        Verdict::Deliver(delivery) => match delivery.to {
            PortKey::Eni(eni) => counters.exempt(eni, walked.packets),
            PortKey::Service(_) => counters.exempt(NOBODY, walked.packets),
        },
        Verdict::Consume(_) | Verdict::Hold => counters.exempt(NOBODY, walked.packets),
    }
}
