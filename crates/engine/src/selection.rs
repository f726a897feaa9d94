//! Which connections are meant: the filter words of `palisade conns`, of its control requests and of scenarios.

use std::fmt;
use std::ops::RangeInclusive;

use palisade_conntrack::{ConnView, Ids, State};
use palisade_packet::Direction;
use palisade_policy::model::Cidr;
use palisade_policy::{EniKey, Snapshot};

use crate::engine::Engine;
use crate::words::{self, BLOCKS, PORTS, PROTOCOLS};

/// What every condition of a list is true of; without conditions, every connection.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Selection(Vec<Condition>);

/// One filter word.
#[derive(Clone, PartialEq, Debug)]
enum Condition {
    Eni(EniKey),
    Protocol(u8),
    Local(Cidr),
    Remote(Cidr),
    Port(RangeInclusive<u16>),
    LocalPort(RangeInclusive<u16>),
    RemotePort(RangeInclusive<u16>),
    State(&'static str),
    Origin(Direction),
    WouldRefuse,
}

/// Why a word is no filter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SelectionError {
    /// The word.
    pub word: String,
    /// What is wrong with it.
    pub what: String,
    /// What is allowed.
    pub help: String,
    /// It has the right form and names something that the VPC does not have.
    pub unknown: bool,
}

/// Every word, as people are told.
const WORDS: &str = "eni=NAME, proto=PROTOCOL, local=ADDRESS, remote=ADDRESS, port=PORT, local-port=PORT, \
                     remote-port=PORT, state=STATE, origin=egress|ingress, would-refuse";

impl Selection {
    /// Reads filter words; a connection is meant if all of them are true of it. The words of `palisade conns --help`.
    ///
    /// # Errors
    ///
    /// A word that is none, or names an ENI that the policy does not have.
    pub fn parse<W: AsRef<str>>(
        words: impl IntoIterator<Item = W>,
        snapshot: &Snapshot,
    ) -> Result<Self, SelectionError> {
        words
            .into_iter()
            .map(|word| Condition::parse(word.as_ref(), snapshot))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether it leaves nothing out.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a condition: today's rules would not let the connection be opened ([`Engine::would_refuse`]).
    pub fn only_refused(&mut self) {
        self.0.push(Condition::WouldRefuse);
    }

    /// Whether a connection is meant.
    #[must_use]
    pub fn includes(&self, entry: &ConnView, snapshot: &Snapshot) -> bool {
        self.0.iter().all(|condition| condition.holds(entry, snapshot))
    }
}

impl Condition {
    fn parse(word: &str, snapshot: &Snapshot) -> Result<Self, SelectionError> {
        let Some((name, value)) = word.split_once('=') else {
            return match word {
                "would-refuse" => Ok(Self::WouldRefuse),
                _ => Err(SelectionError::no_such_word(word)),
            };
        };
        let read = |reader: fn(&str) -> Option<Self>, help: &str| {
            reader(value).ok_or_else(|| SelectionError::value(word, value, help))
        };
        match name {
            "eni" => match snapshot.eni_named(value) {
                Some(eni) => Ok(Self::Eni(eni.key)),
                None => Err(SelectionError::no_such_eni(word, value)),
            },
            "proto" => read(|value| words::protocol(value).map(Self::Protocol), PROTOCOLS),
            "local" => read(|value| words::block(value).map(Self::Local), BLOCKS),
            "remote" => read(|value| words::block(value).map(Self::Remote), BLOCKS),
            "port" => read(|value| words::ports(value).map(Self::Port), PORTS),
            "local-port" => read(|value| words::ports(value).map(Self::LocalPort), PORTS),
            "remote-port" => read(|value| words::ports(value).map(Self::RemotePort), PORTS),
            "state" => read(|value| state(value).map(Self::State), &states()),
            "origin" => read(|value| origin(value).map(Self::Origin), "write `egress` or `ingress`"),
            _ => Err(SelectionError::no_such_word(word)),
        }
    }

    fn holds(&self, entry: &ConnView, snapshot: &Snapshot) -> bool {
        let ports = match entry.ids {
            Ids::Ports { local, remote } => Some([local, remote]),
            Ids::Query { .. } | Ids::None => None,
        };
        match self {
            Self::Eni(key) => entry.zone.0 == key.0,
            Self::Protocol(number) => entry.protocol == *number,
            Self::Local(block) => block.contains(&entry.local),
            Self::Remote(block) => block.contains(&entry.remote),
            Self::Port(range) => ports.is_some_and(|ports| ports.iter().any(|port| range.contains(port))),
            Self::LocalPort(range) => ports.is_some_and(|[local, _]| range.contains(&local)),
            Self::RemotePort(range) => ports.is_some_and(|[_, remote]| range.contains(&remote)),
            Self::State(name) => entry.state == *name,
            Self::Origin(direction) => entry.origin == *direction,
            Self::WouldRefuse => Engine::would_refuse(snapshot, entry),
        }
    }
}

fn state(text: &str) -> Option<&'static str> {
    State::names().find(|name| *name == text)
}

fn states() -> String {
    format!("write one of {}", State::names().collect::<Vec<_>>().join(", "))
}

fn origin(text: &str) -> Option<Direction> {
    [Direction::Egress, Direction::Ingress].into_iter().find(|direction| direction.as_str() == text)
}

impl SelectionError {
    fn no_such_word(word: &str) -> Self {
        let what = format!("`{word}` is not a filter word");
        Self { word: word.to_owned(), what, help: format!("allowed: {WORDS}"), unknown: false }
    }

    fn no_such_eni(word: &str, name: &str) -> Self {
        let what = format!("`{word}`: the VPC has no ENI named `{name}`");
        let help = "`palisade status` lists the ports by name".to_owned();
        Self { word: word.to_owned(), what, help, unknown: true }
    }

    fn value(word: &str, value: &str, help: &str) -> Self {
        let what = format!("`{word}`: `{value}` cannot be meant");
        Self { word: word.to_owned(), what, help: help.to_owned(), unknown: false }
    }
}

impl fmt::Display for SelectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.help)
    }
}

impl std::error::Error for SelectionError {}
