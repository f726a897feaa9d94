//! Flow logs of a running daemon: what workers hand over becomes records, and records are delivered; and flows that somebody
//! watches.
//!
//! A thread of its own empties the workers' trays and closes windows; each flow log has another one that delivers. Control
//! requests meet the first at a lock that no worker ever takes. While there is neither a flow log nor anybody who
//! watches, the thread sleeps and nothing is counted.

mod couriers;
mod desk;
mod live;
#[cfg(test)]
mod testing;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use palisade_engine::{Coverage, Now, Tray};
use palisade_policy::Snapshot;
use palisade_runtime::{Clock, LawResult};

use crate::control::protocol::{FlowsRequest, Refusal};
use crate::failure::Failure;
use crate::report::flow_logs::FlowLogReport;
use crate::report::flows::FlowsReport;
use desk::{Desk, Round};

/// Longest time between two looks at the trays while something is counted, and the shortest while they are full.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Flow logs, and the thread that keeps them.
#[derive(Debug)]
pub(crate) struct FlowLogs {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    desk: Mutex<Desk>,
    clock: Clock,
    stopping: AtomicBool,
}

impl FlowLogs {
    /// Takes up the flow logs of the first policy, and what earlier daemons have left to deliver.
    ///
    /// # Errors
    /// A spool cannot be opened.
    pub(crate) fn start(
        snapshot: &Arc<Snapshot>,
        coverage: Arc<Coverage>,
        clock: Clock,
    ) -> Result<Self, Failure> {
        let vpc = snapshot.vpc();
        let spool = vpc.daemon.flow_log_spool(&vpc.id);
        let now = second(clock.now());
        let failure = |error: io::Error| {
            Failure::new(
                format_args!("flow logs cannot be kept under {}: {error}", spool.display()),
                "see `daemon.flow_log_spool` in the configuration",
            )
        };
        let mut desk = Desk::new(snapshot, coverage);
        desk.take_up(snapshot, now).and_then(|()| desk.take_up_orphans()).map_err(failure)?;
        let shared = Arc::new(Shared { desk: Mutex::new(desk), clock, stopping: AtomicBool::new(false) });
        let keeper = Arc::clone(&shared);
        let thread = thread::Builder::new().name("palisade-flows".to_owned()).spawn(move || keeper.keep());
        Ok(Self { shared, thread: Mutex::new(Some(thread.map_err(failure)?)) })
    }

    /// Empties these trays from now on.
    pub(crate) fn attach(&self, trays: Vec<Arc<Tray>>) {
        self.shared.desk().attach(trays);
    }

    /// Takes up a policy before any worker judges by it, and the flow logs that it has.
    ///
    /// # Errors
    /// A spool cannot be opened; the flow logs are as they were.
    pub(crate) fn take_up(&self, snapshot: &Arc<Snapshot>) -> io::Result<()> {
        let now = second(self.shared.clock.now());
        let done = self.shared.desk().take_up(snapshot, now);
        self.wake();
        done
    }

    /// What each flow log has done.
    pub(crate) fn report(&self, snapshot: &Snapshot) -> Vec<FlowLogReport> {
        self.shared.desk().report(snapshot.vpc())
    }

    /// Shows flows, and watches them for a while from now on.
    ///
    /// # Errors
    /// A filter word is none, or names what there is not; whether flows are watched has not changed.
    pub(crate) fn watch(&self, request: &FlowsRequest) -> Result<FlowsReport, Refusal> {
        let now = self.shared.clock.now();
        let shown = self.shared.desk().watch(request, now);
        self.wake();
        shown
    }

    /// Writes everything and has it delivered, as far as that takes no more than a few seconds; the rest waits on disk for the
    /// next daemon. The workers have stopped. `logged` are the packets that they have counted for flow logs.
    pub(crate) fn stop(&self, logged: u64) -> Vec<LawResult> {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.wake();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the flow-log thread has panicked; records of the time since are lost");
        }
        self.shared.desk().finish(logged)
    }

    fn wake(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        thread.iter().for_each(|thread| thread.thread().unpark());
    }
}

impl Drop for FlowLogs {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.wake();
    }
}

impl Shared {
    /// The thread's work.
    fn keep(&self) {
        while !self.stopping.load(Ordering::Relaxed) {
            let now = self.clock.now();
            let round = self.desk().round(now);
            match round {
                Round::Busy => thread::park_timeout(LOOK_AGAIN),
                Round::Calm => thread::park_timeout(LOOK_EVERY),
                Round::Idle => thread::park(),
            }
        }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Unix seconds.
fn second(now: Now) -> u32 {
    u32::try_from(now.unix.as_secs()).unwrap_or(u32::MAX)
}
