//! Where a scenario is played: whatever carries out its steps. What must be seen is judged elsewhere, in one place for all.

use std::sync::Arc;
use std::time::Duration;

use palisade_conntrack::ConnView;
use palisade_engine::{Explanation, Selection};
use palisade_packet::VnetHeader;
use palisade_policy::{PortKey, Snapshot};
use toml::Table;

use crate::counters::Readings;
use crate::notation::Frame;

/// Carries out the steps of one scenario, in a world of its own.
pub trait Stage {
    /// Moves the clock, which stands still until it is moved again. Never moves it back.
    ///
    /// # Errors
    ///
    /// [`Halt`]
    fn advance(&mut self, now: Duration) -> Result<(), Halt>;

    /// Puts the policy of a changed world in force, as a reload of its file does.
    ///
    /// # Errors
    ///
    /// [`Halt`], such as a world that is not valid any more.
    fn publish(&mut self, world: &Table) -> Result<(), Halt>;

    /// Ends the connections that are meant; returns how many.
    ///
    /// # Errors
    ///
    /// [`Halt`]
    fn kill(&mut self, chosen: &Selection) -> Result<usize, Halt>;

    /// The policy in force.
    fn snapshot(&self) -> Arc<Snapshot>;

    /// What would become of a frame, as `explain` has it.
    fn explain(&self, frame: &Frame) -> Explanation;

    /// Sends a frame and waits until all that comes of it can be seen.
    ///
    /// # Errors
    ///
    /// [`Halt`]
    fn send(&mut self, frame: &Frame) -> Result<Seen, Halt>;

    /// The connections at this moment.
    fn connections(&self) -> Vec<ConnView>;

    /// What the counters show at this moment. A fragment whose time is over by now is dropped by now.
    fn readings(&mut self) -> Readings;

    /// What flow logs have written since the last time, as scenarios expect it.
    ///
    /// # Errors
    ///
    /// [`Halt`]
    fn flow_logs(&mut self) -> Result<Vec<String>, Halt>;

    /// Ends the play and tells how the conservation laws stand.
    ///
    /// # Errors
    ///
    /// [`Halt`]
    fn close(self) -> Result<Vec<Law>, Halt>
    where
        Self: Sized;
}

/// What came of a frame.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// Every frame that came out of any port, in the order of the ports and of its coming. What comes out of the port that
    /// the frame went in by is an answer.
    pub arrivals: Vec<Arrival>,
    /// Names of the counters that moved, of those that count drops and what the fabric consumes.
    pub reasons: Vec<&'static str>,
    /// It is a fragment that is held (CT-61).
    pub held: bool,
    /// Fragments that it released, in this order.
    pub released: Vec<Resumed>,
    /// Mirror copies of it, and of fragments that it released, in the order of the ports and of their coming.
    pub copies: Vec<Arrival>,
}

/// A fragment that was held, and what came of it in the end, or that it is held again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resumed {
    /// As it was sent.
    pub frame: Frame,
    /// What would become of it, as `explain` had it.
    pub walk: Explanation,
    /// What came of it; it releases nothing itself.
    pub seen: Seen,
}

/// A frame that came out of a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// Whose port.
    pub port: PortKey,
    /// Its virtio-net header.
    pub vnet: VnetHeader,
    /// The Ethernet frame.
    pub bytes: Vec<u8>,
}

/// One of the conservation laws: an equation between counters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Law {
    /// The equation in words.
    pub name: &'static str,
    /// Value of its left side.
    pub left: u64,
    /// Value of its right side.
    pub right: u64,
}

/// Why a step could not be carried out.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Halt {
    /// This stage cannot carry it: nothing is said about what is tested.
    #[error("not playable: {0}")]
    NotPlayable(String),
    /// The step asks for what cannot be, or the stage failed.
    #[error("{0}")]
    Failed(String),
}
