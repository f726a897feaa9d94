//! Protocol and ports, or ICMP type and code, of a rule or entry.

use super::lex::{Word, behind};
use super::suggest;
use super::value::Text;
use crate::diagnostics::{Code, Report, Span};
use crate::model::Protocol;

const PORTS: &str = "write a port 0 to 65535, a range such as 1000-2000, or `any`";
const PORTS_MISSING: &str = "write a port, a range such as 1000-2000, or `any` after the protocol (SG-13)";
const TYPES: &str = "write TYPE/CODE, each 0 to 255 or `any` (`8/any`, `3/4`), or `any` for all";
const PROTOCOLS: &str = "write tcp, udp, icmp, icmpv6, all (or -1), or a protocol number 0 to 255";

/// Which rules apply to protocol and ports: those of groups or of ACLs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Grammar {
    /// SG-11..14: `icmpv6` alone means all types.
    Group,
    /// NACL-12: with an IPv4 block `icmpv6` alone means all types. The same where a fault hides the block.
    AclV4,
    /// NACL-13: `icmpv6` needs a type.
    AclV6,
}

/// Reads the words before `from` or `to`.
pub(crate) fn protocol(
    rule: &Text,
    words: &[Word<'_>],
    grammar: Grammar,
    report: &mut Report<'_>,
) -> Option<Protocol> {
    let Some((name, rest)) = words.split_first() else {
        report.add(Code::BadRule, behind(rule, None), "the rule names no protocol", PROTOCOLS);
        return None;
    };
    let number = number(name, report)?;
    if let Some(extra) = rest.get(1) {
        let message = format!("`{}` is one word too many", suggest::short(extra.text));
        report.add(Code::BadRule, extra.span, message, "write PROTOCOL [PORTS] from|to PEER");
        return None;
    }
    let ports = rest.first();
    match number {
        Some(6) => ranged(rule, name, ports, report).map(|(from, to)| Protocol::Tcp { from, to }),
        Some(17) => ranged(rule, name, ports, report).map(|(from, to)| Protocol::Udp { from, to }),
        Some(1) => {
            typed(rule, name, ports, true, report).map(|(icmp_type, code)| Protocol::Icmp { icmp_type, code })
        }
        Some(58) => typed(rule, name, ports, grammar == Grammar::AclV6, report)
            .map(|(icmp_type, code)| Protocol::Icmpv6 { icmp_type, code }),
        Some(other) => whole(ports, report, Protocol::Number(other)),
        None => whole(ports, report, Protocol::All),
    }
}

/// Where ports or types stand behind a protocol that is covered whole, whatever they are (SG-12, NACL-12).
pub(crate) fn idle(words: &[Word<'_>], protocol: Protocol) -> Option<Span> {
    let whole = matches!(protocol, Protocol::All | Protocol::Number(_));
    words.get(1).filter(|word| whole && !is_any(word.text) && word.text != "0-65535").map(|word| word.span)
}

/// `Some(None)` stands for every protocol.
#[expect(clippy::option_option, reason = "outer: readable at all; inner: a number, or -1")]
pub(super) fn number(name: &Word<'_>, report: &mut Report<'_>) -> Option<Option<u8>> {
    match name.text {
        "all" | "-1" => return Some(None),
        "tcp" => return Some(Some(6)),
        "udp" => return Some(Some(17)),
        "icmp" => return Some(Some(1)),
        "icmpv6" => return Some(Some(58)),
        _ => {}
    }
    if let Some(number) = decimal::<u8>(name.text) {
        return Some(Some(number));
    }
    let meant = suggest::did_you_mean(name.text, ["tcp", "udp", "icmp", "icmpv6", "all"].into_iter());
    let message = format!("there is no protocol `{}`", suggest::short(name.text));
    report.add(Code::BadProtocol, name.span, message, format!("{meant}{PROTOCOLS}"));
    None
}

/// SG-12, NACL-12: whatever ports were given to another protocol, they mean nothing; they must be ports all the same.
fn whole(ports: Option<&Word<'_>>, report: &mut Report<'_>, protocol: Protocol) -> Option<Protocol> {
    match ports {
        None => Some(protocol),
        Some(word) => range(word, report).map(|_| protocol),
    }
}

fn ranged(
    rule: &Text,
    name: &Word<'_>,
    ports: Option<&Word<'_>>,
    report: &mut Report<'_>,
) -> Option<(u16, u16)> {
    if let Some(word) = ports {
        return range(word, report);
    }
    let message = format!("`{}` needs ports", name.text);
    report.add(Code::BadPorts, behind(rule, Some(name)), message, PORTS_MISSING);
    None
}

/// A port, a range or all of them (SG-13).
pub(super) fn range(word: &Word<'_>, report: &mut Report<'_>) -> Option<(u16, u16)> {
    if is_any(word.text) || word.text == "-1--1" {
        return Some((0, u16::MAX));
    }
    let (from, to) = word.text.split_once('-').unwrap_or((word.text, word.text));
    let message = match (decimal::<u16>(from), decimal::<u16>(to)) {
        (Some(from), Some(to)) if from <= to => return Some((from, to)),
        (Some(_), Some(_)) => format!("`{}` ends before it begins", word.text),
        _ => format!("`{}` is not a port or a range of ports", suggest::short(word.text)),
    };
    report.add(Code::BadPorts, word.span, message, PORTS);
    None
}

type TypeAndCode = (Option<u8>, Option<u8>);

fn typed(
    rule: &Text,
    name: &Word<'_>,
    word: Option<&Word<'_>>,
    required: bool,
    report: &mut Report<'_>,
) -> Option<TypeAndCode> {
    match word {
        Some(word) => type_and_code(word, report),
        None if !required => Some((None, None)),
        None => {
            let message = format!("`{}` needs a type and a code", name.text);
            report.add(Code::BadIcmp, behind(rule, Some(name)), message, TYPES);
            None
        }
    }
}

/// TYPE/CODE (SG-14, NACL-13).
fn type_and_code(word: &Word<'_>, report: &mut Report<'_>) -> Option<TypeAndCode> {
    if is_any(word.text) {
        return Some((None, None));
    }
    let message = match word.text.split_once('/') {
        None => format!("`{}` has no code", suggest::short(word.text)),
        Some((icmp_type, code)) => match (octet_or_any(icmp_type), octet_or_any(code)) {
            (Some(None), Some(Some(_))) => "any type cannot have a certain code".to_owned(),
            (Some(icmp_type), Some(code)) => return Some((icmp_type, code)),
            _ => format!("`{}` is not an ICMP type and code", suggest::short(word.text)),
        },
    };
    report.add(Code::BadIcmp, word.span, message, TYPES);
    None
}

#[expect(clippy::option_option, reason = "outer: readable at all; inner: a number, or any")]
fn octet_or_any(text: &str) -> Option<Option<u8>> {
    if is_any(text) { Some(None) } else { decimal(text).map(Some) }
}

fn is_any(text: &str) -> bool {
    matches!(text, "any" | "-1")
}

/// Digits only: `+6` and the like are not numbers here.
pub(crate) fn decimal<T: std::str::FromStr>(text: &str) -> Option<T> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}
