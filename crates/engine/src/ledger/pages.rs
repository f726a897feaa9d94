//! What is counted and not handed over yet: a ring of deltas, the oldest of which leaves first, and an index into it.
//!
//! Memory is reserved at once and touched as it is used; nothing grows.

use std::hash::{BuildHasher, Hash, Hasher};
use std::net::IpAddr;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use palisade_flow::Delta;

#[derive(Debug, Default)]
pub(super) struct Pages {
    /// Places in the ring.
    index: HashTable<u32>,
    ring: Vec<Delta>,
    front: usize,
    capacity: usize,
    hasher: RandomState,
}

impl Pages {
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.min(u32::MAX as usize);
        Self {
            index: HashTable::with_capacity(capacity),
            ring: Vec::with_capacity(capacity),
            capacity,
            ..Self::default()
        }
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    pub(super) fn room(&self) -> usize {
        self.capacity - self.len()
    }

    /// The oldest delta.
    pub(super) fn oldest(&self) -> Option<&Delta> {
        self.ring.get(self.front).filter(|_| self.len() > 0)
    }

    /// Counts a delta in; false, with nothing changed, if that takes a place and all are taken.
    pub(super) fn count(&mut self, delta: &Delta) -> bool {
        let Self { index, ring, hasher, .. } = self;
        let hash = hash(hasher, delta);
        let place = index.find(hash, |place| is_same(&ring[*place as usize], delta)).copied();
        if let Some(place) = place {
            ring[place as usize].merge(delta);
            return true;
        }
        self.open(hash, delta)
    }

    /// Takes the oldest out.
    pub(super) fn take(&mut self) -> Option<Delta> {
        let delta = *self.oldest()?;
        let place = u32::try_from(self.front).unwrap_or(u32::MAX);
        if let Ok(entry) = self.index.find_entry(hash(&self.hasher, &delta), |it| *it == place) {
            entry.remove();
        }
        self.front = (self.front + 1) % self.capacity;
        Some(delta)
    }

    fn open(&mut self, hash: u64, delta: &Delta) -> bool {
        if self.room() == 0 {
            return false;
        }
        let place = (self.front + self.len()) % self.capacity;
        match self.ring.get_mut(place) {
            Some(old) => *old = *delta,
            None => self.ring.push(*delta),
        }
        let Self { index, ring, hasher, .. } = self;
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        index.insert_unique(hash, place, |it| self::hash(hasher, &ring[*it as usize]));
        true
    }
}

fn is_same(one: &Delta, other: &Delta) -> bool {
    one.window() == other.window() && one.is_of_record(other)
}

fn hash(hasher: &RandomState, delta: &Delta) -> u64 {
    let mut state = hasher.build_hasher();
    for address in [delta.source, delta.destination] {
        match address {
            IpAddr::V4(v4) => state.write_u32(v4.to_bits()),
            IpAddr::V6(v6) => state.write_u128(v6.to_bits()),
        }
    }
    let ports = u64::from(delta.source_port) << 16 | u64::from(delta.destination_port);
    state.write_u64(ports << 32 | u64::from(delta.eni.0));
    let Delta { protocol, direction, .. } = *delta;
    (protocol, direction as u8, delta.action(), delta.window()).hash(&mut state);
    state.finish()
}
