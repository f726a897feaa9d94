//! What a worker does while nothing waits: sleep, or poll for a moment after traffic.
//!
//! A worker that sleeps must be woken, which costs a round trip more than the packet does, and most where the CPU it
//! slept on has gone idle. A worker that polls takes CPU time that guests on the same machine may want. So by default it
//! polls for a moment only, and sleeps at once if the kernel takes its CPU for somebody else. Where polling has been in
//! vain several times in a row, which it is where a guest waits for the CPU, it is tried ever more rarely.
//!
//! It does not yield: the kernel puts a thread that does behind all others for milliseconds, with frames waiting.
//! Owned by one worker.

use std::thread;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use palisade_conntrack::Instant;
use palisade_policy::model::Latency;

/// How long a worker polls after traffic under [`Latency::Balanced`]: two or three times what a wake-up takes.
const MOMENT: Duration = Duration::from_micros(50);
/// The same under [`Latency::Low`]: longer than most programs take to answer.
const LONG: Duration = Duration::from_millis(2);
/// Polls in vain in a row after which fewer are begun.
const PATIENCE: u32 = 4;
/// Bursts between two polls are at most two to this power.
const RAREST: u32 = 10;

/// Decides between polling and sleeping.
pub(crate) struct Spin {
    latency: Latency,
    /// When polling ends; in the past while there is none.
    until: Instant,
    /// Involuntary switches of the thread when polling began, once something has been polled in vain.
    switches: Option<i64>,
    /// Polls in vain in a row.
    misses: u32,
    /// Bursts to let pass before polling is tried again.
    skip: u32,
}

impl Spin {
    /// No polling before the first burst. On a single CPU nobody could send anything meanwhile.
    pub(crate) fn new(latency: Latency, now: Instant) -> Self {
        let alone = thread::available_parallelism().is_ok_and(|cpus| cpus.get() == 1);
        let latency = if alone { Latency::Efficient } else { latency };
        Self { latency, until: now, switches: None, misses: 0, skip: 0 }
    }

    /// Whether to look again at once.
    pub(crate) fn is_on(&self, now: Instant) -> bool {
        now < self.until
    }

    /// A burst was forwarded: polling begins, or has been worth it and goes on.
    pub(crate) fn traffic(&mut self, now: Instant) {
        match self.latency {
            Latency::Efficient => {}
            Latency::Low => self.until = now + LONG,
            Latency::Balanced => self.try_again(now),
        }
    }

    /// Nothing was there.
    pub(crate) fn in_vain(&mut self, now: Instant) {
        if self.latency != Latency::Balanced {
            // Asked to poll whatever it costs; a guest on the same CPU could not send anything otherwise.
            thread::yield_now();
            return;
        }
        let switches = switches();
        if *self.switches.get_or_insert(switches) != switches {
            self.until = now;
        }
        std::hint::spin_loop();
    }

    fn try_again(&mut self, now: Instant) {
        if self.switches.take().is_some() {
            self.misses = if self.is_on(now) { 0 } else { self.misses + 1 };
            self.skip = match self.misses.checked_sub(PATIENCE) {
                Some(beyond) => 1 << beyond.min(RAREST),
                None => 0,
            };
        }
        match self.skip.checked_sub(1) {
            Some(left) => self.skip = left,
            None => self.until = now + MOMENT,
        }
    }
}

/// How often the kernel has given this thread's CPU to another one that wanted it.
fn switches() -> i64 {
    getrusage(UsageWho::RUSAGE_THREAD).map_or(0, |usage| usage.involuntary_context_switches())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of the poll after a burst.
    #[derive(Clone, Copy, PartialEq)]
    enum End {
        Answered,
        InVain,
    }

    fn at(micros: u64) -> Instant {
        Instant::from_nanos(micros * 1000)
    }

    fn polling(latency: Latency) -> Spin {
        Spin { latency, until: at(0), switches: None, misses: 0, skip: 0 }
    }

    /// Bursts every millisecond, or 10 us after each other while they are answered; returns how many were polled after.
    fn polls(spin: &mut Spin, bursts: u64, end: End) -> usize {
        let mut now = 0;
        let after_burst = |_| {
            now += if end == End::Answered { 10 } else { 1000 };
            spin.traffic(at(now));
            let polled = spin.is_on(at(now));
            if polled {
                spin.switches = Some(0);
            }
            polled
        };
        (0..bursts).map(after_burst).filter(|polled| *polled).count()
    }

    #[test]
    fn a_worker_polls_as_long_as_it_pays() {
        let mut spin = polling(Latency::Balanced);
        assert_eq!(polls(&mut spin, 1000, End::Answered), 1000);
        let rare = polls(&mut spin, 100_000, End::InVain);
        assert!((10..200).contains(&rare), "{rare}");
    }

    #[test]
    fn a_poll_that_pays_brings_polling_back() {
        let mut spin = polling(Latency::Balanced);
        polls(&mut spin, 10_000, End::InVain);
        assert!(spin.skip > 100);
        assert!(polls(&mut spin, 10_000, End::Answered) > 5_000);
    }

    #[test]
    fn polling_ends() {
        for (latency, micros) in [(Latency::Efficient, 0), (Latency::Balanced, 50), (Latency::Low, 2000)] {
            let mut spin = polling(latency);
            assert!(!spin.is_on(at(1)), "nothing has arrived");
            spin.traffic(at(100));
            assert_eq!(spin.is_on(at(100)), latency != Latency::Efficient);
            assert!(!spin.is_on(at(100 + micros)), "{latency:?}");
        }
    }

    #[test]
    fn a_worker_that_lost_its_cpu_sleeps() {
        let mut spin = polling(Latency::Balanced);
        spin.traffic(at(100));
        spin.switches = Some(-1);
        spin.in_vain(at(101));
        assert!(!spin.is_on(at(101)), "another thread ran meanwhile");
    }
}
