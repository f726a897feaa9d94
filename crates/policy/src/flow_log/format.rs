//! Formats: which fields a flow log's records have, in which order.

use std::fmt;

use super::field::Field;

/// The fields of a flow log's records: at least one, none twice.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Format {
    fields: Box<[Field]>,
}

/// Why a text is no format, and where: `at` and `length` count bytes (FL-50).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FormatError {
    /// Bytes before the fault.
    pub at: usize,
    /// Bytes of the fault; 0 where something is missing.
    pub length: usize,
    /// What is wrong there, in one sentence.
    pub what: String,
    /// What is allowed there.
    pub help: String,
}

impl Default for Format {
    /// The 14 fields of version 2 (FL-40).
    fn default() -> Self {
        Self { fields: Self::DEFAULT.into() }
    }
}

impl Format {
    const DEFAULT: [Field; 14] = [
        Field::Version,
        Field::AccountId,
        Field::InterfaceId,
        Field::SrcAddr,
        Field::DstAddr,
        Field::SrcPort,
        Field::DstPort,
        Field::Protocol,
        Field::Packets,
        Field::Bytes,
        Field::Start,
        Field::End,
        Field::Action,
        Field::LogStatus,
    ];

    /// Reads `${field} ${field} …` (FL-50).
    ///
    /// # Errors
    ///
    /// The first fault: no field at all, something other than `${…}` between blanks, an unknown field, a field named
    /// twice, a tag field, for which no tag keys can be chosen yet (FL-51).
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let mut fields = Vec::new();
        for word in words(text) {
            let field = parse_field(text, word)?;
            if fields.contains(&field) {
                let what = format!("`{field}` is named twice");
                return Err(FormatError::at(word, what, "name each field once"));
            }
            fields.push(field);
        }
        if fields.is_empty() {
            let help = "leave it out for the default format, or name a field such as ${srcaddr}";
            return Err(FormatError::at((0, text.len()), "a format names at least one field".into(), help));
        }
        Ok(Self { fields: fields.into() })
    }

    /// Reads the first line of a published file: names between blanks.
    ///
    /// # Errors
    ///
    /// As [`Format::parse`]; names stand bare.
    pub fn parse_header(text: &str) -> Result<Self, FormatError> {
        let mut fields = Vec::new();
        for word in words(text) {
            fields.push(known(word, &text[word.0..word.0 + word.1])?);
        }
        if fields.is_empty() {
            return Err(FormatError::at(
                (0, 0),
                "there is no header".into(),
                "the first line names the fields",
            ));
        }
        Ok(Self { fields: fields.into() })
    }

    /// The fields, in their order.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// What the field `version` prints: the highest version among the fields, 2 at least.
    #[must_use]
    pub fn version(&self) -> u8 {
        self.fields.iter().map(|field| field.version()).max().unwrap_or(2).max(2)
    }

    /// Names between blanks, as the first line of files says (FL-73).
    #[must_use]
    pub fn header(&self) -> String {
        let names: Vec<_> = self.fields.iter().map(|field| field.as_str()).collect();
        names.join(" ")
    }
}

impl fmt::Display for Format {
    /// As it is written: `${version} ${account-id} …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, field) in self.fields.iter().enumerate() {
            write!(f, "{}${{{field}}}", if at == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl std::error::Error for FormatError {}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl FormatError {
    fn at((at, length): (usize, usize), what: String, help: impl Into<String>) -> Self {
        Self { at, length, what, help: help.into() }
    }
}

/// Places of the words between blanks: start and length in bytes.
fn words(text: &str) -> impl Iterator<Item = (usize, usize)> + '_ {
    let start = text.as_ptr() as usize;
    text.split_ascii_whitespace().map(move |word| (word.as_ptr() as usize - start, word.len()))
}

fn parse_field(text: &str, word: (usize, usize)) -> Result<Field, FormatError> {
    let written = &text[word.0..word.0 + word.1];
    let name = written.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    let Some(name) = name.filter(|name| !name.contains(['$', '{', '}'])) else {
        let what = format!("`{written}` is no field");
        return Err(FormatError::at(word, what, "fields are written ${name}, with blanks between them"));
    };
    let field = known((word.0 + 2, name.len()), name)?;
    if field.is_tag() {
        let what = format!("`{field}` prints the value of a tag, and no tag keys are chosen");
        return Err(FormatError::at(
            word,
            what,
            "leave the field out: objects of a configuration have no tags",
        ));
    }
    Ok(field)
}

fn known(place: (usize, usize), name: &str) -> Result<Field, FormatError> {
    Field::named(name).ok_or_else(|| {
        let near = Field::ALL.iter().max_by(|one, other| {
            let likeness = |field: &Field| strsim::jaro_winkler(name, field.as_str());
            likeness(one).total_cmp(&likeness(other))
        });
        let near = near.filter(|field| strsim::jaro_winkler(name, field.as_str()) > 0.8);
        let help = near.map_or_else(
            || "the fields are those of AWS's record versions 2 to 11, and palisade-stage, -rule, -reason, -generation".to_owned(),
            |field| format!("did you mean `{field}`?"),
        );
        FormatError::at(place, format!("there is no field `{name}`"), help)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (usize, usize, String, String) {
        let FormatError { at, length, what, help } = Format::parse(text).unwrap_err();
        (at, length, what, help)
    }

    /// FL-40.
    #[test]
    fn fl_40_the_default_format() {
        let format = Format::default();
        assert_eq!(
            format.header(),
            "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"
        );
        assert_eq!(format.version(), 2);
        assert_eq!(Format::parse(&format.to_string()).unwrap(), format);
        assert_eq!(Format::parse_header(&format.header()).unwrap(), format);
    }

    #[test]
    fn the_version_is_the_highest_among_the_fields() {
        let version = |text| Format::parse(text).unwrap().version();
        assert_eq!(version("${srcaddr} ${vpc-id}"), 3);
        assert_eq!(version("${traffic-path} ${version}"), 5);
        assert_eq!(version("${next-hop-vpc-id} ${reject-reason}"), 11);
        assert_eq!(version("${palisade-rule}"), 2, "extensions have no version of their own");
    }

    /// FL-50.
    #[test]
    fn fl_50_faults_have_a_place_and_a_remedy() {
        let (at, length, what, help) = refused("${srcaddr} ${dstadr}");
        assert_eq!((at, length, &*what), (13, 6, "there is no field `dstadr`"));
        assert_eq!(help, "did you mean `dstaddr`?");
        assert_eq!(refused("${srcaddr},${dstaddr}").0, 0);
        assert_eq!(refused("${a} srcaddr").2, "there is no field `a`");
        assert_eq!(refused("${srcaddr} srcaddr").2, "`srcaddr` is no field");
        assert_eq!(refused("${bytes} ${start} ${bytes}").2, "`bytes` is named twice");
        assert_eq!(refused("  ").2, "a format names at least one field");
        assert_eq!(refused("${}").2, "there is no field ``");
    }

    /// FL-51.
    #[test]
    fn fl_51_tag_fields_need_keys() {
        assert_eq!(
            refused("${instance-tag}").2,
            "`instance-tag` prints the value of a tag, and no tag keys are chosen"
        );
    }
}
