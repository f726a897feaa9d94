//! One cached flow: what its result rests on besides its [path](super::path), and what its packets have left behind.

use std::time::Duration;

use palisade_conntrack::{Birth, ConnHandle, ConnTable, Instant, Touched, Zone};
use palisade_flow::{self as flow, counted_flags};
use palisade_packet::Direction::{self, Egress, Ingress};

use palisade_packet::{IpPacket, MacAddr, OnWire, Transport};
use palisade_policy::{EniKey, PortKey, Snapshot};

use super::candidate::Candidate;
use super::key::{Ends, FlowKey};
use super::notes::{Ground, Notes, SideNote};
use super::path::{Action, Group, Path, PathId, Paths, Shared, Side};
use crate::counters::Counters;
use crate::ledger::{Ledger, Passage, Times};
use crate::mirroring::Taps;
use crate::outcome::{Link, Now, Verdict, Walked};
use crate::reason::DropReason;
use crate::stages::commit::time_outs;
use crate::stages::mtu::VPC_MTU;

/// Longest time for which packets are counted here before their connections and the ledger learn of them (CT-6).
const SETTLE_AFTER: Duration = Duration::from_secs(1);

/// What the engine shows a cached flow.
#[derive(Clone, Copy)]
pub(crate) struct Present<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) table: &'a ConnTable,
    pub(crate) counters: &'a Counters,
    pub(crate) now: Instant,
    pub(crate) clock: &'a Now,
}

/// A result of the walk that the next packet of the flow would get too.
pub(super) struct Finding {
    pub(super) path: Path,
    bases: [Basis; 2],
}

/// A result of the walk, and its validity. A million of them are kept, so each byte is a megabyte.
#[derive(Debug)]
pub(super) struct Flow {
    ends: Ends,
    a: Basis,
    b: Basis,
    live: Live,
    /// What records tell of flags, of packets that are not plain; those are only served where they are denied.
    tcp_flags: u8,
    pub(super) path: PathId,
}

/// What the result rests on at one side, besides policy.
#[derive(Debug)]
enum Basis {
    /// An entry. If the side is committed every packet acts on it as in a commit, and this is how the last one left it;
    /// otherwise it lets packets pass the groups, and something behind them refuses.
    Conn(ConnHandle, Touched),
    /// The absence of an entry.
    Unborn(Birth),
    /// Nothing.
    Always,
}

/// What changes with each packet. Times are in nanoseconds.
#[derive(Debug, Default)]
struct Live {
    /// Time of the first packet that is not settled; if there are none, of the last one.
    first: u64,
    /// From then to the last packet.
    last: u32,
    /// From then on, the packets of so long are settled together; 0 if there are none.
    span: u32,
    packets: u32,
    /// IP lengths of packets on the wire (FL-14), settled before they are too many for 32 bits.
    bytes: u32,
}

impl Finding {
    /// What was found out about the flow of a packet that has just walked; `None` if the next one could get something else.
    pub(super) fn of(
        packet: &Candidate<'_>,
        (walked, notes): (&Walked, Notes),
        present: &Present<'_>,
    ) -> Option<Self> {
        let action = action(walked, present.snapshot)?;
        if !notes.can_be_kept() {
            return None;
        }
        let (a, b) = notes.sides();
        let (a, basis_a) = side(packet.from, &a?);
        let (b, basis_b) = match (walked.b, b) {
            (Some(walked), Some(note)) => {
                let (side, basis) = side(walked.eni, &note);
                (Some(side), basis)
            }
            (None, None) => (None, Basis::Always),
            _ => return None,
        };
        let taps = Taps { source_port: 0, ..walked.taps };
        let path = Path { way: packet.key.way, action, taps, a, b };
        let finding = Self { path, bases: [basis_a, basis_b] };
        (packet.is_plain() || finding.denies_openers(present, packet.ip)).then_some(finding)
    }

    /// What a flow made of it would be [worth](Flow::worth), at most.
    pub(super) fn class(&self) -> u8 {
        let [a, b] = &self.bases;
        class(self.path.action, [a, b])
    }

    /// Whether a packet that is not plain shows what every packet of the flow would get: it [stays
    /// outside](Path::stays_outside), and there is not even an entry that it would have replaced (CT-45).
    fn denies_openers(&self, present: &Present<'_>, ip: &IpPacket) -> bool {
        let entry = || present.table.handle(Zone(self.path.a.eni.0), Egress, ip, present.now);
        self.path.stays_outside() && entry().is_none()
    }
}

impl Flow {
    pub(super) fn new(key: &FlowKey, finding: Finding, path: PathId, now: Instant) -> Self {
        let [a, b] = finding.bases;
        let live = Live { first: now.as_nanos(), ..Live::default() };
        Self { ends: key.ends(), a, b, live, tcp_flags: 0, path }
    }

    #[inline]
    pub(super) fn is_of(&self, key: &FlowKey, paths: &Paths) -> bool {
        self.ends.are_of(key) && paths.get(self.path).is_some_and(|shared| shared.path.way.is(&key.way))
    }

    /// Whether a packet of this flow gets its result, with everything done to connections and counters that a walk would do;
    /// otherwise nothing is counted, and it has to walk.
    #[inline]
    pub(super) fn serves(
        &mut self,
        shared: &mut Shared,
        present: &Present<'_>,
        packet: &Candidate<'_>,
        ledger: &mut Ledger,
    ) -> bool {
        let serves = suits(&shared.path, packet)
            && shared.is_current(present.snapshot)
            && self.act(shared, present, packet);
        if serves {
            self.count(shared, present, packet, ledger);
        }
        serves
    }

    /// Adds what was counted to the connections, the counters of rules, and to the ledger for the ENI at each end.
    pub(super) fn settle(&mut self, shared: &Shared, now: Now, (counters, ledger): (&Counters, &mut Ledger)) {
        let Shared { path, generation, .. } = shared;
        let Live { first, packets, bytes, .. } = self.live;
        let (seen, bytes, tcp_flags) = (self.seen(), u64::from(bytes), self.tcp_flags);
        if packets > 0 {
            let protocol = path.way.protocol();
            let (ends, times) = (self.ends.sockets(protocol), Times::between(first, seen, now));
            let passage = Passage { ends, protocol, tcp_flags, times, generation: *generation };
            for (side, direction) in path.sides() {
                if let (true, Some(conn)) = (side.committed, self.basis(direction).conn()) {
                    conn.account(direction, packets.into(), bytes);
                }
                side.count(counters, direction, packets);
                let (why, hop) = (side.why(path.action), path.hop(direction));
                let seen = passage.at((side.eni, direction), (packets.into(), bytes), why, hop);
                ledger.count(counters, &seen);
            }
            if path.b.is_some() {
                counters.onward(packets.into());
            }
        }
        (self.live, self.tcp_flags) = (Live { first: seen, ..Live::default() }, 0);
    }

    /// Whether what was counted is to be settled.
    #[inline]
    pub(super) fn is_due(&self, now: Instant) -> bool {
        now.as_nanos().saturating_sub(self.live.first) >= u64::from(self.live.span)
    }

    /// Whether something was counted that is not settled.
    pub(super) const fn waits(&self) -> bool {
        self.live.packets > 0
    }

    /// Reads from all over the flow. What it returns means nothing.
    pub(super) fn load(&self) -> u64 {
        u64::from(self.ends.ids()) ^ u64::from(self.live.bytes)
    }

    /// Reads from the connections. What it returns means nothing.
    pub(super) fn load_conns(&self) -> u64 {
        self.conns().fold(0, |loaded, conn| loaded ^ conn.load())
    }

    /// Whether a packet could still be served.
    pub(super) fn is_of_use(&self, now: Instant) -> bool {
        self.conns().all(|conn| conn.is_alive(now))
    }

    /// Class, then time of the last packet: what matters least is the least. Looks at nothing but the flow itself and its path.
    pub(super) fn worth(&self, paths: &Paths) -> (u8, u64) {
        let action = paths.get(self.path).map(|shared| shared.path.action);
        (action.map_or(0, |action| class(action, [&self.a, &self.b])), self.seen())
    }

    /// Time of the last packet.
    const fn seen(&self) -> u64 {
        self.live.first + self.live.last as u64
    }

    const fn basis(&self, direction: Direction) -> &Basis {
        match direction {
            Egress => &self.a,
            Ingress => &self.b,
        }
    }

    fn conns(&self) -> impl Iterator<Item = &ConnHandle> {
        [&self.a, &self.b].into_iter().filter_map(Basis::conn)
    }

    /// Does to the connections what the packet would do in a commit; false if it has to walk.
    #[inline]
    fn act(&mut self, shared: &Shared, present: &Present<'_>, packet: &Candidate<'_>) -> bool {
        // Between two guests, not the first of its burst: nearly every packet of nearly every load.
        if let (true, Basis::Conn(a, at_a), Basis::Conn(b, at_b)) = (shared.passes, &self.a, &self.b)
            && let Some(said) = packet.said
            && a.touch_again(*at_a, Egress, said, present.now)
            && b.touch_again(*at_b, Ingress, said, present.now)
        {
            return true;
        }
        self.act_at_length(shared, *present, packet.ip)
    }

    /// The same, whatever the result rests on.
    #[inline(never)]
    fn act_at_length(&mut self, shared: &Shared, present: Present<'_>, ip: &IpPacket) -> bool {
        let Self { a, b, .. } = self;
        let acts = [shared.path.a.committed, shared.path.b.is_some_and(|b| b.committed)];
        a.stands(acts[0], &present)
            && b.stands(acts[1], &present)
            && a.touch(acts[0], (shared, Egress), &present, ip)
            && b.touch(acts[1], (shared, Ingress), &present, ip)
    }

    #[inline]
    fn count(&mut self, shared: &Shared, present: &Present<'_>, packet: &Candidate<'_>, ledger: &mut Ledger) {
        let OnWire { packets, bytes, .. } = packet.on_wire;
        if self.is_due(present.now) || self.live.bytes.checked_add(bytes).is_none() {
            self.begin(shared, *present, ledger);
        }
        let live = &mut self.live;
        let since = present.now.as_nanos().saturating_sub(live.first);
        live.last = u32::try_from(since).unwrap_or(u32::MAX);
        // Packets are no more than bytes, which there is room for.
        live.packets += packets;
        live.bytes += bytes;
        if !packet.is_plain() {
            self.tcp_flags |= flags(packet.ip);
        }
    }

    /// Settles what was counted, and sets the time for what is counted from now on: within a minute of the wall clock, so that
    /// everything that is settled together belongs to one window.
    #[cold]
    #[inline(never)]
    fn begin(&mut self, shared: &Shared, present: Present<'_>, ledger: &mut Ledger) {
        self.settle(shared, *present.clock, (present.counters, ledger));
        let unix = present.clock.unix;
        let minute = Duration::from_secs(u64::from(flow::Window::SECONDS));
        let into = Duration::new(unix.as_secs() % minute.as_secs(), unix.subsec_nanos());
        let span = SETTLE_AFTER.min(minute.saturating_sub(into));
        let span = u32::try_from(span.as_nanos()).unwrap_or(u32::MAX);
        self.live = Live { first: present.now.as_nanos(), span, ..Live::default() };
    }
}

impl Basis {
    /// What a decision of rules rests on; `None`: the flow never has an entry.
    fn of(birth: Option<Birth>) -> Self {
        birth.map_or(Self::Always, Self::Unborn)
    }

    const fn conn(&self) -> Option<&ConnHandle> {
        match self {
            Self::Conn(conn, _) => Some(conn),
            Self::Unborn(_) | Self::Always => None,
        }
    }

    /// Whether what the result rests on is as it was. An entry that the packet `acts` on is looked at when it does.
    fn stands(&self, acts: bool, present: &Present<'_>) -> bool {
        match self {
            Self::Conn(..) if acts => true,
            Self::Always => true,
            Self::Conn(conn, _) => conn.is_alive(present.now),
            Self::Unborn(birth) => present.table.is_unborn(*birth),
        }
    }

    /// Does to the side's entry, if there is one and the packet `acts` on it, what a commit would do; false if the packet has
    /// to walk.
    fn touch(
        &mut self,
        acts: bool,
        (shared, direction): (&Shared, Direction),
        present: &Present<'_>,
        ip: &IpPacket,
    ) -> bool {
        let (true, Self::Conn(conn, touched)) = (acts, self) else { return true };
        let eni = shared.eni(direction, present.snapshot);
        let left = eni.and_then(|eni| conn.touch(direction, ip, &time_outs(eni), present.now));
        *touched = left.unwrap_or(Touched::NEVER);
        left.is_some()
    }
}

/// Whether a packet of a flow is of the kind that the result speaks of.
#[inline]
fn suits(path: &Path, packet: &Candidate<'_>) -> bool {
    let (Action::Deliver { mtu, .. } | Action::Drop { mtu, .. }) = path.action;
    let fits = || path.b.is_none() || packet.on_wire.largest <= u32::from(mtu);
    (packet.is_plain() && fits()) || path.stays_outside()
}

/// Denials, flows that pass, flows that pass and are tracked.
fn class(action: Action, bases: [&Basis; 2]) -> u8 {
    let passes = matches!(action, Action::Deliver { .. });
    let tracked = bases.iter().any(|basis| basis.conn().is_some());
    u8::from(passes) + u8::from(passes && tracked)
}

/// What a side says, and what that rests on.
fn side(eni: EniKey, note: &SideNote) -> (Side, Basis) {
    let (basis, group) = match &note.ground {
        Ground::Conn(conn) => (Basis::Conn(conn.clone(), Touched::NEVER), Group::Nothing),
        Ground::Rule(slot, birth) => (Basis::of(*birth), Group::Rule(*slot)),
        Ground::Denied(birth) => (Basis::of(*birth), Group::Denied),
        Ground::Unasked => (Basis::Always, Group::Nothing),
    };
    (Side::of(eni, note, group), basis)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What a million connections take is two flows each: 80 bytes leave 600 bytes for both ends of one, entries and timers
    /// included. What flows share is kept with their path, IPv6 addresses apart.
    #[test]
    fn a_flow_is_small() {
        assert_eq!(size_of::<Option<Flow>>(), 80);
    }
}
