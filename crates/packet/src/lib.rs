//! Bytes to a [`PacketSummary`], header edits, checksums, segmentation and frame builders.
//!
//! Knows nothing of policy, sockets or clocks. Every function takes hostile bytes and none panics on them.
#![forbid(unsafe_code)]

pub mod build;
pub mod checksum;
mod direction;
pub mod fragment;
pub mod join;
mod mac;
pub mod ndp;
pub mod offload;
pub mod parse;
pub mod segment;
pub mod summary;
#[cfg(test)]
mod tests;

pub use direction::Direction;
pub use fragment::{Unfragmentable, fragment_ipv4};
pub use join::{Segment, Train};
pub use mac::{InvalidMac, MacAddr};
pub use offload::{BadOffload, GsoKind, Offload, OnWire, VnetHeader};
pub use parse::{Malformed, parse};
pub use segment::segment;
pub use summary::{
    Arp, Body, FlowTuple, Fragment, Icmp, InvalidTransport, IpPacket, PacketSummary, Quoted, Selector, Tcp,
    TcpFlags, Transport,
};

/// Length of an Ethernet II header without tags, in bytes: where the network header of every accepted frame starts.
pub const ETHERNET_LEN: usize = 14;

const NETWORK_OFFSET: u16 = 14;
