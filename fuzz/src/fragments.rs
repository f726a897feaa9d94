//! Fragments of a few datagrams in any order, with floods of fragments that never get their first one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use palisade_conntrack::Instant;
use palisade_engine::{Counters, DropReason, Engine, Lane, Now, Outcome, Received, Verdict};
use palisade_packet::{Body, Fragment, parse};
use palisade_policy::{PortKey, Snapshot, draft};
use palisade_scenario::notation::{
    BodySpec, FragmentSpec, IpSpec, LinkSpec, PacketSpec, TransportSpec, UdpSpec,
};

/// Bytes of one event: what, offset, length, which datagram and port.
const EVENT: usize = 4;
/// More events of one input say nothing new.
const MOST_EVENTS: usize = 100;
/// To a port that arrives, one that the receiver's group refuses, and one that the sender's does.
const PORTS: [u16; 3] = [53, 54, 99];
/// CT-61: of one ENI; fragments can wait at the sender and at the receiver.
const MOST_HELD_BYTES: u64 = 2 * 256 * 1024;
/// CT-62, CT-63.
const REMEMBERED: Duration = Duration::from_secs(30);
const WORLD: &str = include_str!("../worlds/fragments.toml");

thread_local! {
    static SNAPSHOT: Snapshot = {
        let vpc = draft::load("fragments.toml", WORLD).expect("the world is part of the source tree");
        Snapshot::compile(vpc, None)
    };
}

/// Plays one input on an engine of its own.
///
/// # Panics
///
/// If a later fragment arrives whose first one was refused or has been forgotten, anything arrives of a datagram that was
/// given up, a fragment arrives changed, more waits than may, something waits for more than a second, or a fragment is
/// lost count of.
pub fn fragments(data: &[u8]) {
    SNAPSHOT.with(|snapshot| {
        let mut play = Play::new(snapshot);
        for event in data.as_chunks::<EVENT>().0.iter().take(MOST_EVENTS) {
            play.event(*event);
        }
        play.end();
    });
}

struct Play<'s> {
    snapshot: &'s Snapshot,
    engine: Engine,
    lane: Lane,
    now: Duration,
    sent: u64,
    arrived: u64,
    datagrams: BTreeMap<Identity, Story>,
}

/// IPv6 or not, and identification: all go from one guest to the other.
type Identity = (bool, u32);

/// What has become of the fragments with one identity.
#[derive(Default)]
struct Story {
    /// Whether the newest first fragment that rules judged arrived.
    first_arrived: Option<bool>,
    /// When a fragment passed last.
    passed: Duration,
    /// Nothing may arrive before.
    given_up_until: Duration,
    /// What of the datagram under way has arrived: offset, end, and whether more follow.
    data: Vec<(u16, u16, bool)>,
}

impl Story {
    /// CT-62, CT-63: what arrives overlaps nothing, unless it repeats something or begins a datagram anew.
    fn arrives(&mut self, (offset, end, more): (u16, u16, bool)) {
        let overlaps = self.data.iter().any(|(from, to, _)| offset < *to && *from < end);
        if overlaps && self.is_complete() {
            self.data.clear();
        } else if overlaps {
            assert!(self.data.contains(&(offset, end, more)), "CT-63: an overlap arrives");
        }
        self.data.push((offset, end, more));
    }

    fn is_complete(&self) -> bool {
        let mut data = self.data.clone();
        data.sort_unstable();
        let covered = data
            .iter()
            .fold(0, |covered, (from, to, _)| if *from <= covered { covered.max(*to) } else { covered });
        data.iter().any(|(_, to, more)| !more && *to <= covered)
    }
}

impl<'s> Play<'s> {
    fn new(snapshot: &'s Snapshot) -> Self {
        let counters = Counters::new();
        counters.ensure_rules(snapshot.rule_slots());
        let (engine, lane) = (Engine::new(64), Lane::new(Arc::new(counters), 16));
        let (now, datagrams) = (Duration::from_secs(1), BTreeMap::new());
        Self { snapshot, engine, lane, now, sent: 0, arrived: 0, datagrams }
    }

    fn event(&mut self, [what, offset, len, which]: [u8; EVENT]) {
        match what & 3 {
            2 => self.flood(offset, which),
            3 => self.wait(offset, len),
            _ => {
                let (v6, offset) = (what & 4 != 0, u16::from(offset % 40) * 8);
                // Without more to come, a first one would be a whole packet.
                let more = what & 8 != 0 || offset == 0;
                // Only a last fragment may have a length that is no multiple of eight.
                let odd = if more { 0 } else { u16::from(what >> 5) };
                let len = 8 + u16::from(len % 20) * 8 + odd;
                let port = PORTS[usize::from(which >> 2) % PORTS.len()];
                self.send((v6, u32::from(which & 3)), offset, len, more, port);
            }
        }
        self.account();
    }

    /// Up to 255 fragments of 1,400 bytes that wait in vain.
    fn flood(&mut self, count: u8, which: u8) {
        for at in 0..u16::from(count) {
            let id = 100 + u32::from(at / 32) + u32::from(which) * 8;
            self.send((false, id), 1_400 * (at % 32 + 1), 1_400, true, PORTS[0]);
        }
    }

    fn wait(&mut self, span: u8, odd: u8) {
        self.now += match span & 3 {
            0 => Duration::from_millis(u64::from(odd) * 10),
            1 => Duration::from_nanos(1_000_000_000 - u64::from(odd & 1)),
            2 => REMEMBERED.saturating_sub(Duration::from_nanos(u64::from(odd & 1))),
            _ => Duration::from_nanos(1),
        };
        if odd & 2 != 0 {
            self.engine.advance(&self.lane.counters, self.now(), 8);
        }
    }

    fn send(&mut self, identity: Identity, offset: u16, len: u16, more: bool, port: u16) {
        let frame = packet(identity, FragmentSpec { id: identity.1, offset, more }, len, port);
        let frame = frame.frame(self.snapshot).expect("the fragment can be built");
        let (mut bytes, now) = (frame.bytes.clone(), self.now());
        self.sent += 1;
        let received = Received { vnet: frame.vnet, ..Received::default() };
        let outcome =
            self.engine.process(self.snapshot, &mut self.lane, now, frame.port, &mut bytes, received);
        assert!(!outcome.reply, "RT-64: nobody is told of a fragment of UDP that fits");
        self.ends((identity, offset == 0), &outcome, &frame.bytes, &bytes);
        self.resume(outcome);
    }

    fn resume(&mut self, outcome: Outcome) {
        let mut waiting = VecDeque::from(outcome.released);
        while let Some(mut fragment) = waiting.pop_front() {
            let (before, now) = (fragment.frame().to_vec(), self.now());
            let identity = identity(&before);
            let outcome = self.engine.resume(self.snapshot, &mut self.lane, now, &mut fragment);
            self.ends((identity, false), &outcome, &before, fragment.frame());
            waiting.extend(outcome.released);
        }
    }

    fn ends(&mut self, (identity, is_first): (Identity, bool), outcome: &Outcome, sent: &[u8], seen: &[u8]) {
        let now = self.now;
        let story = self.datagrams.entry(identity).or_default();
        match outcome.verdict {
            Verdict::Deliver(delivery) => {
                let receiver = self.snapshot.eni_named("b").map(|eni| PortKey::Eni(eni.key));
                assert_eq!(Some(delivery.to), receiver);
                assert_eq!(seen[12..], sent[12..], "CT-64");
                assert!(now >= story.given_up_until, "CT-63: it was given up");
                if is_first {
                    story.first_arrived = Some(true);
                }
                if now >= story.passed + REMEMBERED {
                    story.data.clear();
                }
                story.arrives(extent(sent));
                assert_eq!(story.first_arrived, Some(true), "CT-60: its first one did not arrive");
                assert!(is_first || now < story.passed + REMEMBERED, "CT-62: its first one is forgotten");
                story.passed = now;
                self.arrived += 1;
                self.lane.counters.delivered(outcome.packets, seen.len());
            }
            Verdict::Drop(DropReason::FragmentInvalid) if now >= story.given_up_until => {
                story.given_up_until = now + REMEMBERED;
            }
            Verdict::Drop(DropReason::FragmentInvalid | DropReason::FragmentOrphan) | Verdict::Hold => {}
            Verdict::Drop(_) => {
                if is_first {
                    story.first_arrived = Some(false);
                }
                if now >= story.passed + REMEMBERED {
                    story.data.clear();
                }
                story.passed = now;
            }
            Verdict::Consume(what) => panic!("the fabric took a fragment for {}", what.as_str()),
        }
    }

    /// Law 1, and what may wait.
    fn account(&self) {
        let (values, holding) = (self.lane.counters.values(), self.engine.holding());
        let ends = values.delivered + values.dropped.total() + values.consumed.total() + holding.fragments;
        assert_eq!((values.received, ends), (self.sent, self.sent), "a fragment was lost count of");
        assert!(holding.bytes <= MOST_HELD_BYTES, "CT-61: {holding:?}");
        assert_eq!(values.delivered, self.arrived);
    }

    fn end(&mut self) {
        self.now += Duration::from_secs(1);
        self.engine.advance(&self.lane.counters, self.now(), 8);
        self.account();
        assert_eq!(self.engine.holding().fragments, 0, "CT-61: a second is over");
    }

    fn now(&self) -> Now {
        Now { monotonic: Instant::from_nanos(0) + self.now, unix: self.now }
    }
}

fn packet((v6, _): Identity, fragment: FragmentSpec, len: u16, port: u16) -> PacketSpec {
    let (source, destination) = if v6 {
        ([0x2001, 0xdb8, 1, 1, 0, 0, 0, 0x10].into(), [0x2001, 0xdb8, 1, 2, 0, 0, 0, 0x10].into())
    } else {
        ([10, 0, 1, 10].into(), [10, 0, 2, 10].into())
    };
    let udp = UdpSpec { source: 4_000, destination: port, ..UdpSpec::default() };
    let ip = IpSpec {
        source,
        destination,
        transport: TransportSpec::Udp(udp),
        // A first fragment carries a UDP header before what is counted here.
        len: if fragment.offset == 0 { len - 8 } else { len },
        data: None,
        ttl: 64,
        tos: 0,
        options: Vec::new(),
        dont_fragment: false,
        extensions: Vec::new(),
        fragment: Some(fragment),
        cut: None,
        ip_len: None,
        bad_checksum: false,
    };
    PacketSpec { port: None, link: LinkSpec::default(), body: BodySpec::Ip(ip) }
}

/// Which datagram a fragment is one of.
fn identity(frame: &[u8]) -> Identity {
    let (v6, fragment) = fragment_of(frame);
    (v6, fragment.identification)
}

fn extent(frame: &[u8]) -> (u16, u16, bool) {
    let (_, Fragment { offset, len, more, .. }) = fragment_of(frame);
    // Data is counted in units of eight bytes, as offsets are.
    (offset, offset + len.next_multiple_of(8), more)
}

fn fragment_of(frame: &[u8]) -> (bool, Fragment) {
    let Ok(Body::Ip(ip)) = parse(frame).map(|summary| summary.body) else { panic!("it was sent") };
    (!ip.is_ipv4(), ip.fragment.expect("only fragments are sent"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver;

    #[test]
    fn the_corpus_reaches_every_end() {
        let (mut dropped, mut arrived) = (BTreeMap::new(), 0);
        for input in driver::corpus("fragments").expect("the corpus is part of the source tree") {
            SNAPSHOT.with(|snapshot| {
                let mut play = Play::new(snapshot);
                input.as_chunks::<EVENT>().0.iter().for_each(|event| play.event(*event));
                play.end();
                arrived += play.arrived;
                let values = play.lane.counters.values();
                for reason in DropReason::ALL {
                    *dropped.entry(reason.as_str()).or_insert(0) += values.dropped_for(reason);
                }
            });
        }
        dropped.retain(|_, count| *count > 0);
        let wanted = ["fragment-invalid", "fragment-orphan", "group-egress", "group-ingress"];
        assert_eq!(dropped.keys().copied().collect::<Vec<_>>(), wanted);
        assert!(arrived > 20, "{arrived}");
    }
}
