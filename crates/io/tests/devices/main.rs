//! Ports on real devices, in network namespaces made for each test. These tests need root and fail without it.
#![allow(clippy::unwrap_used)] // A test that cannot go on fails.

mod capture;
mod packet;
mod raw;
mod support;
mod takeover;
mod tap;
mod traffic;
