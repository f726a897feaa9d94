//! Lines of published text, read back.

use palisade_policy::flow_log::{Field, Format, Kind};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// The values of a line, each beside its field; `None` where it says `-`. What a line has too much or too little of is left
/// out.
pub fn values<'l>(format: &'l Format, line: &'l str) -> impl Iterator<Item = (Field, Option<&'l str>)> {
    let words = line.split_ascii_whitespace().map(|word| Some(word).filter(|word| *word != "-"));
    format.fields().iter().copied().zip(words)
}

/// A line as a JSON object: numbers as numbers, `null` for `-`.
#[must_use]
pub fn json<'l>(format: &'l Format, line: &'l str) -> impl Serialize + use<'l> {
    Row { format, line }
}

struct Row<'l> {
    format: &'l Format,
    line: &'l str,
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (field, value) in values(self.format, self.line) {
            match (field.kind(), value.map(str::parse::<u64>)) {
                (Kind::Int32 | Kind::Int64, Some(Ok(number))) => map.serialize_entry(field.as_str(), &number),
                _ => map.serialize_entry(field.as_str(), &value),
            }?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_as_json() {
        let format = Format::parse("${srcaddr} ${bytes} ${dstport} ${traffic-path} ${action}").unwrap();
        assert_eq!(
            serde_json::to_string(&json(&format, "10.0.0.1 7000000000 443 - ACCEPT")).unwrap(),
            r#"{"srcaddr":"10.0.0.1","bytes":7000000000,"dstport":443,"traffic-path":null,"action":"ACCEPT"}"#
        );
    }
}
