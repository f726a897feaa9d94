//! Which field of the file a place is in, such as `security_group.web.ingress[2]`.

use toml::de::{DeArray, DeTable, DeValue};

use super::Span;

/// Every key, value and list item of a file, with its path.
pub(super) struct Fields(Vec<(Span, String)>);

impl Fields {
    /// The fields of a text, as far as it is TOML.
    pub(super) fn of(text: &str) -> Self {
        let (document, _) = DeTable::parse_recoverable(text);
        let mut fields = Self(Vec::new());
        fields.table(document.get_ref(), "");
        fields
    }

    /// The path of the innermost field that holds a place; empty if there is none.
    pub(super) fn at(&self, offset: usize) -> &str {
        let holds = |(span, _): &&(Span, String)| span.start <= offset && offset <= span.end;
        let length = |(span, _): &&(Span, String)| span.end - span.start;
        self.0.iter().filter(holds).min_by_key(length).map_or("", |(_, path)| path)
    }

    fn table(&mut self, table: &DeTable<'_>, path: &str) {
        for (key, value) in table {
            let dot = if path.is_empty() { "" } else { "." };
            let path = format!("{path}{dot}{}", written(key.get_ref()));
            self.0.push((key.span().into(), path.clone()));
            self.value(value.get_ref(), value.span().into(), path);
        }
    }

    fn array(&mut self, array: &DeArray<'_>, path: &str) {
        for (at, value) in array.iter().enumerate() {
            self.value(value.get_ref(), value.span().into(), format!("{path}[{at}]"));
        }
    }

    fn value(&mut self, value: &DeValue<'_>, span: Span, path: String) {
        match value {
            DeValue::Table(table) => self.table(table, &path),
            DeValue::Array(array) => self.array(array, &path),
            _ => {}
        }
        self.0.push((span, path));
    }
}

/// A key as it can be written: bare if it can be, else in quotes.
fn written(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !key.is_empty() && key.chars().all(bare) { key.to_owned() } else { format!("{key:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_field_is_named() {
        let text = "[vpc]\nid = 'x'\n[a.\"b c\"]\nlist = [1, { k = 'v' }]\n";
        let fields = Fields::of(text);
        let at = |what: &str| fields.at(text.find(what).unwrap());
        assert_eq!(at("id ="), "vpc.id");
        assert_eq!(at("'x'"), "vpc.id");
        assert_eq!(at("b c"), "a.\"b c\"");
        assert_eq!(at("1"), "a.\"b c\".list[0]");
        assert_eq!(at("v'"), "a.\"b c\".list[1].k");
        assert_eq!(at("list"), "a.\"b c\".list");
        assert_eq!(Fields::of("").at(0), "");
        assert_eq!(Fields::of("[vpc").at(2), "vpc");
    }
}
