//! One burst, run to completion: every frame judged, then everything handed on, port by port.
//!
//! A forwarder belongs to one worker. Frames for one port keep the order in which they were judged, replies among them, and
//! fragments that had to wait right behind the frame that released them.

use std::collections::VecDeque;
use std::sync::Arc;

use arrayvec::ArrayVec;
use palisade_engine::{Counters, Delivery, DropReason, Lane, Now, Outcome, Received, Released, Verdict};
use palisade_io::{Burst, Outgoing};
use palisade_policy::{PortKey, Snapshot};

use crate::clock::Clock;
use crate::copies::{Copies, ROOM};
use crate::judge::Judge;
use crate::outlet::{Outlet, Place, Planned};
use crate::registry::{PortState, PortTable, reason};
use crate::status::Traffic;

/// Frames handed to a port in one call.
const BATCH: usize = 64;

/// What holds for a whole burst.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) judge: &'a dyn Judge,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) ports: &'a PortTable,
    pub(crate) now: Now,
    /// For what takes longer than packets do.
    pub(crate) clock: &'a Clock,
}

/// Buffers of a worker, empty between bursts and kept.
pub(crate) struct Forwarder {
    /// What the engine needs of this worker.
    pub(crate) lane: Lane,
    outlet: Outlet,
    /// Fragments that frames of the burst have released.
    released: Vec<Released>,
    /// What goes out by each port, by its place in the table.
    queues: Vec<Vec<Planned>>,
    /// Places whose queue is not empty, in the order in which they were first used.
    touched: Vec<usize>,
    /// Whether segments of one flow leave as one frame where the port takes it.
    joins: bool,
    copies: Copies,
}

impl Forwarder {
    pub(crate) fn new(lane: Lane, joins: bool) -> Self {
        Self {
            lane,
            outlet: Outlet::default(),
            released: Vec::new(),
            queues: Vec::new(),
            touched: Vec::new(),
            joins,
            copies: Copies::default(),
        }
    }

    /// Judges the frames of a burst that came in by `from` and hands on what is to be handed on.
    pub(crate) fn forward(&mut self, scene: Scene<'_>, from: &PortState, burst: &mut Burst) {
        if self.queues.len() < scene.ports.len() {
            self.queues.resize_with(scene.ports.len(), Vec::new);
        }
        let mut frames = ArrayVec::<&[u8], { Burst::MAX_FRAMES }>::new();
        let mut received = Traffic::default();
        self.lane.flows.prefetch(from.key, burst.iter().map(|(frame, _)| frame));
        for (at, (frame, info)) in burst.iter_mut().enumerate().take(Burst::MAX_FRAMES) {
            let info = Received { vnet: info.vnet, vlan: info.vlan, truncated: info.truncated };
            let outcome = self.judge(scene, from, at, frame, info);
            received.add(outcome.packets, frame.len());
            frames.push(frame);
        }
        from.counters.received(&received);
        self.flush(scene, &frames);
    }

    fn judge(
        &mut self,
        scene: Scene<'_>,
        from: &PortState,
        at: usize,
        frame: &mut [u8],
        info: Received,
    ) -> Outcome {
        let Scene { judge, snapshot, ports, now, .. } = scene;
        let mut outcome = judge.process(snapshot, &mut self.lane, now, from.key, frame, info);
        self.act(ports, from.key, Place::Burst(at), frame, &outcome);
        if !outcome.released.is_empty() {
            self.resume(scene, std::mem::take(&mut outcome.released).into());
        }
        outcome
    }

    /// Judges fragments that need not wait any more, and those that they release. All stay until the burst is handed on.
    fn resume(&mut self, scene: Scene<'_>, mut waiting: VecDeque<Released>) {
        let Scene { judge, snapshot, ports, now, .. } = scene;
        while let Some(mut fragment) = waiting.pop_front() {
            let outcome = judge.resume(snapshot, &mut self.lane, now, &mut fragment);
            let place = Place::Released(self.released.len());
            self.act(ports, fragment.from(), place, fragment.frame_mut(), &outcome);
            waiting.extend(outcome.released);
            self.released.push(fragment);
        }
    }

    /// Plans what goes out on account of a frame.
    fn act(&mut self, ports: &PortTable, from: PortKey, place: Place, frame: &mut [u8], outcome: &Outcome) {
        if let Verdict::Deliver(delivery) = &outcome.verdict {
            self.deliver(ports, place, frame, delivery, outcome.packets);
        }
        if outcome.reply {
            self.answer(ports, from);
        }
        if let (true, Some(tapped)) = (outcome.tapped, self.lane.tapped) {
            self.copies.owe(place, tapped);
        }
    }

    fn deliver(
        &mut self,
        ports: &PortTable,
        from: Place,
        frame: &mut [u8],
        delivery: &Delivery,
        packets: u32,
    ) {
        let place = ports.place(delivery.to);
        let port = place.and_then(|place| Some((place, ports.at(place)?)));
        let (Some((place, port)), Some(packet)) = (port, &self.lane.packet) else {
            return self.lane.counters.dropped(DropReason::PortMissing, packets);
        };
        let queue = queue(&mut self.queues, &mut self.touched, place);
        let planned = self.outlet.prepare(from, frame, (packet, delivery), port.can, queue);
        // Law 1: the fragments beyond the first of each packet were generated here; what the plan lacks is lost here.
        self.lane.counters.generated(planned.saturating_sub(packets));
        if planned < packets {
            self.lane.counters.dropped(DropReason::Mtu, packets - planned);
        }
    }

    fn answer(&mut self, ports: &PortTable, to: PortKey) {
        self.lane.counters.generated(1);
        match ports.place(to) {
            Some(place) => {
                let planned = self.outlet.keep(&self.lane.reply);
                queue(&mut self.queues, &mut self.touched, place).push(planned);
            }
            None => self.lane.counters.dropped(DropReason::PortMissing, 1),
        }
    }

    fn flush(&mut self, scene: Scene<'_>, frames: &[&[u8]]) {
        let Self { lane, outlet, queues, touched, released, joins, copies } = self;
        let ports = scene.ports;
        for place in touched.drain(..) {
            let Some((queue, port)) = queues.get_mut(place).zip(ports.at(place)) else { continue };
            if *joins {
                outlet.join(queue, frames);
            }
            let bytes = Bytes { frames, released, outlet };
            queue.chunks(BATCH).for_each(|batch| send(&lane.counters, port, batch, &bytes));
            queue.clear();
        }
        if copies.are_owed() {
            copy(scene, lane, copies, &Bytes { frames, released, outlet });
        }
        outlet.clear();
        released.clear();
    }
}

/// Makes the copies that are owed, now that all else has left (TM-45).
#[inline(never)]
fn copy(scene: Scene<'_>, lane: &mut Lane, copies: &mut Copies, bytes: &Bytes<'_>) {
    let Scene { judge, snapshot, ports, now, clock } = scene;
    let counters = Arc::clone(&lane.counters);
    let most = if clock.goes() { copies.share.room(now.monotonic) } else { ROOM };
    let start = clock.monotonic();
    let mut room = most;
    let owed = copies.owed();
    for (place, tapped) in &owed {
        let frame = bytes.start(*place);
        judge.copy(snapshot, lane, now, (tapped, frame), &mut room, &mut |copy| {
            copies.push(&counters, ports, copy);
        });
    }
    copies.flush(&counters, ports);
    copies.settled(owed);
    copies.share.used(most - room, clock.monotonic().since(start));
}

/// Where the bytes of planned frames are.
struct Bytes<'f> {
    frames: &'f [&'f [u8]],
    released: &'f [Released],
    outlet: &'f Outlet,
}

impl<'f> Bytes<'f> {
    /// The frame, or the headers of a train.
    fn start(&self, place: Place) -> &'f [u8] {
        match place {
            Place::Burst(at) => self.frames.get(at).copied().unwrap_or_default(),
            Place::Released(at) => self.released.get(at).map(Released::frame).unwrap_or_default(),
            Place::Made(offset, len) | Place::Train { head: (offset, len), .. } => {
                self.outlet.made(offset, len)
            }
            Place::Joined => &[],
        }
    }

    /// The payloads of trains, one behind the other: no more than there are frames in a burst.
    fn payloads(&self, batch: &[Planned]) -> ArrayVec<&'f [u8], { Burst::MAX_FRAMES }> {
        let trains = batch.iter().filter_map(|planned| match planned.place {
            Place::Train { first, start, .. } => Some((first, segments(planned), start)),
            _ => None,
        });
        trains.flat_map(|train| self.outlet.payloads(self.frames, train)).take(Burst::MAX_FRAMES).collect()
    }
}

/// Segments of a train; 0 for everything else.
fn segments(planned: &Planned) -> u16 {
    match planned.place {
        Place::Train { .. } => u16::try_from(planned.packets).unwrap_or(u16::MAX),
        _ => 0,
    }
}

/// The queue of a port, noted as not empty: the caller is about to add to it.
fn queue<'q>(queues: &'q mut [Vec<Planned>], touched: &mut Vec<usize>, place: usize) -> &'q mut Vec<Planned> {
    let queue = &mut queues[place];
    if queue.is_empty() && !touched.contains(&place) {
        touched.push(place);
    }
    queue
}

/// Hands at most [`BATCH`] frames to a port and counts what became of them.
fn send(counters: &Counters, port: &PortState, batch: &[Planned], bytes: &Bytes<'_>) {
    let payloads = bytes.payloads(batch);
    let mut rest = &payloads[..];
    let mut all = Traffic::default();
    let outgoing = batch.iter().take(BATCH).map(|planned| {
        let (mine, others) = rest.split_at(usize::from(segments(planned)).min(rest.len()));
        rest = others;
        let outgoing = Outgoing { vnet: planned.vnet, frame: bytes.start(planned.place), rest: mine };
        all.add(planned.packets, outgoing.len());
        outgoing
    });
    let outgoing: ArrayVec<_, BATCH> = outgoing.collect();
    let mut lost = Traffic::default();
    port.transmit.transmit(&outgoing, &mut |at, why| {
        let (Some(planned), Some(frame)) = (batch.get(at), outgoing.get(at)) else { return };
        lost.add(planned.packets, frame.len());
        counters.dropped(reason(why), planned.packets);
        port.counters.dropped(why, planned.packets);
    });
    let sent = all.without(&lost);
    counters.delivered(
        u32::try_from(sent.packets).unwrap_or(u32::MAX),
        usize::try_from(sent.bytes).unwrap_or(usize::MAX),
    );
    port.counters.sent(&sent);
}

#[cfg(test)]
mod tests {
    use palisade_conntrack::Instant;
    use palisade_io::FrameInfo;

    use super::*;
    use crate::testing::{Ask, Obedient, frame, key, policy, port};

    #[test]
    fn a_second_burst_finds_the_buffers_of_the_first() {
        let (judge, snapshot) = (Obedient::default(), policy(None));
        let (ports, guests): (Vec<_>, Vec<_>) = ["a", "b"].map(port).into_iter().unzip();
        let state =
            |(number, port): (u8, palisade_io::Port)| PortState::new(key(number), port.name, port.transmit);
        let ports: Vec<_> = (0..).zip(ports).map(state).map(Arc::new).collect();
        let (from, table) = (Arc::clone(&ports[0]), PortTable::new(ports));
        let now = Now { monotonic: Instant::from_secs(1), unix: std::time::Duration::ZERO };
        let clock = Clock::system();
        let scene = Scene { judge: &judge, snapshot: &snapshot, ports: &table, now, clock: &clock };
        let mut forwarder = Forwarder::new(Lane::new(Arc::new(Counters::new()), 0), true);
        let capacities = |forwarder: &Forwarder| {
            let queues: Vec<_> = forwarder.queues.iter().map(Vec::capacity).collect();
            (queues, forwarder.touched.capacity(), forwarder.lane.reply.capacity())
        };
        let forward = |forwarder: &mut Forwarder| {
            let mut burst = Burst::new();
            for n in 0..64 {
                let ask = if n % 2 == 0 { Ask::DeliverTo(1) } else { Ask::Answer };
                assert!(burst.push(&frame(ask, n), FrameInfo::default()));
            }
            forwarder.forward(scene, &from, &mut burst);
        };
        forward(&mut forwarder);
        let first = capacities(&forwarder);
        forward(&mut forwarder);
        assert_eq!(capacities(&forwarder), first);
        assert_eq!(guests.iter().map(|guest| guest.received().len()).collect::<Vec<_>>(), [64, 64]);
        assert!(forwarder.queues.iter().all(Vec::is_empty) && forwarder.touched.is_empty());
    }
}
