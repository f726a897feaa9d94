//! What a scenario file must not say: told with file, line, key and what is allowed; and what a run notices.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::path::Path;

use palisade_scenario::{Report, ScenarioError, run_file};

const WORLD: &str = r#"
[world.vpc]
cidr_blocks = ["10.0.0.0/16"]
[world.subnet.a]
cidr = "10.0.1.0/24"
[world.subnet.b]
cidr = "10.0.2.0/24"
network_acl = "n"
[world.network_acl.n]
ingress = ["100 allow all from 0.0.0.0/0"]
egress = ["100 allow all to 0.0.0.0/0"]
[world.security_group.open]
ingress = [{ rule = "tcp any from 10.0.1.0/24", id = "sgr-0123456789abcdef0" }]
egress = ["all to 10.0.0.0/16"]
[world.eni.a1]
subnet = "a"
address = "10.0.1.10"
groups = ["open"]
attach = { tap = "a1" }
[world.eni.b1]
subnet = "b"
address = "10.0.2.10"
groups = ["open"]
attach = { tap = "b1" }
"#;

const HEAD: &str = "title = \"t\"\nrests_on = [\"CT-3\"]\n";
const SEND: &str = "send = \"a1 tcp 10.0.1.10:1 > 10.0.2.10:22 S\"\n";

/// Plays a file with this head and one step.
fn play(head: &str, step: &str) -> Result<Report, ScenarioError> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("s.toml");
    std::fs::write(&file, format!("{head}{WORLD}\n[[step]]\nat = \"0s\"\n{step}\n")).unwrap();
    run_file(&file)
}

fn error(head: &str, step: &str) -> String {
    play(head, step).map(|report| panic!("accepted {step}: {report:?}")).unwrap_err().to_string()
}

/// What a run misses.
fn misses(step: &str) -> Vec<String> {
    let report = play(HEAD, step).unwrap_or_else(|error| panic!("{step}: {error}"));
    report.failures.into_iter().map(|failure| format!("{} but {}", failure.expected, failure.seen)).collect()
}

#[test]
fn a_mistake_is_told_with_its_place_and_what_is_allowed() {
    // The step begins in line 28 of the file, its first key beside `at` stands in line 30.
    for (step, place, allowed) in [
        ("sendd = 'x'", "line 30, column 1", "expected one of `at`, `change`"),
        (
            "send = 'a1 tcp 10.0.1.10:1 > 10.0.2.10:22 SX'\nexpect = 'delivered b1'",
            "line 30",
            "a TCP flag or one of: seq",
        ),
        (&format!("{SEND}expect = 'delivers b1'"), "line 31", "`delivered PORT`, `consumed WHAT`"),
        (&format!("{SEND}expect = 'dropped b1 commit mtu'"), "line 31", "one of: allowance-egress"),
        (SEND, "s.toml:28: step 1: `send`", "needs an `expect`"),
        ("expect = 'delivered b1'", "s.toml:28: step 1: `expect`", "needs a `send`"),
        ("reply = true", "s.toml:28: step 1", "they need a `send`"),
        ("", "s.toml:28: step 1", "it needs one of: send, change"),
        ("refused = 'quota'\nconns = []", "s.toml:28: step 1: `refused`", "needs a `change` or a `patch`"),
        ("change = 'delete eni:a1'\nrefused = 'no'\n", "line 31", "one of: syntax"),
        ("change = 'grant sg:open x'", "line 30", "`authorize|revoke sg:NAME ingress|egress RULE`"),
        ("change = ['delete eni:b1', 'grant']", "line 30", "`authorize|revoke sg:NAME ingress|egress RULE`"),
        ("change = 'delete eni:c1'\nconns = []", "s.toml:28: step 1: change", "the world has no eni:c1"),
        (
            "patch = { eni = { a1 = { mtu = 1 } } }\nconns = []",
            "s.toml:28: step 1",
            "1 is not from 68 to 9001",
        ),
        (
            "send = 'c1 tcp 10.0.1.10:1 > 10.0.2.10:22'\nexpect = 'delivered b1'",
            "s.toml:28: step 1: send",
            "named `c1`",
        ),
        ("conns = ['b1 tcp 10.0.1.10:1 > 10.0.2.10:22 open 5s']", "line 30", "one of: syn-sent"),
        ("counters = ['drops 1']", "line 30", "one of: received, delivered"),
        (
            "counters = ['eni.c1.conntrack_allowance_exceeded 0']",
            "s.toml:28: step 1: counters",
            "the world has nothing",
        ),
        (
            &format!("{SEND}expect = 'delivered b1'\nby = ['b1 mtu 7']"),
            "line 32",
            "`ENI security-group tracked",
        ),
        (&format!("{SEND}expect = 'delivered b1'\nrepeat = 0"), "s.toml:28: step 1: `repeat`", "at least 1"),
        ("at = '1s'", "line 30", "duplicate key"),
    ] {
        let told = error(HEAD, step);
        assert!(told.contains(place) && told.contains(allowed), "{step}: {told}");
    }
}

#[test]
fn a_scenario_rests_on_something_and_can_fail() {
    let step = "change = 'detach eni:a1 sg:open'\npatch = { eni = { a1 = { groups = ['default'] } } }";
    assert!(error(HEAD, step).contains("nothing must be seen, so nothing can fail"));
    let sound = format!("{SEND}expect = 'delivered b1'");
    assert!(error("title = 't'\nrests_on = []\n", &sound).contains("rests_on: name the statements"));
    assert!(error("title = 't'\nrests_on = ['CT3']\n", &sound).contains("rests_on: `CT3` is not the number"));
    assert!(error("title = 't'\n", &sound).contains("missing field `rests_on`"));
    let missing = run_file(Path::new("/nonexistent/s.toml")).unwrap_err().to_string();
    assert!(missing.contains("/nonexistent/s.toml"), "{missing}");
}

#[test]
fn steps_do_not_go_back_in_time() {
    let step = format!(
        "{SEND}expect = 'delivered b1'\n[[step]]\nat = '1s'\nconns_total = 2\n[[step]]\nat = '999ms'\nconns_total = 2"
    );
    assert!(error(HEAD, &step).contains("s.toml:35: step 3: at: is earlier than the step before"));
}

#[test]
fn a_scenario_lasts_two_years_at_most() {
    let late = |at: &str| format!("conns = []\n[[step]]\nat = '{at}'\nconns = []");
    assert!(play(HEAD, &late("730days")).is_ok());
    let told = error(HEAD, &late("731days"));
    assert!(told.contains("line 32") && told.contains("`731days` is later than two years"), "{told}");
}

#[test]
fn everything_that_can_be_asked_is_answered() {
    let seen = format!(
        "{SEND}expect = 'delivered b1'\nlink = 'router > b1'\nbytes = 'same'\npackets = 1\nreply = false\nanswer = 'none'
by = ['a1 security-group sgr-77b0ee9f1c1e8f0a5', 'a network-acl 100', 'b network-acl 100', 'b1 security-group sgr-0123456789abcdef0']
conns = ['b1 tcp 10.0.1.10:1 > 10.0.2.10:22 syn-sent 2m']
conns_exact = ['b1 tcp 10.0.1.10:1 > 10.0.2.10:22 syn-sent 120s', 'a1 tcp 10.0.1.10:1 > 10.0.2.10:22 syn-sent 120s']
conns_total = 2
counters = ['received 1', 'delivered +1', 'dropped 0', 'rule.sgr-0123456789abcdef0 +1', 'acl.n.ingress.100 +1',
  'acl.default.egress.100 1', 'security-group.ingress.reached 1', 'connections.created 2', 'held 0', 'generated 0', 'consumed 0',
  'instance.b1.conntrack_allowance_available 65535', 'eni.b1.conntrack_allowance_exceeded 0']"
    );
    // The id of the other rule is derived; take it from what is seen.
    let first = misses(&seen);
    let derived = first.iter().find_map(|miss| miss.rsplit_once("but a1 security-group ")?.1.get(..21));
    let seen = derived.map_or(seen.clone(), |id| seen.replace("sgr-77b0ee9f1c1e8f0a5", id));
    assert_eq!(misses(&seen), [""; 0]);
}

#[test]
fn everything_that_is_not_so_is_noticed() {
    let sent = format!("{SEND}expect = 'delivered b1'\n");
    for (asked, miss) in [
        ("link = 'a1 > b1'", "link = a1 > b1 but router > b1"),
        ("bytes = '4500'", "one packet [45, 00] but [[45, 00, "),
        ("packets = 2", "2 packets on the wire but 1"),
        ("reply = true", "reply = true but reply = false"),
        ("answer = 'arp 10.0.1.1 is-at router'", "arp 10.0.1.1 is-at router but none"),
        (
            "by = ['a1 security-group tracked']",
            "decided by a1 security-group tracked but a1 security-group sgr-",
        ),
        ("released = ['delivered b1']", "a released fragment delivered b1 but no more"),
        ("conns = []", "exactly these connections: none but a1 tcp"),
        ("conns = ['b1 tcp 10.0.1.10:1 > 10.0.2.10:22 syn-sent 1m']", "syn-sent 1m but a1 tcp"),
        (
            "conns_exact = ['b1 tcp 10.0.1.10:1 > 10.0.2.10:22 syn-sent 2m']",
            "exactly these connections: b1 tcp",
        ),
        ("conns_total = 1", "1 connections but 2: a1 tcp"),
        ("counters = ['delivered 2']", "delivered 2 but delivered 1"),
        ("counters = ['dropped +1']", "dropped +1 but dropped +0"),
    ] {
        let found = misses(&format!("{sent}{asked}"));
        assert!(found.len() == 1 && found[0].contains(miss), "{asked}: {found:?}");
    }
    let repeated = misses(&format!("{SEND}expect = 'dropped b network-acl *'\nrepeat = 3"));
    assert_eq!(repeated.len(), 1, "the first time is enough: {repeated:?}");
}

#[test]
fn a_change_that_must_be_refused_is_refused_or_noticed() {
    let duplicate = "authorize sg:open ingress tcp 0-65535 from 10.0.1.0/24";
    assert_eq!(misses(&format!("change = '{duplicate}'\nrefused = 'duplicate-rule'")), [""; 0]);
    let other = misses(&format!("change = '{duplicate}'\nrefused = 'quota'"));
    assert!(other[0].starts_with("refused for quota but world:"), "{other:?}");
    let accepted =
        misses("change = 'authorize sg:open ingress udp 1 from 10.0.1.0/24'\nrefused = 'duplicate-rule'");
    assert_eq!(accepted, ["refused for duplicate-rule but it is accepted"]);
    let unchanged =
        format!("change = 'delete sg:open'\nrefused = 'unknown-reference'\n{SEND}expect = 'delivered b1'");
    assert_eq!(misses(&unchanged), [""; 0], "the world stays as it was");
}

#[test]
fn several_changes_take_effect_one_by_one() {
    let step = format!(
        "change = ['revoke sg:open ingress tcp any from 10.0.1.0/24', 'authorize sg:open ingress tcp 22 from 10.0.1.0/24']
repeat = 1\n{SEND}expect = 'delivered b1'\n[[step]]\nat = '1s'
change = ['detach eni:b1 sg:open', 'attach eni:b1 sg:open']\nrepeat = 3\nconns_total = 2"
    );
    let refused = error(HEAD, &step);
    assert!(refused.contains("the changed world is not valid"), "an ENI without a group, SG-7: {refused}");
    let step = step.replace(
        "'detach eni:b1 sg:open', 'attach eni:b1 sg:open'",
        "'attach eni:b1 sg:default', 'detach eni:b1 sg:default'",
    );
    assert_eq!(misses(&step), [""; 0]);
}

#[test]
fn a_datagram_is_cut_and_a_frame_stands_for_many() {
    let step = "patch = { eni = { b1 = { mtu = 1400 } }, security_group = { open = { ingress = ['all from 10.0.1.0/24'] } } }
send = 'a1 udp 10.0.1.10:1 > 10.0.2.10:53 len 4000'\nexpect = 'delivered b1'\npackets = 3
counters = ['received +1', 'generated +2', 'delivered +3']
[[step]]\nat = '1s'
send = 'a1 tcp 10.0.1.10:1 > 10.0.2.10:22 A len 3000 gso 1000'\nexpect = 'delivered b1'\npackets = 3
counters = ['received +3', 'generated +0', 'delivered +3', 'acl.n.ingress.100 +3']
[[step]]\nat = '2s'
send = 'a1 udp 10.0.1.10:1 > 10.0.2.10:53 len 3000 gso 1500'\nexpect = 'delivered b1'\npackets = 4
counters = ['received +2', 'generated +2', 'delivered +4']";
    assert_eq!(misses(step), [""; 0]);
    assert!(!misses(&format!("{step}\nbytes = 'same'")).is_empty(), "it is cut");
}
