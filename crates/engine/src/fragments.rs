//! Fragmented datagrams under way: what first fragments said, so that later ones are judged as if they carried its ports
//! (CT-60, CT-62, CT-63), and later fragments that overtook their first one and wait for it (CT-61).
//!
//! Kept per ENI and direction (CT-60): what the sender's side made of a datagram says nothing about what reached the
//! receiver's. Fragments are rare and never served from a cache, so one lock for all workers costs nothing that matters.
//! It is held for one look-up and never over a walk: released fragments are handed to whoever brought their first one.

mod datagram;
mod held;
mod share;

use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;
use palisade_conntrack::Instant;
use palisade_policy::EniKey;

use crate::intake::Judged;
use crate::reason::DropReason;
use datagram::{Identity, Ruling};
use held::Held;
pub(crate) use held::{Arriving, Header, Place, Resumption};
pub use held::{Holding, Released};
use share::{Share, Usage};

/// Bytes of frames that wait at one ENI, both directions together (CT-61).
const MOST_HELD_BYTES: usize = 256 * 1024;
/// Most of one ENI. Beyond it the ENI's oldest datagram is forgotten.
const SHARE: Usage =
    Usage { datagrams: 4096, fragments: 32_768, held: usize::MAX, held_bytes: MOST_HELD_BYTES };
/// Most of all ENIs together: some 100 MiB. Beyond it an ENI that has no older datagram to lose cannot begin one.
const WHOLE: Usage =
    Usage { datagrams: 65_536, fragments: 262_144, held: usize::MAX, held_bytes: 64 * MOST_HELD_BYTES };

/// Fragmented datagrams of all ENIs.
#[derive(Debug, Default)]
pub(crate) struct Fragments(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    /// Only of ENIs that have any.
    shares: HashMap<EniKey, Share, foldhash::fast::RandomState>,
    /// Of all shares.
    usage: Usage,
    /// Numbers datagrams and fragments that wait, in the order in which they came.
    next: u64,
}

/// What becomes of a fragment, and of others on its account.
#[derive(Debug)]
pub(crate) struct Joined {
    /// What policy judges; `None`: it waits.
    pub(crate) fate: Result<Option<Judged>, DropReason>,
    /// Fragments that wait no more, in the order in which they came.
    pub(crate) released: Vec<Released>,
    /// Fragments that have waited in vain: dropped, and to be counted.
    pub(crate) orphans: usize,
}

impl Fragments {
    /// Takes account of a fragment that passes an ENI.
    pub(crate) fn join(&self, arriving: &Arriving<'_>, now: Instant) -> Joined {
        self.lock().share(arriving.eni(), |room| room.join(arriving, now))
    }

    /// What [`Self::join`] would make of a fragment, and how many it would release. Changes nothing.
    pub(crate) fn foresee(
        &self,
        arriving: &Arriving<'_>,
        now: Instant,
    ) -> (Result<Option<Judged>, DropReason>, usize) {
        self.lock().foresee(arriving, now)
    }

    /// Gives up the datagram of a fragment that is not sound (CT-63).
    pub(crate) fn condemn(&self, arriving: &Arriving<'_>, now: Instant) -> Joined {
        self.lock().share(arriving.eni(), |room| room.condemn(arriving, now))
    }

    /// Forgets what is due; returns how many fragments have waited in vain.
    pub(crate) fn expire(&self, now: Instant) -> usize {
        let mut memory = self.lock();
        let due: Vec<EniKey> = memory.shares.keys().copied().collect();
        due.into_iter().map(|eni| memory.share(eni, |room| room.share.expire(now))).sum()
    }

    /// Forgets an ENI that is gone (CT-26); returns how many fragments waited there.
    pub(crate) fn forget(&self, eni: EniKey) -> usize {
        let mut memory = self.lock();
        let usage = memory.shares.remove(&eni).map(|share| share.usage()).unwrap_or_default();
        memory.usage -= usage;
        usage.held
    }

    /// Forgets everything; returns how many fragments waited.
    pub(crate) fn clear(&self) -> usize {
        std::mem::take(&mut *self.lock()).usage.held
    }

    /// What waits now.
    pub(crate) fn holding(&self) -> Holding {
        let Usage { held, held_bytes, .. } = self.lock().usage;
        Holding { fragments: held as u64, bytes: held_bytes as u64 }
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    /// Works on the share of one ENI and keeps the sum over all.
    fn share<T>(&mut self, eni: EniKey, work: impl FnOnce(&mut Room<'_>) -> T) -> T {
        let share = self.shares.entry(eni).or_default();
        self.usage -= share.usage();
        let result = work(&mut Room { share, others: self.usage, next: &mut self.next });
        self.usage += share.usage();
        if share.usage() == Usage::default() {
            self.shares.remove(&eni);
        }
        result
    }

    fn foresee(&self, arriving: &Arriving<'_>, now: Instant) -> (Result<Option<Judged>, DropReason>, usize) {
        let share = self.shares.get(&arriving.eni());
        let known = share.and_then(|share| share.get(&Identity::of(arriving)));
        let known = known.filter(|datagram| !datagram.is_over(arriving.fragment, now));
        let ruling = known.map_or_else(|| Ruling::of_new(arriving), |datagram| datagram.rule(arriving, now));
        let waiting = share.map_or(0, |share| share.waiting_bytes(now));
        let others = self.usage.held_bytes - share.map_or(0, |share| share.usage().held_bytes);
        match ruling {
            Ruling::Pass(header) => {
                let held = known.map_or(0, |datagram| datagram.held(None).0 - datagram.held(Some(now)).0);
                (Ok(Some(arriving.judged(header))), held)
            }
            Ruling::Hold if fits(waiting, others, arriving) => (Ok(None), 0),
            Ruling::Hold => (Err(DropReason::FragmentOrphan), 0),
            Ruling::GiveUp => (Err(DropReason::FragmentInvalid), 0),
            Ruling::Drop(reason) => (Err(reason), 0),
        }
    }
}

/// Whether there are bytes left for a fragment to wait.
fn fits(own: usize, others: usize, arriving: &Arriving<'_>) -> bool {
    let own = own + arriving.frame.len();
    own <= SHARE.held_bytes && own + others <= WHOLE.held_bytes
}

/// The share of one ENI, and how much of the whole is left for it.
struct Room<'m> {
    share: &'m mut Share,
    /// What all others take.
    others: Usage,
    next: &'m mut u64,
}

impl Room<'_> {
    fn join(&mut self, arriving: &Arriving<'_>, now: Instant) -> Joined {
        let identity = Identity::of(arriving);
        let mut orphans = self.share.expire(now);
        if self.share.get(&identity).is_some_and(|known| known.is_over(arriving.fragment, now)) {
            orphans += self.share.forget(&identity);
        }
        let known = self.share.get(&identity);
        let ruling = known.map_or_else(|| Ruling::of_new(arriving), |known| known.rule(arriving, now));
        let mut joined = Joined { fate: Ok(None), released: Vec::new(), orphans };
        match ruling {
            Ruling::Drop(reason) => joined.fate = Err(reason),
            Ruling::GiveUp => {
                joined.fate = Err(DropReason::FragmentInvalid);
                joined.released = self.change(identity, |datagram, _| datagram.give_up(now));
            }
            Ruling::Hold if !fits(self.share.usage().held_bytes, self.others.held_bytes, arriving) => {
                joined.fate = Err(DropReason::FragmentOrphan);
            }
            Ruling::Hold | Ruling::Pass(_) if !self.make(&identity, &mut joined.orphans) => {
                joined.fate = Err(DropReason::FragmentOrphan);
            }
            Ruling::Hold => {
                self.change(identity, |datagram, age| datagram.hold(Held::new(arriving, age, now)));
            }
            Ruling::Pass(header) => {
                joined.fate = Ok(Some(arriving.judged(header)));
                joined.released =
                    self.change(identity, |datagram, _| datagram.pass(arriving.fragment, header, now));
            }
        }
        joined
    }

    fn condemn(&mut self, arriving: &Arriving<'_>, now: Instant) -> Joined {
        let identity = Identity::of(arriving);
        let fate = Err(DropReason::FragmentInvalid);
        let mut joined = Joined { fate, released: Vec::new(), orphans: self.share.expire(now) };
        if self.make(&identity, &mut joined.orphans) {
            joined.released = self.change(identity, |datagram, _| datagram.give_up(now));
        }
        joined
    }

    fn change<T>(&mut self, identity: Identity, change: impl FnOnce(&mut datagram::Datagram, u64) -> T) -> T {
        let age = *self.next;
        *self.next += 1;
        self.share.change(identity, age, |datagram| change(datagram, age))
    }

    /// Makes room for one fragment more of a datagram, at the cost of the ENI's oldest; false if there is none to lose.
    fn make(&mut self, identity: &Identity, orphans: &mut usize) -> bool {
        while self.is_full(self.share.get(identity).is_some()) {
            let Some(oldest) = self.share.oldest(identity) else { return false };
            *orphans += self.share.forget(&oldest);
        }
        true
    }

    fn is_full(&self, known: bool) -> bool {
        let (own, others) = (self.share.usage(), self.others);
        let begins = !known;
        own.fragments >= SHARE.fragments
            || own.fragments + others.fragments >= WHOLE.fragments
            || (begins && own.datagrams >= SHARE.datagrams)
            || (begins && own.datagrams + others.datagrams >= WHOLE.datagrams)
    }
}

impl Arriving<'_> {
    fn judged(&self, header: Header) -> Judged {
        if self.fragment.is_first() { Judged::whole(self.ip) } else { Judged::later(self.ip, header) }
    }
}

#[cfg(test)]
mod tests;
