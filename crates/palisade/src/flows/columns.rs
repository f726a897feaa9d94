//! Where the fields of a file's records stand.

use palisade_flowlog::{Field, Kind};
use serde::ser::{Serialize, SerializeMap as _, Serializer};

/// The fields of a file, those included that nobody here knows.
pub(super) struct Columns {
    names: Vec<String>,
    known: Vec<Option<Field>>,
    /// By field: its place.
    places: Vec<Option<usize>>,
}

impl Columns {
    pub(super) fn of(names: &[String]) -> Self {
        let known: Vec<_> = names.iter().map(|name| Field::named(name)).collect();
        let places = Field::ALL.iter().map(|field| known.iter().position(|known| *known == Some(*field)));
        Self { names: names.to_vec(), places: places.collect(), known }
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    pub(super) fn has(&self, field: Field) -> bool {
        self.places[field as usize].is_some()
    }
}

/// A record: its values beside the fields of its file.
pub(super) struct Row<'a> {
    columns: &'a Columns,
    text: &'a str,
    words: Vec<&'a str>,
}

impl<'a> Row<'a> {
    pub(super) fn of(columns: &'a Columns, text: &'a str) -> Self {
        Self { columns, text, words: text.split_ascii_whitespace().collect() }
    }

    /// A field's value; `None` if it is `-`, or the file does not have it.
    pub(super) fn get(&self, field: Field) -> Option<&'a str> {
        let word = self.words.get(self.columns.places[field as usize]?)?;
        Some(*word).filter(|word| *word != "-")
    }

    /// A field's value as a number.
    pub(super) fn number(&self, field: Field) -> Option<u64> {
        self.get(field)?.parse().ok()
    }

    pub(super) const fn columns(&self) -> &'a Columns {
        self.columns
    }

    pub(super) const fn text(&self) -> &'a str {
        self.text
    }
}

impl Serialize for Row<'_> {
    /// An object: numbers as numbers, `null` for `-`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for ((name, known), word) in self.columns.names.iter().zip(&self.columns.known).zip(&self.words) {
            let is_number = known.is_some_and(|field| field.kind() != Kind::Text);
            match (*word, word.parse::<u64>()) {
                ("-", _) => map.serialize_entry(name, &None::<u64>),
                (_, Ok(number)) if is_number => map.serialize_entry(name, &number),
                _ => map.serialize_entry(name, word),
            }?;
        }
        map.end()
    }
}
