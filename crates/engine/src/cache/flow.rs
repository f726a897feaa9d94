//! One cached flow: an immutable action, what it rests on, and what its packets have left behind.

use std::time::Duration;

use palisade_conntrack::{Birth, ConnHandle, ConnTable, Instant, Touched, Zone};
use palisade_flow::{self as flow, Hop, counted_flags};
use palisade_packet::Direction::{self, Egress, Ingress};
use palisade_packet::{IpPacket, MacAddr, Transport};
use palisade_policy::{EniKey, PortKey, RuleSlot, Snapshot};

use super::candidate::Candidate;
use super::key::FlowKey;
use super::notes::{AclNote, Ground, Notes, SideNote};
use crate::counters::Counters;
use crate::ledger::{Ledger, Passage, Times, Why, refusal};
use crate::mirroring::Taps;
use crate::outcome::{Link, Now, Verdict, Walked};
use crate::reason::DropReason;
use crate::stages::commit::time_outs;
use crate::stages::mtu::VPC_MTU;

/// Longest time for which packets are counted here before their connections and the ledger learn of them (CT-6).
const SETTLE_AFTER: Duration = Duration::from_secs(1);

/// What becomes of a packet of the flow: plain values, for whoever carries it out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    /// Out by the port of an ENI with new MAC addresses, if it is not larger than `mtu`.
    Deliver { to: EniKey, link: Link, mtu: u16 },
    /// Dropped, if it is not larger than `mtu`: the path is looked at before the receiver's side (RT-63).
    Drop { reason: DropReason, mtu: u16 },
}

/// What the engine shows a cached flow.
pub(crate) struct Present<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) table: &'a ConnTable,
    pub(crate) counters: &'a Counters,
    pub(crate) now: Instant,
    pub(crate) clock: &'a Now,
}

/// A result of the walk, and its validity.
#[derive(Debug)]
pub(crate) struct Flow {
    key: FlowKey,
    /// The newest generation for which the result is known to hold.
    generation: u64,
    action: Action,
    taps: Taps,
    a: End,
    b: Option<End>,
    live: Live,
}

/// One side of the flow.
#[derive(Debug)]
struct End {
    eni: EniKey,
    /// Where the ENI stands in the snapshot of the flow's generation.
    index: usize,
    /// Every filter of the side passed.
    committed: bool,
    basis: Basis,
    group: Option<GroupNote>,
    acl: Option<AclNote>,
}

/// What the side's groups count: that rules decided.
#[derive(Clone, Copy, Debug)]
enum GroupNote {
    Rule(RuleSlot),
    Denied,
}

/// What the result rests on at one side, besides policy.
#[derive(Debug)]
enum Basis {
    /// An entry, on which every packet acts as in a commit; and how the last one left it.
    Acting(ConnHandle, Touched),
    /// An entry that lets packets pass the groups, which something behind them refuses.
    Alive(ConnHandle),
    /// The absence of an entry.
    Unborn(Birth),
    /// Nothing.
    Always,
}

/// What changes with each packet.
#[derive(Debug, Default)]
struct Live {
    /// Time of the last packet.
    seen: u64,
    /// Time of the first one that is not settled.
    first: u64,
    /// When those are to be settled at the latest; 0 if there are none.
    settle_at: u64,
    packets: u32,
    /// What records tell of flags, of packets that are not plain; those are only served where they are denied.
    tcp_flags: u8,
    /// IP lengths of packets on the wire (FL-14).
    bytes: u64,
}

impl Flow {
    /// The flow of a packet that has just walked; `None` if the next one could get something else.
    pub(crate) fn of(
        packet: &Candidate<'_>,
        (walked, notes): (&Walked, Notes),
        present: &Present<'_>,
    ) -> Option<Self> {
        let action = action(walked, present.snapshot)?;
        if !notes.can_be_kept() {
            return None;
        }
        let (a, b) = notes.sides();
        let a = End::new(present.snapshot, packet.from, a?)?;
        let b = match (walked.b, b) {
            (Some(side), Some(note)) => Some(End::new(present.snapshot, side.eni, note)?),
            (None, None) => None,
            _ => return None,
        };
        let live = Live { seen: present.now.as_nanos(), ..Live::default() };
        let (key, generation) = (packet.key, present.snapshot.generation());
        let flow = Self { key, generation, action, taps: walked.taps, a, b, live };
        (packet.is_plain || flow.denies_openers(present, packet.ip)).then_some(flow)
    }

    pub(crate) const fn key(&self) -> &FlowKey {
        &self.key
    }

    pub(crate) fn is_of(&self, key: &FlowKey) -> bool {
        self.key.is(key)
    }

    /// What becomes of a packet of this flow, with everything done to connections and counters that a walk would do;
    /// `None`, and nothing counted, if it has to walk.
    #[inline]
    pub(crate) fn serve(
        &mut self,
        present: &Present<'_>,
        packet: &Candidate<'_>,
        ledger: &mut Ledger,
    ) -> Option<(Action, Taps)> {
        let serves = self.suits(packet) && self.is_current(present) && self.act(present, packet.ip);
        if !serves {
            return None;
        }
        self.count(present, packet, ledger);
        Some((self.action, self.taps))
    }

    /// Adds what was counted to the connections, the counters of rules, and to the ledger for the ENI at each end.
    pub(super) fn settle(&mut self, now: Now, (counters, ledger): (&Counters, &mut Ledger)) {
        let Live { seen, first, packets, tcp_flags, bytes, .. } = self.live;
        if packets > 0 {
            let (ends, protocol) = self.key.ends();
            let times = Times::between(first, seen, now);
            let passage = Passage { ends, protocol, tcp_flags, times, generation: self.generation };
            for (end, direction) in self.ends() {
                if let Basis::Acting(conn, _) = &end.basis {
                    conn.account(direction, packets.into(), bytes);
                }
                end.count(counters, direction, packets);
                let hop = self.hop(direction);
                let seen =
                    passage.at((end.eni, direction), (packets.into(), bytes), end.why(self.action), hop);
                ledger.count(counters, &seen);
            }
            if self.b.is_some() {
                counters.onward(packets.into());
            }
        }
        self.live = Live { seen, ..Live::default() };
    }

    /// Whether what was counted is to be settled.
    pub(super) const fn is_due(&self, now: Instant) -> bool {
        self.live.settle_at <= now.as_nanos()
    }

    /// Whether something was counted that is not settled.
    pub(super) const fn waits(&self) -> bool {
        self.live.packets > 0
    }

    /// Whom the packets went to, or came from.
    fn hop(&self, direction: Direction) -> Hop {
        match direction {
            Egress => self.b.as_ref().map_or(Hop::None, |b| Hop::Eni(b.eni)),
            Ingress => Hop::Eni(self.a.eni),
        }
    }

    /// Reads from all over the flow. What it returns means nothing.
    pub(super) fn load(&self) -> u64 {
        let ends = self.ends().map(|(end, _)| u64::from(end.eni.0) ^ u64::from(end.committed));
        ends.fold(self.key.first() ^ self.generation ^ self.live.bytes, |loaded, end| loaded ^ end)
    }

    /// Reads from the connections. What it returns means nothing.
    pub(super) fn load_conns(&self) -> u64 {
        self.ends().filter_map(|(end, _)| end.conn()).fold(0, |loaded, conn| loaded ^ conn.load())
    }

    /// Whether a packet could still be served.
    pub(super) fn is_of_use(&self, now: Instant) -> bool {
        self.ends().all(|(end, _)| end.conn().is_none_or(|conn| conn.is_alive(now)))
    }

    /// Class, then time of the last packet: what matters least is the least. Looks at nothing but the flow itself.
    pub(super) fn worth(&self) -> (u8, u64) {
        let passes = matches!(self.action, Action::Deliver { .. });
        let tracked = self.ends().any(|(end, _)| end.conn().is_some());
        (u8::from(passes) + u8::from(passes && tracked), self.live.seen)
    }

    /// Whether a packet of the flow is of the kind that the result speaks of.
    fn suits(&self, packet: &Candidate<'_>) -> bool {
        let (Action::Deliver { mtu, .. } | Action::Drop { mtu, .. }) = self.action;
        let fits = || self.b.is_none() || packet.largest() <= u32::from(mtu);
        (packet.is_plain && fits()) || self.stays_outside()
    }

    /// Whether the sender's side refuses the packet, and no entry has a say: then SYN, FIN and RST get what others get.
    fn stays_outside(&self) -> bool {
        self.b.is_none() && !self.a.committed && self.a.conn().is_none()
    }

    /// Whether a packet that is not plain shows what every packet of the flow would get: it [stays
    /// outside](Self::stays_outside), and there is not even an entry that it would have replaced (CT-45).
    fn denies_openers(&self, present: &Present<'_>, ip: &IpPacket) -> bool {
        let entry = || present.table.handle(Zone(self.a.eni.0), Egress, ip, present.now);
        self.stays_outside() && entry().is_none()
    }

    /// Whether the result holds in the present generation, which it then adopts.
    fn is_current(&mut self, present: &Present<'_>) -> bool {
        let Present { snapshot, .. } = present;
        self.generation == snapshot.generation() || self.adopts(snapshot)
    }

    /// Whether nothing has changed since that the result rests on.
    #[cold]
    fn adopts(&mut self, snapshot: &Snapshot) -> bool {
        let generation = self.generation;
        let adopts = self.a.adopt(snapshot, generation)
            && match &mut self.b {
                Some(b) => b.adopt(snapshot, generation),
                None => snapshot.ownership_stamp() <= generation,
            };
        if adopts {
            self.generation = snapshot.generation();
        }
        adopts
    }

    /// Does to the connections what the packet would do in a commit; false if it has to walk.
    fn act(&mut self, present: &Present<'_>, ip: &IpPacket) -> bool {
        let Self { a, b, .. } = self;
        a.stands(present)
            && b.as_ref().is_none_or(|b| b.stands(present))
            && a.touch(present, Egress, ip)
            && b.as_mut().is_none_or(|b| b.touch(present, Ingress, ip))
    }

    fn count(&mut self, present: &Present<'_>, packet: &Candidate<'_>, ledger: &mut Ledger) {
        let Candidate { packets, ip, .. } = *packet;
        if self.is_due(present.now) {
            self.begin(present, ledger);
        }
        let live = &mut self.live;
        live.seen = present.now.as_nanos();
        live.packets = live.packets.saturating_add(packets);
        live.bytes += packet.inbound.offload.wire_ip_len(ip);
        if !packet.is_plain {
            live.tcp_flags |= flags(ip);
        }
    }

    /// Settles what was counted, and sets the time for what is counted from now on: within a minute of the wall clock, so that
    /// everything that is settled together belongs to one window.
    #[cold]
    fn begin(&mut self, present: &Present<'_>, ledger: &mut Ledger) {
        self.settle(*present.clock, (present.counters, ledger));
        let unix = present.clock.unix;
        let minute = Duration::from_secs(u64::from(flow::Window::SECONDS));
        let into = Duration::new(unix.as_secs() % minute.as_secs(), unix.subsec_nanos());
        let settle_at = present.now + SETTLE_AFTER.min(minute.saturating_sub(into));
        let live = &mut self.live;
        (live.first, live.settle_at) = (present.now.as_nanos(), settle_at.as_nanos());
    }

    fn ends(&self) -> impl Iterator<Item = (&End, Direction)> {
        std::iter::once((&self.a, Egress)).chain(self.b.as_ref().map(|b| (b, Ingress)))
    }
}

impl End {
    fn new(snapshot: &Snapshot, eni: EniKey, note: SideNote) -> Option<Self> {
        let SideNote { ground, acl, committed } = note;
        let index = snapshot.eni(eni)?.index.0;
        let (basis, group) = match ground {
            Ground::Conn(conn) if committed => (Basis::Acting(conn, Touched::NEVER), None),
            Ground::Conn(conn) => (Basis::Alive(conn), None),
            Ground::Rule(slot, birth) => (Basis::of(birth), Some(GroupNote::Rule(slot))),
            Ground::Denied(birth) => (Basis::of(birth), Some(GroupNote::Denied)),
            Ground::Unasked => (Basis::Always, None),
        };
        Some(Self { eni, index, committed, basis, group, acl })
    }

    const fn conn(&self) -> Option<&ConnHandle> {
        match &self.basis {
            Basis::Acting(conn, _) | Basis::Alive(conn) => Some(conn),
            Basis::Unborn(_) | Basis::Always => None,
        }
    }

    /// Why the side accepted or refused, in the words of records.
    fn why(&self, action: Action) -> Why {
        let acl = self.acl.map(|acl| acl.slot);
        let refused = match action {
            Action::Drop { reason, .. } if !self.committed => refusal(reason, acl),
            _ => None,
        };
        let accepted = match self.group {
            Some(GroupNote::Rule(slot)) => (flow::Ground::Rule, Some(slot)),
            _ => (flow::Ground::Tracked, None),
        };
        refused.unwrap_or(accepted)
    }

    fn adopt(&mut self, snapshot: &Snapshot, generation: u64) -> bool {
        let eni = snapshot.eni(self.eni).filter(|eni| eni.stamp <= generation);
        eni.is_some_and(|eni| {
            self.index = eni.index.0;
            true
        })
    }

    /// Whether what the result rests on is as it was. An entry that the packet acts on is looked at when it does.
    fn stands(&self, present: &Present<'_>) -> bool {
        match &self.basis {
            Basis::Acting(..) | Basis::Always => true,
            Basis::Alive(conn) => conn.is_alive(present.now),
            Basis::Unborn(birth) => present.table.is_unborn(*birth),
        }
    }

    /// Does to the side's entry, if there is one, what a commit would do; false if the packet has to walk.
    fn touch(&mut self, present: &Present<'_>, direction: Direction, ip: &IpPacket) -> bool {
        let Basis::Acting(conn, touched) = &mut self.basis else { return true };
        if conn.touch_again(*touched, direction, ip, present.now) {
            return true;
        }
        let eni = present.snapshot.enis().get(self.index);
        let left = eni.and_then(|eni| conn.touch(direction, ip, &time_outs(eni), present.now));
        *touched = left.unwrap_or(Touched::NEVER);
        left.is_some()
    }

    fn count(&self, counters: &Counters, direction: Direction, packets: u32) {
        match self.group {
            Some(GroupNote::Rule(slot)) => counters.group(direction, Some(slot), packets),
            Some(GroupNote::Denied) => counters.group(direction, None, packets),
            None => {}
        }
        if let Some(acl) = self.acl {
            counters.acl(direction, acl.slot, acl.by_default, packets);
        }
    }
}

impl Basis {
    /// What a decision of rules rests on; `None`: the flow never has an entry.
    fn of(birth: Option<Birth>) -> Self {
        birth.map_or(Self::Always, Self::Unborn)
    }
}

/// What records tell of a packet's flags.
fn flags(ip: &IpPacket) -> u8 {
    match ip.transport {
        Transport::Tcp(tcp) => counted_flags(tcp.flags.0),
        _ => 0,
    }
}

/// The action of a walk's end; `None` if it is not one to keep.
fn action(walked: &Walked, snapshot: &Snapshot) -> Option<Action> {
    match walked.verdict {
        Verdict::Deliver(delivery) if delivery.fragment.is_none() => {
            let PortKey::Eni(to) = delivery.to else { return None };
            Some(Action::Deliver { to, link: walked.link?, mtu: mtu_of(snapshot, to)? })
        }
        Verdict::Drop(reason) if is_policy(reason) => {
            let mtu = walked.b.map_or(Some(u16::MAX), |side| mtu_of(snapshot, side.eni))?;
            Some(Action::Drop { reason, mtu })
        }
        _ => None,
    }
}

fn mtu_of(snapshot: &Snapshot, eni: EniKey) -> Option<u16> {
    Some(snapshot.eni(eni)?.mtu.min(VPC_MTU))
}

/// Reasons that depend on nothing but the flow and the policy.
const fn is_policy(reason: DropReason) -> bool {
    matches!(
        reason,
        DropReason::GroupEgress
            | DropReason::GroupIngress
            | DropReason::AclEgressEntry
            | DropReason::AclEgressDefault
            | DropReason::AclIngressEntry
            | DropReason::AclIngressDefault
            | DropReason::NoRoute
            | DropReason::UnownedAddress
            | DropReason::DestinationCheck
    )
}

impl Link {
    /// Writes the addresses into a frame.
    pub(crate) fn write(&self, frame: &mut [u8]) {
        let Some(header) = frame.first_chunk_mut::<12>() else { return };
        header[..6].copy_from_slice(&self.destination.0);
        if let Some(MacAddr(source)) = self.source {
            header[6..].copy_from_slice(&source);
        }
    }
}
