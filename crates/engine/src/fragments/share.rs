//! What one ENI takes of the memory for fragments: its datagrams, when each is due, and how much they are.
//!
//! At its limits an ENI loses its own oldest datagram, never that of another: whoever floods does so at their own cost.

use std::collections::BTreeMap;
use std::ops::{AddAssign, SubAssign};

use hashbrown::HashMap;
use palisade_conntrack::Instant;

use super::datagram::{Datagram, Identity};

/// An amount of memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Usage {
    pub(super) datagrams: usize,
    /// Fragments that are remembered, those that wait among them.
    pub(super) fragments: usize,
    pub(super) held: usize,
    /// Bytes of the frames of those that wait.
    pub(super) held_bytes: usize,
}

/// Datagrams of one ENI, both directions.
#[derive(Debug, Default)]
pub(super) struct Share {
    by_identity: HashMap<Identity, Entry, foldhash::fast::RandomState>,
    /// One for each, never later than it is due.
    timers: BTreeMap<Timer, Identity>,
    /// In the order in which they began.
    ages: BTreeMap<u64, Identity>,
    usage: Usage,
}

type Timer = (Instant, u64);

#[derive(Debug)]
struct Entry {
    datagram: Datagram,
    timer: Timer,
}

impl Share {
    pub(super) const fn usage(&self) -> Usage {
        self.usage
    }

    pub(super) fn get(&self, identity: &Identity) -> Option<&Datagram> {
        self.by_identity.get(identity).map(|entry| &entry.datagram)
    }

    /// Changes a datagram, or begins it as number `age` if there is none.
    pub(super) fn change<T>(
        &mut self,
        identity: Identity,
        age: u64,
        change: impl FnOnce(&mut Datagram) -> T,
    ) -> T {
        if let Some(entry) = self.by_identity.get_mut(&identity) {
            self.usage -= entry.datagram.usage();
            let result = change(&mut entry.datagram);
            self.usage += entry.datagram.usage();
            return result; // a change never makes it due earlier, so the timer may stay
        }
        let mut datagram = Datagram::new();
        let result = change(&mut datagram);
        if let Some(due) = datagram.deadline() {
            self.usage += datagram.usage();
            let timer = (due, age);
            self.timers.insert(timer, identity);
            self.ages.insert(age, identity);
            self.by_identity.insert(identity, Entry { datagram, timer });
        }
        result
    }

    /// Forgets a datagram; returns how many fragments waited for it in vain.
    pub(super) fn forget(&mut self, identity: &Identity) -> usize {
        let Some(Entry { datagram, timer }) = self.by_identity.remove(identity) else { return 0 };
        self.timers.remove(&timer);
        self.ages.remove(&timer.1);
        self.usage -= datagram.usage();
        datagram.held(None).0
    }

    /// Forgets what is due; returns how many fragments waited in vain.
    pub(super) fn expire(&mut self, now: Instant) -> usize {
        let mut orphans = 0;
        while let Some(due) = self.timers.first_entry().filter(|due| due.key().0 <= now) {
            let ((_, age), identity) = due.remove_entry();
            let Some(entry) = self.by_identity.get_mut(&identity) else { continue };
            self.usage -= entry.datagram.usage();
            orphans += entry.datagram.lapse(now);
            self.usage += entry.datagram.usage();
            match entry.datagram.deadline().filter(|due| *due > now) {
                Some(due) => {
                    entry.timer = (due, age);
                    self.timers.insert(entry.timer, identity);
                }
                None => orphans += self.forget(&identity),
            }
        }
        orphans
    }

    /// Bytes of fragments that wait, without those whose time is over.
    pub(super) fn waiting_bytes(&self, now: Instant) -> usize {
        let due = self.timers.range(..=(now, u64::MAX)).filter_map(|(_, identity)| self.get(identity));
        self.usage.held_bytes - due.map(|datagram| datagram.held(Some(now)).1).sum::<usize>()
    }

    /// The datagram that began first, one excepted.
    pub(super) fn oldest(&self, except: &Identity) -> Option<Identity> {
        self.ages.values().find(|identity| *identity != except).copied()
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.datagrams += other.datagrams;
        self.fragments += other.fragments;
        self.held += other.held;
        self.held_bytes += other.held_bytes;
    }
}

impl SubAssign for Usage {
    fn sub_assign(&mut self, other: Self) {
        self.datagrams -= other.datagrams;
        self.fragments -= other.fragments;
        self.held -= other.held;
        self.held_bytes -= other.held_bytes;
    }
}
