//! A set of rules while it is being built: one bit per rule, and one bit per word that is not zero.

/// Bits in a word.
pub(super) const BITS: usize = 64;

#[derive(Clone, Debug)]
pub(super) struct Bits {
    words: Box<[u64]>,
    /// Bit `n % 64` of word `n / 64`: word `n` of `words` is not zero.
    summary: Box<[u64]>,
}

impl Bits {
    /// An empty set of at most `len` bits.
    pub(super) fn new(len: usize) -> Self {
        let words = len.div_ceil(BITS).max(1);
        Self { words: vec![0; words].into(), summary: vec![0; words.div_ceil(BITS)].into() }
    }

    pub(super) fn set(&mut self, bit: usize, value: bool) {
        put(&mut self.words, bit, value);
        put(&mut self.summary, bit / BITS, self.words[bit / BITS] != 0);
    }

    pub(super) fn words(&self) -> &[u64] {
        &self.words
    }

    pub(super) fn summary(&self) -> &[u64] {
        &self.summary
    }

    pub(super) fn non_zero_words(&self) -> impl Iterator<Item = u64> + '_ {
        self.words.iter().copied().filter(|&word| word != 0)
    }
}

fn put(words: &mut [u64], bit: usize, value: bool) {
    let mask = 1 << (bit % BITS);
    let word = &mut words[bit / BITS];
    *word = if value { *word | mask } else { *word & !mask };
}
