//! From a value of a field to the elementary interval that holds it.
//!
//! A tree of tables, each of which cuts the stretch between its first and its last boundary into equal buckets; a
//! bucket with few boundaries ends the walk with a short scan, another one has a table of its own. So a field whose
//! boundaries crowd in a few places (a VPC's own block, low ports) is no slower than one where they are spread.

use super::span::Number;

/// A bucket with at most this many intervals is scanned.
const SCAN: usize = 4;

/// Elementary intervals of one field: they cover it all, each begins where the one before ends.
#[derive(Debug)]
pub(super) struct Intervals<T> {
    /// Lowest value of each interval, ascending, the first is 0; then [`SCAN`] times the highest value.
    starts: Box<[T]>,
    len: usize,
    root: Bucket,
    tables: Vec<Table<T>>,
    buckets: Vec<Bucket>,
}

/// Where to look on.
#[derive(Clone, Copy, Debug)]
enum Bucket {
    /// At this interval, or one of the next [`SCAN`] - 1.
    Scan(u32),
    /// In the table of this number.
    Table(u32),
}

/// Equal buckets of 2^`shift` values from `base` on; the last one reaches further. Before them stands a bucket for
/// everything below `base`.
#[derive(Clone, Copy, Debug)]
struct Table<T> {
    base: T,
    shift: u32,
    last: u32,
    first_bucket: u32,
}

impl<T: Number> Intervals<T> {
    /// `starts` is ascending without repetition and begins with 0.
    pub(super) fn new(mut starts: Vec<T>) -> Self {
        let len = starts.len();
        starts.resize(len + SCAN, T::MAX);
        let (tables, buckets) = (Vec::new(), Vec::new());
        let mut intervals = Self { starts: starts.into(), len, root: Bucket::Scan(0), tables, buckets };
        intervals.root = intervals.bucket(0, len);
        intervals.tables.shrink_to_fit();
        intervals.buckets.shrink_to_fit();
        intervals
    }

    /// The number of the interval that holds `value`.
    #[inline]
    pub(super) fn find(&self, value: T) -> usize {
        let mut bucket = self.root;
        loop {
            match bucket {
                Bucket::Scan(first) => return self.scan(first as usize, value),
                Bucket::Table(table) => bucket = self.buckets[self.tables[table as usize].bucket_of(value)],
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val::<[T]>(&self.starts)
            + size_of_val(self.tables.as_slice())
            + size_of_val(self.buckets.as_slice())
    }

    /// The last interval that begins at or below `value`. It is `first` or one of the next few; a fixed number is
    /// compared, because those behind begin above `value` anyway, and a loop of fixed length has no branches.
    #[inline]
    fn scan(&self, first: usize, value: T) -> usize {
        let rest = &self.starts[first + 1..first + SCAN];
        let found = first + rest.iter().map(|&start| usize::from(start <= value)).sum::<usize>();
        found.min(self.len - 1)
    }

    /// Where to look on among the intervals from `first` up to, not including, `end`.
    fn bucket(&mut self, first: usize, end: usize) -> Bucket {
        if end - first <= SCAN { Bucket::Scan(index(first)) } else { Bucket::Table(self.table(first, end)) }
    }

    /// Makes a table for them. Its first and its last boundary fall into different buckets, so that every table below
    /// it has fewer.
    fn table(&mut self, first: usize, end: usize) -> u32 {
        let (base, highest) = (self.starts[first + 1], self.starts[end - 1]);
        let wanted = (2 * (end - first)).next_power_of_two().ilog2();
        let shift = highest.width_from(base).saturating_sub(wanted);
        let last = highest.bucket(base, shift);
        let first_bucket = self.buckets.len();
        self.buckets.resize(first_bucket + last + 2, Bucket::Scan(index(first)));
        let mut from = first + 1;
        for at in 0..=last {
            let start = base.bucket_start(at, shift);
            let inside = |&&start: &&T| start.bucket(base, shift) == at;
            let to = from + self.starts[from..end].iter().take_while(inside).count();
            let begins_here = to > from && self.starts[from] == start;
            let bucket = self.bucket(if begins_here { from } else { from - 1 }, to);
            self.buckets[first_bucket + 1 + at] = bucket;
            from = to;
        }
        self.tables.push(Table { base, shift, last: index(last), first_bucket: index(first_bucket) });
        index(self.tables.len() - 1)
    }
}

impl<T: Number> Table<T> {
    #[inline]
    fn bucket_of(&self, value: T) -> usize {
        let first = self.first_bucket as usize;
        if value < self.base {
            first
        } else {
            first + 1 + value.bucket(self.base, self.shift).min(self.last as usize)
        }
    }
}

/// A position as it is stored.
pub(super) fn index(position: usize) -> u32 {
    u32::try_from(position).expect("a table of four billion places does not fit into memory")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check<T: Number>(mut starts: Vec<T>, probes: &[T]) {
        starts.push(T::ZERO);
        starts.sort_unstable();
        starts.dedup();
        let intervals = Intervals::new(starts.clone());
        let near = starts.iter().flat_map(|&start| [Some(start), start.successor()]).flatten();
        for value in near.chain(probes.iter().copied()) {
            assert_eq!(
                intervals.find(value),
                starts.partition_point(|&start| start <= value) - 1,
                "{value:?}"
            );
        }
    }

    #[test]
    fn crowded_boundaries() {
        check(
            (0..2000).map(|n| 0x0a00_0000 + n).chain([0xcb00_7100, u32::MAX]).collect(),
            &[5, u32::MAX - 1],
        );
        check((0..128).map(|n| 1u128 << n).chain([u128::MAX]).collect(), &[u128::MAX - 1]);
        check((0..3000).map(|n| n * n * 400).collect::<Vec<u32>>(), &[u32::MAX]);
        check::<u32>(vec![], &[0, 1, u32::MAX]);
    }

    proptest! {
        #[test]
        fn agrees_with_binary_search(
            starts in prop::collection::vec((any::<u32>(), 0u32..32), 0..400),
            probes in prop::collection::vec(any::<u32>(), 20),
        ) {
            check(starts.iter().map(|&(start, shift)| start >> shift).collect(), &probes);
            let wide = |&(start, shift): &(u32, u32)| u128::from(start) << (shift * 3);
            check(starts.iter().map(wide).collect(), &probes.iter().map(|&p| u128::from(p) << 50).collect::<Vec<_>>());
        }
    }
}
