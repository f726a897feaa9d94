//! `palisade scenario`: scripted packets under a virtual clock, in process or on devices, and what was seen.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use palisade_scenario::{Failure, Report, ScenarioError, find, run_file, run_file_on};
use serde::Serialize;

use crate::cli::{Format, Scenario};
use crate::failure::{Exit, Failure as Failed};
use crate::lab::Lab;
use crate::screen::{BAD, GOOD, Screen};

/// Plays the scenarios of a command line, each in a world of its own.
pub(crate) fn play(screen: &mut Screen, request: &Scenario) -> io::Result<Exit> {
    let lab = request.netns.then(|| Lab::open(request.attach)).transpose();
    let (files, lab) = match files(&request.paths).and_then(|files| Ok((files, lab?))) {
        Ok(ready) => ready,
        Err(failure) => return screen.failure(&failure).map(|()| failure.exit),
    };
    let mut count = Count::default();
    for file in &files {
        let result = play_file(lab.as_ref(), file);
        if lab.as_ref().is_some_and(|lab| lab.is_interrupted()) {
            drop(lab);
            let failure = Failed::new("interrupted", "every namespace that was made is removed");
            return screen.failure(&failure).map(|()| failure.exit);
        }
        count.add(&result);
        match screen.format {
            Format::Json => screen.json_line(&Document::new(file, &result))?,
            Format::Table => tell(screen, file, &result)?,
        }
    }
    if screen.format == Format::Table {
        writeln!(screen.out, "{}", count.text(lab.is_some()))?;
    }
    screen.out.flush()?;
    if count.passed < request.at_least {
        let what = format_args!("{} passed, fewer than the {} asked for", count.passed, request.at_least);
        screen.failure(&Failed::with(Exit::No, what, "see above why the others did not"))?;
    }
    Ok(if count.failed == 0 && count.passed >= request.at_least { Exit::Ok } else { Exit::No })
}

fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failed> {
    let found: Result<Vec<_>, _> = paths.iter().map(|path| find(path)).collect();
    let found = found.map_err(|error| Failed::new(error, "name a scenario file, or a folder of them"))?;
    Ok(found.into_iter().flatten().collect())
}

fn play_file(lab: Option<&Arc<Lab>>, file: &Path) -> Result<Report, ScenarioError> {
    match lab {
        Some(lab) => run_file_on(file, |world| lab.stage(file, world)),
        None => run_file(file),
    }
}

/// How many scenarios ended how.
#[derive(Clone, Copy, Default, Debug)]
struct Count {
    passed: usize,
    failed: usize,
    not_playable: usize,
}

impl Count {
    fn add(&mut self, result: &Result<Report, ScenarioError>) {
        *match Ending::of(result) {
            Ending::Passed => &mut self.passed,
            Ending::Failed => &mut self.failed,
            Ending::NotPlayable => &mut self.not_playable,
        } += 1;
    }

    fn text(self, on_devices: bool) -> String {
        let Self { passed, failed, not_playable } = self;
        let rest = if on_devices { format!(", {not_playable} not playable") } else { String::new() };
        format!("{passed} passed, {failed} failed{rest}")
    }
}

/// How one scenario ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    Passed,
    Failed,
    /// Nothing failed up to a step that devices cannot carry.
    NotPlayable,
}

impl Ending {
    fn of(result: &Result<Report, ScenarioError>) -> Self {
        match result {
            Ok(report) if report.passed() => Self::Passed,
            Ok(report) if report.failures.is_empty() => Self::NotPlayable,
            _ => Self::Failed,
        }
    }

    fn word(self) -> String {
        match self {
            Self::Passed => format!("{GOOD}ok  {GOOD:#}"),
            Self::Failed => format!("{BAD}FAIL{BAD:#}"),
            Self::NotPlayable => "n/p ".to_owned(),
        }
    }
}

fn tell(screen: &mut Screen, file: &Path, result: &Result<Report, ScenarioError>) -> io::Result<()> {
    let (out, ending) = (&mut screen.out, Ending::of(result).word());
    match result {
        Ok(report) => {
            writeln!(out, "{ending}  {}: {}", file.display(), report.title)?;
            report.failures.iter().try_for_each(|failure| tell_failure(out, failure))?;
            report.not_playable.iter().try_for_each(|not| {
                let step = if not.step == 0 { "the world".to_owned() } else { format!("step {}", not.step) };
                writeln!(out, "      {step} is not playable: {}", not.reason)
            })
        }
        Err(error) => writeln!(out, "{ending}  {}\n      {error}", file.display()),
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
        let passed = Ending::of(result) == Ending::Passed;
        Self { file: file.display().to_string(), passed, report: result.as_ref().ok(), error }
    }
}
