//! Reading TOML values one by one, noting every fault and going on.
//!
//! serde stops at the first fault of a file; these readers never do. A reader that returns `None` has noted why.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::ops::Range;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::de::DeValue;

use crate::diagnostics::{Code, Report, Span};

/// Something that can be read from a TOML value.
pub(crate) trait Read: Sized {
    /// Name of its definition in the JSON Schema; empty: written out where it is used.
    const NAME: &'static str = "";

    /// Reads the value, or notes what is wrong with it.
    fn read(item: &Item<'_>, report: &mut Report<'_>) -> Option<Self>;

    /// What an editor should accept.
    fn schema(generator: &mut SchemaGenerator) -> Schema;
}

/// A TOML value and where it stands.
pub(crate) struct Item<'a> {
    pub(crate) value: &'a DeValue<'a>,
    /// Where the value stands.
    pub(crate) span: Span,
    /// Where to point if something is missing in it.
    pub(crate) owner: Span,
}

impl Item<'_> {
    /// Notes that another type was wanted.
    pub(crate) fn wrong_type<T>(&self, report: &mut Report<'_>, wanted: &str) -> Option<T> {
        let message = format!("expected {wanted}, found {}", type_name(self.value));
        report.add(Code::WrongType, self.span, message, format!("write {wanted}"));
        None
    }

    /// The value as text.
    pub(crate) fn text(&self, report: &mut Report<'_>, wanted: &str) -> Option<Text> {
        match self.value {
            DeValue::String(text) => Some(Text::new(text, self.span, report.text())),
            _ => self.wrong_type(report, &format!("a string with {wanted}")),
        }
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A value and where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

/// What a key of a table holds.
///
/// A fault has been noted already; whoever looks across tables keeps quiet about what depends on it.
#[derive(Clone, Debug, Default)]
pub(crate) enum Field<T> {
    /// The key is not there, and need not be.
    Absent,
    /// The key is there with a fault, or is missing though it must be there.
    #[default]
    Faulty,
    /// The value.
    Given(T),
}

impl<T> Field<T> {
    /// The value, if there is one.
    pub(crate) fn given(&self) -> Option<&T> {
        match self {
            Self::Given(value) => Some(value),
            Self::Absent | Self::Faulty => None,
        }
    }

    /// Whether what was meant is unknown.
    pub(crate) fn is_faulty(&self) -> bool {
        matches!(self, Self::Faulty)
    }
}

impl<T> Field<List<T>> {
    /// The items that could be read.
    pub(crate) fn items(&self) -> &[T] {
        self.given().map_or(&[], |list| &list.items)
    }

    /// Whether nothing of the list is missing because of a fault.
    pub(crate) fn is_complete(&self) -> bool {
        match self {
            Self::Absent => true,
            Self::Faulty => false,
            Self::Given(list) => list.complete,
        }
    }
}

/// Text of a string or key, and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Text {
    pub(crate) value: String,
    /// The text between the quotes; with them if it is empty or has escapes.
    pub(crate) span: Span,
    verbatim: bool,
}

impl Text {
    /// `span` covers the quotes, if there are any.
    pub(crate) fn new(value: &str, span: Span, source: &str) -> Self {
        let raw = source.get(span.start..span.end).unwrap_or_default();
        let start = span.start + opening(raw);
        let verbatim = !value.is_empty() && source.get(start..).is_some_and(|rest| rest.starts_with(value));
        let inner = Span { start, end: start + value.len() };
        Self { value: value.to_owned(), span: if verbatim { inner } else { span }, verbatim }
    }

    /// A part of the text as a text of its own.
    pub(crate) fn of(&self, word: &super::lex::Word<'_>) -> Self {
        Self { value: word.text.to_owned(), span: word.span, verbatim: self.verbatim }
    }

    /// Where a part of the text stands in the file; the whole string if escapes make that unclear.
    pub(crate) fn part(&self, range: Range<usize>) -> Span {
        if !self.verbatim {
            return self.span;
        }
        Span { start: self.span.start + range.start, end: self.span.start + range.end }
    }
}

/// Length of a TOML string's opening: its quotes, and a line break that three quotes swallow.
fn opening(raw: &str) -> usize {
    for quotes in ["\"\"\"", "'''"] {
        if let Some(rest) = raw.strip_prefix(quotes) {
            let line_break = ["\r\n", "\n"].iter().find(|text| rest.starts_with(**text));
            return quotes.len() + line_break.map_or(0, |text| text.len());
        }
    }
    usize::from(raw.starts_with(['"', '\'']))
}

impl Read for Text {
    fn read(item: &Item<'_>, report: &mut Report<'_>) -> Option<Self> {
        item.text(report, "text")
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

impl Read for At<bool> {
    fn read(item: &Item<'_>, report: &mut Report<'_>) -> Option<Self> {
        match item.value {
            DeValue::Boolean(value) => Some(Self { value: *value, span: item.span }),
            _ => item.wrong_type(report, "true or false"),
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "boolean" })
    }
}

/// A whole number from `MIN` to `MAX`, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Number<const MIN: u32, const MAX: u32>(pub(crate) u32);

impl<const MIN: u32, const MAX: u32> Read for At<Number<MIN, MAX>> {
    fn read(item: &Item<'_>, report: &mut Report<'_>) -> Option<Self> {
        let wanted = format!("a whole number from {MIN} to {MAX}");
        let DeValue::Integer(integer) = item.value else { return item.wrong_type(report, &wanted) };
        let number = i128::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.and_then(|number| u32::try_from(number).ok());
        if let Some(number) = number.filter(|number| (MIN..=MAX).contains(number)) {
            return Some(Self { value: Number(number), span: item.span });
        }
        let message = format!("{integer} is not from {MIN} to {MAX}");
        report.add(Code::OutOfRange, item.span, message, format!("write {wanted}"));
        None
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

/// A list, read item by item: one with a fault does not take the others with it.
#[derive(Debug)]
pub(crate) struct List<T> {
    pub(crate) items: Vec<T>,
    pub(crate) span: Span,
    /// Whether every item could be read.
    pub(crate) complete: bool,
}

impl<T: Read> Read for List<T> {
    fn read(item: &Item<'_>, report: &mut Report<'_>) -> Option<Self> {
        let DeValue::Array(values) = item.value else { return item.wrong_type(report, "a list") };
        let read = values.iter().filter_map(|value| {
            let span = value.span().into();
            T::read(&Item { value: value.get_ref(), span, owner: span }, report)
        });
        let items: Vec<_> = read.collect();
        Some(Self { complete: items.len() == values.len(), items, span: item.span })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let items = generator.subschema_for::<Shape<T>>();
        json_schema!({ "type": "array", "items": items })
    }
}

/// The JSON Schema of something readable, as `schemars` wants it.
pub(crate) struct Shape<T>(PhantomData<T>);

impl<T: Read> JsonSchema for Shape<T> {
    fn inline_schema() -> bool {
        T::NAME.is_empty()
    }

    fn schema_name() -> Cow<'static, str> {
        T::NAME.into()
    }

    fn schema_id() -> Cow<'static, str> {
        std::any::type_name::<T>().into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_strings_are_found() {
        for (raw, value, start) in [
            ("\"ab c\"", "ab c", 1),
            ("'ab c'", "ab c", 1),
            ("\"\"\"\nab c\"\"\"", "ab c", 4),
            ("ab", "ab", 0),
        ] {
            let text = Text::new(value, Span { start: 2, end: 2 + raw.len() }, &format!("= {raw}"));
            assert_eq!(text.part(1..2), Span { start: 2 + start + 1, end: 2 + start + 2 }, "{raw}");
        }
    }

    #[test]
    fn parts_of_escaped_strings_are_the_whole() {
        let text = Text::new("ab", Span { start: 0, end: 9 }, r#""\u0061b""#);
        assert_eq!(text.part(1..2), Span { start: 0, end: 9 });
    }
}
