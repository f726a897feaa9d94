//! What a desk covers, accounts for, and takes up after a daemon that ended in whatever way.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::daemon::flow_logs::testing::{Worker, at, eventually, files, key, vpc};

/// 2026-11-26 14:20:00.
const BEGIN: u32 = 1_795_702_800;
const PACKET: &str = "udp 10.0.1.10:4000 > 10.0.1.20:53";

struct Bench {
    root: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { root: TempDir::new().unwrap() }
    }

    fn spool(&self) -> PathBuf {
        self.root.path().join("spool")
    }

    fn published(&self) -> PathBuf {
        self.root.path().join("published")
    }

    /// A flow log to files.
    fn log(&self, name: &str, watches: &str) -> String {
        let path = self.published().join(name);
        let every = "max_aggregation_interval = 60";
        format!(
            "[flow_log.{name}]\n{every}\n{watches}\ndestination = {{ directory = \"{}\" }}\n",
            path.display()
        )
    }

    fn vpc(&self, logs: &str) -> Vpc {
        vpc(&format!("{logs}[daemon]\nflow_log_spool = \"{}\"\n", self.spool().display()))
    }

    fn snapshot(&self, logs: &str, before: Option<&Snapshot>) -> Arc<Snapshot> {
        Arc::new(Snapshot::compile(self.vpc(logs), before))
    }

    /// A desk at the start of a daemon, its policy, and the coverage that workers see.
    fn open(&self, logs: &str) -> (Desk, Arc<Snapshot>, Arc<Coverage>) {
        let snapshot = self.snapshot(logs, None);
        let coverage = Arc::new(Coverage::default());
        let mut desk = Desk::new(&snapshot, Arc::clone(&coverage));
        desk.take_up(&snapshot, BEGIN).unwrap();
        desk.take_up_orphans().unwrap();
        (desk, snapshot, coverage)
    }
}

/// Lines of every object, without headers.
fn lines(folder: &Path) -> Vec<String> {
    let records = files(folder).into_iter().flat_map(|file| {
        let text = unpacked(&file);
        text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    });
    records.collect()
}

fn unpacked(file: &str) -> String {
    let out = std::process::Command::new("gzip").args(["-dc", file]).output().unwrap();
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn without_flow_logs_nothing_is_counted_and_nothing_is_written() {
    let bench = Bench::new();
    let (mut desk, snapshot, coverage) = bench.open("");
    assert_eq!(desk.round(at(BEGIN)), Round::Idle);
    assert!(!coverage.covers(key(&snapshot, "a")) && !bench.spool().exists());
}

/// FL-5: a flow log that goes has the rest of its minute, and so its ENIs are counted for until then.
#[test]
fn fl_5_coverage_begins_at_once_and_ends_with_the_minute() {
    let bench = Bench::new();
    let (mut desk, first, coverage) = bench.open(&bench.log("one", "eni = \"a\""));
    let (a, b) = (key(&first, "a"), key(&first, "b"));
    let covered = || [a, b].map(|key| coverage.covers(key));
    assert_eq!(covered(), [true, false]);
    let second = bench.snapshot(&bench.log("one", "eni = \"b\""), Some(&first));
    desk.take_up(&second, BEGIN + 20).unwrap();
    assert_eq!((desk.round(at(BEGIN + 59)), covered()), (Round::Calm, [true, true]));
    assert_eq!((desk.round(at(BEGIN + 60)), covered()), (Round::Calm, [false, true]));
    let none = bench.snapshot("", Some(&second));
    desk.take_up(&none, BEGIN + 70).unwrap();
    assert_eq!((desk.round(at(BEGIN + 119)), covered()), (Round::Calm, [false, true]));
    assert_eq!((desk.round(at(BEGIN + 120)), covered()), (Round::Calm, [false, false]));
    assert_eq!(desk.round(at(BEGIN + 181)), Round::Calm, "workers hand over the minute in which it ended");
    assert_eq!(desk.round(at(BEGIN + 182)), Round::Idle);
}

/// Law 2, of every packet, also of those that had no room on the way.
#[test]
fn the_books_balance_or_say_where_they_do_not() {
    for (room, counted, holds) in [(100, 40, true), (1, 40, true), (100, 41, false)] {
        let bench = Bench::new();
        let (mut desk, snapshot, coverage) = bench.open(&bench.log("all", ""));
        let mut worker = Worker::new(&coverage, room);
        desk.attach(vec![Arc::clone(&worker.tray)]);
        for port in 0..20 {
            worker.forward(&snapshot, &format!("udp 10.0.1.10:{port} > 10.0.1.20:53"), BEGIN + 1);
        }
        worker.end(BEGIN + 1);
        let laws = desk.finish(counted);
        assert_eq!(laws.len(), 3, "{laws:?}");
        assert_eq!(laws[0].holds, holds, "{laws:?}");
        assert!(laws[1].holds && laws[2].holds, "{laws:?}");
        let report = &desk.report(snapshot.vpc())[0];
        let (lost, told) = (desk.collector.as_ref().unwrap().taken().lost, lines(&bench.published()));
        assert_eq!((laws[1].right, report.packets + lost), (40, 40), "{report:?}");
        assert_eq!(told.iter().filter(|line| line.ends_with(" OK")).count() as u64, report.records);
        assert_eq!(lost > 0, room == 1);
        assert_eq!(told.iter().any(|line| line.ends_with(" SKIPDATA")), room == 1, "{told:?}");
    }
}

/// A flow log that came later has not seen everything, so nothing is asked of it; one that went is asked nothing any more.
#[test]
fn only_lifelong_flow_logs_must_have_everything() {
    let bench = Bench::new();
    let of = |names: [&str; 2]| names.map(|name| bench.log(name, "")).concat();
    let (mut desk, first, coverage) = bench.open(&of(["one", "two"]));
    let mut worker = Worker::new(&coverage, 100);
    desk.attach(vec![Arc::clone(&worker.tray)]);
    worker.forward(&first, PACKET, BEGIN + 1);
    let second = bench.snapshot(&of(["two", "three"]), Some(&first));
    desk.take_up(&second, BEGIN + 2).unwrap();
    worker.forward(&second, PACKET, BEGIN + 70);
    worker.end(BEGIN + 70);
    let laws = desk.finish(4);
    assert_eq!(laws.iter().map(|law| law.right).collect::<Vec<_>>(), [4, 4, 4], "{laws:?}");
    assert!(laws.iter().all(|law| law.holds));
}

/// A daemon ends without a word while a slot is open; the next one has its records delivered before its own.
#[test]
fn what_an_earlier_daemon_left_comes_first() {
    let bench = Bench::new();
    let log = bench.log("all", "");
    for (start, port) in [(BEGIN, 1), (BEGIN + 120, 2)] {
        let (mut desk, snapshot, coverage) = bench.open(&log);
        let mut worker = Worker::new(&coverage, 100);
        desk.attach(vec![Arc::clone(&worker.tray)]);
        worker.forward(&snapshot, &format!("udp 10.0.1.10:{port} > 10.0.1.20:53"), start + 1);
        worker.hand_over(start + 60);
        while desk.round(at(start + 62)) == Round::Busy {}
        let begun = fs::metadata(bench.published()).is_ok();
        if port == 1 {
            assert!(!begun, "the slot is not over");
            desk.couriers.recall(LAST_CALL);
            continue;
        }
        eventually("what the first has left is delivered", || files(&bench.published()).len() == 1);
        let left = lines(&bench.published());
        assert_eq!(left.iter().filter(|line| line.contains(" 1 53 17 1 28 ")).count(), 2, "{left:?}");
        assert!(!left.iter().any(|line| line.contains(" 2 53 17 ")), "{left:?}");
        desk.finish(2);
    }
    let mut all = lines(&bench.published());
    all.retain(|line| line.ends_with(" OK"));
    all.sort();
    all.dedup();
    assert_eq!((files(&bench.published()).len(), all.len()), (2, 4), "{all:?}");
}

/// What is left of a flow log that is gone goes where it was to go; what nobody can read stays, and hinders nobody.
#[test]
fn spools_of_flow_logs_that_are_gone_are_delivered() {
    let bench = Bench::new();
    let (mut desk, snapshot, coverage) = bench.open(&bench.log("gone", ""));
    let mut worker = Worker::new(&coverage, 100);
    desk.attach(vec![Arc::clone(&worker.tray)]);
    worker.forward(&snapshot, PACKET, BEGIN + 1);
    worker.hand_over(BEGIN + 60);
    desk.round(at(BEGIN + 62));
    desk.couriers.recall(LAST_CALL);
    let stranger = bench.spool().join("fl-0bad0bad");
    fs::create_dir(&stranger).unwrap();
    fs::write(stranger.join("address.json"), "{}").unwrap();

    let (mut next, ..) = bench.open("");
    eventually("its records are delivered", || lines(&bench.published()).len() == 2);
    let stays = stranger.join("address.json").display().to_string();
    eventually("its spool is removed", || files(&bench.spool()) == [stays.clone()]);
    next.finish(0);
}

/// A spool that cannot be opened: the flow logs, and whom they cover, are as they were.
#[test]
fn a_policy_whose_spool_cannot_be_opened_changes_nothing() {
    let bench = Bench::new();
    let (mut desk, first, coverage) = bench.open(&bench.log("one", "eni = \"a\""));
    let second = bench.snapshot(&bench.log("two", "eni = \"b\""), Some(&first));
    fs::write(bench.spool().join(&second.vpc().flow_logs[0].id), "no directory").unwrap();
    assert!(desk.take_up(&second, BEGIN + 5).is_err());
    desk.round(at(BEGIN + 60));
    assert!(coverage.covers(key(&first, "a")) && !coverage.covers(key(&first, "b")));
    assert_eq!(desk.logs.len(), 1);
    assert_eq!(desk.logs[0].id, first.vpc().flow_logs[0].id);
    assert!(desk.finish(0).iter().all(|law| law.holds));
}

#[test]
fn everything_is_counted_while_somebody_asks_and_no_longer() {
    let (mut desk, _, coverage) = Bench::new().open("");
    assert_eq!(desk.round(at(100)), Round::Idle);
    desk.watch(&FlowsRequest::default(), at(100)).unwrap();
    assert!(coverage.watches_everything());
    assert_eq!(desk.round(at(110)), Round::Calm);
    desk.watch(&FlowsRequest::default(), at(129)).unwrap();
    assert_eq!(desk.round(at(158)), Round::Calm);
    assert!(coverage.watches_everything());
    assert_eq!(desk.round(at(159)), Round::Calm, "workers still have what they counted");
    assert!(!coverage.watches_everything() && desk.live.is_none());
    assert_eq!([desk.round(at(181)), desk.round(at(182))], [Round::Calm, Round::Idle]);
    let anew = desk.watch(&FlowsRequest::default(), at(200)).unwrap();
    assert_eq!((anew.total, anew.watched_seconds), (0, 0));
}

#[test]
fn a_request_that_is_none_begins_nothing() {
    let (mut desk, _, coverage) = Bench::new().open("");
    for wrong in [
        FlowsRequest { filter: vec!["enni=a".to_owned()], ..FlowsRequest::default() },
        FlowsRequest { interval: 0, ..FlowsRequest::default() },
    ] {
        assert!(desk.watch(&wrong, at(100)).is_err());
        assert!(!coverage.watches_everything());
    }
    assert_eq!(desk.round(at(100)), Round::Idle);
}
