//! What one worker brings to the engine.

use std::sync::Arc;

use palisade_packet::{IpPacket, Offload};
use palisade_policy::PortKey;

use crate::cache::{Action, FlowCache};
use crate::counters::Counters;
use crate::ledger::Ledger;
use crate::mirroring::{Bench, Tapped, Taps};
use crate::outcome::{Delivery, Now, Outcome, Verdict};

/// Counters, flow cache, ledger and scratch space of one worker. Only the counters are ever read by others.
#[derive(Debug)]
pub struct Lane {
    /// Counts what the worker does.
    pub counters: Arc<Counters>,
    /// Results of earlier walks.
    pub flows: FlowCache,
    /// What is counted for flow logs.
    pub ledger: Ledger,
    /// After [`crate::Engine::process`] said so: a whole frame to send back.
    pub reply: Vec<u8>,
    /// After [`crate::Engine::process`] said that a frame is delivered: the packet in it; its offsets hold.
    pub packet: Option<IpPacket>,
    /// After [`crate::Engine::process`] said so: what copies are owed of the frame.
    pub tapped: Option<Tapped>,
    pub(crate) bench: Bench,
}

impl Lane {
    /// A lane with a cache of at least so many flows, 0 for none, and without flow logs.
    #[must_use]
    pub fn new(counters: Arc<Counters>, flows: usize) -> Self {
        Self {
            counters,
            flows: FlowCache::new(flows),
            ledger: Ledger::off(),
            reply: Vec::new(),
            packet: None,
            tapped: None,
            bench: Bench::default(),
        }
    }

    /// The same one, counting for flow logs.
    #[must_use]
    pub fn with_ledger(self, ledger: Ledger) -> Self {
        Self { ledger, ..self }
    }

    /// Adds what the flow cache has counted to connections (CT-6) and ledger, if it is time, and lets go of what is ended, in
    /// the next `buckets` buckets of the cache, or fewer if the ledger has no room. Returns how many were visited, and
    /// whether something there must wait for its time.
    pub fn settle(&mut self, now: Now, buckets: usize) -> (usize, bool) {
        let buckets = buckets.min(self.ledger.room() / (2 * FlowCache::WAYS)).min(self.flows.buckets());
        (buckets, self.flows.settle(now, (&self.counters, &mut self.ledger), buckets))
    }

    /// Adds everything that the flow cache has counted to connections and ledger.
    pub fn settle_all(&mut self, now: Now) {
        for bucket in 0..self.flows.buckets() {
            self.flows.settle_bucket(bucket, now, (&self.counters, &mut self.ledger));
        }
    }

    /// Adds everything that the flow cache has counted, and hands over all that the ledger has, whatever room there is: the
    /// worker ends.
    pub fn close(&mut self, now: Now) {
        for bucket in 0..self.flows.buckets() {
            self.flows.settle_bucket(bucket, now, (&self.counters, &mut self.ledger));
            if self.ledger.room() < 2 * FlowCache::WAYS {
                self.ledger.surrender();
            }
        }
        self.ledger.surrender();
    }

    /// What becomes of a packet whose flow is known and of which copies are owed.
    #[inline(never)]
    pub(crate) fn copied(
        &mut self,
        action: Action,
        taps: Taps,
        from: PortKey,
        frame: &mut [u8],
        (ip, offload): (&IpPacket, Offload),
        packets: u32,
    ) -> Outcome {
        let verdict = match action {
            Action::Deliver { to, .. } => {
                self.packet = Some(*ip);
                Verdict::Deliver(Delivery { to: PortKey::Eni(to), offload, fragment: None })
            }
            Action::Drop { reason, .. } => {
                self.counters.dropped(reason, packets);
                Verdict::Drop(reason)
            }
        };
        let mut outcome = Outcome::of(verdict, packets);
        self.tap(taps, from, frame, (*ip, offload), &mut outcome);
        if let Action::Deliver { link, .. } = action {
            link.write(frame);
        }
        outcome
    }

    /// Remembers what copies are owed of a packet that has been judged; see [`Tapped::of`].
    #[inline(never)]
    pub(crate) fn tap(
        &mut self,
        taps: Taps,
        from: PortKey,
        frame: &mut [u8],
        packet: (IpPacket, Offload),
        outcome: &mut Outcome,
    ) {
        self.tapped = Some(Tapped::of(taps, from, frame, packet, &mut outcome.verdict));
        outcome.tapped = true;
    }
}
