//! Mirror copies on their way out, after the production packets of a burst (TM-45).
//!
//! Copies are made out of the frames of the burst, which are still there, in portions that a port is handed in one call; so
//! they take the memory of one portion, however many there are. Owned by one worker.

use palisade_conntrack::Instant;
use palisade_engine::{Copied, Counters, DropReason, Tapped};
use palisade_io::Outgoing;
use palisade_packet::VnetHeader;
use palisade_policy::MirrorKey;

use crate::outlet::Place;
use crate::registry::{PortTable, reason};
use crate::status::Traffic;

/// Copies that may be made on account of one burst at the most; what is owed beyond is dropped, and counted, so that the next
/// burst does not wait for longer than some half a millisecond.
pub(crate) const ROOM: u32 = 512;
/// Time in which a worker makes one copy in the long run, in nanoseconds: 333,000 a second, which take about half of it.
const PACE: u64 = 3_000;
/// Copies handed to a port in one call.
const BATCH: usize = 64;

/// What copies are owed of, and copies not yet sent.
#[derive(Default)]
pub(crate) struct Copies {
    owed: Vec<(Place, Tapped)>,
    bytes: Vec<u8>,
    batch: Vec<Planned>,
    /// Place in the port table of the port that the batch goes out by.
    port: Option<usize>,
    pub(crate) share: Share,
}

/// Bounds what copies take of a worker's time, however many are owed: packets keep about half of it (TM-45). What was not
/// used is saved up, as far as one burst has a use for it.
#[derive(Debug)]
pub(crate) struct Share {
    /// Nanoseconds that copies may take.
    saved: u64,
    /// Up to when time has been counted.
    counted: Instant,
}

impl Default for Share {
    fn default() -> Self {
        Self { saved: Self::MOST, counted: Instant::from_nanos(0) }
    }
}

impl Share {
    const MOST: u64 = ROOM as u64 * PACE;

    /// How many copies may be made now.
    pub(crate) fn room(&mut self, now: Instant) -> u32 {
        let passed = now.as_nanos().saturating_sub(self.counted.as_nanos());
        self.counted = now;
        self.saved = self.saved.saturating_add(passed).min(Self::MOST);
        u32::try_from(self.saved / PACE).unwrap_or(ROOM)
    }

    /// So many have been made.
    pub(crate) fn used(&mut self, copies: u32) {
        self.saved = self.saved.saturating_sub(u64::from(copies) * PACE);
    }
}

/// A copy in the batch.
#[derive(Clone, Copy)]
struct Planned {
    session: MirrorKey,
    start: usize,
    end: usize,
}

impl Copies {
    /// Notes that copies are owed of the frame at a place.
    pub(crate) fn owe(&mut self, place: Place, tapped: Tapped) {
        self.owed.push((place, tapped));
    }

    /// Whether any are owed.
    pub(crate) const fn are_owed(&self) -> bool {
        !self.owed.is_empty()
    }

    /// What copies are owed of; to be given back with [`Self::settled`].
    pub(crate) fn owed(&mut self) -> Vec<(Place, Tapped)> {
        std::mem::take(&mut self.owed)
    }

    /// All that was owed is made.
    pub(crate) fn settled(&mut self, mut owed: Vec<(Place, Tapped)>) {
        owed.clear();
        self.owed = owed;
    }

    /// Plans a copy; sends what was planned before if it goes elsewhere, or is enough for one call.
    pub(crate) fn push(&mut self, counters: &Counters, ports: &PortTable, copy: Copied<'_>) {
        let Some(port) = ports.place(copy.to) else {
            return counters.copy_lost(copy.session, DropReason::PortMissing, 1);
        };
        if self.port != Some(port) || self.batch.len() == BATCH {
            self.flush(counters, ports);
            self.port = Some(port);
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(copy.frame);
        self.batch.push(Planned { session: copy.session, start, end: self.bytes.len() });
    }

    /// Sends what is planned, and counts what became of it.
    pub(crate) fn flush(&mut self, counters: &Counters, ports: &PortTable) {
        let Self { bytes, batch, port, .. } = self;
        let Some(port) = port.take().and_then(|place| ports.at(place)) else { return };
        let mut outgoing = [Outgoing::new(VnetHeader::default(), &[]); BATCH];
        for (slot, planned) in outgoing.iter_mut().zip(&*batch) {
            *slot = Outgoing::new(VnetHeader::default(), &bytes[planned.start..planned.end]);
        }
        let mut lost = [false; BATCH];
        port.transmit.transmit(&outgoing[..batch.len()], &mut |at, why| {
            let (Some(planned), Some(lost)) = (batch.get(at), lost.get_mut(at)) else { return };
            *lost = true;
            counters.copy_lost(planned.session, reason(why), 1);
            port.counters.dropped(why, 1);
        });
        let mut sent = Traffic::default();
        for (planned, _) in batch.iter().zip(lost).filter(|(_, lost)| !lost) {
            let len = planned.end - planned.start;
            counters.copied(planned.session, len);
            sent.add(1, len);
        }
        port.counters.sent(&sent);
        batch.clear();
        bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Instant {
        Instant::from_nanos(micros * 1_000)
    }

    #[test]
    fn in_the_long_run_copies_keep_their_pace() {
        let mut share = Share::default();
        let mut made = 0;
        for burst in 0..10_000 {
            let room = share.room(at(burst * 100));
            share.used(room);
            made += room;
        }
        assert!((333_000..334_000).contains(&(made - ROOM)), "{made} in a second");
    }

    #[test]
    fn what_is_not_used_is_saved_up_to_a_burst() {
        let mut share = Share::default();
        assert_eq!(share.room(at(0)), ROOM);
        share.used(ROOM);
        assert_eq!(share.room(at(0)), 0);
        assert_eq!(share.room(at(30)), 10);
        assert_eq!(share.room(at(60)), 20, "saved");
        share.used(20);
        assert_eq!(share.room(at(3_600_000_000)), ROOM, "and no more");
    }
}
