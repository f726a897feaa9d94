//! Marker frames: no guest sends them, no two are the same.

use std::sync::atomic::{AtomicU64, Ordering};

/// An Ethernet type for local experiments (IEEE 802), which no scenario's world lets pass.
const HEAD: [u8; 14] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 0, 0x88, 0xb5];
const LEN: usize = 60;

/// A marker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Marker(u64);

impl Marker {
    /// A marker that was never sent before.
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// The Ethernet frame.
    pub(super) fn frame(self) -> [u8; LEN] {
        let mut frame = [0; LEN];
        frame[..HEAD.len()].copy_from_slice(&HEAD);
        frame[HEAD.len()..HEAD.len() + 8].copy_from_slice(&self.0.to_be_bytes());
        frame
    }

    /// Whether a frame is this marker.
    pub(super) fn is(self, frame: &[u8]) -> bool {
        frame == self.frame()
    }
}
