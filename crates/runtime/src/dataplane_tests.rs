//! Threads, publication and ports, with ports in memory and a judge that obeys.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{io, thread};

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use palisade_engine::DropReason;
use palisade_io::{Burst, Receive, TransmitError};
use palisade_policy::model::Latency;

use super::{Dataplane, Options};
use crate::error::RuntimeError;
use crate::status::Totals;
use crate::testing::{Ask, Guest, Obedient, eventually, frame, key, policy, port};

struct Scene {
    judge: Arc<Obedient>,
    dataplane: Dataplane,
    guests: Vec<Guest>,
}

/// A data plane with so many ports, keyed from 0.
fn scene(ports: u8, options: Options) -> Scene {
    let judge = Arc::new(Obedient::default());
    let (ports, guests): (Vec<_>, Vec<_>) = (0..ports).map(|number| port(&format!("p{number}"))).unzip();
    let ports = (0..).map(key).zip(ports).collect();
    let dataplane = Dataplane::start(judge.clone(), policy(None), ports, options).unwrap();
    Scene { judge, dataplane, guests }
}

fn impatient() -> Options {
    Options { patience: Duration::from_millis(50), ..Options::default() }
}

#[track_caller]
fn assert_lawful(totals: &Totals) {
    assert!(totals.lawful(), "{:#?}", totals.laws);
}

#[test]
fn frames_for_one_port_keep_their_order() {
    let Scene { dataplane, guests, .. } = scene(3, Options::default());
    let asks = |n| [Ask::DeliverTo(1), Ask::DeliverTo(2), Ask::Answer, Ask::Drop][n as usize % 4];
    guests[0].send((0..4000).map(|n| frame(asks(n), n)));
    let every_fourth_from = |first| (first..4000).step_by(4).collect::<Vec<u32>>();
    assert_eq!(guests[1].expect(1000), every_fourth_from(0));
    assert_eq!(guests[2].expect(1000), every_fourth_from(1));
    assert_eq!(guests[0].expect(1000), every_fourth_from(2), "replies");
    let totals = dataplane.stop();
    assert_eq!(totals.counters.received, 4000);
    assert_eq!(totals.counters.generated, 1000);
    assert_eq!(totals.counters.delivered, 3000);
    assert_eq!(totals.counters.dropped_for(DropReason::GroupEgress), 1000);
    assert_lawful(&totals);
}

#[test]
fn a_port_waits_for_one_burst_of_each_other_port_at_most() {
    let Scene { judge, dataplane, guests } = scene(2, Options::default());
    guests[0].send([frame(Ask::Wait, 0)]);
    judge.await_arrival();
    guests[0].send((1..=5000).map(|n| frame(Ask::Drop, n)));
    guests[1].send([frame(Ask::Drop, 9999)]);
    judge.open_gate();
    eventually("all are judged", || judge.seen.lock().unwrap().len() == 5002);
    dataplane.stop();
    let before = judge.seen.lock().unwrap().iter().position(|(_, sequence)| *sequence == 9999).unwrap();
    assert!(before <= 1 + 2 * Burst::MAX_FRAMES, "{before} frames were judged first");
}

#[test]
fn after_settling_what_was_received_has_been_handed_on() {
    let Scene { judge, dataplane, guests } = scene(2, impatient());
    guests[0].send([frame(Ask::Wait, 0), frame(Ask::DeliverTo(1), 1)]);
    judge.await_arrival();
    assert!(matches!(dataplane.settle(), Err(RuntimeError::NotAcknowledged { .. })), "the burst goes on");
    judge.open_gate();
    dataplane.settle().unwrap();
    assert_eq!(guests[1].received(), [1]);
    let counters = dataplane.status().counters;
    assert_eq!((counters.received, counters.delivered, counters.consumed.total()), (2, 1, 1));
}

#[test]
fn a_published_policy_is_live_at_every_worker() {
    let Scene { judge, dataplane, guests } = scene(3, Options { workers: 3, ..Options::default() });
    let old = dataplane.snapshot();
    let weak = Arc::downgrade(&old);
    let next = policy(Some(&old));
    drop(old);
    assert_eq!(dataplane.publish(next).unwrap(), 2);
    assert!(weak.upgrade().is_none(), "nobody holds the old policy");
    for guest in &guests {
        guest.send([frame(Ask::Drop, 0)]);
    }
    eventually("all are judged", || judge.seen.lock().unwrap().len() == 3);
    assert!(judge.seen.lock().unwrap().iter().all(|(generation, _)| *generation == 2));
    assert_eq!(*judge.retired.lock().unwrap(), [(1, 2)]);
    let status = dataplane.status();
    assert_eq!((status.generation, status.published_generation), (2, 2));
    assert!(status.workers.iter().all(|worker| worker.ports == 1), "ports are spread: {:?}", status.workers);
}

#[test]
fn a_worker_that_does_not_acknowledge_is_reported_and_nothing_retired_early() {
    let Scene { judge, dataplane, guests } = scene(1, impatient());
    guests[0].send([frame(Ask::Wait, 0)]);
    judge.await_arrival();
    let error = dataplane.publish(policy(Some(&dataplane.snapshot()))).unwrap_err();
    assert!(matches!(error, RuntimeError::NotAcknowledged { live: 1, .. }), "{error}");
    assert!(judge.retired.lock().unwrap().is_empty());
    assert_eq!(dataplane.status().published_generation, 2, "in force nevertheless");
    judge.open_gate();
    eventually("the worker goes on", || dataplane.status().generation == 2);
    assert_eq!(dataplane.publish(policy(Some(&dataplane.snapshot()))).unwrap(), 3);
    assert_eq!(*judge.retired.lock().unwrap(), [(1, 3), (2, 3)]);
}

#[test]
fn ports_come_and_go_without_disturbing_the_others() {
    let Scene { dataplane, guests, .. } = scene(2, Options { workers: 2, ..Options::default() });
    let done = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let traffic = scope.spawn(|| {
            let mut sent = 0;
            while !done.load(Ordering::Relaxed) {
                guests[0].send((sent..sent + 50).map(|n| frame(Ask::DeliverTo(1), n)));
                sent += 50;
                guests[1].expect(sent as usize);
            }
            sent
        });
        for round in 0..30 {
            let (newcomer, guest) = port("newcomer");
            dataplane.add_port(key(7), newcomer, None).unwrap();
            guest.send([frame(Ask::Answer, round)]);
            assert_eq!(guest.expect(1), [round]);
            dataplane.remove_port(key(7)).unwrap();
            assert!(guest.is_closed(), "both halves are dropped when the call returns");
        }
        done.store(true, Ordering::Relaxed);
        traffic.join().unwrap()
    });
    assert_eq!(guests[1].received(), (0..sent).collect::<Vec<_>>());
    let totals = dataplane.stop();
    assert_eq!(totals.ports.received.packets, u64::from(sent) + 30, "removed ports count");
    assert_lawful(&totals);
}

#[test]
fn a_key_has_one_port() {
    let Scene { dataplane, guests, .. } = scene(1, Options::default());
    let (second, guest) = port("second");
    let error = dataplane.add_port(key(0), second, None).unwrap_err();
    assert!(matches!(&error, RuntimeError::PortExists { port } if port == "p0"), "{error}");
    assert!(guest.is_closed());
    assert!(matches!(dataplane.remove_port(key(9)), Err(RuntimeError::NoSuchPort)));
    assert!(!guests[0].is_closed());
}

/// A descriptor that epoll refuses.
struct Regular(File);

impl Receive for Regular {
    fn receive(&mut self, _: &mut Burst) -> io::Result<usize> {
        Ok(0)
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[test]
fn a_port_that_cannot_be_waited_for_is_refused() {
    let Scene { dataplane, .. } = scene(1, Options::default());
    let (mut odd, guest) = port("odd");
    odd.receive = Box::new(Regular(File::open("/proc/self/status").unwrap()));
    let error = dataplane.add_port(key(1), odd, None).unwrap_err();
    assert!(matches!(error, RuntimeError::Wait { .. }), "{error}");
    assert_eq!(dataplane.status().ports.len(), 1, "it is not in the table");
    assert!(guest.is_closed());
}

#[test]
fn what_a_port_does_not_take_is_counted_by_reason() {
    let Scene { dataplane, guests, .. } = scene(2, Options::default());
    let faults = [TransmitError::Full, TransmitError::Down, TransmitError::Refused];
    for (at, fault) in (1u64..).zip(faults) {
        guests[1].refuse(Some(fault));
        guests[0].send((0..10 * at).map(|n| frame(Ask::DeliverTo(1), u32::try_from(n).unwrap())));
        let dropped = || dataplane.status().counters.dropped.total();
        eventually("frames are dropped", || dropped() == 10 * (1..=at).sum::<u64>());
    }
    guests[1].refuse(None);
    guests[0].send([frame(Ask::DeliverTo(9), 0), frame(Ask::DeliverTo(1), 1)]);
    assert_eq!(guests[1].expect(1), [1]);
    let port = &dataplane.status().ports[1];
    assert_eq!(
        (port.values.dropped.full, port.values.dropped.down, port.values.dropped.refused),
        (10, 20, 30)
    );
    let totals = dataplane.stop();
    let reasons =
        [DropReason::PortFull, DropReason::PortDown, DropReason::PortRefused, DropReason::PortMissing];
    assert_eq!(reasons.map(|reason| totals.counters.dropped_for(reason)), [10, 20, 30, 1]);
    assert_eq!(totals.counters.delivered, 1);
    assert_lawful(&totals);
}

#[test]
fn stopping_hands_on_what_was_received() {
    let Scene { judge, dataplane, guests } = scene(2, Options::default());
    let rest = (1..20).map(|n| frame(Ask::DeliverTo(1), n));
    guests[0].send(std::iter::once(frame(Ask::Wait, 0)).chain(rest));
    judge.await_arrival();
    let totals = thread::scope(|scope| {
        let stopping = scope.spawn(|| dataplane.stop());
        thread::sleep(Duration::from_millis(20));
        guests[0].send([frame(Ask::DeliverTo(1), 99)]);
        judge.open_gate();
        stopping.join().unwrap()
    });
    assert_eq!(guests[1].received(), (1..20).collect::<Vec<_>>(), "the burst, and nothing that came later");
    assert!(guests.iter().all(Guest::is_closed));
    assert_lawful(&totals);
    assert_eq!(dataplane.stop().counters, totals.counters);
    assert!(dataplane.add_port(key(3), port("late").0, None).is_err());
}

#[test]
fn a_failed_port_rests_while_the_others_go_on_and_comes_back() {
    let Scene { dataplane, guests, .. } = scene(2, Options::default());
    guests[0].break_down(true);
    eventually("the failure is noticed", || !dataplane.status().ports[0].up);
    guests[1].send([frame(Ask::Answer, 5)]);
    assert_eq!(guests[1].expect(1), [5]);
    guests[0].break_down(false);
    guests[0].send([frame(Ask::DeliverTo(1), 6)]);
    assert_eq!(guests[1].expect(2), [5, 6]);
    assert!(dataplane.status().ports[0].up);
}

#[test]
fn a_worker_that_dies_holds_nobody_up() {
    let Scene { dataplane, guests, .. } = scene(2, Options { workers: 2, ..Options::default() });
    guests[0].send([frame(Ask::Panic, 0)]);
    eventually("its end is noticed", || !dataplane.status().workers[0].running);
    assert_eq!(dataplane.publish(policy(Some(&dataplane.snapshot()))).unwrap(), 2);
    guests[1].send([frame(Ask::Answer, 1)]);
    assert_eq!(guests[1].expect(1), [1]);
    assert!(matches!(dataplane.remove_port(key(0)), Err(RuntimeError::Stopped { .. })));
    assert!(guests[0].is_closed(), "its ports are closed nevertheless");
    dataplane.stop();
}

#[test]
fn connections_are_reclaimed_under_load_and_while_idle() {
    let Scene { judge, dataplane, guests } = scene(1, Options::default());
    let advanced = || *judge.advanced.lock().unwrap();
    let before = advanced();
    eventually("idle", || advanced() > before + 1);
    let before = advanced();
    eventually("under load", || {
        guests[0].send((0..1000).map(|n| frame(Ask::Drop, n)));
        advanced() > before + 10
    });
    assert_lawful(&dataplane.stop());
}

#[test]
fn workers_forward_and_stop_whatever_they_do_meanwhile() {
    for latency in Latency::ALL {
        let options = Options { latency, workers: 2, ..Options::default() };
        let Scene { dataplane, guests, .. } = scene(2, options);
        for n in 0..100 {
            guests[0].send([frame(Ask::DeliverTo(1), n)]);
            guests[1].expect(n as usize + 1);
        }
        assert_lawful(&dataplane.stop());
    }
}

#[test]
fn ports_are_where_they_were_put_and_can_be_moved() {
    let Scene { dataplane, guests, .. } = scene(1, Options { workers: 3, ..Options::default() });
    let worker_of = |at: usize| dataplane.status().ports[at].worker.clone();
    let (named, nowhere) = (port("named"), port("nowhere"));
    dataplane.add_port(key(1), named.0, Some(2)).unwrap();
    dataplane.add_port(key(2), nowhere.0, Some(99)).unwrap();
    assert_eq!([0, 1, 2].map(worker_of), ["palisade-w0", "palisade-w2", "palisade-w1"]);
    for (round, worker) in [1, 0, 0, 99].into_iter().enumerate() {
        dataplane.move_port(key(1), worker).unwrap();
        named.1.send([frame(Ask::DeliverTo(0), 7)]);
        assert_eq!(guests[0].expect(round + 1).len(), round + 1);
        assert_eq!(worker_of(1), ["palisade-w1", "palisade-w0", "palisade-w0", "palisade-w0"][round]);
    }
    assert!(matches!(dataplane.move_port(key(9), 0), Err(RuntimeError::NoSuchPort)));
    assert_lawful(&dataplane.stop());
}

#[test]
fn ports_are_spread_when_one_worker_has_no_time_left_and_gathered_again() {
    let options = Options { workers: 2, by_load: true, latency: Latency::Efficient, ..Options::default() };
    let Scene { dataplane, guests, .. } = scene(3, options);
    let named = port("named");
    dataplane.add_port(key(9), named.0, Some(1)).unwrap();
    let workers = || dataplane.status().ports.iter().map(|port| port.worker.clone()).collect::<Vec<_>>();
    assert_eq!(workers(), ["palisade-w0", "palisade-w0", "palisade-w0", "palisade-w1"]);
    let look = || {
        thread::sleep(Duration::from_millis(20));
        dataplane.balance().unwrap();
    };
    // Other tests may want the CPU, too; but not for ever.
    eventually("one worker has no time left", || {
        guests[1].send((0..15).map(|n| frame(Ask::Toil, n)));
        look();
        workers() == ["palisade-w0", "palisade-w1", "palisade-w0", "palisade-w1"]
    });
    for round in 0..3 {
        for (at, guest) in (0..).zip(&guests) {
            guest.send([frame(Ask::DeliverTo(at), round)]);
            guest.expect(round as usize + 1);
        }
    }
    eventually("all is quiet", || {
        look();
        workers()[1] == "palisade-w0"
    });
    assert_eq!(workers()[3], "palisade-w1", "it has been named");
    assert_lawful(&dataplane.stop());
}

#[test]
fn workers_run_on_their_cpus_or_not_at_all() {
    let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
    let cpu = (0..CpuSet::count()).find(|cpu| allowed.is_set(*cpu).unwrap()).unwrap();
    let bound = || Options { workers: 2, worker_cpus: vec![cpu, cpu], ..Options::default() };
    let Scene { dataplane, guests, .. } = scene(2, bound());
    guests[0].send([frame(Ask::DeliverTo(1), 0)]);
    guests[1].expect(1);
    assert_lawful(&dataplane.stop());
    let options = Options { worker_cpus: vec![CpuSet::count() - 1], ..Options::default() };
    let error =
        Dataplane::start(Arc::new(Obedient::default()), policy(None), Vec::new(), options).unwrap_err();
    assert!(matches!(error, RuntimeError::Bind { .. }), "{error}");
}

#[test]
fn a_status_can_be_serialised() {
    let Scene { dataplane, guests, .. } = scene(2, Options::default());
    guests[0].send([frame(Ask::DeliverTo(1), 0)]);
    guests[1].expect(1);
    let totals = dataplane.stop();
    let totals = serde_json::to_value(&totals).unwrap();
    assert_eq!(totals["ports"]["sent"]["packets"], 1);
    assert_eq!(totals["laws"][0]["holds"], true);
    let status = serde_json::to_value(dataplane.status()).unwrap();
    assert_eq!(status["workers"][0]["name"], "palisade-w0");
    assert_eq!(status["workers"][0]["running"], false);
}
