//! Groups against ACLs: what a group permits and the subnet's ACL denies, and connections whose answers have no way back.
//!
//! An ACL keeps no state (NACL-22): a connection that a group and the ACL let in needs an entry for its answers, which go
//! to the client's port (NACL-45). Traffic inside a subnet meets no ACL (NACL-20), so the subnet's own addresses are left
//! out; so are addresses that no rule ever sees.

mod clients;
mod judge;
mod stretches;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::book::{Book, DIRECTIONS, EntryAt, Subject};
use super::code::Code;
use super::entries::several;
use super::never::UNSEEN;
use super::rules::title;
use super::union::{RuleAt, Union};
use crate::classifier::span::{Field, Span, without};
use crate::model::{AclIndex, Direction, GroupIndex, Peer, RuleNumber, SubnetIndex};
use crate::rule_text;
use clients::{EVERYBODY, LINUX, Ports, WINDOWS};
use judge::{Answer, Judged, Lack, Range, judge};
use stretches::{By, Stretches};

/// Looks at every rule in every subnet that has an interface with its group.
pub(super) fn check(book: &mut Book<'_>) {
    let union = Union::new(book.vpc, book.snapshot);
    let groups = groups_by_subnet(book);
    let mut verdicts = Verdicts::new();
    judge_family::<u32>(book, &union, &groups, &mut verdicts);
    judge_family::<u128>(book, &union, &groups, &mut verdicts);
    for (rule, verdicts) in &verdicts {
        tell(book, *rule, verdicts);
    }
}

type GroupsBySubnet = BTreeMap<SubnetIndex, BTreeSet<GroupIndex>>;

fn groups_by_subnet(book: &Book<'_>) -> GroupsBySubnet {
    let mut found = GroupsBySubnet::new();
    for eni in &book.vpc.enis {
        found.entry(eni.subnet).or_default().extend(&eni.groups);
    }
    found
}

/// What an ACL does to a rule in one family, told of one of its subnets.
struct Verdict {
    acl: AclIndex,
    subnet: SubnetIndex,
    ipv6: bool,
    judged: Judged,
}

type Verdicts = BTreeMap<RuleAt, Vec<Verdict>>;

fn judge_family<T: Field>(
    book: &Book<'_>,
    union: &Union<'_>,
    groups: &GroupsBySubnet,
    verdicts: &mut Verdicts,
) {
    let mut cut: BTreeMap<(AclIndex, Direction), Stretches<T>> = BTreeMap::new();
    for (&subnet, groups) in groups {
        let acl = book.vpc[subnet].network_acl;
        for direction in DIRECTIONS {
            let (forward, back) = (book.vpc[acl].list(direction), book.vpc[acl].list(direction.opposite()));
            let stretches = cut.entry((acl, direction)).or_insert_with(|| Stretches::new(forward, back));
            for rule in groups.iter().flat_map(|group| union.of_set(std::slice::from_ref(group), direction)) {
                let rule = union.rules[rule];
                let addresses = outside::<T>(book, union, rule, subnet);
                if !addresses.is_empty() && !book.is_void(Subject::Rule(rule)) {
                    let judged = judge(stretches, &addresses, union.rule(rule).protocol);
                    let verdict = Verdict { acl, subnet, ipv6: T::IPV6, judged };
                    verdicts.entry(rule).or_default().push(verdict);
                }
            }
        }
    }
}

/// The addresses of a rule that are beyond the subnet's border.
fn outside<T: Field>(book: &Book<'_>, union: &Union<'_>, rule: RuleAt, subnet: SubnetIndex) -> Vec<Span<T>> {
    let Some(compiled) = union.compiled::<T>(rule) else { return Vec::new() };
    let subnet = &book.vpc[subnet];
    let own = [Some(IpNet::V4(subnet.cidr)), subnet.ipv6_cidr.map(IpNet::V6)].into_iter().flatten();
    let unseen = UNSEEN.iter().filter_map(|(range, _)| range.parse().ok());
    let holes = own.chain(unseen).chain(book.vpc.dns_address().map(IpNet::from));
    let holes = holes.filter_map(|block| T::block(&block));
    holes.fold(compiled.addresses, |left, hole| without(&left, hole))
}

fn tell(book: &mut Book<'_>, rule: RuleAt, verdicts: &[Verdict]) {
    tell_denied(book, rule, verdicts);
    let acls: BTreeSet<AclIndex> = verdicts.iter().map(|verdict| verdict.acl).collect();
    for acl in acls {
        // One subnet and family at least, two families at most: an ACL does the same in all its subnets, but for their
        // own addresses.
        let of_acl = || verdicts.iter().filter(|verdict| verdict.acl == acl);
        let lacks: Vec<_> = of_acl().filter_map(|one| Some((one, one.judged.lack.as_ref()?))).collect();
        let narrow: Vec<_> = of_acl().filter_map(|one| Some((one, one.judged.narrow.as_ref()?))).collect();
        if !lacks.is_empty() {
            note_lack(book, rule, &once_per_family(lacks));
        } else if !narrow.is_empty() {
            note_narrow(book, rule, &once_per_family(narrow));
        }
    }
}

fn once_per_family<L>(mut found: Vec<(&Verdict, L)>) -> Vec<(&Verdict, L)> {
    let mut families = BTreeSet::new();
    found.retain(|(verdict, _)| families.insert(verdict.ipv6));
    found
}

fn tell_denied(book: &mut Book<'_>, rule: RuleAt, verdicts: &[Verdict]) {
    let denied = verdicts.iter().filter(|verdict| !verdict.judged.passes);
    let denied: Vec<_> = denied.filter_map(|one| Some((one, one.judged.denied?))).collect();
    let subnets: BTreeSet<_> = denied.iter().map(|(verdict, _)| verdict.subnet).collect();
    let everywhere = denied.len() == verdicts.len();
    for subnet in subnets.iter().take(if everywhere { 1 } else { subnets.len() }) {
        let here: Vec<_> = denied.iter().filter(|(verdict, _)| verdict.subnet == *subnet).collect();
        note_denied(book, rule, &here, everywhere);
    }
}

fn note_denied(book: &mut Book<'_>, rule: RuleAt, denied: &[&(&Verdict, (Range, By))], everywhere: bool) {
    let Some((verdict, _)) = denied.first() else { return };
    let direction = rule.direction;
    let traffic = rule_text::protocol(rule.of(book.vpc).protocol);
    let places = denied.iter().map(|(verdict, (range, by))| {
        (Denial::new(verdict, direction, *by), peer_text(book, rule, range.low))
    });
    let places: Vec<_> = places.collect();
    let by = places.iter().map(|(denial, _)| denial.title(book));
    let by = several(&by.collect::<Vec<_>>());
    let additions = places.iter().map(|(denial, peer)| denial.addition(book, &traffic, peer));
    let additions = several(&additions.collect::<Vec<_>>());
    let one_family = !everywhere && denied.len() == 1 && matches!(rule.of(book.vpc).peer, Peer::Group(_));
    let family = match (one_family, verdict.ipv6) {
        (false, _) => "",
        (true, false) => " over IPv4",
        (true, true) => " over IPv6",
    };
    let message = format!(
        "{} lets nothing through{family} in subnet {}: {by} {} all of it",
        title(book, rule),
        book.vpc[verdict.subnet].name,
        if denied.len() == 1 { "denies" } else { "deny" }
    );
    let help = format!("to let it through, add {additions}; else remove the rule (NACL-23)");
    let code = if everywhere { Code::DeniedByAcl } else { Code::DeniedInSubnet };
    let others: Vec<_> = places.iter().map(|(denial, _)| denial.subject()).collect();
    book.note(code, Subject::Rule(rule), &others, message, help);
}

fn note_lack(book: &mut Book<'_>, rule: RuleAt, lacks: &[(&Verdict, &Lack)]) {
    let Some((verdict, _)) = lacks.first() else { return };
    let back = rule.direction.opposite();
    let parts = lacks.iter().map(|(verdict, lack)| {
        let answers: Vec<_> = lack.answers.iter().map(|answer| answer.describe(verdict.ipv6)).collect();
        let denial = Denial::new(verdict, back, lack.by);
        let (by, word) = (denial.title(book), rule_text::preposition(back));
        format!("{by} denies {} {word} {}", several(&answers), lack.addresses)
    });
    let parts = several(&parts.collect::<Vec<_>>());
    let message = format!(
        "connections by {} get no answer across the border of subnet {}: {parts}",
        title(book, rule),
        book.vpc[verdict.subnet].name
    );
    let help = format!("an ACL keeps no state (NACL-22): add {} (NACL-45)", additions(book, rule, lacks));
    let wide = lacks.iter().all(|(_, lack)| lack.wide);
    let code = if wide { Code::NoReturnForWideRule } else { Code::NoReturnPath };
    book.note(code, Subject::Rule(rule), &deniers(back, lacks), message, help);
}

fn note_narrow(book: &mut Book<'_>, rule: RuleAt, lacks: &[(&Verdict, &Lack)]) {
    let Some((verdict, _)) = lacks.first() else { return };
    let back = rule.direction.opposite();
    let parts = lacks.iter().map(|(verdict, lack)| {
        let by = Denial::new(verdict, back, lack.by).title(book);
        let word = rule_text::preposition(back);
        format!("{by} denies part of {} {word} {}", range(EVERYBODY), lack.addresses)
    });
    let message = format!(
        "connections by {} across the border of subnet {} get answers on some ports only: {}",
        title(book, rule),
        book.vpc[verdict.subnet].name,
        several(&parts.collect::<Vec<_>>())
    );
    let help = format!(
        "Linux takes {}, Windows {}, NAT gateways and load balancers {}: add {}, if such clients connect (NACL-45)",
        range(LINUX),
        range(WINDOWS),
        range(EVERYBODY),
        additions(book, rule, lacks)
    );
    book.note(Code::NarrowReturnPath, Subject::Rule(rule), &deniers(back, lacks), message, help);
}

/// Entries that would let the first answers pass.
fn additions(book: &Book<'_>, rule: RuleAt, lacks: &[(&Verdict, &Lack)]) -> String {
    let additions = lacks.iter().map(|(verdict, lack)| {
        let denial = Denial::new(verdict, rule.direction.opposite(), lack.by);
        let answer = lack.answers.first().map_or_else(String::new, |answer| answer.entry(verdict.ipv6));
        denial.addition(book, &answer, &peer_text(book, rule, lack.addresses.low))
    });
    several(&additions.collect::<Vec<_>>())
}

fn deniers(back: Direction, lacks: &[(&Verdict, &Lack)]) -> Vec<Subject> {
    lacks.iter().map(|(verdict, lack)| Denial::new(verdict, back, lack.by).subject()).collect()
}

/// What denies: an entry, or the end of a list.
#[derive(Clone, Copy)]
struct Denial {
    acl: AclIndex,
    direction: Direction,
    entry: Option<EntryAt>,
}

impl Denial {
    fn new(verdict: &Verdict, direction: Direction, by: By) -> Self {
        let acl = verdict.acl;
        let entry = match by {
            By::Entry(at) => Some(EntryAt { acl, direction, at }),
            By::End => None,
        };
        Self { acl, direction, entry }
    }

    fn subject(self) -> Subject {
        self.entry.map_or(Subject::Acl(self.acl), Subject::Entry)
    }

    /// `entry 90 of network ACL web, egress,` or `the end of network ACL web, egress,`.
    fn title(self, book: &Book<'_>) -> String {
        let (name, direction) = (&book.vpc[self.acl].name, self.direction.as_str());
        match self.entry {
            Some(entry) => format!("entry {} of network ACL {name}, {direction},", book.entry(entry).number),
            None => format!("the end of network ACL {name}, {direction},"),
        }
    }

    /// An entry that would let something pass, as text: in front of the one that denies, else behind all.
    fn addition(self, book: &Book<'_>, traffic: &str, peer: &str) -> String {
        let acl = &book.vpc[self.acl];
        let taken: BTreeSet<u16> = acl.list(self.direction).iter().map(|entry| entry.number.get()).collect();
        let limit = self.entry.map_or(RuleNumber::MAX + 1, |entry| book.entry(entry).number.get());
        let last = taken.range(..limit).next_back().copied().unwrap_or(0);
        let tens = (last / 10 + 1) * 10;
        let free = |number: &u16| !taken.contains(number);
        let number = if tens < limit { Some(tens) } else { (1..limit).rev().find(free) };
        let number = number.map_or_else(|| "NUMBER".to_owned(), |number| number.to_string());
        let (way, word) = (self.direction.as_str(), rule_text::preposition(self.direction));
        format!("`{number} allow {traffic} {word} {peer}` to the {way} of {}", acl.name)
    }
}

impl Answer {
    fn describe(self, ipv6: bool) -> String {
        match self {
            Self::Ported(_) => format!("{} to the ports that clients take", self.protocol(ipv6)),
            Self::Icmp(0 | 129) => "echo replies".to_owned(),
            Self::Icmp(icmp_type) => format!("{} type {icmp_type}", self.protocol(ipv6)),
            Self::Other(number) => format!("protocol {number}"),
        }
    }

    /// What an entry must say to let it pass.
    fn entry(self, ipv6: bool) -> String {
        match self {
            Self::Ported(_) => format!("{} {}", self.protocol(ipv6), range(EVERYBODY)),
            Self::Icmp(icmp_type) => format!("{} {icmp_type}/any", self.protocol(ipv6)),
            Self::Other(_) => self.protocol(ipv6),
        }
    }

    fn protocol(self, ipv6: bool) -> String {
        match self {
            Self::Ported(palisade_packet::summary::protocol::TCP) => "tcp".to_owned(),
            Self::Ported(_) => "udp".to_owned(),
            Self::Icmp(_) if ipv6 => "icmpv6".to_owned(),
            Self::Icmp(_) => "icmp".to_owned(),
            Self::Other(number) => number.to_string(),
        }
    }
}

fn range((from, to): Ports) -> String {
    format!("{from}-{to}")
}

/// The addresses of a rule, as an entry can say them: its block, or that of the subnet or list that holds `address`.
fn peer_text(book: &Book<'_>, rule: RuleAt, address: IpAddr) -> String {
    let holds = |block: &IpNet| block.contains(&address);
    let block = match rule.of(book.vpc).peer {
        Peer::Cidr(cidr) => Some(cidr),
        Peer::PrefixList(list) => book.vpc[list].entries.iter().copied().find(holds),
        Peer::Group(_) | Peer::Stale(_) => {
            let blocks = book.vpc.subnets.iter().flat_map(|subnet| {
                [Some(IpNet::V4(subnet.cidr)), subnet.ipv6_cidr.map(IpNet::V6)].into_iter().flatten()
            });
            blocks.into_iter().find(holds)
        }
    };
    block.unwrap_or_else(|| IpNet::from(address)).to_string()
}
