//! Every scenario of the published corpus passes.

use std::path::{Path, PathBuf};

use palisade_scenario::{Expectation, Scenario, find, run_file};

fn corpus() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios");
    find(&folder).expect("the corpus is part of the source tree")
}

#[test]
fn every_scenario_passes() {
    let files = corpus();
    assert!(files.len() >= 320, "the corpus is incomplete: {files:?}");
    let mut failed = Vec::new();
    for file in files {
        match run_file(&file) {
            Ok(report) if report.failures.is_empty() => {}
            Ok(report) => failed.extend(report.failures.iter().map(|failure| {
                let walk = failure.walk.as_ref().map(ToString::to_string).unwrap_or_default();
                let (step, expected, seen) =
                    (failure.step.unwrap_or_default(), &failure.expected, &failure.seen);
                format!("{}, step {step}: expected {expected}, saw {seen}\n{walk}", file.display())
            })),
            Err(error) => failed.push(format!("{}: {error}", file.display())),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Of every drop the corpus says where, at which stage and what decided, so that `explain` is held to all of it.
#[test]
fn every_drop_names_its_stage() {
    for file in corpus() {
        let scenario = Scenario::load(&file).expect("every_scenario_passes tells more");
        for (at, step) in scenario.steps.iter().enumerate() {
            let full = step.expect.iter().chain(&step.released).all(Expectation::names_the_stage);
            assert!(full, "{}, step {}: `dropped AT STAGE WHY` is the form here", file.display(), at + 1);
        }
    }
}
