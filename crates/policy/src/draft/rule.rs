//! One line of a group or an ACL: `tcp 443 from 0.0.0.0/0`, `100 allow tcp 443 from 0.0.0.0/0`.

use schemars::{Schema, SchemaGenerator, json_schema};
use toml::de::DeValue;

use super::address;
use super::lex::{Word, behind, joined, tail, words};
use super::scalar::{Description, Id};
use super::suggest;
use super::table::table;
use super::traffic::{Grammar, decimal, protocol};
use super::value::{At, Field, Item, Read, Text};
use crate::diagnostics::{Code, Report, Span};
use crate::ids::IdKind;
use crate::model::{AclAction, AclEntry, Cidr, Protocol, RuleNumber};

const GROUP_RULE: &str = "a rule such as `tcp 443 from 0.0.0.0/0`";
const ACL_ENTRY: &str = "an entry such as `100 allow tcp 443 from 0.0.0.0/0`";

/// A group's rule, its peer not looked up yet. What a fault hides is `None`.
#[derive(Clone, Debug)]
pub(crate) struct RuleDraft {
    /// Where the rule stands.
    pub(crate) span: Span,
    pub(crate) id: Option<Text>,
    pub(crate) description: Option<String>,
    pub(crate) protocol: Option<Protocol>,
    pub(crate) peer: Option<PeerDraft>,
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
        let (protocol, peer) = group_rule(text, keyword(EGRESS), report);
        let id = table.id.given().map(|id| id.0.clone());
        let description = table.description.given().map(|description| description.0.value.clone());
        Some(Self(RuleDraft { span: text.span, id, description, protocol, peer }))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let word = keyword(EGRESS);
        let line = json_schema!({
            "type": "string",
            "description": format!("PROTOCOL [PORTS | TYPE/CODE] {word} CIDR | sg:NAME | pl:NAME"),
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

/// An entry in a list of one direction of an ACL. What a fault hides is `None`.
#[derive(Debug)]
pub(crate) struct AclLine<const EGRESS: bool> {
    pub(crate) number: Option<At<RuleNumber>>,
    pub(crate) entry: Option<AclEntry>,
}

impl<const EGRESS: bool> Read for AclLine<EGRESS> {
    const NAME: &'static str = if EGRESS { "EgressEntry" } else { "IngressEntry" };

    fn read(item: &Item<'_>, report: &mut Report<'_>) -> Option<Self> {
        let text = item.text(report, ACL_ENTRY)?;
        let words = words(&text);
        let unnumbered = words.first().is_some_and(|word| matches!(word.text, "allow" | "deny"));
        let (number_word, rest) = words.split_at(usize::from(!unnumbered && !words.is_empty()));
        let number = rule_number(&text, number_word.first(), report);
        let entry = number_word
            .last()
            .or(words.first())
            .and_then(|before| decision(&text, before, rest, keyword(EGRESS), report));
        let entry = number.zip(entry).map(|(number, (action, protocol, cidr))| AclEntry {
            number: number.value,
            action,
            protocol,
            cidr,
        });
        Some(Self { number, entry })
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        let word = keyword(EGRESS);
        json_schema!({
            "type": "string",
            "description": format!("NUMBER allow|deny PROTOCOL [PORTS | TYPE/CODE] {word} CIDR"),
            "pattern": format!(r"^\s*[0-9]{{1,5}}\s+(allow|deny)\s+{PROTOCOL_PATTERN}\s+{word}\s+\S+\s*$"),
            "examples": [format!("100 allow tcp 443 {word} 0.0.0.0/0"), format!("200 deny all {word} ::/0")],
        })
    }
}

const PROTOCOL_PATTERN: &str = r"(tcp|udp|icmp|icmpv6|all|-1|[0-9]{1,3})(\s+[0-9any/-]+)?";

fn keyword(egress: bool) -> &'static str {
    if egress { "to" } else { "from" }
}

/// A group's rule; both of its halves are read, so that a fault in each is noted.
fn group_rule(text: &Text, keyword: &str, report: &mut Report<'_>) -> (Option<Protocol>, Option<PeerDraft>) {
    let words = words(text);
    let Some((before, after)) = halves(text, None, &words, keyword, report) else { return (None, None) };
    (protocol(text, before, Grammar::Group, report), peer(text, after, report))
}

/// What stands behind the number of an ACL's entry.
fn decision(
    text: &Text,
    before: &Word<'_>,
    words: &[Word<'_>],
    keyword: &str,
    report: &mut Report<'_>,
) -> Option<(AclAction, Protocol, Cidr)> {
    let action = action(text, words.first(), before, report);
    let (decided, rest) = words.split_first()?;
    let (traffic, peer) = halves(text, Some(decided), rest, keyword, report)?;
    // Behind a word that is no action, it is unclear where the protocol begins.
    let protocol = action.and_then(|_| protocol(text, traffic, Grammar::Acl, report));
    let cidr = one_cidr(text, peer, report)?;
    Some((action?, of_family(protocol?, cidr), cidr))
}

type Halves<'w, 't> = (&'w [Word<'t>], &'w [Word<'t>]);

/// The words before and after `from` or `to`; `start` is the word in front of all of them, if there is one.
fn halves<'w, 't>(
    text: &Text,
    start: Option<&Word<'_>>,
    words: &'w [Word<'t>],
    keyword: &str,
    report: &mut Report<'_>,
) -> Option<Halves<'w, 't>> {
    let Some(at) = words.iter().position(|word| matches!(word.text, "from" | "to")) else {
        let help = format!("write PROTOCOL [PORTS] {keyword} PEER");
        report.add(
            Code::BadRule,
            behind(text, words.last().or(start)),
            format!("`{keyword}` is missing"),
            help,
        );
        return None;
    };
    if words[at].text != keyword {
        let help = format!("write `{keyword}` here: inbound rules say `from`, outbound rules say `to`");
        report.add(
            Code::BadRule,
            words[at].span,
            format!("`{}` is the other direction's word", words[at].text),
            help,
        );
    }
    if at + 1 == words.len() {
        let message = format!("nothing follows `{}`", words[at].text);
        report.add(Code::BadRule, words[at].span, message, "write a CIDR block or another peer behind it");
    }
    Some((&words[..at], &words[at + 1..]))
}

fn peer(text: &Text, words: &[Word<'_>], report: &mut Report<'_>) -> Option<PeerDraft> {
    let whole = joined(text, words)?;
    if let Some(name) = reference(text, &whole, "sg", IdKind::SecurityGroup, report) {
        return Some(PeerDraft::Group(name?));
    }
    if let Some(name) = reference(text, &whole, "pl", IdKind::PrefixList, report) {
        return Some(PeerDraft::PrefixList(name?));
    }
    one_cidr(text, words, report).map(PeerDraft::Cidr)
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

fn one_cidr(text: &Text, words: &[Word<'_>], report: &mut Report<'_>) -> Option<Cidr> {
    let (first, rest) = words.split_first()?;
    if let Some(extra) = joined(text, rest) {
        let message = format!("`{}` is too much", suggest::short(extra.text));
        report.add(Code::BadRule, extra.span, message, "the rule ends with its CIDR block");
    }
    address::cidr(first.text, first.span, report, "a CIDR block such as 10.0.0.0/16 or ::/0")
}

fn rule_number(text: &Text, word: Option<&Word<'_>>, report: &mut Report<'_>) -> Option<At<RuleNumber>> {
    let help = "an entry begins with a number 1 to 32766 (NACL-4)";
    let Some(word) = word else {
        report.add(Code::BadRuleNumber, text.span, "the entry has no rule number", help);
        return None;
    };
    let number = decimal(word.text).and_then(RuleNumber::new);
    if number.is_none() {
        let message = format!("`{}` is not a rule number", suggest::short(word.text));
        report.add(Code::BadRuleNumber, word.span, message, help);
    }
    number.map(|value| At { value, span: word.span })
}

fn action(
    text: &Text,
    word: Option<&Word<'_>>,
    before: &Word<'_>,
    report: &mut Report<'_>,
) -> Option<AclAction> {
    match word.map(|word| word.text) {
        Some("allow") => return Some(AclAction::Allow),
        Some("deny") => return Some(AclAction::Deny),
        _ => {}
    }
    let span = word.map_or_else(|| behind(text, Some(before)), |word| word.span);
    report.add(
        Code::BadRule,
        span,
        "an entry must say `allow` or `deny`",
        "write NUMBER allow|deny PROTOCOL …",
    );
    None
}

/// NACL-12: ICMP of the other family is a protocol like any other, and its types mean nothing there. `icmp` of a certain
/// type (1 keeps its types in both families) meets no IPv6 packet, and stays as it is.
fn of_family(protocol: Protocol, cidr: Cidr) -> Protocol {
    match (protocol, cidr) {
        (Protocol::Icmpv6 { .. }, Cidr::V4(_)) => Protocol::Number(58),
        (Protocol::Icmp { icmp_type: None, .. }, Cidr::V6(_)) => Protocol::Number(1),
        _ => protocol,
    }
}
