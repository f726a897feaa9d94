//! Creation counters: how a cached result that rests on *no* entry learns that there may be one by now.
//!
//! A worker that caches "no entry, and the rules refuse" would go on refusing after the flow was opened from the other
//! side. So whoever looks reads the counter of the flow before looking, keeps its value with the result, and looks again
//! once it has moved. Flows share counters by hash: a stranger's birth costs a look-up, never a wrong answer.
//!
//! *Order.* An entry is inserted first and counted after, both before its packet goes on. A reader that still sees the
//! old value has started before the opening packet could cause anything.

use std::hash::BuildHasher;
use std::sync::atomic::Ordering;

use foldhash::fast::RandomState;

use crate::key::Key;
use crate::sync::AtomicU32;

/// Counters; a power of two. 16 KiB, so that they stay in a cache while a flood moves them. The model checker, which
/// repeats executions, could not do with a seeded hash.
const SLOTS: u16 = if cfg!(palisade_loom) { 1 } else { 4096 };

/// The counter of a flow at one ENI, and what it showed before the table was consulted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Birth {
    slot: u16,
    count: u32,
}

/// All counters.
pub(crate) struct Births {
    counts: Box<[AtomicU32]>,
    hasher: RandomState,
}

impl Births {
    pub(crate) fn new() -> Self {
        let counts = std::iter::repeat_with(AtomicU32::default).take(SLOTS.into()).collect();
        Self { counts, hasher: RandomState::default() }
    }

    /// An entry with this key has just become visible.
    pub(crate) fn count(&self, key: &Key) {
        self.counts[usize::from(self.slot(key))].fetch_add(1, Ordering::Release);
    }

    pub(crate) fn read(&self, key: &Key) -> Birth {
        let slot = self.slot(key);
        Birth { slot, count: self.counts[usize::from(slot)].load(Ordering::Acquire) }
    }

    pub(crate) fn is_current(&self, birth: Birth) -> bool {
        let count = self.counts.get(usize::from(birth.slot));
        count.is_some_and(|count| count.load(Ordering::Acquire) == birth.count)
    }

    fn slot(&self, key: &Key) -> u16 {
        let [low, high, ..] = self.hasher.hash_one(key).to_le_bytes();
        u16::from_le_bytes([low, high]) % SLOTS
    }
}

#[cfg(test)]
#[cfg(not(palisade_loom))]
mod tests {
    use super::*;
    use crate::key::Ids;
    use crate::owner::Zone;

    #[test]
    fn a_birth_outdates_what_was_read_before_it() {
        let births = Births::new();
        let ends = ([10, 0, 1, 10].into(), [10, 0, 2, 10].into());
        let key = |port| Key::new(Zone(1), 6, ends, Ids::Ports { local: port, remote: 22 });
        let before = births.read(&key(1));
        assert!(births.is_current(before));
        births.count(&key(1));
        assert!(!births.is_current(before));
        assert!(births.is_current(births.read(&key(1))));
    }
}
