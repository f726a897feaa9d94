//! A naive model of the table: a hash map and explicit states, written from the text of the specification.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use palisade_conntrack::{Owner, Refused, TimeOuts, Zone};
use palisade_packet::{IpPacket, Tcp, TcpFlags, Transport};

use crate::world::{Body, Direction, Egress, Fate, P, secs};

pub(crate) const CAPACITY: usize = 5;
pub(crate) const MAX_TRACKED: u32 = 3;

/// CT-4: zone, protocol, local, remote, then ports or types and identifier.
pub(crate) type ModelKey = (u32, u8, IpAddr, IpAddr, [u16; 3]);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    SynSent,
    SynSent2,
    SynRecv,
    Established,
    FinWait,
    CloseWait,
    LastAck,
    TimeWait,
    Close,
}

/// What CT-41 to CT-46 say about one connection. Index 0 is the originator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TcpModel {
    phase: Phase,
    first_fin: Option<usize>,
    simultaneous: bool,
    syn: [Option<(u32, Option<u8>)>; 2],
    ack: [Option<Heard>; 2],
}

/// The newest acknowledgement of one side (CT-46).
#[derive(Clone, Copy, Debug)]
struct Heard {
    value: u32,
    /// As it stood in the segment.
    window: u32,
    of_syn: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Tcp(TcpModel),
    Udp { completed: u32, asked: bool },
    Icmp,
    Other,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    pub(crate) origin: Direction,
    pub(crate) instance: u32,
    pub(crate) last: u64,
    /// The idle time in force since the last refresh (CT-25).
    pub(crate) time_out: u64,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Refresh,
    Nothing,
    NewFlow,
}

impl TcpModel {
    fn opened(segment: &Tcp) -> Self {
        let mut model = Self {
            phase: Phase::SynSent,
            first_fin: None,
            simultaneous: false,
            syn: [None; 2],
            ack: [None; 2],
        };
        model.syn[0] = Some((segment.sequence, segment.window_scale));
        model
    }

    fn segment(&mut self, from: usize, segment: &Tcp) -> Effect {
        let has = |flag| segment.flags.contains(flag);
        if has(TcpFlags::RST) {
            if !self.plausible(from, segment) {
                return Effect::Nothing;
            }
            self.phase = Phase::Close;
            return Effect::Refresh;
        }
        let handshake = matches!(self.phase, Phase::SynSent | Phase::SynSent2 | Phase::SynRecv);
        let other_than_first = self.first_fin.is_some_and(|first| first != from);
        if has(TcpFlags::SYN) && handshake {
            self.syn[from] = Some((segment.sequence, segment.window_scale));
        }
        if has(TcpFlags::SYN) && !has(TcpFlags::ACK) {
            match self.phase {
                Phase::TimeWait | Phase::Close => return Effect::NewFlow,
                Phase::SynSent if from == 1 => self.phase = Phase::SynSent2,
                Phase::SynSent | Phase::SynSent2 | Phase::SynRecv => {}
                _ => return Effect::Nothing,
            }
        } else if has(TcpFlags::SYN) {
            if self.phase == Phase::SynSent2 || (self.phase == Phase::SynSent && from == 1) {
                self.phase = Phase::SynRecv;
            }
        } else if has(TcpFlags::FIN) {
            if matches!(self.phase, Phase::SynRecv | Phase::Established) {
                self.phase = Phase::FinWait;
                self.first_fin = Some(from);
            } else if other_than_first && matches!(self.phase, Phase::FinWait | Phase::CloseWait) {
                self.simultaneous = self.phase == Phase::FinWait;
                self.phase = Phase::LastAck;
            }
        } else if has(TcpFlags::ACK) {
            if self.phase == Phase::SynRecv && from == 0 {
                self.phase = Phase::Established;
            } else if self.phase == Phase::FinWait && other_than_first {
                self.phase = Phase::CloseWait;
            } else if self.phase == Phase::LastAck && (self.simultaneous || !other_than_first) {
                self.phase = Phase::TimeWait;
            }
        }
        if has(TcpFlags::ACK) {
            self.ack[from] = Some(Heard {
                value: segment.acknowledgement,
                window: segment.window.into(),
                of_syn: has(TcpFlags::SYN),
            });
        }
        Effect::Refresh
    }

    fn plausible(&self, from: usize, segment: &Tcp) -> bool {
        let other = 1 - from;
        let acks_syn_of_other = segment.flags.contains(TcpFlags::ACK)
            && self.syn[other]
                .is_some_and(|(sequence, _)| segment.acknowledgement == sequence.wrapping_add(1));
        if matches!(self.phase, Phase::SynSent | Phase::SynSent2) {
            let mine = self.syn[0].unwrap().0;
            return match from {
                1 => acks_syn_of_other,
                _ => segment.sequence == mine || segment.sequence == mine.wrapping_add(1),
            };
        }
        let Some(Heard { value: low, window, of_syn }) = self.ack[other] else {
            return acks_syn_of_other;
        };
        // As far as is known by now: a SYN may still have changed its mind after the acknowledgement.
        let shift = match (self.syn[from], self.syn[other]) {
            (Some((_, Some(_))), Some((_, Some(scale)))) if !of_syn => scale,
            _ => 0,
        };
        let high = low.wrapping_add(window << shift);
        if low <= high {
            (low..=high).contains(&segment.sequence)
        } else {
            segment.sequence >= low || segment.sequence <= high
        }
    }
}

impl Flow {
    pub(crate) fn packet(&mut self, direction: Direction, packet: &IpPacket) -> Effect {
        let from = usize::from(direction != self.origin);
        match (&mut self.kind, &packet.transport) {
            (Kind::Tcp(model), Transport::Tcp(segment)) => return model.segment(from, segment),
            (Kind::Udp { asked, .. }, _) if from == 0 => *asked = true,
            (Kind::Udp { asked, completed }, _) if *asked => {
                *asked = false;
                *completed += 1;
            }
            _ => {}
        }
        Effect::Refresh
    }

    pub(crate) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Tcp(model) => match model.phase {
                Phase::SynSent => "syn-sent",
                Phase::SynSent2 => "syn-sent2",
                Phase::SynRecv => "syn-recv",
                Phase::Established => "established",
                Phase::FinWait => "fin-wait",
                Phase::CloseWait => "close-wait",
                Phase::LastAck => "last-ack",
                Phase::TimeWait => "time-wait",
                Phase::Close => "close",
            },
            Kind::Udp { completed: 0 | 1, .. } => "udp-single",
            Kind::Udp { .. } => "udp-stream",
            Kind::Icmp => "icmp",
            Kind::Other => "other",
        }
    }

    pub(crate) fn time_out_now(&self, set: &TimeOuts) -> Duration {
        match self.name() {
            "established" => set.tcp_established,
            "udp-single" => set.udp,
            "udp-stream" => set.udp_stream,
            "syn-sent" | "syn-sent2" | "fin-wait" | "time-wait" => secs(120),
            "syn-recv" | "close-wait" => secs(60),
            "last-ack" | "icmp" => secs(30),
            "close" => secs(10),
            _ => secs(600),
        }
    }

    /// What tells the states of an entry apart, for [`palisade_conntrack::ConnHandle::touch`].
    pub(crate) fn state(&self) -> String {
        match self.kind {
            Kind::Tcp(TcpModel { phase, first_fin, simultaneous, .. }) => {
                // Who closed first matters only while it can.
                let closing = matches!(phase, Phase::FinWait | Phase::CloseWait | Phase::LastAck);
                format!("{phase:?} {:?}", closing.then_some((first_fin, simultaneous)))
            }
            Kind::Udp { completed, asked } => format!("{} {}", completed.min(2), asked && completed < 2),
            Kind::Icmp | Kind::Other => String::new(),
        }
    }
}

#[derive(Default)]
pub(crate) struct Model {
    pub(crate) flows: HashMap<ModelKey, Flow>,
}

impl Model {
    pub(crate) fn expire(&mut self, now: u64) {
        self.flows.retain(|_, flow| now - flow.last < flow.time_out);
    }

    pub(crate) fn tracked(&self, instance: u32) -> usize {
        self.flows.values().filter(|flow| flow.instance == instance).count()
    }

    /// What consult and commit together do.
    pub(crate) fn packet(&mut self, arrival: &Arrival, owner: &Owner, now: u64) -> Fate {
        let packet = arrival.packet.going(arrival.direction);
        if let Transport::Icmp(message) = packet.transport
            && message.is_error()
        {
            return if self.related(arrival, &packet) { Fate::Related } else { Fate::Stateless };
        }
        let Some(key) = arriving_key(owner.zone, arrival.direction, &arrival.packet) else {
            return Fate::Stateless;
        };
        if let Some(flow) = self.flows.get_mut(&key) {
            let mut next = *flow;
            let effect = next.packet(arrival.direction, &packet);
            if effect != Effect::NewFlow {
                if effect == Effect::Refresh && arrival.filters != Filters::Drop {
                    next.last = now;
                    next.time_out = nanos(next.time_out_now(&owner.time_outs));
                    *flow = next;
                }
                return Fate::Tracked;
            }
        }
        self.open(key, arrival, &packet, owner, now)
    }

    fn open(&mut self, key: ModelKey, arrival: &Arrival, packet: &IpPacket, owner: &Owner, now: u64) -> Fate {
        let kind = match packet.transport {
            Transport::Tcp(segment) if segment.flags.is_syn() => Kind::Tcp(TcpModel::opened(&segment)),
            Transport::Udp { .. } => Kind::Udp { completed: 0, asked: true },
            Transport::Icmp(message) if message.is_request() => Kind::Icmp,
            Transport::Other => Kind::Other,
            _ => return Fate::Stateless,
        };
        match arrival.filters {
            Filters::Drop => return Fate::Opened,
            Filters::Untracked => {
                self.flows.remove(&key);
                return Fate::Opened;
            }
            Filters::Pass => {}
        }
        let replaces = self.flows.get(&key).is_some_and(|old| old.instance == owner.instance);
        if !replaces && self.tracked(owner.instance) >= owner.max_tracked as usize {
            return Fate::Refused(Refused::Allowance);
        }
        if !self.flows.contains_key(&key) && self.flows.len() >= CAPACITY {
            return Fate::Refused(Refused::TableFull);
        }
        let mut flow =
            Flow { origin: arrival.direction, instance: owner.instance, last: now, time_out: 0, kind };
        flow.time_out = nanos(flow.time_out_now(&owner.time_outs));
        self.flows.insert(key, flow);
        Fate::Opened
    }

    /// CT-50, CT-53.
    fn related(&self, arrival: &Arrival, packet: &IpPacket) -> bool {
        let Some((quoted, way)) = arrival.quoted else {
            return false;
        };
        let read = quoted.going(way);
        // The quoted packet as one that moved against the error: a packet that really went the same way is mirrored.
        let turned = if way == arrival.direction { mirrored(&quoted) } else { quoted };
        let reached = arrival.direction == Egress || read.source == packet.destination;
        let key = key(arrival.owner().zone, arrival.direction.opposite(), &turned);
        reached && !quoted_error(&quoted) && key.is_some_and(|key| self.flows.contains_key(&key))
    }
}

fn quoted_error(quoted: &P) -> bool {
    matches!(quoted.body, Body::Icmp { icmp_type: 3 | 11 | 12, .. })
}

/// Local and remote change places.
fn mirrored(packet: &P) -> P {
    P {
        local: packet.remote,
        remote: packet.local,
        ports: (packet.ports.1, packet.ports.0),
        body: packet.body,
    }
}

/// The key of a packet that arrives: none for flags that CT-40 refuses. A quoted packet is judged by its tuple alone
/// (CT-50), whatever its flags.
pub(crate) fn arriving_key(zone: Zone, direction: Direction, packet: &P) -> Option<ModelKey> {
    let impossible = matches!(packet.body, Body::Tcp { flags, .. } if flags.is_impossible());
    if impossible { None } else { key(zone, direction, packet) }
}

fn key(zone: Zone, direction: Direction, packet: &P) -> Option<ModelKey> {
    let rest = match packet.body {
        Body::Tcp { .. } | Body::Udp => [packet.ports.0, packet.ports.1, 0],
        Body::Icmp { icmp_type, identifier, .. } => {
            let answer = match icmp_type {
                8 => 0,
                0 => 8,
                13 => 14,
                14 => 13,
                _ => return None,
            };
            let (mine, theirs) = (u16::from(icmp_type), answer);
            if direction == Egress { [mine, theirs, identifier] } else { [theirs, mine, identifier] }
        }
        Body::Other(_) => [0; 3],
    };
    Some((zone.0, packet.protocol(), packet.local, packet.remote, rest))
}

pub(crate) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap()
}

/// What the filters of the packet's side say, if they are asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Filters {
    Pass,
    Drop,
    /// Allowed, and CT-17 holds for it if it opens a flow.
    Untracked,
}

#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) zone: u32,
    pub(crate) direction: Direction,
    pub(crate) packet: P,
    pub(crate) quoted: Option<(P, Direction)>,
    pub(crate) filters: Filters,
    pub(crate) established: u64,
}

impl Arrival {
    /// ENIs 1 and 2 share an instance.
    pub(crate) fn owner(&self) -> Owner {
        let time_outs = TimeOuts {
            tcp_established: secs(self.established),
            udp: secs(self.established.clamp(30, 60)),
            udp_stream: secs(self.established.clamp(60, 180)),
        };
        let instance = if self.zone == 3 { 2 } else { 1 };
        Owner { zone: Zone(self.zone), instance, max_tracked: MAX_TRACKED, time_outs }
    }
}

pub(crate) fn describe(key: &ModelKey, flow: &Flow, now: u64) -> String {
    let (zone, protocol, local, remote, [a, b, c]) = key;
    let ids = match flow.kind {
        Kind::Tcp(_) | Kind::Udp { .. } => format!("Ports {{ local: {a}, remote: {b} }}"),
        Kind::Icmp => format!("Query {{ local_type: {a}, remote_type: {b}, identifier: {c} }}"),
        Kind::Other => "None".to_owned(),
    };
    let (origin, state, idle) = (flow.origin, flow.name(), Duration::from_nanos(now - flow.last));
    let left = Duration::from_nanos(flow.time_out).saturating_sub(idle);
    format!("{zone} {protocol} {local} {remote} {ids} {origin:?} {state} {idle:?} {left:?}")
}
