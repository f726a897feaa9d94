//! The flow cache of one worker: what the walk decided, kept so that the next packet of the flow need not walk.
//!
//! Owned by one worker, never shared, allocated once. Only results that a later packet can be *shown* to get again are
//! kept, and each hit shows it anew ([`Flow::serves`]):
//!
//! - nothing that the walk could see of policy has changed: the stamps of the ENIs involved are not younger than the
//!   generation of the result, which then adopts the present generation;
//! - a result that rests on a connection finds it alive, and the packet does to it what a commit would do. If the packet
//!   moves its state (the FIN of an established connection, the answer that completes a UDP transaction) it walks;
//! - a result that rests on the absence of a connection finds the flow's creation counter where it was
//!   ([`palisade_conntrack::Birth`]), so that a denial does not outlive the opening of the flow from the other side.
//!
//! Never kept: refusals of the allowance (CT-70), ICMP errors, fragments, whatever the fabric or a service consumes, and
//! packets that open an entry. Never served: SYN, FIN and RST of a flow that passes, packets larger than the path
//! carries.

mod candidate;
mod flow;
mod key;
mod notes;
mod path;
mod table;

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::fast::RandomState;
use palisade_packet::{Body, parse};
use palisade_policy::PortKey;

pub(crate) use candidate::Candidate;
pub(crate) use flow::Present;
pub(crate) use notes::{Notes, Noting};
pub(crate) use path::Action;

use crate::counters::Counters;
use crate::ledger::Ledger;
use crate::mirroring::Taps;
use crate::outcome::{Now, Walked};
use flow::{Finding, Flow};
use key::FlowKey;
use path::{Paths, Shared};
use table::{PREFETCHED, Table};

/// Entries that, with the connections that they rest on, are more than the second-level cache of a processor holds.
const FAR: usize = 8_192;

/// Results of walks, by flow. Each is shown to hold before it is served; the head of this file says how.
#[derive(Debug)]
pub struct FlowCache {
    table: Table,
    paths: Paths,
    hasher: RandomState,
    /// The bucket at which the next round of settling begins.
    next: usize,
    hits: u64,
}

impl FlowCache {
    /// Entries per worker where nothing else is said: some 5 MiB.
    pub const DEFAULT_ENTRIES: usize = 65_536;
    /// Entries of a bucket.
    pub(crate) const WAYS: usize = table::WAYS;
    /// Most entries; the configuration refuses more.
    pub const MAX_ENTRIES: usize = 1 << 23;

    /// A cache of at least so many entries, memory for which is taken at once; with 0 every packet walks.
    #[must_use]
    pub fn new(entries: usize) -> Self {
        let table = Table::new(entries.min(Self::MAX_ENTRIES));
        Self { table, paths: Paths::default(), hasher: RandomState::default(), next: 0, hits: 0 }
    }

    /// Packets that were served without a walk.
    #[must_use]
    pub const fn hits(&self) -> u64 {
        self.hits
    }

    /// Entries in use.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.table.used()
    }

    /// Whether nothing is kept.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds what entries have counted to their connections (CT-6) and to the ledger, if it is time, and lets go of ended
    /// ones, in the next `buckets` buckets. True if something there must wait for its time.
    pub(crate) fn settle(
        &mut self,
        now: Now,
        (counters, ledger): (&Counters, &mut Ledger),
        buckets: usize,
    ) -> bool {
        let mut waits = false;
        for _ in 0..buckets.min(self.buckets()) {
            let bucket = self.next;
            self.retain(bucket, |flow, shared| {
                let is_of_use = flow.is_of_use(now.monotonic);
                if flow.waits() && (flow.is_due(now.monotonic) || !is_of_use) {
                    flow.settle(shared, now, (counters, ledger));
                }
                waits |= flow.waits();
                is_of_use
            });
            self.next = (self.next + 1) % self.buckets().max(1);
        }
        waits
    }

    /// Adds everything that the entries of a bucket have counted, whether or not it is time.
    pub(crate) fn settle_bucket(
        &mut self,
        bucket: usize,
        now: Now,
        (counters, ledger): (&Counters, &mut Ledger),
    ) {
        self.retain(bucket, |flow, shared| {
            flow.settle(shared, now, (counters, ledger));
            flow.is_of_use(now.monotonic)
        });
    }

    /// Lets go of the flows of a bucket that are not wanted.
    fn retain(&mut self, bucket: usize, mut wanted: impl FnMut(&mut Flow, &Shared) -> bool) {
        let Self { table, paths, .. } = self;
        table.retain(bucket, |flow| {
            let stays = paths.get(flow.path).is_some_and(|shared| wanted(flow, shared));
            if !stays {
                paths.leave(flow.path);
            }
            stays
        });
    }

    /// Has the memory that a burst is about to need brought near while nobody waits for it, if there are so many flows that
    /// it may be far: then a packet waits for memory several times, one load after the other, and the packets of a burst
    /// can wait together. Changes nothing else.
    pub fn prefetch<'f>(&self, from: PortKey, frames: impl Iterator<Item = &'f [u8]>) {
        let PortKey::Eni(from) = from else { return };
        if self.len() < FAR {
            return;
        }
        let mut hashes = [0; PREFETCHED];
        let mut filled = 0;
        for (hash, frame) in hashes.iter_mut().zip(frames) {
            let Ok(summary) = parse(frame) else { continue };
            let key = match &summary.body {
                Body::Ip(ip) => FlowKey::of(from, &summary, ip),
                Body::Arp(_) => None,
            };
            let Some(key) = key else { continue };
            *hash = self.hash(&key);
            filled += 1;
        }
        if filled > 1 {
            std::hint::black_box(self.table.load(&hashes));
        }
    }

    /// Buckets of eight entries, for [`crate::Lane::settle`].
    #[must_use]
    pub const fn buckets(&self) -> usize {
        self.table.buckets()
    }

    pub(crate) const fn is_off(&self) -> bool {
        self.buckets() == 0
    }

    /// Spelled out, as the library's own function is not inlined and would have the key in memory.
    #[expect(clippy::manual_hash_one, reason = "the head says why")]
    #[inline]
    fn hash(&self, key: &FlowKey) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        key.hash(&mut hasher);
        hasher.finish()
    }

    /// What becomes of a packet, if its flow is known and the packet is shown to get the same; see [`Flow::serves`].
    #[inline]
    pub(crate) fn serve(
        &mut self,
        present: &Present<'_>,
        packet: &Candidate<'_>,
        ledger: &mut Ledger,
    ) -> Option<(&Action, Taps)> {
        let Self { table, paths, hits, .. } = self;
        let flow = table.find(&packet.key, packet.hash, paths)?;
        let shared = paths.get_mut(flow.path)?;
        if !flow.serves(shared, present, packet, ledger) {
            return None;
        }
        *hits += 1;
        Some((&shared.path.action, shared.path.taps))
    }

    /// Keeps what a walk has found out in the place of what matters less, or of what was known of the flow, if the next
    /// packet of the flow would get the same. If everything there matters more it is not kept.
    pub(crate) fn keep(
        &mut self,
        packet: &Candidate<'_>,
        found: (&Walked, Notes),
        present: &Present<'_>,
        ledger: &mut Ledger,
    ) {
        let Some(finding) = Finding::of(packet, found, present) else { return };
        let Self { table, paths, .. } = self;
        let key = (&packet.key, packet.hash);
        let Some(place) = table.place_for(key, finding.class(), paths) else { return };
        // Before the place is another's: it may have the only flow of the same path.
        let path = paths.take(&finding.path, present.snapshot);
        if let Some(mut old) = place.take() {
            if let Some(shared) = paths.get(old.path) {
                old.settle(shared, *present.clock, (present.counters, ledger));
            }
            paths.leave(old.path);
        }
        *place = path.map(|path| Flow::new(&packet.key, finding, path, present.now));
    }
}
