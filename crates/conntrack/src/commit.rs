//! The commit: the one place where packets change the table.
//!
//! *Races.* Between consult and commit another worker may have opened, closed, replaced or removed the entry.
//!
//! - Two workers open the same flow: the map's shard lock lets one insert; the other finds the entry and lets its packet
//!   act on it, as if it had come second (two SYNs that cross become a simultaneous open, CT-42).
//! - The entry dies before a refresh: the packet has passed on the authority of an entry that lived when it was
//!   consulted; nothing is refreshed and nothing opened.
//! - The entry closes before a refresh by a SYN: the SYN has passed as part of the old connection and leaves it alone.
//! - Places are taken before an entry becomes visible and given back by the killer, so that no moment sees more
//!   entries than the allowance (CT-70). The timer gives them back before it lets go of its lock, so that a packet that
//!   finds nothing due finds the places of what has expired (CT-73).

use std::sync::Arc;

use palisade_packet::{Direction, IpPacket};

use crate::conn::{Conn, Expiry, Offer};
use crate::handle::ConnHandle;
use crate::instance::Instance;
use crate::listed::Listed;
use crate::owner::Owner;
use crate::plan::{Act, Plan, Refused, Rights};
use crate::record::{EntryRecord, Imported};
use crate::state::Side;
use crate::step::Step;
use crate::sync::{Entry, OccupiedEntry};
use crate::table::ConnTable;
use crate::tally::End;
use crate::time::Instant;

/// Attempts to open an entry while other workers take every place that reclaiming frees.
const ATTEMPTS: usize = 8;

/// What an opening packet brings along.
struct Opening<'a> {
    /// The entry that it wants. Nobody sees it before it stands in the map.
    conn: Arc<Conn>,
    direction: Direction,
    packet: &'a IpPacket,
    owner: &'a Owner,
    now: Instant,
}

enum Attempt {
    /// The packet has its entry.
    Done(Arc<Conn>),
    /// The table has changed meanwhile.
    Again,
    /// Nothing was changed.
    NoPlace(Refused),
}

impl ConnTable {
    /// Does what the plan says, now that every filter of the packet's side has passed it (CT-7): opens an entry,
    /// replaces one (CT-45) or lets the packet act on its own.
    ///
    /// `owner` is that of the zone consulted, `packet` the packet consulted.
    ///
    /// # Errors
    ///
    /// An entry was to be opened and the instance's allowance (CT-70) or the table is full of live entries. Nothing is
    /// changed then, and the packet must be dropped. Packets of existing entries are never refused.
    pub fn commit(&self, plan: Plan, owner: &Owner, packet: &IpPacket, now: Instant) -> Result<(), Refused> {
        self.commit_handle(plan, owner, packet, now).map(drop)
    }

    /// Like [`ConnTable::commit`], and returns the entry that the packet opened or belongs to. The handle of an entry
    /// that died between consult and commit is dead.
    ///
    /// # Errors
    ///
    /// As [`ConnTable::commit`].
    pub fn commit_handle(
        &self,
        plan: Plan,
        owner: &Owner,
        packet: &IpPacket,
        now: Instant,
    ) -> Result<ConnHandle, Refused> {
        let direction = plan.direction;
        let conn = match plan.act {
            Act::Offer(entry) => {
                let conn = entry.into_conn();
                conn.offer(direction, packet, &owner.time_outs, now);
                conn
            }
            Act::Open(rights) => {
                let instance = self.instances.find_or_make(owner.instance);
                self.open(&Opening::new((rights, direction), packet, (owner, instance), now))?
            }
        };
        conn.traffic(conn.side(direction)).add(1, u64::from(packet.ip_len));
        Ok(ConnHandle::new(conn))
    }

    /// Instead of [`ConnTable::commit`] for a flow that is not to be tracked (CT-17): deletes the closed entry that a SYN
    /// ends (CT-45), which would otherwise go on speaking for the new flow. Opens nothing.
    #[expect(clippy::needless_pass_by_value, reason = "a plan is good for one use")]
    pub fn commit_untracked(&self, plan: Plan, packet: &IpPacket, now: Instant) {
        let Act::Open(rights) = plan.act else {
            return;
        };
        let Some(conn) = self.get(&rights.key) else {
            return;
        };
        let replaces = conn.preview(plan.direction, packet, now) == Some(Step::Replace);
        if replaces && conn.kill_reusable() {
            self.bury(&conn, End::Closed);
        }
    }

    fn open(&self, opening: &Opening<'_>) -> Result<Arc<Conn>, Refused> {
        let mut refused = Refused::Allowance;
        for _ in 0..ATTEMPTS {
            match self.try_open(opening) {
                Attempt::Done(conn) => {
                    conn.arm(opening.now);
                    return Ok(conn);
                }
                Attempt::Again => {}
                Attempt::NoPlace(why) => {
                    refused = why;
                    let allowance = (&**opening.instance(), opening.owner.max_tracked);
                    if !self.make_room(why, allowance, opening.now) {
                        break;
                    }
                }
            }
        }
        Err(refused)
    }

    /// Holds the shard of the key while it decides; takes the timer's lock at most, and no other shard.
    fn try_open(&self, opening: &Opening<'_>) -> Attempt {
        match self.map.entry(opening.listed()) {
            Entry::Occupied(slot) => self.try_take_over(slot, opening),
            Entry::Vacant(slot) => match self.take_place(opening) {
                Ok(()) => {
                    slot.insert(());
                    self.births.count(&opening.conn.key());
                    Attempt::Done(Arc::clone(&opening.conn))
                }
                Err(why) => Attempt::NoPlace(why),
            },
        }
    }

    fn take_place(&self, opening: &Opening<'_>) -> Result<(), Refused> {
        if !opening.instance().take_place(opening.owner.max_tracked) {
            return Err(Refused::Allowance);
        }
        if !self.tally.begin() {
            opening.instance().give_place_back();
            return Err(Refused::TableFull);
        }
        Ok(())
    }

    fn try_take_over(&self, slot: OccupiedEntry<'_, Listed, ()>, opening: &Opening<'_>) -> Attempt {
        let Listed(old) = slot.key().clone();
        match old.offer(opening.direction, opening.packet, &opening.owner.time_outs, opening.now) {
            Offer::Taken | Offer::Moves => Attempt::Done(old),
            Offer::Replace => self.try_replace(slot, &old, opening),
            Offer::Gone => {
                if matches!(old.expire(opening.now), Expiry::Killed) {
                    self.count_end(&old, End::Expired);
                }
                if old.is_dead() {
                    slot.remove();
                }
                Attempt::Again
            }
        }
    }

    /// CT-45: the old entry hands its place to the new one, so that nobody can take it in between.
    fn try_replace(
        &self,
        slot: OccupiedEntry<'_, Listed, ()>,
        old: &Arc<Conn>,
        opening: &Opening<'_>,
    ) -> Attempt {
        // The ENI may have moved to another instance since the old entry was made.
        let moves = !Arc::ptr_eq(old.instance(), opening.instance());
        if moves && !opening.instance().take_place(opening.owner.max_tracked) {
            return Attempt::NoPlace(Refused::Allowance);
        }
        let killed = old.kill_reusable();
        if moves {
            let loser = if killed { old.instance() } else { opening.instance() };
            loser.give_place_back();
        }
        if !killed {
            return Attempt::Again;
        }
        self.tally.replace();
        slot.replace_entry(());
        self.births.count(&opening.conn.key());
        Attempt::Done(Arc::clone(&opening.conn))
    }

    /// Adds one to the count that this returns.
    pub(crate) fn import_one<'a>(
        &self,
        record: &EntryRecord,
        now: Instant,
        imported: &'a mut Imported,
    ) -> &'a mut usize {
        if !record.is_sound() {
            return &mut imported.unsound;
        }
        // Before the shard is locked: a removal holds the list of instances while it takes shards.
        let instance = self.instances.find_or_make(record.instance);
        let conn = Arc::new(record.revive(Arc::clone(&instance), now));
        let Entry::Vacant(slot) = self.map.entry(Listed(Arc::clone(&conn))) else {
            return &mut imported.duplicates;
        };
        if !self.tally.begin() {
            return &mut imported.no_room;
        }
        instance.take_place(u32::MAX);
        slot.insert(());
        self.births.count(&conn.key());
        conn.arm(now);
        &mut imported.taken
    }
}

impl<'a> Opening<'a> {
    fn new(
        (rights, direction): (Rights, Direction),
        packet: &'a IpPacket,
        (owner, instance): (&'a Owner, Arc<Instance>),
        now: Instant,
    ) -> Self {
        let conn = Conn::open((rights, direction), packet, (&owner.time_outs, instance), now);
        debug_assert!(conn.side(direction) == Side::Originator);
        Self { conn: Arc::new(conn), direction, packet, owner, now }
    }

    fn listed(&self) -> Listed {
        Listed(Arc::clone(&self.conn))
    }

    fn instance(&self) -> &Arc<Instance> {
        self.conn.instance()
    }
}

#[cfg(test)]
#[cfg(palisade_loom)]
#[path = "commit_models.rs"]
mod models;
