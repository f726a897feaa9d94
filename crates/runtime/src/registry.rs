//! The ports: an immutable table for the workers, and the counters of each port.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use foldhash::fast::RandomState;
use palisade_engine::DropReason;
use palisade_io::{Capabilities, Transmit, TransmitError};
use palisade_policy::PortKey;

use crate::status::{PortDrops, PortValues, Traffic};

/// All ports of one moment. Workers hold it for at least a burst, so that places in it are good for a burst.
#[derive(Debug, Default)]
pub(crate) struct PortTable {
    places: HashMap<PortKey, usize, RandomState>,
    ports: Vec<Arc<PortState>>,
}

impl PortTable {
    /// A table of these ports.
    pub(crate) fn new(ports: Vec<Arc<PortState>>) -> Self {
        let places = ports.iter().enumerate().map(|(at, port)| (port.key, at)).collect();
        Self { places, ports }
    }

    /// The place of a port.
    pub(crate) fn place(&self, key: PortKey) -> Option<usize> {
        self.places.get(&key).copied()
    }

    /// The port at a place.
    pub(crate) fn at(&self, place: usize) -> Option<&PortState> {
        self.ports.get(place).map(Arc::as_ref)
    }

    /// How many ports there are.
    pub(crate) fn len(&self) -> usize {
        self.ports.len()
    }
}

/// What is shared of a port: everything but its receive half, which one worker owns.
pub(crate) struct PortState {
    pub(crate) key: PortKey,
    pub(crate) name: String,
    pub(crate) transmit: Arc<dyn Transmit>,
    pub(crate) can: Capabilities,
    pub(crate) counters: PortCounters,
    up: AtomicBool,
}

impl PortState {
    pub(crate) fn new(key: PortKey, name: String, transmit: Arc<dyn Transmit>) -> Self {
        let can = transmit.capabilities();
        Self { key, name, transmit, can, counters: PortCounters::default(), up: AtomicBool::new(true) }
    }

    /// Whether frames can be received, as far as is known.
    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Relaxed)
    }

    /// Notes whether frames can be received; returns what was so before.
    pub(crate) fn set_up(&self, up: bool) -> bool {
        self.up.swap(up, Relaxed)
    }
}

impl std::fmt::Debug for PortState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PortState").field("key", &self.key).field("name", &self.name).finish_non_exhaustive()
    }
}

/// Counters of one port. Several workers may send by one port: each adds once per burst, with a locked instruction.
#[derive(Debug, Default)]
pub(crate) struct PortCounters {
    received: TrafficCounters,
    sent: TrafficCounters,
    dropped: [AtomicU64; 3],
    unread: AtomicU64,
}

#[derive(Debug, Default)]
struct TrafficCounters {
    packets: AtomicU64,
    frames: AtomicU64,
    bytes: AtomicU64,
}

impl PortCounters {
    pub(crate) fn received(&self, traffic: &Traffic) {
        self.received.add(traffic);
    }

    pub(crate) fn sent(&self, traffic: &Traffic) {
        self.sent.add(traffic);
    }

    pub(crate) fn dropped(&self, why: TransmitError, packets: u32) {
        self.dropped[place(why)].fetch_add(packets.into(), Relaxed);
    }

    pub(crate) fn unread(&self, frames: u64) {
        self.unread.fetch_add(frames, Relaxed);
    }

    pub(crate) fn values(&self) -> PortValues {
        let dropped = |why| self.dropped[place(why)].load(Relaxed);
        PortValues {
            received: self.received.values(),
            sent: self.sent.values(),
            dropped: PortDrops {
                full: dropped(TransmitError::Full),
                down: dropped(TransmitError::Down),
                refused: dropped(TransmitError::Refused),
            },
            unread: self.unread.load(Relaxed),
        }
    }
}

impl TrafficCounters {
    fn add(&self, traffic: &Traffic) {
        self.packets.fetch_add(traffic.packets, Relaxed);
        self.frames.fetch_add(traffic.frames, Relaxed);
        self.bytes.fetch_add(traffic.bytes, Relaxed);
    }

    fn values(&self) -> Traffic {
        Traffic {
            packets: self.packets.load(Relaxed),
            frames: self.frames.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
        }
    }
}

/// The reason under which the engine's counters know a failure to send.
pub(crate) const fn reason(why: TransmitError) -> DropReason {
    match why {
        TransmitError::Full => DropReason::PortFull,
        TransmitError::Down => DropReason::PortDown,
        TransmitError::Refused => DropReason::PortRefused,
    }
}

const fn place(why: TransmitError) -> usize {
    match why {
        TransmitError::Full => 0,
        TransmitError::Down => 1,
        TransmitError::Refused => 2,
    }
}
