//! The timer: a wheel of slots for what is far, a heap for what is due within the current slot.
//!
//! Packets never touch it. A handle lies here at the time its entry could expire when it was armed; visiting it, the
//! timer looks at the entry and either kills it or lays a handle at the then known deadline (lazy re-arm). Only a
//! deadline that moves *earlier* (a connection closes, the ENI's setting shrinks) lays another handle; the old one is
//! recognised by [`Conn::armed`] and dropped when its turn comes, at most one revolution later.
//!
//! The heap makes the timer exact: slots are two seconds wide, but handles of the current slot are visited in the
//! order of their nanoseconds, so that "is anything due?" has an answer without visiting anybody (CT-73).
//!
//! Owned by an instance, synchronised by its lock. Handles are weak: no cycle keeps a table alive. The memory of an entry
//! that was replaced is free when its handle's turn comes.

mod pile;

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};

use crate::Zone;
use crate::conn::{Conn, Expiry};
use crate::time::Instant;
use pile::Pile;

/// 2^31 ns, 2.1 s.
const SLOT_SHIFT: u32 = 31;
/// One revolution is 550 s, longer than every fixed time-out but CT-33.
const SLOTS: u64 = 256;

pub(crate) struct Wheel {
    slots: Box<[Pile<Handle>]>,
    /// Handles taken from a slot and not looked at yet, when the budget ended.
    turning: Pile<Handle>,
    soon: BinaryHeap<Handle>,
    /// Slots up to this one have been emptied into `turning` or `soon`.
    tick: u64,
    zones: Vec<Zone>,
}

struct Handle {
    at: Instant,
    conn: Weak<Conn>,
}

impl Wheel {
    pub(crate) fn new() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Pile::new()).collect(),
            turning: Pile::new(),
            soon: BinaryHeap::new(),
            tick: 0,
            zones: Vec::new(),
        }
    }

    /// Lays a handle for `conn` if it can expire before the time it is armed for.
    pub(crate) fn arm(&mut self, conn: &Arc<Conn>, now: Instant) {
        let at = conn.due(now);
        if at >= conn.armed() {
            return;
        }
        let zone = conn.key().zone();
        if !self.zones.contains(&zone) {
            self.zones.push(zone);
        }
        conn.set_armed(at);
        self.push(Handle { at, conn: Arc::downgrade(conn) });
    }

    /// Kills what has expired by `now`, looking at no more than `budget` handles; the killed are pushed to `killed`.
    pub(crate) fn advance(&mut self, now: Instant, budget: &mut usize, killed: &mut Vec<Arc<Conn>>) {
        self.turn(tick_of(now), budget);
        while *budget > 0 && self.soon.peek().is_some_and(|handle| handle.at <= now) {
            *budget -= 1;
            let visited = self.soon.pop().and_then(|handle| self.visit(&handle, now));
            killed.extend(visited);
        }
    }

    /// No handle is due before this.
    pub(crate) fn earliest(&self) -> Instant {
        if !self.turning.is_empty() {
            return Instant::default();
        }
        let next_slot = Instant::from_nanos((self.tick + 1) << SLOT_SHIFT);
        self.soon.peek().map_or(next_slot, |handle| handle.at.min(next_slot))
    }

    /// Takes out every entry of `zone` that `wanted` picks. Costs nothing if there never was one of `zone`.
    ///
    /// The zone is forgotten with its last handle, under the same lock: an entry that a commit arms right after this is
    /// found by the next removal.
    pub(crate) fn extract(&mut self, zone: Zone, wanted: impl Fn(&Conn) -> bool) -> Vec<Arc<Conn>> {
        if !self.zones.contains(&zone) {
            return Vec::new();
        }
        let (mut found, mut spared) = (Vec::new(), false);
        let mut keep = |handle: &Handle| {
            let Some(conn) = handle.conn.upgrade() else {
                return false;
            };
            if conn.key().zone() != zone {
                return true;
            }
            if wanted(&conn) {
                found.push(conn);
                return false;
            }
            spared = true;
            true
        };
        self.slots.iter_mut().for_each(|slot| slot.retain(&mut keep));
        self.turning.retain(&mut keep);
        self.soon.retain(&mut keep);
        if !spared {
            self.zones.retain(|known| *known != zone);
        }
        found
    }

    /// Zones for which there are handles, or were.
    pub(crate) fn zones(&self) -> &[Zone] {
        &self.zones
    }

    #[cfg(test)]
    #[cfg(not(palisade_loom))]
    pub(crate) fn handles(&self) -> usize {
        self.slots.iter().map(Pile::len).sum::<usize>() + self.turning.len() + self.soon.len()
    }

    /// Brings the handles of all slots up to `to` into the heap.
    fn turn(&mut self, to: u64, budget: &mut usize) {
        // After one revolution every slot has been emptied: a longer jump need not count on.
        self.tick = self.tick.max(to.saturating_sub(SLOTS));
        while *budget > 0 {
            if let Some(handle) = self.turning.pop() {
                *budget -= 1;
                self.place(handle, to);
            } else if self.tick < to {
                self.tick += 1;
                self.turning = std::mem::replace(&mut self.slots[index(self.tick)], Pile::new());
            } else {
                return;
            }
        }
    }

    fn visit(&mut self, handle: &Handle, now: Instant) -> Option<Arc<Conn>> {
        let conn = handle.conn.upgrade()?;
        if conn.armed() != handle.at {
            return None;
        }
        loop {
            match conn.expire(now) {
                Expiry::Dead => return None,
                Expiry::Killed => return Some(conn),
                Expiry::Until(at) => {
                    conn.set_armed(at);
                    // Somebody may have shortened the life of the entry since `expire` looked, and have read the old
                    // `armed`; then it is ours to lay the earlier handle.
                    if conn.due(now) >= at {
                        self.push(Handle { at, conn: Arc::downgrade(&conn) });
                        return None;
                    }
                }
            }
        }
    }

    fn push(&mut self, handle: Handle) {
        self.place(handle, self.tick);
    }

    /// Puts a handle where it will be found in time, given that slots up to `tick` are taken as emptied.
    fn place(&mut self, handle: Handle, tick: u64) {
        let due = tick_of(handle.at);
        if due <= tick {
            self.soon.push(handle);
        } else {
            self.slots[index(due.min(tick + SLOTS - 1))].push(handle);
        }
    }
}

const fn tick_of(at: Instant) -> u64 {
    at.as_nanos() >> SLOT_SHIFT
}

fn index(tick: u64) -> usize {
    usize::try_from(tick % SLOTS).expect("less than 256")
}

impl Ord for Handle {
    /// The earliest is the greatest, for the heap.
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at)
    }
}

impl PartialOrd for Handle {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Handle {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Handle {}

#[cfg(test)]
#[cfg(palisade_loom)]
#[path = "wheel_models.rs"]
mod models;
