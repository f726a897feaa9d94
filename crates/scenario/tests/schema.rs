//! The JSON Schema that stands beside the corpus.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use palisade_scenario::{find, schema};
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios")
}

fn value(text: &str) -> Value {
    serde_json::to_value(toml::from_str::<toml::Value>(text).unwrap()).unwrap()
}

#[test]
fn the_schema_beside_the_corpus_is_the_present_one() {
    let written: Value =
        serde_json::from_str(&fs::read_to_string(folder().join("scenario.schema.json")).unwrap()).unwrap();
    assert!(
        written == schema(),
        "run `just schemas`, which writes tests/scenarios/scenario.schema.json anew"
    );
}

#[test]
fn the_schema_accepts_the_corpus_and_every_file_names_it() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for file in find(&folder()).unwrap() {
        let text = fs::read_to_string(&file).unwrap();
        let faults: Vec<_> = validator.iter_errors(&value(&text)).map(|fault| fault.to_string()).collect();
        assert!(faults.is_empty(), "{}: {faults:?}", file.display());
        let named = text.lines().next().and_then(|line| line.strip_prefix("#:schema "));
        let named = named.map(|path| file.parent().unwrap().join(path));
        assert!(
            named.is_some_and(|path| path.ends_with("scenario.schema.json") && path.exists()),
            "{}: the first line must be `#:schema ` and the way to scenario.schema.json",
            file.display()
        );
    }
}

#[test]
fn the_schema_refuses_misspellings() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let file = folder().join("tracked-outlives-rule.toml");
    let sound = fs::read_to_string(&file).unwrap();
    assert!(validator.is_valid(&value(&sound)));
    for (right, wrong) in [
        ("rests_on", "rest_on"),
        ("\"CT-20\"", "\"CT20\""),
        ("world = ", "worlds = "),
        ("at = \"0s\"", "when = \"0s\""),
        ("expect = \"delivered b1\"", "expect = \"delivers b1\""),
        ("expect = \"delivered b1\"", ""),
        ("conns = [", "conns_total = ["),
        ("change = \"revoke sg:b ingress tcp 22 from 10.0.1.10/32\"", "change = 5"),
        ("change = \"revoke sg:b ingress tcp 22 from 10.0.1.10/32\"", "refused = \"because\""),
    ] {
        assert!(sound.contains(right), "{right}");
        let wrong = value(&sound.replacen(right, wrong, 1));
        assert!(!validator.is_valid(&wrong), "accepted: {wrong}");
    }
}

#[test]
fn a_world_may_stand_inline() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let text = |key: &str| {
        format!(
            "title = 't'\nrests_on = ['CT-3']\n[world.vpc]\n{key} = ['10.0.0.0/16']\n[[step]]\nat = '0s'\nconns = []"
        )
    };
    assert!(validator.is_valid(&value(&text("cidr_blocks"))));
    assert!(!validator.is_valid(&value(&text("cidr_block"))));
}
