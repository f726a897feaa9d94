//! One entry, shared by the map, the timer and whoever holds a handle on it.
//!
//! *Who changes what.* The state word ([`crate::word`]) decides everything that must be decided once: who moves the
//! state, who refreshes, who kills. The other cells are single words that follow it:
//!
//! - the idle times are written after the word and only when the ENI's setting has changed (CT-25). A reader in between
//!   sees the old value with the new stamp, at which no entry is idle;
//! - the values for CT-46 have one writing side each ([`crate::window`]);
//! - `armed` is the time of the one timer handle that counts, changed under the timer's lock only.
//!
//! *The timer never misses an entry.* A refresh writes the word, then reads `armed`, and arms anew if its deadline is
//! earlier. The timer, on visiting a handle, writes `armed`, then reads the word again. All four are sequentially
//! consistent, so at least one of the two sees the other.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use palisade_packet::{Direction, IpPacket, Transport};

use crate::instance::Instance;
use crate::key::{KeptKey, Key};
use crate::opener::{Admission, Opener};
use crate::owner::TimeOuts;
use crate::plan::Rights;
use crate::state::{Kind, Side, State, TimeOutClass};
use crate::step::{Step, step};
use crate::sync::{AtomicU32, AtomicU64};
use crate::time::{Instant, nanos};
use crate::window::{Said, Windows};
use crate::word::{StateWord, Word};

/// Longer time-outs count as this one, 1.1 years: half of what stamps can tell apart.
pub(crate) const MAX_TIME_OUT: u64 = 1 << 55;

/// A tracked flow at one ENI.
pub(crate) struct Conn {
    key: KeptKey,
    word: StateWord,
    /// In hundredths of a second, which [`MAX_TIME_OUT`] does not exceed.
    time_outs: [AtomicU32; 2],
    armed: AtomicU64,
    /// Nanoseconds, before zero (wrapped) after an import.
    created: u64,
    windows: Windows,
    originator: Traffic,
    responder: Traffic,
    instance: Arc<Instance>,
    admission: Admission,
    origin: Direction,
    opener: Opener,
}

/// Diagnostic only (CT-6).
#[derive(Default)]
pub(crate) struct Traffic {
    pub(crate) packets: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

impl Traffic {
    pub(crate) fn add(&self, packets: u64, bytes: u64) {
        self.packets.fetch_add(packets, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// What came of offering a packet to an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Offer {
    /// It belongs to the flow and has done what it does (possibly nothing, [`Step::Ignore`]).
    Taken,
    /// The entry is dead or idle for too long.
    Gone,
    /// The packet wants the entry replaced (CT-45).
    Replace,
    /// The packet would change the state, which this caller does not want.
    Moves,
}

/// What the timer finds.
pub(crate) enum Expiry {
    /// Somebody else killed it.
    Dead,
    /// Killed by this call.
    Killed,
    /// Alive until then, if nothing happens.
    Until(Instant),
}

/// The parts of an entry that its creator chooses.
pub(crate) struct Birth {
    pub(crate) key: Key,
    pub(crate) origin: Direction,
    pub(crate) word: Word,
    pub(crate) time_outs: [u64; 2],
    /// Nanoseconds, wrapped if before zero.
    pub(crate) created: u64,
    pub(crate) opener: Opener,
    /// Stamp of the policy that admitted it, if one of this process did.
    pub(crate) admitted_by: Option<u64>,
}

impl Conn {
    pub(crate) fn new(birth: &Birth, instance: Arc<Instance>) -> Self {
        Self {
            key: KeptKey::of(&birth.key),
            word: StateWord::new(birth.word),
            time_outs: birth.time_outs.map(|nanos| AtomicU32::new(hundredths(nanos))),
            armed: AtomicU64::new(u64::MAX),
            created: birth.created,
            windows: Windows::default(),
            originator: Traffic::default(),
            responder: Traffic::default(),
            instance,
            admission: Admission::new(birth.admitted_by),
            origin: birth.origin,
            opener: birth.opener,
        }
    }

    /// The entry that `packet` opens.
    pub(crate) fn open(
        (rights, origin): (Rights, Direction),
        packet: &IpPacket,
        (time_outs, instance): (&TimeOuts, Arc<Instance>),
        now: Instant,
    ) -> Self {
        let state = opening_state(packet);
        let birth = Birth {
            key: rights.key,
            origin,
            word: Word::idle_for(state, now, 0),
            time_outs: configured(state.kind(), time_outs),
            created: now.as_nanos(),
            opener: Opener::of(packet, rights.referenced),
            admitted_by: rights.admitted_by,
        };
        let conn = Self::new(&birth, instance);
        conn.note(Side::Originator, state, packet);
        conn
    }

    /// Lets a packet that has passed all filters act on the entry (CT-39a, CT-7).
    ///
    /// The step is worked out anew on each attempt from the state as it then is, so that packets of both directions
    /// compose in whichever order their compare-and-swaps succeed.
    pub(crate) fn offer(
        self: &Arc<Self>,
        direction: Direction,
        packet: &IpPacket,
        time_outs: &TimeOuts,
        now: Instant,
    ) -> Offer {
        self.offer_if(|_, _| true, (direction, packet), time_outs, now).err().unwrap_or(Offer::Taken)
    }

    /// Like [`Conn::offer`] for packets that leave the state as it is, and returns the word that it left; others do
    /// nothing.
    pub(crate) fn offer_steady(
        self: &Arc<Self>,
        direction: Direction,
        packet: &IpPacket,
        time_outs: &TimeOuts,
        now: Instant,
    ) -> Option<Word> {
        self.offer_if(|from, to| from == to, (direction, packet), time_outs, now).ok()
    }

    /// Offers a packet like an earlier one that left the state as `left`; false, and nothing has been done, unless the
    /// entry is in that state and has been seen at just this time. Then there is only what a segment says to note.
    #[inline]
    pub(crate) fn offer_again(&self, left: u8, direction: Direction, said: Said, now: Instant) -> bool {
        let stands = self.word.load() == Word::stamped(left, now);
        if stands {
            self.windows.hear(self.side(direction), said);
        }
        stands
    }

    /// The word that was left, or why nothing was done.
    fn offer_if(
        self: &Arc<Self>,
        accept: fn(State, State) -> bool,
        (direction, packet): (Direction, &IpPacket),
        time_outs: &TimeOuts,
        now: Instant,
    ) -> Result<Word, Offer> {
        let side = self.side(direction);
        let mut seen = self.word.load();
        let (from, left) = loop {
            if !self.lives(seen, now) {
                return Err(Offer::Gone);
            }
            let from = seen.state();
            let to = match step(from, side, packet, &self.windows) {
                Step::To(to) => to,
                Step::Ignore => return Ok(seen),
                Step::Replace => return Err(Offer::Replace),
            };
            if !accept(from, to) {
                return Err(Offer::Moves);
            }
            // Before the word: who sees a segment's state may judge a reset by what the segment said (CT-46).
            self.note(side, from, packet);
            match self.word.refresh(seen, to, now) {
                Ok(left) => break (from, left),
                Err(changed) => seen = changed,
            }
        };
        self.set_time_outs(from.kind(), time_outs);
        self.arm(now);
        Ok(left)
    }

    /// Reads the cells that packets write and read.
    pub(crate) fn load(&self) -> u64 {
        let [first, second] = &self.time_outs;
        let [first, second] = [first, second].map(|cell| u64::from(cell.load(Ordering::Relaxed)));
        let armed = self.armed.load(Ordering::Relaxed);
        self.word.load().bits() ^ armed ^ first ^ second ^ self.windows.load()
    }

    /// What a packet would do now; `None` if the entry is gone.
    pub(crate) fn preview(&self, direction: Direction, packet: &IpPacket, now: Instant) -> Option<Step> {
        let seen = self.word.load();
        self.lives(seen, now).then(|| step(seen.state(), self.side(direction), packet, &self.windows))
    }

    pub(crate) fn is_alive(&self, now: Instant) -> bool {
        self.lives(self.word.load(), now)
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.word.load().is_dead()
    }

    /// Kills the entry if it has been idle for too long.
    pub(crate) fn expire(&self, now: Instant) -> Expiry {
        loop {
            let seen = self.word.load();
            if seen.is_dead() {
                return Expiry::Dead;
            }
            if self.lives(seen, now) {
                return Expiry::Until(self.deadline(seen, now));
            }
            if self.word.kill(seen).is_ok() {
                return Expiry::Killed;
            }
        }
    }

    /// Kills the entry whatever its state; true for the one caller that did it.
    pub(crate) fn kill(&self) -> bool {
        self.kill_if(|_| true)
    }

    /// Kills the entry if a SYN may take its place (CT-45); true for the one caller that did it.
    pub(crate) fn kill_reusable(&self) -> bool {
        self.kill_if(State::is_reusable)
    }

    fn kill_if(&self, wanted: fn(State) -> bool) -> bool {
        loop {
            let seen = self.word.load();
            if seen.is_dead() || !wanted(seen.state()) {
                return false;
            }
            if self.word.kill(seen).is_ok() {
                return true;
            }
        }
    }

    /// Makes sure that the timer visits the entry no later than it can expire.
    pub(crate) fn arm(self: &Arc<Self>, now: Instant) {
        if self.due(now) < self.armed() {
            self.instance.arm(self, now);
        }
    }

    /// When the entry expires if nothing happens.
    pub(crate) fn due(&self, now: Instant) -> Instant {
        self.deadline(self.word.load(), now)
    }

    pub(crate) fn armed(&self) -> Instant {
        Instant::from_nanos(self.armed.load(Ordering::SeqCst))
    }

    /// For the timer, under its lock.
    pub(crate) fn set_armed(&self, at: Instant) {
        self.armed.store(at.as_nanos(), Ordering::SeqCst);
    }

    pub(crate) fn key(&self) -> Key {
        self.key.key()
    }

    pub(crate) const fn origin(&self) -> Direction {
        self.origin
    }

    pub(crate) const fn opener(&self) -> Opener {
        self.opener
    }

    pub(crate) const fn admission(&self) -> &Admission {
        &self.admission
    }

    pub(crate) const fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }

    pub(crate) const fn windows(&self) -> &Windows {
        &self.windows
    }

    pub(crate) fn state(&self) -> State {
        self.word.load().state()
    }

    /// State and nanoseconds since the last packet, read together; `None` if the entry is gone.
    pub(crate) fn look(&self, now: Instant) -> Option<(State, u64)> {
        let seen = self.word.load();
        self.lives(seen, now).then(|| (seen.state(), seen.idle(now)))
    }

    /// Nanoseconds since the entry was made.
    pub(crate) fn age(&self, now: Instant) -> u64 {
        now.as_nanos().wrapping_sub(self.created).cast_signed().max(0).cast_unsigned()
    }

    /// The idle time allowed in `state`, in nanoseconds.
    pub(crate) fn time_out(&self, state: State) -> u64 {
        match state.time_out() {
            TimeOutClass::Fixed(seconds) => seconds * 1_000_000_000,
            TimeOutClass::First => self.time_outs()[0],
            TimeOutClass::Second => self.time_outs()[1],
        }
    }

    pub(crate) fn time_outs(&self) -> [u64; 2] {
        self.time_outs.each_ref().map(|cell| u64::from(cell.load(Ordering::SeqCst)) * HUNDREDTH)
    }

    pub(crate) const fn traffic(&self, side: Side) -> &Traffic {
        match side {
            Side::Originator => &self.originator,
            Side::Responder => &self.responder,
        }
    }

    pub(crate) fn side(&self, direction: Direction) -> Side {
        if direction == self.origin { Side::Originator } else { Side::Responder }
    }

    /// CT-39a: at the time-out the entry is gone.
    fn lives(&self, seen: Word, now: Instant) -> bool {
        !seen.is_dead() && seen.idle(now) < self.time_out(seen.state())
    }

    fn deadline(&self, seen: Word, now: Instant) -> Instant {
        let left = self.time_out(seen.state()).cast_signed() - seen.idle(now).cast_signed();
        Instant::from_nanos(now.as_nanos().saturating_add_signed(left))
    }

    fn note(&self, side: Side, state: State, packet: &IpPacket) {
        if let Transport::Tcp(tcp) = &packet.transport {
            self.windows.note(side, state, tcp);
        }
    }

    fn set_time_outs(&self, kind: Kind, time_outs: &TimeOuts) {
        let wanted = configured(kind, time_outs).map(hundredths);
        for (cell, hundredths) in self.time_outs.iter().zip(wanted) {
            if cell.load(Ordering::Relaxed) != hundredths {
                cell.store(hundredths, Ordering::SeqCst);
            }
        }
    }
}

/// Nanoseconds of the unit in which entries keep their idle times.
const HUNDREDTH: u64 = 10_000_000;

/// Rounded up: no entry ends early.
fn hundredths(nanos: u64) -> u32 {
    u32::try_from(nanos.div_ceil(HUNDREDTH)).unwrap_or(u32::MAX)
}

const fn opening_state(packet: &IpPacket) -> State {
    match packet.transport {
        Transport::Tcp(_) => State::SynSent,
        Transport::Udp { .. } => State::UdpAsked,
        Transport::Icmp(_) => State::IcmpQuery,
        _ => State::Other,
    }
}

/// The two idle times that an entry of this kind keeps.
fn configured(kind: Kind, time_outs: &TimeOuts) -> [u64; 2] {
    let (first, second) = match kind {
        Kind::Tcp => (nanos(time_outs.tcp_established), 0),
        Kind::Udp => (nanos(time_outs.udp), nanos(time_outs.udp_stream)),
        Kind::Icmp | Kind::Other => (0, 0),
    };
    [first.min(MAX_TIME_OUT), second.min(MAX_TIME_OUT)]
}

#[cfg(test)]
#[cfg(palisade_loom)]
#[path = "conn_models.rs"]
pub(crate) mod models;

#[cfg(test)]
#[cfg(not(palisade_loom))]
mod tests {
    use super::*;

    #[test]
    fn memory_per_entry_is_bounded() {
        // With two counts before it and a word of the allocator's: 160.
        assert!(size_of::<Conn>() <= 136, "an entry takes {} bytes", size_of::<Conn>());
    }

    #[test]
    fn idle_times_are_kept_exactly_but_for_less_than_a_hundredth_of_a_second() {
        for (nanos, kept) in
            [(0, 0), (1, HUNDREDTH), (HUNDREDTH, HUNDREDTH), (30_000_000_000, 30_000_000_000)]
        {
            assert_eq!(u64::from(hundredths(nanos)) * HUNDREDTH, kept);
        }
        assert!(u64::from(hundredths(MAX_TIME_OUT)) * HUNDREDTH >= MAX_TIME_OUT);
    }
}
