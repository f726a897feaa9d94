//! A worker thread: waits for frames, runs each burst to completion, takes up what was published, keeps house.
//!
//! One burst per ready port and round, so that no port waits for longer than one burst of each other port.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::EventFd;
use nix::unistd::Pid;
use palisade_conntrack::Instant;
use palisade_engine::{Lane, Now};
use palisade_io::{Burst, Receive};
use palisade_policy::PortKey;
use palisade_policy::model::Latency;

use crate::balance::Effort;
use crate::clock::Clock;
use crate::forward::{Forwarder, Scene};
use crate::inlet::Inlet;
use crate::judge::Judge;
use crate::publication::Reader;
use crate::spin::Spin;

/// Events taken from the kernel at a time.
const EVENTS: usize = 64;
/// Token of the eventfd; ports have theirs from 0.
const WAKE: u64 = u64::MAX;
/// Time between two rounds of housekeeping under load.
const KEEP_HOUSE_EVERY: Duration = Duration::from_millis(5);
/// Buckets of the flow cache visited in a round: about a quarter of a millisecond if all are full and cold.
const SETTLE: usize = 256;
/// Deltas for flow logs handed over in a round: some 50 µs.
const HAND_OVER: usize = 1024;
/// Longest wait of the worker that keeps house, while there are connections or fragments held and while there are none.
const WAIT_BUSY: Duration = Duration::from_millis(100);
const WAIT_IDLE: Duration = Duration::from_secs(1);
/// Time between two looks at every port: at what it lost, and whether one that failed has recovered.
const ROLL_CALL_EVERY: Duration = Duration::from_secs(1);

/// What the control side asks of a running worker. Each is followed by a wake.
pub(crate) enum Command {
    /// Receive from a port; the answer is whether it can be waited for.
    Add(Inlet, Sender<io::Result<()>>),
    /// Run on one CPU only; the answer is whether the kernel lets it.
    Bind(usize, Sender<io::Result<()>>),
    /// Count what the flow cache has not handed over yet, and answer.
    Settle(Sender<()>),
    /// Give a port's receive half back.
    Remove(PortKey, Sender<Option<Box<dyn Receive>>>),
}

/// What a worker is made of.
pub(crate) struct Parts {
    pub(crate) judge: Arc<dyn Judge>,
    pub(crate) reader: Reader,
    pub(crate) clock: Clock,
    pub(crate) wake: Arc<EventFd>,
    pub(crate) commands: Receiver<Command>,
    /// What to do while nothing arrives.
    pub(crate) latency: Latency,
    /// Where it tells how much it has to do.
    pub(crate) effort: Arc<Effort>,
    /// Join segments of one flow on their way out.
    pub(crate) gro: bool,
    /// Expired connections reclaimed at a time, if this is the worker that keeps house.
    pub(crate) reclaim: Option<usize>,
}

/// A worker, owned by its thread.
pub(crate) struct Worker {
    parts: Parts,
    epoll: Epoll,
    forwarder: Forwarder,
    burst: Burst,
    /// By token; places of removed ports are used again.
    inlets: Vec<Option<Inlet>>,
    now: Now,
    spin: Spin,
    /// The last look was a poll in vain.
    polled: bool,
    keep_house_at: Instant,
    /// Buckets of the flow cache that may hold something uncounted.
    unsettled: usize,
    /// Whether something in the ledger is to be handed over and waits for its turn.
    behind: bool,
    /// Longest wait until connections are reclaimed again.
    reclaim_wait: Option<Duration>,
    roll_call_at: Instant,
    /// Some port has failed.
    resting: bool,
}

impl Worker {
    /// A worker without ports.
    pub(crate) fn new(parts: Parts, lane: Lane) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&parts.wake, EpollEvent::new(EpollFlags::EPOLLIN, WAKE))?;
        let now = parts.clock.now();
        Ok(Self {
            forwarder: Forwarder::new(lane, parts.gro),
            epoll,
            burst: Burst::new(),
            inlets: Vec::new(),
            now,
            spin: Spin::new(
                if parts.clock.goes() { parts.latency } else { Latency::Efficient },
                now.monotonic,
            ),
            polled: false,
            keep_house_at: now.monotonic,
            unsettled: 0,
            behind: false,
            reclaim_wait: parts.reclaim.map(|_| WAIT_IDLE),
            roll_call_at: now.monotonic + ROLL_CALL_EVERY,
            resting: false,
            parts,
        })
    }

    /// Receives from one more port.
    pub(crate) fn add(&mut self, inlet: Inlet) -> io::Result<()> {
        let token = self.inlets.iter().position(Option::is_none).unwrap_or(self.inlets.len());
        inlet.watch(&self.epoll, token as u64)?;
        match self.inlets.get_mut(token) {
            Some(place) => *place = Some(inlet),
            None => self.inlets.push(Some(inlet)),
        }
        Ok(())
    }

    /// Forwards until told to stop; gives the receive halves back, so that devices are closed on the control thread.
    pub(crate) fn run(mut self) -> Vec<Box<dyn Receive>> {
        let mut events = [EpollEvent::empty(); EVENTS];
        self.parts.effort.begin();
        loop {
            self.parts.reader.refresh();
            if self.parts.reader.stopping() {
                break;
            }
            let ready = self.wait(&mut events);
            let woken = self.serve(&events[..ready]);
            if woken {
                self.obey();
            }
            self.keep_house();
        }
        self.call_roll();
        self.forwarder.lane.close(self.now);
        let Self { inlets, epoll, .. } = self;
        inlets.into_iter().flatten().map(|inlet| inlet.close(&epoll)).collect()
    }

    fn wait(&mut self, events: &mut [EpollEvent]) -> usize {
        let ready = match self.epoll.wait(events, self.patience()) {
            Ok(ready) => ready,
            Err(Errno::EINTR) => 0,
            Err(error) => {
                // Cannot happen with a valid descriptor and buffer; without the pause it would be a busy loop.
                tracing::error!(%error, "epoll failed");
                std::thread::sleep(Duration::from_millis(10));
                0
            }
        };
        let polled = std::mem::replace(&mut self.polled, false);
        if ready == 0 {
            let before = self.now.monotonic;
            self.now = self.parts.clock.now();
            if self.spin.is_on(self.now.monotonic) {
                self.spin.in_vain(self.now.monotonic);
                self.polled = true;
                // The first look in vain began with a burst, which was work.
                if polled {
                    self.parts.effort.polled(self.now.monotonic.since(before));
                }
            }
        }
        ready
    }

    /// How long to sleep if no frame comes.
    fn patience(&self) -> EpollTimeout {
        if self.spin.is_on(self.now.monotonic) {
            return EpollTimeout::ZERO;
        }
        let rest = self.resting.then_some(ROLL_CALL_EVERY);
        let settle = (self.unsettled > 0 || self.behind).then_some(KEEP_HOUSE_EVERY);
        let hand_over = self.forwarder.lane.ledger.patience(self.now).filter(|_| !self.behind);
        let hand_over = hand_over.filter(|_| self.parts.clock.goes());
        match self.reclaim_wait.into_iter().chain(rest).chain(settle).chain(hand_over).min() {
            // Rounded up: a wait that ends a moment early would be followed by one of nothing.
            Some(wait) => {
                EpollTimeout::try_from(wait + Duration::from_millis(1)).unwrap_or(EpollTimeout::NONE)
            }
            None => EpollTimeout::NONE,
        }
    }

    /// One burst from each port that has frames; whether the control side wants something.
    fn serve(&mut self, events: &[EpollEvent]) -> bool {
        let mut woken = false;
        for event in events {
            match event.data() {
                WAKE => woken = true,
                token => self.burst(token, event.events()),
            }
        }
        woken
    }

    fn burst(&mut self, token: u64, events: EpollFlags) {
        let Self { parts, epoll, forwarder, burst, inlets, now, spin, resting, unsettled, .. } = self;
        let place = usize::try_from(token).ok().and_then(|place| inlets.get_mut(place));
        let Some(inlet) = place.and_then(Option::as_mut) else { return };
        parts.reader.refresh();
        let filled = inlet.fill(burst, epoll, events);
        *resting |= inlet.is_resting();
        *now = parts.clock.now();
        if filled {
            let (snapshot, ports) = (parts.reader.policy(), parts.reader.ports());
            let (judge, clock) = (&*parts.judge, &parts.clock);
            let scene = Scene { judge, snapshot, ports, now: *now, clock };
            forwarder.forward(scene, &inlet.port, burst);
            spin.traffic(now.monotonic);
            *unsettled = forwarder.lane.flows.buckets();
        }
    }

    fn obey(&mut self) {
        // Only resets the counter; an error would mean it was 0, as good as reset.
        let _ = self.parts.wake.read();
        self.now = self.parts.clock.now();
        while let Ok(command) = self.parts.commands.try_recv() {
            match command {
                Command::Add(inlet, answer) => {
                    let key = inlet.port.key;
                    if answer.send(self.add(inlet)).is_err() {
                        // Whoever asked has given up and undone the rest.
                        self.remove(key);
                    }
                }
                Command::Bind(cpu, answer) => drop(answer.send(bind(cpu))),
                Command::Settle(answer) => {
                    self.forwarder.lane.settle_all(self.now);
                    // Whoever asked may have given up.
                    let _ = answer.send(());
                }
                Command::Remove(key, answer) => drop(answer.send(self.remove(key))),
            }
        }
    }

    fn remove(&mut self, key: PortKey) -> Option<Box<dyn Receive>> {
        let is_it = |place: &&mut Option<Inlet>| place.as_ref().is_some_and(|inlet| inlet.port.key == key);
        let inlet = self.inlets.iter_mut().find(is_it)?.take()?;
        Some(inlet.close(&self.epoll))
    }

    fn keep_house(&mut self) {
        let now = self.now.monotonic;
        if now >= self.roll_call_at {
            self.call_roll();
            self.roll_call_at = now + ROLL_CALL_EVERY;
        }
        if now >= self.keep_house_at {
            self.keep_house_at = now + KEEP_HOUSE_EVERY;
            self.reclaim_wait = self.parts.reclaim.map(|budget| self.reclaim(budget));
            self.settle();
        }
    }

    /// Has connections and ledger learn what the flow cache has counted, and hands over what is complete.
    fn settle(&mut self) {
        let lane = &mut self.forwarder.lane;
        if self.unsettled > 0 {
            let (visited, waits) = lane.settle(self.now, self.unsettled.min(SETTLE));
            self.unsettled = if waits { lane.flows.buckets() } else { self.unsettled - visited };
        }
        self.behind = lane.ledger.hand_over(self.now, HAND_OVER);
    }

    /// Reclaims expired connections; returns when to do so again at the latest.
    fn reclaim(&self, budget: usize) -> Duration {
        let judge = &self.parts.judge;
        match judge.advance(&self.forwarder.lane.counters, self.now, budget) {
            reclaimed if reclaimed >= budget => KEEP_HOUSE_EVERY,
            _ if judge.connections().alive > 0 || judge.holding().fragments > 0 => WAIT_BUSY,
            _ => WAIT_IDLE,
        }
    }

    fn call_roll(&mut self) {
        self.resting = false;
        for (token, inlet) in self.inlets.iter_mut().enumerate() {
            let Some(inlet) = inlet else { continue };
            inlet.call(&self.epoll, token as u64);
            self.resting |= inlet.is_resting();
        }
    }
}

/// Binds the calling thread.
fn bind(cpu: usize) -> io::Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &cpus)?)
}
