//! A second opinion: the statements CT-60 to CT-63 about one datagram, written down without regard to cost, against the
//! tracker on random fragments.

use std::collections::BTreeSet;
use std::time::Duration;

use palisade_packet::Fragment;

use super::*;

/// Rounds, and fragments in each.
const ROUNDS: u64 = 500;
const FRAGMENTS: usize = 60;

/// Everything that has come of the datagrams with one identification, since the last that was over.
#[derive(Default)]
struct Model {
    /// The first fragment has come.
    first: bool,
    /// Data that passed, in units of eight bytes.
    data: BTreeSet<u16>,
    passed: Vec<Fragment>,
    last: Duration,
    held: Vec<(Duration, Fragment)>,
    given_up: Option<Duration>,
}

impl Model {
    fn send(&mut self, fragment: Fragment, now: Duration, orphans: &mut usize) -> (&'static str, usize) {
        let held = self.held.len();
        self.held.retain(|(came, _)| now < *came + Duration::from_secs(1));
        *orphans += held - self.held.len();
        let remembered = Duration::from_secs(30);
        if self.given_up.is_some_and(|marked| now >= marked + remembered)
            || (self.first && now >= self.last + remembered)
            || (self.is_complete() && touches(&self.data, fragment))
        {
            *self = Self::default();
        }
        if self.given_up.is_some() {
            return (INVALID, 0);
        }
        let known = || self.held.iter().map(|(_, held)| held).chain(&self.passed);
        let overlaps =
            touches(&self.data, fragment) || self.held.iter().any(|(_, it)| touches(&units(*it), fragment));
        if overlaps && !known().any(|known| *known == fragment) {
            let released = self.held.len();
            *self = Self { given_up: Some(now), ..Self::default() };
            return (INVALID, released);
        }
        if !self.first && fragment.offset > 0 {
            if self.held.len() == 64 {
                return (ORPHAN, 0);
            }
            self.held.push((now, fragment));
            return ("held", 0);
        }
        (self.first, self.last) = (true, now);
        let released = std::mem::take(&mut self.held);
        for passes in released.iter().map(|(_, held)| *held).chain([fragment]) {
            self.data.extend(units(passes));
            self.passed.push(passes);
        }
        (if fragment.offset == 0 { "first" } else { "later" }, released.len())
    }

    fn is_complete(&self) -> bool {
        let whole = |last: &Fragment| {
            (0..last.offset / 8 + last.len.div_ceil(8)).all(|unit| self.data.contains(&unit))
        };
        self.first && self.passed.iter().filter(|fragment| !fragment.more).any(whole)
    }
}

fn units(fragment: Fragment) -> BTreeSet<u16> {
    (fragment.offset / 8..fragment.offset / 8 + fragment.len.div_ceil(8)).collect()
}

fn touches(data: &BTreeSet<u16>, fragment: Fragment) -> bool {
    !data.is_disjoint(&units(fragment))
}

/// One of few, so that they meet; most are cut where others are.
fn any_fragment(rng: &mut fastrand::Rng) -> Fragment {
    let offset = rng.u16(..6) * 16;
    let len = if rng.u8(..8) == 0 { rng.u16(1..4) * 8 } else { 16 };
    let more = if offset == 80 { rng.u8(..4) == 0 } else { rng.u8(..16) != 0 };
    Fragment { identification: rng.u32(..3), offset, len, more }
}

#[test]
fn the_tracker_does_what_the_statements_say() {
    let (mut words, mut all) = (BTreeSet::new(), 0);
    for seed in 0..ROUNDS {
        let (mut rng, mut bench) = (fastrand::Rng::with_seed(seed), Bench::default());
        let (mut models, mut orphans): ([Model; 3], usize) = Default::default();
        for _ in 0..FRAGMENTS {
            let millis = if rng.u8(..8) == 0 { rng.u64(..40) * 1000 } else { rng.u64(..300) };
            bench.now += Duration::from_millis(millis);
            let fragment = any_fragment(&mut rng);
            for _ in 0..if rng.u8(..64) == 0 { 70 } else { 1 } {
                let model = &mut models[fragment.identification as usize];
                let (word, released) = model.send(fragment, bench.now, &mut orphans);
                assert_eq!(bench.send(fragment), word, "seed {seed}: {fragment:?} at {:?}", bench.now);
                assert_eq!(bench.released.len(), released, "seed {seed}: {fragment:?} at {:?}", bench.now);
                words.insert((word, released > 0));
                all += 1;
            }
        }
        bench.now += Duration::from_secs(1);
        let left: usize = models.iter().map(|model| model.held.len()).sum();
        assert_eq!(bench.orphans + bench.fragments.expire(bench.now()), orphans + left, "seed {seed}");
        assert_eq!(bench.held(), 0);
    }
    assert!(all > FRAGMENTS && words.len() == 7, "not everything was met: {words:?}");
}
