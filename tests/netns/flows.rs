//! `palisade flows`: what is watched of real traffic, held against what was sent and against flow-log records.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use palisade_tests::sockets::{self, Attempt, Echo};
use palisade_tests::{Bed, Daemon, Mode, Policy, PortKind, Setup, daemon, tool};
use serde_json::Value;

use crate::flow_logs::{Key, Sums, logged, published, sums};

/// Asks the daemon as its commands do, without their patience.
fn ask(daemon: &Daemon, request: &str) -> Value {
    let mut stream = UnixStream::connect(daemon.socket()).unwrap();
    writeln!(stream, "{request}").unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    serde_json::from_str::<Value>(&answer).unwrap()["ok"].take()
}

/// Begins to watch: what comes from now on is counted.
fn watch(daemon: &Daemon) {
    let begun = ask(daemon, r#"{"command":"flows"}"#);
    assert_eq!((&begun["watched_seconds"], &begun["total"]), (&0.into(), &0.into()), "nobody has watched");
}

/// The only flow that all filter words are true of, once it has so many packets. Workers tell of it within two seconds.
fn flow(daemon: &Daemon, words: &[&str], packets: u64) -> Value {
    let request = serde_json::json!({ "command": "flows", "filter": words });
    let begun = Instant::now();
    loop {
        let mut answer = ask(daemon, &request.to_string());
        if answer["total"] == 1 && answer["flows"][0]["packets"] == packets {
            return answer["flows"][0].take();
        }
        assert!(begun.elapsed() < Duration::from_secs(4), "{words:?}: {packets} packets, but {answer}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// What a rule is called that says this, in a direction of a group.
fn rule(daemon: &Daemon, text: &str, direction: &str, group: &str) -> String {
    let rules = daemon.ask(&["rules"]);
    let is_it =
        |rule: &&Value| rule["text"] == text && rule["direction"] == direction && rule["name"] == group;
    rules["rules"].as_array().unwrap().iter().find(is_it).unwrap()["number"].as_str().unwrap().to_owned()
}

/// What decided on a flow, and its bytes.
fn told(flow: &Value) -> (&str, &str, u64) {
    (flow["action"].as_str().unwrap(), flow["rule"].as_str().unwrap_or("-"), flow["bytes"].as_u64().unwrap())
}

/// A ping and a refused connection, at both ends, with the rules that decided and exactly what was sent; and no flow log.
#[test]
fn flows_are_watched_with_the_rules_that_decide() {
    for mode in &Mode::ALL[..2] {
        let setup = Setup::new(PortKind::Tap, PortKind::Packet).in_mode(*mode);
        let mut bed = Bed::prepare(setup);
        let policy = Policy::open().group("b", &["icmp 8/any from 10.0.1.0/24"], &[]);
        bed.start_daemon(&policy).unwrap();
        let daemon = bed.daemon();
        let (out, echo) = (
            rule(daemon, "all to 0.0.0.0/0", "egress", "a"),
            rule(daemon, "icmp 8/any from 10.0.1.0/24", "ingress", "b"),
        );
        watch(daemon);
        assert!(tool::ping(&bed.guest("a").netns, "10.0.2.10", "") > 0.99);
        let to = SocketAddr::new(bed.guest("b").address(false), 22);
        let _echo = Echo::tcp(&bed.guest("b").netns, &[22]);
        assert_eq!(
            sockets::attempt(&bed.guest("a").netns, to, Duration::from_millis(300)),
            Attempt::Filtered
        );
        let refused = daemon.drops("group-ingress");
        assert!(refused >= 1);
        let at = |eni: &str, way: &str, protocol: &str, packets| {
            let words = [format!("eni={eni}"), format!("direction={way}"), format!("protocol={protocol}")];
            flow(daemon, &words.each_ref().map(String::as_str), packets)
        };
        assert_eq!(told(&at("a", "egress", "icmp", 3)), ("ACCEPT", &*out, 3 * 84), "{mode:?}");
        assert_eq!(told(&at("b", "ingress", "icmp", 3)), ("ACCEPT", &*echo, 3 * 84), "{mode:?}");
        let answer = at("b", "egress", "icmp", 3);
        assert_eq!((told(&answer), answer["reason"].as_str()), (("ACCEPT", "-", 3 * 84), Some("tracked")));
        assert_eq!(told(&at("a", "ingress", "icmp", 3)), ("ACCEPT", "-", 3 * 84), "{mode:?}");
        assert_eq!(told(&at("a", "egress", "tcp", refused)), ("ACCEPT", &*out, refused * 60), "{mode:?}");
        let rejected = at("b", "ingress", "tcp", refused);
        assert_eq!(told(&rejected), ("REJECT", "default", refused * 60), "{mode:?}");
        assert_eq!((&rejected["reason"], &rejected["tcp_flags"]), (&"group-ingress".into(), &2.into()));
        assert_eq!(
            (&rejected["destination_port"], &rejected["stage"]),
            (&22.into(), &"security-group".into())
        );
        the_command_shows_them(daemon, refused);
    }
}

fn the_command_shows_them(daemon: &Daemon, refused: u64) {
    let json = daemon.ask(&["flows", "action=REJECT", "dst=10.0.2.10", "dstport=22"]);
    assert_eq!((&json["total"], &json["flows"][0]["packets"]), (&1.into(), &refused.into()), "{json}");
    let table = daemon.client(&["flows", "rule=default", "--sort", "last"]).expect("palisade flows");
    let lines: Vec<_> = table.lines().collect();
    assert!(
        lines.len() == 3 && lines[1].starts_with("REJECT  b ") && lines[2].starts_with("1 flow ("),
        "{table}"
    );
    let wrong = daemon.client(&["flows", "actoin=REJECT"]);
    assert!(wrong.code == 2 && wrong.err.contains("did you mean `action`?"), "{wrong:?}");
    let unknown = daemon.client(&["flows", "--follow", "eni=nobody"]);
    assert!(unknown.code == 2 && unknown.err.contains("no ENI named `nobody`"), "{unknown:?}");
    follow(daemon);
}

/// One object per line until it is interrupted, which is no failure.
fn follow(daemon: &Daemon) {
    let words = ["flows", "--follow", "--interval", "1", "--output", "json", "--socket"];
    let mut command = Command::new(daemon::binary());
    command.args(words).arg(daemon.socket()).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        let report: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!((&report["total"], &report["interval_seconds"]), (&6.into(), &1.into()), "{report}");
    }
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Whoever watches sees what the records will say, and the records are what they would be without: of bulk traffic, offloads on,
/// every packet and byte of every flow is in both.
#[test]
fn watching_takes_nothing_from_flow_logs() {
    let mut bed = Bed::prepare(Setup::taps());
    let policy =
        logged(&bed, &Policy::open().group("b", &["tcp 5201 from 0.0.0.0/0"], &["all to 0.0.0.0/0"]));
    bed.start_daemon(&policy).unwrap();
    let (a, b) = (&bed.guest("a").netns, &bed.guest("b").netns);
    assert!(tool::ping(b, "10.0.1.10", "") > 0.99);
    thread::sleep(Duration::from_millis(1100)); // then it is counted, for its record, and nobody watches
    watch(bed.daemon());
    assert!(tool::ping(b, "10.0.1.10", "") > 0.99);
    let pings = ["src=10.0.2.10", "protocol=icmp", "eni=a"];
    assert_eq!(
        told(&flow(bed.daemon(), &pings, 3)),
        ("ACCEPT", &*rule(bed.daemon(), "all from 0.0.0.0/0", "ingress", "a"), 3 * 84)
    );
    let said = tool::iperf(a, b, bed.guest("b").address(false), "-n 20000000");
    let sent = said["end"]["sum_received"]["bytes"].as_u64().unwrap();
    let to = SocketAddr::new(bed.guest("b").address(false), 22);
    assert_eq!(sockets::attempt(a, to, Duration::from_millis(300)), Attempt::Filtered);
    thread::sleep(Duration::from_millis(2300)); // what was counted last is told by then
    let request = r#"{"command":"flows","filter":["protocol=tcp"],"limit":1000}"#;
    let report = ask(bed.daemon(), request);
    let seen: Sums = report["flows"].as_array().unwrap().iter().map(line).collect();
    bed.daemon.take().unwrap().stop();
    let (records, pings): (Sums, Sums) = sums(&published(&bed)).into_iter().partition(|(key, _)| key.5 == 6);
    assert_eq!(records, seen);
    assert_eq!(pings.values().filter(|volume| **volume == (6, 6 * 84)).count(), 4, "{pings:?}");
    let bulk: u64 = seen.iter().filter(|(key, _)| key.4 == 5201).map(|(_, volume)| volume.1).sum();
    assert!(
        bulk > 2 * sent && seen.keys().any(|key| key.6 == "REJECT"),
        "{bulk} bytes at two ends, of {sent}: {seen:?}"
    );
}

/// A flow as records are summed up.
fn line(flow: &Value) -> (Key, (u64, u64)) {
    let text = |key: &str| flow[key].as_str().unwrap().to_owned();
    let number = |key: &str| flow[key].as_u64().unwrap();
    let ends = (text("source"), number("source_port"), text("destination"), number("destination_port"));
    (
        (text("eni_id"), ends.0, ends.1, ends.2, ends.3, 6, text("action")),
        (number("packets"), number("bytes")),
    )
}
