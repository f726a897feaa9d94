//! How large the map is made, and what a full table takes.

use crate::conn::Conn;
use crate::listed::Listed;

/// Entries of the map for so many of the table: an eighth more, as the hash does not fill the shards evenly and a shard
/// that grows stalls.
pub(crate) const fn slots(capacity: usize) -> usize {
    capacity.saturating_add(capacity / 8)
}

/// Shards of the map; a power of two. Who lists the table holds one at a time, so they are small, as long as their heads are
/// worth less than what is in them.
pub(crate) fn shards(capacity: usize) -> usize {
    (capacity / 256).next_power_of_two().clamp(4, MOST_SHARDS)
}

const MOST_SHARDS: usize = 1_024;

/// See [`crate::ConnTable::memory`].
pub(crate) fn memory(capacity: usize) -> usize {
    let shards = shards(capacity);
    // A hash table has a power of two of buckets, an eighth of which stay empty, and a byte beside each.
    let buckets = (slots(capacity).div_ceil(shards) * 8 / 7).next_power_of_two();
    let map = shards * (buckets * (size_of::<Listed>() + 1) + SHARD);
    map.saturating_add(capacity.saturating_mul(allocated(size_of::<Conn>() + COUNTS) + HANDLE))
}

/// A lock and the head of a hash table, on a cache line of their own.
const SHARD: usize = 128;
/// The two reference counts before an entry.
const COUNTS: usize = 16;
/// A handle of the timer: time and pointer, in a list that grows by doubling.
const HANDLE: usize = 2 * 16;

/// What an allocator takes for so many bytes: a word more, in multiples of 16.
const fn allocated(bytes: usize) -> usize {
    (bytes + 8).next_multiple_of(16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_grows_with_the_room() {
        for capacity in [1, 4, 1_000, 262_144, 1_000_000] {
            assert!(memory(2 * capacity) > memory(capacity), "{capacity}");
            assert!(slots(capacity) >= capacity);
        }
        assert_eq!((shards(0), shards(1 << 40)), (4, MOST_SHARDS));
    }
}
