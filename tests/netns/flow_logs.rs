//! Flow logs of the daemon: what it publishes of real traffic, held against what was on the wire.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use palisade_tests::sockets::{self, Attempt, Echo};
use palisade_tests::{Bed, Mode, Policy, PortKind, Setup, daemon, tool};
use serde_json::Value;

/// Packets and bytes by interface, source, source port, destination, destination port, protocol and action.
type Sums = BTreeMap<(String, String, u64, String, u64, u64, String), (u64, u64)>;

fn logged(bed: &Bed, policy: &Policy) -> Policy {
    policy.clone().and(&format!(
        "[flow_log.all]\nmax_aggregation_interval = 60\ndestination = {{ directory = \"{}\" }}\n",
        published(bed).display()
    ))
}

fn published(bed: &Bed) -> std::path::PathBuf {
    bed.dir().join("published")
}

/// What was published, by the daemon's own reader.
fn sums(directory: &Path) -> Sums {
    let out = tool::must(
        daemon::binary().to_str().unwrap(),
        &["flows", "read", "--records", "--output", "json", directory.to_str().unwrap()],
    );
    let mut sums = Sums::new();
    for line in out.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        if record["log-status"] != "OK" {
            continue;
        }
        let text = |field: &str| record[field].as_str().unwrap().to_owned();
        let number = |field: &str| record[field].as_u64().unwrap();
        let key = (
            text("interface-id"),
            text("srcaddr"),
            number("srcport"),
            text("dstaddr"),
            number("dstport"),
            number("protocol"),
            text("action"),
        );
        let sum = sums.entry(key).or_default();
        sum.0 += number("packets");
        sum.1 += number("bytes");
    }
    sums
}

/// FL-14, FL-30, FL-32, FL-33: at both ends what happened there, in every mode.
#[test]
fn records_tell_of_both_ends_what_passed_and_what_was_rejected() {
    for mode in Mode::ALL {
        let mut bed = Bed::prepare(Setup::new(PortKind::Tap, PortKind::Packet).in_mode(mode));
        let policy =
            Policy::open().group("b", &["icmp 8/any from 10.0.1.0/24", "tcp 80 from 10.0.1.0/24"], &[]);
        let policy = logged(&bed, &policy);
        bed.start_daemon(&policy).unwrap();
        assert!(tool::ping(&bed.guest("a").netns, "10.0.2.10", "") > 0.99);
        let _echo = Echo::tcp(&bed.guest("b").netns, &[22]);
        let to = SocketAddr::new(bed.guest("b").address(false), 22);
        let tried = sockets::attempt(&bed.guest("a").netns, to, Duration::from_millis(300));
        assert_eq!(tried, Attempt::Filtered);
        let status = bed.daemon().status();
        let id = |name: &str| {
            let ports = status["ports"].as_array().unwrap();
            let port = ports.iter().find(|port| port["name"] == name).unwrap();
            port["id"].as_str().unwrap().to_owned()
        };
        let (a, b) = (id("a"), id("b"));
        bed.daemon.take().unwrap().stop();
        let sums = sums(&published(&bed));
        let of = |eni: &str, from: &str, protocol: u64, action: &str| {
            let is_it = |key: &&(String, String, u64, String, u64, u64, String)| {
                key.0 == eni && key.1 == from && key.5 == protocol && key.6 == action
            };
            let found = sums.iter().filter(|(key, _)| is_it(key));
            found.fold((0, 0), |sum, (_, volume)| (sum.0 + volume.0, sum.1 + volume.1))
        };
        for eni in [&a, &b] {
            assert_eq!(of(eni, "10.0.1.10", 1, "ACCEPT"), (3, 3 * 84), "{mode:?} {sums:?}");
            assert_eq!(of(eni, "10.0.2.10", 1, "ACCEPT"), (3, 3 * 84), "{mode:?} {sums:?}");
        }
        let (sent, rejected) = (of(&a, "10.0.1.10", 6, "ACCEPT"), of(&b, "10.0.1.10", 6, "REJECT"));
        assert!(sent.0 >= 1 && sent == rejected, "{mode:?} {sums:?}");
        assert_eq!(of(&a, "10.0.1.10", 6, "REJECT"), (0, 0));
        assert_eq!(of(&b, "10.0.1.10", 6, "ACCEPT"), (0, 0));
    }
}
