//! Which flows are meant: the filter words of `palisade flows`.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use palisade_engine::words::{self, BLOCKS, PORTS, PROTOCOLS};
use palisade_flow::{Action, Delta, Ground};
use palisade_policy::draft::suggest::{did_you_mean, short};
use palisade_policy::model::{Cidr, Direction};
use palisade_policy::{EniKey, RuleSlot};

use super::Live;
use crate::control::protocol::{Code, Refusal};

/// What every condition of a list is true of; without conditions, every flow.
#[derive(Debug)]
pub(super) struct Choice(Vec<Condition>);

/// One filter word.
#[derive(Debug)]
enum Condition {
    Eni(Vec<EniKey>),
    Direction(Direction),
    Action(Action),
    Protocol(u8),
    Either(Cidr),
    Source(Cidr),
    Destination(Cidr),
    Port(RangeInclusive<u16>),
    SourcePort(RangeInclusive<u16>),
    DestinationPort(RangeInclusive<u16>),
    Rule(HashSet<RuleSlot>),
    /// No rule or entry matched.
    Default,
    Stage(&'static str),
    Reason(&'static str),
}

/// Every name, and what may stand behind it, as people are told.
const WORDS: [(&str, &str); 12] = [
    ("eni", "eni=NAME"),
    ("direction", "direction=ingress|egress"),
    ("action", "action=ACCEPT|REJECT"),
    ("protocol", "protocol=PROTOCOL"),
    ("src", "src=ADDRESS"),
    ("dst", "dst=ADDRESS"),
    ("port", "port=PORT"),
    ("srcport", "srcport=PORT"),
    ("dstport", "dstport=PORT"),
    ("rule", "rule=RULE"),
    ("stage", "stage=STAGE"),
    ("reason", "reason=REASON"),
];

impl Choice {
    /// Reads filter words.
    ///
    /// # Errors
    /// A word that is none, or names what there is not.
    pub(super) fn parse(words: &[String], live: &Live) -> Result<Self, Refusal> {
        words.iter().map(|word| Condition::parse(word, live)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a flow is meant.
    pub(super) fn includes(&self, seen: &Delta) -> bool {
        self.0.iter().all(|condition| condition.holds(seen))
    }
}

impl Condition {
    fn parse(word: &str, live: &Live) -> Result<Self, Refusal> {
        let Some((name, value)) = word.split_once('=') else {
            return words::block(word).map(Self::Either).ok_or_else(|| neither(word));
        };
        let wrong = |help: &str| {
            let what = format!("`{}`: `{}` cannot be meant", short(word), short(value));
            Refusal::new(Code::BadRequest, what, help)
        };
        let block = || words::block(value).ok_or_else(|| wrong(BLOCKS));
        let ports = || words::ports(value).ok_or_else(|| wrong(PORTS));
        let one_of = |allowed: &[&'static str]| {
            let found = allowed.iter().copied().find(|known| known.eq_ignore_ascii_case(value));
            found.ok_or_else(|| {
                let meant = did_you_mean(value, allowed.iter().copied());
                wrong(&format!("{meant}write one of {}", allowed.join(", ")))
            })
        };
        Ok(match name {
            "eni" => Self::Eni(enis(word, value, live)?),
            "direction" => Self::Direction(direction(one_of(&["ingress", "egress"])?)),
            "action" => Self::Action(action(one_of(&["ACCEPT", "REJECT"])?)),
            "protocol" => Self::Protocol(words::protocol(value).ok_or_else(|| {
                wrong(&format!(
                    "{}{PROTOCOLS}",
                    did_you_mean(value, ["tcp", "udp", "icmp", "icmpv6"].into_iter())
                ))
            })?),
            "src" => Self::Source(block()?),
            "dst" => Self::Destination(block()?),
            "port" => Self::Port(ports()?),
            "srcport" => Self::SourcePort(ports()?),
            "dstport" => Self::DestinationPort(ports()?),
            "rule" if value == "default" => Self::Default,
            "rule" => Self::Rule(rules(word, value, live)?),
            "stage" => Self::Stage(one_of(&stages())?),
            "reason" => Self::Reason(one_of(&reasons())?),
            _ => return Err(no_such_word(word, name)),
        })
    }

    fn holds(&self, seen: &Delta) -> bool {
        let ports = matches!(seen.protocol, 6 | 17).then_some([seen.source_port, seen.destination_port]);
        match self {
            Self::Eni(keys) => keys.contains(&seen.eni),
            Self::Direction(direction) => seen.direction == *direction,
            Self::Action(action) => seen.action() == *action,
            Self::Protocol(number) => seen.protocol == *number,
            Self::Either(block) => block.contains(&seen.source) || block.contains(&seen.destination),
            Self::Source(block) => block.contains(&seen.source),
            Self::Destination(block) => block.contains(&seen.destination),
            Self::Port(range) => ports.is_some_and(|ports| ports.iter().any(|port| range.contains(port))),
            Self::SourcePort(range) => ports.is_some_and(|[source, _]| range.contains(&source)),
            Self::DestinationPort(range) => {
                ports.is_some_and(|[_, destination]| range.contains(&destination))
            }
            Self::Rule(slots) => seen.rule.is_some_and(|slot| slots.contains(&slot)),
            Self::Default => seen.ground.is_default(),
            Self::Stage(stage) => seen.ground.stage() == *stage,
            Self::Reason(reason) => seen.ground.as_str(seen.direction) == *reason,
        }
    }
}

fn enis(word: &str, name: &str, live: &Live) -> Result<Vec<EniKey>, Refusal> {
    let found = live.enis_named(name);
    if !found.is_empty() {
        return Ok(found);
    }
    let vpc = live.snapshot.vpc();
    let meant = did_you_mean(name, vpc.enis.iter().flat_map(|eni| [&*eni.name, &*eni.id]));
    let what = format!("`{}`: the VPC has no ENI named `{}`", short(word), short(name));
    Err(Refusal::new(Code::Unknown, what, format!("{meant}`palisade status` lists the ports by name")))
}

fn rules(word: &str, name: &str, live: &Live) -> Result<HashSet<RuleSlot>, Refusal> {
    let found: HashSet<_> = live.rules().filter(|(_, rule)| **rule == *name).map(|(slot, _)| slot).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let known: Vec<_> = live.rules().map(|(_, rule)| rule).collect();
    let meant = did_you_mean(name, known.iter().map(|rule| &**rule));
    let what = format!("`{}`: there is no rule `{}`", short(word), short(name));
    let help = "write `sgr-…`, `acl-…/120`, or `default` where nothing matched; `palisade rules` lists them";
    Err(Refusal::new(Code::Unknown, what, format!("{meant}{help}")))
}

fn action(word: &str) -> Action {
    if word == Action::Accept.as_str() { Action::Accept } else { Action::Reject }
}

fn direction(word: &str) -> Direction {
    if word == Direction::Ingress.as_str() { Direction::Ingress } else { Direction::Egress }
}

/// Names of stages, each once.
fn stages() -> Vec<&'static str> {
    let mut stages: Vec<_> = Ground::ALL.iter().map(|ground| ground.stage()).collect();
    stages.dedup();
    stages
}

fn reasons() -> Vec<&'static str> {
    let both = |ground: &Ground| [Direction::Egress, Direction::Ingress].map(|way| ground.as_str(way));
    let mut reasons: Vec<_> = Ground::ALL.iter().flat_map(both).collect();
    reasons.dedup();
    reasons
}

/// What stands alone is to be an address.
fn neither(word: &str) -> Refusal {
    if !word.contains(['.', ':', '/']) {
        return no_such_word(word, word);
    }
    Refusal::new(Code::BadRequest, format!("`{}` is no address or CIDR block", short(word)), BLOCKS)
}

fn no_such_word(word: &str, name: &str) -> Refusal {
    let meant = did_you_mean(name, WORDS.iter().map(|(name, _)| *name));
    let allowed: Vec<_> = WORDS.iter().map(|(_, form)| *form).collect();
    let what = format!("`{}` is not a filter word", short(word));
    let help = format!("{meant}allowed: {}, and an address or CIDR block for either end", allowed.join(", "));
    Refusal::new(Code::BadRequest, what, help)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at, delta, snapshot};
    use super::*;

    fn live() -> Live {
        Live::begin(&snapshot(), at(100))
    }

    fn meant(words: &str, seen: &Delta) -> bool {
        let words: Vec<_> = words.split(' ').map(str::to_owned).collect();
        Choice::parse(&words, &live()).unwrap_or_else(|refusal| panic!("{refusal:?}")).includes(seen)
    }

    fn refused(word: &str) -> (Code, String, String) {
        let Refusal { code, message, help, .. } = Choice::parse(&[word.to_owned()], &live()).unwrap_err();
        (code, message, help)
    }

    #[test]
    fn every_word_can_be_true_and_false() {
        let seen = delta(40000, 101);
        for yes in [
            "eni=web",
            "eni=eni-00000001",
            "direction=ingress",
            "action=ACCEPT",
            "action=accept",
            "protocol=tcp",
            "protocol=6",
            "10.0.1.10",
            "10.0.1.20",
            "10.0.0.0/16",
            "src=10.0.1.20",
            "dst=10.0.1.0/24",
            "port=40000",
            "port=443",
            "srcport=40000",
            "dstport=1-1023",
            "rule=sgr-00000001",
            "stage=security-group",
            "reason=rule",
            "eni=web action=ACCEPT dstport=443 10.0.1.20",
        ] {
            assert!(meant(yes, &seen), "{yes}");
        }
        for no in [
            "eni=db",
            "direction=egress",
            "action=REJECT",
            "protocol=udp",
            "10.0.2.0/24",
            "2001:db8::/32",
            "src=10.0.1.10",
            "dst=10.0.1.20",
            "port=22",
            "srcport=443",
            "dstport=40000",
            "rule=acl-00000001/120",
            "rule=default",
            "stage=network-acl",
            "reason=tracked",
            "eni=web action=REJECT",
        ] {
            assert!(!meant(no, &seen), "{no}");
        }
    }

    #[test]
    fn what_nothing_matched_is_the_default_rule() {
        let denied = Delta { ground: Ground::NoRule, rule: None, ..delta(1, 101) };
        assert!(meant("rule=default reason=group-ingress action=REJECT", &denied));
        let ping = Delta { protocol: 1, source_port: 0, destination_port: 0, ..delta(0, 101) };
        assert!(!meant("port=0", &ping), "it has no ports");
    }

    #[test]
    fn faults_name_the_word_and_what_is_allowed() {
        let (code, what, help) = refused("potr=22");
        assert_eq!((code, &*what), (Code::BadRequest, "`potr=22` is not a filter word"));
        assert!(help.starts_with("did you mean `port`? allowed: eni=NAME, "), "{help}");
        let (code, what, help) = refused("action=REJCT");
        assert_eq!((code, &*what), (Code::BadRequest, "`action=REJCT`: `REJCT` cannot be meant"));
        assert_eq!(help, "did you mean `REJECT`? write one of ACCEPT, REJECT");
        let (code, what, help) = refused("eni=wbe");
        assert_eq!((code, &*what), (Code::Unknown, "`eni=wbe`: the VPC has no ENI named `wbe`"));
        assert!(help.starts_with("did you mean `web`? "), "{help}");
        let (code, _, help) = refused("rule=sgr-0000001");
        assert!(code == Code::Unknown && help.starts_with("did you mean `sgr-00000001`? "), "{help}");
        assert!(refused("protocol=tpc").2.starts_with("did you mean `tcp`? write"));
        let (code, what, help) = refused("10.0.1.1/24");
        assert_eq!(
            (code, &*what, &*help),
            (Code::BadRequest, "`10.0.1.1/24` is no address or CIDR block", BLOCKS)
        );
        for wrong in ["REJECT", "src=web", "port=ssh", "port=9-1", "protocol=tpc", "stage=", "="] {
            assert_eq!(refused(wrong).0, Code::BadRequest, "{wrong}");
        }
    }
}
