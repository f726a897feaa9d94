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

    /// An empty set of as many bits.
    pub(super) fn cleared(&self) -> Self {
        Self { words: vec![0; self.words.len()].into(), summary: vec![0; self.summary.len()].into() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.summary.iter().all(|&word| word == 0)
    }

    pub(super) fn get(&self, bit: usize) -> bool {
        self.words[bit / BITS] >> (bit % BITS) & 1 == 1
    }

    /// The bits that are set, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        let words = self.summary.iter().enumerate().flat_map(|(at, &word)| ones(at, word));
        words.flat_map(|at| ones(at, self.words[at]))
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

/// The bits that are set in word `at`.
fn ones(at: usize, mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
        word &= word - 1;
        Some(at * BITS + bit)
    })
}

fn put(words: &mut [u64], bit: usize, value: bool) {
    let mask = 1 << (bit % BITS);
    let word = &mut words[bit / BITS];
    *word = if value { *word | mask } else { *word & !mask };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_set_bits_are_found_in_order() {
        let mut bits = Bits::new(10_000);
        let wanted = [0, 1, 63, 64, 4095, 4096, 4097, 9_999];
        wanted.iter().rev().for_each(|&bit| bits.set(bit, true));
        assert_eq!(bits.iter().collect::<Vec<_>>(), wanted);
        bits.set(4096, false);
        assert!(!bits.get(4096) && bits.get(4097) && bits.iter().count() == 7);
    }
}
