//! Counts of entries: the table's capacity, and conservation law 3.

use std::sync::atomic::Ordering;

use crate::sync::AtomicU64;
use crate::view::ConnTotals;

/// How an entry ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    Expired,
    Closed,
    Removed,
    /// Removed because rules would not have let it be opened.
    Revoked,
}

pub(crate) struct Tally {
    capacity: u64,
    alive: AtomicU64,
    created: AtomicU64,
    expired: AtomicU64,
    closed: AtomicU64,
    removed: AtomicU64,
    revoked: AtomicU64,
}

impl Tally {
    pub(crate) fn new(capacity: usize) -> Self {
        let zero = || AtomicU64::new(0);
        let capacity = u64::try_from(capacity).unwrap_or(u64::MAX);
        Self {
            capacity,
            alive: zero(),
            created: zero(),
            expired: zero(),
            closed: zero(),
            removed: zero(),
            revoked: zero(),
        }
    }

    /// Counts a birth, unless the table is full.
    pub(crate) fn begin(&self) -> bool {
        let below = |alive| (alive < self.capacity).then(|| alive + 1);
        let room = self.alive.fetch_update(Ordering::AcqRel, Ordering::Acquire, below).is_ok();
        if room {
            self.created.fetch_add(1, Ordering::Relaxed);
        }
        room
    }

    pub(crate) fn has_room(&self) -> bool {
        self.alive.load(Ordering::Acquire) < self.capacity
    }

    /// Counts a birth in the place of an entry that a SYN replaces (CT-45).
    pub(crate) fn replace(&self) {
        self.created.fetch_add(1, Ordering::Relaxed);
        self.closed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an end.
    pub(crate) fn end(&self, how: End) {
        let count = match how {
            End::Expired => &self.expired,
            End::Closed => &self.closed,
            End::Removed => &self.removed,
            End::Revoked => {
                self.revoked.fetch_add(1, Ordering::Relaxed);
                &self.removed
            }
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.alive.fetch_sub(1, Ordering::AcqRel);
    }

    pub(crate) fn totals(&self) -> ConnTotals {
        let read = |count: &AtomicU64| count.load(Ordering::Acquire);
        ConnTotals {
            created: read(&self.created),
            alive: read(&self.alive),
            expired: read(&self.expired),
            closed: read(&self.closed),
            removed: read(&self.removed),
            revoked: read(&self.revoked),
        }
    }
}
