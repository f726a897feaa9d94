//! Model checks of the timer: it visits every entry no later than the entry can expire.

use palisade_packet::{Direction, TcpFlags};

use super::*;
use crate::conn::models::{Offering, connection};
use crate::instance::Instance;
use crate::models::{ACK, FIN_ACK, RST, SYN, at, explore, finds, race, segment};
use crate::state::State;

/// What the timer does when it comes to a handle: [`Wheel::visit`], or something wrong.
type Visit = fn(&mut Wheel, &Handle, Instant) -> Option<Arc<Conn>>;

/// As [`Instance::advance`]; returns how many were killed.
fn advance(instance: &Instance, visit: Visit, now: Instant) -> usize {
    if !instance.has_due(now) {
        return 0;
    }
    let (mut wheel, mut killed) = (instance.wheel(), 0);
    wheel.turn(tick_of(now), &mut usize::MAX.clone());
    while wheel.soon.peek().is_some_and(|handle| handle.at <= now) {
        let handle = wheel.soon.pop().expect("it was peeked at");
        killed += usize::from(visit(&mut wheel, &handle, now).is_some());
    }
    instance.remember_earliest(&wheel);
    killed
}

/// While the timer visits an entry whose handle is due but which was refreshed since, a packet changes its life. When
/// that life is over, the timer must be there.
fn the_timer_misses_nothing(offering: Offering, visit: Visit, flags: TcpFlags, life: u64) {
    explore(4, move || {
        let conn = connection(State::SynRecv);
        conn.arm(at(0));
        // Established, 350 s from here; the handle stays where it was, at 60 s.
        let shake = (Direction::Egress, &segment(ACK, 101, 201));
        Offering::AsItIs.offer(&conn, shake, at(50));
        let instance = Arc::clone(conn.instance());
        let timer = Arc::clone(&instance);
        let packet = segment(flags, 101, 201);
        let (killed, _) = race(
            move || advance(&timer, visit, at(60)),
            || offering.offer(&conn, (Direction::Egress, &packet), at(60)),
        );
        assert_eq!(killed, 0, "its handle was due, it was not");
        assert_eq!(advance(&instance, visit, at(60 + life - 1)), 0, "it lives for {life} s more");
        assert_eq!(advance(&instance, visit, at(60 + life)), 1, "not visited at its end");
        assert!(conn.is_dead());
    });
}

/// A packet that leaves the life as long as it was, one that shortens it a little, one that all but ends it.
fn the_timer_never_misses(offering: Offering, visit: Visit) {
    the_timer_misses_nothing(offering, visit, ACK, 350);
    the_timer_misses_nothing(offering, visit, FIN_ACK, 120);
    the_timer_misses_nothing(offering, visit, RST, 10);
}

#[test]
fn the_timer_never_misses_an_entry() {
    the_timer_never_misses(Offering::AsItIs, Wheel::visit);
}

#[test]
fn a_timer_that_misses_an_entry_is_found() {
    /// Believes the deadline that it knew before it wrote the armed time.
    fn visit(wheel: &mut Wheel, handle: &Handle, now: Instant) -> Option<Arc<Conn>> {
        let conn = handle.conn.upgrade()?;
        if conn.armed() != handle.at {
            return None;
        }
        match conn.expire(now) {
            Expiry::Dead => None,
            Expiry::Killed => Some(conn),
            Expiry::Until(at) => {
                conn.set_armed(at);
                wheel.push(Handle { at, conn: Arc::downgrade(&conn) });
                None
            }
        }
    }
    let missed = "not visited at its end";
    assert!(finds(missed, || the_timer_never_misses(Offering::AsItIs, visit)));
    assert!(finds(missed, || the_timer_never_misses(Offering::ArmedReadEarly, Wheel::visit)));
}

/// Two packets shorten the life of an entry at the same time, with different ends.
#[test]
fn the_shorter_of_two_lives_is_armed() {
    explore(4, || {
        let conn = connection(State::Established);
        conn.arm(at(0));
        let (instance, shared) = (Arc::clone(conn.instance()), Arc::clone(&conn));
        let offer = |conn: &Arc<Conn>, flags| {
            Offering::AsItIs.offer(conn, (Direction::Egress, &segment(flags, 101, 201)), at(1));
        };
        race(move || offer(&shared, FIN_ACK), || offer(&conn, RST));
        assert_eq!(conn.state(), State::Close);
        assert_eq!(advance(&instance, Wheel::visit, at(11)), 1, "CT-46: 10 s");
    });
}

/// The creator of an entry arms it after other workers can see it.
#[test]
fn an_entry_is_armed_by_whoever_comes_first() {
    explore(4, || {
        let conn = connection(State::SynSent);
        let (instance, shared) = (Arc::clone(conn.instance()), Arc::clone(&conn));
        race(
            move || shared.arm(at(0)),
            || Offering::AsItIs.offer(&conn, (Direction::Egress, &segment(SYN, 100, 0)), at(1)),
        );
        assert_eq!(advance(&instance, Wheel::visit, at(120)), 0, "armed at 120 s or 121 s");
        assert_eq!(advance(&instance, Wheel::visit, at(121)), 1);
    });
}
