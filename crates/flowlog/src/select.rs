//! Which records are meant: `action=REJECT and dstport=22`.

use std::net::IpAddr;

use ipnet::IpNet;
use palisade_policy::flow_log::Field;

/// What every condition is true of; without conditions, every record.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Selection(Vec<Condition>);

/// One comparison of a field with a value.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Condition {
    fields: Vec<Field>,
    operator: Operator,
    value: Value,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operator {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Value {
    Number(u64),
    /// From, to, both included.
    Range(u64, u64),
    Net(IpNet),
    Word(String),
}

/// Why a text is no selection.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{what}")]
pub struct SelectionError {
    /// What is wrong.
    pub what: String,
    /// What is allowed.
    pub help: String,
}

/// Longer operators first, so that `<=` is not read as `<`.
const OPERATORS: [(&str, Operator); 6] = [
    ("!=", Operator::Unequal),
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("=", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

impl Selection {
    /// Reads conditions with `and` between them, each `FIELD OPERATOR VALUE`. Fields are those of formats, and `address` and
    /// `port` for either end, `eni` for `interface-id`. Values are words, numbers, ranges of numbers (`1024-65535`), addresses
    /// and CIDR blocks; `-` for none.
    ///
    /// # Errors
    ///
    /// The first fault.
    pub fn parse(text: &str) -> Result<Self, SelectionError> {
        let mut conditions = Vec::new();
        for part in split_and(text) {
            conditions.push(Condition::parse(part.trim())?);
        }
        Ok(Self(conditions))
    }

    /// The fields that must be there: of each condition at least one.
    pub fn needs(&self) -> impl Iterator<Item = &[Field]> {
        self.0.iter().map(|condition| &*condition.fields)
    }

    /// Whether a record is meant; `value` gives its fields, `None` for `-` and for those that it lacks.
    pub fn matches<'v>(&self, value: impl Fn(Field) -> Option<&'v str>) -> bool {
        self.0.iter().all(|condition| condition.is_true(&value))
    }
}

impl Condition {
    fn parse(text: &str) -> Result<Self, SelectionError> {
        let found = OPERATORS.iter().filter_map(|(sign, operator)| Some((text.find(sign)?, sign, *operator)));
        let Some((at, sign, operator)) = found.min_by_key(|(at, sign, _)| (*at, 2 - sign.len())) else {
            let what = format!("`{text}` compares nothing");
            return Err(error(
                what,
                "write FIELD=VALUE, or != < <= > >= in place of =, with `and` between comparisons",
            ));
        };
        let (name, value) = (text[..at].trim(), text[at + sign.len()..].trim());
        let fields = fields(name)?;
        let value = Value::parse(&fields, name, value)?;
        let is_ordered = matches!(value, Value::Number(_));
        if !is_ordered && !matches!(operator, Operator::Equal | Operator::Unequal) {
            let what = format!("`{text}`: `{sign}` compares numbers");
            return Err(error(what, "use = or != with words, addresses and ranges"));
        }
        Ok(Self { fields, operator, value })
    }

    /// `!=` is true where `=` is not: of either end, of both.
    fn is_true<'v>(&self, value: &impl Fn(Field) -> Option<&'v str>) -> bool {
        let mut values = self.fields.iter().map(|field| value(*field));
        match self.operator {
            Operator::Unequal => !values.any(|value| self.value.holds(value)),
            Operator::Equal => values.any(|value| self.value.holds(value)),
            operator => values.flatten().any(|value| self.value.compares(operator, value)),
        }
    }
}

impl Value {
    fn parse(fields: &[Field], name: &str, text: &str) -> Result<Self, SelectionError> {
        use palisade_policy::flow_log::Kind;
        if text.is_empty() {
            return Err(error(
                format!("`{name}` is compared with nothing"),
                "a value must follow; `-` stands for none",
            ));
        }
        if text == "-" {
            return Ok(Self::Word(text.to_owned()));
        }
        if fields.iter().any(|field| is_address(*field)) {
            let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            let help = "such as 10.0.1.10 or 10.0.0.0/16";
            return net.map(Self::Net).map_err(|_| error(format!("`{text}` is no address"), help));
        }
        if fields.iter().all(|field| field.kind() == Kind::Text) {
            return Ok(Self::Word(text.to_owned()));
        }
        let number = |text: &str| text.trim().parse::<u64>().ok();
        if let Some(value) = number(text) {
            return Ok(Self::Number(value));
        }
        let range = text.split_once('-').and_then(|(from, to)| Some((number(from)?, number(to)?)));
        match range.filter(|(from, to)| from <= to) {
            Some((from, to)) => Ok(Self::Range(from, to)),
            None => Err(error(
                format!("`{text}` is no number"),
                format!("`{name}` is a number, such as 22, or a range, such as 1024-65535"),
            )),
        }
    }

    fn holds(&self, value: Option<&str>) -> bool {
        let Some(value) = value else { return *self == Self::Word("-".to_owned()) };
        match self {
            Self::Number(number) => value.parse() == Ok(*number),
            Self::Range(from, to) => value.parse().is_ok_and(|value| (*from..=*to).contains(&value)),
            Self::Net(net) => value.parse::<IpAddr>().is_ok_and(|address| net.contains(&address)),
            Self::Word(word) => word.eq_ignore_ascii_case(value),
        }
    }

    fn compares(&self, operator: Operator, value: &str) -> bool {
        let (Self::Number(limit), Ok(value)) = (self, value.parse::<u64>()) else { return false };
        match operator {
            Operator::Less => value < *limit,
            Operator::AtMost => value <= *limit,
            Operator::Greater => value > *limit,
            Operator::AtLeast => value >= *limit,
            Operator::Equal => value == *limit,
            Operator::Unequal => value != *limit,
        }
    }
}

const fn is_address(field: Field) -> bool {
    matches!(field, Field::SrcAddr | Field::DstAddr | Field::PktSrcAddr | Field::PktDstAddr)
}

fn fields(name: &str) -> Result<Vec<Field>, SelectionError> {
    match name {
        "eni" => return Ok(vec![Field::InterfaceId]),
        "port" => return Ok(vec![Field::SrcPort, Field::DstPort]),
        "address" => return Ok(vec![Field::SrcAddr, Field::DstAddr, Field::PktSrcAddr, Field::PktDstAddr]),
        _ => {}
    }
    let field = Field::named(name).ok_or_else(|| {
        let help = "the fields are those of formats, such as action, srcaddr, dstport or palisade-rule; and eni, port, address";
        error(format!("there is no field `{name}`"), help)
    })?;
    Ok(vec![field])
}

/// The parts between the word `and`.
fn split_and(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let lower = text.to_ascii_lowercase();
        match lower.find(" and ") {
            Some(at) => {
                rest = Some(&text[at + " and ".len()..]);
                Some(&text[..at])
            }
            None => rest.take(),
        }
    })
}

fn error(what: String, help: impl Into<String>) -> SelectionError {
    SelectionError { what, help: help.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: [(Field, &str); 6] = [
        (Field::Action, "REJECT"),
        (Field::SrcAddr, "10.0.1.10"),
        (Field::DstAddr, "2001:db8::1"),
        (Field::SrcPort, "40000"),
        (Field::DstPort, "22"),
        (Field::Bytes, "7000000000"),
    ];

    fn meant(text: &str) -> bool {
        let value = |field| RECORD.iter().find(|(known, _)| *known == field).map(|(_, value)| *value);
        Selection::parse(text).unwrap().matches(value)
    }

    fn refused(text: &str) -> String {
        Selection::parse(text).unwrap_err().what
    }

    #[test]
    fn conditions() {
        for yes in [
            "action=REJECT and dstport=22",
            "action = reject AND srcaddr = 10.0.0.0/16",
            "port=22",
            "port=40000",
            "address=2001:db8::/32",
            "address=10.0.1.10",
            "dstport=1-1023",
            "bytes>6999999999 and bytes<=7000000000",
            "dstport!=443",
            "address!=192.0.2.1",
            "palisade-rule=-",
            "palisade-rule!=sgr-1",
        ] {
            assert!(meant(yes), "{yes}");
        }
        for no in [
            "action=ACCEPT and dstport=22",
            "action=REJECT and dstport=23",
            "srcaddr=10.1.0.0/16",
            "port!=22",
            "address=192.0.2.1",
            "bytes<7000000000",
            "dstport>=23",
            "dstport=23-80",
            "packets>0",
            "action=-",
            "palisade-rule=sgr-1",
        ] {
            assert!(!meant(no), "{no}");
        }
    }

    #[test]
    fn faults() {
        assert_eq!(refused("dstprot=22"), "there is no field `dstprot`");
        assert_eq!(refused("dstport=ssh"), "`ssh` is no number");
        assert_eq!(refused("dstport=80-22"), "`80-22` is no number");
        assert_eq!(refused("srcaddr=web-1"), "`web-1` is no address");
        assert_eq!(refused("action>ACCEPT"), "`action>ACCEPT`: `>` compares numbers");
        assert_eq!(refused("action"), "`action` compares nothing");
        assert_eq!(refused("action=REJECT and "), "`` compares nothing");
        assert_eq!(refused("action="), "`action` is compared with nothing");
    }
}
