//! The engine: the state that all workers share, and the two ways into the walk.

use std::net::IpAddr;

use palisade_conntrack::{ConnTable, Zone};
use palisade_packet::build::{self, IcmpError};
use palisade_packet::{Body, IpPacket, PacketSummary};
use palisade_policy::{PortKey, Snapshot};

use crate::counters::Counters;
use crate::explain::{Explanation, Recorder};
use crate::fragments::{Fragments, Holding, Released, Resumption};
use crate::intake::Inbound;
use crate::limiter::ErrorLimiter;
use crate::outcome::{Link, Now, Outcome, Received, Reply, Verdict, Walked};
use crate::reason::DropReason;
use crate::walk::{Context, walk};
use crate::witness::{Counting, Nobody};

/// Judges frames. Shared by all workers; any worker may see any packet.
#[derive(Debug)]
pub struct Engine {
    table: ConnTable,
    fragments: Fragments,
    limiter: ErrorLimiter,
}

/// A frame to be walked.
struct Intake<'f> {
    from: PortKey,
    frame: &'f mut [u8],
    received: Received,
    /// Set if it is a fragment that was held.
    resumed: Option<&'f Resumption>,
}

impl Engine {
    /// An engine with room for so many connections, memory for which is taken at once.
    #[must_use]
    pub fn new(max_connections: usize) -> Self {
        Self {
            table: ConnTable::new(max_connections),
            fragments: Fragments::default(),
            limiter: ErrorLimiter::default(),
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
    /// generated. If [`Outcome::reply`] is set, `reply` holds a whole frame for the port `from`. Fragments in
    /// [`Outcome::released`] are to be given to [`Self::resume`].
    #[expect(clippy::too_many_arguments, reason = "a struct would be built and taken apart once per packet")]
    pub fn process(
        &self,
        snapshot: &Snapshot,
        counters: &Counters,
        now: Now,
        from: PortKey,
        frame: &mut [u8],
        received: Received,
        reply: &mut Vec<u8>,
    ) -> Outcome {
        let len = frame.len();
        let intake = Intake { from, frame, received, resumed: None };
        let outcome = self.act(snapshot, counters, now, intake, reply);
        counters.received(outcome.packets, len);
        outcome
    }

    /// Takes up the walk of a fragment that was held, by the policy of now, and edits its link-layer addresses in place.
    ///
    /// As [`Self::process`], but it came in before. It may have to wait once more, at its receiver.
    pub fn resume(
        &self,
        snapshot: &Snapshot,
        counters: &Counters,
        now: Now,
        fragment: &mut Released,
        reply: &mut Vec<u8>,
    ) -> Outcome {
        let (from, received, resumption) = (fragment.from(), fragment.received(), fragment.resumption);
        let intake = Intake { from, frame: fragment.frame_mut(), received, resumed: Some(&resumption) };
        self.act(snapshot, counters, now, intake, reply)
    }

    fn act(
        &self,
        snapshot: &Snapshot,
        counters: &Counters,
        now: Now,
        intake: Intake<'_>,
        reply: &mut Vec<u8>,
    ) -> Outcome {
        let Intake { from, frame, received, resumed } = intake;
        let inbound = Inbound::read(frame, received, resumed);
        let summary = inbound.as_ref().ok().map(|inbound| inbound.summary);
        let packets = inbound.as_ref().map_or(1, Inbound::packets);
        let mut context = self.context(snapshot, now, true, Counting { counters, packets });
        let walked = walk(&mut context, from, inbound);
        let mut released = context.released;
        released.sort_by_key(|fragment| fragment.arrival);
        match walked.verdict {
            Verdict::Deliver(_) => readdress(frame, walked.link),
            Verdict::Consume(what) => counters.consumed(what, packets),
            Verdict::Hold => {}
            Verdict::Drop(reason) => counters.dropped(reason, packets),
        }
        let replied = walked.reply.zip(summary).is_some_and(|(answer, summary)| {
            self.limiter.allows(from, &answer, now.monotonic) && build_reply(frame, &summary, answer, reply)
        });
        Outcome { verdict: walked.verdict, packets, reply: replied, released }
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
        self.tell(snapshot, now, from, Inbound::read(frame, received, None))
    }

    /// Tells what would happen to a fragment that was held if it were resumed, step by step. Changes nothing.
    #[must_use]
    pub fn explain_released(&self, snapshot: &Snapshot, now: Now, fragment: &Released) -> Explanation {
        let inbound = Inbound::read(fragment.frame(), fragment.received(), Some(&fragment.resumption));
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
        context.witness.conclude(from, summary.as_ref(), &walked)
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
        walk(&mut self.context(snapshot, now, false, Nobody), from, Inbound::read(frame, received, None))
    }

    /// Forgets what belonged to ENIs and addresses that `new` no longer has (CT-26). Call it once `new` is live.
    ///
    /// Counts as dropped the fragments that waited at ENIs that are gone.
    pub fn retire(&self, counters: &Counters, old: &Snapshot, new: &Snapshot) {
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

    fn context<'s, W>(
        &'s self,
        snapshot: &'s Snapshot,
        now: Now,
        commits: bool,
        witness: W,
    ) -> Context<'s, W> {
        let Self { table, fragments, .. } = self;
        let (now, foreseen, released) = (now.monotonic, None, Vec::new());
        Context { snapshot, table, fragments, now, commits, foreseen, released, witness }
    }
}

fn readdress(frame: &mut [u8], link: Option<Link>) {
    let (Some(link), Some(header)) = (link, frame.first_chunk_mut::<12>()) else { return };
    header[..6].copy_from_slice(&link.destination.0);
    if let Some(source) = link.source {
        header[6..].copy_from_slice(&source.0);
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
