//! One rule of a group: `tcp 443 from 0.0.0.0/0`.

use schemars::{Schema, SchemaGenerator, json_schema};
use toml::de::DeValue;

use super::grammar::{PROTOCOL_PATTERN, halves, keyword, one_cidr};
use super::lex::{Word, joined, tail, words};
use super::scalar::{Description, Id};
use super::suggest;
use super::table::table;
use super::traffic::{Grammar, idle, protocol};
use super::value::{At, Field, Item, Read, Text};
use crate::diagnostics::{Code, Report, Span};
use crate::ids::IdKind;
use crate::model::{Cidr, Protocol, StaleGroup};

const GROUP_RULE: &str = "a rule such as `tcp 443 from 0.0.0.0/0`";
const PEER: &str =
    "a CIDR block such as 10.0.0.0/16 or ::/0, a group as sg:NAME, or a prefix list as pl:NAME";
/// In front of the id of a group that no longer exists.
const STALE: &str = "stale:";

/// A group's rule, its peer not looked up yet. What a fault hides is `None`.
#[derive(Clone, Debug)]
pub(crate) struct RuleDraft {
    /// Where the rule stands.
    pub(crate) span: Span,
    pub(crate) id: Option<Text>,
    pub(crate) description: Option<String>,
    pub(crate) protocol: Option<Protocol>,
    pub(crate) peer: Option<PeerDraft>,
    /// Ports or types that mean nothing (SG-12).
    pub(crate) idle: Option<Span>,
}

/// Source or destination as written.
#[derive(Clone, Debug)]
pub(crate) enum PeerDraft {
    /// A CIDR block.
    Cidr(Cidr),
    /// A group's name or id.
    Group(Text),
    /// A prefix list's name or id.
    PrefixList(Text),
    /// A group that no longer exists, and where its id stands (SG-38).
    Stale(At<StaleGroup>),
}

/// A rule in a list of one direction: `from` inbound, `to` outbound.
#[derive(Debug)]
pub(crate) struct GroupRuleLine<const EGRESS: bool>(pub(crate) RuleDraft);

table! {
    /// A rule with an id or a description of its own.
    RuleTable {
        /// The rule, such as `tcp 443 from 0.0.0.0/0`.
        required rule: Text,
        /// Its id, `sgr-…`; absent: derived from the group's id and the rule.
        optional id: Id<{ IdKind::GroupRule as usize }>,
        /// What it is for; never looked at in matching (SG-9).
        optional description: Description,
    }
}

impl<const EGRESS: bool> Read for GroupRuleLine<EGRESS> {
    const NAME: &'static str = if EGRESS { "EgressRule" } else { "IngressRule" };

    fn read(item: &Item<'_>, report: &mut Report<'_>) -> Option<Self> {
        let table = match item.value {
            DeValue::Table(_) => RuleTable::read(item, report)?,
            DeValue::String(_) => RuleTable {
                rule: Field::Given(item.text(report, GROUP_RULE)?),
                id: Field::Absent,
                description: Field::Absent,
            },
            _ => {
                return item.wrong_type(
                    report,
                    &format!("{GROUP_RULE}, or a table with `rule`, `id`, `description`"),
                );
            }
        };
        let text = table.rule.given()?;
        let GroupRuleParts { protocol, peer, idle } = group_rule(text, keyword(EGRESS), report);
        let id = table.id.given().map(|id| id.0.clone());
        let description = table.description.given().map(|description| description.0.value.clone());
        Some(Self(RuleDraft { span: text.span, id, description, protocol, peer, idle }))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let word = keyword(EGRESS);
        let line = json_schema!({
            "type": "string",
            "description": format!("PROTOCOL [PORTS | TYPE/CODE] {word} CIDR | sg:NAME | pl:NAME | stale:sg-…"),
            "pattern": format!(r"^\s*{PROTOCOL_PATTERN}\s+{word}\s+\S.*$"),
            "examples": [format!("tcp 443 {word} 0.0.0.0/0"), format!("all {word} sg:default")],
        });
        let mut table = RuleTable::schema(generator);
        if let Some(rule) = table.pointer_mut("/properties/rule") {
            *rule = line.clone().to_value();
        }
        json_schema!({ "anyOf": [line, table] })
    }
}

#[derive(Default)]
struct GroupRuleParts {
    protocol: Option<Protocol>,
    peer: Option<PeerDraft>,
    idle: Option<Span>,
}

/// A group's rule; both of its halves are read, so that a fault in each is noted.
fn group_rule(text: &Text, keyword: &str, report: &mut Report<'_>) -> GroupRuleParts {
    let words = words(text);
    let halves = halves(text, None, &words, keyword, report);
    let Some((before, after)) = halves else { return GroupRuleParts::default() };
    let protocol = protocol(text, before, Grammar::Group, report);
    let idle = protocol.and_then(|protocol| idle(before, protocol));
    GroupRuleParts { protocol, peer: peer(text, after, report), idle }
}

fn peer(text: &Text, words: &[Word<'_>], report: &mut Report<'_>) -> Option<PeerDraft> {
    let whole = joined(text, words)?;
    if let Some(name) = reference(text, &whole, "sg", IdKind::SecurityGroup, report) {
        return Some(PeerDraft::Group(name?));
    }
    if let Some(name) = reference(text, &whole, "pl", IdKind::PrefixList, report) {
        return Some(PeerDraft::PrefixList(name?));
    }
    if whole.text.starts_with(STALE) {
        return stale(&tail(text, &whole, STALE.len()), report).map(PeerDraft::Stale);
    }
    one_cidr(text, words, PEER, report).map(PeerDraft::Cidr)
}

/// A group that is gone has no name any more, only its id.
fn stale(id: &Word<'_>, report: &mut Report<'_>) -> Option<At<StaleGroup>> {
    let group = StaleGroup::new(id.text);
    if group.is_none() {
        let message = format!("`{}` is not the id of a security group", suggest::short(id.text));
        let help = "write stale: and the id that the group had, such as stale:sg-0123456789abcdef0 (SG-38)";
        report.add(Code::BadId, id.span, message, help);
    }
    group.map(|value| At { value, span: id.span })
}

/// `sg:NAME`, or an id alone. `None`: it is neither; `Some(None)`: the name is missing, which has been noted.
#[expect(clippy::option_option, reason = "outer: is it a reference; inner: is it whole")]
fn reference(
    text: &Text,
    whole: &Word<'_>,
    sign: &str,
    kind: IdKind,
    report: &mut Report<'_>,
) -> Option<Option<Text>> {
    if kind.is_id(whole.text) {
        return Some(Some(text.of(whole)));
    }
    let rest = whole.text.strip_prefix(sign)?.strip_prefix(':')?;
    let name = tail(text, whole, whole.text.len() - rest.trim_start().len());
    if name.text.is_empty() {
        let message = format!("`{sign}:` names no {}", kind.as_str());
        report.add(Code::BadRule, whole.span, message, format!("write {sign}:NAME or an id"));
        return Some(None);
    }
    Some(Some(text.of(&name)))
}
