//! The only place that reads the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant as OsInstant, SystemTime, UNIX_EPOCH};

use palisade_conntrack::Instant;
use palisade_engine::Now;

/// Time since the data plane started, beside wall-clock time. Clones agree.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    /// The operating system's.
    System { start: OsInstant },
    /// A hand that somebody moves; nanoseconds.
    Manual { hand: Arc<AtomicU64> },
}

/// Moves a [`Clock`] by hand: it stands still in between, so that time-outs of days take no time and are met to the
/// nanosecond. For scenarios and tests.
#[derive(Clone, Debug, Default)]
pub struct ClockHand(Arc<AtomicU64>);

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System { start: OsInstant::now() })
    }

    /// A clock that shows what the hand says; the wall clock starts with it in 1970.
    #[must_use]
    pub fn manual(hand: &ClockHand) -> Self {
        Self(Source::Manual { hand: Arc::clone(&hand.0) })
    }

    /// Whether it goes by itself: with one that does not, nothing can be done for a while.
    pub(crate) const fn goes(&self) -> bool {
        matches!(self.0, Source::System { .. })
    }

    /// The time since the start alone.
    pub(crate) fn monotonic(&self) -> Instant {
        match &self.0 {
            Source::System { start } => Instant::from_nanos(nanos(start.elapsed())),
            Source::Manual { hand } => Instant::from_nanos(hand.load(Ordering::Acquire)),
        }
    }

    /// The time, once per burst. A wall clock before 1970 reads as 1970.
    #[must_use]
    pub fn now(&self) -> Now {
        match &self.0 {
            Source::System { start } => Now {
                monotonic: Instant::from_nanos(nanos(start.elapsed())),
                unix: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            },
            Source::Manual { hand } => {
                let nanos = hand.load(Ordering::Acquire);
                Now { monotonic: Instant::from_nanos(nanos), unix: Duration::from_nanos(nanos) }
            }
        }
    }
}

impl ClockHand {
    /// A hand at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves it to a time since the start; an earlier one than it shows leaves it where it is.
    pub fn move_to(&self, time: Duration) {
        self.0.fetch_max(nanos(time), Ordering::AcqRel);
    }
}

/// 584 years at most.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hand_moves_all_clones_and_never_back() {
        let hand = ClockHand::new();
        let clocks = [Clock::manual(&hand), Clock::manual(&hand)];
        let shown = |nanos| Now { monotonic: Instant::from_nanos(nanos), unix: Duration::from_nanos(nanos) };
        assert_eq!(clocks[0].now(), shown(0));
        hand.move_to(Duration::from_nanos(7));
        hand.move_to(Duration::from_nanos(6));
        assert_eq!([clocks[0].now(), clocks[1].clone().now()], [shown(7), shown(7)]);
    }

    #[test]
    fn the_system_clock_goes_by_itself() {
        let clock = Clock::system();
        let first = clock.now();
        assert!(first.unix > Duration::from_hours(24 * 365));
        std::thread::sleep(Duration::from_millis(2));
        assert!(clock.now().monotonic > first.monotonic);
    }
}
