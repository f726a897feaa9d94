//! `palisade lint` as its documentation describes it, and findings in particular.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod cases;
mod documentation;

use palisade_policy::lint::{Code, Findings, lint};
use toml::{Table, Value};

/// The findings of a text, which must be a configuration.
fn findings(text: &str) -> Findings {
    lint("test.toml", text).unwrap_or_else(|faults| panic!("{faults}\nin:\n{text}"))
}

/// What kinds of finding a text has, in order, each once.
fn codes(text: &str) -> Vec<Code> {
    let mut codes: Vec<Code> = findings(text).iter().map(|finding| finding.code).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

/// A text laid over another: tables merge, everything else replaces.
fn over(base: &str, patch: &str) -> String {
    let table = |text: &str| text.parse::<Table>().unwrap_or_else(|error| panic!("{error}\nin:\n{text}"));
    let mut merged = table(base);
    merge(&mut merged, table(patch));
    toml::to_string(&merged).unwrap()
}

fn merge(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => drop(below.insert(key, value)),
        }
    }
}
