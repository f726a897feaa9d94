//! What the daemon shows of itself: values read from counters at one moment, ready to be serialised.

use std::ops::AddAssign;

use palisade_conntrack::ConnTotals;
use palisade_engine::{CounterValues, Holding};
use serde::Serialize;

use crate::laws::LawResult;

/// The state of the data plane at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct RuntimeStatus {
    /// The lowest generation that a worker forwards by.
    pub generation: u64,
    /// The generation published last; above [`Self::generation`] only while workers take it up.
    pub published_generation: u64,
    /// The workers, in the order of their numbers.
    pub workers: Vec<WorkerStatus>,
    /// The ports, in the order of their keys: ENIs, then services.
    pub ports: Vec<PortStatus>,
    /// Counters of all workers together.
    pub counters: CounterValues,
    /// Connection counts.
    pub connections: ConnTotals,
    /// Fragments that wait for their first one.
    pub holding: Holding,
}

/// One worker.
#[derive(Clone, Debug, Serialize)]
pub struct WorkerStatus {
    /// Name of its thread.
    pub name: String,
    /// Whether the thread runs.
    pub running: bool,
    /// The generation it forwards by.
    pub generation: u64,
    /// How many ports it receives from.
    pub ports: usize,
}

/// One port.
#[derive(Clone, Debug, Serialize)]
pub struct PortStatus {
    /// Name of the ENI or service; `None` if the published policy has none with this port's key any more.
    pub owner: Option<String>,
    /// Whether it belongs to a service rather than an ENI.
    pub service: bool,
    /// Name of the device.
    pub device: String,
    /// Whether frames can be received, as far as is known.
    pub up: bool,
    /// Name of the worker that receives from it.
    pub worker: String,
    /// Its counters.
    #[serde(flatten)]
    pub values: PortValues,
}

/// Counters of one port, or of several.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct PortValues {
    /// What came in by the port.
    pub received: Traffic,
    /// What went out by the port.
    pub sent: Traffic,
    /// Packets that should have gone out by the port and did not.
    pub dropped: PortDrops,
    /// Frames that the kernel dropped because they were not read in time, as far as it tells; they are in no other
    /// count. Asked for every second while the worker has work.
    pub unread: u64,
}

/// An amount of traffic.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Traffic {
    /// Packets on the wire: a segmentation-offload frame counts as the packets it stands for.
    pub packets: u64,
    /// Frames handed over, whole super-packets counting once.
    pub frames: u64,
    /// Bytes of those frames, Ethernet headers included.
    pub bytes: u64,
}

/// Packets that a device did not take, by reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct PortDrops {
    /// Its queue was full.
    pub full: u64,
    /// It was down or gone.
    pub down: u64,
    /// It refused the frame.
    pub refused: u64,
}

/// What the data plane did from start to stop.
#[derive(Clone, Debug, Serialize)]
pub struct Totals {
    /// Counters of all workers together.
    pub counters: CounterValues,
    /// Counters of all ports together, removed ones included.
    pub ports: PortValues,
    /// Connection counts.
    pub connections: ConnTotals,
    /// Fragments that still waited: none, since stopping drops them.
    pub holding: Holding,
    /// The conservation laws, checked.
    pub laws: Vec<LawResult>,
}

impl Totals {
    /// Whether every law holds.
    #[must_use]
    pub fn lawful(&self) -> bool {
        self.laws.iter().all(|law| law.holds)
    }
}

impl Traffic {
    /// Adds one frame.
    pub(crate) fn add(&mut self, packets: u32, bytes: usize) {
        self.packets += u64::from(packets);
        self.frames += 1;
        self.bytes += bytes as u64;
    }

    /// What is left without a part.
    pub(crate) fn without(&self, part: &Self) -> Self {
        Self {
            packets: self.packets.saturating_sub(part.packets),
            frames: self.frames.saturating_sub(part.frames),
            bytes: self.bytes.saturating_sub(part.bytes),
        }
    }
}

impl PortDrops {
    /// All reasons together.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.full + self.down + self.refused
    }
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.frames += other.frames;
        self.bytes += other.bytes;
    }
}

impl AddAssign for PortValues {
    fn add_assign(&mut self, other: Self) {
        self.received += other.received;
        self.sent += other.sent;
        self.dropped.full += other.dropped.full;
        self.dropped.down += other.dropped.down;
        self.dropped.refused += other.dropped.refused;
        self.unread += other.unread;
    }
}
