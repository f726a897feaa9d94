//! Ends that no packet brings about: expiry and removal.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::conn::Conn;
use crate::instance::Instance;
use crate::owner::Zone;
use crate::plan::Refused;
use crate::table::ConnTable;
use crate::tally::End;
use crate::time::Instant;

/// Handles visited under one hold of a timer's lock.
const CHUNK: usize = 64;
/// Handles that one packet may visit in search of a place (CT-73). Each visit either frees a place or pushes its handle
/// past `now`, so what one packet leaves undone the next one finds done.
const SEARCH: usize = 4_096;

impl ConnTable {
    /// Reclaims entries whose idle time is over, looking at no more than `budget` timer handles; returns how many it
    /// reclaimed. Instances take turns, so that a small budget serves all of them.
    pub fn advance(&self, now: Instant, budget: usize) -> usize {
        let (mut left, mut reclaimed) = (budget, 0);
        self.instances.visit_from(self.next.load(Ordering::Relaxed), |instance| {
            self.next.store(instance.id(), Ordering::Relaxed);
            reclaimed += self.reclaim(instance, now, &mut left);
            left > 0
        });
        reclaimed
    }

    /// Destroys all entries of an ENI (CT-26); returns how many. Costs the entries of its instance.
    ///
    /// An entry that a commit is making at this moment may stay; call this when no worker uses the ENI any more.
    pub fn remove_zone(&self, zone: Zone) -> usize {
        let removed = self.remove(zone, |_| true);
        self.instances.visit_from(0, |instance| {
            instance.forget(zone);
            true
        });
        self.instances.prune();
        removed
    }

    /// Destroys the entries of an ENI with this local address, which it gave up (CT-26); returns how many.
    pub fn remove_local(&self, zone: Zone, address: IpAddr) -> usize {
        self.remove(zone, |conn| conn.key().local() == address)
    }

    fn remove(&self, zone: Zone, wanted: impl Fn(&Conn) -> bool + Copy) -> usize {
        let mut removed = 0;
        self.instances.visit_from(0, |instance| {
            for conn in instance.extract(zone, wanted).into_iter().filter(|conn| conn.kill()) {
                self.bury(&conn, End::Removed);
                removed += 1;
            }
            true
        });
        removed
    }

    /// Tries to free a place for a new entry (CT-73). False if there is nothing to free.
    pub(crate) fn make_room(&self, why: Refused, instance: &Arc<Instance>, now: Instant) -> bool {
        let mut budget = SEARCH;
        match why {
            Refused::Allowance => self.reclaim_until(instance, now, &mut budget, true) > 0,
            Refused::TableFull => {
                let mut freed = 0;
                self.instances.visit_from(0, |instance| {
                    freed += self.reclaim_until(instance, now, &mut budget, true);
                    freed == 0 && budget > 0
                });
                freed > 0
            }
        }
    }

    /// Reclaims the expired entries of one instance; returns how many.
    pub(crate) fn reclaim(&self, instance: &Arc<Instance>, now: Instant, budget: &mut usize) -> usize {
        self.reclaim_until(instance, now, budget, false)
    }

    fn reclaim_until(
        &self,
        instance: &Arc<Instance>,
        now: Instant,
        budget: &mut usize,
        one_is_enough: bool,
    ) -> usize {
        let mut reclaimed = 0;
        while *budget > 0 && instance.has_due(now) && !(one_is_enough && reclaimed > 0) {
            let (mut chunk, mut killed) = (CHUNK.min(*budget), Vec::new());
            let given = chunk;
            instance.advance(now, &mut chunk, &mut killed);
            *budget -= given - chunk;
            reclaimed += killed.len();
            for conn in &killed {
                self.bury(conn, End::Expired);
            }
            if given == chunk {
                break;
            }
        }
        reclaimed
    }

    /// For the one who killed it: gives the place back, then takes the entry out of the map unless a successor already
    /// stands there. Holds no lock of a timer.
    pub(crate) fn bury(&self, conn: &Arc<Conn>, how: End) {
        self.count_end(conn, how);
        self.map.remove_if(conn.key(), |_, standing| Arc::ptr_eq(standing, conn));
    }

    pub(crate) fn count_end(&self, conn: &Conn, how: End) {
        conn.instance().give_place_back();
        self.tally.end(how);
    }
}
