//! The stage in process: the engine itself, no thread, no device.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use palisade_conntrack::{ConnView, Instant};
use palisade_engine::{
    Counters, Delivery, Engine, Explanation, Lane, Now, Outcome, Received, Released, Selection, Verdict,
};
use palisade_packet::{Body, IpPacket, VnetHeader, fragment_ipv4, parse};
use palisade_policy::{CompiledEni, Diagnostics, PortKey, RuleSlot, Snapshot, draft};
use toml::Table;

use crate::counters::Readings;
use crate::flow_logs::FlowLogs;
use crate::notation::Frame;
use crate::stage::{Arrival, Halt, Law, Resumed, Seen, Stage};
use crate::wire;

/// Room for connections; no scenario needs more.
const CONNECTIONS: usize = 65_536;

/// What a packet's fate must not depend on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mode {
    /// What reports call it.
    pub name: &'static str,
    /// Whatever has expired is reclaimed whenever the clock moves, rather than never (CT-73).
    pub reclaims: bool,
    /// Flows whose verdict each worker keeps.
    pub flow_cache: usize,
    /// Workers, among which packets are dealt.
    pub workers: usize,
    /// Deltas for flow logs that each worker keeps until they are handed over.
    pub ledger: usize,
}

impl Mode {
    /// As different as they can be. Where several workers have caches, what one has kept is reclaimed through another.
    pub const ALL: [Self; 4] = [
        Self { name: "cached", reclaims: false, flow_cache: 4_096, workers: 1, ledger: 4_096 },
        Self { name: "uncached", reclaims: true, flow_cache: 0, workers: 1, ledger: 4_096 },
        Self { name: "small", reclaims: false, flow_cache: 16, workers: 1, ledger: 2 },
        Self { name: "dealt", reclaims: true, flow_cache: 4_096, workers: 4, ledger: 64 },
    ];
}

/// An engine that is handed frame after frame.
pub struct InProcess {
    snapshot: Arc<Snapshot>,
    engine: Engine,
    counters: Arc<Counters>,
    lanes: Vec<Lane>,
    /// Frames sent; which worker gets the next one follows from it.
    sent: u32,
    now: Duration,
    reclaims: bool,
    flow_logs: FlowLogs,
}

impl InProcess {
    /// A stage at time 0.
    ///
    /// # Errors
    ///
    /// If the world is not a valid configuration.
    pub fn open(world: &Table, mode: Mode) -> Result<Self, Diagnostics> {
        let snapshot = Arc::new(Snapshot::compile(draft::load("world", &world.to_string())?, None));
        let counters = Arc::new(Counters::new());
        counters.ensure_rules(snapshot.rule_slots());
        let engine = Engine::new(CONNECTIONS);
        let mut flow_logs = FlowLogs::default();
        flow_logs.take_up(&snapshot, Duration::ZERO);
        let lane =
            || Lane::new(Arc::clone(&counters), mode.flow_cache).with_ledger(flow_logs.ledger(mode.ledger));
        let lanes = std::iter::repeat_with(lane).take(mode.workers.max(1)).collect();
        let (now, reclaims) = (Duration::ZERO, mode.reclaims);
        Ok(Self { snapshot, engine, counters, lanes, sent: 0, now, reclaims, flow_logs })
    }

    /// The worker that gets the next frame: in no order that a scenario could have, the same each time.
    fn deal(&mut self) -> usize {
        self.sent = self.sent.wrapping_add(1);
        let scattered = self.sent.wrapping_mul(0x9e37_79b9) >> 16;
        usize::try_from(scattered).unwrap_or_default() % self.lanes.len()
    }

    fn now(&self) -> Now {
        Now { monotonic: Instant::from_nanos(0) + self.now, unix: self.now }
    }

    /// Counts what leaves by a port and tells what there is to see.
    fn see(&self, lane: usize, from: PortKey, outcome: &Outcome, bytes: &[u8]) -> Seen {
        let mut seen = Seen::default();
        if outcome.reply {
            let reply = self.lanes[lane].reply.clone();
            self.counters.generated(1);
            self.counters.delivered(1, reply.len());
            seen.arrivals.push(Arrival { port: from, vnet: VnetHeader::default(), bytes: reply });
        }
        match outcome.verdict {
            Verdict::Deliver(delivery) => {
                let packet = self.lanes[lane].packet.expect("the engine tells of what it delivers");
                let arrivals = arrivals((&packet, &delivery), bytes);
                let packets = u32::try_from(wire::count(&arrivals)).unwrap_or(u32::MAX);
                self.counters.generated(packets.saturating_sub(outcome.packets));
                self.counters.delivered(packets, arrivals.iter().map(|arrival| arrival.bytes.len()).sum());
                seen.arrivals.extend(arrivals);
            }
            Verdict::Consume(what) => seen.reasons.push(what.as_str()),
            Verdict::Hold => seen.held = true,
            Verdict::Drop(reason) => seen.reasons.push(reason.as_str()),
        }
        seen
    }

    /// The copies that are owed of a frame.
    fn copies(&mut self, lane: usize, outcome: &Outcome, bytes: &[u8]) -> Vec<Arrival> {
        let (mut copies, now, lane) = (Vec::new(), self.now(), &mut self.lanes[lane]);
        if let (true, Some(tapped)) = (outcome.tapped, lane.tapped) {
            let owed = (&tapped, bytes);
            self.engine.copy(&self.snapshot, lane, now, owed, &mut u32::MAX.clone(), &mut |copy| {
                self.counters.copied(copy.session, copy.frame.len());
                let (port, vnet, bytes) = (copy.to, VnetHeader::default(), copy.frame.to_vec());
                copies.push(Arrival { port, vnet, bytes });
            });
        }
        copies
    }

    /// Sends on what a frame has released, and what that releases; the copies of all of it.
    fn resume(&mut self, lane: usize, released: Vec<Released>) -> (Vec<Resumed>, Vec<Arrival>) {
        let (mut waiting, mut resumed, mut copies) = (VecDeque::from(released), Vec::new(), Vec::new());
        while let Some(mut fragment) = waiting.pop_front() {
            let (now, port, bytes) = (self.now(), fragment.from(), fragment.frame().to_vec());
            let walk = self.engine.explain_released(&self.snapshot, now, &fragment);
            let outcome = self.engine.resume(&self.snapshot, &mut self.lanes[lane], now, &mut fragment);
            let seen = self.see(lane, port, &outcome, fragment.frame());
            copies.extend(self.copies(lane, &outcome, fragment.frame()));
            waiting.extend(outcome.released);
            let vnet = fragment.received().vnet;
            resumed.push(Resumed { frame: Frame { port, bytes, vnet }, walk, seen });
        }
        (resumed, copies)
    }
}

impl Stage for InProcess {
    fn advance(&mut self, now: Duration) -> Result<(), Halt> {
        self.now = now;
        let now = self.now();
        self.flow_logs.advance(&mut self.lanes, now);
        if self.reclaims {
            self.engine.advance(&self.counters, self.now(), usize::MAX);
        }
        Ok(())
    }

    fn publish(&mut self, world: &Table) -> Result<(), Halt> {
        let invalid = |error| Halt::Failed(format!("the changed world is not valid: {error}"));
        let vpc = draft::load("world", &world.to_string()).map_err(invalid)?;
        let next = Snapshot::compile(vpc, Some(&self.snapshot));
        self.counters.ensure_rules(next.rule_slots());
        let next = Arc::new(next);
        self.flow_logs.take_up(&next, self.now);
        self.engine.retire(&self.counters, &self.snapshot, &next, self.now());
        self.snapshot = next;
        Ok(())
    }

    fn kill(&mut self, chosen: &Selection) -> Result<usize, Halt> {
        Ok(self.engine.kill(chosen, &self.snapshot, self.now(), 0).total)
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot)
    }

    fn explain(&self, frame: &Frame) -> Explanation {
        self.engine.explain(&self.snapshot, self.now(), frame.port, &frame.bytes, received(frame))
    }

    fn send(&mut self, frame: &Frame) -> Result<Seen, Halt> {
        let (mut bytes, now, lane) = (frame.bytes.clone(), self.now(), self.deal());
        let (snapshot, worker) = (&self.snapshot, &mut self.lanes[lane]);
        let outcome = self.engine.process(snapshot, worker, now, frame.port, &mut bytes, received(frame));
        let mut seen = self.see(lane, frame.port, &outcome, &bytes);
        seen.copies = self.copies(lane, &outcome, &bytes);
        let (released, copies) = self.resume(lane, outcome.released);
        seen.released = released;
        seen.copies.extend(copies);
        Ok(seen)
    }

    fn connections(&self) -> Vec<ConnView> {
        self.engine.connections().list(self.now().monotonic)
    }

    fn readings(&mut self) -> Readings {
        let now = self.now();
        self.lanes.iter_mut().for_each(|lane| lane.settle_all(now));
        self.engine.advance(&self.counters, now, 0);
        let (enis, connections) = (self.snapshot.enis(), self.engine.connections());
        let slots = (0..self.snapshot.rule_slots()).filter_map(|slot| u32::try_from(slot).ok());
        let available =
            |eni: &CompiledEni| connections.available(eni.instance.0, eni.max_tracked, now.monotonic);
        Readings {
            values: self.counters.values(),
            held: self.engine.holding().fragments,
            connections: connections.totals(),
            rules: slots.map(|slot| self.counters.rule_hits(RuleSlot(slot))).collect(),
            exceeded: enis.iter().map(|eni| (eni.key, self.counters.allowance_exceeded(eni.key))).collect(),
            available: enis.iter().map(|eni| (eni.instance, available(eni))).collect(),
            copies: self.snapshot.mirror_keys().map(|key| (key, self.counters.copies_of(key))).collect(),
        }
    }

    fn flow_logs(&mut self) -> Result<Vec<String>, Halt> {
        Ok(self.flow_logs.lines())
    }

    /// Architecture's conservation laws.
    fn close(mut self) -> Result<Vec<Law>, Halt> {
        let now = self.now();
        self.lanes.iter_mut().for_each(|lane| lane.settle_all(now));
        let values = self.counters.values();
        let connections = self.engine.connections().totals();
        let stages = [values.acl_ingress, values.acl_egress, values.group_ingress, values.group_egress];
        let group_defaults = values.group_ingress.by_default + values.group_egress.by_default;
        let related: u64 = stages.iter().map(|stage| stage.related).sum();
        let [handed, written] = self.flow_logs.finish(&mut self.lanes, values.sides.logged);
        Ok(vec![
            handed,
            written,
            Law {
                name: "packets in + generated = delivered + dropped + consumed + held",
                left: values.received + values.generated,
                right: values.delivered
                    + values.dropped.total()
                    + values.consumed.total()
                    + self.engine.holding().fragments,
            },
            Law {
                name: "packets in + come on to receivers = judged at ENIs + exempt + hidden drops + held",
                left: values.received + values.sides.onward,
                right: values.sides.judged
                    + values.sides.exempt
                    + values.sides.hidden
                    + values.sides.orphaned
                    + self.engine.holding().fragments,
            },
            Law {
                name: "copies made = sent + dropped",
                left: values.copies.made,
                right: values.copies.sent + values.copies.dropped.total(),
            },
            Law {
                name: "rule hits + default denials + related = packets that reached a stage",
                left: values.rule_hits + group_defaults + related,
                right: stages.iter().map(|stage| stage.reached).sum(),
            },
            Law {
                name: "connections created = alive + expired + closed + removed",
                left: connections.created,
                right: connections.alive + connections.expired + connections.closed + connections.removed,
            },
        ])
    }
}

/// What the receiver's device gets: fragments, if the path is too narrow (RT-61), or the frame as it is, for a device that
/// takes any offload.
fn arrivals((packet, delivery): (&IpPacket, &Delivery), frame: &[u8]) -> Vec<Arrival> {
    let vnet = delivery.offload.header(packet);
    let arrival = |vnet, bytes: &[u8]| Arrival { port: delivery.to, vnet, bytes: bytes.to_vec() };
    let Some(mtu) = delivery.fragment else { return vec![arrival(vnet, frame)] };
    let mut pieces = Vec::new();
    for packet in wire::segments(vnet, frame) {
        let Ok(Body::Ip(ip)) = parse(&packet).map(|summary| summary.body) else { continue };
        let mut keep = |piece: &[u8]| pieces.push(arrival(VnetHeader::default(), piece));
        fragment_ipv4(&packet, &ip, mtu, &mut Vec::new(), &mut keep)
            .expect("IPv4 without DF and with room for data");
    }
    pieces
}

fn received(frame: &Frame) -> Received {
    Received { vnet: frame.vnet, ..Received::default() }
}
