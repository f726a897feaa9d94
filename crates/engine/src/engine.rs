//! The engine: the state that all workers share, and the two ways into the walk.

use std::net::IpAddr;

use palisade_conntrack::{ConnTable, Zone};
use palisade_packet::build::{self, IcmpError};
use palisade_packet::{Body, IpPacket, PacketSummary};
use palisade_policy::{PortKey, Snapshot};

use crate::counters::Counters;
use crate::explain::{Explanation, Recorder};
use crate::fragments::Fragments;
use crate::intake::Inbound;
use crate::limiter::ErrorLimiter;
use crate::outcome::{Link, Now, Outcome, Received, Reply, Verdict, Walked};
use crate::walk::{Context, walk};
use crate::witness::{Counting, Nobody};

/// Judges frames. Shared by all workers; any worker may see any packet.
#[derive(Debug)]
pub struct Engine {
    table: ConnTable,
    fragments: Fragments,
    limiter: ErrorLimiter,
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

    /// Judges one frame that came in by `from` and edits its link-layer addresses in place.
    ///
    /// Counts what came in, what was dropped and what was consumed; whoever transmits counts what was delivered and
    /// generated. If [`Outcome::reply`] is set, `reply` holds a whole frame for the port `from`.
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
        let inbound = Inbound::read(frame, received);
        let summary = inbound.as_ref().ok().map(|inbound| inbound.summary);
        let packets = inbound.as_ref().map_or(1, Inbound::packets);
        counters.received(packets, frame.len());
        let witness = Counting { counters, packets };
        let walked = walk(&mut self.context(snapshot, now, true, witness), from, inbound);
        match walked.verdict {
            Verdict::Deliver(_) => readdress(frame, walked.link),
            Verdict::Consume(what) => counters.consumed(what, packets),
            Verdict::Drop(reason) => counters.dropped(reason, packets),
        }
        let replied = walked.reply.zip(summary).is_some_and(|(answer, summary)| {
            self.limiter.allows(from, &answer, now.monotonic) && build_reply(frame, &summary, answer, reply)
        });
        Outcome { verdict: walked.verdict, packets, reply: replied }
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
        let inbound = Inbound::read(frame, received);
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
        walk(&mut self.context(snapshot, now, false, Nobody), from, Inbound::read(frame, received))
    }

    /// Forgets what belonged to ENIs and addresses that `new` no longer has (CT-26). Call it once `new` is live.
    pub fn retire(&self, old: &Snapshot, new: &Snapshot) {
        for eni in old.enis() {
            let zone = Zone(eni.key.0);
            match new.eni(eni.key) {
                None => {
                    self.table.remove_zone(zone);
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
    pub fn advance(&self, now: Now, budget: usize) -> usize {
        self.fragments.expire(now.monotonic);
        self.table.advance(now.monotonic, budget)
    }

    fn context<'s, W>(
        &'s self,
        snapshot: &'s Snapshot,
        now: Now,
        commits: bool,
        witness: W,
    ) -> Context<'s, W> {
        let Self { table, fragments, .. } = self;
        Context { snapshot, table, fragments, now: now.monotonic, commits, foreseen: None, witness }
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
