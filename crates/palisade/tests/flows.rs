//! `palisade flows read` as a shell runs it. Needs neither root nor a daemon.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

const AWS: &str = "\
version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status
2 123456789010 eni-1 172.31.16.139 172.31.16.21 20641 22 6 20 4249 1418530010 1418530070 ACCEPT OK
2 123456789010 eni-1 172.31.9.69 172.31.9.12 49761 3389 6 5 700 1418530010 1418530070 REJECT OK
2 123456789010 eni-1 172.31.9.70 172.31.9.12 49761 3389 6 2 100 1418530010 1418530070 REJECT OK
2 123456789010 eni-1 172.31.9.70 172.31.9.12 49761 22 6 1 60 1418530010 1418530070 REJECT OK
2 123456789010 eni-2 - - - - - - - 1431280876 1431280934 - NODATA
2 123456789010 eni-3 - - - - - - - 1431280876 1431280934 - SKIPDATA
";

const RULES: &str = "\
interface-id pkt-srcaddr pkt-dstaddr packets bytes action palisade-stage palisade-rule new-field
eni-1 10.0.1.10 10.0.2.10 3 180 REJECT network-acl acl-1/120 x
eni-1 10.0.1.11 10.0.2.10 4 240 REJECT security-group default x
";

struct Ran {
    code: i32,
    out: String,
    err: String,
}

/// Runs it in a folder with both files in `logs/`, one of them two folders down.
fn read(words: &[&str]) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("logs/2026/11")).unwrap();
    fs::write(dir.path().join("logs/aws.log"), AWS).unwrap();
    fs::write(dir.path().join("logs/2026/11/rules.log"), RULES).unwrap();
    fs::write(dir.path().join("other.txt"), "not a flow log\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
    let output = command.args(["flows", "read"]).args(words).current_dir(dir.path()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

fn document(words: &[&str]) -> Value {
    let ran = read(&[words, &["--output", "json"]].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

#[test]
fn files_are_summed_up() {
    let ran = read(&["logs/aws.log"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let expected = "\
1 file
accepted  20 packets in 1 record, 4249 bytes
rejected  8 packets in 3 records, 860 bytes
no data   1 window
skipped   1 window with records lost

Most bytes
SOURCE         DESTINATION   BYTES  PACKETS  RECORDS
172.31.16.139  172.31.16.21   4249       20        1
172.31.9.69    172.31.9.12     700        5        1
172.31.9.70    172.31.9.12     160        3        2

Most rejected packets
INTERFACE  PROTOCOL  PORT  PACKETS  RECORDS
eni-1      tcp       3389        7        2
eni-1      tcp       22          1        1
";
    assert_eq!(ran.out, expected);
}

#[test]
fn folders_are_read_and_rules_named() {
    let report = document(&["logs"]);
    assert_eq!(report["files"], 2);
    assert_eq!(report["rejected"], json!({ "records": 5, "packets": 15, "bytes": 1280 }));
    let by_rule = json!({
        "interface": "eni-1", "stage": "security-group", "rule": "default", "records": 1, "packets": 4, "bytes": 240
    });
    assert!(report["rejects"].as_array().unwrap().contains(&by_rule), "{report}");
    let one = document(&["logs", "--top", "1"]);
    assert_eq!((one["talkers"].as_array().unwrap().len(), one["rejects"].as_array().unwrap().len()), (1, 1));
}

#[test]
fn conditions_select() {
    let report = document(&["logs/aws.log", "--where", "action=REJECT and dstport=22"]);
    assert_eq!(report["rejected"], json!({ "records": 1, "packets": 1, "bytes": 60 }));
    assert_eq!(report["accepted"]["records"], 0);
    let ran = read(&["logs/aws.log", "--records", "--where", "address=172.31.16.0/24"]);
    let lines: Vec<_> = AWS.lines().take(2).collect();
    assert_eq!(ran.out.lines().collect::<Vec<_>>(), lines);
    let ran = read(&["logs/2026", "--records", "--output", "json", "--where", "palisade-rule=acl-1/120"]);
    let record: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&record["packets"], &record["new-field"]), (&json!(3), &json!("x")));
}

/// What says how to watch says nothing of files.
#[test]
fn reading_files_takes_no_options_of_watching() {
    let command = |words: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_palisade")).args(words).args(["read", "logs"]).output().unwrap()
    };
    for words in [&["flows", "--follow"][..], &["flows", "--sort", "bytes"], &["flows", "--interval", "5"]] {
        let output = command(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("options of `palisade flows` stand before `read`"), "{told}");
    }
}

#[test]
fn what_cannot_be_read_is_told() {
    let ran = read(&["logs", "--where", "dstprot=22"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("there is no field `dstprot`"), "{}", ran.err);
    let ran = read(&["logs", "--where", "dstport=22"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("rules.log has no field `dstport`"), "{}", ran.err);
    let ran = read(&["other.txt"]);
    assert_eq!(ran.code, 4);
    assert!(ran.err.contains("other.txt: no field of flow-log records is named there"), "{}", ran.err);
    assert_eq!(read(&["nothing-here"]).code, 4);
}
