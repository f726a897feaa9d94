//! What may be asked of a packet's journey beside its end: who decided, how the frame was addressed, what was in it.

use std::fmt;
use std::str::FromStr;

use palisade_engine::{Explanation, Stage, StageReport};

use crate::notation;

/// One decision of a security group or a network ACL: `AT STAGE BY`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// The ENI of a group, the subnet of an ACL.
    at: String,
    stage: Stage,
    by: By,
}

/// What decided.
#[derive(Clone, PartialEq, Eq, Debug)]
enum By {
    /// `tracked`: an entry of the connection table (CT-3).
    Tracked,
    /// `related`: the packet that an ICMP error quotes (CT-50, CT-52).
    Related,
    /// A rule of a group, by its id.
    Rule(String),
    /// `no-rule`.
    NoRule,
    /// An entry of an ACL.
    Entry(u16),
    /// `*`, which ends every list.
    NoEntry,
}

impl Decision {
    /// Every decision of a walk, in its order.
    pub(crate) fn all(walk: &Explanation) -> Vec<Self> {
        let consulted = walk.stages.iter().filter(|stage| stage.result != "not-consulted");
        consulted.filter_map(Self::of).collect()
    }

    fn of(report: &StageReport) -> Option<Self> {
        let by = match (report.stage, &report.rule) {
            (Stage::NetworkAcl, Some(rule)) => {
                let number = rule.rsplit(' ').next().unwrap_or_default();
                number.parse().map_or(By::NoEntry, By::Entry)
            }
            (Stage::SecurityGroup, Some(rule)) => {
                By::Rule(rule.split(' ').next().unwrap_or_default().to_owned())
            }
            (Stage::SecurityGroup, None) if report.result == "denied" => By::NoRule,
            (Stage::SecurityGroup, None) if report.is_related() => By::Related,
            (Stage::SecurityGroup, None) => By::Tracked,
            _ => return None,
        };
        Some(Self { at: report.at.clone(), stage: report.stage, by })
    }
}

impl FromStr for Decision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str =
            "`ENI security-group tracked|related|no-rule|sgr-ID` or `SUBNET network-acl NUMBER|*`";
        let read = || {
            let (rest, by) = text.rsplit_once(' ')?;
            let (at, stage) = rest.rsplit_once(' ')?;
            let stage = Stage::named(stage)?;
            let by = match (stage, by) {
                (Stage::SecurityGroup, "tracked") => By::Tracked,
                (Stage::SecurityGroup, "related") => By::Related,
                (Stage::SecurityGroup, "no-rule") => By::NoRule,
                (Stage::SecurityGroup, id) if id.starts_with("sgr-") => By::Rule(id.to_owned()),
                (Stage::NetworkAcl, "*") => By::NoEntry,
                (Stage::NetworkAcl, number) => By::Entry(number.parse().ok()?),
                _ => return None,
            };
            Some(Self { at: at.to_owned(), stage, by })
        };
        read().ok_or_else(|| format!("`{text}` is not a decision, {FORM}"))
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.at, self.stage)?;
        match &self.by {
            By::Tracked => f.write_str("tracked"),
            By::Related => f.write_str("related"),
            By::Rule(id) => f.write_str(id),
            By::NoRule => f.write_str("no-rule"),
            By::Entry(number) => number.fmt(f),
            By::NoEntry => f.write_str("*"),
        }
    }
}

/// The bytes of the packet that arrives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Bytes {
    /// `same`: in one frame, byte for byte as it was sent but for the two MAC addresses.
    Same,
    /// In one frame, these bytes behind the Ethernet header.
    Packet(Vec<u8>),
}

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "same" => Ok(Self::Same),
            _ => notation::hex(text)
                .map(Self::Packet)
                .map_err(|_| format!("`{text}` is neither `same` nor bytes in hex digits")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_written_as_it_is_read() {
        for text in [
            "a1 security-group sgr-0123456789abcdef0",
            "a1 security-group tracked",
            "a1 security-group related",
            "a1 security-group no-rule",
            "subnet with spaces network-acl 100",
            "a network-acl *",
        ] {
            assert_eq!(text.parse::<Decision>().unwrap().to_string(), text);
        }
        assert_eq!("same".parse(), Ok(Bytes::Same));
        assert_eq!("c0ff".parse(), Ok(Bytes::Packet(vec![0xc0, 0xff])));
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in ["a1 security-group 100", "a network-acl tracked", "a1 mtu mtu", "a1 security-group", ""]
        {
            let error = text.parse::<Decision>().unwrap_err();
            assert!(error.contains("is not a decision, `ENI security-group"), "{error}");
        }
        assert!("abc".parse::<Bytes>().is_err());
    }
}
