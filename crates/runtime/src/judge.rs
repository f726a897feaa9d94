//! What a worker asks of the engine: a narrow view of it, so that the threads can be tested without a policy.

use palisade_conntrack::ConnTotals;
use palisade_engine::{Copied, Counters, Engine, Holding, Lane, Now, Outcome, Received, Released, Tapped};
use palisade_policy::{PortKey, Snapshot};

/// Decides what becomes of frames. [`Engine`] is the one that Palisade runs with.
pub trait Judge: Send + Sync {
    /// Judges one frame and edits its headers in place. Counts packets received, dropped and consumed, but not what is
    /// delivered or generated. [`Lane::reply`] comes in with stale contents.
    fn process(
        &self,
        snapshot: &Snapshot,
        lane: &mut Lane,
        now: Now,
        from: PortKey,
        frame: &mut [u8],
        received: Received,
    ) -> Outcome;

    /// Judges a fragment that another frame has released (CT-61), as [`Self::process`] does. It was counted as received
    /// when it came in.
    fn resume(&self, snapshot: &Snapshot, lane: &mut Lane, now: Now, fragment: &mut Released) -> Outcome;

    /// Makes the copies that are owed of a frame, as [`Engine::copy`] does.
    fn copy(
        &self,
        snapshot: &Snapshot,
        lane: &mut Lane,
        now: Now,
        owed: (&Tapped, &[u8]),
        room: &mut u32,
        emit: &mut dyn FnMut(Copied<'_>),
    );

    /// Reclaims what has expired, at most `budget` entries; returns how many. Drops, and counts, fragments held too long.
    fn advance(&self, counters: &Counters, now: Now, budget: usize) -> usize;

    /// Ends the state of what `new` no longer has or admits (CT-26, CT-27), after no worker uses `old` any more. Drops, and
    /// counts, fragments held there.
    fn retire(&self, counters: &Counters, old: &Snapshot, new: &Snapshot, now: Now);

    /// Drops, and counts, all fragments still held. No worker runs any more.
    fn drain(&self, counters: &Counters);

    /// Connection counts.
    fn connections(&self) -> ConnTotals;

    /// Fragments that are held.
    fn holding(&self) -> Holding;
}

impl Judge for Engine {
    fn process(
        &self,
        snapshot: &Snapshot,
        lane: &mut Lane,
        now: Now,
        from: PortKey,
        frame: &mut [u8],
        received: Received,
    ) -> Outcome {
        self.process(snapshot, lane, now, from, frame, received)
    }

    fn resume(&self, snapshot: &Snapshot, lane: &mut Lane, now: Now, fragment: &mut Released) -> Outcome {
        self.resume(snapshot, lane, now, fragment)
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
        self.copy(snapshot, lane, now, owed, room, emit);
    }

    fn advance(&self, counters: &Counters, now: Now, budget: usize) -> usize {
        Self::advance(self, counters, now, budget)
    }

    fn retire(&self, counters: &Counters, old: &Snapshot, new: &Snapshot, now: Now) {
        Self::retire(self, counters, old, new, now);
    }

    fn drain(&self, counters: &Counters) {
        Self::drain(self, counters);
    }

    fn connections(&self) -> ConnTotals {
        Self::connections(self).totals()
    }

    fn holding(&self) -> Holding {
        Self::holding(self)
    }
}
