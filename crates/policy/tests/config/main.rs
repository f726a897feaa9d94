//! Configuration files: every fault is found where it stands, the samples load, no text makes the reader panic.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod faults;
mod flow_logs;
mod meaning;
mod mirroring;
mod properties;
mod report;
mod samples;
mod statements;

use palisade_policy::diagnostics::{Code, Diagnostics};
use palisade_policy::model::Vpc;

/// The VPC of a text that must be free of faults.
fn load(text: &str) -> Vpc {
    palisade_policy::draft::load("test.toml", text).unwrap_or_else(|faults| panic!("{faults}\nin:\n{text}"))
}

/// The faults of a text that must have some.
fn faults(text: &str) -> Diagnostics {
    match palisade_policy::draft::load("test.toml", text) {
        Ok(_) => panic!("no fault was found in:\n{text}"),
        Err(faults) => faults,
    }
}

/// Kind and offending text of every fault.
fn kinds(text: &str) -> Vec<(Code, String)> {
    faults(text).iter().map(|fault| (fault.code, fault.text.clone())).collect()
}
