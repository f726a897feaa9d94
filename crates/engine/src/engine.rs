//! The engine: the state that all workers share, and the two ways into the walk.

use std::net::IpAddr;
use std::sync::atomic::AtomicU32;

use palisade_conntrack::{ConnTable, ConnView, Zone};
use palisade_packet::build::{self, IcmpError};
use palisade_packet::{Body, IpPacket, Malformed, Offload, PacketSummary, parse};
use palisade_policy::model::Revocation;
use palisade_policy::{EniKey, PortKey, Snapshot};

use crate::cache::{Action, Candidate, Notes, Noting, Present};
use crate::counters::Counters;
use crate::explain::{Explanation, Recorder};
use crate::fragments::{Fragments, Holding, Released};
use crate::intake::Inbound;
use crate::lane::Lane;
use crate::ledger::{Grounds, record};
use crate::limiter::ErrorLimiter;
use crate::listing::{Lister, Listing};
use crate::mirroring::Taps;
use crate::outcome::{Delivery, Now, Outcome, Received, Reply, Verdict, Walked};
use crate::reason::DropReason;
use crate::selection::Selection;
use crate::stages::revocation;
use crate::walk::{Context, walk};
use crate::witness::{Counting, Nobody};

/// Judges frames. Shared by all workers; any worker may see any packet.
#[derive(Debug)]
pub struct Engine {
    table: ConnTable,
    fragments: Fragments,
    limiter: ErrorLimiter,
    /// Copies made so far, for their identification.
    pub(crate) copies: AtomicU32,
}

impl Engine {
    /// An engine with room for so many connections, memory for which is taken at once.
    #[must_use]
    pub fn new(max_connections: usize) -> Self {
        Self {
            table: ConnTable::new(max_connections),
            fragments: Fragments::default(),
            limiter: ErrorLimiter::default(),
            copies: AtomicU32::default(),
        }
    }

    /// The connection table.
    #[must_use]
    pub const fn connections(&self) -> &ConnTable {
        &self.table
    }

    /// Fragments that wait for their first one.
    #[must_use]
    pub fn holding(&self) -> Holding {
        self.fragments.holding()
    }

    /// Judges one frame that came in by `from` and edits its link-layer addresses in place.
    ///
    /// Counts what came in, what was dropped and what was consumed; whoever transmits counts what was delivered and
    /// generated. If [`Outcome::reply`] is set, [`Lane::reply`] holds a whole frame for the port `from`. Fragments in
    /// [`Outcome::released`] are to be given to [`Self::resume`].
    pub fn process(
        &self,
        snapshot: &Snapshot,
        lane: &mut Lane,
        now: Now,
        from: PortKey,
        frame: &mut [u8],
        received: Received,
    ) -> Outcome {
        let parsed = parse(frame);
        let inbound = Inbound::read(frame, &parsed, &received, None);
        let packets = inbound.as_ref().map_or(1, Inbound::packets);
        lane.counters.received(packets, frame.len());
        let Lane { counters, flows, ledger, packet, .. } = &mut *lane;
        let present = self.present(snapshot, counters, &now);
        let flow = inbound.as_ref().ok().and_then(|inbound| Candidate::of(from, inbound, flows));
        let known = flow.and_then(|flow| Some((flow.offload, flows.serve(&present, &flow, ledger)?)));
        let ip = parsed.as_ref().ok().and_then(PacketSummary::ip);
        let (Some((offload, (action, taps))), Some(ip)) = (known, ip) else {
            let ended = self.walk(snapshot, lane, now, from, inbound);
            return self.conclude(lane, now, from, frame, (&parsed, &received), ended);
        };
        if !taps.is_empty() {
            let action = *action;
            return lane.copied(action, taps.of_flow(ip), from, frame, (ip, offload), packets);
        }
        match *action {
            Action::Deliver { to, link, .. } => {
                *packet = Some(*ip);
                link.write(frame);
                let delivery = Delivery { to: PortKey::Eni(to), offload, fragment: None };
                Outcome::of(Verdict::Deliver(delivery), packets)
            }
            Action::Drop { reason, .. } => {
                counters.dropped(reason, packets);
                Outcome::of(Verdict::Drop(reason), packets)
            }
        }
    }

    /// Takes up the walk of a fragment that was held, by the policy of now, and edits its link-layer addresses in place.
    ///
    /// As [`Self::process`], but it came in before. It may have to wait once more, at its receiver.
    pub fn resume(&self, snapshot: &Snapshot, lane: &mut Lane, now: Now, fragment: &mut Released) -> Outcome {
        let (from, received, resumption) = (fragment.from(), fragment.received(), fragment.resumption);
        let frame = fragment.frame_mut();
        let parsed = parse(frame);
        let inbound = Inbound::read(frame, &parsed, &received, Some(&resumption));
        let ended = self.walk(snapshot, lane, now, from, inbound);
        self.conclude(lane, now, from, frame, (&parsed, &received), ended)
    }

    /// Walks a frame, and keeps the result for the next packet of its flow if that would get the same.
    #[inline(never)]
    fn walk(
        &self,
        snapshot: &Snapshot,
        lane: &mut Lane,
        now: Now,
        from: PortKey,
        inbound: Result<Inbound<'_>, DropReason>,
    ) -> (Walked, Vec<Released>) {
        let packets = inbound.as_ref().map_or(1, Inbound::packets);
        let Lane { counters, flows, ledger, .. } = lane;
        let (counters, generation) = (&**counters, snapshot.generation());
        let counting = Counting { counters, packets, grounds: Grounds::default() };
        let packet = (from, &inbound);
        let flow = inbound.as_ref().ok().and_then(|inbound| Candidate::of(from, inbound, flows));
        let Some(flow) = flow else {
            let mut context = self.context(snapshot, now, true, counting);
            let walked = walk(&mut context, from, inbound);
            let grounds = &context.witness.grounds;
            record((ledger, counters), (now, generation), packet, (&walked, grounds));
            return (walked, context.released);
        };
        let mut context = self.context(snapshot, now, true, Noting { counting, notes: Notes::default() });
        let walked = walk(&mut context, from, inbound);
        let Noting { counting, notes } = context.witness;
        record((ledger, counters), (now, generation), packet, (&walked, &counting.grounds));
        let present = self.present(snapshot, counters, &now);
        flows.keep(&flow, (&walked, notes), &present, ledger);
        (walked, context.released)
    }

    /// Counts what became of a frame that walked, addresses it, and builds the answer if there is one.
    #[inline(never)]
    fn conclude(
        &self,
        lane: &mut Lane,
        now: Now,
        from: PortKey,
        frame: &mut [u8],
        (parsed, received): (&Result<PacketSummary, Malformed>, &Received),
        (walked, mut released): (Walked, Vec<Released>),
    ) -> Outcome {
        released.sort_by_key(|fragment| fragment.arrival);
        let mut outcome = Outcome { released, ..Outcome::of(walked.verdict, walked.packets) };
        let summary = parsed.as_ref().ok();
        if let (false, Some(ip)) = (walked.taps.is_empty(), summary.and_then(PacketSummary::ip)) {
            let offload = summary.and_then(|summary| received.vnet.check(summary).ok());
            lane.tap(walked.taps, from, frame, (*ip, offload.unwrap_or(Offload::None)), &mut outcome);
        }
        match walked.verdict {
            Verdict::Deliver(_) => {
                lane.packet = summary.and_then(PacketSummary::ip).copied();
                walked.link.iter().for_each(|link| link.write(frame));
            }
            Verdict::Consume(what) => lane.counters.consumed(what, walked.packets),
            Verdict::Hold => {}
            Verdict::Drop(reason) => lane.counters.dropped(reason, walked.packets),
        }
        if let Some(eni) = walked.refused_by_allowance() {
            lane.counters.refused(eni, walked.packets);
        }
        outcome.reply = walked.reply.zip(summary).is_some_and(|(answer, summary)| {
            self.limiter.allows(from, &answer, now.monotonic)
                && build_reply(frame, summary, answer, &mut lane.reply)
        });
        outcome
    }

    /// Tells what would happen to a frame, step by step. Changes nothing.
    #[must_use]
    pub fn explain(
        &self,
        snapshot: &Snapshot,
        now: Now,
        from: PortKey,
        frame: &[u8],
        received: Received,
    ) -> Explanation {
        let parsed = parse(frame);
        self.tell(snapshot, now, from, Inbound::read(frame, &parsed, &received, None))
    }

    /// Tells what would happen to a fragment that was held if it were resumed, step by step. Changes nothing.
    #[must_use]
    pub fn explain_released(&self, snapshot: &Snapshot, now: Now, fragment: &Released) -> Explanation {
        let (frame, resumption) = (fragment.frame(), Some(&fragment.resumption));
        let parsed = parse(frame);
        let received = fragment.received();
        let inbound = Inbound::read(frame, &parsed, &received, resumption);
        self.tell(snapshot, now, fragment.from(), inbound)
    }

    fn tell(
        &self,
        snapshot: &Snapshot,
        now: Now,
        from: PortKey,
        inbound: Result<Inbound<'_>, DropReason>,
    ) -> Explanation {
        let summary = inbound.as_ref().ok().map(|inbound| inbound.summary);
        let recorder = Recorder::new(snapshot);
        let mut context = self.context(snapshot, now, false, recorder);
        let walked = walk(&mut context, from, inbound);
        context.witness.conclude(from, summary, &walked)
    }

    /// What the walk of a frame would end in, without the explanation. Changes nothing.
    #[must_use]
    pub fn judge(
        &self,
        snapshot: &Snapshot,
        now: Now,
        from: PortKey,
        frame: &[u8],
        received: Received,
    ) -> Walked {
        let parsed = parse(frame);
        let inbound = Inbound::read(frame, &parsed, &received, None);
        walk(&mut self.context(snapshot, now, false, Nobody), from, inbound)
    }

    /// Forgets what belonged to ENIs and addresses that `new` no longer has (CT-26), and ends the connections that `new`
    /// refuses if it is strict about that. Call it once `new` is live.
    ///
    /// Counts as dropped the fragments that waited at ENIs that are gone. Under [`Revocation::Strict`] it costs a look at
    /// the key of every connection if an ENI that ever had one has changed.
    pub fn retire(&self, counters: &Counters, old: &Snapshot, new: &Snapshot, now: Now) {
        for eni in old.enis() {
            let zone = Zone(eni.key.0);
            match new.eni(eni.key) {
                None => {
                    self.table.remove_zone(zone);
                    counters.orphaned(self.fragments.forget(eni.key));
                    self.limiter.forget(PortKey::Eni(eni.key));
                }
                Some(now) => {
                    let gone = eni.addresses.iter().filter(|address| !now.addresses.contains(address));
                    gone.for_each(|address| {
                        self.table.remove_local(zone, *address);
                    });
                }
            }
        }
        if new.revocation() == Revocation::Strict {
            revocation::sweep(&self.table, old, new, now.monotonic);
        }
    }

    /// Whether the rules of a policy would not let a connection be opened now that is alive: what
    /// [`Revocation::Strict`] cuts. A connection of an ENI that the policy does not have is refused.
    #[must_use]
    pub fn would_refuse(snapshot: &Snapshot, entry: &ConnView) -> bool {
        !snapshot.eni(EniKey(entry.zone.0)).is_some_and(|eni| revocation::admits(eni, entry))
    }

    /// The live connections that a selection means: how many there are, and the first `limit` of them. Takes memory for
    /// these, however many there are.
    #[must_use]
    pub fn select(&self, selection: &Selection, snapshot: &Snapshot, now: Now, limit: usize) -> Listing {
        let mut lister = Lister::new(snapshot, limit);
        self.table.visit(now.monotonic, |entry| {
            if selection.includes(entry, snapshot) {
                lister.take(entry);
            }
        });
        lister.finish()
    }

    /// Ends the live connections that a selection means; tells of them as they were, like [`Self::select`].
    ///
    /// What ends is what the groups remember. Later packets are ones without entry, for which rules decide (CT-44).
    pub fn kill(&self, selection: &Selection, snapshot: &Snapshot, now: Now, limit: usize) -> Listing {
        let mut lister = Lister::new(snapshot, limit);
        for chosen in self.table.select(|entry| selection.includes(entry, snapshot), now.monotonic) {
            let entry = chosen.view(now.monotonic);
            if let Some(entry) = entry.filter(|_| self.table.end(&chosen)) {
                lister.take(&entry);
            }
        }
        lister.finish()
    }

    /// Reclaims at most `budget` expired connections, and expired fragment records. Returns the connections reclaimed.
    ///
    /// Counts as dropped the fragments that have waited for too long (CT-61).
    pub fn advance(&self, counters: &Counters, now: Now, budget: usize) -> usize {
        counters.orphaned(self.fragments.expire(now.monotonic));
        self.table.advance(now.monotonic, budget)
    }

    /// Drops, and counts, the fragments that still wait. For the end, when no first fragment will come any more.
    pub fn drain(&self, counters: &Counters) {
        counters.orphaned(self.fragments.clear());
    }

    fn present<'a>(&'a self, snapshot: &'a Snapshot, counters: &'a Counters, clock: &'a Now) -> Present<'a> {
        Present { snapshot, table: &self.table, counters, now: clock.monotonic, clock }
    }

    pub(crate) fn context<'s, W>(
        &'s self,
        snapshot: &'s Snapshot,
        now: Now,
        commits: bool,
        witness: W,
    ) -> Context<'s, W> {
        let Self { table, fragments, .. } = self;
        let (now, foreseen, released, taps) = (now.monotonic, None, Vec::new(), Taps::default());
        Context { snapshot, table, fragments, now, commits, foreseen, released, taps, witness }
    }
}

/// Builds an answer to the sender of `frame` into `out`; false if none may be sent.
fn build_reply(frame: &[u8], summary: &PacketSummary, answer: Reply, out: &mut Vec<u8>) -> bool {
    let link = |source| build::Link { source, destination: summary.source_mac };
    match (answer, &summary.body) {
        (Reply::Arp { mac, .. }, Body::Arp(arp)) => {
            build::arp_reply(out, mac, arp);
            true
        }
        (Reply::Neighbour { address, mac, router }, Body::Ip(IpPacket { source: IpAddr::V6(asker), .. })) => {
            build::neighbour_advertisement(out, link(mac), address, *asker, router);
            true
        }
        (Reply::TooBig { mtu, router: IpAddr::V4(router), router_mac }, Body::Ip(ip)) => build::icmpv4_error(
            out,
            link(router_mac),
            router,
            IcmpError::fragmentation_needed(mtu),
            frame,
            ip,
        ),
        (Reply::TooBig { mtu, router: IpAddr::V6(router), router_mac }, Body::Ip(ip)) => build::icmpv6_error(
            out,
            link(router_mac),
            router,
            IcmpError::packet_too_big(mtu.into()),
            frame,
            ip,
        ),
        _ => false,
    }
}
