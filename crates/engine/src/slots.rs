//! Counters by number, for objects that come and go with generations: rules, ENIs. One writer, any number of readers.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const CHUNK: usize = 4096;
const CHUNKS: usize = 4096;

type Chunk = Box<[AtomicU64; CHUNK]>;

/// Room for 16,777,216 counters, taken in chunks when it is needed. What is counted beyond it, or before there is room,
/// goes to one common counter.
#[derive(Debug)]
pub(crate) struct Slots {
    chunks: Box<[OnceLock<Chunk>]>,
    beyond: AtomicU64,
}

impl Slots {
    pub(crate) fn new() -> Self {
        let chunks = std::iter::repeat_with(OnceLock::new).take(CHUNKS).collect();
        Self { chunks, beyond: AtomicU64::default() }
    }

    /// Takes room for slots below `slots`.
    pub(crate) fn ensure(&self, slots: usize) {
        for chunk in self.chunks.iter().take(slots.div_ceil(CHUNK)) {
            chunk.get_or_init(make_chunk);
        }
    }

    /// Takes room for one slot and its neighbours.
    pub(crate) fn ensure_one(&self, slot: u32) {
        if let Some(chunk) = self.chunks.get(slot as usize / CHUNK) {
            chunk.get_or_init(make_chunk);
        }
    }

    /// Counts, by the one writer.
    pub(crate) fn add(&self, slot: u32, n: u64) {
        let counter = self.counter(slot).unwrap_or(&self.beyond);
        counter.store(counter.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Sets the value of a slot that there is room for.
    pub(crate) fn set(&self, slot: u32, value: u64) {
        if let Some(counter) = self.counter(slot) {
            counter.store(value, Relaxed);
        }
    }

    /// Whether a slot lies beyond the room that there can be.
    pub(crate) const fn is_beyond(slot: u32) -> bool {
        slot as usize >= CHUNK * CHUNKS
    }

    /// The count of a slot.
    pub(crate) fn get(&self, slot: u32) -> u64 {
        self.counter(slot).map_or(0, |counter| counter.load(Relaxed))
    }

    /// All counts together.
    pub(crate) fn total(&self) -> u64 {
        let counters = self.chunks.iter().filter_map(OnceLock::get).flat_map(|chunk| chunk.iter());
        counters.chain([&self.beyond]).map(|counter| counter.load(Relaxed)).sum()
    }

    fn counter(&self, slot: u32) -> Option<&AtomicU64> {
        let slot = slot as usize;
        Some(&self.chunks.get(slot / CHUNK)?.get()?[slot % CHUNK])
    }
}

fn make_chunk() -> Chunk {
    let counters: Box<[AtomicU64]> = std::iter::repeat_with(AtomicU64::default).take(CHUNK).collect();
    counters.try_into().expect("so many were made")
}
