//! The collector that checks write to, and the places it turns into lines and columns.

use std::ops::Range;
use std::sync::Arc;

use super::field::Fields;
use super::{Code, Diagnostic, Diagnostics, Place, Related};

/// Byte range in the file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self { start: range.start, end: range.end }
    }
}

/// Collects the faults of one file.
pub(crate) struct Report<'t> {
    text: &'t str,
    findings: Vec<Finding>,
}

/// A fault whose line and column are not worked out yet.
pub(crate) struct Finding {
    code: Code,
    span: Span,
    message: String,
    help: String,
    related: Option<(Span, String)>,
}

impl Finding {
    /// Adds a second place to the fault.
    pub(crate) fn related(&mut self, span: Span, label: impl Into<String>) {
        self.related = Some((span, label.into()));
    }
}

impl<'t> Report<'t> {
    /// An empty report on a file's text.
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, findings: Vec::new() }
    }

    /// Text of the file.
    pub(crate) fn text(&self) -> &'t str {
        self.text
    }

    /// Whether nothing has been found so far.
    pub(crate) fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    /// Notes a fault: what is wrong at `span`, and what is allowed there.
    pub(crate) fn add(
        &mut self,
        code: Code,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> &mut Finding {
        let at = self.findings.len();
        let finding = Finding { code, span, message: message.into(), help: help.into(), related: None };
        self.findings.push(finding);
        &mut self.findings[at]
    }

    /// The faults in the order of their places.
    pub(crate) fn finish(mut self, file: &str) -> Diagnostics {
        self.findings.sort_by_key(|finding| finding.span);
        let layout = Layout::new(self.text);
        let found = self.findings.into_iter().map(|finding| layout.diagnostic(file, finding)).collect();
        Diagnostics { source: Arc::from(self.text), found }
    }
}

/// Where the lines and fields of a text are.
pub(crate) struct Layout<'t> {
    text: &'t str,
    /// Where each line starts.
    starts: Vec<usize>,
    fields: Fields,
}

impl<'t> Layout<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        let after_breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(after_breaks).collect(), fields: Fields::of(text) }
    }

    /// The text at a place.
    pub(crate) fn text(&self, place: Place) -> String {
        self.text[place.offset..place.offset + place.length].to_owned()
    }

    /// The field at a place.
    pub(crate) fn field(&self, place: Place) -> String {
        self.fields.at(place.offset).to_owned()
    }

    fn diagnostic(&self, file: &str, finding: Finding) -> Diagnostic {
        let place = self.place(finding.span);
        let related = finding.related.map(|(span, label)| Related { label, place: self.place(span) });
        Diagnostic {
            code: finding.code,
            message: finding.message,
            file: file.to_owned(),
            text: self.text(place),
            field: self.field(place),
            place,
            help: finding.help,
            related,
        }
    }

    /// A span beyond the text or inside a character is moved to the nearest place before.
    pub(crate) fn place(&self, span: Span) -> Place {
        let offset = self.text.floor_char_boundary(span.start);
        let end = self.text.floor_char_boundary(span.end).max(offset);
        let line = self.starts.partition_point(|start| *start <= offset);
        let column = self.text[self.starts[line - 1]..offset].chars().count() + 1;
        Place { line, column, offset, length: end - offset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, start: usize, end: usize) -> (usize, usize, usize) {
        let place = Layout::new(text).place(Span { start, end });
        (place.line, place.column, place.length)
    }

    #[test]
    fn columns_count_characters_from_one() {
        assert_eq!(place("a\nbé c\n", 0, 1), (1, 1, 1));
        assert_eq!(place("a\nbé c\n", 6, 7), (2, 4, 1), "é is two bytes and one column");
    }

    #[test]
    fn spans_out_of_the_text_are_brought_back() {
        assert_eq!(place("é", 1, 9), (1, 1, 2));
        assert_eq!(place("ab", 7, 3), (1, 3, 0));
        assert_eq!(place("", 0, 0), (1, 1, 0));
    }
}
