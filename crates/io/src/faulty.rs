//! A wrapper that loses, doubles and reorders frames, the same ones for the same seed. For tests.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, PoisonError};

use palisade_packet::VnetHeader;

use crate::burst::{Burst, FrameInfo};
use crate::port::{Capabilities, Outgoing, Receive, Transmit, TransmitError};

/// What goes wrong, and how often: probabilities per frame, from 0 to 1.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Faults {
    /// Seed of the choices.
    pub seed: u64,
    /// A frame is lost. Nobody is told.
    pub loss: f64,
    /// A frame is delivered twice.
    pub duplication: f64,
    /// A frame changes places with the one behind it, however much later that comes.
    pub reordering: f64,
}

/// An end of a port with faults. A burst that is full loses what duplication has crowded out.
pub struct Faulty<T> {
    inner: T,
    staging: Burst,
    received: Mangler<FrameInfo>,
    transmitted: Mutex<Mangler<VnetHeader>>,
}

impl<T> Faulty<T> {
    /// Wraps an end of a port.
    pub fn new(inner: T, faults: Faults) -> Self {
        Self {
            inner,
            staging: Burst::new(),
            received: Mangler::new(faults),
            transmitted: Mutex::new(Mangler::new(faults)),
        }
    }
}

impl<T: Receive> Receive for Faulty<T> {
    fn receive(&mut self, burst: &mut Burst) -> io::Result<usize> {
        burst.clear();
        self.inner.receive(&mut self.staging)?;
        let frames = self.staging.iter().map(|(frame, info)| (info, frame));
        self.received.mangle(frames, |_, info, frame| {
            burst.push(frame, info);
        });
        Ok(burst.len())
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }

    fn lost(&mut self) -> u64 {
        self.inner.lost()
    }
}

impl<T: Transmit> Transmit for Faulty<T> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn transmit(&self, frames: &[Outgoing<'_>], failed: &mut dyn FnMut(usize, TransmitError)) {
        let mut mangler = self.transmitted.lock().unwrap_or_else(PoisonError::into_inner);
        let frames: Vec<_> = frames.iter().map(|outgoing| (outgoing.vnet, outgoing.whole())).collect();
        let frames = frames.iter().map(|(vnet, frame)| (*vnet, &**frame));
        mangler.mangle(frames, |index, vnet, frame| {
            self.inner.transmit(&[Outgoing::new(vnet, frame)], &mut |_, error| {
                if let Some(index) = index {
                    failed(index, error);
                }
            });
        });
    }
}

/// Decides the fate of frames, each with a header of type `H`.
struct Mangler<H> {
    faults: Faults,
    dice: u64,
    held: Option<(H, Vec<u8>)>,
}

impl<H: Copy> Mangler<H> {
    fn new(faults: Faults) -> Self {
        Self { faults, dice: faults.seed, held: None }
    }

    /// Hands over what is left of the frames. The index is given with a frame's first copy if it goes at once.
    fn mangle<'a>(
        &mut self,
        frames: impl Iterator<Item = (H, &'a [u8])>,
        mut emit: impl FnMut(Option<usize>, H, &[u8]),
    ) {
        for (index, (header, frame)) in frames.enumerate() {
            if self.happens(self.faults.loss) {
                continue;
            }
            if self.held.is_none() && self.happens(self.faults.reordering) {
                self.held = Some((header, frame.to_vec()));
                continue;
            }
            emit(Some(index), header, frame);
            if self.happens(self.faults.duplication) {
                emit(None, header, frame);
            }
            if let Some((header, frame)) = self.held.take() {
                emit(None, header, &frame);
            }
        }
    }

    fn happens(&mut self, probability: f64) -> bool {
        // The upper 53 bits, which a double holds exactly.
        #[expect(clippy::cast_precision_loss)]
        let roll = (self.roll() >> 11) as f64 / (1u64 << 53) as f64;
        roll < probability
    }

    /// `SplitMix64` (Steele, Lea and Flood, 2014).
    fn roll(&mut self) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.dice ^ (self.dice >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(faults: Faults, count: u16) -> Vec<u16> {
        let frames: Vec<_> = (0..count).map(u16::to_be_bytes).collect();
        let mut mangler = Mangler::new(faults);
        let mut seen = Vec::new();
        let frames = frames.iter().map(|frame| ((), &frame[..]));
        mangler.mangle(frames, |_, (), frame| seen.push(u16::from_be_bytes(frame.try_into().unwrap())));
        seen
    }

    #[test]
    fn without_faults_nothing_changes() {
        assert!(run(Faults::default(), 1000).into_iter().eq(0..1000));
    }

    #[test]
    fn each_fault_happens_as_often_as_asked() {
        let lost = 10_000 - run(Faults { seed: 1, loss: 0.1, ..Faults::default() }, 10_000).len();
        assert!((800..1200).contains(&lost), "{lost}");
        let doubled = run(Faults { seed: 1, duplication: 0.1, ..Faults::default() }, 10_000).len() - 10_000;
        assert!((800..1200).contains(&doubled), "{doubled}");
        let mixed = run(Faults { seed: 1, reordering: 0.1, ..Faults::default() }, 10_000);
        let swaps = mixed.windows(2).filter(|pair| pair[0] > pair[1]).count();
        assert!((700..1200).contains(&swaps), "{swaps}");
    }

    #[test]
    fn the_seed_decides() {
        let faults = |seed| Faults { seed, loss: 0.2, duplication: 0.2, reordering: 0.2 };
        assert_eq!(run(faults(7), 1000), run(faults(7), 1000));
        assert_ne!(run(faults(7), 1000), run(faults(8), 1000));
    }
}
