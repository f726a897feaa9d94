//! The commands as a shell runs them: output, exit status, colour. Needs neither root nor a daemon.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const GOOD: &str = r#"
[vpc]
cidr_blocks = ["10.0.0.0/16"]

[subnet.web]
cidr = "10.0.1.0/24"

[prefix_list.offices]
entries = ["203.0.113.0/24"]

[security_group.web]
ingress = ["tcp 443 from 10.0.0.0/16", "tcp 22 from pl:offices", "icmp 8/any from sg:web"]

[eni.a]
subnet = "web"
address = "10.0.1.10"
groups = ["web"]
attach = { tap = "eth0", netns = "no-such-namespace", configure = true }

[eni.b]
subnet = "web"
address = "10.0.1.20"
secondary_addresses = ["10.0.1.21"]
groups = ["web"]
mtu = 1500
attach = { packet = "veth-b" }
"#;

const BAD: &str = r#"
[vpc]
cidr_blocks = ["10.0.0.0/16"]

[subnet.web]
cidr = "10.0.1.0/24"
colour = "red"

[security_group.web]
ingress = ["tcp 99999 from 0.0.0.0/0"]
"#;

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("good.toml"), GOOD).unwrap();
        fs::write(dir.path().join("bad.toml"), BAD).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
        command.args(words).current_dir(self.dir.path());
        for name in ["PALISADE_SOCKET", "PALISADE_LOG", "NO_COLOR", "CLICOLOR_FORCE"] {
            command.env_remove(name);
        }
        command
    }

    fn run(&self, words: &[&str]) -> Ran {
        self.command(words).output().unwrap().into()
    }
}

struct Ran {
    status: i32,
    out: String,
    err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

#[test]
fn a_good_file_is_summed_up() {
    let ran = Bench::new().run(&["check", "good.toml"]);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""));
    assert!(ran.out.starts_with("good.toml: ok, vpc-"), "{}", ran.out);
    assert!(ran.out.contains("1 subnet,") && ran.out.contains("2 interfaces"), "{}", ran.out);
    assert_eq!(ran.out.lines().count(), 1);
}

#[test]
fn every_error_of_every_file_is_shown_with_its_place() {
    let ran = Bench::new().run(&["check", "bad.toml", "good.toml", "bad.toml"]);
    assert_eq!(ran.status, 1);
    assert!(ran.out.starts_with("good.toml: ok"), "the good one is checked all the same: {}", ran.out);
    assert_eq!(ran.err.matches("bad.toml:7:1]").count(), 2, "{}", ran.err);
    assert_eq!(ran.err.matches("99999").count(), 4, "the text and its line, twice: {}", ran.err);
    assert_eq!(ran.err.matches("bad.toml: 2 errors").count(), 2);
}

#[test]
fn errors_are_data_too() {
    let bench = Bench::new();
    let ran = bench.run(&["check", "--output", "json", "bad.toml"]);
    assert_eq!((ran.status, ran.err.as_str()), (1, ""));
    let json = ran.json();
    assert_eq!(json["ok"], false);
    assert_eq!(json["errors"][0]["line"], 7);
    assert_eq!(json["errors"][0]["text"], "colour");
    let missing = bench.run(&["check", "--output", "json", "missing.toml"]);
    assert_eq!((missing.status, missing.json()["ok"].as_bool()), (4, Some(false)));
}

#[test]
fn the_resolved_vpc_has_its_defaults_and_rules_that_can_be_read_back() {
    let json = Bench::new().run(&["check", "-o", "json", "good.toml"]).json();
    assert_eq!(json["ok"], true);
    assert_eq!(json["vpc"]["region"], "us-east-1");
    let eni = &json["enis"][1];
    assert_eq!(eni["name"], "b");
    assert_eq!(eni["addresses"], serde_json::json!(["10.0.1.20", "10.0.1.21"]));
    assert_eq!(eni["subnet"]["cidr"], "10.0.1.0/24");
    assert_eq!((eni["mtu"].as_u64(), json["enis"][0]["mtu"].as_u64()), (Some(1500), Some(9001)));
    assert_eq!(eni["attachment"]["kind"], "packet");
    assert_eq!(json["enis"][0]["attachment"]["netns"], "no-such-namespace");
    let groups = json["security_groups"].as_array().unwrap();
    let web = groups.iter().find(|group| group["name"] == "web").unwrap();
    let rules: Vec<_> =
        web["ingress"].as_array().unwrap().iter().map(|rule| rule["rule"].as_str().unwrap()).collect();
    assert_eq!(rules, ["tcp 443 from 10.0.0.0/16", "tcp 22 from pl:offices", "icmp 8/any from sg:web"]);
    let egress: Vec<_> =
        web["egress"].as_array().unwrap().iter().map(|rule| rule["rule"].as_str().unwrap()).collect();
    assert_eq!(egress, ["all to 0.0.0.0/0"], "AWS's default for a new group");
}

#[test]
fn verbose_tells_what_rules_are_compiled_into() {
    let bench = Bench::new();
    let ran = bench.run(&["check", "-v", "good.toml"]);
    let group = ran.out.lines().find(|line| line.starts_with("group web") && line.contains("ingress"));
    let words: Vec<_> = group.unwrap_or_else(|| panic!("{}", ran.out)).split_whitespace().collect();
    assert_eq!(words[2..6], ["ingress", "IPv4", "3", "pairs"]);
    assert_eq!(words[words.len() - 2..], ["2", "interfaces"], "compiled once for both");
    let json = bench.run(&["check", "-v", "-o", "json", "good.toml"]).json();
    let sets = json["rule_sets"].as_array().unwrap();
    assert!(sets.iter().all(|set| set["bytes"].as_u64() > Some(0) && set["build_nanoseconds"].is_u64()));
    let room = &json["connection_table"];
    assert!(room["entries"] == 262_144 && room["bytes"].as_u64() > Some(262_144 * 200), "{room}");
    assert!(bench.run(&["check", "-o", "json", "good.toml"]).json()["rule_sets"].is_null());
}

/// A rule that is denied by nothing but is redundant (a warning), and one that makes flows untracked (a note).
fn lintable(bench: &Bench) {
    let text = GOOD
        .replace("\"tcp 443 from 10.0.0.0/16\"", "\"tcp 443 from 0.0.0.0/0\", \"tcp 443 from 10.0.0.0/16\"");
    fs::write(bench.path("lintable.toml"), text).unwrap();
}

#[test]
fn lint_tells_what_does_nothing() {
    let bench = Bench::new();
    lintable(&bench);
    let ran = bench.run(&["lint", "lintable.toml"]);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""), "nothing is denied");
    assert!(ran.out.contains("redundant-rule") && ran.out.contains("lintable.toml:12:39]"), "{}", ran.out);
    assert!(ran.out.ends_with("lintable.toml: 1 warning, 1 note\n"), "{}", ran.out);
    let clean = bench.run(&["lint", "good.toml"]);
    assert_eq!((clean.status, clean.out.as_str()), (0, "good.toml: no findings\n"));
}

#[test]
fn lint_ends_as_it_is_told_to() {
    let bench = Bench::new();
    lintable(&bench);
    let status = |words: &[&str]| bench.run(&[&["lint", "lintable.toml"], words].concat()).status;
    assert_eq!(status(&[]), 0);
    assert_eq!(status(&["--deny", "warnings"]), 1);
    assert_eq!(status(&["--deny", "redundant-rule"]), 1);
    assert_eq!(status(&["--deny", "untracked-flows"]), 1, "a note can be denied");
    assert_eq!(status(&["--deny", "unused-group,notes"]), 1);
    assert_eq!(status(&["--deny", "unused-group"]), 0);
    assert_eq!(status(&["--deny", "warnings", "--allow", "redundant-rule"]), 0);
    assert_eq!(status(&["--deny", "redundant-rule", "--allow", "redundant-rule"]), 2);
    assert_eq!(status(&["--deny", "everything"]), 2);
    assert_eq!(status(&["bad.toml"]), 1, "errors of a file");
    assert_eq!(status(&["missing.toml"]), 4);
}

#[test]
fn lint_is_data_too() {
    let bench = Bench::new();
    lintable(&bench);
    let ran = bench.run(&[
        "lint",
        "--output",
        "json",
        "--deny",
        "warnings",
        "--allow",
        "untracked-flows",
        "lintable.toml",
    ]);
    let json = ran.json();
    assert_eq!((ran.status, json["ok"].as_bool(), json["denied"].as_u64()), (1, Some(false), Some(1)));
    let finding = &json["findings"][0];
    assert_eq!((&finding["code"], &finding["severity"]), (&"redundant-rule".into(), &"warning".into()));
    assert_eq!(finding["field"], "security_group.web.ingress[1]");
    assert_eq!(
        (finding["line"].as_u64(), finding["text"].as_str()),
        (Some(12), Some("tcp 443 from 10.0.0.0/16"))
    );
    let rules = finding["rules"].as_array().unwrap();
    assert!(rules.iter().all(|rule| rule["id"].as_str().unwrap().starts_with("sgr-")));
    assert_eq!(rules[1]["rule"], "tcp 443 from 0.0.0.0/0");
    assert_eq!(json["findings"].as_array().map(Vec::len), Some(1), "the note is allowed");
}

#[test]
fn explain_judges_by_a_file_alone() {
    let bench = Bench::new();
    let allowed = bench.run(&["explain", "good.toml", "tcp 10.0.1.10:40000 > 10.0.1.20:443 syn"]);
    assert_eq!(allowed.status, 0, "{}", allowed.err);
    assert!(allowed.out.contains("=> delivered"), "{}", allowed.out);
    assert!(allowed.out.contains("sgr-"), "the deciding rule is named: {}", allowed.out);
    let denied = bench.run(&["explain", "good.toml", "tcp 10.0.1.10:40000 > 10.0.1.20:80 syn"]);
    assert_eq!(denied.status, 0, "a denial is an answer like any other");
    assert!(denied.out.contains("=> dropped (group-ingress)"), "{}", denied.out);
}

#[test]
fn sg_38_a_stale_reference_is_shown_as_such() {
    let bench = Bench::new();
    let stale = GOOD.replace("tcp 443 from 10.0.0.0/16", "tcp 443 from stale:sg-0123456789abcdef0");
    fs::write(bench.path("stale.toml"), stale).unwrap();
    let rules = bench.run(&["check", "-v", "stale.toml"]);
    assert!(rules.out.contains("tcp 443 from stale:sg-0123456789abcdef0"), "{}", rules.out);
    let denied = bench.run(&["explain", "stale.toml", "tcp 10.0.1.10:40000 > 10.0.1.20:443 syn"]);
    assert!(denied.out.contains("=> dropped (group-ingress)"), "{}", denied.out);
    assert!(denied.out.contains("3 ingress rules, 1 stale (SG-38)"), "{}", denied.out);
}

#[test]
fn explain_can_say_no_by_its_exit_status() {
    let bench = Bench::new();
    let status = |packet: &str| bench.run(&["explain", "--exit-code", "good.toml", packet]).status;
    assert_eq!(status("tcp 10.0.1.10:40000 > 10.0.1.20:443 syn"), 0);
    assert_eq!(status("tcp 10.0.1.10:40000 > 10.0.1.20:80 syn"), 1);
    assert_eq!(status("tcp 10.0.1.10:40000"), 2, "not to be taken for a denial");
    assert_eq!(status("tcp 192.0.2.1:40000 > 10.0.1.20:80"), 2, "nobody there can send it");
}

#[test]
fn ct_61_explain_says_where_a_fragment_waits_and_for_what() {
    let bench = Bench::new();
    let packet = "tcp 10.0.1.10:40000 > 10.0.1.20:443 len 8 frag id 7 offset 1480";
    let held = bench.run(&["explain", "--exit-code", "good.toml", packet]);
    assert_eq!(held.status, 1, "it does not arrive");
    let stage = held.out.lines().find(|line| line.trim_start().starts_with("fragments egress")).unwrap();
    assert!(stage.contains(" a ") && stage.contains(" held "), "{stage}");
    let end =
        "=> held: waits up to 1 s for the first fragment of datagram 7 from 10.0.1.10 to 10.0.1.20 (CT-61)\n";
    assert!(held.out.ends_with(end), "{}", held.out);
    let json = bench.run(&["-o", "json", "explain", "good.toml", packet]).json();
    assert_eq!(json["outcome"]["verdict"], "held");
}

#[test]
fn explain_is_data_too() {
    let bench = Bench::new();
    let ran = bench.run(&["-o", "json", "explain", "good.toml", "tcp 10.0.1.10:40000 > 10.0.1.20:80 syn"]);
    let json = ran.json();
    assert_eq!(json["outcome"]["verdict"], "dropped");
    assert_eq!(json["outcome"]["reason"], "group-ingress");
    let denied = json["stages"].as_array().unwrap().iter().find(|stage| stage["result"] == "denied").unwrap();
    assert_eq!(denied["stage"], "security-group");
    assert!(denied["consulted"][0].as_str().unwrap().starts_with("web (sg-"));
}

#[test]
fn colour_is_for_terminals_unless_asked_for() {
    let bench = Bench::new();
    let packet = "tcp 10.0.1.10:40000 > 10.0.1.20:443 syn";
    let coloured = |words: &[&str], env: &[(&str, &str)]| {
        let all = [words, &["explain", "good.toml", packet]].concat();
        let output = bench.command(&all).envs(env.iter().copied()).output().unwrap();
        Ran::from(output).out.contains('\u{1b}')
    };
    assert!(!coloured(&[], &[]), "a pipe is no terminal");
    assert!(coloured(&["--color", "always"], &[]));
    assert!(!coloured(&["--color", "never"], &[("CLICOLOR_FORCE", "1")]));
    assert!(!coloured(&[], &[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "0")]));
    let errors = bench.run(&["--color", "always", "check", "bad.toml"]).err;
    assert!(errors.contains('\u{1b}'), "snippets are coloured as well");
}

/// A scenario of one packet from `a` to `b`.
fn scenario(bench: &Bench, name: &str, port: u16, expect: &str) {
    let text = format!(
        "title = 'One packet'\nrests_on = ['SG-20', 'CT-3']\nworld = 'good.toml'\n[[step]]\nat = '0s'\n\
         send = 'tcp 10.0.1.10:40000 > 10.0.1.20:{port} S'\nexpect = '{expect}'\n"
    );
    fs::write(bench.path(name), text).unwrap();
}

#[test]
fn scenarios_are_told_in_a_table_and_failures_with_the_walk() {
    let bench = Bench::new();
    scenario(&bench, "right.toml", 443, "delivered b");
    scenario(&bench, "wrong.toml", 80, "delivered b");
    let right = bench.run(&["scenario", "right.toml"]);
    assert_eq!((right.status, right.err.as_str()), (0, ""), "no progress bar where there is no terminal");
    let lines: Vec<&str> = right.out.lines().collect();
    assert_eq!(lines[0].split_whitespace().next(), Some("RESULT"));
    let row: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!(row, ["ok", "right.toml", "1", "SG-20", "CT-3", "One", "packet"]);
    assert_eq!(lines[2..], ["1 passed, 0 failed"]);
    let both = bench.run(&["scenario", "right.toml", "wrong.toml"]);
    assert_eq!(both.status, 1);
    assert!(both.out.contains("\nFAIL"), "{}", both.out);
    let why = "wrong.toml: One packet (mode cached)\n  step 1: expected delivered b\n  \
               saw dropped b security-group no-rule\n";
    let (_, walk) = both.out.split_once(why).unwrap_or_else(|| panic!("{}", both.out));
    assert!(walk.contains("security-group ingress") && walk.contains("=> dropped (group-ingress)"), "{walk}");
    assert!(both.out.ends_with("1 passed, 1 failed\n"));
}

#[test]
fn scenarios_are_data_too() {
    let bench = Bench::new();
    scenario(&bench, "right.toml", 443, "delivered b");
    scenario(&bench, "wrong.toml", 80, "delivered b");
    scenario(&bench, "none.toml", 80, "delivered");
    let ran = bench.run(&["scenario", "-o", "json", "right.toml", "wrong.toml", "none.toml"]);
    assert_eq!(ran.status, 1);
    let told: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(told.len(), 3);
    assert_eq!((told[0]["passed"].as_bool(), told[0]["steps"].as_u64()), (Some(true), Some(1)));
    assert_eq!(told[0]["rests_on"], serde_json::json!(["SG-20", "CT-3"]));
    assert_eq!(told[1]["failures"][0]["walk"]["outcome"]["reason"], "group-ingress");
    assert!(
        told[2]["error"].as_str().unwrap().contains("none.toml: TOML parse error at line 7"),
        "{}",
        told[2]
    );
    let missing = bench.run(&["scenario", "no-such-folder/x.toml"]);
    assert!(missing.status == 1 && missing.out.contains("no-such-folder/x.toml"), "{}", missing.out);
}

#[test]
fn schemas_of_both_kinds_of_file() {
    let bench = Bench::new();
    assert_eq!(bench.run(&["schema"]).json()["title"], "Palisade configuration");
    assert_eq!(bench.run(&["schema", "config"]).json()["title"], "Palisade configuration");
    assert_eq!(bench.run(&["schema", "scenario"]).json()["title"], "Palisade scenario");
}

#[test]
fn a_daemon_that_does_not_run_is_a_status_of_its_own() {
    let bench = Bench::new();
    for words in [
        &["status"][..],
        &["conns"],
        &["flows"],
        &["flows", "--follow"],
        &["reload"],
        &["explain", "icmp 10.0.1.10 > 10.0.1.20"],
    ] {
        let ran = bench.run(&[words, &["--socket", "nowhere.sock"]].concat());
        assert_eq!((ran.status, ran.out.as_str()), (3, ""), "{words:?}");
        assert_eq!(ran.err.lines().count(), 2, "what happened and what to do: {}", ran.err);
        assert!(ran.err.contains("nowhere.sock"), "{}", ran.err);
    }
}

#[test]
fn a_daemon_that_cannot_start_leaves_nothing() {
    let bench = Bench::new();
    let ran = bench.run(&["run", "--socket", "run/p.sock", "good.toml"]);
    assert_eq!(ran.status, 4, "{}", ran.err);
    assert!(ran.err.contains("error: eni a: "), "the port is named: {}", ran.err);
    assert!(ran.out.is_empty());
    assert_eq!(fs::read_dir(bench.path("run")).unwrap().count(), 0, "no socket stays");
    let refused = bench.run(&["run", "--socket", "run/p.sock", "bad.toml"]);
    assert_eq!(refused.status, 1);
    assert!(refused.err.contains("bad.toml:7:1]"), "{}", refused.err);
}

#[test]
fn ending_connections_takes_words_or_everything() {
    let bench = Bench::new();
    for words in [
        &["conns", "kill"][..],
        &["conns", "kill", "--all", "port=22"],
        &["conns", "kill", "--all", "--eni", "a"],
    ] {
        let ran = bench.run(words);
        assert_eq!((ran.status, ran.out.as_str()), (2, ""), "{words:?}");
        assert!(ran.err.contains("--all"), "{}", ran.err);
    }
    let unreached = bench.run(&["conns", "kill", "--all", "--socket", "nowhere.sock"]);
    assert_eq!(unreached.status, 3, "{}", unreached.err);
    let help = bench.run(&["conns", "--help"]).out;
    for word in [
        "eni=",
        "proto=",
        "local=",
        "remote=",
        "port=",
        "local-port=",
        "remote-port=",
        "state=",
        "origin=",
        "would-refuse",
    ] {
        assert!(help.contains(word), "{word} is not explained:\n{help}");
    }
    assert_eq!(bench.run(&["man", "pages"]).status, 0);
    let page = fs::read_to_string(bench.path("pages/palisade-conns-kill.1")).unwrap();
    assert!(page.contains("\\-\\-dry\\-run"), "{page}");
    assert!(
        bench.run(&["completions", "bash"]).out.contains("palisade__subcmd__conns__subcmd__kill"),
        "completions know it"
    );
}

#[test]
fn a_wrong_command_line_is_status_2() {
    let bench = Bench::new();
    assert_eq!(bench.run(&["frobnicate"]).status, 2);
    assert_eq!(bench.run(&["check"]).status, 2);
    assert_eq!(bench.run(&["status", "--output", "xml"]).status, 2);
    assert_eq!(bench.run(&[]).status, 2);
}

#[test]
fn what_is_generated_goes_to_standard_output() {
    let bench = Bench::new();
    let schema = bench.run(&["schema"]).json();
    assert_eq!(schema["title"], "Palisade configuration");
    assert!(bench.run(&["completions", "bash"]).out.contains("_palisade"));
    assert!(bench.run(&["man"]).out.contains(".TH palisade 1"));
    assert_eq!(bench.run(&["man", "pages"]).status, 0);
    assert!(Path::exists(&bench.path("pages/palisade-run.1")));
}
