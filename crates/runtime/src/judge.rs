//! What a worker asks of the engine: a narrow view of it, so that the threads can be tested without a policy.

use palisade_conntrack::ConnTotals;
use palisade_engine::{Counters, Engine, Now, Outcome, Received};
use palisade_policy::{PortKey, Snapshot};

/// Decides what becomes of frames. [`Engine`] is the one that Palisade runs with.
pub trait Judge: Send + Sync {
    /// Judges one frame and edits its headers in place. Counts packets received, dropped and consumed, but not what is
    /// delivered or generated. `reply` comes in with stale contents.
    #[expect(clippy::too_many_arguments, reason = "the engine's own signature")]
    fn process(
        &self,
        snapshot: &Snapshot,
        counters: &Counters,
        now: Now,
        from: PortKey,
        frame: &mut [u8],
        received: Received,
        reply: &mut Vec<u8>,
    ) -> Outcome;

    /// Reclaims what has expired, at most `budget` entries; returns how many.
    fn advance(&self, now: Now, budget: usize) -> usize;

    /// Ends the state of what `new` no longer has (CT-26), after no worker uses `old` any more.
    fn retire(&self, old: &Snapshot, new: &Snapshot);

    /// Connection counts.
    fn connections(&self) -> ConnTotals;
}

impl Judge for Engine {
    fn process(
        &self,
        snapshot: &Snapshot,
        counters: &Counters,
        now: Now,
        from: PortKey,
        frame: &mut [u8],
        received: Received,
        reply: &mut Vec<u8>,
    ) -> Outcome {
        self.process(snapshot, counters, now, from, frame, received, reply)
    }

    fn advance(&self, now: Now, budget: usize) -> usize {
        Self::advance(self, now, budget)
    }

    fn retire(&self, old: &Snapshot, new: &Snapshot) {
        Self::retire(self, old, new);
    }

    fn connections(&self) -> ConnTotals {
        Self::connections(self).totals()
    }
}
