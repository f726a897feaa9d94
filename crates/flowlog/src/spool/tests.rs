//! What a spool keeps over the end of its process, and what it counts when it is full.

use std::fs;

use tempfile::TempDir;

use super::*;
use crate::testing::log;

const LINE: &str = "0123456789\n";

fn spool(root: &TempDir, limit: u64) -> Spool {
    Spool::open(root.path(), &log("fl-1"), limit).unwrap()
}

fn texts(spool: &Spool) -> Vec<String> {
    let segments = Segment::list(spool.store().directory()).unwrap();
    segments.iter().map(|segment| fs::read_to_string(&segment.path).unwrap()).collect()
}

fn header(spool: &Spool) -> usize {
    spool.header.len()
}

#[test]
fn a_segment_holds_a_slot() {
    let root = TempDir::new().unwrap();
    let mut spool = spool(&root, 10_000);
    assert!(spool.append("a\n", 299, Some(1)));
    assert!(spool.append("b\n", 300, Some(1)));
    assert!(spool.append("c\n", 10, None));
    spool.seal(|slot| slot < 300);
    let head = spool.header.clone();
    assert_eq!(texts(&spool), [format!("{head}a\nc\n")]);
    spool.seal(|_| true);
    assert_eq!(texts(&spool), [format!("{head}a\nc\n"), format!("{head}b\n")]);
    assert_eq!(spool.lost(), Lost::default());
}

/// What was flushed is there after the process has gone without a word, up to its last whole line; and nothing is called what
/// something else was called.
#[test]
fn a_spool_outlives_its_process() {
    let root = TempDir::new().unwrap();
    let mut first = spool(&root, 10_000);
    first.append("a\n", 10, Some(1));
    first.seal(|_| true);
    first.append("b\n", 20, Some(1));
    first.append("c\n", 400, Some(1));
    first.flush();
    first.append("never flushed\n", 400, Some(1));
    let torn = Segment::named(first.store().directory(), 300, 2, OPEN);
    OpenOptions::new().append(true).open(&torn.path).unwrap().write_all(b"half a li").unwrap();
    std::mem::forget(first);

    let mut second = spool(&root, 10_000);
    let head = second.header.clone();
    assert_eq!(texts(&second), [format!("{head}a\n"), format!("{head}b\n"), format!("{head}c\n")]);
    second.append("d\n", 10, Some(1));
    second.seal(|_| true);
    let segments = Segment::list(second.store().directory()).unwrap();
    let numbers: Vec<_> = segments.iter().map(|segment| segment.number).collect();
    assert_eq!(numbers, [0, 1, 2, 3]);
    let bytes: u64 = segments.iter().map(|segment| fs::metadata(&segment.path).unwrap().len()).sum();
    assert_eq!(second.store().used(), bytes);
}

/// Delivered segments are gone, but their numbers are not given again.
#[test]
fn numbers_are_never_given_twice() {
    let root = TempDir::new().unwrap();
    let mut hashes = Vec::new();
    for _ in 0..3 {
        let mut spool = spool(&root, 10_000);
        spool.append(LINE, 10, Some(1));
        spool.seal(|_| true);
        let segment = Segment::list(spool.store().directory()).unwrap().remove(0);
        hashes.push(segment.hash(&spool.store().address().spool, "fl-1"));
        assert_eq!(hashes.last(), Some(&segment.hash(&spool.store().address().spool, "fl-1")));
        fs::remove_file(&segment.path).unwrap();
    }
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 3);
}

#[test]
fn a_full_spool_counts_exactly_what_it_refuses() {
    let root = TempDir::new().unwrap();
    let head = header(&spool(&root, 0)) as u64;
    let mut spool = spool(&root, head + 3 * LINE.len() as u64);
    let taken: Vec<_> = (0..5).map(|at| spool.append(LINE, 10, Some(at + 1))).collect();
    assert_eq!(taken, [true, true, true, false, false]);
    assert_eq!(spool.lost(), Lost { records: 2, packets: 4 + 5 });
    spool.seal(|_| true);
    let segment = Segment::list(spool.store().directory()).unwrap().remove(0);
    assert_eq!(fs::metadata(&segment.path).unwrap().len(), spool.store().used());
    spool.store().release(spool.store().used());
    assert!(spool.append(LINE, 10, Some(1)), "what is delivered makes room");
}

/// Records that wait go where they were to go; once they are gone, the directory may be that of another flow log with the id.
#[test]
fn a_spool_is_of_one_destination_while_records_wait() {
    let root = TempDir::new().unwrap();
    let mut first = spool(&root, 10_000);
    let lot = first.store().address().spool.clone();
    first.append(LINE, 10, Some(1));
    first.flush();
    drop(first);
    let other = FlowLog {
        destination: Destination::Lines(crate::LineTarget::Socket("/run/x".into())),
        ..log("fl-1")
    };
    let error = Spool::open(root.path(), &other, 10_000).unwrap_err();
    assert!(error.to_string().contains("wait in") && error.to_string().contains("FL-5"), "{error}");
    let directory = root.path().join("fl-1");
    for segment in Segment::list(&directory).unwrap() {
        fs::remove_file(segment.path).unwrap();
    }
    let second = Spool::open(root.path(), &other, 10_000).unwrap();
    assert_eq!(second.store().address().destination, other.destination);
    assert_ne!(second.store().address().spool, lot, "its objects would have the names of the other's");
    assert!(second.next > 0, "a number is never given twice");
}
