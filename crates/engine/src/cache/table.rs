//! Where flows are kept: buckets of eight, two of which the hash offers to a flow. Nothing grows, nothing moves, and a search
//! looks at two buckets at most.
//!
//! A flow goes where more places are free, so that hardly a bucket is full before nearly all are. When both are full, what
//! matters least in them goes first: denials before flows that pass, those before flows of established connections, among
//! equals the one unused for longest. A newcomer that matters less than everything there is not kept, so that a flood of
//! denied packets cannot push out the flows of established connections.

use super::flow::Flow;
use super::key::FlowKey;
use super::path::Paths;

pub(super) const WAYS: usize = 8;

/// Tags say "not this one" without touching the flow, which lies elsewhere: a byte of the hash for each way, or [`FREE`].
type Tags = [u8; WAYS];

const FREE: u8 = 0;

/// Most hashes that are looked for together.
pub(super) const PREFETCHED: usize = 64;

pub(super) struct Table {
    tags: Box<[Tags]>,
    flows: Box<[Option<Flow>]>,
    /// Places that are not free.
    used: usize,
}

impl Table {
    pub(super) fn new(entries: usize) -> Self {
        let buckets = entries.div_ceil(WAYS);
        Self {
            tags: vec![[FREE; WAYS]; buckets].into_boxed_slice(),
            flows: std::iter::repeat_with(|| None).take(buckets * WAYS).collect(),
            used: 0,
        }
    }

    pub(super) const fn buckets(&self) -> usize {
        self.tags.len()
    }

    pub(super) const fn used(&self) -> usize {
        self.used
    }

    #[inline]
    pub(super) fn find(&mut self, key: &FlowKey, hash: u64, paths: &Paths) -> Option<&mut Flow> {
        let place = self.position(key, hash, paths)?;
        self.flows.get_mut(place)?.as_mut()
    }

    /// The place that a flow of this class is to take, with what is there now; `None` if everything that it could replace
    /// matters more.
    pub(super) fn place_for(
        &mut self,
        (key, hash): (&FlowKey, u64),
        class: u8,
        paths: &Paths,
    ) -> Option<&mut Option<Flow>> {
        let buckets = self.buckets_of(hash);
        let place = self
            .position(key, hash, paths)
            .or_else(|| self.vacancy(buckets))
            .or_else(|| self.least(buckets, class, paths))?;
        let tag = self.tags.get_mut(place / WAYS)?.get_mut(place % WAYS)?;
        self.used += usize::from(*tag == FREE);
        *tag = tag_of(hash);
        self.flows.get_mut(place)
    }

    /// Empties the places of a bucket whose flow is not wanted.
    pub(super) fn retain(&mut self, bucket: usize, mut wanted: impl FnMut(&mut Flow) -> bool) {
        let Some(tags) = self.tags.get_mut(bucket) else { return };
        for (tag, place) in tags.iter_mut().zip(&mut self.flows[bucket * WAYS..][..WAYS]) {
            if *tag != FREE && !place.as_mut().is_some_and(&mut wanted) {
                (*tag, *place) = (FREE, None);
                self.used -= 1;
            }
        }
    }

    /// Loads what looking for these hashes will need, in rounds of loads that do not wait for each other. What it returns
    /// depends on all of them and means nothing.
    pub(super) fn load(&self, hashes: &[u64]) -> u64 {
        let mut found = [None; PREFETCHED];
        let tags = hashes.iter().flat_map(|hash| self.buckets_of(*hash)).map(|bucket| self.tags_at(bucket));
        let mut loaded = tags.fold(0, |loaded, tags| loaded ^ u64::from_le_bytes(tags));
        for (hash, found) in hashes.iter().zip(&mut found) {
            let place = self.buckets_of(*hash).into_iter().find_map(|bucket| {
                let candidates = matches(self.tags_at(bucket), tag_of(*hash));
                (candidates != 0).then(|| bucket * WAYS + candidates.trailing_zeros() as usize / 8)
            });
            *found = place.and_then(|place| self.flows.get(place)?.as_ref());
            loaded ^= found.map_or(0, Flow::load);
        }
        found.iter().flatten().fold(loaded, |loaded, flow| loaded ^ flow.load_conns())
    }

    fn tags_at(&self, bucket: usize) -> Tags {
        self.tags.get(bucket).copied().unwrap_or_default()
    }

    #[expect(
        clippy::inline_always,
        reason = "a hit has the key in registers; the other caller does not mind"
    )]
    #[inline(always)]
    fn position(&self, key: &FlowKey, hash: u64, paths: &Paths) -> Option<usize> {
        for bucket in self.buckets_of(hash) {
            let mut candidates = matches(self.tags_at(bucket), tag_of(hash));
            while candidates != 0 {
                let place = bucket * WAYS + candidates.trailing_zeros() as usize / 8;
                if self.flows.get(place)?.as_ref().is_some_and(|flow| flow.is_of(key, paths)) {
                    return Some(place);
                }
                candidates &= candidates - 1;
            }
        }
        None
    }

    /// A free place in that of two buckets which has more of them.
    fn vacancy(&self, buckets: [usize; 2]) -> Option<usize> {
        let free = |bucket: usize| self.tags.get(bucket).map_or(0, |tags| matches(*tags, FREE).count_ones());
        let [first, second] = buckets;
        let bucket = if free(second) > free(first) { second } else { first };
        let way = self.tags.get(bucket)?.iter().position(|tag| *tag == FREE)?;
        Some(bucket * WAYS + way)
    }

    /// The place of what matters least in two buckets, unless it matters more than a newcomer of this class.
    fn least(&self, buckets: [usize; 2], newcomer: u8, paths: &Paths) -> Option<usize> {
        let worths = buckets.into_iter().flat_map(|bucket| {
            let ways = self.ways(bucket).into_iter().flatten();
            let worth = |flow: &Option<Flow>| flow.as_ref().map(|flow| flow.worth(paths));
            ways.enumerate().map(move |(way, flow)| (bucket * WAYS + way, worth(flow)))
        });
        let (place, least) = worths.min_by_key(|(_, worth)| *worth)?;
        least.is_none_or(|(class, _)| class <= newcomer).then_some(place)
    }

    fn ways(&self, bucket: usize) -> Option<&[Option<Flow>; WAYS]> {
        self.flows.get(bucket * WAYS..)?.first_chunk()
    }

    /// Each half of the hash chooses a bucket, by its high bits.
    fn buckets_of(&self, hash: u64) -> [usize; 2] {
        let buckets = self.tags.len() as u64;
        [hash & 0xffff_ffff, hash >> 32].map(|half| ((half * buckets) >> 32) as usize)
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("buckets", &self.buckets()).finish_non_exhaustive()
    }
}

/// The highest bit of each byte whose tag is this one, and perhaps of some above the lowest of them: a zero is found in all
/// eight at once, by what borrows when one is taken away.
const fn matches(tags: Tags, tag: u8) -> u64 {
    const LOWEST: u64 = u64::from_le_bytes([0x01; WAYS]);
    const HIGHEST: u64 = u64::from_le_bytes([0x80; WAYS]);
    let differences = u64::from_le_bytes(tags) ^ u64::from_le_bytes([tag; WAYS]);
    differences.wrapping_sub(LOWEST) & !differences & HIGHEST
}

/// The lowest bits, which choose no bucket as long as there are no more than 2^24 of them.
fn tag_of(hash: u64) -> u8 {
    let [low, ..] = hash.to_le_bytes();
    low.max(FREE + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hash_has_two_buckets() {
        for entries in [1, 8, 9, 4_099] {
            let table = Table::new(entries);
            for hash in [0, u64::MAX, 0x8000_0000_7fff_ffff] {
                assert!(table.buckets_of(hash).iter().all(|bucket| *bucket < table.buckets()), "{entries}");
            }
        }
    }

    #[test]
    fn a_match_is_seen_among_others() {
        for way in 0..WAYS {
            let mut tags = [7; WAYS];
            tags[way] = FREE;
            assert_eq!(matches(tags, FREE), 0x80 << (8 * way), "a single free way");
        }
        assert_eq!(matches([FREE; WAYS], FREE).count_ones(), 8);
        assert_eq!(matches([1; WAYS], FREE), 0);
    }
}
