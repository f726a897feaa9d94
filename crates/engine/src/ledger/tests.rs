//! The ledger alone: what is merged, what leaves when, what is lost.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use palisade_conntrack::Instant;
use palisade_flow::{Delta, Ground, Hop, Loss, Window};
use palisade_packet::Direction;
use palisade_policy::EniKey;

use super::{Coverage, Handed, Ledger, Tray};
use crate::counters::Counters;
use crate::outcome::Now;

const ENI: EniKey = EniKey(1);

struct Desk {
    ledger: Ledger,
    coverage: Arc<Coverage>,
    tray: Arc<Tray>,
    counters: Counters,
}

impl Desk {
    fn new(entries: usize, tray: usize) -> Self {
        let (coverage, tray) = (Arc::new(Coverage::default()), Arc::new(Tray::new(tray)));
        coverage.set(ENI, true);
        let ledger = Ledger::new(entries, Arc::clone(&coverage), Arc::clone(&tray));
        Self { ledger, coverage, tray, counters: Counters::new() }
    }

    fn count(&mut self, port: u16, second: u32) {
        self.ledger.count(&self.counters, &delta(port, second));
    }

    fn hand_over(&mut self, second: u64) -> bool {
        self.ledger.hand_over(at(second), usize::MAX)
    }

    fn taken(&self) -> Vec<Handed> {
        std::iter::from_fn(|| self.tray.take()).collect()
    }
}

fn at(second: u64) -> Now {
    Now { monotonic: Instant::from_secs(second), unix: Duration::from_secs(second) }
}

fn delta(port: u16, second: u32) -> Delta {
    Delta {
        source: IpAddr::from([10, 0, 1, 10]),
        destination: IpAddr::from([10, 0, 2, 10]),
        source_port: port,
        destination_port: 443,
        protocol: 6,
        direction: Direction::Egress,
        eni: ENI,
        packets: 2,
        bytes: 100,
        first: second,
        last: second,
        tcp_flags: 0,
        ground: Ground::Tracked,
        rule: None,
        generation: 1,
        hop: Hop::None,
    }
}

fn handed(deltas: &[Handed]) -> Vec<(u16, u32, u64)> {
    let of = |handed: &Handed| match handed {
        Handed::Delta(delta) => Some((delta.source_port, delta.window().0, delta.packets)),
        Handed::Loss(_) => None,
    };
    deltas.iter().filter_map(of).collect()
}

/// FL-10: one record per flow and minute; FL-12: minutes are the wall clock's.
#[test]
fn fl_10_deltas_of_a_minute_are_merged_and_leave_when_it_is_over() {
    let mut desk = Desk::new(8, 8);
    desk.count(1, 50);
    desk.count(1, 59);
    desk.count(2, 59);
    desk.count(1, 60);
    assert!(!desk.hand_over(59));
    assert_eq!(desk.taken(), []);
    assert_eq!(desk.ledger.patience(at(59)), Some(Duration::from_secs(1)));
    assert!(!desk.hand_over(60));
    assert_eq!(handed(&desk.taken()), [(1, 0, 4), (2, 0, 2)]);
    desk.hand_over(120);
    assert_eq!(handed(&desk.taken()), [(1, 1, 2)]);
    assert_eq!(desk.ledger.patience(at(120)), None);
}

#[test]
fn what_has_no_room_sends_the_oldest_away() {
    let mut desk = Desk::new(2, 8);
    (1..=5).for_each(|port| desk.count(port, 1));
    assert_eq!(handed(&desk.taken()), [(1, 0, 2), (2, 0, 2), (3, 0, 2)]);
    desk.count(4, 2);
    desk.hand_over(60);
    assert_eq!(handed(&desk.taken()), [(4, 0, 4), (5, 0, 2)], "the ring has turned, and is found through");
}

/// FL-7: what is lost is known to the packet.
#[test]
fn fl_7_without_room_anywhere_the_loss_is_exact() {
    let mut desk = Desk::new(2, 1);
    (1..=6).for_each(|port| desk.count(port, 1));
    desk.count(7, 61);
    assert!(desk.hand_over(61), "the tray is full");
    let mut taken = desk.taken();
    assert_eq!(handed(&taken), [(1, 0, 2)]);
    while desk.hand_over(61) {
        taken.extend(desk.taken());
    }
    taken.extend(desk.taken());
    let losses = taken.iter().filter_map(|handed| match handed {
        Handed::Loss(loss) => Some(*loss),
        Handed::Delta(_) => None,
    });
    let loss = |window, deltas| Loss {
        eni: ENI,
        window: Window(window),
        deltas,
        packets: deltas * 2,
        bytes: deltas * 100,
    };
    assert_eq!(losses.collect::<Vec<_>>(), [loss(0, 3), loss(1, 1)]);
    assert_eq!(handed(&taken), [(1, 0, 2), (2, 0, 2), (3, 0, 2)]);
    assert_eq!(desk.counters.values().sides.logged, 14);
}

#[test]
fn a_worker_that_ends_leaves_everything() {
    let mut desk = Desk::new(2, 1);
    (1..=4).for_each(|port| desk.count(port, 1));
    desk.ledger.surrender();
    assert_eq!(handed(&desk.taken()), [(1, 0, 2)]);
    let remains = desk.tray.take_remains();
    assert_eq!((handed(&remains), remains.len()), (vec![(2, 0, 2), (3, 0, 2)], 3));
}

#[test]
fn an_eni_without_flow_log_is_only_counted() {
    let mut desk = Desk::new(2, 1);
    desk.ledger.count(&desk.counters, &Delta { eni: EniKey(2), ..delta(1, 1) });
    assert!(!desk.hand_over(60));
    assert_eq!((desk.taken(), desk.counters.values().sides.judged), (vec![], 2));
    assert_eq!(desk.counters.values().sides.logged, 0);
}

/// Who watches gets each flow once a second; the sums are those of one who waits for the minute.
#[test]
fn while_somebody_watches_deltas_leave_when_their_second_is_over() {
    let mut desk = Desk::new(8, 8);
    desk.count(1, 10);
    desk.coverage.watch_everything(true);
    desk.count(1, 10);
    assert!(!desk.hand_over(10));
    assert_eq!(desk.taken(), [], "not packet by packet");
    assert_eq!(desk.ledger.patience(at(10)), Some(Duration::from_secs(1)));
    desk.hand_over(11);
    desk.count(1, 11);
    desk.count(2, 12);
    desk.hand_over(12);
    assert_eq!(handed(&desk.taken()), [(1, 0, 4), (1, 0, 2)]);
    desk.coverage.watch_everything(false);
    assert!(!desk.hand_over(13));
    assert_eq!((desk.taken(), desk.ledger.patience(at(13))), (vec![], Some(Duration::from_secs(47))));
    desk.hand_over(60);
    assert_eq!(handed(&desk.taken()), [(2, 0, 2)]);
    assert_eq!(desk.counters.values().sides.logged, 8);
}

/// A full tray keeps early deltas waiting and loses none.
#[test]
fn what_a_watcher_cannot_take_in_time_waits() {
    let mut desk = Desk::new(8, 1);
    desk.coverage.watch_everything(true);
    (1..=3).for_each(|port| desk.count(port, 1));
    let mut taken = Vec::new();
    while desk.hand_over(2) {
        taken.extend(desk.taken());
    }
    taken.extend(desk.taken());
    assert_eq!(handed(&taken), [(1, 0, 2), (2, 0, 2), (3, 0, 2)]);
    assert_eq!(taken.len(), 3, "no loss is told");
}

#[test]
fn an_eni_without_flow_log_is_counted_while_somebody_watches() {
    let mut desk = Desk::new(2, 1);
    desk.coverage.watch_everything(true);
    desk.ledger.count(&desk.counters, &Delta { eni: EniKey(2), ..delta(1, 1) });
    desk.hand_over(2);
    assert_eq!((handed(&desk.taken()), desk.counters.values().sides.logged), (vec![(1, 0, 2)], 2));
}

/// FL-10, FL-12: whether somebody watches or not, the same packets are told of in the same minutes, with the same first ones.
#[test]
fn fl_10_watching_changes_no_record() {
    for seed in 0..50 {
        let (mut alone, mut watched) = (Desk::new(64, 256), Desk::new(64, 256));
        let mut told = [Vec::new(), Vec::new()];
        let mut random = fastrand::Rng::with_seed(seed);
        for second in 30..150 {
            if random.u8(0..10) == 0 {
                watched.coverage.watch_everything(random.bool());
            }
            for _ in 0..random.u8(0..8) {
                let delta = Delta {
                    packets: random.u64(1..9),
                    first: second - random.u32(0..=second % 60).min(1),
                    generation: second.into(),
                    ..delta(random.u16(0..12), second)
                };
                alone.ledger.count(&alone.counters, &delta);
                watched.ledger.count(&watched.counters, &delta);
            }
            for (desk, told) in [&mut alone, &mut watched].into_iter().zip(&mut told) {
                desk.hand_over(second.into());
                told.extend(desk.taken());
            }
        }
        for (desk, told) in [&mut alone, &mut watched].into_iter().zip(&mut told) {
            desk.hand_over(200);
            told.extend(desk.taken());
        }
        assert!(told[1].len() >= told[0].len(), "seed {seed}");
        let [alone, watched] = told.map(|told| merged(&told));
        assert_eq!(alone, watched, "seed {seed}");
    }
}

/// As records are made of what is handed over, in the order of minutes and ports.
fn merged(told: &[Handed]) -> Vec<Delta> {
    let mut records = std::collections::BTreeMap::new();
    for handed in told {
        let Handed::Delta(delta) = handed else { panic!("nothing is lost") };
        let place = records.entry((delta.window(), delta.source_port));
        place.and_modify(|record: &mut Delta| record.merge(delta)).or_insert(*delta);
    }
    records.into_values().collect()
}
