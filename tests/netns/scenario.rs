//! `palisade scenario --netns`: that it tells a wrong expectation from a right one, and leaves nothing behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use palisade_tests::{Bed, Setup, daemon, tool::Ran};
use serde_json::Value;

/// Two guests of one subnet; SSH between them is allowed, nothing else.
const WORLD: &str = r#"
[vpc]
cidr_blocks = ["10.0.0.0/16"]
[subnet.a]
cidr = "10.0.1.0/24"
[security_group.ssh]
ingress = ["tcp 22 from 10.0.1.0/24"]
[eni.a1]
subnet = "a"
address = "10.0.1.10"
groups = ["ssh"]
attach = { tap = "a1" }
[eni.a2]
subnet = "a"
address = "10.0.1.11"
groups = ["ssh"]
attach = { tap = "a2" }
[eni.a3]
subnet = "a"
address = "10.0.1.12"
groups = ["ssh"]
attach = { tap = "a3" }
"#;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

/// Namespaces that a process has made to play scenarios in.
fn namespaces_of(pid: u32) -> Vec<String> {
    let prefix = format!("palisade-lab-{pid}-");
    let entries = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(&prefix)).collect()
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(daemon::binary());
    command.args(["scenario", "--netns"]).args(words).stdin(Stdio::null());
    command
}

fn run(words: &[&str]) -> Ran {
    command(words).output().expect("palisade can be run").into()
}

/// Writes a scenario of one packet; `rest` is what its step says besides.
fn write(dir: &Path, name: &str, send: &str, rest: &str) -> String {
    let head = "title = \"t\"\nrests_on = [\"SG-20\"]\nworld = \"world.toml\"\n[[step]]\nat = \"0s\"\n";
    let path = dir.join(format!("{name}.toml"));
    fs::write(dir.join("world.toml"), WORLD).unwrap();
    fs::write(&path, format!("{head}send = \"{send}\"\n{rest}\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_wrong_expectation_fails_and_a_right_one_passes() {
    const OPEN: &str = "a1 tcp 10.0.1.10:1 > 10.0.1.11:22 S";
    const SHUT: &str = "a1 tcp 10.0.1.10:1 > 10.0.1.11:23 S";
    const ARP: &str = "a1 arp who-has 10.0.1.11 tell 10.0.1.10";
    let conns =
        |state| format!("expect = 'delivered a2'\nconns = ['a2 tcp 10.0.1.10:1 > 10.0.1.11:22 {state}']");
    let (right_conn, wrong_conn) = (conns("syn-sent 120s"), conns("syn-sent 121s"));
    let cases = [
        (true, OPEN, "expect = 'delivered a2'"),
        (true, SHUT, "expect = 'dropped group-ingress'"),
        (true, ARP, "expect = 'consumed arp'\nreply = true"),
        (false, OPEN, "expect = 'dropped group-ingress'"),
        (false, OPEN, "expect = 'delivered a3'"),
        (false, OPEN, "expect = 'delivered a2'\nreply = true"),
        (false, SHUT, "expect = 'delivered a2'"),
        (false, SHUT, "expect = 'dropped group-egress'"),
        (false, ARP, "expect = 'dropped arp-spoof'"),
        (false, ARP, "expect = 'consumed arp'\nreply = false"),
        (false, ARP, "expect = 'consumed arp'\nanswer = 'arp 10.0.1.11 is-at a3'"),
        (false, OPEN, "expect = 'delivered a2'\nconns_total = 1"),
        (true, OPEN, &right_conn),
        (false, OPEN, &wrong_conn),
    ];
    let bed = Bed::prepare(Setup::taps()); // for its directory and its lock
    for attach in ["tap", "packet", "mixed"] {
        let files: Vec<_> = (0..)
            .zip(&cases)
            .map(|(n, (_, send, rest))| write(bed.dir(), &format!("s{n}"), send, rest))
            .collect();
        let mut words = vec!["--attach", attach, "-o", "json"];
        words.extend(files.iter().map(String::as_str));
        let ran = run(&words);
        assert_eq!(ran.code, 1, "{attach}: {}{}", ran.out, ran.err);
        let reports: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(reports.len(), cases.len(), "{attach}: {}{}", ran.out, ran.err);
        for (report, (right, send, rest)) in reports.iter().zip(&cases) {
            assert_eq!(report["passed"], *right, "{attach}, {send}, {rest}: {report}");
            assert!(report["error"].is_null() && report["not_playable"].is_null(), "{report}");
        }
    }
}

#[test]
fn what_is_not_playable_is_neither_passed_nor_failed() {
    let bed = Bed::prepare(Setup::taps());
    let file = write(bed.dir(), "short", "a1 raw 020000", "expect = 'dropped frame-too-short'");
    let ran = run(&[&file]);
    assert!(ran.ok, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("step 1 is not playable: the frame is shorter"), "{}", ran.out);
    assert!(ran.out.contains("\n0 passed, 0 failed, 1 not playable; "), "{}", ran.out);
    let ran = run(&["--at-least", "1", &file]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
}

/// Plays the corpus many times over, until something ends it; returns once it has begun.
fn start() -> Child {
    let corpus = corpus();
    let many = vec![corpus.to_str().unwrap(); 100];
    let mut command = command(&many);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = || namespaces_of(child.id()).len() > 3;
    await_true("namespaces are made", begun);
    child
}

fn await_true(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(10), "in vain: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
}

#[test]
fn an_interrupted_play_leaves_nothing_behind() {
    let _bed = Bed::prepare(Setup::taps());
    for (number, after) in [(Signal::SIGINT, 0), (Signal::SIGTERM, 200), (Signal::SIGHUP, 500)] {
        let mut child = start();
        thread::sleep(Duration::from_millis(after));
        signal(&child, number);
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(4), "{number} after {after} ms");
        assert_eq!(namespaces_of(child.id()), [""; 0], "{number} after {after} ms");
    }
}

#[test]
fn the_next_run_removes_what_a_killed_one_has_left() {
    let bed = Bed::prepare(Setup::taps());
    let (mut killed, alive) = (start(), start());
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(!namespaces_of(killed.id()).is_empty(), "a killed process removes nothing");
    let file = write(bed.dir(), "any", "a1 tcp 10.0.1.10:1 > 10.0.1.11:22 S", "expect = 'delivered a2'");
    let ran = run(&[&file]);
    assert!(ran.ok, "{}{}", ran.out, ran.err);
    assert_eq!(namespaces_of(killed.id()), [""; 0]);
    assert!(!namespaces_of(alive.id()).is_empty(), "those of a run under way stay");
    let mut alive = alive;
    signal(&alive, Signal::SIGTERM);
    alive.wait().unwrap();
    assert_eq!(namespaces_of(alive.id()), [""; 0]);
}
