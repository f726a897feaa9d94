//! What becomes of a packet, as far as its receiver can tell.

use std::collections::BTreeMap;
use std::fmt;

use palisade_packet::{Body, parse};
use serde::Deserialize;

/// Where a packet, or a datagram in fragments, comes out.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(from = "String")]
pub(crate) enum Fate {
    /// Nowhere.
    Nothing,
    /// All of it at this ENI.
    At(String),
    /// Some of its fragments at this ENI.
    PartAt(String),
}

impl Fate {
    /// Of what was sent so much, of which so much came out where.
    pub(crate) fn of(sent: usize, arrived: &BTreeMap<String, usize>) -> Self {
        match arrived.iter().max_by_key(|(_, amount)| **amount) {
            None => Self::Nothing,
            Some((eni, amount)) if *amount < sent => Self::PartAt(eni.clone()),
            Some((eni, _)) => Self::At(eni.clone()),
        }
    }
}

impl From<String> for Fate {
    fn from(text: String) -> Self {
        match text.strip_prefix("part at ") {
            Some(eni) => Self::PartAt(eni.to_owned()),
            None if text == "nothing" => Self::Nothing,
            None => Self::At(text),
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::At(eni) => f.write_str(eni),
            Self::PartAt(eni) => write!(f, "part at {eni}"),
        }
    }
}

/// How much of its datagram a frame carries: a fragment its bytes, anything else all there is, which counts as one.
pub(crate) fn amount(frame: &[u8]) -> usize {
    match parse(frame).map(|summary| summary.body) {
        Ok(Body::Ip(packet)) => packet.fragment.map_or(1, |fragment| usize::from(fragment.len)),
        _ => 1,
    }
}
