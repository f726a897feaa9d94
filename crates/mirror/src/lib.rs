//! Traffic mirroring's copies: what a mirrored frame was on the wire, cut to length, in a VXLAN envelope (TM-30..37).
//!
//! Knows nothing of the walk: which packets are copied the policy says ([`MirrorPlan`]), where a copy goes the engine
//! finds out, who carries it the runtime does.
//!
//! [`MirrorPlan`]: https://docs.rs/palisade-policy
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod envelope;
mod wire;

pub use envelope::{Envelope, Link, OVERHEAD, PORT, Unsealed, source_port};
pub use wire::on_the_wire;
