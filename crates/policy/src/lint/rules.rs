//! Rules of groups that change nothing, and rules that make flows untracked.

use palisade_packet::summary::protocol::{TCP, UDP};

use super::book::{Book, Subject};
use super::code::Code;
use super::entries::several;
use super::tracking::{all_ports, anywhere};
use super::union::{Redundant, RuleAt, Union};
use crate::model::Peer;

/// Looks at every rule of every group.
pub(super) fn check(book: &mut Book<'_>) {
    let union = Union::new(book.vpc, book.snapshot);
    let may_go = |rule| book.is_written(Subject::Rule(rule)) && !book.is_void(Subject::Rule(rule));
    for redundant in union.redundant(may_go) {
        note_redundant(book, &redundant);
    }
    for &rule in &union.rules {
        note_untracked(book, &union, rule);
    }
}

fn note_redundant(book: &mut Book<'_>, redundant: &Redundant) {
    let Redundant { rule, covers, own, lasting } = redundant;
    let names: Vec<_> = covers.iter().map(|&cover| cover_title(book, *rule, cover)).collect();
    let verb = if covers.len() == 1 { "allows" } else { "allow" };
    let what = format!("{} changes nothing: {} {verb} all of it", title(book, *rule), several(&names));
    let (code, message, help) = match (own, lasting) {
        (true, true) => (Code::RedundantRule, what, "remove it"),
        (false, true) => (
            Code::RedundantAcrossGroups,
            format!("{what}, and every interface with {} has their groups too", book.vpc[rule.group].name),
            "remove it if the groups are always used together; keep it if each should stand by itself",
        ),
        (_, false) => (
            Code::RedundantForNow,
            format!("{what} as long as groups and prefix lists hold what they hold now"),
            "keep it if members or entries will change; else remove it",
        ),
    };
    let others: Vec<_> = covers.iter().map(|&cover| Subject::Rule(cover)).collect();
    book.note(code, Subject::Rule(*rule), &others, message, help);
}

/// CT-10, CT-21. A rule is told of once, with the rule that opens the other direction.
fn note_untracked(book: &mut Book<'_>, union: &Union<'_>, rule: RuleAt) {
    let Peer::Cidr(cidr) = union.rule(rule).peer else { return };
    let ipv6 = cidr.addr().is_ipv6();
    let partners = [TCP, UDP].into_iter().filter_map(|protocol| {
        let opens = !anywhere(union, &[rule], ipv6, protocol).is_empty();
        let partner = if opens { partner(union, rule, ipv6, protocol) } else { None };
        partner.map(|partner| (protocol, partner))
    });
    let partners: Vec<(u8, RuleAt)> = partners.collect();
    let Some(&(_, partner)) = partners.first() else { return };
    let protocols = match partners[..] {
        [(TCP, _)] => "TCP",
        [(UDP, _)] => "UDP",
        _ => "TCP and UDP",
    };
    let message = format!(
        "{protocols} connections that {} lets through are untracked, because {} opens every port the other way",
        title(book, rule),
        cover_title(book, rule, partner)
    );
    let help = "a change of either rule cuts them at once (CT-21); name narrower addresses in one of them to have them \
                tracked (CT-10)";
    book.note(Code::UntrackedFlows, Subject::Rule(rule), &[Subject::Rule(partner)], message, help);
}

/// The rule with the lowest id that opens all ports of the other direction to everywhere, on some interface with the
/// rule's group.
fn partner(union: &Union<'_>, rule: RuleAt, ipv6: bool, protocol: u8) -> Option<RuleAt> {
    let sets = union.sets.iter().filter(|set| set.contains(&rule.group));
    let opposite = sets.flat_map(|set| union.of_set(set, rule.direction.opposite()));
    let open = |at: &RuleAt| anywhere(union, &[*at], ipv6, protocol) == [all_ports(protocol)];
    let rules = opposite.map(|at| union.rules[at]).filter(open);
    rules.min_by(|a, b| union.rule(*a).id.cmp(&union.rule(*b).id))
}

/// A rule with its group.
pub(super) fn title(book: &Book<'_>, rule: RuleAt) -> String {
    let text = book.text(Subject::Rule(rule));
    format!("`{text}` ({}) of group {}", rule.of(book.vpc).id, book.vpc[rule.group].name)
}

/// Another rule, with its group unless that is the same.
fn cover_title(book: &Book<'_>, rule: RuleAt, other: RuleAt) -> String {
    if rule.group == other.group {
        return format!("`{}` ({})", book.text(Subject::Rule(other)), other.of(book.vpc).id);
    }
    title(book, other)
}
