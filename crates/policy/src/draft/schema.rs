//! The JSON Schema of a configuration file.

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};

use super::file::File;
use super::value::Shape;

/// JSON Schema (draft 2020-12) of a configuration file, for editors.
///
/// It knows keys, types, ranges and the shape of rules; what needs a look at the whole file, only [`super::load`] finds.
#[must_use]
pub fn schema() -> serde_json::Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<Shape<File>>();
    schema.insert("title".to_owned(), "Palisade configuration".into());
    schema.to_value()
}

/// The same as part of another schema, for files that hold a configuration.
pub fn subschema(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<Shape<File>>()
}
