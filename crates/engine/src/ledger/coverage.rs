//! Which ENIs are counted for. Written by whoever owns the flow logs, read by every worker.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use palisade_policy::EniKey;

use crate::slots::Slots;

/// The ENIs that some flow log covers, or all of them while somebody watches.
///
/// A change is seen by each worker a moment later; until then it counts as before.
#[derive(Debug)]
pub struct Coverage {
    everything: AtomicBool,
    enis: Slots,
}

impl Default for Coverage {
    fn default() -> Self {
        Self { everything: AtomicBool::new(false), enis: Slots::new() }
    }
}

impl Coverage {
    /// Somebody watches: counts for every ENI, and what is counted is handed over second by second. Or nobody does: only
    /// for those that are covered, minute by minute.
    pub fn watch_everything(&self, on: bool) {
        self.everything.store(on, Relaxed);
    }

    /// Whether somebody watches.
    #[must_use]
    pub fn watches_everything(&self) -> bool {
        self.everything.load(Relaxed)
    }

    /// Says of one ENI whether some flow log covers it. Only one thread may call it.
    pub fn set(&self, eni: EniKey, covered: bool) {
        if covered {
            self.enis.ensure_one(eni.0);
        }
        self.enis.set(eni.0, covered.into());
    }

    /// Whether packets at an ENI are counted. Of the 16,777,216th ENI since the start and those after it: always.
    #[must_use]
    pub fn covers(&self, eni: EniKey) -> bool {
        self.watches_everything() || self.enis.get(eni.0) != 0 || Slots::is_beyond(eni.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_eni_is_covered_while_it_is_said_to_be() {
        let coverage = Coverage::default();
        coverage.set(EniKey(7), true);
        coverage.set(EniKey(9), false);
        let covered = |keys: [u32; 3]| keys.map(|key| coverage.covers(EniKey(key)));
        assert_eq!(covered([6, 7, 9]), [false, true, false]);
        coverage.set(EniKey(7), false);
        assert_eq!(covered([6, 7, 9]), [false; 3]);
        coverage.watch_everything(true);
        assert_eq!(covered([6, 7, 9]), [true; 3]);
    }
}
