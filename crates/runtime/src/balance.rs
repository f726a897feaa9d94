//! Which worker receives from which port, where nobody has said so: one for all while it keeps up, several when it does not.
//!
//! One worker for both directions of a flow costs the least and answers the soonest; it also finds the answer itself
//! while it polls. Once it is busy without pause, the ports are worth a second CPU. Decides only; owned by the control side.

use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use nix::unistd::gettid;
use palisade_policy::PortKey;

/// Time between two looks.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A worker that is busy for so much of the time has no time to spare.
const HOT: f64 = 0.85;
/// One that is busy for so much at most can take a port.
const COOL: f64 = 0.4;
/// Looks in a row after which a hot worker gives a port away.
const HOT_FOR: u32 = 2;
/// All of them together: so much is done by one worker alone.
const LIGHT: f64 = 0.5;
/// Looks in a row after which they are gathered again.
const LIGHT_FOR: u32 = 10;

/// How much a worker has to do, told by itself and the kernel.
///
/// What counts is the time its thread has had a CPU, less what went into looking for frames in vain. Time in which it was not
/// waiting would be wrong: where a guest runs on the same CPU, the frame that wakes the guest ends the worker's turn, which then
/// finds the answer when its turn comes again and never waits, though it is at work for half of the time only. A second
/// worker would have no other CPU to use, and cost switches.
#[derive(Debug, Default)]
pub(crate) struct Effort {
    /// The kernel's number of the thread; 0: not told yet.
    thread: AtomicI32,
    /// Looks in vain, in nanoseconds.
    vain: AtomicU64,
}

impl Effort {
    /// Told by the worker's thread, once.
    pub(crate) fn begin(&self) {
        self.thread.store(gettid().as_raw(), Relaxed);
    }

    /// Told by the worker's thread: it has polled for so long, and nothing came.
    pub(crate) fn polled(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.vain.store(self.vain.load(Relaxed).saturating_add(nanos), Relaxed);
    }

    /// CPU time spent on frames so far. It stays as it was once the thread has ended.
    pub(crate) fn spent(&self) -> Option<Duration> {
        let thread = Some(self.thread.load(Relaxed)).filter(|thread| *thread > 0)?;
        let time = clock_gettime(cpu_clock(thread)).ok()?;
        Some(Duration::from(time).saturating_sub(Duration::from_nanos(self.vain.load(Relaxed))))
    }
}

/// The clock that goes while a thread has a CPU, as `pthread_getcpuclockid` makes it of the thread's number: the kernel's
/// `CPUCLOCK_PERTHREAD_MASK` and `CPUCLOCK_SCHED`.
const fn cpu_clock(thread: i32) -> ClockId {
    const PER_THREAD: i32 = 4;
    const SCHED: i32 = 2;
    ClockId::from_raw((!thread << 3) | PER_THREAD | SCHED)
}

/// What a worker has done since the last look.
#[derive(Clone, Debug, Default)]
pub(crate) struct Load {
    /// Share of the time in which it worked, 0 to 1.
    pub(crate) busy: f64,
    /// The ports that may be moved away from it, with the bytes received from each.
    pub(crate) ports: Vec<(PortKey, u64)>,
}

/// A port for another worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Move {
    pub(crate) port: PortKey,
    pub(crate) to: usize,
}

/// What was seen at the last looks.
#[derive(Debug, Default)]
pub(crate) struct Balance {
    hot: u32,
    light: u32,
}

impl Balance {
    /// What to change after one more look.
    pub(crate) fn decide(&mut self, loads: &[Load]) -> Vec<Move> {
        let hot = loads.iter().enumerate().filter(|(_, load)| load.busy >= HOT && load.ports.len() > 1);
        let hot = hot.max_by(|(_, one), (_, other)| one.busy.total_cmp(&other.busy)).map(|(at, _)| at);
        let light = loads.iter().map(|load| load.busy).sum::<f64>() <= LIGHT;
        self.hot = if hot.is_some() { self.hot + 1 } else { 0 };
        self.light = if light { self.light + 1 } else { 0 };
        match hot {
            Some(hot) if self.hot >= HOT_FOR => {
                self.hot = 0;
                spread(loads, hot).into_iter().collect()
            }
            _ if self.light >= LIGHT_FOR => {
                self.light = 0;
                gather(loads)
            }
            _ => Vec::new(),
        }
    }
}

/// The port that brings most, to the worker that has most time.
fn spread(loads: &[Load], hot: usize) -> Option<Move> {
    let coolest = |(_, one): &(usize, &Load), (_, other): &(usize, &Load)| one.busy.total_cmp(&other.busy);
    let (to, cool) = loads.iter().enumerate().min_by(coolest)?;
    let (port, _) = loads[hot].ports.iter().max_by_key(|(_, bytes)| *bytes)?;
    (cool.busy <= COOL).then_some(Move { port: *port, to })
}

/// Everything to the first worker.
fn gather(loads: &[Load]) -> Vec<Move> {
    let elsewhere = loads.iter().skip(1).flat_map(|load| &load.ports);
    elsewhere.map(|(port, _)| Move { port: *port, to: 0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::key;

    fn load(busy: f64, ports: &[(u8, u64)]) -> Load {
        Load { busy, ports: ports.iter().map(|(number, bytes)| (key(*number), *bytes)).collect() }
    }

    fn after(looks: u32, loads: &[Load]) -> Vec<Move> {
        let mut balance = Balance::default();
        (1..looks).for_each(|_| assert_eq!(balance.decide(loads), [], "{loads:?}"));
        balance.decide(loads)
    }

    #[test]
    fn effort_is_time_on_a_cpu() {
        let effort = Effort::default();
        assert_eq!(effort.spent(), None, "it has not begun");
        effort.begin();
        let before = effort.spent().unwrap();
        let start = std::time::Instant::now();
        while start.elapsed() < Duration::from_millis(5) {}
        std::thread::sleep(Duration::from_millis(20));
        let busy = effort.spent().unwrap().saturating_sub(before);
        assert!(busy > Duration::ZERO && busy < Duration::from_millis(20), "{busy:?}");
        effort.polled(busy);
        assert!(effort.spent().unwrap() < before + busy, "polling in vain is no work");
    }

    #[test]
    fn a_worker_without_pause_gives_away_the_port_that_brings_most() {
        let loads = [load(0.97, &[(1, 10), (2, 900), (3, 50)]), load(0.0, &[])];
        assert_eq!(after(HOT_FOR, &loads), [Move { port: key(2), to: 1 }]);
    }

    #[test]
    fn a_moment_of_work_changes_nothing() {
        let mut balance = Balance::default();
        let (hot, warm) =
            ([load(0.97, &[(1, 9), (2, 9)]), load(0.0, &[])], [load(0.6, &[(1, 9), (2, 9)]), load(0.0, &[])]);
        for _ in 0..100 {
            assert_eq!(balance.decide(&hot), []);
            assert_eq!(balance.decide(&warm), []);
        }
    }

    #[test]
    fn what_cannot_be_halved_stays() {
        for loads in [
            [load(1.0, &[(1, 9)]), load(0.0, &[(2, 0)])],
            [load(1.0, &[(1, 9), (2, 9)]), load(0.5, &[(3, 9)])],
            [load(1.0, &[]), load(0.0, &[])],
        ] {
            assert_eq!(after(50, &loads), [], "{loads:?}");
        }
    }

    #[test]
    fn a_quiet_second_brings_the_ports_together() {
        let loads = [load(0.2, &[(1, 9)]), load(0.2, &[(2, 9), (3, 9)])];
        let expected = [2, 3].map(|number| Move { port: key(number), to: 0 });
        assert_eq!(after(LIGHT_FOR, &loads), expected);
        assert_eq!(after(50, &[load(0.5, &[(1, 9)]), load(0.2, &[(2, 9)])]), [], "too much for one");
    }
}
