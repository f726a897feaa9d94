//! From deltas to what a destination has in the end, also when it or the process fails on the way.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use palisade_flow::Delta;
use palisade_packet::Direction::Ingress;
use tempfile::TempDir;

use crate::testing::{WORLD, key_of, log, packet, snapshot};
use crate::{Collector, Courier, Destination, FlowLog, Limits, LineTarget, Objects, Round};

/// 2026-11-26 14:20:00.
const BEGIN: u32 = 1_795_702_800;

fn to_directory(path: &Path) -> FlowLog {
    let destination = Destination::Directory { path: path.to_owned(), objects: Objects::default() };
    FlowLog { destination, ..log("fl-0a000001") }
}

fn start(spool: &Path, log: &FlowLog, limit: u64) -> (Collector, Courier) {
    let limits = Limits { spool: limit, ..Limits::default() };
    let mut collector = Collector::new(spool, limits).unwrap();
    collector.learn(snapshot(WORLD), BEGIN);
    let courier = collector.subscribe(vec![Arc::new(log.clone())], BEGIN).unwrap().remove(0);
    collector.tick(BEGIN, 100);
    (collector, courier)
}

/// A packet from 192.0.2.HOST so many seconds after the beginning.
fn see(collector: &mut Collector, host: u8, after: u32) {
    let eni = key_of(&snapshot(WORLD), "web-1");
    let source = format!("192.0.2.{host}");
    let delta = Delta { packets: 2, ..packet(eni, Ingress, (&source, "10.0.1.10"), BEGIN + after) };
    collector.take(&[delta]);
}

/// Every file below a directory, with its text if it is gzip.
fn objects(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let mut text = String::new();
            flate2::read::GzDecoder::new(fs::File::open(&path).unwrap()).read_to_string(&mut text).unwrap();
            found.insert(path.strip_prefix(root).unwrap().display().to_string(), text);
        }
    }
    found
}

struct Folders {
    _root: TempDir,
    spool: PathBuf,
    bucket: PathBuf,
}

fn folders() -> Folders {
    let root = TempDir::new().unwrap();
    Folders { spool: root.path().join("spool"), bucket: root.path().join("bucket"), _root: root }
}

/// FL-71, FL-73: which records an object has, and when it is there; FL-78: within seconds of the slot's end.
#[test]
fn fl_71_an_object_per_slot() {
    let Folders { spool, bucket, .. } = &folders();
    let (mut collector, mut courier) = start(spool, &to_directory(bucket), 1 << 20);
    for (host, after) in [(1, 5), (2, 299), (3, 301)] {
        see(&mut collector, host, after);
    }
    for second in 0..302 {
        collector.tick(BEGIN + second, 100);
        courier.deliver(BEGIN + second);
    }
    assert_eq!(objects(bucket), BTreeMap::new(), "the slot is not over");
    collector.tick(BEGIN + 302, 100);
    assert_eq!(courier.deliver(BEGIN + 302), Round::Empty);
    let there = objects(bucket);
    let [(key, text)] = there.iter().collect::<Vec<_>>()[..] else { panic!("{there:?}") };
    let name = "AWSLogs/123456789010/vpcflowlogs/us-east-1/2026/11/26/123456789010_vpcflowlogs_us-east-1_fl-0a000001_20261126T1420Z_";
    let hash = key.strip_prefix(name).and_then(|rest| rest.strip_suffix(".log.gz")).unwrap();
    assert!(hash.len() == 8 && hash.bytes().all(|digit| digit.is_ascii_hexdigit()), "{key}");
    let quiet = |from: u32| {
        format!("2 123456789010 eni-0a000001 - - - - - - - {} {} - NODATA", BEGIN + from, BEGIN + from + 60)
    };
    let flow = |host: u8, at: u32| {
        let at = BEGIN + at;
        format!("2 123456789010 eni-0a000001 192.0.2.{host} 10.0.1.10 40000 443 6 2 60 {at} {at} ACCEPT OK")
    };
    let header = crate::Format::default().header();
    let lines = [header, flow(1, 5), quiet(60), quiet(120), quiet(180), flow(2, 299)];
    assert_eq!(text.lines().collect::<Vec<_>>(), lines, "the records that end in it, and no other");
}

/// The process is killed at every moment of a delivery: nothing is lost, and nothing is there under two keys.
#[test]
fn a_kill_during_delivery_neither_loses_nor_doubles() {
    let Folders { spool, bucket, .. } = &folders();
    let log = to_directory(bucket);
    let (mut collector, mut courier) = start(spool, &log, 1 << 20);
    see(&mut collector, 1, 5);
    collector.tick(BEGIN + 302, 100);
    // The object is there, but the process is killed before it can remove the segment.
    let before: Vec<_> = files(spool);
    courier.deliver(BEGIN + 302);
    let once = objects(bucket);
    for (path, content) in before {
        fs::write(path, content).unwrap();
    }
    // Records of a later slot are in an open file, and a draft of an object is half written.
    see(&mut collector, 2, 310);
    collector.tick(BEGIN + 362, 100);
    std::mem::forget((collector, courier));

    let (collector, mut courier) = start(spool, &log, 1 << 20);
    assert!(collector.written(&log.id).unwrap().waiting > 0);
    assert_eq!(courier.deliver(BEGIN + 400), Round::Empty);
    let there = objects(bucket);
    assert_eq!(there.len(), 2, "{there:?}");
    assert!(once.iter().all(|(key, text)| there.get(key) == Some(text)), "the same under the same key");
    let all: String = there.into_values().collect();
    for host in [1, 2] {
        assert_eq!(all.matches(&format!(" 192.0.2.{host} ")).count(), 1, "{all}");
    }
    assert_eq!(collector.written(&log.id).unwrap().waiting, 0);
}

/// Every file below a directory, with its content.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let below = |path: PathBuf| {
        if path.is_dir() { files(&path) } else { vec![(path.clone(), fs::read(&path).unwrap())] }
    };
    entries.into_iter().flat_map(below).collect()
}

/// A destination that fails is tried again with growing pauses; what the spool cannot hold is counted exactly, and told.
#[test]
fn fl_47_an_outage_longer_than_the_spool_is_counted_exactly() {
    let Folders { spool, bucket, .. } = &folders();
    fs::write(bucket, "a file stands where the directory should be").unwrap();
    let log = to_directory(bucket);
    let (mut collector, mut courier) = start(spool, &log, 2000);
    let (mut now, mut seen, mut attempts) = (0, 0, Vec::new());
    while now < 1800 {
        for host in 0..4 {
            see(&mut collector, host, now);
            seen += 2;
        }
        for _ in 0..60 {
            now += 1;
            while collector.tick(BEGIN + now, 2) {}
            let failures = courier.figures().failures;
            courier.deliver(BEGIN + now);
            if courier.figures().failures > failures {
                attempts.push(now);
            }
        }
    }
    let pauses: Vec<_> = attempts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (pause, whole) in pauses.iter().zip([1, 2, 4, 8, 16, 32, 60, 60]) {
        assert!((whole - whole / 2..=whole).contains(pause), "{attempts:?}");
    }
    assert!(courier.figures().error.is_some());
    let cut = collector.written(&log.id).unwrap();
    assert!(cut.lost.records > 10 && cut.records > 10, "{cut:?}");
    assert!(cut.waiting <= 2000, "{cut:?}");

    fs::remove_file(bucket).unwrap();
    assert_eq!(courier.deliver(BEGIN + now + 60), Round::Empty);
    for second in 60..420 {
        collector.tick(BEGIN + now + second, 100);
        assert_eq!(courier.deliver(BEGIN + now + second), Round::Empty);
    }
    collector.finish();
    assert_eq!(courier.deliver(BEGIN + now + 420), Round::Empty);
    let written = collector.written(&log.id).unwrap();
    assert_eq!(written.packets + written.lost.packets, seen, "{written:?}");
    assert_eq!(written.waiting, 0);
    let all: String = objects(bucket).into_values().collect();
    let records: u64 = all.lines().filter(|line| line.ends_with(" OK")).count() as u64;
    assert_eq!(records, written.records);
    assert_eq!(records + written.lost.records, seen / 2);
    let told = all.lines().filter(|line| line.ends_with(" SKIPDATA")).count();
    let windows = 30 - all.lines().filter(|line| line.contains(" 192.0.2.3 ")).count();
    assert_eq!(told, windows, "one line per window that lacks something: {all}");
}

/// What another process left of a flow log that is gone is delivered, and then its spool is removed.
#[test]
fn orphans_are_delivered() {
    let Folders { spool, bucket, .. } = &folders();
    let (mut collector, courier) = start(spool, &to_directory(bucket), 1 << 20);
    see(&mut collector, 1, 5);
    collector.tick(BEGIN + 62, 100);
    std::mem::forget((collector, courier));

    let collector = Collector::new(spool, Limits::default()).unwrap();
    let (mut couriers, errors) = collector.orphans().unwrap();
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(couriers.remove(0).deliver(BEGIN + 62), Round::Done);
    assert_eq!(objects(bucket).len(), 1);
    assert!(fs::read_dir(spool).unwrap().next().is_none());
}

/// FL-5: deleting leaves published data alone, and what is not yet published is.
#[test]
fn fl_5_a_deleted_flow_log_is_delivered_to_its_end() {
    let Folders { spool, bucket, .. } = &folders();
    let (mut collector, mut courier) = start(spool, &to_directory(bucket), 1 << 20);
    see(&mut collector, 1, 5);
    collector.subscribe(vec![], BEGIN + 10).unwrap();
    collector.tick(BEGIN + 62, 100);
    assert_eq!(courier.deliver(BEGIN + 62), Round::Done);
    assert_eq!(objects(bucket).len(), 1);
    let again = collector.subscribe(vec![Arc::new(to_directory(bucket))], BEGIN + 70).unwrap();
    assert_eq!(again.len(), 1, "a flow log that comes back has a new spool");
}

/// FL-5.
#[test]
fn fl_5_a_flow_log_that_keeps_its_id_cannot_be_changed() {
    let Folders { spool, bucket, .. } = &folders();
    let (mut collector, _courier) = start(spool, &to_directory(bucket), 1 << 20);
    let other = FlowLog { traffic: palisade_policy::flow_log::Traffic::Reject, ..to_directory(bucket) };
    let error = collector.subscribe(vec![Arc::new(other)], BEGIN).unwrap_err();
    assert!(error.to_string().contains("FL-5"), "{error}");
}

/// FL-78: lines come with the end of each window.
#[test]
fn fl_78_lines_of_json_reach_a_socket() {
    let root = TempDir::new().unwrap();
    let socket = root.path().join("flows.sock");
    let destination = Destination::Lines(LineTarget::Socket(socket.clone()));
    let (mut collector, mut courier) =
        start(&root.path().join("spool"), &FlowLog { destination, ..log("fl-0a000002") }, 1 << 20);
    see(&mut collector, 1, 5);
    collector.tick(BEGIN + 62, 100);
    assert_eq!(courier.deliver(BEGIN + 62), Round::Failed { again: BEGIN + 63 });
    assert!(courier.figures().error.as_ref().unwrap().contains("flows.sock"));
    let listener = UnixListener::bind(&socket).unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        listener.accept().unwrap().0.read_to_string(&mut text).unwrap();
        text
    });
    assert_eq!(courier.deliver(BEGIN + 63), Round::Empty);
    let text = reader.join().unwrap();
    let value: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
    assert_eq!(value["srcaddr"], "192.0.2.1");
    assert_eq!(value["packets"], 2);
}
