//! What must become of a packet, as a scenario file writes it and as a walk shows it.

use std::fmt;
use std::str::FromStr;

use palisade_engine::{Consumed, DropReason, Explanation, Stage};

/// The end of a packet's journey.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Expectation {
    /// `delivered PORT`: the name of an ENI, or `service` and the name of a service.
    Delivered(String),
    /// `consumed WHAT`.
    Consumed(Consumed),
    /// `held ENI`: a fragment that came before its first one waits there, where it was sent or where it is to go (CT-61).
    Held(String),
    /// `dropped AT STAGE WHY`.
    Dropped {
        /// Where: the name of the ENI or the subnet, `service NAME`, or `router`.
        at: String,
        /// The stage that ended the journey.
        stage: Stage,
        /// What decided there.
        why: Why,
    },
    /// `dropped REASON`: it does not say where, for scenarios that a program writes.
    DroppedFor(DropReason),
}

/// What decided against a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// At a security group: `no-rule`, for groups only allow (SG-2).
    NoRule,
    /// At a network ACL: the number of the entry.
    Entry(u16),
    /// At a network ACL: `*`, which ends every list (NACL-5).
    NoEntry,
    /// At any other stage: the reason, by the name of its counter.
    Reason(DropReason),
}

const FORM: &str = "`delivered PORT`, `consumed WHAT`, `held ENI` or `dropped AT STAGE WHY`";

impl Expectation {
    /// What a walk shows.
    pub(crate) fn of(walk: &Explanation) -> Self {
        let outcome = &walk.outcome;
        if let Some(to) = &outcome.to {
            return Self::Delivered(to.clone());
        }
        if let Some(last) = walk.stages.last().filter(|_| outcome.verdict == "held") {
            return Self::Held(last.at.clone());
        }
        let name = outcome.reason.unwrap_or_default();
        match (DropReason::named(name), Consumed::named(name), walk.stages.last()) {
            (Some(reason), _, Some(last)) => {
                let why = match (last.stage, &last.rule) {
                    (Stage::SecurityGroup, _) => Why::NoRule,
                    (Stage::NetworkAcl, Some(rule)) => entry(rule.rsplit(' ').next().unwrap_or_default()),
                    _ => Why::Reason(reason),
                };
                Self::Dropped { at: last.at.clone(), stage: last.stage, why }
            }
            (Some(reason), _, None) => Self::DroppedFor(reason),
            (None, what, _) => what.map_or_else(|| Self::Delivered("nowhere".to_owned()), Self::Consumed),
        }
    }

    /// Whether a packet of which `seen` is said, and of whose end these counters tell, ended as it must.
    pub(crate) fn allows(&self, seen: &str, reasons: &[&str]) -> bool {
        match self {
            Self::DroppedFor(wanted) => reasons == [wanted.as_str()] && seen.starts_with("dropped "),
            _ => self.to_string() == seen,
        }
    }

    /// Whether it says at which stage a packet is dropped, if it is.
    #[must_use]
    pub const fn names_the_stage(&self) -> bool {
        !matches!(self, Self::DroppedFor(_))
    }
}

fn entry(number: &str) -> Why {
    number.parse().map_or(Why::NoEntry, Why::Entry)
}

impl FromStr for Expectation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(' ') {
            Some(("delivered", to)) => Ok(Self::Delivered(to.to_owned())),
            Some(("consumed", what)) => Consumed::named(what).map(Self::Consumed).ok_or_else(|| {
                format!("`{what}` is nothing that the fabric consumes; one of: {}", names(&Consumed::ALL))
            }),
            Some(("held", at)) => Ok(Self::Held(at.to_owned())),
            Some(("dropped", end)) => dropped(end),
            _ => Err(format!("`{text}` is not {FORM}")),
        }
    }
}

fn dropped(text: &str) -> Result<Expectation, String> {
    let Some((rest, why)) = text.rsplit_once(' ') else {
        let reason = DropReason::named(text).map(Expectation::DroppedFor);
        return reason.ok_or_else(|| format!("`dropped {text}` is not {FORM}, nor a reason alone"));
    };
    let (at, stage) = rest.rsplit_once(' ').ok_or_else(|| format!("`dropped {text}` is not {FORM}"))?;
    let stage = Stage::named(stage)
        .ok_or_else(|| format!("`{stage}` is not a stage; one of: {}", names(&Stage::ALL)))?;
    let why = Why::read(stage, why)?;
    Ok(Expectation::Dropped { at: at.to_owned(), stage, why })
}

impl Why {
    fn read(stage: Stage, text: &str) -> Result<Self, String> {
        let why = match stage {
            Stage::SecurityGroup => (text == "no-rule").then_some(Self::NoRule),
            Stage::NetworkAcl if text == "*" => Some(Self::NoEntry),
            Stage::NetworkAcl => text.parse().ok().map(Self::Entry),
            _ => DropReason::named(text).filter(|reason| reason.stage() == stage).map(Self::Reason),
        };
        why.ok_or_else(|| format!("`{text}` ends nothing at the stage {stage}; {}", Self::allowed(stage)))
    }

    fn allowed(stage: Stage) -> String {
        match stage {
            Stage::SecurityGroup => "only `no-rule` does".to_owned(),
            Stage::NetworkAcl => "the number of an entry does, or `*`".to_owned(),
            _ => {
                let here = DropReason::ALL.into_iter().filter(|reason| reason.stage() == stage);
                format!("one of: {}", names(&here.collect::<Vec<_>>()))
            }
        }
    }
}

pub(crate) fn names<T: fmt::Display>(all: &[T]) -> String {
    if all.is_empty() {
        return "none".to_owned();
    }
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivered(to) => write!(f, "delivered {to}"),
            Self::Consumed(what) => write!(f, "consumed {what}"),
            Self::Held(at) => write!(f, "held {at}"),
            Self::Dropped { at, stage, why } => write!(f, "dropped {at} {stage} {why}"),
            Self::DroppedFor(reason) => write!(f, "dropped {reason}"),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRule => f.write_str("no-rule"),
            Self::Entry(number) => number.fmt(f),
            Self::NoEntry => f.write_str("*"),
            Self::Reason(reason) => reason.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_written_as_it_is_read() {
        for text in [
            "delivered b1",
            "delivered service dns",
            "consumed arp",
            "held b1",
            "dropped b1 security-group no-rule",
            "dropped b network-acl 50",
            "dropped b network-acl *",
            "dropped a1 admission source-check",
            "dropped service dns service-path service-path",
            "dropped router route no-route",
            "dropped group-ingress",
        ] {
            assert_eq!(text.parse::<Expectation>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_can() {
        for (text, help) in [
            ("deliver b1", "`delivered PORT`, `consumed WHAT`, `held ENI` or `dropped AT STAGE WHY`"),
            ("consumed dns", "one of: arp, neighbour-discovery"),
            ("dropped no-rule", "nor a reason alone"),
            ("dropped b1 security-groups no-rule", "one of: admission, "),
            ("dropped b1 security-group 100", "only `no-rule` does"),
            ("dropped b network-acl ten", "the number of an entry does, or `*`"),
            ("dropped b1 mtu source-check", "one of: mtu, receiver-mtu"),
            ("dropped b1 hand-over mtu", "one of: none"),
        ] {
            let error = text.parse::<Expectation>().unwrap_err();
            assert!(error.contains(help), "{text}: {error}");
        }
    }
}
