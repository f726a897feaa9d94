//! The table against the specification, under a virtual clock. Each test names the statements it shows.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]

mod admission;
mod allowance;
mod icmp;
mod interleavings;
mod keys;
mod model;
mod others;
mod random;
mod records;
mod removal;
mod reset;
mod tcp;
mod threads;
mod time_outs;
mod udp;
mod world;
