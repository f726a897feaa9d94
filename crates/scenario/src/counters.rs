//! Counters as a scenario file asks for them: `dropped.mtu +1`, `eni.a1.conntrack_allowance_exceeded 2`.
//!
//! ```text
//! NAME N       the counter has this value, counted from the start of the scenario
//! NAME +N      it has grown by this much since the step began
//!
//! received, delivered, generated, held                packets; held: fragments that wait for their first one
//! dropped, dropped.REASON, consumed, consumed.WHAT    packets
//! STAGE.DIRECTION.reached|default|related             packets whose rules were consulted at a stage: all, those that
//!                                                     nothing matched, errors let through by the packet they quote
//! rule.ID                                             packets that a group rule, `sgr-…`, decided
//! acl.NAME.DIRECTION.NUMBER|*                         packets that an entry, or the end of the list, decided
//! connections.created|alive|expired|closed|removed|revoked    connection entries; revoked: of those removed
//! eni.NAME.conntrack_allowance_exceeded               packets that the tracking allowance refused at an ENI (CT-71)
//! mirror.SESSION.packets|bytes|dropped, mirror.SESSION.dropped.REASON    copies of a mirror session; bytes: of the frames
//!                                                     that carry them
//! instance.NAME.conntrack_allowance_available         entries that the instance may still open (CT-71)
//!
//! STAGE      security-group or network-acl
//! DIRECTION  ingress or egress
//! ```
//!
//! Packets are packets on the wire: a segmentation-offload frame counts as those that it stands for.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use palisade_conntrack::ConnTotals;
use palisade_engine::{Consumed, CounterValues, DropReason, SessionValues, Stage, StageValues};
use palisade_packet::Direction;
use palisade_policy::model::MirrorSessionIndex;
use palisade_policy::{CompiledEni, EniKey, InstanceKey, MirrorKey, RuleName, RuleSlot, Snapshot};

/// What a counter must show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Count {
    /// As it was written, up to the number.
    name: String,
    counter: Counter,
    wanted: Wanted,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wanted {
    Value(u64),
    Growth(u64),
}

/// A counter by its name.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Counter {
    Received,
    Delivered,
    Generated,
    Held,
    Dropped(Option<DropReason>),
    Consumed(Option<Consumed>),
    Stage(Stage, Direction, Part),
    Rule(String),
    Entry { acl: String, direction: Direction, number: Option<u16> },
    Connections(Life),
    Exceeded(String),
    Available(String),
    Mirror(String, Copied),
}

/// What is counted of the copies of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Copied {
    Packets,
    Bytes,
    Dropped(Option<DropReason>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    Reached,
    Default,
    Related,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Life {
    Created,
    Alive,
    Expired,
    Closed,
    Removed,
    Revoked,
}

/// What the counters show at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Readings {
    /// Counters of packets.
    pub values: CounterValues,
    /// Fragments that wait for their first one.
    pub held: u64,
    /// Counters of connection entries.
    pub connections: ConnTotals,
    /// Packets that each rule decided, by slot.
    pub rules: Vec<u64>,
    /// Packets that the tracking allowance refused, by ENI.
    pub exceeded: BTreeMap<EniKey, u64>,
    /// Entries that each instance may still open.
    pub available: BTreeMap<InstanceKey, u32>,
    /// Copies, by session.
    pub copies: BTreeMap<MirrorKey, SessionValues>,
}

impl Count {
    /// What the counter shows, if it is not what it must show; `before` is what it showed when the step began.
    ///
    /// # Errors
    ///
    /// If the world does not have what the counter belongs to.
    pub(crate) fn miss(
        &self,
        snapshot: &Snapshot,
        before: &Readings,
        after: &Readings,
    ) -> Result<Option<String>, String> {
        let missing = || format!("the world has nothing that `{}` could count", self.name);
        let now = self.counter.value(snapshot, after).ok_or_else(missing)?;
        let then = self.counter.value(snapshot, before).unwrap_or_default();
        Ok(match self.wanted {
            Wanted::Value(value) => (value != now).then(|| format!("{} {now}", self.name)),
            Wanted::Growth(growth) => {
                let grown = i128::from(now) - i128::from(then);
                (i128::from(growth) != grown).then(|| format!("{} {grown:+}", self.name))
            }
        })
    }
}

impl Counter {
    /// `None` if the world does not have the object.
    fn value(&self, snapshot: &Snapshot, readings: &Readings) -> Option<u64> {
        let Readings { values, connections, .. } = readings;
        Some(match self {
            Self::Received => values.received,
            Self::Delivered => values.delivered,
            Self::Generated => values.generated,
            Self::Held => readings.held,
            Self::Dropped(None) => values.dropped.total(),
            Self::Dropped(Some(reason)) => values.dropped_for(*reason),
            Self::Consumed(None) => values.consumed.total(),
            Self::Consumed(Some(what)) => values.consumed.get(what.index()),
            Self::Stage(stage, direction, part) => part.of(stage_values(values, *stage, *direction)),
            Self::Rule(id) => readings
                .hits(snapshot, |name| matches!(name, RuleName::GroupRule { rule, .. } if rule == id))?,
            Self::Entry { acl, direction, number } => {
                let acl = &snapshot.vpc().network_acls.iter().find(|known| known.name == *acl)?.id;
                readings.hits(snapshot, |name| is_entry(name, acl, *direction, *number))?
            }
            Self::Connections(life) => life.of(connections),
            Self::Exceeded(eni) => {
                let eni = snapshot.eni_named(eni)?;
                readings.exceeded.get(&eni.key).copied().unwrap_or_default()
            }
            Self::Available(instance) => {
                let vpc = snapshot.vpc();
                let at = |eni: &&CompiledEni| vpc[vpc[eni.index].instance].name == *instance;
                let eni = snapshot.enis().iter().find(at)?;
                readings.available.get(&eni.instance).copied().unwrap_or_default().into()
            }
            Self::Mirror(session, part) => {
                let sessions = (0..).map(MirrorSessionIndex).zip(&snapshot.vpc().mirror_sessions);
                let (index, _) = sessions.into_iter().find(|(_, known)| known.name == *session)?;
                readings
                    .copies
                    .get(&snapshot.mirror_key(index))
                    .map(|values| part.of(values))
                    .unwrap_or_default()
            }
        })
    }
}

impl Readings {
    /// Hits of all rules of one name, for `*` stands for an end of each family; `None` if there is none.
    fn hits(&self, snapshot: &Snapshot, wanted: impl Fn(&RuleName) -> bool) -> Option<u64> {
        let slots = (0..snapshot.rule_slots()).filter_map(|slot| u32::try_from(slot).ok());
        let known = slots.filter(|slot| snapshot.rule(RuleSlot(*slot)).is_some_and(&wanted));
        let hits = known.map(|slot| self.rules.get(slot as usize).copied().unwrap_or_default());
        hits.fold(None, |sum, hits| Some(sum.unwrap_or(0) + hits))
    }
}

fn is_entry(name: &RuleName, id: &str, way: Direction, wanted: Option<u16>) -> bool {
    match name {
        RuleName::AclEntry { acl, direction, number } => {
            acl == id && *direction == way && Some(*number) == wanted
        }
        RuleName::AclDefault { acl, direction, .. } => acl == id && *direction == way && wanted.is_none(),
        RuleName::GroupRule { .. } => false,
    }
}

const fn stage_values(values: &CounterValues, stage: Stage, direction: Direction) -> StageValues {
    match (stage, direction) {
        (Stage::NetworkAcl, Direction::Ingress) => values.acl_ingress,
        (Stage::NetworkAcl, Direction::Egress) => values.acl_egress,
        (_, Direction::Ingress) => values.group_ingress,
        (_, Direction::Egress) => values.group_egress,
    }
}

impl Part {
    const fn of(self, stage: StageValues) -> u64 {
        match self {
            Self::Reached => stage.reached,
            Self::Default => stage.by_default,
            Self::Related => stage.related,
        }
    }
}

impl Copied {
    fn of(self, values: &SessionValues) -> u64 {
        match self {
            Self::Packets => values.packets,
            Self::Bytes => values.bytes,
            Self::Dropped(None) => values.dropped.total(),
            Self::Dropped(Some(reason)) => values.dropped_for(reason),
        }
    }
}

impl Life {
    const fn of(self, totals: &ConnTotals) -> u64 {
        match self {
            Self::Created => totals.created,
            Self::Alive => totals.alive,
            Self::Expired => totals.expired,
            Self::Closed => totals.closed,
            Self::Removed => totals.removed,
            Self::Revoked => totals.revoked,
        }
    }
}

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("`{text}` is not `COUNTER N` or `COUNTER +N`");
        let (name, number) = text.rsplit_once(' ').ok_or_else(form)?;
        let wanted = match number.strip_prefix('+') {
            Some(growth) => Wanted::Growth(growth.parse().map_err(|_| form())?),
            None => Wanted::Value(number.parse().map_err(|_| form())?),
        };
        Ok(Self { name: name.to_owned(), counter: name.parse()?, wanted })
    }
}

impl FromStr for Counter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (head, rest) = text.split_once('.').unwrap_or((text, ""));
        let counter = match (head, rest) {
            ("received", "") => Some(Self::Received),
            ("delivered", "") => Some(Self::Delivered),
            ("generated", "") => Some(Self::Generated),
            ("held", "") => Some(Self::Held),
            ("dropped", "") => Some(Self::Dropped(None)),
            ("dropped", reason) => DropReason::named(reason).map(|reason| Self::Dropped(Some(reason))),
            ("consumed", "") => Some(Self::Consumed(None)),
            ("consumed", what) => Consumed::named(what).map(|what| Self::Consumed(Some(what))),
            ("security-group", rest) => stage(Stage::SecurityGroup, rest),
            ("network-acl", rest) => stage(Stage::NetworkAcl, rest),
            ("rule", id) => id.starts_with("sgr-").then(|| Self::Rule(id.to_owned())),
            ("acl", rest) => entry(rest),
            ("connections", life) => {
                LIVES.iter().find(|(name, _)| *name == life).map(|(_, life)| Self::Connections(*life))
            }
            ("mirror", rest) => copies(rest),
            ("eni", rest) => rest.strip_suffix(EXCEEDED).map(|name| Self::Exceeded(name.to_owned())),
            ("instance", rest) => rest.strip_suffix(AVAILABLE).map(|name| Self::Available(name.to_owned())),
            _ => None,
        };
        counter.ok_or_else(|| format!("`{text}` is not a counter; one of: {NAMES}"))
    }
}

const EXCEEDED: &str = ".conntrack_allowance_exceeded";
const AVAILABLE: &str = ".conntrack_allowance_available";
const NAMES: &str = "received, delivered, generated, held, dropped, dropped.REASON, consumed, consumed.WHAT, \
                     security-group|network-acl.ingress|egress.reached|default|related, rule.sgr-ID, \
                     acl.NAME.ingress|egress.NUMBER|*, connections.created|alive|expired|closed|removed|revoked, \
                     mirror.SESSION.packets|bytes|dropped, mirror.SESSION.dropped.REASON, \
                     eni.NAME.conntrack_allowance_exceeded, instance.NAME.conntrack_allowance_available";
const PARTS: [(&str, Part); 3] =
    [("reached", Part::Reached), ("default", Part::Default), ("related", Part::Related)];
const LIVES: [(&str, Life); 6] = [
    ("created", Life::Created),
    ("alive", Life::Alive),
    ("expired", Life::Expired),
    ("closed", Life::Closed),
    ("removed", Life::Removed),
    ("revoked", Life::Revoked),
];

fn stage(stage: Stage, text: &str) -> Option<Counter> {
    let (way, part) = text.split_once('.')?;
    let (_, part) = PARTS.into_iter().find(|(name, _)| *name == part)?;
    Some(Counter::Stage(stage, direction(way)?, part))
}

fn entry(text: &str) -> Option<Counter> {
    let (rest, number) = text.rsplit_once('.')?;
    let (acl, way) = rest.rsplit_once('.')?;
    let number = if number == "*" { None } else { Some(number.parse().ok()?) };
    Some(Counter::Entry { acl: acl.to_owned(), direction: direction(way)?, number })
}

fn copies(text: &str) -> Option<Counter> {
    let (session, part) = text.split_once('.')?;
    let part = match part.split_once('.') {
        None if part == "packets" => Copied::Packets,
        None if part == "bytes" => Copied::Bytes,
        None if part == "dropped" => Copied::Dropped(None),
        Some(("dropped", reason)) => Copied::Dropped(Some(DropReason::named(reason)?)),
        _ => return None,
    };
    Some(Counter::Mirror(session.to_owned(), part))
}

fn direction(text: &str) -> Option<Direction> {
    [Direction::Ingress, Direction::Egress].into_iter().find(|direction| direction.as_str() == text)
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.wanted {
            Wanted::Value(value) => write!(f, "{} {value}", self.name),
            Wanted::Growth(growth) => write!(f, "{} +{growth}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORLD: &str = r#"
[vpc]
cidr_blocks = ["10.0.0.0/16"]
[subnet.a]
cidr = "10.0.1.0/24"
network_acl = "n"
[network_acl.n]
ingress = ["100 allow all from 0.0.0.0/0"]
[security_group.g]
ingress = [{ rule = "tcp 22 from 0.0.0.0/0", id = "sgr-0123456789abcdef0" }]
[eni.e]
subnet = "a"
address = "10.0.1.10"
attach = { tap = "e" }
"#;

    fn miss(text: &str, change: impl FnOnce(&Snapshot, &mut Readings)) -> Result<Option<String>, String> {
        let vpc = palisade_policy::draft::load("world", WORLD).unwrap();
        let snapshot = Snapshot::compile(vpc, None);
        let slots = snapshot.rule_slots();
        let before = Readings { rules: vec![5; slots], held: 1, ..Readings::default() };
        let mut after = before.clone();
        change(&snapshot, &mut after);
        text.parse::<Count>()?.miss(&snapshot, &before, &after)
    }

    #[test]
    fn values_and_growth() {
        assert_eq!(miss("held 1", |_, _| {}), Ok(None));
        assert_eq!(miss("held +0", |_, _| {}), Ok(None));
        assert_eq!(miss("held +1", |_, after| after.held = 3), Ok(Some("held +2".to_owned())));
        assert_eq!(miss("held +1", |_, after| after.held = 0), Ok(Some("held -1".to_owned())));
        assert_eq!(miss("connections.created 2", |_, after| after.connections.created = 2), Ok(None));
        assert_eq!(miss("network-acl.egress.reached +0", |_, _| {}), Ok(None));
    }

    #[test]
    fn what_belongs_to_an_object() {
        let hit = |wanted: &'static str| {
            move |snapshot: &Snapshot, after: &mut Readings| {
                let named = |slot: &usize| {
                    let slot = RuleSlot(u32::try_from(*slot).unwrap());
                    snapshot.rule(slot).is_some_and(|name| name.to_string().contains(wanted))
                };
                (0..snapshot.rule_slots()).filter(named).for_each(|slot| after.rules[slot] += 1);
            }
        };
        assert_eq!(miss("rule.sgr-0123456789abcdef0 +1", hit("sgr-0123456789abcdef0")), Ok(None));
        assert_eq!(miss("acl.n.ingress.100 +1", hit("ingress 100")), Ok(None));
        assert_eq!(miss("acl.n.ingress.* +0", hit("ingress 100")), Ok(None));
        assert_eq!(miss("acl.n.egress.* +1", hit("ingress 100")), Ok(Some("acl.n.egress.* +0".to_owned())));
        assert_eq!(miss("eni.e.conntrack_allowance_exceeded 0", |_, _| {}), Ok(None));
        assert_eq!(miss("instance.e.conntrack_allowance_available 0", |_, _| {}), Ok(None));
    }

    #[test]
    fn what_cannot_be_counted_is_refused() {
        for (text, why) in [
            ("held", "is not `COUNTER N` or `COUNTER +N`"),
            ("held -1", "is not `COUNTER N` or `COUNTER +N`"),
            ("dropped.bored 1", "is not a counter; one of: received, "),
            ("network-acl.sideways.reached 1", "is not a counter"),
            ("connections.lost 1", "is not a counter"),
            ("rule.sgr-0123456789abcdef1 1", "the world has nothing that"),
            ("acl.n.ingress.7 1", "the world has nothing that"),
            ("eni.z.conntrack_allowance_exceeded 0", "the world has nothing that"),
        ] {
            let error = miss(text, |_, _| {}).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
