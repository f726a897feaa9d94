//! Where results and errors go: two streams, with or without colour, in one of two forms.

use std::io::{self, IsTerminal as _, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use terminal_size::Height;

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
    /// Lines of the terminal that results go to; none if it is none.
    lines: Option<u16>,
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
            lines: lines(),
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

    /// Whether results go to a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.lines.is_some()
    }

    /// Lines of the terminal that results go to, if they do.
    pub(crate) fn height(&self) -> Option<u16> {
        self.lines.map(|known| {
            terminal_size::terminal_size_of(io::stdout()).map_or(known, |(_, Height(lines))| lines)
        })
    }

    /// Draws in the place of what the terminal shows. Lines that are too long are cut, so that each takes one.
    pub(crate) fn redraw(&mut self, draw: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        self.control("\x1b[?7l\x1b[H\x1b[J")?;
        let drawn = draw(&mut self.out);
        self.control("\x1b[?7h")?;
        drawn
    }

    /// Writes what moves the cursor, past the stream that removes styles where colour is not wanted.
    fn control(&mut self, sequence: &str) -> io::Result<()> {
        self.out.flush()?;
        // This thread holds the lock on standard output already.
        let mut out = io::stdout().lock();
        out.write_all(sequence.as_bytes())?;
        out.flush()
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

fn lines() -> Option<u16> {
    let size = terminal_size::terminal_size_of(io::stdout());
    io::stdout().is_terminal().then(|| size.map_or(24, |(_, Height(lines))| lines))
}

fn width() -> usize {
    if !io::stderr().is_terminal() {
        return 100;
    }
    terminal_size::terminal_size().map_or(100, |(terminal_size::Width(columns), _)| columns.into())
}
