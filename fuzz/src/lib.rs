//! Fuzz bodies: plain functions that take bytes and panic where a promise of the code under test is broken.
//!
//! [`driver::run`] drives them on stable Rust with the corpus in `corpus/` and seeded mutations; the binaries in
//! `fuzz_targets/` hand the same functions to libFuzzer.
#![forbid(unsafe_code)]
#![expect(clippy::panic, reason = "a broken promise is reported by a panic")]

mod config;
pub mod driver;
mod fragments;
mod frame;
mod notation;
mod scenario;
mod tcp;
mod vnet_header;
mod walk;
mod words;

pub use config::config;
pub use fragments::fragments;
pub use frame::frame;
pub use notation::notation;
pub use scenario::scenario;
pub use tcp::tcp;
pub use vnet_header::vnet_header;
pub use walk::walk;
pub use words::words;
