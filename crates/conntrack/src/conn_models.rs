//! Model checks of one entry: packets of both directions, expiry, killing.

use std::sync::Mutex;

use super::*;
use crate::models::{ACK, FIN_ACK, OWNER, RST, START, SYN, SYN_ACK, TIME_OUTS};
use crate::models::{at, datagram, explore, finds, race, segment};
use crate::window::{Acknowledged, Opening};

/// [`Conn::offer`] as it is, or with a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Offering {
    AsItIs,
    /// The word is compared with another load than the step was worked out from.
    FreshLoad,
    /// What the segment said is noted after its step can be seen.
    NotedLate,
    /// The armed time is read before the word is written.
    ArmedReadEarly,
}

impl Offering {
    /// Lets a packet act on the entry.
    pub(crate) fn offer(
        self,
        conn: &Arc<Conn>,
        (direction, packet): (Direction, &IpPacket),
        now: Instant,
    ) -> Offer {
        if self == Self::AsItIs {
            return conn.offer(direction, packet, &TIME_OUTS, now);
        }
        let (side, armed) = (conn.side(direction), conn.armed());
        loop {
            let seen = conn.word.load();
            if !conn.lives(seen, now) {
                return Offer::Gone;
            }
            let from = seen.state();
            let to = match step(from, side, packet, &conn.windows) {
                Step::To(to) => to,
                Step::Ignore => return Offer::Taken,
                Step::Replace => return Offer::Replace,
            };
            if self != Self::NotedLate {
                conn.note(side, from, packet);
            }
            let seen = if self == Self::FreshLoad { conn.word.load() } else { seen };
            if !seen.is_dead() && conn.word.refresh(seen, to, now).is_ok() {
                conn.note(side, from, packet);
                let armed = if self == Self::ArmedReadEarly { armed } else { conn.armed() };
                if conn.due(now) < armed {
                    conn.instance.arm(conn, now);
                }
                return Offer::Taken;
            }
        }
    }
}

/// An entry that the ENI has opened, in any state, last seen at the start.
pub(crate) fn entry(packet: &IpPacket, state: State) -> Arc<Conn> {
    let key = Key::of(OWNER.zone, Direction::Egress, &packet.tuple().expect("it has ports")).expect("a key");
    let birth = Birth {
        key,
        origin: Direction::Egress,
        word: Word::idle_for(state, START, 0),
        time_outs: configured(state.kind(), &TIME_OUTS),
        created: START.as_nanos(),
        opener: Opener::default(),
        admitted_by: None,
    };
    let instance = crate::instance::Instances::default().find_or_make(OWNER.instance);
    Arc::new(Conn::new(&birth, instance))
}

/// A TCP entry, with what both sides have said so far.
pub(crate) fn connection(state: State) -> Arc<Conn> {
    let conn = entry(&segment(SYN, 0, 0), state);
    let said = |side, sequence, other: u32| {
        conn.windows.set_opening(side, Opening { sequence, scale: None });
        if state != State::SynSent {
            conn.windows.set_acknowledged(side, Acknowledged { value: other + 1, window: 1_000 });
        }
    };
    said(Side::Originator, 100, 200);
    if state != State::SynSent {
        said(Side::Responder, 200, 100);
    }
    conn
}

/// Segments of either side, with resets that are plausible and resets that are not.
fn segments() -> Vec<(Direction, IpPacket)> {
    let mine = |flags, past: u32| (Direction::Egress, segment(flags, 100 + past, 201));
    let theirs = |flags, past: u32| (Direction::Ingress, segment(flags, 200 + past, 101));
    [(SYN, 0), (SYN_ACK, 0), (ACK, 1), (FIN_ACK, 1), (RST, 1), (RST, 5_000)]
        .into_iter()
        .flat_map(|(flags, past)| [mine(flags, past), theirs(flags, past)])
        .collect()
}

/// What has become of an entry and of two packets.
type Outcome = (Option<(&'static str, u64)>, [Offer; 2]);

fn outcome(conn: &Conn, offers: [Offer; 2]) -> Outcome {
    (conn.look(at(1)).map(|(state, idle)| (state.name(), idle)), offers)
}

/// Two packets at one entry do what they do in one order or in the other: all states, all segments.
fn segments_compose(offering: Offering) {
    let segments = segments();
    for state in State::ALL.into_iter().filter(|state| state.kind() == Kind::Tcp) {
        for (index, one) in segments.iter().enumerate() {
            for other in &segments[index..] {
                compose(offering, move || connection(state), *one, *other);
            }
        }
    }
}

fn datagrams_compose(offering: Offering) {
    for state in State::ALL.into_iter().filter(|state| state.kind() == Kind::Udp) {
        let [one, other] = [Direction::Egress, Direction::Ingress].map(|direction| (direction, datagram()));
        compose(offering, move || entry(&datagram(), state), one, other);
    }
}

fn compose(
    offering: Offering,
    entry: impl Fn() -> Arc<Conn> + Copy + Send + Sync + 'static,
    one: (Direction, IpPacket),
    other: (Direction, IpPacket),
) {
    let offer = move |conn: &Arc<Conn>, (direction, packet): (Direction, IpPacket)| {
        offering.offer(conn, (direction, &packet), START)
    };
    let orders = Arc::new(Mutex::new(Vec::new()));
    let allowed = Arc::clone(&orders);
    explore(0, move || {
        let (forth, back) = (entry(), entry());
        let first = [offer(&forth, one), offer(&forth, other)];
        let second = offer(&back, other);
        let second = [offer(&back, one), second];
        *allowed.lock().expect("one thread") = vec![outcome(&forth, first), outcome(&back, second)];
    });
    let allowed = orders.lock().expect("one thread").clone();
    explore(3, move || {
        let conn = entry();
        let shared = Arc::clone(&conn);
        let (first, second) = race(move || offer(&shared, one), || offer(&conn, other));
        let seen = outcome(&conn, [first, second]);
        assert!(allowed.contains(&seen), "{one:?} and {other:?}: {seen:?}, which is none of {allowed:?}");
    });
}

#[test]
fn packets_of_both_directions_compose() {
    segments_compose(Offering::AsItIs);
    datagrams_compose(Offering::AsItIs);
}

#[test]
fn packets_that_do_not_compose_are_found() {
    assert!(finds("none of", || segments_compose(Offering::FreshLoad)));
    assert!(finds("none of", || datagrams_compose(Offering::FreshLoad)));
    assert!(finds("flags: R", || segments_compose(Offering::NotedLate)), "after an unread SYN+ACK");
}

/// The second packet of a burst goes the short way if the entry stands as the first one left it; or blindly.
fn acknowledge(conn: &Arc<Conn>, left: Option<Word>, blindly: bool) {
    let (direction, packet) = (Direction::Egress, segment(ACK, 101, 201));
    let said = Said::of(&packet).expect("an acknowledgement");
    let again = |left: Word| blindly || conn.offer_again(left.standing(), direction, said, START);
    if !left.is_some_and(again) {
        conn.offer(direction, &packet, &TIME_OUTS, START);
    }
}

/// Two packets of a burst and one of the other side do what they do in one of the three orders; if the second one comes
/// when the other side's has been forwarded, not as if it had come before.
fn bursts_compose(blindly: bool) {
    let other_side = segments().into_iter().filter(|(direction, _)| *direction == Direction::Ingress);
    let states = State::ALL.into_iter().filter(|state| state.kind() == Kind::Tcp);
    for (state, packet) in states.flat_map(|state| other_side.clone().map(move |(_, packet)| (state, packet)))
    {
        let answer = move |conn: &Arc<Conn>| conn.offer(Direction::Ingress, &packet, &TIME_OUTS, START);
        let orders = Arc::new(Mutex::new(Vec::new()));
        let allowed = Arc::clone(&orders);
        explore(0, move || {
            for place in 0..3 {
                let conn = connection(state);
                for turn in 0..3 {
                    if turn == place {
                        answer(&conn);
                    } else {
                        acknowledge(&conn, None, false);
                    }
                }
                allowed.lock().expect("one thread").push(conn.look(at(1)));
            }
        });
        let allowed = orders.lock().expect("one thread").clone();
        explore(4, move || {
            let (conn, forwarded) = (connection(state), Arc::new(AtomicU64::new(0)));
            let (shared, flag) = (Arc::clone(&conn), Arc::clone(&forwarded));
            let burst = || {
                let packet = segment(ACK, 101, 201);
                let left = conn.offer_steady(Direction::Egress, &packet, &TIME_OUTS, START);
                let came_after = forwarded.load(Ordering::Acquire) == 1;
                acknowledge(&conn, left, blindly);
                came_after
            };
            let other = move || {
                answer(&shared);
                flag.store(1, Ordering::Release);
            };
            let ((), came_after) = race(other, burst);
            let allowed = if came_after { &allowed[..2] } else { &allowed };
            let seen = conn.look(at(1));
            assert!(allowed.contains(&seen), "{packet:?}: {seen:?}, which is none of {allowed:?}");
        });
    }
}

#[test]
fn bursts_and_packets_of_the_other_side_compose() {
    bursts_compose(false);
}

#[test]
fn a_burst_that_goes_on_blindly_is_found() {
    assert!(finds("none of", || bursts_compose(true)));
}

/// [`Conn::expire`] as it is, or with a fault.
type Expire = fn(&Conn, Instant) -> Expiry;

/// A packet just before the end of the idle time, seen by a timer just after it: one of the two wins, whole.
fn one_of_refresh_and_expiry_wins(offering: Offering, expire: Expire) {
    let before_the_end = at(60).as_nanos() - 1;
    explore(4, move || {
        let conn = entry(&datagram(), State::UdpStream);
        let shared = Arc::clone(&conn);
        let offer = move || {
            offering.offer(&shared, (Direction::Egress, &datagram()), Instant::from_nanos(before_the_end))
        };
        match race(offer, || expire(&conn, at(60))) {
            (Offer::Taken, Expiry::Until(end)) => {
                assert_eq!(end.as_nanos(), before_the_end + 60_000_000_000, "CT-39a");
                assert!(conn.is_alive(at(60)));
            }
            (Offer::Gone, Expiry::Killed) => assert!(conn.is_dead()),
            (offer, Expiry::Killed) => panic!("killed, and {offer:?}"),
            (offer, _) => panic!("not killed, and {offer:?}"),
        }
    });
}

#[test]
fn refresh_and_expiry_exclude_each_other() {
    one_of_refresh_and_expiry_wins(Offering::AsItIs, Conn::expire);
}

#[test]
fn an_expiry_of_what_was_refreshed_is_found() {
    /// Kills what it has not looked at.
    fn expire(conn: &Conn, now: Instant) -> Expiry {
        if conn.is_alive(now) {
            return Expiry::Until(conn.due(now));
        }
        if conn.kill() { Expiry::Killed } else { Expiry::Dead }
    }
    assert!(finds("killed, and Taken", || one_of_refresh_and_expiry_wins(Offering::AsItIs, expire)));
}

/// Whoever ends the entry, one does: places are given back once.
fn one_funeral(kill: fn(&Conn) -> bool) {
    explore(3, move || {
        let conn = entry(&datagram(), State::UdpStream);
        let (timer, control) = (Arc::clone(&conn), Arc::clone(&conn));
        let timer = loom::thread::spawn(move || matches!(timer.expire(at(60)), Expiry::Killed));
        let ends = race(
            move || kill(&control),
            || {
                let offer = Offering::AsItIs.offer(&conn, (Direction::Egress, &datagram()), at(1));
                assert!(matches!(offer, Offer::Taken | Offer::Gone));
                let killed = kill(&conn);
                assert!(conn.is_dead() && !conn.is_alive(at(1)));
                killed
            },
        );
        let ends = [ends.0, ends.1, timer.join().expect("a panic ends the model")];
        assert_eq!(ends.into_iter().filter(|killed| *killed).count(), 1, "funerals");
    });
}

#[test]
fn every_entry_ends_once() {
    one_funeral(Conn::kill);
}

#[test]
fn a_second_funeral_is_found() {
    /// Looks first and believes it.
    fn kill(conn: &Conn) -> bool {
        let alive = !conn.is_dead();
        conn.kill();
        alive
    }
    assert!(finds("funerals", || one_funeral(kill)));
}
