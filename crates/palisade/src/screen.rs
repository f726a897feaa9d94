//! Where results and errors go: two streams, with or without colour, in one of two forms.

use std::io::{self, IsTerminal as _, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::cli::{Format, Look, When};
use crate::failure::Failure;

/// Bold, for headings.
pub(crate) const HEADING: Style = Style::new().bold();
/// Dim, for what matters less.
pub(crate) const FAINT: Style = Style::new().dimmed();
/// What is as it should be.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What is not.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What to look at.
pub(crate) const NOTABLE: Style = AnsiColor::Yellow.on_default();

/// The streams of a command. Styles written to them are removed where colour is not wanted.
pub(crate) struct Screen {
    /// Results.
    pub(crate) out: Box<dyn Write>,
    /// Errors.
    pub(crate) err: Box<dyn Write>,
    /// Form of the results.
    pub(crate) format: Format,
    /// Whether the error stream takes colour, for what is drawn elsewhere.
    pub(crate) colour: bool,
    /// Columns to wrap at.
    pub(crate) width: usize,
}

impl Screen {
    /// The streams of the process.
    pub(crate) fn standard(look: Look) -> Self {
        let choice = match look.color {
            When::Auto => anstream::ColorChoice::Auto,
            When::Always => anstream::ColorChoice::Always,
            When::Never => anstream::ColorChoice::Never,
        };
        let out = anstream::AutoStream::new(io::stdout().lock(), choice);
        let err = anstream::AutoStream::new(io::stderr(), choice);
        let colour = err.current_choice() != anstream::ColorChoice::Never;
        Self {
            out: Box::new(io::BufWriter::new(out)),
            err: Box::new(err),
            format: look.output,
            colour,
            width: width(),
        }
    }

    /// Writes a value as one indented JSON document.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut self.out, value)?;
        writeln!(self.out)?;
        self.out.flush()
    }

    /// Writes a value as one line of JSON.
    pub(crate) fn json_line(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, value)?;
        writeln!(self.out)?;
        self.out.flush()
    }

    /// Writes what went wrong and what to do.
    pub(crate) fn failure(&mut self, failure: &Failure) -> io::Result<()> {
        self.out.flush()?;
        writeln!(self.err, "{BAD}error:{BAD:#} {}", failure.what)?;
        if !failure.help.is_empty() {
            writeln!(self.err, " {HEADING}help:{HEADING:#} {}", failure.help)?;
        }
        self.err.flush()
    }
}

fn width() -> usize {
    if !io::stderr().is_terminal() {
        return 100;
    }
    terminal_size::terminal_size().map_or(100, |(terminal_size::Width(columns), _)| columns.into())
}
