//! The frames of one burst, in memory that is allocated once and filled from the start again each time.
//!
//! Owned by one worker. Frames lie one behind the other, so a burst of small frames stays in the first-level cache
//! and a burst of 64 KB frames in the second: more than about 256 KB at a time makes bulk traffic slower.

use palisade_packet::VnetHeader;

/// Longest frame that a port carries, in bytes: an IP packet of 65,535 bytes behind an Ethernet header and a VLAN tag.
pub const MAX_FRAME: usize = 65_535 + 14 + 4;

/// Distance of two frames whose lengths are not known before they arrive. More than [`MAX_FRAME`], so that a longer
/// frame shows; not a power of two, so that the starts of frames fall into different cache sets.
pub(crate) const SLOT: usize = 65_536 + 256;

const ALIGNMENT: usize = 64;

/// What a port says about a frame that it received.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FrameInfo {
    /// The virtio-net header as the guest or its kernel gave it: hostile, see [`VnetHeader::check`].
    pub vnet: VnetHeader,
    /// Whether the frame had a VLAN tag that the kernel took out of it.
    pub vlan: bool,
    /// Whether the frame is incomplete: longer than [`MAX_FRAME`], or not deliverable with a virtio-net header.
    pub truncated: bool,
}

/// Received frames, at most [`Burst::MAX_FRAMES`] of them and about [`Burst::MAX_BYTES`] bytes.
pub struct Burst {
    memory: Box<[u8]>,
    frames: Vec<Record>,
    end: usize,
    bytes: usize,
}

struct Record {
    start: usize,
    len: usize,
    info: FrameInfo,
}

impl Burst {
    /// Most frames in a burst.
    pub const MAX_FRAMES: usize = 64;

    /// Bytes after which no further frame is added. The last one may pass the bound, and so may the first burst after
    /// a change from small frames to large ones.
    pub const MAX_BYTES: usize = 256 * 1024;

    /// An empty burst. Its memory is reserved here and taken page by page as frames arrive.
    #[must_use]
    pub fn new() -> Self {
        Self {
            memory: vec![0; Self::MAX_FRAMES * SLOT].into_boxed_slice(),
            frames: Vec::with_capacity(Self::MAX_FRAMES),
            end: 0,
            bytes: 0,
        }
    }

    /// Forgets the frames and starts again with the memory used last, which is warm.
    pub fn clear(&mut self) {
        self.frames.clear();
        self.end = 0;
        self.bytes = 0;
    }

    /// Number of frames.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there is no frame.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Sum of the frames' lengths.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether one of the two bounds is reached.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() >= Self::MAX_FRAMES || self.bytes >= Self::MAX_BYTES || self.memory.len() - self.end < SLOT
    }

    /// A frame and what was said about it.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<(&[u8], FrameInfo)> {
        let record = self.frames.get(index)?;
        Some((&self.memory[record.start..][..record.len], record.info))
    }

    /// A frame, to be edited in place.
    #[must_use]
    pub fn get_mut(&mut self, index: usize) -> Option<(&mut [u8], FrameInfo)> {
        let record = self.frames.get(index)?;
        Some((&mut self.memory[record.start..][..record.len], record.info))
    }

    /// The frames in order of arrival.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], FrameInfo)> {
        let memory = &self.memory;
        self.frames.iter().map(move |record| (&memory[record.start..][..record.len], record.info))
    }

    /// The frames in order of arrival, to be edited in place; all of them may be held at the same time.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = (&mut [u8], FrameInfo)> {
        let mut rest = &mut self.memory[..];
        let mut consumed = 0;
        self.frames.iter().map(move |record| {
            let (_, tail) = std::mem::take(&mut rest).split_at_mut(record.start - consumed);
            let (frame, tail) = tail.split_at_mut(record.len);
            rest = tail;
            consumed = record.start + record.len;
            (frame, record.info)
        })
    }

    /// Adds a copy of a frame. For ports that do not read from the kernel, such as those of tests. Returns whether
    /// there was room.
    pub fn push(&mut self, frame: &[u8], info: FrameInfo) -> bool {
        if self.is_full() || frame.len() > SLOT {
            return false;
        }
        self.space()[..frame.len()].copy_from_slice(frame);
        self.commit(frame.len(), info);
        true
    }

    /// Memory behind the last frame, at least [`SLOT`] bytes unless the burst is full.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        &mut self.memory[self.end..]
    }

    /// Makes a frame of the first `len` bytes of what [`Burst::space`] returned.
    pub(crate) fn commit(&mut self, len: usize, info: FrameInfo) {
        self.commit_at(self.end, len, info);
    }

    /// Makes a frame of `len` bytes at `start`, which is not before the end of the last frame.
    pub(crate) fn commit_at(&mut self, start: usize, len: usize, info: FrameInfo) {
        debug_assert!(start >= self.end, "frames do not overlap");
        self.end = (start + len).next_multiple_of(ALIGNMENT).min(self.memory.len());
        self.bytes += len;
        self.frames.push(Record { start, len, info });
    }
}

impl Default for Burst {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_apart_and_keep_their_order() {
        let mut burst = Burst::new();
        for byte in 0..64u8 {
            assert!(burst.push(&vec![byte; 60 + usize::from(byte)], FrameInfo::default()));
        }
        assert!(burst.is_full());
        assert!(!burst.push(&[0; 60], FrameInfo::default()), "a 65th frame is refused");
        let frames: Vec<_> = burst.iter_mut().collect();
        for (byte, (frame, _)) in (0..64u8).zip(&frames) {
            assert_eq!(**frame, vec![byte; 60 + usize::from(byte)]);
        }
    }

    #[test]
    fn a_burst_is_bounded_by_bytes() {
        let mut burst = Burst::new();
        let mut count = 0;
        while burst.push(&vec![7; 65_000], FrameInfo::default()) {
            count += 1;
        }
        assert_eq!(count, 5, "the frame that passes 256 KB is the last");
        burst.clear();
        assert!(burst.is_empty());
        assert!(burst.push(&[1, 2, 3], FrameInfo::default()));
        assert_eq!(burst.get(0).map(|(frame, _)| frame), Some(&[1, 2, 3][..]));
    }
}
