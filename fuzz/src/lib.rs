//! Fuzz bodies: plain functions that take bytes and panic where a promise of the code under test is broken.
//!
//! [`driver::run`] drives them on stable Rust with the corpus in `corpus/` and seeded mutations; the binaries in
//! `fuzz_targets/` hand the same functions to libFuzzer.
#![forbid(unsafe_code)]
#![expect(clippy::panic, reason = "a broken promise is reported by a panic")]

mod config;
pub mod driver;
mod frame;
mod vnet_header;
mod walk;

pub use config::config;
pub use frame::frame;
pub use vnet_header::vnet_header;
pub use walk::walk;
