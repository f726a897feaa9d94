//! Where flows are kept: buckets of eight, chosen by hash. Nothing grows, nothing moves, and a search looks at one bucket.
//!
//! When a bucket is full, what matters least in it goes first: denials before flows that pass, those before flows of
//! established connections, among equals the one unused for longest. A newcomer that matters less than everything there
//! is not kept, so that a flood of denied packets cannot push out the flows of established connections.

use super::flow::Flow;
use super::key::FlowKey;

const WAYS: usize = 8;

/// Tags say "not this one" without touching the flow, which lies elsewhere: a byte of the hash for each way, or [`FREE`].
type Tags = [u8; WAYS];

const FREE: u8 = 0;

pub(super) struct Table {
    tags: Box<[Tags]>,
    flows: Box<[Option<Flow>]>,
}

impl Table {
    pub(super) fn new(entries: usize) -> Self {
        let buckets = if entries == 0 { 0 } else { entries.div_ceil(WAYS).next_power_of_two() };
        Self {
            tags: vec![[FREE; WAYS]; buckets].into_boxed_slice(),
            flows: std::iter::repeat_with(|| None).take(buckets * WAYS).collect(),
        }
    }

    pub(super) const fn buckets(&self) -> usize {
        self.tags.len()
    }

    pub(super) fn flows(&self) -> impl Iterator<Item = &Flow> {
        self.flows.iter().flatten()
    }

    pub(super) fn find(&mut self, key: &FlowKey, hash: u64) -> Option<&mut Flow> {
        let (bucket, tag) = self.locate(hash)?;
        let mut candidates = matches(self.tags[bucket], tag);
        let ways = self.flows[bucket * WAYS..].first_chunk_mut::<WAYS>()?;
        while candidates != 0 {
            let way = candidates.trailing_zeros() as usize / 8 % WAYS;
            if ways[way].as_ref().is_some_and(|flow| flow.is_of(key)) {
                return ways[way].as_mut();
            }
            candidates &= candidates - 1;
        }
        None
    }

    /// The place that a flow is to take, with what is there now; `None` if everything in the bucket matters more.
    pub(super) fn place_for(&mut self, flow: &Flow, hash: u64) -> Option<&mut Option<Flow>> {
        let (bucket, tag) = self.locate(hash)?;
        let ways = &self.flows[bucket * WAYS..][..WAYS];
        let own = ways.iter().position(|place| place.as_ref().is_some_and(|it| it.is_of(flow.key())));
        let free = || ways.iter().position(Option::is_none);
        let way = own.or_else(free).or_else(|| least(ways, flow))?;
        self.tags[bucket][way] = tag;
        Some(&mut self.flows[bucket * WAYS + way])
    }

    /// Empties the places of a bucket whose flow is not wanted.
    pub(super) fn retain(&mut self, bucket: usize, mut wanted: impl FnMut(&mut Flow) -> bool) {
        let Some(tags) = self.tags.get_mut(bucket) else { return };
        for (tag, place) in tags.iter_mut().zip(&mut self.flows[bucket * WAYS..][..WAYS]) {
            if *tag != FREE && !place.as_mut().is_some_and(&mut wanted) {
                (*tag, *place) = (FREE, None);
            }
        }
    }

    /// The low bits choose the bucket, the high ones are the tag.
    fn locate(&self, hash: u64) -> Option<(usize, u8)> {
        let mask = self.tags.len().checked_sub(1)?;
        let [.., top] = hash.to_le_bytes();
        let bucket = usize::try_from(hash & 0xffff_ffff).unwrap_or_default() & mask;
        Some((bucket, top.max(FREE + 1)))
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

/// The way that matters least, unless it matters more than the newcomer.
fn least(ways: &[Option<Flow>], newcomer: &Flow) -> Option<usize> {
    let worth = |flow: &Option<Flow>| flow.as_ref().map(Flow::worth);
    let (way, least) = ways.iter().map(worth).enumerate().min_by_key(|(_, worth)| *worth)?;
    least.is_none_or(|(class, _)| class <= newcomer.worth().0).then_some(way)
}
