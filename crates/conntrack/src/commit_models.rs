//! Model checks of the table: workers that open, replace, expire and remove at the same time.

use std::sync::atomic::Ordering;

use palisade_packet::{Tcp, Transport};

use super::*;
use crate::key::Key;
use crate::models::{
    OWNER, RST, START, SYN, TIME_OUTS, at, datagram, datagram_to, explore, finds, race, segment,
};
use crate::owner::Zone;
use crate::plan::Consult;
use crate::sync::AtomicU32;
use crate::sync::modelled::shard_of;
use crate::view::ConnTotals;

/// Preemptions that a check explores: few where there are many steps to interrupt.
const MANY_STEPS: usize = 3;
const FEW_STEPS: usize = 6;
/// An allowance of one entry, and one that nothing here uses up.
const ONE: Owner = Owner { max_tracked: 1, ..OWNER };
const MANY: Owner = Owner { max_tracked: 9, ..OWNER };

/// What became of a packet that all filters pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Tracked,
    Opened,
    Stateless,
    Refused(Refused),
}

/// A way to open entries that is wrong.
type Open = fn(&ConnTable, &Opening<'_>) -> Result<Arc<Conn>, Refused>;

/// The same packet, as the other side sends it.
fn mirrored(packet: IpPacket) -> IpPacket {
    let Transport::Tcp(tcp) = packet.transport else { panic!("only segments come from both sides") };
    let transport = Transport::Tcp(Tcp { source: tcp.destination, destination: tcp.source, ..tcp });
    IpPacket { source: packet.destination, destination: packet.source, transport, ..packet }
}

/// Shows a packet to the table; opens entries in this way, or as the table does.
fn pass(
    open: Option<Open>,
    table: &ConnTable,
    owner: &Owner,
    (direction, packet): (Direction, IpPacket),
    now: Instant,
) -> Fate {
    let packet = &match direction {
        Direction::Egress => packet,
        Direction::Ingress => mirrored(packet),
    };
    let (plan, fate) = match table.consult(owner.zone, direction, packet, now) {
        Consult::Tracked(plan) => (plan, Fate::Tracked),
        Consult::New(plan) => (plan, Fate::Opened),
        Consult::Related(_) | Consult::Stateless => return Fate::Stateless,
    };
    let done = match (open, &plan.act) {
        (Some(open), Act::Open(rights)) => {
            let instance = table.instances.find_or_make(owner.instance);
            let opening = Opening::new((*rights, direction), packet, (owner, instance), now);
            let opened = open(table, &opening);
            opened.map(|conn| conn.traffic(conn.side(direction)).add(1, u64::from(packet.ip_len)))
        }
        _ => table.commit(plan, owner, packet, now),
    };
    done.map_or_else(Fate::Refused, |()| fate)
}

fn send(table: &ConnTable, owner: &Owner, packet: &IpPacket, now: Instant) -> Fate {
    pass(None, table, owner, (Direction::Egress, *packet), now)
}

fn syn() -> IpPacket {
    segment(SYN, 100, 0)
}

fn key_of(packet: &IpPacket) -> Key {
    Key::of(OWNER.zone, Direction::Egress, &packet.tuple().expect("it has ports")).expect("a key")
}

/// A datagram of another flow than [`datagram`]'s, whose entry lies in the same shard or in the other one.
fn neighbour(same_shard: bool) -> IpPacket {
    let shard = |packet: &IpPacket| shard_of(&key_of(packet));
    let mut others = (1..400).map(datagram_to);
    others.find(|other| (shard(other) == shard(&datagram())) == same_shard).expect("one of 400")
}

/// Law 3, and what each part of the table knows agrees, as no call is under way.
fn assert_sound(table: &ConnTable, now: Instant) -> ConnTotals {
    table.advance(now, usize::MAX);
    let totals = table.totals();
    let ends = totals.alive + totals.expired + totals.closed + totals.removed;
    assert_eq!(totals.created, ends, "law 3: {totals:?}");
    let alive = usize::try_from(totals.alive).expect("a few");
    assert_eq!(table.list(now).len(), alive, "listed: {totals:?}");
    assert_eq!(table.map.len(), alive, "in the map: {totals:?}");
    let taken = |id| table.instances.find(id).map_or(0, |instance| instance.tracked());
    assert_eq!(u64::from(taken(1) + taken(2)), totals.alive, "places taken: {totals:?}");
    totals
}

/// A table of `capacity` on which `prepare` has been called, then two things at the same time, then `judge`.
fn check<A: Send + 'static, B: 'static>(
    (preemptions, capacity): (usize, usize),
    prepare: impl Fn(&ConnTable) + Send + Sync + 'static,
    (one, other): (
        impl Fn(&ConnTable) -> A + Copy + Send + Sync + 'static,
        impl Fn(&ConnTable) -> B + Send + Sync + 'static,
    ),
    judge: impl Fn(&ConnTable, A, B) + Send + Sync + 'static,
) {
    explore(preemptions, move || {
        let table = Arc::new(ConnTable::new(capacity));
        prepare(&table);
        let shared = Arc::clone(&table);
        let (a, b) = race(move || one(&shared), || other(&table));
        judge(&table, a, b);
    });
}

/// Two workers, one flow.
fn one_entry_for_one_flow(open: Option<Open>, second: Direction) {
    let pass = move |table: &ConnTable, way| pass(open, table, &MANY, (way, syn()), START);
    check(
        (FEW_STEPS, 9),
        |_| {},
        (
            move |table: &ConnTable| pass(table, Direction::Egress),
            move |table: &ConnTable| pass(table, second),
        ),
        move |table, one, other| {
            let totals = assert_sound(table, START);
            assert_eq!((totals.created, totals.alive), (1, 1), "one entry");
            assert!(
                [(Fate::Opened, Fate::Opened), (Fate::Opened, Fate::Tracked), (Fate::Tracked, Fate::Opened)]
                    .contains(&(one, other)),
                "{one:?}, {other:?}"
            );
            let entry = table.list(START)[0];
            assert_eq!(entry.forward.packets + entry.reply.packets, 2, "nobody's packet is lost");
            let met = second == Direction::Ingress;
            assert_eq!(entry.state, if met { "syn-sent2" } else { "syn-sent" }, "CT-42");
        },
    );
}

#[test]
fn two_workers_open_one_entry_for_one_flow() {
    one_entry_for_one_flow(None, Direction::Egress);
    one_entry_for_one_flow(None, Direction::Ingress);
}

/// Two flows, one place, and somebody who watches.
fn the_last_place_once(open: Option<Open>, owner: Owner, capacity: usize, why: Refused) {
    for other in [neighbour(true), neighbour(false)] {
        explore(MANY_STEPS, move || {
            let table = Arc::new(ConnTable::new(capacity));
            let (first, watching) = (Arc::clone(&table), Arc::clone(&table));
            let watch = loom::thread::spawn(move || {
                assert!(watching.list(START).len() <= 1, "CT-70: more than one");
            });
            let send = move |table: &ConnTable, packet: IpPacket| {
                pass(open, table, &owner, (Direction::Egress, packet), START)
            };
            let fates = race(move || send(&first, datagram()), || send(&table, other));
            watch.join().expect("a panic ends the model");
            let one = [(Fate::Opened, Fate::Refused(why)), (Fate::Refused(why), Fate::Opened)];
            assert!(one.contains(&fates), "CT-70: {fates:?}");
            assert_eq!(assert_sound(&table, START).created, 1);
        });
    }
}

#[test]
fn the_last_place_is_given_once() {
    the_last_place_once(None, ONE, 9, Refused::Allowance);
    the_last_place_once(None, MANY, 1, Refused::TableFull);
}

/// CT-73: entries whose time is over take no place, whoever is about to reclaim them.
#[test]
fn the_expired_take_no_place() {
    for (owner, capacity) in [(Owner { max_tracked: 2, ..OWNER }, 9), (MANY, 2)] {
        let open = move |table: &ConnTable, port, now| send(table, &owner, &datagram_to(port), now);
        let full = move |table: &ConnTable| {
            open(table, 1, at(0));
            open(table, 2, at(0));
        };
        check(
            (MANY_STEPS, capacity),
            full,
            (
                move |table: &ConnTable| open(table, 3, at(30)),
                move |table: &ConnTable| open(table, 4, at(30)),
            ),
            |table, one, other| {
                assert_eq!((one, other), (Fate::Opened, Fate::Opened), "CT-73");
                let totals = assert_sound(table, at(30));
                assert_eq!((totals.expired, totals.alive), (2, 2));
            },
        );
        check(
            (MANY_STEPS, capacity),
            full,
            (move |table: &ConnTable| open(table, 3, at(30)), |table: &ConnTable| table.advance(at(30), 9)),
            |table, opened, _| {
                assert_eq!(opened, Fate::Opened, "CT-73");
                assert_eq!(assert_sound(table, at(30)).alive, 1);
            },
        );
    }
}

/// A packet of a flow at about the time when its entry expires: the entry goes on, or a new one begins, or the packet
/// passed on the authority of the one that has just gone.
#[test]
fn a_flow_goes_on_or_begins_anew() {
    for seen in [at(29), at(30)] {
        check(
            (FEW_STEPS, 9),
            |table| assert_eq!(send(table, &ONE, &datagram(), at(0)), Fate::Opened),
            (
                move |table: &ConnTable| send(table, &ONE, &datagram(), seen),
                |table: &ConnTable| table.advance(at(30), 9),
            ),
            move |table, fate, reclaimed| {
                let totals = assert_sound(table, at(30));
                match (fate, reclaimed) {
                    (Fate::Tracked, 0) => assert_eq!((totals.created, totals.alive), (1, 1), "refreshed"),
                    (Fate::Tracked, 1) => assert_eq!(totals.alive, 0, "too late"),
                    (Fate::Opened, _) => assert_eq!((totals.created, totals.alive), (2, 1), "anew"),
                    _ => panic!("{fate:?}"),
                }
            },
        );
    }
}

fn closed(table: &ConnTable) {
    assert_eq!(send(table, &ONE, &syn(), at(0)), Fate::Opened);
    assert_eq!(send(table, &ONE, &segment(RST, 100, 0), at(0)), Fate::Tracked);
    assert_eq!(table.list(at(0))[0].state, "close");
}

/// A SYN comes to a closed entry (CT-45), from the same ENI or after it has moved to another instance, while something
/// else ends the entry or wants its place.
fn one_successor<B: 'static>(
    open: Option<Open>,
    also: impl Fn(&ConnTable) -> B + Copy + Send + Sync + 'static,
    judge: fn(Fate, B, ConnTotals),
) {
    for owner in [ONE, Owner { instance: 2, ..ONE }] {
        let syn = move |table: &ConnTable| pass(open, table, &owner, (Direction::Ingress, syn()), at(9));
        check((FEW_STEPS, 9), closed, (syn, also), move |table, fate, other| {
            let totals = assert_sound(table, at(10));
            assert!(totals.alive <= 1, "{totals:?}");
            judge(fate, other, totals);
        });
    }
}

#[test]
fn a_closed_entry_has_one_successor() {
    one_successor(
        None,
        |table| send(table, &ONE, &syn(), at(9)),
        |one, other, totals| {
            assert!([one, other].contains(&Fate::Opened), "{one:?}, {other:?}");
            assert!([one, other].iter().all(|fate| matches!(fate, Fate::Opened | Fate::Tracked)));
            assert_eq!((totals.created, totals.closed), (2, 1));
        },
    );
    one_successor(
        None,
        |table| table.advance(at(10), 9),
        |fate, _, totals| {
            assert_eq!(fate, Fate::Opened);
            assert_eq!((totals.created, totals.closed + totals.expired, totals.alive), (2, 1, 1));
        },
    );
    one_successor(
        None,
        |table| {
            let stray = segment(RST, 5_000, 0);
            let handle = table.handle(OWNER.zone, Direction::Egress, &stray, at(9));
            handle.is_some_and(|handle| handle.touch(Direction::Egress, &stray, &TIME_OUTS, at(9)).is_some())
        },
        |fate, _, totals| {
            assert_eq!(fate, Fate::Opened);
            assert_eq!((totals.created, totals.closed, totals.alive), (2, 1, 1));
        },
    );
}

/// What the control side or another flow's SYN ends takes its place until the call that ends it has returned.
#[test]
fn an_ended_entry_ends_once() {
    one_successor(
        None,
        |table| table.remove_zone(OWNER.zone),
        |fate, removed, totals| {
            assert!(matches!(fate, Fate::Opened | Fate::Refused(Refused::Allowance)), "{fate:?}");
            assert_eq!(totals.removed, u64::try_from(removed).expect("one or two"));
        },
    );
    one_successor(
        None,
        |table| {
            let closed = table.handle(OWNER.zone, Direction::Egress, &syn(), at(9));
            closed.is_some_and(|closed| table.end(&closed))
        },
        |fate, ended, totals| {
            assert!(matches!(fate, Fate::Opened | Fate::Refused(Refused::Allowance)), "{fate:?}");
            assert_eq!(totals.removed, u64::from(ended));
        },
    );
    one_successor(
        None,
        |table| {
            if let Consult::New(plan) = table.consult(OWNER.zone, Direction::Egress, &syn(), at(9)) {
                table.commit_untracked(plan, &syn(), at(9));
            }
        },
        |fate, (), totals| {
            assert!(matches!(fate, Fate::Opened | Fate::Refused(Refused::Allowance)), "{fate:?}");
            assert_eq!(totals.closed, 1, "{totals:?}");
        },
    );
}

/// CT-26: what is opened while its ENI goes is found by the second removal, and the instance is not split in two.
#[test]
fn nothing_outlives_its_eni() {
    check(
        (FEW_STEPS, 9),
        |_| {},
        (
            |table: &ConnTable| send(table, &ONE, &datagram(), at(0)),
            |table: &ConnTable| table.remove_zone(OWNER.zone),
        ),
        |table, fate, first| {
            assert_eq!(fate, Fate::Opened);
            let second = table.remove_zone(Zone(1));
            assert_eq!(first + second, 1, "removed");
            assert_eq!(assert_sound(table, at(0)).alive, 0);
            assert_eq!(send(table, &ONE, &datagram(), at(0)), Fate::Opened);
            assert_eq!(assert_sound(table, at(0)).alive, 1);
        },
    );
}

/// A thread that has killed an entry but not buried it yet, and a packet that opens the flow anew.
fn a_late_funeral(bury: fn(&ConnTable, &Arc<Conn>)) {
    check(
        (FEW_STEPS, 9),
        |table| assert_eq!(send(table, &MANY, &datagram(), at(0)), Fate::Opened),
        (
            move |table: &ConnTable| {
                let old = table.get(&key_of(&datagram())).filter(|conn| conn.age(at(30)) > 0);
                if let Some(old) = old.filter(|old| old.kill()) {
                    bury(table, &old);
                }
            },
            |table: &ConnTable| send(table, &MANY, &datagram(), at(30)),
        ),
        |table, (), fate| {
            assert_eq!(fate, Fate::Opened);
            assert_eq!(assert_sound(table, at(30)).alive, 1, "the successor");
        },
    );
}

#[test]
fn a_late_funeral_leaves_the_successor() {
    a_late_funeral(|table, conn| table.bury(conn, End::Removed));
}

/// A worker that keeps "no entry, so denied" for the answers of a flow, and another one that opens the flow and sends its
/// packet on: an answer to that packet must not be denied by what was kept.
fn what_was_kept_is_outdated(open: Option<Open>) {
    explore(FEW_STEPS, move || {
        let table = Arc::new(ConnTable::new(9));
        let sent = Arc::new(AtomicU32::new(0));
        let answer = mirrored(syn());
        let (opening, onward) = (Arc::clone(&table), Arc::clone(&sent));
        let open = move || {
            assert_eq!(pass(open, &opening, &MANY, (Direction::Egress, syn()), START), Fate::Opened);
            onward.store(1, Ordering::Release);
        };
        let deny = || {
            let birth = table.birth(OWNER.zone, Direction::Ingress, &answer).expect("it has a key");
            let kept = table.handle(OWNER.zone, Direction::Ingress, &answer, START).is_none();
            let answered = sent.load(Ordering::Acquire) == 1;
            assert!(!(kept && answered && table.is_unborn(birth)), "an answer denied by what was kept");
        };
        race(open, deny);
    });
}

#[test]
fn a_birth_outdates_what_was_kept() {
    what_was_kept_is_outdated(None);
}

mod wrong {
    //! Ways to open and bury that the checks must find.

    use super::*;
    use crate::listed::Keyed;

    /// Looks for the entry, then inserts one, without holding the lock in between.
    pub(super) fn open_unlocked(table: &ConnTable, opening: &Opening<'_>) -> Result<Arc<Conn>, Refused> {
        if let Some(conn) = table.get(&opening.conn.key()) {
            conn.offer(opening.direction, opening.packet, &opening.owner.time_outs, opening.now);
            return Ok(conn);
        }
        table.take_place(opening)?;
        Ok(insert(table, opening))
    }

    /// Looks whether there is a place, then takes one.
    pub(super) fn open_by_looking(table: &ConnTable, opening: &Opening<'_>) -> Result<Arc<Conn>, Refused> {
        if opening.instance().tracked() >= opening.owner.max_tracked {
            return Err(Refused::Allowance);
        }
        opening.instance().take_place(u32::MAX);
        table.tally.begin();
        Ok(insert(table, opening))
    }

    /// Takes the place of a closed entry without asking whether it was the one that ended it.
    pub(super) fn replace_unasked(table: &ConnTable, opening: &Opening<'_>) -> Result<Arc<Conn>, Refused> {
        let old = table.get(&opening.conn.key()).filter(|old| old.is_alive(opening.now));
        let Some(old) = old.filter(|old| old.state().is_reusable()) else {
            return table.open(opening);
        };
        old.kill_reusable();
        table.tally.replace();
        Ok(insert(table, opening))
    }

    /// Counts the entry before it can be seen.
    pub(super) fn open_counted_early(table: &ConnTable, opening: &Opening<'_>) -> Result<Arc<Conn>, Refused> {
        table.take_place(opening)?;
        table.births.count(&opening.conn.key());
        Ok(insert(table, opening))
    }

    /// Counts the entry after its packet has gone on, which is never.
    pub(super) fn open_uncounted(table: &ConnTable, opening: &Opening<'_>) -> Result<Arc<Conn>, Refused> {
        table.take_place(opening)?;
        Ok(insert(table, opening))
    }

    fn insert(table: &ConnTable, opening: &Opening<'_>) -> Arc<Conn> {
        let conn = Arc::clone(&opening.conn);
        match table.map.entry(opening.listed()) {
            Entry::Occupied(slot) => drop(slot.replace_entry(())),
            Entry::Vacant(slot) => slot.insert(()),
        }
        conn.arm(opening.now);
        conn
    }

    /// Takes whatever stands there out of the map.
    pub(super) fn bury_by_key(table: &ConnTable, conn: &Arc<Conn>) {
        table.count_end(conn, End::Removed);
        table.map.remove_if(&conn.key() as &dyn Keyed, |_, _| true);
    }
}

#[test]
fn wrong_ways_to_open_are_found() {
    let unlocked = Some(wrong::open_unlocked as Open);
    assert!(finds("listed", || one_entry_for_one_flow(unlocked, Direction::Egress)));
    let by_looking = Some(wrong::open_by_looking as Open);
    assert!(finds("CT-70", || the_last_place_once(by_looking, ONE, 9, Refused::Allowance)));
    let unasked = Some(wrong::replace_unasked as Open);
    assert!(finds("listed", || one_successor(unasked, |table| table.advance(at(10), 9), |_, _, _| {})));
}

#[test]
fn a_birth_that_outdates_nothing_is_found() {
    for open in [wrong::open_counted_early as Open, wrong::open_uncounted] {
        assert!(finds("denied by what was kept", || what_was_kept_is_outdated(Some(open))));
    }
}

#[test]
fn a_funeral_of_the_successor_is_found() {
    assert!(finds("listed", || a_late_funeral(wrong::bury_by_key)));
}
