//! Counters of one worker. The worker alone writes them; anyone may read them at any time.
//!
//! A write is a relaxed load and store, not a locked instruction, because there is one writer. A reader may see two
//! counters from slightly different moments; the conservation laws hold once the worker has stopped.

use std::ops::{Add, AddAssign};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use palisade_packet::Direction;
use palisade_policy::{EniKey, MirrorKey, RuleSlot};
use serde::Serialize;

use crate::reason::{Consumed, DropReason};
use crate::slots::Slots;

/// Counters of one worker, in wire packets: a segmentation-offload frame counts as the packets it will become.
#[derive(Debug)]
pub struct Counters {
    received: AtomicU64,
    received_bytes: AtomicU64,
    delivered: AtomicU64,
    delivered_bytes: AtomicU64,
    generated: AtomicU64,
    dropped: [AtomicU64; DropReason::COUNT],
    consumed: [AtomicU64; Consumed::COUNT],
    acl: [StageCounters; 2],
    group: [StageCounters; 2],
    rules: Slots,
    /// Packets refused by the tracking allowance, by ENI (CT-71).
    refused: Slots,
    /// Packets judged at an ENI, and of them those that a flow log covers.
    judged: AtomicU64,
    logged: AtomicU64,
    /// Of the judged, those that were accepted by their sender's side and came to their receiver's.
    onward: AtomicU64,
    /// By ENI: packets that no record speaks of, because they are exempt (FL-60) or their drop is hidden (FL-17).
    exempt: Slots,
    hidden: Slots,
    /// Fragments that were dropped after they had been held.
    orphaned: AtomicU64,
    copies: CopyCounters,
}

/// What one stage did, in one direction.
#[derive(Debug, Default)]
struct StageCounters {
    reached: AtomicU64,
    by_default: AtomicU64,
    related: AtomicU64,
}

fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(n), Relaxed);
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}

impl Counters {
    /// All zero, without room for rules.
    #[must_use]
    pub fn new() -> Self {
        Self {
            received: AtomicU64::default(),
            received_bytes: AtomicU64::default(),
            delivered: AtomicU64::default(),
            delivered_bytes: AtomicU64::default(),
            generated: AtomicU64::default(),
            dropped: std::array::from_fn(|_| AtomicU64::default()),
            consumed: std::array::from_fn(|_| AtomicU64::default()),
            acl: Default::default(),
            group: Default::default(),
            rules: Slots::new(),
            refused: Slots::new(),
            judged: AtomicU64::default(),
            logged: AtomicU64::default(),
            onward: AtomicU64::default(),
            exempt: Slots::new(),
            hidden: Slots::new(),
            orphaned: AtomicU64::default(),
            copies: CopyCounters::new(),
        }
    }

    /// Makes room for hit counters of rule slots below `slots`. Called when a generation is taken up, not per packet.
    ///
    /// Slots beyond 16,777,216 share one counter.
    pub fn ensure_rules(&self, slots: usize) {
        self.rules.ensure(slots);
    }

    /// Packets came in by a port.
    pub fn received(&self, packets: u32, bytes: usize) {
        add(&self.received, packets.into());
        add(&self.received_bytes, bytes as u64);
    }

    /// Packets went out by a port.
    pub fn delivered(&self, packets: u32, bytes: usize) {
        add(&self.delivered, packets.into());
        add(&self.delivered_bytes, bytes as u64);
    }

    /// Packets were made here: ARP and neighbour answers, ICMP errors, and each fragment but the first of a packet.
    pub fn generated(&self, packets: u32) {
        add(&self.generated, packets.into());
    }

    /// Packets were dropped.
    pub fn dropped(&self, reason: DropReason, packets: u32) {
        add(&self.dropped[reason.index()], packets.into());
    }

    /// Fragments that were held are dropped, because their first one did not come (CT-61).
    pub(crate) fn orphaned(&self, fragments: usize) {
        add(&self.dropped[DropReason::FragmentOrphan.index()], fragments as u64);
        add(&self.orphaned, fragments as u64);
    }

    /// Packets were judged at one ENI by its groups and the ACL of its subnet.
    pub(crate) fn judged(&self, logged: bool, packets: u64) {
        add(&self.judged, packets);
        if logged {
            add(&self.logged, packets);
        }
    }

    /// Packets that their sender's side accepted came to their receiver.
    pub(crate) fn onward(&self, packets: u64) {
        add(&self.onward, packets);
    }

    /// Packets of an ENI, or for one, that nothing judges: to and from services, ARP and the like (FL-60, FL-62).
    pub fn exempt(&self, eni: EniKey, packets: u32) {
        self.exempt.ensure_one(eni.0);
        self.exempt.add(eni.0, packets.into());
    }

    /// Packets were dropped at an ENI before they were judged there (FL-16, FL-17).
    pub(crate) fn hidden(&self, eni: EniKey, packets: u32) {
        self.hidden.ensure_one(eni.0);
        self.hidden.add(eni.0, packets.into());
    }

    /// Packets were taken by the fabric itself.
    pub fn consumed(&self, what: Consumed, packets: u32) {
        add(&self.consumed[what.index()], packets.into());
    }

    /// An ACL decided, by the entry or `*` of this slot.
    pub(crate) fn acl(&self, direction: Direction, slot: RuleSlot, by_default: bool, packets: u32) {
        let stage = &self.acl[direction as usize];
        add(&stage.reached, packets.into());
        if by_default {
            add(&stage.by_default, packets.into());
        }
        self.hit(slot, packets);
    }

    /// A security group's rules were consulted: a rule matched, or none.
    pub(crate) fn group(&self, direction: Direction, slot: Option<RuleSlot>, packets: u32) {
        let stage = &self.group[direction as usize];
        add(&stage.reached, packets.into());
        match slot {
            Some(slot) => self.hit(slot, packets),
            None => add(&stage.by_default, packets.into()),
        }
    }

    /// A security group let an ICMP error pass because of the packet it quotes (CT-50, CT-52).
    pub(crate) fn related(&self, direction: Direction, packets: u32) {
        let stage = &self.group[direction as usize];
        add(&stage.reached, packets.into());
        add(&stage.related, packets.into());
    }

    /// The tracking allowance refused packets at an ENI.
    pub(crate) fn refused(&self, eni: EniKey, packets: u32) {
        self.refused.ensure_one(eni.0);
        self.refused.add(eni.0, packets.into());
    }

    /// Copies are made.
    pub(crate) fn copies(&self, packets: u32) {
        add(&self.copies.made, packets.into());
    }

    /// A copy of a session went out by a port.
    pub fn copied(&self, session: MirrorKey, bytes: usize) {
        let CopyCounters { sent, sent_bytes, by_session, bytes_by_session, .. } = &self.copies;
        add(sent, 1);
        add(sent_bytes, bytes as u64);
        for (slots, n) in [(by_session, 1), (bytes_by_session, bytes as u64)] {
            slots.ensure_one(session.0);
            slots.add(session.0, n);
        }
    }

    /// Copies of a session were dropped.
    pub fn copy_lost(&self, session: MirrorKey, reason: DropReason, packets: u32) {
        let CopyCounters { dropped, drops_by_session, .. } = &self.copies;
        add(&dropped[reason.index()], packets.into());
        let slot = drop_slot(session, reason);
        drops_by_session.ensure_one(slot);
        drops_by_session.add(slot, packets.into());
    }

    /// What became of the copies of one session.
    #[must_use]
    pub fn copies_of(&self, session: MirrorKey) -> SessionValues {
        let CopyCounters { by_session, bytes_by_session, drops_by_session, .. } = &self.copies;
        let drops = DropReason::ALL.iter().map(|reason| drops_by_session.get(drop_slot(session, *reason)));
        SessionValues {
            packets: by_session.get(session.0),
            bytes: bytes_by_session.get(session.0),
            dropped: Tally(drops.collect()),
        }
    }

    fn hit(&self, slot: RuleSlot, packets: u32) {
        self.rules.add(slot.0, packets.into());
    }

    /// Hits of one rule.
    #[must_use]
    pub fn rule_hits(&self, slot: RuleSlot) -> u64 {
        self.rules.get(slot.0)
    }

    /// Packets that the tracking allowance refused at one ENI: `conntrack_allowance_exceeded` (CT-71).
    #[must_use]
    pub fn allowance_exceeded(&self, eni: EniKey) -> u64 {
        self.refused.get(eni.0)
    }

    /// Packets at one ENI that no flow log speaks of: exempt ones, and those whose drop is hidden (FL-60, FL-17).
    #[must_use]
    pub fn unrecorded(&self, eni: EniKey) -> (u64, u64) {
        (self.exempt.get(eni.0), self.hidden.get(eni.0))
    }

    /// The present values.
    #[must_use]
    pub fn values(&self) -> CounterValues {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        let stage = |stage: &StageCounters| StageValues {
            reached: read(&stage.reached),
            by_default: read(&stage.by_default),
            related: read(&stage.related),
        };
        CounterValues {
            received: read(&self.received),
            received_bytes: read(&self.received_bytes),
            delivered: read(&self.delivered),
            delivered_bytes: read(&self.delivered_bytes),
            generated: read(&self.generated),
            dropped: Tally(self.dropped.iter().map(read).collect()),
            consumed: Tally(self.consumed.iter().map(read).collect()),
            acl_ingress: stage(&self.acl[Direction::Ingress as usize]),
            acl_egress: stage(&self.acl[Direction::Egress as usize]),
            group_ingress: stage(&self.group[Direction::Ingress as usize]),
            group_egress: stage(&self.group[Direction::Egress as usize]),
            rule_hits: self.rules.total(),
            sides: SideValues {
                judged: read(&self.judged),
                logged: read(&self.logged),
                onward: read(&self.onward),
                exempt: self.exempt.total(),
                hidden: self.hidden.total(),
                orphaned: read(&self.orphaned),
            },
            copies: CopyValues {
                made: read(&self.copies.made),
                sent: read(&self.copies.sent),
                sent_bytes: read(&self.copies.sent_bytes),
                dropped: Tally(self.copies.dropped.iter().map(read).collect()),
            },
        }
    }
}

/// Mirror copies, which are in no other count of packets.
#[derive(Debug)]
struct CopyCounters {
    made: AtomicU64,
    sent: AtomicU64,
    sent_bytes: AtomicU64,
    dropped: [AtomicU64; DropReason::COUNT],
    by_session: Slots,
    bytes_by_session: Slots,
    drops_by_session: Slots,
}

impl CopyCounters {
    fn new() -> Self {
        Self {
            made: AtomicU64::default(),
            sent: AtomicU64::default(),
            sent_bytes: AtomicU64::default(),
            dropped: std::array::from_fn(|_| AtomicU64::default()),
            by_session: Slots::new(),
            bytes_by_session: Slots::new(),
            drops_by_session: Slots::new(),
        }
    }
}

/// Where the drops of a session for one reason are counted.
fn drop_slot(session: MirrorKey, reason: DropReason) -> u32 {
    let reasons = u32::try_from(DropReason::COUNT).unwrap_or(u32::MAX);
    let index = u32::try_from(reason.index()).unwrap_or_default();
    session.0.saturating_mul(reasons).saturating_add(index)
}

/// Counters at one moment; values of several workers add up.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct CounterValues {
    /// Packets that came in by ports.
    pub received: u64,
    /// Bytes of the frames they came in.
    pub received_bytes: u64,
    /// Packets that went out by ports, generated ones included.
    pub delivered: u64,
    /// Bytes of the frames they went out in.
    pub delivered_bytes: u64,
    /// Packets made here.
    pub generated: u64,
    /// Packets dropped, by [`DropReason`].
    #[serde(serialize_with = "drops")]
    pub dropped: Tally,
    /// Packets consumed, by [`Consumed`].
    #[serde(serialize_with = "consumptions")]
    pub consumed: Tally,
    /// Network ACLs, packets entering a subnet.
    pub acl_ingress: StageValues,
    /// Network ACLs, packets leaving a subnet.
    pub acl_egress: StageValues,
    /// Security groups, packets towards a guest that no connection entry covered.
    pub group_ingress: StageValues,
    /// Security groups, packets from a guest that no connection entry covered.
    pub group_egress: StageValues,
    /// Hits of all ACL entries, `*` included, and all group rules.
    pub rule_hits: u64,
    /// What was seen at the ENIs at both ends.
    pub sides: SideValues,
    /// Mirror copies, which none of the above counts but [`Self::acl_ingress`], [`Self::acl_egress`],
    /// [`Self::group_ingress`] and [`Self::rule_hits`]: filters judge them too (TM-43).
    pub copies: CopyValues,
}

/// Packets as ENIs see them: one that goes from one ENI to another is seen twice. Flow logs speak of some of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct SideValues {
    /// Judged at an ENI by its groups and the ACL of its subnet.
    pub judged: u64,
    /// Of the judged, those that a flow log covers.
    pub logged: u64,
    /// Of the judged, those that were accepted by their sender's side and came to their receiver.
    pub onward: u64,
    /// Not judged: to and from services, ARP and the like (FL-60, FL-62).
    pub exempt: u64,
    /// Dropped before they were judged (FL-16, FL-17), fragments that had been held apart.
    pub hidden: u64,
    /// Fragments that were dropped after they had been held.
    pub orphaned: u64,
}

/// What became of mirror copies.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct CopyValues {
    /// Copies owed: packets on the wire that a session accepted.
    pub made: u64,
    /// Of them, those that went out by ports.
    pub sent: u64,
    /// Bytes of the frames they went out in.
    pub sent_bytes: u64,
    /// Of them, those dropped, by [`DropReason`].
    #[serde(serialize_with = "drops")]
    pub dropped: Tally,
}

/// What became of the copies of one session, since it exists.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct SessionValues {
    /// Copies sent: `mirror_packets` (TM-45).
    pub packets: u64,
    /// Bytes of the frames they went out in: `mirror_bytes`.
    pub bytes: u64,
    /// Copies dropped, by [`DropReason`]: `mirror_drops`.
    #[serde(serialize_with = "drops")]
    pub dropped: Tally,
}

impl SessionValues {
    /// Copies dropped for one reason.
    #[must_use]
    pub fn dropped_for(&self, reason: DropReason) -> u64 {
        self.dropped.get(reason.index())
    }
}

impl AddAssign<&Self> for SessionValues {
    fn add_assign(&mut self, other: &Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.dropped += &other.dropped;
    }
}

impl AddAssign<&Self> for CopyValues {
    fn add_assign(&mut self, other: &Self) {
        self.made += other.made;
        self.sent += other.sent;
        self.sent_bytes += other.sent_bytes;
        self.dropped += &other.dropped;
    }
}

/// Counts indexed by a reason.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tally(Vec<u64>);

impl Tally {
    /// The count at one index.
    #[must_use]
    pub fn get(&self, index: usize) -> u64 {
        self.0.get(index).copied().unwrap_or_default()
    }

    /// All counts together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl CounterValues {
    /// Packets dropped for one reason.
    #[must_use]
    pub fn dropped_for(&self, reason: DropReason) -> u64 {
        self.dropped.get(reason.index())
    }
}

fn drops<S: serde::Serializer>(tally: &Tally, serializer: S) -> Result<S::Ok, S::Error> {
    by_name(tally, DropReason::ALL.iter().map(|reason| reason.as_str()), serializer)
}

fn consumptions<S: serde::Serializer>(tally: &Tally, serializer: S) -> Result<S::Ok, S::Error> {
    by_name(tally, Consumed::ALL.iter().map(|what| what.as_str()), serializer)
}

/// Counts that are not zero, as an object keyed by name.
fn by_name<S: serde::Serializer>(
    tally: &Tally,
    names: impl Iterator<Item = &'static str>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(names.zip(&tally.0).filter(|(_, count)| **count != 0))
}

/// What one stage did, in one direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct StageValues {
    /// Packets whose rules were consulted here.
    pub reached: u64,
    /// Of them, those denied because nothing matched.
    pub by_default: u64,
    /// Of them, ICMP errors that passed because of the packet they quote.
    pub related: u64,
}

impl AddAssign<&CounterValues> for CounterValues {
    fn add_assign(&mut self, other: &CounterValues) {
        self.received += other.received;
        self.received_bytes += other.received_bytes;
        self.delivered += other.delivered;
        self.delivered_bytes += other.delivered_bytes;
        self.generated += other.generated;
        self.dropped += &other.dropped;
        self.consumed += &other.consumed;
        self.acl_ingress = self.acl_ingress + other.acl_ingress;
        self.acl_egress = self.acl_egress + other.acl_egress;
        self.group_ingress = self.group_ingress + other.group_ingress;
        self.group_egress = self.group_egress + other.group_egress;
        self.rule_hits += other.rule_hits;
        self.sides += other.sides;
        self.copies += &other.copies;
    }
}

impl AddAssign for SideValues {
    fn add_assign(&mut self, other: Self) {
        self.judged += other.judged;
        self.logged += other.logged;
        self.onward += other.onward;
        self.exempt += other.exempt;
        self.hidden += other.hidden;
        self.orphaned += other.orphaned;
    }
}

impl AddAssign<&Tally> for Tally {
    fn add_assign(&mut self, other: &Tally) {
        self.0.resize(self.0.len().max(other.0.len()), 0);
        self.0.iter_mut().zip(&other.0).for_each(|(mine, theirs)| *mine += theirs);
    }
}

impl Add for StageValues {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            reached: self.reached + other.reached,
            by_default: self.by_default + other.by_default,
            related: self.related + other.related,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_hits_survive_growth() {
        let counters = Counters::new();
        counters.ensure_rules(1);
        counters.acl(Direction::Egress, RuleSlot(0), false, 3);
        counters.ensure_rules(10_000);
        counters.acl(Direction::Egress, RuleSlot(9_999), true, 2);
        assert_eq!(counters.rule_hits(RuleSlot(0)), 3);
        assert_eq!(counters.rule_hits(RuleSlot(9_999)), 2);
        let values = counters.values();
        assert_eq!(values.acl_egress, StageValues { reached: 5, by_default: 2, related: 0 });
        assert_eq!(values.rule_hits, 5);
    }

    #[test]
    fn hits_without_room_are_not_lost() {
        let counters = Counters::new();
        counters.group(Direction::Ingress, Some(RuleSlot(u32::MAX)), 1);
        assert_eq!(counters.values().rule_hits, 1);
    }

    #[test]
    fn values_of_workers_add_up() {
        let counters = Counters::new();
        counters.dropped(DropReason::Mtu, 2);
        let mut sum = CounterValues::default();
        sum += &counters.values();
        sum += &counters.values();
        assert_eq!(sum.dropped_for(DropReason::Mtu), 4);
        assert_eq!(sum.dropped.total(), 4);
    }
}
