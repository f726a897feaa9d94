//! What a worker counts for flow logs: deltas of flows at ENIs, merged, until they are handed over.
//!
//! Owned by one worker. Fed with what walks judged, and by the flow cache with what it served since it last told
//! ([`crate::FlowCache`]); so a packet served from the cache costs nothing here. Deltas leave when their minute is over,
//! while somebody watches when their second is, or for lack of room; the oldest first, through a bounded [`Tray`]. What has
//! room neither here nor there is counted as lost; no packet waits for it (FL-7).

mod coverage;
mod entry;
mod grounds;
mod pages;
#[cfg(test)]
mod tests;
mod tray;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use palisade_flow::{Delta, Loss, Window};
use palisade_policy::EniKey;

use crate::counters::Counters;
use crate::outcome::Now;

pub use coverage::Coverage;
pub use tray::{Handed, Tray};

pub(crate) use entry::{Passage, Times, record};
pub(crate) use grounds::{Grounds, Why, refusal};

use pages::Pages;

/// Deltas of one worker that are not handed over yet.
#[derive(Debug)]
pub struct Ledger {
    coverage: Arc<Coverage>,
    tray: Option<Arc<Tray>>,
    pages: Pages,
    /// What was lost and is not told yet. Almost always empty.
    losses: BTreeMap<(EniKey, Window), Loss>,
}

impl Ledger {
    /// Deltas per worker where nothing else is said: 6.5 MiB, of which only what is used is touched.
    pub const DEFAULT_ENTRIES: usize = 65_536;

    /// A ledger of so many deltas, at least one, for the ENIs that `coverage` names, that hands over to `tray`.
    #[must_use]
    pub fn new(entries: usize, coverage: Arc<Coverage>, tray: Arc<Tray>) -> Self {
        Self { coverage, tray: Some(tray), pages: Pages::new(entries.max(1)), losses: BTreeMap::new() }
    }

    /// A ledger in which nothing is written.
    #[must_use]
    pub fn off() -> Self {
        Self { coverage: Arc::default(), tray: None, pages: Pages::default(), losses: BTreeMap::new() }
    }

    /// How many deltas can come before some are lost. Without limit if nothing is written.
    #[must_use]
    pub fn room(&self) -> usize {
        self.tray.as_ref().map_or(usize::MAX, |tray| self.pages.room() + tray.room())
    }

    /// Hands over at most `budget` deltas whose minute is over; while somebody watches, whose second is, so that a flow is
    /// told of once a second and not per packet. True if more wait.
    pub fn hand_over(&mut self, now: Now, budget: usize) -> bool {
        let due = self.due(now);
        self.tell_losses();
        for _ in 0..budget {
            if !self.is_behind(due) || !self.hand_one() {
                break;
            }
        }
        !self.losses.is_empty() || self.is_behind(due)
    }

    /// Time until something is to be handed over, if nothing more comes.
    #[must_use]
    pub fn patience(&self, now: Now) -> Option<Duration> {
        let oldest = self.pages.oldest()?;
        let end = if self.coverage.watches_everything() {
            oldest.first.saturating_add(1)
        } else {
            oldest.window().end()
        };
        Some(Duration::from_secs(end.into()).saturating_sub(now.unix))
    }

    /// Hands over everything, whatever the room there is: the worker ends.
    pub fn surrender(&mut self) {
        let Self { tray: Some(tray), pages, losses, .. } = self else { return };
        let deltas = std::iter::from_fn(|| pages.take()).map(Handed::Delta);
        tray.leave(deltas.chain(std::mem::take(losses).into_values().map(Handed::Loss)));
    }

    /// Counts a delta in, and its packets in the counters.
    pub(crate) fn count(&mut self, counters: &Counters, delta: &Delta) {
        let covered = self.tray.is_some() && self.coverage.covers(delta.eni);
        counters.judged(covered, delta.packets);
        if covered && !self.pages.count(delta) {
            self.make_room();
            if !self.pages.count(delta) {
                self.lose(delta);
            }
        }
    }

    /// The second before which what is to leave has begun: the first of this minute, or this one while somebody watches.
    fn due(&self, now: Now) -> u32 {
        let present = unix_second(now.unix.as_secs());
        if self.coverage.watches_everything() { present } else { Window::of(present).start() }
    }

    /// Whether the oldest delta has begun before a second.
    fn is_behind(&self, due: u32) -> bool {
        self.pages.oldest().is_some_and(|delta| delta.first < due)
    }

    /// Hands the oldest delta over before its minute ends.
    fn make_room(&mut self) {
        self.tell_losses();
        self.hand_one();
    }

    fn hand_one(&mut self) -> bool {
        let (Some(tray), Some(oldest)) = (&self.tray, self.pages.oldest()) else { return false };
        let put = tray.put(Handed::Delta(*oldest));
        if put {
            self.pages.take();
        }
        put
    }

    fn tell_losses(&mut self) {
        let Some(tray) = &self.tray else { return };
        while let Some(entry) = self.losses.first_entry() {
            if !tray.put(Handed::Loss(*entry.get())) {
                return;
            }
            entry.remove();
        }
    }

    fn lose(&mut self, delta: &Delta) {
        let Delta { eni, packets, bytes, .. } = *delta;
        let window = delta.window();
        let none = Loss { eni, window, deltas: 0, packets: 0, bytes: 0 };
        let loss = self.losses.entry((eni, window)).or_insert(none);
        loss.deltas += 1;
        loss.packets += packets;
        loss.bytes += bytes;
    }
}

/// Records tell seconds in 32 bits, which last until 2106.
pub(crate) fn unix_second(seconds: u64) -> u32 {
    u32::try_from(seconds).unwrap_or(u32::MAX)
}
