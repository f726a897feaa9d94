//! One entry of an ACL: `100 allow tcp 443 from 0.0.0.0/0`.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::grammar::{PROTOCOL_PATTERN, halves, keyword, one_cidr};
use super::lex::{Word, behind, words};
use super::suggest;
use super::traffic::{Grammar, decimal, idle, protocol};
use super::value::{At, Item, Read, Text};
use crate::diagnostics::{Code, Report, Span};
use crate::model::{AclAction, AclEntry, Cidr, Protocol, RuleNumber};

const ACL_ENTRY: &str = "an entry such as `100 allow tcp 443 from 0.0.0.0/0`";
const CIDR: &str =
    "a CIDR block such as 10.0.0.0/16 or ::/0; an ACL knows no groups and no prefix lists (NACL-10)";

/// An entry in a list of one direction of an ACL. What a fault hides is `None`.
#[derive(Debug)]
pub(crate) struct AclLine<const EGRESS: bool> {
    /// Where the entry stands.
    pub(crate) span: Span,
    pub(crate) number: Option<At<RuleNumber>>,
    pub(crate) entry: Option<AclEntry>,
    /// Ports or types that mean nothing (NACL-12).
    pub(crate) idle: Option<Span>,
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
        let idle = entry.as_ref().and_then(|decision| decision.idle);
        let entry = number.zip(entry).map(|(number, decision)| {
            let Decision { action, protocol, cidr, .. } = decision;
            AclEntry { number: number.value, action, protocol, cidr }
        });
        Some(Self { span: text.span, number, entry, idle })
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

struct Decision {
    action: AclAction,
    protocol: Protocol,
    cidr: Cidr,
    idle: Option<Span>,
}

/// What stands behind the number of an ACL's entry.
fn decision(
    text: &Text,
    before: &Word<'_>,
    words: &[Word<'_>],
    keyword: &str,
    report: &mut Report<'_>,
) -> Option<Decision> {
    let action = action(text, words.first(), before, report);
    let (decided, rest) = words.split_first()?;
    let (traffic, peer) = halves(text, Some(decided), rest, keyword, report)?;
    let cidr = one_cidr(text, peer, CIDR, report);
    let grammar = if matches!(cidr, Some(Cidr::V6(_))) { Grammar::AclV6 } else { Grammar::AclV4 };
    // Behind a word that is no action, it is unclear where the protocol begins.
    let protocol = action.and_then(|_| protocol(text, traffic, grammar, report));
    let (action, cidr) = (action?, cidr?);
    let protocol = of_family(protocol?, cidr);
    Some(Decision { action, protocol, cidr, idle: idle(traffic, protocol) })
}

pub(super) fn rule_number(
    text: &Text,
    word: Option<&Word<'_>>,
    report: &mut Report<'_>,
) -> Option<At<RuleNumber>> {
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
