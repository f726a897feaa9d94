//! Any text as a scenario file, which is then played.

use std::path::Path;

use palisade_scenario::{Mode, Report, Scenario, ScenarioError, run_in};

/// Steps that are carried out, repetitions included; files that want more are only read.
const MOST_STEPS: u32 = 100;

/// Reads a scenario and plays it with and without flow cache, by one worker and by four.
///
/// # Panics
///
/// If reading twice gives two scenarios, a refusal does not say where and why, or what is seen depends on the cache, on
/// when expired connections are reclaimed, or on which worker has a packet.
pub fn scenario(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Worlds in files are found from there.
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/worlds/any.toml"));
    match Scenario::read(path, text) {
        Err(why) => says_where(&why),
        Ok(scenario) => {
            assert!(Scenario::read(path, text).is_ok_and(|again| again == scenario), "reading twice differs");
            let repeated = |sum: u32, repeat: u32| sum.saturating_add(repeat);
            let steps = scenario.steps.iter().map(|step| step.repeat.unwrap_or(1)).fold(0, repeated);
            if steps <= MOST_STEPS {
                play(path, &scenario);
            }
        }
    }
}

fn play(path: &Path, scenario: &Scenario) {
    let [first, others @ ..] = Mode::ALL.map(|mode| run_in(mode, path, scenario));
    for other in others {
        match (&first, &other) {
            (Ok(one), Ok(other)) => assert_eq!(seen(one), seen(other), "the mode is seen"),
            (Err(one), Err(other)) => assert_eq!(one.to_string(), other.to_string()),
            (one, other) => panic!("the mode decides whether it can be played: {one:?}, {other:?}"),
        }
    }
    if let Err(why) = first {
        says_where(&why);
    }
}

/// What must be seen and is not.
fn seen(report: &Report) -> Vec<(Option<usize>, &str, &str)> {
    report.failures.iter().map(|failure| (failure.step, &*failure.expected, &*failure.seen)).collect()
}

fn says_where(why: &ScenarioError) {
    let text = why.to_string();
    assert!(text.contains(".toml") && text.len() > 30, "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver;

    #[test]
    fn the_corpus_passes() {
        for file in driver::corpus("scenario").expect("the corpus is part of the source tree") {
            let text = String::from_utf8(file).expect("text");
            let path = Path::new("corpus.toml");
            let scenario = Scenario::read(path, &text).unwrap_or_else(|why| panic!("{why}"));
            let report = run_in(Mode::ALL[0], path, &scenario).unwrap_or_else(|why| panic!("{why}"));
            assert!(report.passed(), "{:?}", report.failures);
        }
    }
}
