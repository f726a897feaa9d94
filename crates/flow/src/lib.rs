//! What is counted of a flow for its flow-log records: plain values that workers hand over, at window ends and when a flow
//! is given up.
//!
//! It stands below the engine, which fills these values in, and below `palisade-flowlog`, which makes records of them, so
//! that neither needs the other.
#![forbid(unsafe_code)]

mod delta;
mod ground;
mod tcp_flags;
mod window;

pub use delta::{Delta, Hop, Loss};
pub use ground::{Action, Ground};
pub use tcp_flags::counted_flags;
pub use window::Window;
