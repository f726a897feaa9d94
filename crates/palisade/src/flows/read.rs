//! `palisade flows read`: published files of flow logs, summed up or filtered.

use std::io::{self, Write as _};
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use palisade_flowlog::{Records, Selection, find};

use super::columns::{Columns, Row};
use super::summary::Summary;
use crate::cli::{Format, Read};
use crate::failure::{Exit, Failure};
use crate::screen::Screen;

/// Carries out `palisade flows read`.
pub(super) fn read(screen: &mut Screen, request: &Read) -> io::Result<Exit> {
    match sum_up(screen, request) {
        Ok(()) => screen.out.flush().map(|()| Exit::Ok),
        Err(Stop::Output(error)) => Err(error),
        Err(Stop::Input(failure)) => screen.failure(&failure).map(|()| failure.exit),
    }
}

/// Why reading ended before its end.
enum Stop {
    /// Results cannot be written.
    Output(io::Error),
    /// What is asked for cannot be had.
    Input(Failure),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

fn sum_up(screen: &mut Screen, request: &Read) -> Result<(), Stop> {
    let selection = selection(request)?;
    let files =
        find(&request.paths).map_err(|(path, error)| Stop::Input(Failure::file("read", &path, &error)))?;
    let bar = progress(files.len());
    let (mut summary, mut header) = (Summary::default(), Vec::new());
    for file in &files {
        bar.set_message(file.display().to_string());
        let visited = visit(file, &selection, |row| match (request.records, screen.format) {
            (false, _) => {
                summary.add(row);
                Ok(())
            }
            (true, Format::Json) => screen.json_line(row),
            (true, Format::Table) => line(screen, &mut header, row),
        });
        visited.inspect_err(|_| bar.finish_and_clear())?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    if !request.records {
        summary.tell(screen, files.len(), request.top)?;
    }
    Ok(())
}

fn selection(request: &Read) -> Result<Selection, Stop> {
    let Some(text) = &request.conditions else { return Ok(Selection::default()) };
    Selection::parse(text).map_err(|error| Stop::Input(Failure::with(Exit::Usage, &error.what, error.help)))
}

/// How far it is, on the error stream; nothing is shown unless that is a terminal.
fn progress(files: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {wide_msg}").expect("a sound template");
    ProgressBar::new(files.try_into().unwrap_or(u64::MAX)).with_style(style)
}

/// Shows a function every record of a file that is meant.
fn visit(
    file: &Path,
    selection: &Selection,
    mut with: impl FnMut(&Row<'_>) -> io::Result<()>,
) -> Result<(), Stop> {
    let failed = |error: io::Error| Stop::Input(Failure::file("read", file, &error));
    let records = Records::open(file).map_err(failed)?;
    let columns = Columns::of(records.names());
    if let Some([missing, ..]) =
        selection.needs().find(|fields| !fields.iter().any(|field| columns.has(*field)))
    {
        let what = format!("{} has no field `{}`", file.display(), missing);
        let help = format!("its fields are {}", columns.names().join(" "));
        return Err(Stop::Input(Failure::with(Exit::Usage, what, help)));
    }
    for record in records {
        let text = record.map_err(failed)?;
        let row = Row::of(&columns, &text);
        if selection.matches(|field| row.get(field)) {
            with(&row)?;
        }
    }
    Ok(())
}

/// Writes a record, after the names of its fields if they are others than those of the one before.
fn line(screen: &mut Screen, header: &mut Vec<String>, row: &Row<'_>) -> io::Result<()> {
    if header != row.columns().names() {
        *header = row.columns().names().to_vec();
        writeln!(screen.out, "{}", header.join(" "))?;
    }
    writeln!(screen.out, "{}", row.text())
}
