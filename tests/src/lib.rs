//! Harness of the tests on real packets: namespaces, a daemon, guests, tools, crafted frames.
//!
//! A [`Bed`] is a VPC of a few guests with a running daemon between them; it holds a lock, so that one bed exists at a
//! time whatever the test runner does, and removes everything it made when it is dropped. Everything here panics with a
//! message where a test cannot go on: a panic is how a test fails.
#![forbid(unsafe_code)]
#![allow(clippy::panic, clippy::missing_panics_doc, reason = "a failing test panics")]
#![allow(clippy::must_use_candidate, reason = "most of the harness is called for what it does")]

pub mod bed;
pub mod daemon;
pub mod fabric;
pub mod frame;
pub mod guest;
pub mod netns;
pub mod policy;
pub mod sockets;
pub mod tool;
pub mod wire;

pub use bed::{Bed, Mode, Setup};
pub use daemon::Daemon;
pub use fabric::Fabric;
pub use guest::{Guest, PortKind};
pub use netns::Netns;
pub use policy::Policy;
