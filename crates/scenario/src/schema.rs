//! The JSON Schema of a scenario file.

use std::borrow::Cow;

use palisade_policy::diagnostics::Code;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform as _};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::file::{Scenario, World};

/// JSON Schema (draft 2020-12) of a scenario file, for editors.
///
/// It knows keys and types, which keys need each other, and the notations by their beginnings; what they say, only
/// [`Scenario::load`] checks.
#[must_use]
pub fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<Scenario>();
    schema.insert("title".to_owned(), "Palisade scenario".into());
    RecursiveTransform(without_null).transform(&mut schema);
    let mut schema = schema.to_value();
    if let Some(step) = schema.pointer_mut("/$defs/Step").and_then(Value::as_object_mut) {
        step.insert("dependentRequired".to_owned(), needs());
    }
    schema
}

/// Keys of a step that are nothing without others.
fn needs() -> Value {
    let told_of_packets =
        ["expect", "released", "by", "link", "bytes", "packets", "copies", "reply", "answer"];
    let mut needs: serde_json::Map<_, _> =
        told_of_packets.iter().map(|key| ((*key).to_owned(), json!(["send"]))).collect();
    needs.insert("send".to_owned(), json!(["expect"]));
    needs.into()
}

/// TOML has no null: what is optional may be absent.
fn without_null(schema: &mut Schema) {
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
    if let Some(types) = schema.get_mut("type").and_then(Value::as_array_mut) {
        types.retain(|name| name != "null");
        if let [one] = &**types {
            let one = one.clone();
            schema.insert("type".to_owned(), one);
        }
    }
}

/// A text, or a list of them.
pub(crate) fn one_or_more(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
}

/// Kinds of fault.
pub(crate) fn codes(_: &mut SchemaGenerator) -> Schema {
    let all: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    json_schema!({ "enum": all })
}

impl JsonSchema for World {
    fn schema_name() -> Cow<'static, str> {
        "World".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let inline = palisade_policy::draft::subschema(generator);
        json_schema!({
            "description": "A configuration file, relative to this one; or the tables of one.",
            "anyOf": [{ "type": "string" }, inline]
        })
    }
}
