//! Tables in plain columns, as `ip` and `kubectl` users know them: no borders, easily cut apart.

use std::io::{self, Write};

use anstyle::Style;
use comfy_table::{CellAlignment, ContentArrangement, presets};

use crate::screen::HEADING;

/// A column: its title, and on which side its values stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Column {
    /// Text.
    Left(&'static str),
    /// A number.
    Right(&'static str),
}

/// Rows under titles.
pub(crate) struct Table {
    table: comfy_table::Table,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(columns: &[Column]) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(columns.iter().map(|column| column.title()));
        for (at, column) in columns.iter().enumerate() {
            let Some(made) = table.column_mut(at) else { continue };
            made.set_padding((0, 2));
            if let Column::Right(_) = column {
                made.set_cell_alignment(CellAlignment::Right);
            }
        }
        Self { table }
    }

    /// Adds a row, one value per column.
    pub(crate) fn row<I>(&mut self, values: I)
    where
        I: IntoIterator,
        I::Item: Into<comfy_table::Cell>,
    {
        self.table.add_row(values);
    }

    /// Whether it has no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Writes the table, its titles in bold.
    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        self.write_with(out, |_| Style::new())
    }

    /// The same with the first word of each row in a style of its own.
    pub(crate) fn write_with(&self, out: &mut dyn Write, style: impl Fn(&str) -> Style) -> io::Result<()> {
        let mut lines = self.table.lines();
        if let Some(titles) = lines.next() {
            writeln!(out, "{HEADING}{}{HEADING:#}", titles.trim_end())?;
        }
        lines.try_for_each(|line| {
            let (word, rest) = line.split_at(line.find(' ').unwrap_or(line.len()));
            let style = style(word);
            writeln!(out, "{style}{word}{style:#}{}", rest.trim_end())
        })
    }
}

impl Column {
    const fn title(self) -> &'static str {
        match self {
            Self::Left(title) | Self::Right(title) => title,
        }
    }
}

/// `none`, or what there is.
pub(crate) fn or_dash(value: Option<&str>) -> &str {
    value.filter(|value| !value.is_empty()).unwrap_or("-")
}

/// `one subnet`, `2 subnets`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_tail() {
        let mut table = Table::new(&[Column::Left("NAME"), Column::Right("PACKETS"), Column::Left("STATE")]);
        table.row(["web-1", "7", "up"]);
        table.row(["a", "12345678", "down"]);
        let mut out = anstream::StripStream::new(Vec::new());
        table.write(&mut out).unwrap();
        let text = String::from_utf8(out.into_inner()).unwrap();
        assert_eq!(text, "NAME    PACKETS  STATE\nweb-1         7  up\na      12345678  down\n");
    }
}
