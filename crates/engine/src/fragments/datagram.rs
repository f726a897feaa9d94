//! One fragmented datagram as one ENI sees it pass in one direction.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use palisade_conntrack::Instant;
use palisade_packet::{Direction, Fragment};

use super::held::{Arriving, Header, Held, Released};
use super::share::Usage;
use crate::reason::DropReason;

/// How long a datagram is remembered after its last fragment, and a given-up one after it was marked (CT-62, CT-63).
const REMEMBERED: Duration = Duration::from_secs(30);
/// Fragments of one datagram that wait at once (CT-61).
const MOST_HELD: usize = 64;

/// CT-60: what fragments of one datagram have in common, beside the ENI.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Identity {
    direction: Direction,
    source: IpAddr,
    destination: IpAddr,
    identification: u32,
    /// Zero in IPv6, whose later fragments may name another protocol.
    protocol: u8,
}

#[derive(Debug)]
pub(super) struct Datagram(Stage);

#[derive(Debug)]
enum Stage {
    /// The first fragment has not come; these have, in this order. No two overlap, but one may repeat another.
    Waiting(Vec<Held>),
    /// The first fragment has come.
    Known(Known),
    /// Given up until then (CT-63): everything of it is dropped.
    GivenUp(Instant),
}

#[derive(Debug)]
struct Known {
    expires: Instant,
    header: Header,
    /// By offset; no two overlap.
    seen: BTreeMap<u16, Fragment>,
    /// Where the data that has been seen from the start without a gap ends.
    prefix: u32,
    /// The fragment that ends the datagram and all before it have been seen (CT-62).
    complete: bool,
}

/// What is to be done with a fragment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ruling {
    /// It goes on: a first fragment by its own header, a later one by this.
    Pass(Header),
    /// It waits.
    Hold,
    /// It is dropped, and its datagram given up.
    GiveUp,
    /// It alone is dropped.
    Drop(DropReason),
}

impl Identity {
    pub(super) fn of(arriving: &Arriving<'_>) -> Self {
        let ip = &arriving.ip;
        Self {
            direction: arriving.place.direction(),
            source: ip.source,
            destination: ip.destination,
            identification: arriving.fragment.identification,
            protocol: if ip.is_ipv4() { ip.protocol } else { 0 },
        }
    }
}

impl Ruling {
    /// About a fragment of which nothing is known.
    pub(super) const fn of_new(arriving: &Arriving<'_>) -> Self {
        if arriving.fragment.is_first() { Self::Pass(arriving.header()) } else { Self::Hold }
    }
}

impl Datagram {
    /// One whose first fragment has not come.
    pub(super) const fn new() -> Self {
        Self(Stage::Waiting(Vec::new()))
    }

    pub(super) fn rule(&self, arriving: &Arriving<'_>, now: Instant) -> Ruling {
        match &self.0 {
            Stage::GivenUp(_) => Ruling::Drop(DropReason::FragmentInvalid),
            Stage::Known(known) => known.rule(arriving),
            Stage::Waiting(held) => {
                let mut waiting = held.iter().filter(|held| held.until > now).map(|held| held.fragment);
                if waiting.clone().any(|held| held != arriving.fragment && overlap(held, arriving.fragment)) {
                    Ruling::GiveUp
                } else if waiting.nth(MOST_HELD - 1).is_some() && !arriving.fragment.is_first() {
                    Ruling::Drop(DropReason::FragmentOrphan)
                } else {
                    Ruling::of_new(arriving)
                }
            }
        }
    }

    /// Whether a fragment belongs to another datagram with the same identification: the time of this one is over, or
    /// it is complete and would be overlapped (CT-62).
    pub(super) fn is_over(&self, fragment: Fragment, now: Instant) -> bool {
        match &self.0 {
            Stage::Waiting(held) => held.iter().all(|held| held.until <= now),
            Stage::Known(known) => known.expires <= now || (known.complete && known.overlaps(fragment)),
            Stage::GivenUp(until) => *until <= now,
        }
    }

    /// Takes up a fragment that passes; returns those that waited for it, if it is the first.
    pub(super) fn pass(&mut self, fragment: Fragment, header: Header, now: Instant) -> Vec<Released> {
        if let Stage::Known(known) = &mut self.0 {
            known.take_up(fragment, now);
            return Vec::new();
        }
        let mut known = Known::new(header);
        known.take_up(fragment, now);
        let held = self.replace(Stage::Known(known));
        if let Stage::Known(known) = &mut self.0 {
            for held in &held {
                known.take_up(held.fragment, now);
            }
        }
        release(held, Ok(header))
    }

    /// Takes up a fragment that waits.
    pub(super) fn hold(&mut self, fragment: Held) {
        if let Stage::Waiting(held) = &mut self.0 {
            held.push(fragment);
        }
    }

    /// Gives it up (CT-63), unless it already is; returns those that waited.
    pub(super) fn give_up(&mut self, now: Instant) -> Vec<Released> {
        if let Stage::GivenUp(_) = self.0 {
            return Vec::new();
        }
        release(self.replace(Stage::GivenUp(now + REMEMBERED)), Err(DropReason::FragmentInvalid))
    }

    /// Drops those that have waited long enough, and returns how many they were.
    pub(super) fn lapse(&mut self, now: Instant) -> usize {
        let Stage::Waiting(held) = &mut self.0 else { return 0 };
        let before = held.len();
        held.retain(|held| held.until > now);
        before - held.len()
    }

    /// When there is something to do next: a fragment has waited long enough, or all is to be forgotten.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.0 {
            Stage::Waiting(held) => held.first().map(|held| held.until),
            Stage::Known(known) => Some(known.expires),
            Stage::GivenUp(until) => Some(*until),
        }
    }

    /// How many wait, and their bytes: all of them, or those whose time is over.
    pub(super) fn held(&self, overdue_at: Option<Instant>) -> (usize, usize) {
        let Stage::Waiting(held) = &self.0 else { return (0, 0) };
        let counted = held.iter().filter(|held| overdue_at.is_none_or(|now| held.until <= now));
        counted.fold((0, 0), |(count, bytes), held| (count + 1, bytes + held.bytes()))
    }

    pub(super) fn usage(&self) -> Usage {
        let (held, held_bytes) = self.held(None);
        let seen = if let Stage::Known(known) = &self.0 { known.seen.len() } else { 0 };
        Usage { datagrams: 1, fragments: seen + held, held, held_bytes }
    }

    fn replace(&mut self, stage: Stage) -> Vec<Held> {
        match std::mem::replace(&mut self.0, stage) {
            Stage::Waiting(held) => held,
            Stage::Known(_) | Stage::GivenUp(_) => Vec::new(),
        }
    }
}

fn release(held: Vec<Held>, ruling: Result<Header, DropReason>) -> Vec<Released> {
    held.into_iter().map(|held| held.release(ruling)).collect()
}

impl Known {
    const fn new(header: Header) -> Self {
        Self { expires: Instant::from_nanos(0), header, seen: BTreeMap::new(), prefix: 0, complete: false }
    }

    /// An exact repetition is not an overlap (CT-63), but a first fragment with another header is no repetition.
    fn rule(&self, arriving: &Arriving<'_>) -> Ruling {
        let fragment = arriving.fragment;
        let repeats = self.seen.get(&fragment.offset) == Some(&fragment);
        let alike = !fragment.is_first() || arriving.header() == self.header;
        if !alike || (self.overlaps(fragment) && !repeats) {
            return Ruling::GiveUp;
        }
        Ruling::Pass(self.header)
    }

    fn overlaps(&self, fragment: Fragment) -> bool {
        let before = self.seen.range(..=fragment.offset).next_back();
        let after = self.seen.range(fragment.offset..).next();
        before.into_iter().chain(after).any(|(_, seen)| overlap(*seen, fragment))
    }

    fn take_up(&mut self, fragment: Fragment, now: Instant) {
        self.expires = now + REMEMBERED;
        if fragment.len == 0 {
            return;
        }
        self.seen.insert(fragment.offset, fragment);
        while let Some(next) = u16::try_from(self.prefix).ok().and_then(|at| self.seen.get(&at)) {
            self.prefix = end(*next);
            self.complete |= !next.more;
        }
    }
}

fn overlap(one: Fragment, other: Fragment) -> bool {
    u32::from(one.offset) < end(other) && u32::from(other.offset) < end(one)
}

fn end(fragment: Fragment) -> u32 {
    u32::from(fragment.offset) + u32::from(fragment.len)
}
