//! What is told of a file, with snippets of its text, drawn by `miette`.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};

use super::{Diagnostic, Diagnostics, Place, Related};

/// How to draw a report; decided by whoever prints it, never by looking at the terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Style {
    /// Whether to use ANSI colours.
    pub colour: bool,
    /// Columns to wrap at.
    pub width: usize,
}

impl Default for Style {
    /// No colour, 100 columns.
    fn default() -> Self {
        Self { colour: false, width: 100 }
    }
}

impl Diagnostics {
    /// Every fault with the line it stands in and what is allowed there.
    #[must_use]
    pub fn render(&self, style: Style) -> String {
        draw(&self.source, self.found.iter().map(Sketch::from), style)
    }
}

/// What is to be drawn of a fault or a finding.
#[derive(Debug)]
pub(crate) struct Sketch<'d> {
    pub(crate) severity: miette::Severity,
    pub(crate) code: &'d str,
    pub(crate) message: &'d str,
    pub(crate) help: Cow<'d, str>,
    pub(crate) file: &'d str,
    pub(crate) place: Place,
    pub(crate) field: &'d str,
    pub(crate) related: Vec<&'d Related>,
}

impl<'d> From<&'d Diagnostic> for Sketch<'d> {
    fn from(diagnostic: &'d Diagnostic) -> Self {
        Self {
            severity: miette::Severity::Error,
            code: diagnostic.code.as_str(),
            message: &diagnostic.message,
            help: Cow::Borrowed(&diagnostic.help),
            file: &diagnostic.file,
            place: diagnostic.place,
            field: &diagnostic.field,
            related: diagnostic.related.iter().collect(),
        }
    }
}

/// Draws one after the other, each followed by an empty line.
pub(crate) fn draw<'d>(
    source: &Arc<str>,
    sketches: impl Iterator<Item = Sketch<'d>>,
    style: Style,
) -> String {
    let theme = if style.colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(style.width.max(40))
        .with_links(false)
        .with_context_lines(1);
    let mut drawn = String::new();
    for sketch in sketches {
        let source = NamedSource::new(sketch.file, Arc::clone(source));
        let snippet = Snippet { sketch, source };
        if handler.render_report(&mut drawn, &snippet).is_err() {
            drawn.push_str(&snippet.to_string());
        }
        drawn.push('\n');
    }
    drawn
}

/// A sketch together with the text it speaks of.
struct Snippet<'d> {
    sketch: Sketch<'d>,
    source: NamedSource<Arc<str>>,
}

impl fmt::Debug for Snippet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.sketch, f)
    }
}

impl fmt::Display for Snippet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sketch.message)
    }
}

impl std::error::Error for Snippet<'_> {}

impl miette::Diagnostic for Snippet<'_> {
    fn code(&self) -> Option<Box<dyn fmt::Display + '_>> {
        Some(Box::new(self.sketch.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(self.sketch.severity)
    }

    fn help(&self) -> Option<Box<dyn fmt::Display + '_>> {
        Some(Box::new(&self.sketch.help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let Place { offset, length, .. } = self.sketch.place;
        let label = if self.sketch.field.is_empty() { "here" } else { self.sketch.field };
        let here = LabeledSpan::new_primary_with_span(Some(label.to_owned()), (offset, length));
        let related = self.sketch.related.iter().map(|related| {
            let Place { offset, length, .. } = related.place;
            LabeledSpan::new(Some(related.label.clone()), offset, length)
        });
        Some(Box::new(std::iter::once(here).chain(related)))
    }
}
