//! Batches: what services that take records by the hundred are given at once, and how far that has come.

use std::ops::Range;
use std::path::PathBuf;

use crate::spool::Segment;

/// What a batch may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) items: usize,
    pub(super) bytes: usize,
}

/// Ranges of items that fit into a batch each; `joins` says whether an item may stand behind the first one of a batch.
pub(super) fn batches<T>(
    items: &[T],
    bounds: Bounds,
    size: impl Fn(&T) -> usize,
    joins: impl Fn(&T, &T) -> bool,
) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, item) in items.iter().enumerate() {
        let is_full = at - start >= bounds.items || bytes + size(item) > bounds.bytes;
        if at > start && (is_full || !joins(&items[start], item)) {
            found.push(start..at);
            (start, bytes) = (at, 0);
        }
        bytes += size(item);
    }
    if start < items.len() {
        found.push(start..items.len());
    }
    found
}

/// How far the delivery of a segment has come, so that a failure does not begin it anew. It is kept in memory: what was given to
/// a service without names before a crash comes again.
#[derive(Debug, Default)]
pub(super) struct Progress {
    segment: PathBuf,
    /// Batches that are done.
    pub(super) done: usize,
    /// Items of the next batch that are still to go; empty: all of them.
    pub(super) left: Vec<usize>,
}

impl Progress {
    /// Goes on with a segment, or begins it.
    pub(super) fn with(&mut self, segment: &Segment) {
        if self.segment != segment.path {
            *self = Self { segment: segment.path.clone(), ..Self::default() };
        }
    }

    /// The batch is done.
    pub(super) fn advance(&mut self) {
        self.done += 1;
        self.left.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_holds_as_much_as_fits() {
        let split = |sizes: &[usize], items, bytes| {
            batches(sizes, Bounds { items, bytes }, |size| *size, |_, _| true)
        };
        assert_eq!(split(&[], 2, 10), []);
        assert_eq!(split(&[1, 1, 1], 2, 10), [0..2, 2..3]);
        assert_eq!(split(&[5, 5, 1], 9, 10), [0..2, 2..3]);
        assert_eq!(split(&[50, 1], 9, 10), [0..1, 1..2], "what fits nowhere goes alone");
        let apart = batches(&[1, 1, 2], Bounds { items: 9, bytes: 9 }, |_| 1, |one, other| one == other);
        assert_eq!(apart, [0..2, 2..3]);
    }
}
