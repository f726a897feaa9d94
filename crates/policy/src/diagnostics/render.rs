//! Diagnostics with snippets of the source, drawn by `miette`.

use std::fmt;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};

use super::{Diagnostic, Diagnostics, Place};

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
        let theme = if style.colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_width(style.width.max(40))
            .with_links(false)
            .with_context_lines(1);
        let mut drawn = String::new();
        for diagnostic in &self.found {
            let source = NamedSource::new(&diagnostic.file, self.source.clone());
            let snippet = Snippet { diagnostic, source };
            if handler.render_report(&mut drawn, &snippet).is_err() {
                drawn.push_str(&diagnostic.to_string());
            }
            drawn.push('\n');
        }
        drawn
    }
}

/// One fault together with the text it stands in.
struct Snippet<'d> {
    diagnostic: &'d Diagnostic,
    source: NamedSource<std::sync::Arc<str>>,
}

impl fmt::Debug for Snippet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.diagnostic, f)
    }
}

impl fmt::Display for Snippet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.diagnostic.message)
    }
}

impl std::error::Error for Snippet<'_> {}

impl miette::Diagnostic for Snippet<'_> {
    fn code(&self) -> Option<Box<dyn fmt::Display + '_>> {
        Some(Box::new(self.diagnostic.code.as_str()))
    }

    fn help(&self) -> Option<Box<dyn fmt::Display + '_>> {
        Some(Box::new(&self.diagnostic.help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let Place { offset, length, .. } = self.diagnostic.place;
        let field = &self.diagnostic.field;
        let label = if field.is_empty() { "here" } else { field };
        let here = LabeledSpan::new_primary_with_span(Some(label.to_owned()), (offset, length));
        let related = self.diagnostic.related.iter().map(|related| {
            let Place { offset, length, .. } = related.place;
            LabeledSpan::new(Some(related.label.clone()), offset, length)
        });
        Some(Box::new(std::iter::once(here).chain(related)))
    }
}
