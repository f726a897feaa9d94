//! The daemon on real packets between network namespaces; needs root. See the crate's library for the harness.
#![allow(clippy::panic, clippy::unwrap_used, clippy::print_stdout, reason = "a failing test panics")]

mod basics;
mod connections;
mod flow_logs;
mod flows;
mod fragments;
mod lifecycle;
mod mirroring;
mod mtu;
mod neighbours;
mod offload;
mod probe;
mod reload;
mod reserved;
mod scan;
mod scenario;
mod scripts;
mod spoof;
mod takeover;
mod transfer;
