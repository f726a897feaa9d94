//! The table: look-ups, which change nothing, and what the control side asks for.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::quality::RandomState;
use palisade_packet::{Direction, Icmp, IpPacket, Transport};

use crate::births::{Birth, Births};
use crate::conn::Conn;
use crate::handle::ConnHandle;
use crate::instance::Instances;
use crate::key::Key;
use crate::listed::{Keyed, Listed};
use crate::owner::Zone;
use crate::plan::{Act, Consult, Plan};
use crate::record::{EntryRecord, Imported};
use crate::room;
use crate::step::Step;
use crate::sync::{AtomicU32, DashMap};
use crate::tally::Tally;
use crate::time::Instant;
use crate::view::{ConnTotals, ConnView};

/// The entries of all ENIs. `Send` and `Sync`; every method takes `&self` and may be called by any thread at any time.
///
/// Callers bring the time; it should be read once per burst (see the crate's notes on precision) and may differ a little
/// between threads.
pub struct ConnTable {
    /// Entries by their key. The hasher is seeded at random, per table.
    pub(crate) map: DashMap<Listed, (), RandomState>,
    pub(crate) instances: Instances,
    pub(crate) tally: Tally,
    pub(crate) births: Births,
    /// The instance at which the next round of [`ConnTable::advance`] begins.
    pub(crate) next: AtomicU32,
}

impl ConnTable {
    /// An empty table for at most `capacity` entries, with the memory for them taken at once.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let (slots, shards) = (room::slots(capacity), room::shards(capacity));
        Self {
            map: DashMap::with_capacity_and_hasher_and_shard_amount(slots, RandomState::default(), shards),
            instances: Instances::default(),
            tally: Tally::new(capacity),
            births: Births::new(),
            next: AtomicU32::new(0),
        }
    }

    /// What a table for so many entries takes in bytes when it is full: map, entries and timers. While connections close or
    /// their time-outs shrink, timers take some bytes an entry more.
    #[must_use]
    pub fn memory(capacity: usize) -> usize {
        room::memory(capacity)
    }

    /// What `packet`, moving in `direction` past the ENI of `zone`, is to the table. Changes nothing (CT-7).
    ///
    /// Impossible TCP flags ([`palisade_packet::TcpFlags::is_impossible`]) are the caller's to drop (CT-40); here they
    /// are stateless. Later fragments have no key and are stateless too; see [`ConnTable::handle`] for them.
    #[must_use]
    pub fn consult(&self, zone: Zone, direction: Direction, packet: &IpPacket, now: Instant) -> Consult {
        if let Transport::Icmp(icmp) = &packet.transport
            && icmp.is_error()
        {
            return self
                .related(zone, direction, packet, icmp, now)
                .map_or(Consult::Stateless, Consult::Related);
        }
        let Some(key) = key_of(zone, direction, packet) else {
            return Consult::Stateless;
        };
        if let Some(conn) = self.get(&key) {
            match conn.preview(direction, packet, now) {
                Some(Step::To(_) | Step::Ignore) => {
                    return Consult::Tracked(Plan { direction, act: Act::Offer(ConnHandle::new(conn)) });
                }
                Some(Step::Replace) | None => {}
            }
        }
        Consult::opening(direction, packet, key)
    }

    /// The live entry that `packet` belongs to, for callers that keep handles (a flow cache; fragments, CT-62).
    #[must_use]
    pub fn handle(
        &self,
        zone: Zone,
        direction: Direction,
        packet: &IpPacket,
        now: Instant,
    ) -> Option<ConnHandle> {
        let conn = self.get(&key_of(zone, direction, packet)?)?;
        conn.is_alive(now).then(|| ConnHandle::new(conn))
    }

    /// The creation counter of the flow that `packet` belongs to; read it *before* consulting the table. `None`: nothing
    /// of this packet's kind ever has an entry.
    #[must_use]
    pub fn birth(&self, zone: Zone, direction: Direction, packet: &IpPacket) -> Option<Birth> {
        key_of(zone, direction, packet).map(|key| self.births.read(&key))
    }

    /// Whether no entry of the flow has been made since its counter was read: what was found missing is missing still.
    #[must_use]
    pub fn is_unborn(&self, birth: Birth) -> bool {
        self.births.is_current(birth)
    }

    /// All live entries, in no particular order. Locks one shard of the map at a time.
    #[must_use]
    pub fn list(&self, now: Instant) -> Vec<ConnView> {
        self.map.iter().filter_map(|listed| ConnView::of(&listed.key().0, now)).collect()
    }

    /// Shows all live entries, one by one and in no particular order: what [`ConnTable::list`] takes memory for. Locks like
    /// it, and holds the lock of a shard while `each` looks; who opens an entry there waits.
    pub fn visit(&self, now: Instant, mut each: impl FnMut(&ConnView)) {
        self.map.iter().filter_map(|listed| ConnView::of(&listed.key().0, now)).for_each(|view| each(&view));
    }

    /// Handles on the live entries that `wanted` picks, in no particular order. Locks like [`ConnTable::visit`].
    #[must_use]
    pub fn select(&self, wanted: impl Fn(&ConnView) -> bool, now: Instant) -> Vec<ConnHandle> {
        let is_wanted = |conn: &Conn| ConnView::of(conn, now).is_some_and(|view| wanted(&view));
        let chosen = self.map.iter().filter(|listed| is_wanted(&listed.key().0));
        chosen.map(|listed| ConnHandle::new(Arc::clone(&listed.key().0))).collect()
    }

    /// The live entries of some ENIs that have not been admitted by the stamps given here for these. Costs a look at every
    /// key of the table, unless no entry of any of them has been made, and at their entries.
    #[must_use]
    pub fn unadmitted(&self, stamps: &[(Zone, u64)], now: Instant) -> Vec<ConnHandle> {
        let known = self.instances.known_zones();
        let stamps: HashMap<Zone, u64, RandomState> =
            stamps.iter().filter(|(zone, _)| known.contains(zone)).copied().collect();
        if stamps.is_empty() {
            return Vec::new();
        }
        let is_unadmitted = |conn: &Conn| {
            let stamp = stamps.get(&conn.key().zone());
            stamp.is_some_and(|stamp| !conn.admission().is_by(*stamp)) && conn.is_alive(now)
        };
        let found = self.map.iter().filter(|listed| is_unadmitted(&listed.key().0));
        found.map(|listed| ConnHandle::new(Arc::clone(&listed.key().0))).collect()
    }

    /// What became of all entries ever made (conservation law 3).
    #[must_use]
    pub fn totals(&self) -> ConnTotals {
        self.tally.totals()
    }

    /// Entries of an instance that are alive at `now`; reclaims those that are not.
    pub fn tracked(&self, instance: u32, now: Instant) -> u32 {
        let Some(instance) = self.instances.find(instance) else {
            return 0;
        };
        let mut all = usize::MAX;
        self.reclaim(&instance, now, &mut all);
        instance.tracked()
    }

    /// Entries that an instance may still open (`conntrack_allowance_available`, CT-71); 0 at the limit.
    pub fn available(&self, instance: u32, max_tracked: u32, now: Instant) -> u32 {
        max_tracked.saturating_sub(self.tracked(instance, now))
    }

    /// All live entries as records (CT-40a).
    #[must_use]
    pub fn export(&self, now: Instant) -> Vec<EntryRecord> {
        self.map.iter().filter_map(|listed| EntryRecord::of(&listed.key().0, now)).collect()
    }

    /// Takes over exported entries. Allowances do not refuse them, as no live entry is ever evicted (CT-70); the
    /// capacity of the table does. Expiry goes on where it stopped: the time between export and import does not count.
    pub fn import(&self, records: impl IntoIterator<Item = EntryRecord>, now: Instant) -> Imported {
        let mut imported = Imported::default();
        for record in records {
            *self.import_one(&record, now, &mut imported) += 1;
        }
        imported
    }

    /// CT-50 and CT-53: the entry whose packet an ICMP error quotes.
    fn related(
        &self,
        zone: Zone,
        direction: Direction,
        packet: &IpPacket,
        icmp: &Icmp,
        now: Instant,
    ) -> Option<ConnHandle> {
        let quoted = icmp.quoted.filter(|quoted| !quoted.is_icmp_error)?;
        // The quoted packet was sent by whom the error reaches; otherwise somebody made it up.
        if direction == Direction::Ingress && quoted.tuple.source != packet.destination {
            return None;
        }
        let key = Key::of(zone, direction.opposite(), &quoted.tuple)?;
        self.get(&key).map(ConnHandle::new).filter(|entry| entry.is_alive(now))
    }

    /// A handle on the entry, with no lock held any more.
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Conn>> {
        self.map.get(key as &dyn Keyed).map(|listed| Arc::clone(&listed.key().0))
    }
}

impl std::fmt::Debug for ConnTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnTable").field("totals", &self.totals()).finish_non_exhaustive()
    }
}

/// The key that a packet has as one of a flow, if it can be one.
pub(crate) fn key_of(zone: Zone, direction: Direction, packet: &IpPacket) -> Option<Key> {
    if let Transport::Tcp(tcp) = &packet.transport
        && tcp.flags.is_impossible()
    {
        return None;
    }
    Key::of(zone, direction, &packet.tuple()?)
}

/// Whether a packet without an entry may open one (CT-40, CT-55, CT-56).
pub(crate) fn opens(packet: &IpPacket) -> bool {
    match &packet.transport {
        Transport::Tcp(tcp) => tcp.flags.is_syn(),
        Transport::Icmp(icmp) => icmp.is_request(),
        Transport::Udp { .. } | Transport::Other => true,
        Transport::LaterFragment | Transport::Invalid(_) => false,
    }
}
