//! The state word: state, last-seen stamp and dead bit of an entry in one atomic.
//!
//! ```text
//!  63                                          7 6         1   0
//! +---------------------------------------------+-----------+------+
//! | stamp: last seen, nanoseconds modulo 2^57   | state     | dead |
//! +---------------------------------------------+-----------+------+
//! ```
//!
//! *Why one word.* Any worker may touch any entry. With the stamp beside the dead bit, "expire it, since it has been
//! idle" and "refresh it" are two compare-and-swaps on the same value, and exactly one of them wins: a refreshed entry
//! cannot be expired on the strength of its old stamp, and a dead one cannot be refreshed. The time-out class is a
//! function of the state ([`State::time_out`]) and needs no bits of its own.
//!
//! *Why nanoseconds.* The boundary of CT-39a (`idle >= time-out` is gone) is visible to anybody with a clock, so the
//! stamp is exact. It is still written at most once per burst: callers read the clock once per burst, so that the
//! packets of one burst carry one time, and a change that would store what is there already stores nothing. Two
//! workers on the two directions of a connection trade the cache line per burst, not per packet.
//!
//! *Why modulo.* 57 bits of nanoseconds last 4.5 years, and time may start before zero after an import. Differences are
//! taken as signed numbers, so that only spans beyond 2.2 years are read wrongly; no entry is idle that long.

use std::sync::atomic::Ordering;

use crate::state::State;
use crate::sync::AtomicU64;
use crate::time::Instant;

const DEAD: u64 = 1;
const STATE_SHIFT: u32 = 1;
const STAMP_SHIFT: u32 = 7;

/// One value of the state word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(u64);

impl Word {
    /// A standing that no entry ever has: no state has its code.
    pub(crate) const NOBODYS: u8 = 0x7f;

    /// A live entry last seen `idle` nanoseconds before `now`.
    pub(crate) const fn idle_for(state: State, now: Instant, idle: u64) -> Self {
        let stamp = now.as_nanos().wrapping_sub(idle);
        Self(stamp << STAMP_SHIFT | (state.code() as u64) << STATE_SHIFT)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    /// The word without its stamp.
    pub(crate) const fn standing(self) -> u8 {
        let [low, ..] = self.0.to_le_bytes();
        low & Self::NOBODYS
    }

    /// The word with this standing that was stamped at `now`.
    pub(crate) const fn stamped(standing: u8, now: Instant) -> Self {
        Self(now.as_nanos() << STAMP_SHIFT | standing as u64)
    }

    pub(crate) const fn is_dead(self) -> bool {
        self.0 & DEAD != 0
    }

    pub(crate) const fn state(self) -> State {
        let [code, ..] = (self.0 >> STATE_SHIFT).to_le_bytes();
        State::from_code(code)
    }

    /// Nanoseconds since the entry was last seen; zero if another worker's clock was ahead of `now`.
    pub(crate) fn idle(self, now: Instant) -> u64 {
        let stamp = self.0 >> STAMP_SHIFT << STAMP_SHIFT;
        let since = (now.as_nanos() << STAMP_SHIFT).wrapping_sub(stamp).cast_signed() >> STAMP_SHIFT;
        since.max(0).cast_unsigned()
    }

    /// The word after a packet at `now`: a worker whose clock is behind does not turn the stamp back.
    fn seen(self, state: State, now: Instant) -> Self {
        let stamp = (now.as_nanos() << STAMP_SHIFT).wrapping_sub(self.0 >> STAMP_SHIFT << STAMP_SHIFT);
        let later = if stamp.cast_signed() > 0 { now.as_nanos() << STAMP_SHIFT } else { self.0 };
        Self(later >> STAMP_SHIFT << STAMP_SHIFT | u64::from(state.code()) << STATE_SHIFT)
    }
}

/// The atomic cell. All changes go through the two methods that compare with what was seen.
pub(crate) struct StateWord(AtomicU64);

impl StateWord {
    pub(crate) fn new(word: Word) -> Self {
        Self(AtomicU64::new(word.0))
    }

    pub(crate) fn load(&self) -> Word {
        Word(self.0.load(Ordering::SeqCst))
    }

    /// Moves a live entry to `state` and stamps it, if it still is as `seen`, and returns the word that stands there then;
    /// otherwise says how it is.
    ///
    /// Sequentially consistent, because re-arming the timer relies on this store and the load of the armed time after
    /// it not changing places (see [`crate::conn`]).
    pub(crate) fn refresh(&self, seen: Word, state: State, now: Instant) -> Result<Word, Word> {
        debug_assert!(!seen.is_dead(), "the caller looked");
        let next = seen.seen(state, now);
        self.swap(seen, next).map(|()| next)
    }

    /// Sets the dead bit, if the entry still is as `seen`. The one caller that gets `Ok` owns the funeral: it alone
    /// gives back the entry's place and counts its end.
    pub(crate) fn kill(&self, seen: Word) -> Result<(), Word> {
        debug_assert!(!seen.is_dead(), "the caller looked");
        self.swap(seen, Word(seen.0 | DEAD))
    }

    fn swap(&self, seen: Word, next: Word) -> Result<(), Word> {
        if seen == next {
            return Ok(());
        }
        let result = self.0.compare_exchange(seen.0, next.0, Ordering::SeqCst, Ordering::SeqCst);
        result.map(drop).map_err(Word)
    }
}

#[cfg(test)]
#[cfg(not(palisade_loom))]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    #[test]
    fn stamps_are_exact_and_only_go_forward() {
        let cell = StateWord::new(Word::idle_for(State::SynSent, at(1_000), 0));
        assert_eq!(cell.load().idle(at(1_001)), 1);
        cell.refresh(cell.load(), State::Established, at(2_000)).ok().unwrap();
        cell.refresh(cell.load(), State::Established, at(1_500)).ok().unwrap();
        assert_eq!((cell.load().idle(at(2_003)), cell.load().state()), (3, State::Established));
        assert_eq!(cell.load().idle(at(1_900)), 0, "a clock that is behind sees no idle time");
    }

    #[test]
    fn time_before_zero_and_the_wrap_are_read_rightly() {
        let imported = Word::idle_for(State::Established, at(5), 1_000_000);
        assert_eq!(imported.idle(at(6)), 1_000_001);
        let edge = (1 << 57) - 10;
        let cell = StateWord::new(Word::idle_for(State::Other, at(edge), 0));
        assert_eq!(cell.load().idle(at(edge + 25)), 25);
        cell.refresh(cell.load(), State::Other, at(edge + 25)).ok().unwrap();
        assert_eq!(cell.load().idle(at(edge + 30)), 5);
    }

    #[test]
    fn a_refresh_defeats_an_expiry_that_looked_before_it_and_the_other_way_round() {
        let cell = StateWord::new(Word::idle_for(State::UdpStream, at(0), 0));
        let looked = cell.load();
        cell.refresh(looked, State::UdpStream, at(9)).ok().unwrap();
        assert!(cell.kill(looked).is_err_and(|now| now.idle(at(9)) == 0));
        let looked = cell.load();
        cell.kill(looked).ok().unwrap();
        assert!(cell.refresh(looked, State::UdpStream, at(10)).is_err_and(Word::is_dead));
    }

    #[test]
    fn every_state_survives_the_word() {
        for state in State::ALL {
            let word = Word::idle_for(state, at(u64::MAX), 0);
            assert!(word.state() == state && !word.is_dead());
        }
    }
}
