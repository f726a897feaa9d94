//! Ends that no packet brings about: expiry and removal.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::conn::Conn;
use crate::handle::ConnHandle;
use crate::instance::Instance;
use crate::listed::Keyed;
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
    /// An entry that a commit is making at this moment may stay; call this (again) when no worker uses the ENI any more.
    pub fn remove_zone(&self, zone: Zone) -> usize {
        let removed = self.remove(zone, |_| true);
        self.instances.prune();
        removed
    }

    /// Destroys the entries of an ENI with this local address, which it gave up (CT-26); returns how many.
    pub fn remove_local(&self, zone: Zone, address: IpAddr) -> usize {
        self.remove(zone, |conn| conn.key().local() == address)
    }

    /// Ends an entry that somebody chose; false if it had ended already.
    pub fn end(&self, entry: &ConnHandle) -> bool {
        self.end_as(entry, End::Removed)
    }

    /// Ends an entry that the present rules would not have let be opened; false if it had ended already.
    pub fn revoke(&self, entry: &ConnHandle) -> bool {
        self.end_as(entry, End::Revoked)
    }

    fn end_as(&self, entry: &ConnHandle, how: End) -> bool {
        let killed = entry.conn().kill();
        if killed {
            self.bury(entry.conn(), how);
        }
        killed
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

    /// Tries to free a place for a new entry (CT-73). False if there is none and nothing to free.
    ///
    /// Looks for a place once more after finding nothing due: another thread may have reclaimed it all meanwhile.
    pub(crate) fn make_room(&self, why: Refused, (instance, max): (&Instance, u32), now: Instant) -> bool {
        let mut budget = SEARCH;
        match why {
            Refused::Allowance => {
                self.reclaim_until(instance, now, &mut budget, true) > 0 || instance.tracked() < max
            }
            Refused::TableFull => {
                let mut freed = 0;
                self.instances.visit_from(0, |instance| {
                    freed += self.reclaim_until(instance, now, &mut budget, true);
                    freed == 0 && budget > 0
                });
                freed > 0 || self.tally.has_room()
            }
        }
    }

    /// Reclaims the expired entries of one instance; returns how many.
    pub(crate) fn reclaim(&self, instance: &Instance, now: Instant, budget: &mut usize) -> usize {
        self.reclaim_until(instance, now, budget, false)
    }

    fn reclaim_until(
        &self,
        instance: &Instance,
        now: Instant,
        budget: &mut usize,
        one_is_enough: bool,
    ) -> usize {
        let mut reclaimed = 0;
        while *budget > 0 && instance.has_due(now) && !(one_is_enough && reclaimed > 0) {
            let (mut chunk, mut killed) = (CHUNK.min(*budget), Vec::new());
            let given = chunk;
            instance.advance(now, &mut chunk, &mut killed, |conn| self.count_end(conn, End::Expired));
            *budget -= given - chunk;
            reclaimed += killed.len();
            for conn in &killed {
                self.take_out(conn);
            }
            if given == chunk {
                break;
            }
        }
        reclaimed
    }

    /// For the one who killed it: gives the place back, then takes the entry out of the map. Holds no lock of a timer.
    pub(crate) fn bury(&self, conn: &Arc<Conn>, how: End) {
        self.count_end(conn, how);
        self.take_out(conn);
    }

    /// Takes a dead entry out of the map unless a successor already stands there.
    fn take_out(&self, conn: &Arc<Conn>) {
        self.map.remove_if(&conn.key() as &dyn Keyed, |standing, ()| Arc::ptr_eq(&standing.0, conn));
    }

    pub(crate) fn count_end(&self, conn: &Conn, how: End) {
        conn.instance().give_place_back();
        self.tally.end(how);
    }
}

#[cfg(test)]
#[cfg(not(palisade_loom))]
mod tests {
    use std::time::Duration;

    use palisade_packet::{Direction, IpPacket, Transport};

    use super::*;
    use crate::{Consult, Owner, TimeOuts};

    const OWNER: Owner = Owner { zone: Zone(1), instance: 1, max_tracked: 100, time_outs: TIME_OUTS };
    const TIME_OUTS: TimeOuts = TimeOuts {
        tcp_established: Duration::from_secs(350),
        udp: Duration::from_secs(30),
        udp_stream: Duration::from_mins(1),
    };

    fn packet(port: u16) -> IpPacket {
        IpPacket {
            source: "10.0.1.10".parse().unwrap(),
            destination: "10.0.2.20".parse().unwrap(),
            protocol: 17,
            hop_limit: 64,
            dont_fragment: false,
            ip_len: 100,
            network_offset: 14,
            transport_offset: 34,
            fragment: None,
            transport: Transport::Udp { source: port, destination: 53 },
        }
    }

    fn open(table: &ConnTable, port: u16, now: Instant) {
        let packet = packet(port);
        match table.consult(OWNER.zone, Direction::Egress, &packet, now) {
            Consult::New(plan) | Consult::Tracked(plan) => table.commit(plan, &OWNER, &packet, now).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn entry(table: &ConnTable, port: u16) -> Arc<Conn> {
        let key = crate::key::Key::of(OWNER.zone, Direction::Egress, &packet(port).tuple().unwrap()).unwrap();
        table.get(&key).unwrap()
    }

    #[test]
    fn the_ended_leave_the_map() {
        let (table, now) = (ConnTable::new(10), Instant::from_secs(5));
        for port in 0..4 {
            open(&table, port, now);
        }
        table.advance(now + Duration::from_secs(30), usize::MAX);
        assert_eq!(table.map.len(), 0, "expired");
        open(&table, 1, now);
        table.remove_zone(OWNER.zone);
        assert_eq!(table.map.len(), 0, "removed");
    }

    #[test]
    fn a_late_funeral_does_not_take_the_successor_along() {
        let (table, now) = (ConnTable::new(10), Instant::from_secs(5));
        open(&table, 1, now);
        let old = entry(&table, 1);
        assert!(old.kill(), "this thread is to bury it, but another packet comes first");
        open(&table, 1, now);
        table.bury(&old, End::Removed);
        assert!(entry(&table, 1).is_alive(now));
        assert_eq!((table.totals().alive, table.tracked(1, now)), (1, 1));
    }

    #[test]
    fn handles_do_not_pile_up_when_lives_are_shortened_and_lengthened() {
        let (table, mut now) = (ConnTable::new(10), Instant::from_secs(5));
        open(&table, 1, now);
        let instance = Arc::clone(entry(&table, 1).instance());
        for seconds in [60, 30].repeat(50) {
            let time_outs = TimeOuts { udp: Duration::from_secs(seconds), ..TIME_OUTS };
            let packet = packet(1);
            entry(&table, 1).offer(Direction::Egress, &packet, &time_outs, now);
            now = now + Duration::from_secs(29);
            table.advance(now, usize::MAX);
        }
        assert!(instance.handles() <= 3, "{} handles for one entry", instance.handles());
    }

    #[test]
    fn an_entry_armed_between_two_removals_is_found_by_the_second() {
        let (table, now) = (ConnTable::new(10), Instant::from_secs(5));
        open(&table, 1, now);
        open(&table, 2, now);
        let instance = Arc::clone(entry(&table, 1).instance());
        let found = instance.extract(OWNER.zone, |_| true);
        assert_eq!(found.len(), 2);
        open(&table, 3, now);
        assert_eq!(table.remove_zone(OWNER.zone), 1);
    }

    #[test]
    fn an_instance_without_entries_is_forgotten_with_its_last_eni() {
        let (table, now) = (ConnTable::new(10), Instant::from_secs(5));
        open(&table, 1, now);
        table.remove_zone(Zone(2));
        assert!(table.instances.find(1).is_some());
        table.remove_zone(OWNER.zone);
        assert!(table.instances.find(1).is_none());
    }
}
