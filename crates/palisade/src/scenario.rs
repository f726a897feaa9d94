//! `palisade scenario`: scripted packets under a virtual clock, in process or on devices, and what was seen.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use palisade_scenario::{Failure, Report, ScenarioError, find, run_file, run_file_on};
use serde::Serialize;

use crate::cli::{Format, Scenario};
use crate::failure::{Exit, Failure as Failed};
use crate::lab::{Lab, Served};
use crate::screen::{BAD, GOOD, NOTABLE, Screen};
use crate::table::{Column, Table};

/// Plays the scenarios of a command line, each in a world of its own.
pub(crate) fn play(screen: &mut Screen, request: &Scenario) -> io::Result<Exit> {
    let lab = request.netns.then(|| Lab::open(request.attach)).transpose();
    let (files, lab) = match files(&request.paths).and_then(|files| Ok((files, lab?))) {
        Ok(ready) => ready,
        Err(failure) => return screen.failure(&failure).map(|()| failure.exit),
    };
    let (bar, mut played) = (progress(files.len()), Vec::with_capacity(files.len()));
    for file in files {
        bar.set_message(file.display().to_string());
        let result = play_file(lab.as_ref(), &file);
        if lab.as_ref().is_some_and(|lab| lab.is_interrupted()) {
            drop(lab);
            bar.finish_and_clear();
            let failure = Failed::new("interrupted", "every namespace that was made is removed");
            return screen.failure(&failure).map(|()| failure.exit);
        }
        if screen.format == Format::Json {
            screen.json_line(&Document::new(&file, &result))?;
        }
        played.push((file, result));
        bar.inc(1);
    }
    bar.finish_and_clear();
    let count = Count::of(&played);
    if screen.format == Format::Table {
        tell(&mut *screen.out, &played, &count.text(lab.as_deref()))?;
    }
    if count.passed < request.at_least {
        let what = format_args!("{} passed, fewer than the {} asked for", count.passed, request.at_least);
        screen.failure(&Failed::with(Exit::No, what, "see above why the others did not"))?;
    }
    Ok(if count.failed == 0 && count.passed >= request.at_least { Exit::Ok } else { Exit::No })
}

/// What came of a file.
type Played = (PathBuf, Result<Report, ScenarioError>);

/// How far it is, on the error stream; nothing is shown unless that is a terminal.
fn progress(files: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {wide_msg}").expect("a sound template");
    ProgressBar::new(files.try_into().unwrap_or(u64::MAX)).with_style(style)
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
    fn of(played: &[Played]) -> Self {
        let mut count = Self::default();
        for (_, result) in played {
            *match Ending::of(result) {
                Ending::Passed => &mut count.passed,
                Ending::Failed => &mut count.failed,
                Ending::NotPlayable => &mut count.not_playable,
            } += 1;
        }
        count
    }

    fn text(self, lab: Option<&Lab>) -> String {
        let Self { passed, failed, not_playable } = self;
        let lab = lab.map(|lab| {
            let Served { taps, packets } = lab.served();
            format!(", {not_playable} not playable; {taps} ports were TAPs, {packets} packet sockets")
        });
        format!("{passed} passed, {failed} failed{}", lab.unwrap_or_default())
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

    const fn word(self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::Failed => "FAIL",
            Self::NotPlayable => "n/p",
        }
    }
}

/// A table of all, then what there is to say of those that did not pass, then how many.
fn tell(out: &mut dyn io::Write, played: &[Played], count: &str) -> io::Result<()> {
    let columns = [
        Column::Left("RESULT"),
        Column::Left("SCENARIO"),
        Column::Right("STEPS"),
        Column::Left("STATEMENTS"),
        Column::Left("TITLE"),
    ];
    let mut table = Table::new(&columns);
    for (file, result) in played {
        let (steps, statements, title) = match result {
            Ok(Report { steps, rests_on, title, .. }) => (steps.to_string(), rests_on.join(" "), &**title),
            Err(_) => ("-".to_owned(), "-".to_owned(), "-"),
        };
        let (word, file) = (Ending::of(result).word(), file.display().to_string());
        table.row([word, &file, &steps, &statements, title]);
    }
    table.write_with(out, |word| match word {
        "ok" => GOOD,
        "FAIL" => BAD,
        _ => NOTABLE,
    })?;
    played.iter().try_for_each(|(file, result)| explain(out, file, result))?;
    writeln!(out, "{count}")?;
    out.flush()
}

/// Why a scenario did not pass.
fn explain(out: &mut dyn io::Write, file: &Path, result: &Result<Report, ScenarioError>) -> io::Result<()> {
    let report = match result {
        Ok(report) if report.passed() => return Ok(()),
        Ok(report) => report,
        Err(error) => return writeln!(out, "\n{BAD}error:{BAD:#} {}", error.to_string().trim_end()),
    };
    let mode = report.mode.map(|mode| format!(" (mode {mode})")).unwrap_or_default();
    writeln!(out, "\n{BAD}{}{BAD:#}: {}{mode}", file.display(), report.title)?;
    report.failures.iter().try_for_each(|failure| tell_failure(out, failure))?;
    report.not_playable.iter().try_for_each(|not| {
        let step = if not.step == 0 { "the world".to_owned() } else { format!("step {}", not.step) };
        writeln!(out, "  {step} is not playable: {}", not.reason)
    })
}

fn tell_failure(out: &mut dyn io::Write, failure: &Failure) -> io::Result<()> {
    let when = failure.step.map_or_else(|| "at the end".to_owned(), |step| format!("step {step}"));
    writeln!(out, "  {when}: expected {}\n  saw {}", failure.expected, failure.seen)?;
    let walk = failure.walk.as_ref().map(ToString::to_string).unwrap_or_default();
    walk.lines().try_for_each(|line| writeln!(out, "    {line}"))
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
