//! An instance: the allowance its ENIs share, and the timer of their entries.
//!
//! The timer is per instance so that a full instance can find *its* expired entries without walking over everybody
//! else's (CT-73), and so that removing an ENI costs the entries of its instance only.
//!
//! Lock order: the list of instances, then a shard of the map, then a timer. Whoever gets killed entries out of a timer
//! lets go of its lock before touching the map; whoever needs an instance finds it before locking a shard.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use crate::Zone;
use crate::conn::Conn;
use crate::sync::{AtomicU32, AtomicU64, Mutex, MutexGuard, RwLock};
use crate::time::Instant;
use crate::wheel::Wheel;

pub(crate) struct Instance {
    id: u32,
    /// Entries that hold a place. Taken before an entry becomes visible, given back by whoever kills it.
    tracked: AtomicU32,
    /// Nothing in the wheel is due before this; spares a full instance the lock for each refused packet.
    earliest: AtomicU64,
    wheel: Mutex<Wheel>,
}

impl Instance {
    fn new(id: u32) -> Self {
        let (tracked, earliest) = (AtomicU32::new(0), AtomicU64::new(u64::MAX));
        Self { id, tracked, earliest, wheel: Mutex::new(Wheel::new()) }
    }

    pub(crate) const fn id(&self) -> u32 {
        self.id
    }

    pub(crate) fn tracked(&self) -> u32 {
        self.tracked.load(Ordering::Acquire)
    }

    /// Takes a place if fewer than `max` are taken (CT-70).
    pub(crate) fn take_place(&self, max: u32) -> bool {
        let below = |taken| (taken < max).then(|| taken + 1);
        self.tracked.fetch_update(Ordering::AcqRel, Ordering::Acquire, below).is_ok()
    }

    pub(crate) fn give_place_back(&self) {
        self.tracked.fetch_sub(1, Ordering::AcqRel);
    }

    /// See [`Wheel::arm`].
    pub(crate) fn arm(&self, conn: &Arc<Conn>, now: Instant) {
        let mut wheel = self.wheel();
        wheel.arm(conn, now);
        self.remember_earliest(&wheel);
    }

    /// See [`Wheel::advance`]. Each of the killed is counted before the lock is let go: whoever finds nothing due any more
    /// finds their places free (CT-73).
    pub(crate) fn advance(
        &self,
        now: Instant,
        budget: &mut usize,
        killed: &mut Vec<Arc<Conn>>,
        count: impl Fn(&Conn),
    ) {
        if !self.has_due(now) {
            return;
        }
        let mut wheel = self.wheel();
        wheel.advance(now, budget, killed);
        for conn in &*killed {
            count(conn);
        }
        self.remember_earliest(&wheel);
    }

    /// Whether a visit to the timer might find something at `now`.
    pub(crate) fn has_due(&self, now: Instant) -> bool {
        now.as_nanos() >= self.earliest.load(Ordering::Acquire)
    }

    /// Takes the entries of `zone` that `wanted` picks out of the timer.
    pub(crate) fn extract(&self, zone: Zone, wanted: impl Fn(&Conn) -> bool) -> Vec<Arc<Conn>> {
        self.wheel().extract(zone, wanted)
    }

    #[cfg(test)]
    #[cfg(not(palisade_loom))]
    pub(crate) fn handles(&self) -> usize {
        self.wheel().handles()
    }

    pub(crate) fn remember_earliest(&self, wheel: &Wheel) {
        self.earliest.store(wheel.earliest().as_nanos(), Ordering::Release);
    }

    pub(crate) fn wheel(&self) -> MutexGuard<'_, Wheel> {
        // Nothing under the lock panics; if it did, a wheel with a handle too many or too few is still a wheel.
        self.wheel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All instances that have had an entry, by id.
#[derive(Default)]
pub(crate) struct Instances(RwLock<BTreeMap<u32, Arc<Instance>>>);

impl Instances {
    pub(crate) fn find(&self, id: u32) -> Option<Arc<Instance>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    pub(crate) fn find_or_make(&self, id: u32) -> Arc<Instance> {
        self.find(id).unwrap_or_else(|| {
            let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(id).or_insert_with(|| Arc::new(Instance::new(id))))
        })
    }

    /// Calls `visit` for each instance, from `first` upwards and round, until it returns false.
    pub(crate) fn visit_from(&self, first: u32, mut visit: impl FnMut(&Arc<Instance>) -> bool) {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.range(first..).chain(all.range(..first)).all(|(_, instance)| visit(instance));
    }

    /// The zones whose entries timers have been armed for, and perhaps some whose entries have all ended.
    pub(crate) fn known_zones(&self) -> HashSet<Zone> {
        let mut known = HashSet::new();
        self.visit_from(0, |instance| {
            known.extend(instance.wheel().zones());
            true
        });
        known
    }

    /// Forgets instances that no entry and no commit refers to.
    pub(crate) fn prune(&self) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, instance| Arc::strong_count(instance) > 1);
    }
}
