//! What is counted and not handed over yet: a ring of deltas, the oldest of which leaves first, and an index into it.
//!
//! Memory is reserved at once and touched as it is used; nothing grows. The index is chains through the ring rather than an
//! open-addressed table: what comes and goes leaves no traces there that would have to be cleared away, which would be a long
//! step for a worker.

use std::hash::{BuildHasher, Hash, Hasher};
use std::net::IpAddr;

use foldhash::fast::RandomState;
use palisade_flow::Delta;

/// The end of a chain.
const END: u32 = u32::MAX;

#[derive(Debug, Default)]
pub(super) struct Pages {
    /// The first place of each chain; a power of two of them.
    heads: Box<[u32]>,
    /// By place: the next one of its chain.
    links: Vec<u32>,
    ring: Vec<Delta>,
    front: usize,
    len: usize,
    capacity: usize,
    hasher: RandomState,
}

impl Pages {
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.min(END as usize);
        Self {
            heads: vec![END; capacity.next_power_of_two()].into_boxed_slice(),
            links: Vec::with_capacity(capacity),
            ring: Vec::with_capacity(capacity),
            capacity,
            ..Self::default()
        }
    }

    pub(super) const fn room(&self) -> usize {
        self.capacity - self.len
    }

    /// The oldest delta.
    pub(super) fn oldest(&self) -> Option<&Delta> {
        self.ring.get(self.front).filter(|_| self.len > 0)
    }

    /// Counts a delta in; false, with nothing changed, if that takes a place and all are taken.
    pub(super) fn count(&mut self, delta: &Delta) -> bool {
        let Some(chain) = self.chain_of(delta) else { return false };
        let mut place = self.heads[chain];
        while let Some(standing) = self.ring.get_mut(place as usize) {
            if is_same(standing, delta) {
                standing.merge(delta);
                return true;
            }
            place = self.links[place as usize];
        }
        self.open(chain, delta)
    }

    /// Takes the oldest out.
    pub(super) fn take(&mut self) -> Option<Delta> {
        let delta = *self.oldest()?;
        self.unlink(self.chain_of(&delta)?);
        self.front = (self.front + 1) % self.capacity;
        self.len -= 1;
        Some(delta)
    }

    fn open(&mut self, chain: usize, delta: &Delta) -> bool {
        if self.room() == 0 {
            return false;
        }
        let at = (self.front + self.len) % self.capacity;
        let next = self.heads[chain];
        if let Some(old) = self.ring.get_mut(at) {
            (*old, self.links[at]) = (*delta, next);
        } else {
            self.ring.push(*delta);
            self.links.push(next);
        }
        self.heads[chain] = u32::try_from(at).unwrap_or(END);
        self.len += 1;
        true
    }

    /// Takes the front out of its chain, of which it is the oldest and thus the last.
    fn unlink(&mut self, chain: usize) {
        let (mut before, mut place) = (None, self.heads[chain]);
        while place as usize != self.front {
            let Some(next) = self.links.get(place as usize) else { return };
            (before, place) = (Some(place as usize), *next);
        }
        match before {
            Some(before) => self.links[before] = END,
            None => self.heads[chain] = END,
        }
    }

    /// `None` if there is no room for anything.
    fn chain_of(&self, delta: &Delta) -> Option<usize> {
        let mask = self.heads.len().checked_sub(1)?;
        Some(usize::try_from(hash(&self.hasher, delta)).unwrap_or(usize::MAX) & mask)
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
