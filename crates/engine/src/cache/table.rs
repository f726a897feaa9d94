//! Where flows are kept: buckets of eight, chosen by hash. Nothing grows, nothing moves, and a search looks at one bucket.
//!
//! When a bucket is full, what matters least in it goes first: denials before flows that pass, those before flows of
//! established connections, among equals the one unused for longest. A newcomer that matters less than everything there
//! is not kept, so that a flood of denied packets cannot push out the flows of established connections.

use super::flow::Flow;
use super::key::FlowKey;

const WAYS: usize = 8;

/// Tags say "not this one" without touching the flow, which lies elsewhere; 0 marks a free place.
type Tags = [u16; WAYS];

pub(super) struct Table {
    tags: Box<[Tags]>,
    flows: Box<[Option<Flow>]>,
}

impl Table {
    pub(super) fn new(entries: usize) -> Self {
        let buckets = if entries == 0 { 0 } else { entries.div_ceil(WAYS).next_power_of_two() };
        Self {
            tags: vec![[0; WAYS]; buckets].into_boxed_slice(),
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
        let mut candidates = matches(&self.tags[bucket], tag);
        while candidates != 0 {
            let way = candidates.trailing_zeros() as usize;
            candidates &= candidates - 1;
            let place = bucket * WAYS + way;
            if self.flows[place].as_ref().is_some_and(|flow| flow.is_of(key)) {
                return self.flows[place].as_mut();
            }
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
            if *tag != 0 && !place.as_mut().is_some_and(&mut wanted) {
                (*tag, *place) = (0, None);
            }
        }
    }

    /// The low bits choose the bucket, the high ones are the tag.
    fn locate(&self, hash: u64) -> Option<(usize, u16)> {
        let mask = self.tags.len().checked_sub(1)?;
        let [.., high, top] = hash.to_le_bytes();
        let bucket = usize::try_from(hash & 0xffff_ffff).unwrap_or_default() & mask;
        Some((bucket, u16::from_le_bytes([high, top]) | 1))
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("buckets", &self.buckets()).finish_non_exhaustive()
    }
}

/// One bit for each way whose tag is this one.
fn matches(tags: &Tags, tag: u16) -> u32 {
    tags.iter().enumerate().fold(0, |bits, (way, it)| bits | u32::from(*it == tag) << way)
}

/// The way that matters least, unless it matters more than the newcomer.
fn least(ways: &[Option<Flow>], newcomer: &Flow) -> Option<usize> {
    let worth = |flow: &Option<Flow>| flow.as_ref().map(Flow::worth);
    let (way, least) = ways.iter().map(worth).enumerate().min_by_key(|(_, worth)| *worth)?;
    least.is_none_or(|(class, _)| class <= newcomer.worth().0).then_some(way)
}
