//! Many workers on one table. What is asserted must hold in every interleaving.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use palisade_conntrack::{Consult, Instant, Zone};

use crate::world::*;

const THREADS: u16 = 4;

/// Consults and commits with the clock of the caller.
fn pass_at(w: &World, direction: Direction, packet: P, now: Instant) -> Fate {
    let packet = packet.going(direction);
    let (plan, fate) = match w.table.consult(w.owner.zone, direction, &packet, now) {
        Consult::Tracked(plan) => (plan, Fate::Tracked),
        Consult::New(plan) => (plan, Fate::Opened),
        Consult::Related(_) => return Fate::Related,
        Consult::Stateless => return Fate::Stateless,
    };
    w.table.commit(plan, &w.owner, &packet, now).map_or_else(Fate::Refused, |()| fate)
}

/// Tells the sweeper to stop, also if a worker fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Law 3, and no entry is left behind in the map or in an allowance.
fn assert_sound(w: &World, now: Instant) {
    w.assert_conserved();
    w.table.advance(now, usize::MAX);
    let alive = usize::try_from(w.table.totals().alive).unwrap();
    assert_eq!(w.table.list(now).len(), alive);
    assert_eq!(usize::try_from(w.table.tracked(9, now)).unwrap(), alive);
    w.assert_conserved();
}

#[test]
fn one_of_two_openings_wins_and_the_other_refreshes() {
    const FLOWS: u16 = 500;
    let w = World::with_capacity(10_000);
    let start = Barrier::new(THREADS.into());
    thread::scope(|scope| {
        for index in 0..THREADS {
            let (w, start) = (&w, &start);
            let direction = if index % 2 == 0 { Egress } else { Ingress };
            scope.spawn(move || {
                for port in 0..FLOWS {
                    start.wait();
                    let fate = w.pass(direction, tcp("S").seq(u32::from(index)).ports(port, 80));
                    assert!(matches!(fate, Fate::Opened | Fate::Tracked));
                }
            });
        }
    });
    assert_eq!(w.table.totals().created, u64::from(FLOWS), "one entry for each flow");
    for entry in w.table.list(w.now) {
        assert_eq!(entry.state, "syn-sent2", "SYNs of both sides met");
        assert_eq!(
            entry.forward.packets + entry.reply.packets,
            u64::from(THREADS),
            "nobody's packet was lost"
        );
    }
    assert_sound(&w, w.now);
}

#[test]
fn no_step_is_lost_when_both_sides_step_at_once() {
    const FLOWS: u16 = 4_000;
    let w = World::with_capacity(10_000);
    let w = World { owner: palisade_conntrack::Owner { max_tracked: 10_000, ..w.owner }, ..w };
    let turn = AtomicU64::new(0);
    for port in 0..FLOWS {
        for (direction, letters) in [(Egress, "S"), (Ingress, "SA"), (Egress, "A")] {
            w.pass(direction, tcp(letters).ports(port, 80));
        }
    }
    thread::scope(|scope| {
        for direction in [Egress, Ingress] {
            let (w, turn) = (&w, &turn);
            scope.spawn(move || {
                for port in 0..FLOWS {
                    turn.fetch_add(1, Ordering::SeqCst);
                    // Both arrive, then both go: as close together as two threads come.
                    while turn.load(Ordering::SeqCst) < 2 * (u64::from(port) + 1) {
                        std::hint::spin_loop();
                        thread::yield_now();
                    }
                    w.pass(direction, tcp("FA").ports(port, 80));
                }
            });
        }
    });
    for entry in w.table.list(w.now) {
        assert_eq!(
            entry.state, "last-ack",
            "CT-43: whichever FIN came first, the other came second: {entry:?}"
        );
    }
    assert_sound(&w, w.now);
}

#[test]
fn a_refreshed_entry_does_not_expire_and_an_expired_one_is_not_refreshed() {
    const ROUNDS: u64 = 3_000;
    let w = World::with_capacity(10_000);
    // Workers move the clock from 0.5 s before the end of an idle time to 0.5 s after it, while a sweeper expires.
    let clock = AtomicU64::new(w.now.as_nanos());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (w, clock, done) = (&w, &clock, &done);
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                w.table.advance(Instant::from_nanos(clock.load(Ordering::SeqCst)), 16);
            }
        });
        let stop = Stop(done);
        let workers: Vec<_> = (0..THREADS)
            .map(|index| {
                scope.spawn(move || {
                    for _ in 0..ROUNDS {
                        clock.fetch_add(7_400_000_000, Ordering::SeqCst);
                        let now = Instant::from_nanos(clock.load(Ordering::SeqCst));
                        let packet = udp().ports(index % 2, 53);
                        pass_at(w, Egress, packet, now);
                        // The sweeper's clock may run ahead by what the others add meanwhile; ask at our own time.
                        let handle = w.table.handle(ZONE, Egress, &packet.going(Egress), now);
                        if let Some(handle) = handle
                            && handle.touch(Egress, &packet.going(Egress), &w.owner.time_outs, now).is_some()
                        {
                            // The clock after the look: it bounds the one that a killer can have had.
                            let alive = handle.is_alive(now);
                            let ahead = clock.load(Ordering::SeqCst) - now.as_nanos();
                            assert!(alive || ahead >= 30_000_000_000, "killed {ahead} ns after its refresh");
                        }
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
        drop(stop);
    });
    let totals = w.table.totals();
    assert!(totals.created > 2, "some expired: {totals:?}");
    assert_sound(&w, Instant::from_nanos(clock.load(Ordering::SeqCst)));
}

#[test]
fn entries_kept_busy_outlive_a_sweeper_that_runs_all_the_time() {
    const ROUNDS: u64 = 300;
    let w = World::with_capacity(10_000);
    let start = Barrier::new(usize::from(THREADS) + 1);
    thread::scope(|scope| {
        let (w, start) = (&w, &start);
        for index in 0..THREADS {
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    start.wait();
                    let now = w.now + secs(29) * u32::try_from(round).unwrap();
                    for port in 0..16 {
                        pass_at(w, Egress, udp().ports(port, index), now);
                    }
                }
            });
        }
        scope.spawn(move || {
            for round in 0..ROUNDS {
                start.wait();
                let now = w.now + secs(29) * u32::try_from(round).unwrap();
                for _ in 0..20 {
                    assert_eq!(w.table.advance(now, 100), 0, "nothing is ever idle for 30 s");
                }
            }
        });
    });
    assert_eq!(w.table.totals().created, 16 * u64::from(THREADS));
    assert_sound(&w, w.now + secs(29) * u32::try_from(ROUNDS - 1).unwrap());
}

#[test]
fn ct_70_the_allowance_is_never_exceeded() {
    let mut w = World::with_capacity(10_000);
    w.owner.max_tracked = 50;
    thread::scope(|scope| {
        for index in 0..THREADS {
            let w = &w;
            scope.spawn(move || {
                for port in 0..200 {
                    w.pass(Egress, udp().ports(port, index));
                    assert!(w.table.tracked(9, w.now) <= 50);
                }
            });
        }
    });
    assert_eq!(w.table.tracked(9, w.now), 50, "and used up");
    assert_sound(&w, w.now);
}

#[test]
fn ct_45_places_are_handed_on_while_others_reset() {
    let mut w = World::with_capacity(100);
    w.owner.max_tracked = 1;
    w.tx(tcp("S").seq(1));
    thread::scope(|scope| {
        for index in 0..THREADS {
            let w = &w;
            let direction = if index % 2 == 0 { Egress } else { Ingress };
            scope.spawn(move || {
                for _ in 0..2_000 {
                    assert!(!matches!(w.pass(direction, tcp("S").seq(1)), Fate::Refused(_)));
                    w.pass(direction, tcp("R").seq(1));
                    w.pass(direction, tcp("RA").seq(1).ack(2));
                }
            });
        }
    });
    let totals = w.table.totals();
    assert!(totals.closed > 100 && totals.alive == 1, "{totals:?}");
    assert_sound(&w, w.now);
}

#[test]
fn removal_among_openings_leaves_nothing_uncounted() {
    let w = World::with_capacity(10_000);
    thread::scope(|scope| {
        let w = &w;
        for index in 0..THREADS {
            scope.spawn(move || {
                for port in 0..500 {
                    w.pass(Egress, udp().ports(port, index));
                }
            });
        }
        scope.spawn(move || {
            for _ in 0..50 {
                w.table.remove_zone(ZONE);
                w.table.remove_zone(Zone(77));
                w.table.remove_local(ZONE, ip("10.0.1.10"));
            }
        });
    });
    assert_sound(&w, w.now);
    w.table.remove_zone(ZONE);
    assert_eq!(w.table.totals().alive, 0);
    assert_eq!(w.table.list(w.now).len(), 0);
    w.assert_conserved();
}

#[test]
fn a_full_table_is_shared_without_deadlock() {
    let w = World::with_capacity(64);
    let clock = AtomicU64::new(w.now.as_nanos());
    thread::scope(|scope| {
        for index in 0..THREADS {
            let (w, clock) = (&w, &clock);
            scope.spawn(move || {
                for port in 0..2_000 {
                    let now = clock.fetch_add(100_000_000, Ordering::SeqCst);
                    pass_at(w, Egress, udp().ports(port, index), Instant::from_nanos(now));
                    if port % 100 == 0 {
                        assert!(w.table.totals().alive <= 64);
                    }
                }
            });
        }
    });
    let totals = w.table.totals();
    assert!(totals.expired > 0, "{totals:?}");
    assert_sound(&w, Instant::from_nanos(clock.load(Ordering::SeqCst)));
}
