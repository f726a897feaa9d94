//! Bit vectors, each different one stored once and without its zero words.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::bits::{BITS, Bits};
use super::intervals::index;

/// Bit vectors of equal length, each under the number that [`RowsBuilder::intern`] gave it.
#[derive(Debug)]
pub(super) struct Rows {
    /// Heads per row: one for every 4,096 rules.
    heads_per_row: usize,
    heads: Box<[Head]>,
    words: Box<[u64]>,
}

/// 64 words of a row, of which only those that are not zero are stored.
#[derive(Clone, Copy, Debug)]
struct Head {
    /// Which of them are stored.
    summary: u64,
    /// Where the first one stands.
    first: usize,
}

impl Rows {
    /// The lowest bit that is set in row `row` of `self`, in row `other_row` of `other` and in `mask`.
    #[inline]
    pub(super) fn first_common(
        &self,
        row: u32,
        other: &Self,
        other_row: u32,
        mask: Option<&[u64]>,
    ) -> Option<usize> {
        let (ours, theirs) = (self.row(row), other.row(other_row));
        for (block, (a, b)) in ours.iter().zip(theirs).enumerate() {
            let mut candidates = a.summary & b.summary;
            while candidates != 0 {
                let word = candidates.trailing_zeros();
                let at = block * BITS + word as usize;
                let common =
                    self.word(a, word) & other.word(b, word) & mask.map_or(u64::MAX, |mask| mask[at]);
                if common != 0 {
                    return Some(at * BITS + common.trailing_zeros() as usize);
                }
                candidates &= candidates - 1;
            }
        }
        None
    }

    /// The lowest bit that is set in a row and in `mask`.
    pub(super) fn first_in(&self, row: u32, mask: &[u64]) -> Option<usize> {
        self.first_common(row, self, row, Some(mask))
    }

    #[inline]
    fn row(&self, row: u32) -> &[Head] {
        let start = row as usize * self.heads_per_row;
        &self.heads[start..start + self.heads_per_row]
    }

    #[inline]
    fn word(&self, head: &Head, word: u32) -> u64 {
        let before = head.summary & ((1 << word) - 1);
        self.words[head.first + before.count_ones() as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.heads.len() / self.heads_per_row
    }

    pub(super) fn words(&self) -> usize {
        self.words.len()
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val::<[Head]>(&self.heads) + size_of_val::<[u64]>(&self.words)
    }
}

/// Collects rows.
pub(super) struct RowsBuilder {
    heads_per_row: usize,
    heads: Vec<Head>,
    words: Vec<u64>,
    /// Hash and number of every row.
    known: HashTable<(u64, u32)>,
    hasher: RandomState,
}

impl RowsBuilder {
    /// For vectors with as many bits as `sample`.
    pub(super) fn new(sample: &Bits) -> Self {
        Self {
            heads_per_row: sample.summary().len(),
            heads: Vec::new(),
            words: Vec::new(),
            known: HashTable::new(),
            hasher: RandomState::default(),
        }
    }

    /// The number of the row with these bits.
    pub(super) fn intern(&mut self, bits: &Bits) -> u32 {
        let hash = self.hash(bits);
        if let Some(&(_, row)) = self.known.find(hash, |&(_, row)| self.equals(row, bits)) {
            return row;
        }
        let row = index(self.heads.len() / self.heads_per_row);
        for (block, &summary) in bits.words().chunks(BITS).zip(bits.summary()) {
            self.heads.push(Head { summary, first: self.words.len() });
            self.words.extend(block.iter().filter(|&&word| word != 0));
        }
        self.known.insert_unique(hash, (hash, row), |&(hash, _)| hash);
        row
    }

    pub(super) fn finish(self) -> Rows {
        Rows { heads_per_row: self.heads_per_row, heads: self.heads.into(), words: self.words.into() }
    }

    fn hash(&self, bits: &Bits) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        bits.summary().iter().copied().chain(bits.non_zero_words()).for_each(|word| hasher.write_u64(word));
        hasher.finish()
    }

    fn equals(&self, row: u32, bits: &Bits) -> bool {
        let start = row as usize * self.heads_per_row;
        let heads = &self.heads[start..start + self.heads_per_row];
        let words = &self.words[heads[0].first..];
        heads.iter().map(|head| head.summary).eq(bits.summary().iter().copied())
            && bits.non_zero_words().eq(words.iter().copied().take(bits.non_zero_words().count()))
    }
}
