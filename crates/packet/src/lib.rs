//! Bytes to a [`PacketSummary`], header edits, checksums, segmentation and frame builders.
//!
//! Knows nothing of policy, sockets or clocks. Every function takes hostile bytes and none panics on them.
#![forbid(unsafe_code)]

mod direction;
mod mac;
pub mod summary;

pub use direction::Direction;
pub use mac::{InvalidMac, MacAddr};
pub use summary::{
    Arp, Body, FlowTuple, Fragment, Icmp, InvalidTransport, IpPacket, PacketSummary, Quoted, Selector, Tcp,
    TcpFlags, Transport,
};
