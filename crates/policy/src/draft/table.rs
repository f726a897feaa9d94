//! Tables: a fixed set of keys, or names chosen by the user.

use schemars::{Schema, SchemaGenerator, json_schema};
use toml::de::{DeTable, DeValue};

use super::value::{Field, Item, Read, Shape, Text};
use crate::diagnostics::{Code, Report, Span};
use crate::draft::suggest;

/// Declares a table with a fixed set of keys: the draft struct, its reader and its JSON Schema come from one list.
///
/// `required` keys are noted when they are absent. The default of a table is one whose every field is faulty.
macro_rules! table {
    ($(#[doc = $about:literal])* $name:ident { $($(#[doc = $doc:literal])* $kind:ident $key:ident: $type:ty,)* }) => {
        $(#[doc = $about])*
        #[derive(Default, Debug)]
        pub(crate) struct $name {
            $($(#[doc = $doc])* pub(crate) $key: crate::draft::value::Field<$type>,)*
        }

        impl crate::draft::value::Read for $name {
            const NAME: &'static str = stringify!($name);

            fn read(
                item: &crate::draft::value::Item<'_>,
                report: &mut crate::diagnostics::Report<'_>,
            ) -> Option<Self> {
                let table = crate::draft::table::Keys::open(item, report, &[$(stringify!($key)),*])?;
                Some(Self { $($key: table.$kind(stringify!($key), report),)* })
            }

            fn schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let mut keys = crate::draft::table::Described::new(concat!($($about),*));
                $(keys.$kind::<$type>(generator, stringify!($key), concat!($($doc),*));)*
                keys.finish()
            }
        }
    };
}
pub(crate) use table;

/// An opened table whose unknown keys have been noted.
pub(crate) struct Keys<'a> {
    table: &'a DeTable<'a>,
    owner: Span,
}

impl<'a> Keys<'a> {
    /// Notes every key that is not among `known`.
    pub(crate) fn open(item: &Item<'a>, report: &mut Report<'_>, known: &[&str]) -> Option<Self> {
        let DeValue::Table(table) = item.value else { return item.wrong_type(report, "a table") };
        for (key, _) in table {
            if !known.contains(&key.get_ref().as_ref()) {
                unknown_key(report, &Text::new(key.get_ref(), key.span().into(), report.text()), known);
            }
        }
        Some(Self { table, owner: item.owner })
    }

    /// Reads a key that may be absent.
    pub(crate) fn optional<T: Read>(&self, name: &str, report: &mut Report<'_>) -> Field<T> {
        let Some((key, value)) = self.table.iter().find(|(key, _)| key.get_ref() == name) else {
            return Field::Absent;
        };
        let item = Item { value: value.get_ref(), span: value.span().into(), owner: key.span().into() };
        T::read(&item, report).map_or(Field::Faulty, Field::Given)
    }

    /// Reads a key that must be there.
    pub(crate) fn required<T: Read>(&self, name: &str, report: &mut Report<'_>) -> Field<T> {
        let field = self.optional(name, report);
        if let Field::Absent = field {
            let message = format!("the key `{name}` is missing");
            report.add(Code::MissingKey, self.owner, message, format!("add `{name} = …`"));
            return Field::Faulty;
        }
        field
    }
}

fn unknown_key(report: &mut Report<'_>, key: &Text, known: &[&str]) {
    let meant = suggest::did_you_mean(&key.value, known.iter().copied());
    let help = format!("{meant}allowed here: {}", known.join(", "));
    report.add(Code::UnknownKey, key.span, format!("unknown key `{}`", suggest::short(&key.value)), help);
}

/// A table of tables under names that the user chose, in the order of the file. One that is no table keeps its name.
#[derive(Debug)]
pub(crate) struct Named<T>(pub(crate) Vec<(Text, T)>);

impl<T: Read + Default> Read for Named<T> {
    fn read(item: &Item<'_>, report: &mut Report<'_>) -> Option<Self> {
        let DeValue::Table(table) = item.value else { return item.wrong_type(report, "a table of tables") };
        let entries = table.iter().map(|(key, value)| {
            let name = Text::new(key.get_ref(), key.span().into(), report.text());
            let entry = Item { value: value.get_ref(), span: value.span().into(), owner: name.span };
            let entry = T::read(&entry, report).unwrap_or_default();
            (name, entry)
        });
        Some(Self(entries.collect()))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let entry = generator.subschema_for::<Shape<T>>();
        json_schema!({ "type": "object", "additionalProperties": entry, "propertyNames": { "minLength": 1 } })
    }
}

impl<T> Field<Named<T>> {
    /// The tables and their names.
    pub(crate) fn entries(&self) -> &[(Text, T)] {
        self.given().map_or(&[], |named| &named.0)
    }
}

/// The JSON Schema of a table, built up key by key.
pub(crate) struct Described {
    about: &'static str,
    properties: serde_json::Map<String, serde_json::Value>,
    required: Vec<&'static str>,
}

impl Described {
    pub(crate) fn new(about: &'static str) -> Self {
        Self { about, properties: serde_json::Map::new(), required: Vec::new() }
    }

    pub(crate) fn optional<T: Read>(
        &mut self,
        generator: &mut SchemaGenerator,
        key: &'static str,
        doc: &'static str,
    ) {
        let mut schema = generator.subschema_for::<Shape<T>>();
        schema.insert("description".to_owned(), doc.trim().into());
        self.properties.insert(key.to_owned(), schema.to_value());
    }

    pub(crate) fn required<T: Read>(
        &mut self,
        generator: &mut SchemaGenerator,
        key: &'static str,
        doc: &'static str,
    ) {
        self.required.push(key);
        self.optional::<T>(generator, key, doc);
    }

    pub(crate) fn finish(self) -> Schema {
        json_schema!({
            "type": "object",
            "description": self.about.trim(),
            "properties": self.properties,
            "required": self.required,
            "additionalProperties": false,
        })
    }
}
