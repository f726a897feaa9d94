//! Tests that span modules, and the frames they are made from.

mod cutting;
mod hostile;
mod joining;
mod oracle;
mod parsing;
pub(crate) mod samples;

/// `default` cases per property unless `PROPTEST_CASES` says otherwise.
pub(crate) fn cases(default: u32) -> proptest::test_runner::Config {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    proptest::test_runner::Config {
        failure_persistence: None,
        ..proptest::test_runner::Config::with_cases(cases.unwrap_or(default))
    }
}
