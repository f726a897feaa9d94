//! One rule of a mirror filter: `100 accept tcp from 0.0.0.0/0 to 10.0.1.0/24 443` (TM-3, TM-4).

use std::ops::RangeInclusive;

use schemars::{Schema, SchemaGenerator, json_schema};

use super::address;
use super::entry::rule_number;
use super::lex::{Word, behind, words};
use super::suggest::{did_you_mean, short};
use super::traffic::{number, range};
use super::value::{At, Item, Read, Text};
use crate::diagnostics::{Code, Report, Span};
use crate::model::{Cidr, MirrorAction, RuleNumber};

const RULE: &str = "a rule such as `100 accept tcp from 0.0.0.0/0 to 10.0.1.0/24 443`";
const FORM: &str = "write NUMBER accept|reject PROTOCOL from CIDR [PORTS] to CIDR [PORTS]";
const CIDR: &str =
    "a CIDR block such as 10.0.0.0/16 or ::/0; a mirror filter knows no groups and no prefix lists (TM-3)";

/// A rule in a list of one direction of a mirror filter. What a fault hides is `None`.
#[derive(Debug)]
pub(crate) struct MirrorLine {
    /// Where the rule stands.
    pub(crate) span: Span,
    pub(crate) number: Option<At<RuleNumber>>,
    pub(crate) decision: Option<Decision>,
}

/// What stands behind the number.
#[derive(Clone, Debug)]
pub(crate) struct Decision {
    pub(crate) action: MirrorAction,
    pub(crate) protocol: Option<u8>,
    pub(crate) source: End,
    pub(crate) destination: End,
}

/// One end of the packets that a rule means.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) cidr: Cidr,
    pub(crate) ports: Option<RangeInclusive<u16>>,
}

impl Read for MirrorLine {
    const NAME: &'static str = "MirrorRule";

    fn read(item: &Item<'_>, report: &mut Report<'_>) -> Option<Self> {
        let text = item.text(report, RULE)?;
        let words = words(&text);
        let unnumbered = words.first().is_some_and(|word| matches!(word.text, "accept" | "reject"));
        let (number_word, rest) = words.split_at(usize::from(!unnumbered && !words.is_empty()));
        let number = rule_number(&text, number_word.first(), report);
        let before = number_word.last().or(words.first());
        let decision = before.and_then(|before| decision(&text, before, rest, report));
        Some(Self { span: text.span, number, decision })
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        let end = r"\S+(\s+[0-9-]+|\s+any)?";
        json_schema!({
            "type": "string",
            "description": "NUMBER accept|reject PROTOCOL from CIDR [PORTS] to CIDR [PORTS]",
            "pattern": format!(
                r"^\s*[0-9]{{1,5}}\s+(accept|reject)\s+(tcp|udp|icmp|icmpv6|all|-1|[0-9]{{1,3}})\s+from\s+{end}\s+to\s+{end}\s*$"
            ),
            "examples": [
                "100 accept tcp from 0.0.0.0/0 to 10.0.1.0/24 443",
                "200 reject all from ::/0 to ::/0",
            ],
        })
    }
}

fn decision(text: &Text, before: &Word<'_>, words: &[Word<'_>], report: &mut Report<'_>) -> Option<Decision> {
    let action = action(text, words.first(), before, report);
    let (decided, rest) = words.split_first()?;
    let (Some(from), Some(to)) = (position(rest, "from"), position(rest, "to")) else {
        let missing = if position(rest, "from").is_none() { "from" } else { "to" };
        let at = behind(text, rest.last().or(Some(decided)));
        report.add(Code::BadRule, at, format!("`{missing}` is missing"), FORM);
        return None;
    };
    if to < from {
        report.add(Code::BadRule, rest[to].span, "`to` stands before `from`", FORM);
        return None;
    }
    // Behind a word that is no action, it is unclear where the protocol begins.
    let protocol = action.and_then(|_| protocol(text, decided, &rest[..from], report));
    let source = end(text, &rest[from], &rest[from + 1..to], report);
    let destination = end(text, &rest[to], &rest[to + 1..], report);
    let (action, protocol, source, destination) = (action?, protocol?, source?, destination?);
    if source.cidr.addr().is_ipv6() != destination.cidr.addr().is_ipv6() {
        let help = "no packet has both: write two blocks of one family (TM-3)";
        report.add(Code::MixedFamilies, rest[to + 1].span, "an IPv4 and an IPv6 block", help);
        return None;
    }
    Some(Decision { action, protocol, source, destination })
}

fn position(words: &[Word<'_>], keyword: &str) -> Option<usize> {
    words.iter().position(|word| word.text == keyword)
}

fn action(
    text: &Text,
    word: Option<&Word<'_>>,
    before: &Word<'_>,
    report: &mut Report<'_>,
) -> Option<MirrorAction> {
    match word.map(|word| word.text) {
        Some("accept") => return Some(MirrorAction::Accept),
        Some("reject") => return Some(MirrorAction::Reject),
        _ => {}
    }
    let span = word.map_or_else(|| behind(text, Some(before)), |word| word.span);
    report.add(Code::BadRule, span, "a mirror rule must say `accept` or `reject`", FORM);
    None
}

/// The one word between the action and `from`; the inner `None` is every protocol.
#[expect(clippy::option_option, reason = "outer: readable at all; inner: a number, or any")]
fn protocol(
    text: &Text,
    before: &Word<'_>,
    words: &[Word<'_>],
    report: &mut Report<'_>,
) -> Option<Option<u8>> {
    let Some((name, extra)) = words.split_first() else {
        report.add(Code::BadRule, behind(text, Some(before)), "the rule names no protocol", FORM);
        return None;
    };
    if let Some(extra) = extra.first() {
        let message = format!("`{}` is one word too many", short(extra.text));
        let help = "ports stand behind the block whose ports they are: from CIDR PORTS to CIDR PORTS";
        report.add(Code::BadRule, extra.span, message, help);
        return None;
    }
    number(name, report)
}

/// A block and the ports behind it.
fn end(text: &Text, keyword: &Word<'_>, words: &[Word<'_>], report: &mut Report<'_>) -> Option<End> {
    let Some((block, rest)) = words.split_first() else {
        let message = format!("nothing follows `{}`", keyword.text);
        report.add(Code::BadRule, behind(text, Some(keyword)), message, format!("write {CIDR}"));
        return None;
    };
    if let Some(extra) = rest.get(1) {
        let message = format!("`{}` is one word too many", short(extra.text));
        report.add(Code::BadRule, extra.span, message, FORM);
        return None;
    }
    let cidr = address::cidr(block.text, block.span, report, CIDR);
    let ports = match rest.first() {
        None => Some(None),
        Some(word) => range(word, report).map(|(first, last)| (word.text != "any").then_some(first..=last)),
    };
    Some(End { cidr: cidr?, ports: ports? })
}

/// A service that the rules of a filter have no say about (TM-26).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NetworkService {
    AmazonDns,
}

impl Read for At<NetworkService> {
    fn read(item: &Item<'_>, report: &mut Report<'_>) -> Option<Self> {
        let text = item.text(report, "`amazon-dns`")?;
        if text.value == "amazon-dns" {
            return Some(Self { value: NetworkService::AmazonDns, span: text.span });
        }
        let message = format!("there is no network service `{}`", short(&text.value));
        let meant = did_you_mean(&text.value, std::iter::once("amazon-dns"));
        let help = format!("{meant}write `amazon-dns` (TM-26)");
        report.add(Code::BadForm, text.span, message, help);
        None
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": ["amazon-dns"] })
    }
}
