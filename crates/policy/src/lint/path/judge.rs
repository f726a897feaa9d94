//! What becomes of a rule's connections at an ACL: whether they pass, and whether their answers do.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use palisade_packet::summary::protocol::{ICMP, ICMPV6, TCP, UDP};

use super::clients::{Clients, holds_clients};
use super::stretches::{By, Class, Denied, Stretches, WayEntry};
use crate::classifier::service::{self, PLANES};
use crate::classifier::span::{Field, Span};
use crate::model::{AclAction, Protocol};

/// Addresses from one to another, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Range {
    pub(super) low: IpAddr,
    high: IpAddr,
}

/// What became of the connections of one rule at one ACL, in one family.
#[derive(Debug)]
pub(super) struct Judged {
    /// Some of its traffic passes the ACL on its way.
    pub(super) passes: bool,
    /// Where it is denied, and by what first.
    pub(super) denied: Option<(Range, By)>,
    /// Answers that do not pass.
    pub(super) lack: Option<Lack>,
    /// Answers that pass to some clients only.
    pub(super) narrow: Option<Lack>,
}

/// Answers that the ACL denies.
#[derive(Clone, Debug)]
pub(super) struct Lack {
    /// Some addresses to which (or from which) they do not pass.
    pub(super) addresses: Range,
    /// What they are.
    pub(super) answers: BTreeSet<Answer>,
    /// What denies the first of them.
    pub(super) by: By,
    /// Only a rule and an entry without ports let the connections through.
    pub(super) wide: bool,
}

/// A kind of answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Answer {
    /// TCP or UDP to the client's port.
    Ported(u8),
    /// ICMP of this type.
    Icmp(u8),
    /// Another protocol.
    Other(u8),
}

impl fmt::Display for Range {
    /// An address, a block if it is one, or two addresses with a hyphen.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { low, high } = *self;
        if low == high {
            return low.fmt(f);
        }
        let longest = if low.is_ipv6() { 128 } else { 32 };
        let blocks = (0..longest).filter_map(|length| IpNet::new(low, length).ok());
        match blocks.into_iter().find(|block| block.network() == low && block.broadcast() == high) {
            Some(block) => block.fmt(f),
            None => write!(f, "{low}-{high}"),
        }
    }
}

/// Judges the traffic of a rule with some addresses.
pub(super) fn judge<T: Field>(stretches: &Stretches<T>, addresses: &[Span<T>], protocol: Protocol) -> Judged {
    let mut judged = Judged { passes: false, denied: None, lack: None, narrow: None };
    let mut whole = true;
    let mut lacks = Vec::new();
    for (span, class) in stretches.touched(addresses) {
        let addresses = Range { low: span.low.ip(), high: span.high.ip() };
        let sight = Sight { stretches, class, protocol, addresses };
        let seen = sight.look();
        judged.passes |= seen.passes;
        judged.denied = judged.denied.or(seen.denied.map(|by| (addresses, by)));
        judged.narrow = judged.narrow.or(seen.narrow);
        whole &= seen.lack.is_some() || !seen.asks;
        lacks.extend(seen.lack);
    }
    // A denial of some addresses is meant so; one of all of them, or one by nobody's entry, is not.
    judged.lack = lacks.into_iter().find(|(_, meant)| whole || !meant).map(|(lack, _)| lack);
    judged
}

/// One stretch, as the rule's traffic sees it.
struct Sight<'s, T> {
    stretches: &'s Stretches<T>,
    class: &'s Class,
    protocol: Protocol,
    addresses: Range,
}

/// What became of the traffic there.
struct Seen {
    passes: bool,
    /// Something passes that wants an answer.
    asks: bool,
    denied: Option<By>,
    /// With whether an entry for these addresses denies it, so that it is meant.
    lack: Option<(Lack, bool)>,
    narrow: Option<Lack>,
}

/// Traffic that the ACL lets through on its way.
struct Passing {
    span: Span<u32>,
    plane: usize,
    /// Neither the rule nor the entry names a port.
    wide: bool,
}

/// How much of its plane an entry is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Breadth {
    /// All of it.
    Everything,
    /// The ports of clients: it is there for answers.
    Answers,
    /// Something in particular.
    Service,
}

impl<T: Field> Sight<'_, T> {
    fn look(&self) -> Seen {
        let mut seen = Seen { passes: false, asks: false, denied: None, lack: None, narrow: None };
        for passing in self.passing(&mut seen) {
            seen.asks = true;
            self.weigh(&passing, &mut seen);
        }
        seen
    }

    /// The parts of the traffic that pass and of which an answer is expected.
    fn passing(&self, seen: &mut Seen) -> Vec<Passing> {
        let specific = is_specific(self.protocol);
        let mut found = Vec::new();
        for (plane, span) in self.planes() {
            for (span, entry) in self.stretches.forward.pieces(&self.class.forward, span) {
                let Some(entry) = entry.filter(|entry| entry.action == AclAction::Allow) else {
                    seen.denied.get_or_insert(entry.map_or(By::End, |entry| By::Entry(entry.place)));
                    continue;
                };
                seen.passes = true;
                let breadth = breadth(entry, plane);
                if specific || breadth != Breadth::Answers {
                    let wide = !specific && breadth == Breadth::Everything;
                    found.push(Passing { span, plane, wide });
                }
            }
        }
        found
    }

    /// The services of the rule, plane by plane.
    fn planes(&self) -> impl Iterator<Item = (usize, Span<u32>)> {
        let services = service::covered(self.protocol, T::IPV6);
        services.into_iter().flat_map(|span| {
            PLANES.into_iter().enumerate().filter_map(move |(at, plane)| {
                let (low, high) = (span.low.max(plane.low), span.high.min(plane.high));
                (low <= high).then_some((at, Span { low, high }))
            })
        })
    }

    fn weigh(&self, passing: &Passing, seen: &mut Seen) {
        match passing.plane {
            0 | 1 => self.weigh_ported(passing, seen),
            2 => self.weigh_icmp(passing, seen),
            _ => self.weigh_other(passing, seen),
        }
    }

    fn weigh_ported(&self, passing: &Passing, seen: &mut Seen) {
        let protocol = if passing.plane == 0 { TCP } else { UDP };
        // A UDP service may be asked from its own port, as NTP and IKE are.
        let own_port = || self.stretches.back.denial(&self.class.back, passing.span).is_none();
        if protocol == UDP && is_specific(self.protocol) && own_port() {
            return;
        }
        let answer = Answer::Ported(protocol);
        match self.class.clients[passing.plane] {
            Clients::Some(by) if !passing.wide => {
                seen.narrow.get_or_insert_with(|| self.lack(answer, by, false));
            }
            Clients::All | Clients::Some(_) => {}
            Clients::None { by, meant } => self.add(answer, &Denied { by, meant }, passing.wide, seen),
        }
    }

    /// Queries have answers of their own type; of a rule without a type only echo requests are looked at.
    fn weigh_icmp(&self, passing: &Passing, seen: &mut Seen) {
        let queries: &[(u8, u8)] =
            if T::IPV6 { &[(128, 129)] } else { &[(8, 0), (13, 14), (15, 16), (17, 18)] };
        let queries = if is_specific(self.protocol) { queries } else { &queries[..1] };
        for &(query, answer) in queries {
            if passing.span.contains(service::icmp_type(query)) {
                self.expect(Answer::Icmp(answer), service::icmp_type(answer), passing.wide, seen);
            }
        }
    }

    /// Protocols without ports: of a rule and an entry for all of them, nothing is expected.
    fn weigh_other(&self, passing: &Passing, seen: &mut Seen) {
        if passing.wide {
            return;
        }
        for number in
            (passing.span.low..=passing.span.high).filter_map(|service| u8::try_from(service & 0xffff).ok())
        {
            if ![TCP, UDP, ICMP, ICMPV6].contains(&number) {
                self.expect(Answer::Other(number), PLANES[3].low | u32::from(number), false, seen);
            }
        }
    }

    /// Notes it if an answer of this service does not pass.
    fn expect(&self, answer: Answer, service: u32, wide: bool, seen: &mut Seen) {
        let point = Span { low: service, high: service };
        if let Some(denied) = self.stretches.back.denial(&self.class.back, point) {
            self.add(answer, &denied, wide, seen);
        }
    }

    fn add(&self, answer: Answer, denied: &Denied, wide: bool, seen: &mut Seen) {
        let Denied { by, meant } = *denied;
        match &mut seen.lack {
            // What passes by a rule or entry for something in particular weighs more.
            Some((lack, _)) if lack.wide && !wide => seen.lack = Some((self.lack(answer, by, wide), meant)),
            Some((lack, _)) if !lack.wide && wide => {}
            Some((lack, all_meant)) => {
                lack.answers.insert(answer);
                *all_meant &= meant;
            }
            none => *none = Some((self.lack(answer, by, wide), meant)),
        }
    }

    fn lack(&self, answer: Answer, by: By, wide: bool) -> Lack {
        Lack { addresses: self.addresses, answers: BTreeSet::from([answer]), by, wide }
    }
}

/// Whether a rule is for something in particular.
fn is_specific(protocol: Protocol) -> bool {
    match protocol {
        Protocol::All => false,
        Protocol::Tcp { from, to } | Protocol::Udp { from, to } => !holds_clients((from, to)),
        Protocol::Icmp { icmp_type, .. } | Protocol::Icmpv6 { icmp_type, .. } => icmp_type.is_some(),
        Protocol::Number(_) => true,
    }
}

fn breadth(entry: &WayEntry, plane: usize) -> Breadth {
    let plane = PLANES[plane];
    let spans = entry.services.iter().filter(|span| span.low <= plane.high && plane.low <= span.high);
    let widest = spans
        .map(|span| (span.low.max(plane.low), span.high.min(plane.high)))
        .max_by_key(|(low, high)| high - low);
    let ported = plane.low < PLANES[2].low;
    match widest {
        Some((low, high)) if low == plane.low && high == plane.high => Breadth::Everything,
        Some((low, high)) if ported && holds_clients((port(low), port(high))) => Breadth::Answers,
        _ => Breadth::Service,
    }
}

fn port(service: u32) -> u16 {
    u16::try_from(service & 0xffff).unwrap_or(u16::MAX)
}
