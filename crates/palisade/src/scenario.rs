//! `palisade scenario`: scripted packets under a virtual clock, and what was seen.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use palisade_scenario::{Failure, Report, ScenarioError, find, run_file};
use serde::Serialize;

use crate::cli::{Format, Scenario};
use crate::failure::{Exit, Failure as Failed};
use crate::screen::{BAD, GOOD, Screen};
use crate::table::count;

/// Plays the scenarios of a command line, each in a world of its own.
pub(crate) fn play(screen: &mut Screen, request: &Scenario) -> io::Result<Exit> {
    let files: Vec<PathBuf> = match request.paths.iter().map(|path| find(path)).collect::<Result<Vec<_>, _>>()
    {
        Ok(found) => found.into_iter().flatten().collect(),
        Err(error) => {
            let failure = Failed::with(Exit::Failed, error, "name a scenario file, or a folder of them");
            return screen.failure(&failure).map(|()| failure.exit);
        }
    };
    let mut failed = 0;
    for file in &files {
        let result = run_file(file);
        failed += usize::from(!passed(&result));
        match screen.format {
            Format::Json => screen.json_line(&Document::new(file, &result))?,
            Format::Table => tell(screen, file, &result)?,
        }
    }
    if screen.format == Format::Table {
        let played = count(files.len(), "scenario");
        writeln!(screen.out, "{played}, {failed} failed")?;
    }
    screen.out.flush()?;
    Ok(if failed == 0 { Exit::Ok } else { Exit::No })
}

fn passed(result: &Result<Report, ScenarioError>) -> bool {
    result.as_ref().is_ok_and(Report::passed)
}

fn tell(screen: &mut Screen, file: &Path, result: &Result<Report, ScenarioError>) -> io::Result<()> {
    let out = &mut screen.out;
    let verdict = if passed(result) { format!("{GOOD}ok  {GOOD:#}") } else { format!("{BAD}FAIL{BAD:#}") };
    match result {
        Ok(report) => {
            writeln!(out, "{verdict}  {}: {}", file.display(), report.title)?;
            report.failures.iter().try_for_each(|failure| tell_failure(out, failure))
        }
        Err(error) => writeln!(out, "{verdict}  {}\n      {error}", file.display()),
    }
}

fn tell_failure(out: &mut dyn io::Write, failure: &Failure) -> io::Result<()> {
    let when = failure.step.map_or_else(|| "at the end".to_owned(), |step| format!("step {step}"));
    writeln!(out, "      {when}: expected {}\n      saw {}", failure.expected, failure.seen)?;
    let walk = failure.walk.as_ref().map(ToString::to_string).unwrap_or_default();
    walk.lines().try_for_each(|line| writeln!(out, "        {line}"))
}

/// The JSON document of one scenario.
#[derive(Serialize)]
struct Document<'a> {
    file: String,
    passed: bool,
    #[serde(flatten)]
    report: Option<&'a Report>,
    error: Option<String>,
}

impl<'a> Document<'a> {
    fn new(file: &Path, result: &'a Result<Report, ScenarioError>) -> Self {
        let error = result.as_ref().err().map(ToString::to_string);
        Self { file: file.display().to_string(), passed: passed(result), report: result.as_ref().ok(), error }
    }
}
