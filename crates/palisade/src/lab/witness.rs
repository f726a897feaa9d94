//! The engine with somebody who writes down what it says of held fragments.
//!
//! A frame may release fragments that were held (CT-61), and what comes of them is seen together with what comes of it. The
//! notes say which fragments went on and in what order; whether they arrived is looked up at the receivers all the same.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use palisade_conntrack::ConnTotals;
use palisade_engine::{
    Copied, Counters, Engine, Explanation, Holding, Lane, Now, Outcome, Received, Released, Tapped, Verdict,
};
use palisade_policy::{PortKey, Snapshot};
use palisade_runtime::Judge;
use palisade_scenario::notation::Frame;

/// Asks an engine and takes notes.
#[derive(Debug)]
pub(super) struct Witness {
    engine: Arc<Engine>,
    notes: Mutex<Notes>,
}

/// What the engine has said since the last time.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Fragments that came in and are held.
    pub(super) held: u64,
    /// Fragments that went on, in this order.
    pub(super) resumed: Vec<Resumption>,
}

/// A fragment that went on.
#[derive(Debug)]
pub(super) struct Resumption {
    pub(super) frame: Frame,
    /// What would become of it, as `explain` has it.
    pub(super) walk: Explanation,
    /// What became of it, as the engine has it.
    pub(super) verdict: Verdict,
}

impl Witness {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self { engine, notes: Mutex::default() }
    }

    /// Takes the notes.
    pub(super) fn take(&self) -> Notes {
        std::mem::take(&mut self.notes())
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Judge for Witness {
    fn process(
        &self,
        snapshot: &Snapshot,
        lane: &mut Lane,
        now: Now,
        from: PortKey,
        frame: &mut [u8],
        received: Received,
    ) -> Outcome {
        let outcome = self.engine.process(snapshot, lane, now, from, frame, received);
        self.notes().held += u64::from(matches!(outcome.verdict, Verdict::Hold));
        outcome
    }

    fn resume(&self, snapshot: &Snapshot, lane: &mut Lane, now: Now, fragment: &mut Released) -> Outcome {
        let walk = self.engine.explain_released(snapshot, now, fragment);
        let (port, bytes, vnet) = (fragment.from(), fragment.frame().to_vec(), fragment.received().vnet);
        let outcome = self.engine.resume(snapshot, lane, now, fragment);
        let (frame, verdict) = (Frame { port, bytes, vnet }, outcome.verdict);
        self.notes().resumed.push(Resumption { frame, walk, verdict });
        outcome
    }

    fn copy(
        &self,
        snapshot: &Snapshot,
        lane: &mut Lane,
        now: Now,
        owed: (&Tapped, &[u8]),
        room: &mut u32,
        emit: &mut dyn FnMut(Copied<'_>),
    ) {
        self.engine.copy(snapshot, lane, now, owed, room, emit);
    }

    fn advance(&self, counters: &Counters, now: Now, budget: usize) -> usize {
        self.engine.advance(counters, now, budget)
    }

    fn retire(&self, counters: &Counters, old: &Snapshot, new: &Snapshot, now: Now) {
        self.engine.retire(counters, old, new, now);
    }

    fn drain(&self, counters: &Counters) {
        self.engine.drain(counters);
    }

    fn connections(&self) -> ConnTotals {
        self.engine.connections().totals()
    }

    fn holding(&self) -> Holding {
        self.engine.holding()
    }
}
