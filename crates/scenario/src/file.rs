//! The scenario file: what the world is, what happens when, what must be seen. docs/scenarios.md is its reference.

use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use palisade_policy::diagnostics::Code;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use toml::Table;

use crate::change::Change;
use crate::conns::Conn;
use crate::copies::Copy;
use crate::counters::Count;
use crate::expect::Expectation;
use crate::notation::{self, NotationError, PacketSpec};
use crate::sight::{Bytes, Decision};

/// Longest time that passes in a scenario. Time-outs end after days, and entries do not tell spans beyond 2.2 years apart.
const LONGEST: Duration = Duration::from_hours(2 * 365 * 24);

/// A scenario as it was written.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it shows, in a sentence.
    pub title: String,
    /// Numbers of the specification it rests on, such as `CT-20`.
    #[schemars(inner(regex(pattern = r"^[A-Z]+-[0-9]+([a-z][0-9]?)?$")), length(min = 1))]
    pub rests_on: Vec<String>,
    /// The configuration that it begins with.
    pub world: World,
    /// Laid over the world: tables merge, everything else replaces.
    #[serde(default)]
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub patch: Table,
    /// What happens, in order.
    #[serde(rename = "step", deserialize_with = "crate::load::steps")]
    #[schemars(length(min = 1))]
    pub steps: Vec<Step>,
}

/// Where the configuration is.
#[derive(Clone, PartialEq, Debug)]
pub enum World {
    /// In a file, relative to the scenario file.
    File(PathBuf),
    /// Here: the tables of a configuration file.
    Inline(Table),
}

/// One step: changes, then a packet, then what must be seen.
#[derive(Clone, PartialEq, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Line of the file it begins in, from 1.
    #[serde(skip)]
    pub line: usize,
    /// Virtual time since the start, such as `1ms` or `2h 30m`; never earlier than the step before, two years at most.
    #[serde(deserialize_with = "span")]
    #[schemars(with = "String")]
    pub at: Duration,
    /// One change of the world, or several that follow each other, each taking effect by itself; a `patch` takes effect
    /// with the last.
    #[serde(default, deserialize_with = "one_or_more")]
    #[schemars(schema_with = "crate::schema::one_or_more")]
    pub change: Vec<Change>,
    /// A change of the world, laid over it like the `patch` of the file.
    #[schemars(with = "Option<serde_json::Map<String, serde_json::Value>>")]
    pub patch: Option<Table>,
    /// The change must be refused for faults of this kind, and the world stays as it was.
    #[serde(default, deserialize_with = "code")]
    #[schemars(schema_with = "crate::schema::codes")]
    pub refused: Option<Code>,
    /// Connections to end, after a change and before a packet: filter words as `palisade conns kill` reads them, such as
    /// `eni=b1 port=22`, or `all`. There must be one.
    pub kill: Option<String>,
    /// A packet, in the notation of docs/scenarios.md.
    #[serde(default, deserialize_with = "text")]
    #[schemars(with = "Option<String>")]
    pub send: Option<Packet>,
    /// How often the changes are made and the packet is sent, all at the same time; absent: once. What must be seen of the
    /// packet holds each time.
    #[schemars(range(min = 1))]
    pub repeat: Option<u32>,
    /// What becomes of the packet: `delivered PORT`, `consumed WHAT`, `held ENI` or `dropped AT STAGE WHY`.
    #[serde(default, deserialize_with = "text")]
    #[schemars(with = "Option<String>", regex(pattern = r"^(delivered|consumed|held|dropped) .+"))]
    pub expect: Option<Expectation>,
    /// What becomes of the held fragments that it releases (CT-61), all of them and in order; absent: it releases none.
    #[serde(default, deserialize_with = "texts")]
    #[schemars(with = "Vec<String>")]
    pub released: Vec<Expectation>,
    /// Every decision of a security group or a network ACL on the way, in order: `AT STAGE BY`.
    #[serde(default, deserialize_with = "some_texts")]
    #[schemars(with = "Option<Vec<String>>")]
    pub by: Option<Vec<Decision>>,
    /// MAC addresses of the frame that arrives, `FROM > TO`: `router`, the name of an ENI or service, or a MAC address.
    #[schemars(regex(pattern = r"^.+ > .+$"))]
    pub link: Option<String>,
    /// What arrives: `same`, or the bytes of the packet behind the Ethernet header in hex digits.
    #[serde(default, deserialize_with = "text")]
    #[schemars(with = "Option<String>", regex(pattern = r"^(same|([0-9a-fA-F]{2})+)$"))]
    pub bytes: Option<Bytes>,
    /// How many packets the receiver's wire carries: segments and fragments count each.
    pub packets: Option<usize>,
    /// Mirror copies that arrive, all of them, in order at each port: `SESSION > PORT [WORD …]`; absent: there are none.
    #[serde(default, deserialize_with = "texts")]
    #[schemars(with = "Vec<String>", inner(regex(pattern = r"^.+ > .+$")))]
    pub copies: Vec<Copy>,
    /// Whether something goes back to the sender, such as an ICMP error; absent: not looked at.
    pub reply: Option<bool>,
    /// The frame that goes back to the sender: `arp ADDRESS is-at MAC`, `neighbour ADDRESS is-at MAC` (MAC: `router` or the
    /// name of an ENI where it is theirs), or `PROTOCOL SOURCE > DESTINATION type N code N mtu N len N` (`len`: bytes of IP).
    pub answer: Option<String>,
    /// Connections that must exist: `ENI PROTOCOL OPENER > OTHER STATE LEFT`; an empty list: none at all.
    #[serde(default, deserialize_with = "some_texts")]
    #[schemars(with = "Option<Vec<String>>")]
    pub conns: Option<Vec<Conn>>,
    /// Connections that must exist, and no others.
    #[serde(default, deserialize_with = "some_texts")]
    #[schemars(with = "Option<Vec<String>>")]
    pub conns_exact: Option<Vec<Conn>>,
    /// How many connections there must be, of all ENIs together.
    pub conns_total: Option<usize>,
    /// Lines that flow logs have written since the step before that looked, all of them and in any order, each behind the name of its flow
    /// log: `NAME LINE`. A window is written two seconds after its end; absent: not looked at.
    pub flow_logs: Option<Vec<String>>,
    /// Counters: `NAME N`, a value, or `NAME +N`, growth since the step began.
    #[serde(default, deserialize_with = "texts")]
    #[schemars(with = "Vec<String>")]
    pub counters: Vec<Count>,
}

/// A packet as it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    /// The text.
    pub text: String,
    /// What it says.
    pub spec: PacketSpec,
}

impl FromStr for Packet {
    type Err = NotationError;

    fn from_str(text: &str) -> Result<Self, NotationError> {
        Ok(Self { text: text.to_owned(), spec: notation::parse(text)? })
    }
}

/// Lays `patch` over `table`: tables merge, everything else replaces.
pub(crate) fn merge(table: &mut Table, patch: &Table) {
    for (key, value) in patch {
        match (table.get_mut(key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => merge(below, above),
            _ => {
                table.insert(key.clone(), value.clone());
            }
        }
    }
}

impl<'de> Deserialize<'de> for World {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = World;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the path of a configuration file, or its tables")
            }

            fn visit_str<E: de::Error>(self, path: &str) -> Result<World, E> {
                Ok(World::File(path.into()))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<World, A::Error> {
                Table::deserialize(de::value::MapAccessDeserializer::new(map)).map(World::Inline)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// A string in a notation of its own; what is wrong with it is told with line and column.
fn text<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    parsed(deserializer).map(|Parsed(value)| Some(value))
}

fn texts<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let list = Vec::<Parsed<T>>::deserialize(deserializer)?;
    Ok(list.into_iter().map(|Parsed(value)| value).collect())
}

fn some_texts<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    texts(deserializer).map(Some)
}

fn one_or_more<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct Either<T>(PhantomData<T>);
    impl<'de, T: FromStr<Err: fmt::Display>> Visitor<'de> for Either<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string, or a list of strings")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<T>, E> {
            text.parse().map(|value| vec![value]).map_err(E::custom)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<Vec<T>, A::Error> {
            texts(de::value::SeqAccessDeserializer::new(sequence))
        }
    }
    deserializer.deserialize_any(Either(PhantomData))
}

/// A value read from a string.
struct Parsed<T>(T);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer)
    }
}

fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(
    deserializer: D,
) -> Result<Parsed<T>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Parsed).map_err(de::Error::custom)
}

fn span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let span = humantime::parse_duration(&text).map_err(|error| {
        de::Error::custom(format!("`{text}` is not a time such as `0s` or `2h 30m`: {error}"))
    })?;
    if span > LONGEST {
        return Err(de::Error::custom(format!(
            "`{text}` is later than two years, the longest that one lasts"
        )));
    }
    Ok(span)
}

fn code<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Code>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let found = Code::ALL.iter().copied().find(|code| code.as_str() == text);
    found.map(Some).ok_or_else(|| {
        let all: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        de::Error::custom(format!("`{text}` is not a kind of fault; one of: {}", all.join(", ")))
    })
}
