//! The whole walk: any frame, from any port, with any virtio-net header, in a world with rules of every kind.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use palisade_conntrack::Instant;
use palisade_engine::{Counters, Delivery, Engine, Lane, Now, Outcome, Received, Released, Verdict};
use palisade_packet::{Body, Offload, Transport, VnetHeader, parse};
use palisade_policy::{EniKey, PortKey, Snapshot, draft};

/// Bytes before the frame: the port and options, then the virtio-net header.
const HEAD: usize = 1 + VnetHeader::LEN;
/// Set in the first byte: leave the MAC addresses as they are. Otherwise they are made the sender's and its router's, so
/// that most inputs get further than the first check.
const RAW_MACS: u8 = 0x80;
/// Set in the first byte: time passes before the frame, seven seconds or a part of the second for which fragments wait.
const TIME_PASSES: u8 = 0x40;
const MUCH_TIME: u8 = 0x20;
const WORLD: &str = include_str!("../worlds/walk.toml");

thread_local! {
    static FABRIC: RefCell<Fabric> = RefCell::new(Fabric::new());
}

/// Walks one input through a fabric that lives as long as the thread, so that connections and fragments build up.
///
/// # Panics
///
/// If a packet is lost count of, if `explain` and forwarding differ, if a guest's packet gets to a place that no rule could
/// have led it to, or if an answer cannot be parsed.
pub fn walk(data: &[u8]) {
    let Some((head, frame)) = data.split_first_chunk::<HEAD>() else { return };
    FABRIC.with_borrow_mut(|fabric| fabric.walk(head, frame));
}

struct Fabric {
    engine: Engine,
    snapshot: Snapshot,
    lane: Lane,
    ports: Vec<PortKey>,
    now: Duration,
    /// Frames walked, and the packets they stood for.
    frames: u64,
    packets: u64,
    /// Fragments that were held and went on.
    released: u64,
    frame: Vec<u8>,
}

impl Fabric {
    fn new() -> Self {
        let vpc = draft::load("walk.toml", WORLD).expect("the world is part of the source tree");
        let snapshot = Snapshot::compile(vpc, None);
        let counters = Counters::new();
        counters.ensure_rules(snapshot.rule_slots());
        let enis = snapshot.enis().iter().map(|eni| PortKey::Eni(eni.key));
        let services = snapshot.services().iter().map(|service| PortKey::Service(service.key));
        let ports = enis.chain(services).chain([PortKey::Eni(EniKey(9999))]).collect();
        let (now, frame) = (Duration::ZERO, Vec::new());
        // Small, so that flows push each other out.
        let lane = Lane::new(Arc::new(counters), 64);
        Self {
            engine: Engine::new(4096),
            snapshot,
            lane,
            ports,
            now,
            frames: 0,
            packets: 0,
            released: 0,
            frame,
        }
    }

    fn walk(&mut self, head: &[u8; HEAD], frame: &[u8]) {
        let [options, vnet @ ..] = *head;
        let from = self.ports[usize::from(options & 0x3f) % self.ports.len()];
        if options & TIME_PASSES != 0 {
            self.now += Duration::from_millis(if options & MUCH_TIME == 0 { 400 } else { 7000 });
            self.engine.advance(&self.lane.counters, self.now(), 64);
        }
        self.frame.clear();
        self.frame.extend_from_slice(frame);
        if options & RAW_MACS == 0 {
            self.address(from);
        }
        let received = Received { vnet: VnetHeader::from_bytes(vnet), ..Received::default() };
        self.judge(from, received);
    }

    fn address(&mut self, from: PortKey) {
        let (Some(header), PortKey::Eni(key)) = (self.frame.first_chunk_mut::<12>(), from) else { return };
        let Some(eni) = self.snapshot.eni(key) else { return };
        header[..6].copy_from_slice(&self.snapshot.subnet(eni.subnet).router_mac.0);
        header[6..].copy_from_slice(&eni.mac.0);
    }

    fn judge(&mut self, from: PortKey, received: Received) {
        let now = self.now();
        let foreseen = self.foresee(from, received);
        let frame = &mut self.frame;
        let outcome = self.engine.process(&self.snapshot, &mut self.lane, now, from, frame, received);
        assert!(
            is_same(foreseen, outcome.verdict),
            "looking and forwarding differ: {foreseen:?} {outcome:?}"
        );
        assert!(outcome.packets >= 1);
        self.packets += u64::from(outcome.packets);
        self.ends(from, &outcome, &self.frame);
        self.copy(&outcome, None);
        self.resume(outcome.released);
    }

    /// Copies are whole packets that fit (TM-37), and each is accounted for. They are of a fragment, or of the frame.
    fn copy(&mut self, outcome: &Outcome, fragment: Option<&Released>) {
        let (true, Some(tapped), now) = (outcome.tapped, self.lane.tapped, self.now()) else { return };
        let (snapshot, counters) = (&self.snapshot, Arc::clone(&self.lane.counters));
        let frame = fragment.map_or(&*self.frame, Released::frame);
        self.engine.copy(snapshot, &mut self.lane, now, (&tapped, frame), &mut 256, &mut |copy| {
            let summary = parse(copy.frame).expect("a copy is well formed");
            let Body::Ip(ip) = summary.body else { panic!("a copy is IP") };
            assert!(matches!(ip.transport, Transport::Udp { destination: 4789, .. }), "{ip:?}");
            let mtu = match copy.to {
                PortKey::Eni(key) => snapshot.eni(key).expect("a target").mtu,
                PortKey::Service(_) => 1_500,
            };
            assert!(ip.ip_len <= mtu.into() && copy.frame.len() == 14 + ip.ip_len as usize);
            counters.copied(copy.session, copy.frame.len());
        });
        let copies = self.lane.counters.values().copies;
        assert_eq!(copies.made, copies.sent + copies.dropped.total(), "a copy was lost count of");
    }

    /// Whatever was held comes out as it was, and is judged as `explain` says.
    fn resume(&mut self, released: Vec<Released>) {
        let mut waiting = VecDeque::from(released);
        while let Some(mut fragment) = waiting.pop_front() {
            self.released += 1;
            let (now, snapshot, before) = (self.now(), &self.snapshot, fragment.frame().to_vec());
            let explained = self.engine.explain_released(snapshot, now, &fragment);
            let outcome = self.engine.resume(snapshot, &mut self.lane, now, &mut fragment);
            assert_eq!(explained.outcome.reason, reason(&outcome.verdict), "{explained}");
            assert!(!outcome.reply, "RT-64: nobody is told of a later fragment");
            assert_eq!(fragment.frame()[12..], before[12..], "CT-64");
            self.ends(fragment.from(), &outcome, fragment.frame());
            self.copy(&outcome, Some(&fragment));
            waiting.extend(outcome.released);
        }
    }

    fn ends(&self, from: PortKey, outcome: &Outcome, frame: &[u8]) {
        if let Verdict::Deliver(delivery) = outcome.verdict {
            self.lane.counters.delivered(outcome.packets, frame.len());
            self.arrives(from, &delivery, frame);
        }
        if outcome.reply {
            parse(&self.lane.reply).expect("the fabric's own frames are well formed");
        }
    }

    /// What the same walk says without changing anything; one time in sixteen with the explanation written out.
    fn foresee(&mut self, from: PortKey, received: Received) -> Verdict {
        self.frames += 1;
        let walked = self.engine.judge(&self.snapshot, self.now(), from, &self.frame, received);
        if self.frames.is_multiple_of(16) {
            let explained = self.engine.explain(&self.snapshot, self.now(), from, &self.frame, received);
            assert_eq!(explained.outcome.reason, reason(&walked.verdict), "{explained}");
            self.account();
        }
        walked.verdict
    }

    /// Conservation law 1, up to the frame before.
    fn account(&self) {
        let values = self.lane.counters.values();
        let held = self.engine.holding().fragments;
        let ends = values.delivered + values.dropped.total() + values.consumed.total() + held;
        assert_eq!((values.received, ends), (self.packets, self.packets), "a packet was lost count of");
    }

    /// RES-3 and RT-5: what is delivered came from where it says, and goes where it says.
    fn arrives(&self, from: PortKey, delivery: &Delivery, frame: &[u8]) {
        let packet = self.lane.packet.expect("what is delivered is told of");
        let summary = parse(frame).expect("a delivered frame is well formed");
        let Body::Ip(ip) = summary.body else { panic!("only IP is delivered") };
        assert_eq!(ip, packet, "the edits changed more than MAC addresses");
        match (from, delivery.to) {
            (PortKey::Eni(a), PortKey::Eni(b)) => {
                assert_ne!(a, b, "a packet came back to its sender");
                assert!(!is_link_local(ip.source) && !is_link_local(ip.destination), "RES-3");
                let sender = self.snapshot.eni(a).expect("it sent");
                assert!(!sender.source_dest_check || sender.addresses.contains(&ip.source), "RES-42");
                let receiver = self.snapshot.eni(b).expect("it receives");
                assert!(
                    !receiver.source_dest_check || receiver.addresses.contains(&ip.destination),
                    "RES-42"
                );
                assert_eq!(summary.destination_mac, receiver.mac);
            }
            (PortKey::Eni(a), PortKey::Service(service)) => {
                let service = self.snapshot.service(service).expect("it receives");
                assert!(service.addresses.contains(&ip.destination), "RES-3");
                assert!(self.snapshot.eni(a).expect("it sent").addresses.contains(&ip.source), "RES-43");
            }
            (PortKey::Service(service), PortKey::Eni(b)) => {
                let service = self.snapshot.service(service).expect("it sent");
                assert!(service.addresses.contains(&ip.source), "RES-3");
                assert!(self.snapshot.eni(b).expect("it receives").addresses.contains(&ip.destination));
            }
            (PortKey::Service(_), PortKey::Service(_)) => panic!("a service reached a service"),
        }
    }

    fn now(&self) -> Now {
        Now { monotonic: Instant::from_nanos(0) + self.now, unix: self.now }
    }
}

/// Whether two verdicts are the same, but for the checksum of a packet that is copied, which is completed.
fn is_same(foreseen: Verdict, seen: Verdict) -> bool {
    match (foreseen, seen) {
        (Verdict::Deliver(foreseen), Verdict::Deliver(seen)) if seen.offload == Offload::Valid => {
            Delivery { offload: Offload::Valid, ..foreseen } == seen
        }
        _ => foreseen == seen,
    }
}

fn reason(verdict: &Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::Deliver(_) | Verdict::Hold => None,
        Verdict::Consume(what) => Some(what.as_str()),
        Verdict::Drop(reason) => Some(reason.as_str()),
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use palisade_engine::DropReason;

    use super::*;

    #[test]
    fn the_corpus_reaches_many_ends() {
        let mut fabric = Fabric::new();
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/walk");
        let entries = std::fs::read_dir(folder).expect("the corpus is part of the source tree");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("a name").path()).collect();
        paths.sort();
        for path in paths {
            let input = std::fs::read(path).expect("a file");
            let (head, frame) = input.split_first_chunk::<HEAD>().expect("an input has a head");
            fabric.walk(head, frame);
        }
        let values = fabric.lane.counters.values();
        let reasons = DropReason::ALL.iter().filter(|reason| values.dropped_for(**reason) > 0).count();
        assert_eq!(fabric.released, 2, "fragments that were held and released");
        assert!(values.copies.sent > 10, "{:?}", values.copies);
        assert!(values.delivered > 10 && values.consumed.total() > 3 && reasons > 6, "{values:?}");
        assert!(fabric.engine.connections().totals().created > 5);
    }
}
