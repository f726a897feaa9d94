//! docs/scenarios.md names everything that a scenario file may say.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::path::Path;

use palisade_engine::{Consumed, DropReason, Stage};
use palisade_scenario::{Change, Conn, Count, notation, schema};

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/scenarios.md");
    std::fs::read_to_string(path).unwrap()
}

/// Every word in code of the page.
fn words() -> BTreeSet<String> {
    let page = page();
    let code = page.split('`').skip(1).step_by(2);
    let separators = |letter: char| letter.is_whitespace() || matches!(letter, ',' | '|' | '[' | ']' | '"');
    code.flat_map(|code| code.split(separators)).map(str::to_owned).collect()
}

/// The names that an error lists behind its last colon.
fn listed(error: &str) -> Vec<String> {
    let (_, list) = error.rsplit_once(": ").unwrap();
    list.split(", ").map(str::to_owned).collect()
}

#[test]
fn keys_ends_and_reasons() {
    let words = words();
    let schema = schema();
    let keys =
        ["/properties", "/$defs/Step/properties"].map(|at| schema.pointer(at).unwrap().as_object().unwrap());
    for key in keys.iter().flat_map(|properties| properties.keys()) {
        assert!(words.contains(key), "the key `{key}`");
    }
    let names = Stage::ALL.map(|stage| stage.to_string()).into_iter();
    let names = names.chain(DropReason::ALL.map(|reason| reason.to_string()));
    for name in names.chain(Consumed::ALL.map(|what| what.to_string())) {
        assert!(words.contains(&name), "`{name}`");
    }
}

#[test]
fn words_of_the_notation() {
    let words = words();
    for wrong in [
        "tcp 10.0.0.1:1 > 10.0.0.2:2 nonsense",
        "udp 10.0.0.1:1 > 10.0.0.2:2 nonsense",
        "icmp 10.0.0.1 > 10.0.0.2 nonsense",
        "a1 arp who-has 10.0.0.1 tell 10.0.0.2 nonsense",
        "udp [::1]:1 > [::2]:2 ext nonsense",
    ] {
        for name in listed(&notation::parse(wrong).unwrap_err().to_string()) {
            assert!(words.contains(&name), "`{name}`, a word of the notation");
        }
    }
}

#[test]
fn changes_states_and_counters() {
    let (page, words) = (page(), words());
    let changes = "nonsense".parse::<Change>().unwrap_err();
    for form in changes.split('`').skip(3).step_by(2) {
        let verbs = form.split(' ').next().unwrap();
        assert!(page.contains(verbs), "{form}");
    }
    let states = "a tcp 1.1.1.1:1 > 2.2.2.2:2 nonsense 1s".parse::<Conn>().unwrap_err();
    for state in listed(&states) {
        assert!(words.contains(&state), "the state `{state}`");
    }
    let counters = "nonsense 1".parse::<Count>().unwrap_err();
    for counter in listed(&counters) {
        for part in counter
            .split(['.', '|'])
            .filter(|part| part.starts_with(char::is_lowercase) && !part.ends_with("ID"))
        {
            assert!(page.contains(part), "{part} of the counter {counter}");
        }
    }
}

/// The example at the top is one, and its files are those of the corpus.
#[test]
fn the_example_is_a_scenario() {
    let page = page();
    let example = page.split("```toml").nth(1).unwrap().split("```").next().unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios/ct");
    assert!(
        folder.join("../scenario.schema.json").exists()
            && example.trim().starts_with("#:schema ../scenario.schema.json")
    );
    let world = folder.join("../worlds/pair.toml");
    let text = example.replace("\"../worlds/pair.toml\"", &format!("{:?}", world.to_str().unwrap()));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("example.toml");
    std::fs::write(&file, text).unwrap();
    let report = palisade_scenario::run_file(&file).unwrap_or_else(|error| panic!("{error}"));
    assert!(report.passed(), "{report:#?}");
}
