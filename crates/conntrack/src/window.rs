//! What each side of a TCP connection said last: the values kept for CT-46.
//!
//! One atomic word per side and purpose, no lock. A word is written by the packets of its own side only and read by
//! judgements on the other side, and each judgement needs one word of each kind; so there is nothing that could be seen
//! half changed. Acknowledgement and window share a word because they bound one interval together.

use std::num::NonZeroU64;
use std::sync::atomic::Ordering;

use palisade_packet::{IpPacket, Tcp, TcpFlags, Transport};
use serde::{Deserialize, Serialize};

use crate::state::{Side, State};
use crate::sync::AtomicU64;

const PRESENT: u64 = 1 << 63;
/// Of an opening: it carried a scale.
const SCALED: u64 = 1 << 40;
/// Of an acknowledgement: the window is as it stood in the segment, to be scaled by whoever reads it.
const UNSCALED: u64 = 1 << 62;

/// Bits of a window in bytes: 65,535 shifted by 14 fit.
const WINDOW: u32 = (1 << 30) - 1;

/// The SYN or SYN+ACK of one side.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Opening {
    /// Its sequence number.
    pub sequence: u32,
    /// Its window scale option (RFC 7323), 0 to 14.
    pub scale: Option<u8>,
}

/// The newest acknowledgement of one side.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Acknowledged {
    /// The ACK value.
    pub value: u32,
    /// The window in bytes, scaled; less than 2^30.
    pub window: u32,
}

/// The values of both sides.
#[derive(Default)]
pub(crate) struct Windows {
    originator: Cells,
    responder: Cells,
}

impl Windows {
    /// Reads the cells that nearly every segment writes.
    pub(crate) fn load(&self) -> u64 {
        let cells = [&self.originator.acknowledged, &self.responder.acknowledged];
        cells.into_iter().fold(0, |loaded, cell| loaded ^ cell.load(Ordering::Relaxed))
    }

    /// The newest SYN of `side`.
    pub(crate) fn opening(&self, side: Side) -> Option<Opening> {
        unpack_opening(self.of(side).opening.load(Ordering::Relaxed))
    }

    /// The newest acknowledgement of `side`.
    pub(crate) fn acknowledged(&self, side: Side) -> Option<Acknowledged> {
        let word = self.of(side).acknowledged.load(Ordering::Relaxed);
        let mut acknowledged = unpack_acknowledged(word)?;
        if word & UNSCALED != 0 {
            acknowledged.window <<= self.shift(side);
        }
        Some(acknowledged)
    }

    /// Notes what a segment of `side` says that met the entry in `state` and passed.
    ///
    /// The SYN of a side is its newest one of the handshake: a host that tries again with another sequence number means
    /// that one. Later SYNs (CT-45 on a live entry, a stray SYN+ACK) leave sequence number and scale alone.
    #[inline]
    pub(crate) fn note(&self, side: Side, state: State, tcp: &Tcp) {
        let is_syn = tcp.flags.contains(TcpFlags::SYN);
        if is_syn && state.is_handshake() {
            self.set_opening(side, Opening { sequence: tcp.sequence, scale: tcp.window_scale });
        }
        if tcp.flags.contains(TcpFlags::ACK) && !tcp.flags.contains(TcpFlags::RST) {
            // The window of a SYN is never scaled; that of others is by the few that read it, not by the many that write it.
            let scaling = if is_syn { 0 } else { UNSCALED };
            store(&self.of(side).acknowledged, scaling | acknowledgement(tcp));
        }
    }

    /// Notes what a segment of `side` says, like [`Windows::note`].
    #[inline]
    pub(crate) fn hear(&self, side: Side, said: Said) {
        if let Said(Some(word)) = said {
            store(&self.of(side).acknowledged, word.get());
        }
    }

    pub(crate) fn set_opening(&self, side: Side, opening: Opening) {
        store(&self.of(side).opening, pack_opening(opening));
    }

    pub(crate) fn set_acknowledged(&self, side: Side, acknowledged: Acknowledged) {
        store(&self.of(side).acknowledged, pack_acknowledged(acknowledged));
    }

    /// The scale of `side`, in force only if both SYNs carried one (CT-46), as far as they have been seen by now.
    fn shift(&self, side: Side) -> u8 {
        let scale = |side| self.opening(side).and_then(|opening| opening.scale);
        scale(side.other()).and(scale(side)).unwrap_or(0)
    }

    const fn of(&self, side: Side) -> &Cells {
        match side {
            Side::Originator => &self.originator,
            Side::Responder => &self.responder,
        }
    }
}

/// What an ordinary packet says of the side that sent it, worked out once for the entries at both ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Said(Option<NonZeroU64>);

impl Said {
    /// `None`: it says more than an acknowledgement, or one that does not count.
    #[must_use]
    #[inline]
    pub fn of(packet: &IpPacket) -> Option<Self> {
        let Transport::Tcp(tcp) = &packet.transport else { return Some(Self(None)) };
        let moving = TcpFlags::SYN.with(TcpFlags::FIN).with(TcpFlags::RST);
        let is_plain = tcp.flags.0 & moving.with(TcpFlags::ACK).0 == TcpFlags::ACK.0;
        is_plain.then(|| Self(NonZeroU64::new(UNSCALED | acknowledgement(tcp))))
    }
}

#[derive(Default)]
struct Cells {
    opening: AtomicU64,
    acknowledged: AtomicU64,
}

/// Writes only what differs: most segments of a bulk transfer repeat what the last one of their side said.
fn store(cell: &AtomicU64, word: u64) {
    if cell.load(Ordering::Relaxed) != word {
        cell.store(word, Ordering::Relaxed);
    }
}

fn pack_opening(opening: Opening) -> u64 {
    let scale = opening.scale.map_or(0, |scale| SCALED | u64::from(scale.min(14)) << 32);
    PRESENT | scale | u64::from(opening.sequence)
}

fn unpack_opening(word: u64) -> Option<Opening> {
    let [scale, ..] = high(word).to_le_bytes();
    let scale = (word & SCALED != 0).then_some(scale);
    (word & PRESENT != 0).then_some(Opening { sequence: low(word), scale })
}

/// What a segment acknowledges, with its window as it stands there.
fn acknowledgement(tcp: &Tcp) -> u64 {
    pack_acknowledged(Acknowledged { value: tcp.acknowledgement, window: tcp.window.into() })
}

fn pack_acknowledged(acknowledged: Acknowledged) -> u64 {
    PRESENT | u64::from(acknowledged.window & WINDOW) << 32 | u64::from(acknowledged.value)
}

fn unpack_acknowledged(word: u64) -> Option<Acknowledged> {
    let window = high(word) & WINDOW;
    (word & PRESENT != 0).then_some(Acknowledged { value: low(word), window })
}

fn low(word: u64) -> u32 {
    u32::try_from(word & 0xffff_ffff).expect("masked to 32 bits")
}

fn high(word: u64) -> u32 {
    u32::try_from(word >> 32).expect("a u64 shifted by 32 fits in 32 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back() {
        for scale in [None, Some(0), Some(14)] {
            let opening = Opening { sequence: u32::MAX, scale };
            assert_eq!(unpack_opening(pack_opening(opening)), Some(opening));
        }
        let acknowledged = Acknowledged { value: u32::MAX, window: 65_535 << 14 };
        assert_eq!(unpack_acknowledged(pack_acknowledged(acknowledged)), Some(acknowledged));
        assert_eq!((unpack_opening(0), unpack_acknowledged(0)), (None, None));
    }
}
