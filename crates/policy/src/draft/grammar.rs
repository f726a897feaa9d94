//! What group rules and ACL entries have in common: PROTOCOL [WHAT] from|to and what follows.

use super::address;
use super::lex::{Word, behind, joined};
use super::suggest;
use super::value::Text;
use crate::diagnostics::{Code, Report};
use crate::model::Cidr;

/// What an editor accepts as protocol and ports, or type and code.
pub(crate) const PROTOCOL_PATTERN: &str = r"(tcp|udp|icmp|icmpv6|all|-1|[0-9]{1,3})(\s+[0-9any/-]+)?";

/// The word in front of the peer.
pub(crate) fn keyword(egress: bool) -> &'static str {
    if egress { "to" } else { "from" }
}

/// The words before and after `from` or `to`.
pub(crate) type Halves<'w, 't> = (&'w [Word<'t>], &'w [Word<'t>]);

/// Splits a line at `from` or `to`, noting if it is the other direction's.
///
/// `start` is the word in front of all of them, if there is one.
pub(crate) fn halves<'w, 't>(
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

/// The one word that a CIDR block is.
pub(crate) fn one_cidr(
    text: &Text,
    words: &[Word<'_>],
    wanted: &str,
    report: &mut Report<'_>,
) -> Option<Cidr> {
    let (first, rest) = words.split_first()?;
    if let Some(extra) = joined(text, rest) {
        let message = format!("`{}` is too much", suggest::short(extra.text));
        report.add(Code::BadRule, extra.span, message, "the line ends with its CIDR block");
    }
    address::cidr(first.text, first.span, report, wanted)
}
