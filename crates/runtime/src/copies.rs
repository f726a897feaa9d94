//! Mirror copies on their way out, after the production packets of a burst (TM-45).
//!
//! Copies are made out of the frames of the burst, which are still there, in portions that a port is handed in one call; so
//! they take the memory of one portion, however many there are. Owned by one worker.

use std::time::Duration;

use palisade_conntrack::Instant;
use palisade_engine::{Copied, Counters, DropReason, Tapped};
use palisade_io::Outgoing;
use palisade_packet::VnetHeader;
use palisade_policy::MirrorKey;

use crate::outlet::Place;
use crate::registry::{PortTable, reason};
use crate::status::Traffic;

/// Copies that may be made on account of one burst at the most; what is owed beyond is dropped, and counted, so that the next
/// burst does not wait for longer than a millisecond or so.
pub(crate) const ROOM: u32 = 512;
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

/// Bounds what copies take of a worker's time, however many are owed and whatever one takes: packets keep three fifths of it
/// (TM-45). What was not used is saved up, as far as one burst has a use for it.
#[derive(Debug)]
pub(crate) struct Share {
    /// Nanoseconds that copies may take up, at their pace.
    saved: u64,
    /// Up to when time has been counted.
    counted: Instant,
    /// Time in which one copy may be made in the long run, in nanoseconds: what a copy has taken of late, and half as much again
    /// as that for packets.
    pace: u64,
}

impl Default for Share {
    fn default() -> Self {
        Self { saved: u64::from(ROOM) * Self::FIRST, counted: Instant::from_nanos(0), pace: Self::FIRST }
    }
}

impl Share {
    /// Pace before anything has been measured.
    const FIRST: u64 = 3_000;
    /// Bounds of the pace: of a copy into nowhere, and of one made while somebody else had the CPU.
    const FASTEST: u64 = 500;
    const SLOWEST: u64 = 50_000;
    /// Copies whose time counts as much as all that went before.
    const MEMORY: u64 = 256;

    /// How many copies may be made now.
    pub(crate) fn room(&mut self, now: Instant) -> u32 {
        let passed = now.as_nanos().saturating_sub(self.counted.as_nanos());
        self.counted = now;
        self.saved = self.saved.saturating_add(passed).min(u64::from(ROOM) * self.pace);
        u32::try_from(self.saved / self.pace).unwrap_or(ROOM)
    }

    /// So many have been made, in so much time.
    pub(crate) fn used(&mut self, copies: u32, time: Duration) {
        let copies = u64::from(copies);
        if copies == 0 {
            return;
        }
        self.saved = self.saved.saturating_sub(copies * self.pace);
        let each = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX) / copies;
        let pace = (each.saturating_mul(5) / 2).clamp(Self::FASTEST, Self::SLOWEST);
        self.pace = (self.pace * Self::MEMORY + pace * copies) / (Self::MEMORY + copies);
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
    fn in_the_long_run_packets_keep_three_fifths_whatever_a_copy_takes() {
        for each in [1_u64, 2, 10] {
            let (mut share, mut now, mut copying) = (Share::default(), 0, 0);
            while now < 1_000_000 {
                now += 100;
                let room = share.room(at(now));
                let time = u64::from(room) * each;
                share.used(room, Duration::from_micros(time));
                now += time;
                copying += time;
            }
            let percent = copying * 100 / now;
            assert!((38..=42).contains(&percent), "{percent} % at {each} us a copy");
        }
    }

    #[test]
    fn what_is_not_used_is_saved_up_to_a_burst() {
        let mut share = Share::default();
        let time = |copies: u32| Duration::from_nanos(u64::from(copies) * Share::FIRST * 2 / 5);
        assert_eq!(share.room(at(0)), ROOM);
        share.used(ROOM, time(ROOM));
        assert_eq!(share.room(at(0)), 0);
        assert_eq!(share.room(at(30)), 10);
        assert_eq!(share.room(at(60)), 20, "saved");
        share.used(20, time(20));
        assert_eq!(share.room(at(3_600_000_000)), ROOM, "and no more");
    }

    #[test]
    fn a_moment_without_a_cpu_does_not_end_copying() {
        let mut share = Share::default();
        share.used(10, Duration::from_secs(1));
        assert!(share.pace <= 5_000, "{}", share.pace);
        assert_eq!(share.room(at(1_000_000)), ROOM);
    }
}
