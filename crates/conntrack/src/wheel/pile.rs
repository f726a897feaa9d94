//! Many things in no particular order, in pieces of bounded size: to add one never moves more than a piece, and to take them
//! out gives their memory back piece by piece, so that no step grows with what lies there already.

/// Things of a piece; a piece of handles is 16 KiB.
const PIECE: usize = 1_024;

pub(super) struct Pile<T>(Vec<Vec<T>>);

impl<T> Pile<T> {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push(&mut self, thing: T) {
        match self.0.last_mut() {
            Some(piece) if piece.len() < PIECE => piece.push(thing),
            _ => self.0.push(vec![thing]),
        }
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        let piece = self.0.last_mut()?;
        let thing = piece.pop();
        if piece.is_empty() {
            self.0.pop();
        }
        thing
    }

    pub(super) fn retain(&mut self, mut wanted: impl FnMut(&T) -> bool) {
        self.0.retain_mut(|piece| {
            piece.retain(&mut wanted);
            !piece.is_empty()
        });
    }

    #[cfg(test)]
    #[cfg(not(palisade_loom))]
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }
}

#[cfg(test)]
#[cfg(not(palisade_loom))]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_between_pieces() {
        let mut pile = Pile::new();
        (0..=3 * PIECE).for_each(|thing| pile.push(thing));
        assert_eq!(pile.len(), 3 * PIECE + 1);
        pile.retain(|thing| thing % 2 == 0 && !(PIECE..2 * PIECE).contains(thing));
        let mut left: Vec<usize> = std::iter::from_fn(|| pile.pop()).collect();
        left.sort_unstable();
        let expected = (0..=3 * PIECE).filter(|thing| thing % 2 == 0 && !(PIECE..2 * PIECE).contains(thing));
        assert!(left.into_iter().eq(expected));
        assert!(pile.is_empty() && pile.pop().is_none());
    }
}
