//! What goes into a walk and what comes out of it.

use std::time::Duration;

use palisade_conntrack::Instant;
use palisade_packet::{IpPacket, offload::Offload, offload::VnetHeader};
use palisade_policy::{EniKey, PortKey};

use crate::fragments::Released;
use crate::mirroring::Taps;
use crate::reason::{Consumed, DropReason};

/// The time of a burst; the engine reads no clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// Time that never goes back; time-outs are measured by it.
    pub monotonic: Instant,
    /// Time since 1970-01-01 00:00 UTC, for what people and records are shown.
    pub unix: Duration,
}

/// What a port says of a frame besides its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Received {
    /// The virtio-net header, as the guest wrote it.
    pub vnet: VnetHeader,
    /// A VLAN tag was carried outside the frame's bytes.
    pub vlan: bool,
    /// The frame was longer than the buffer.
    pub truncated: bool,
}

/// What became of a frame.
#[derive(Debug)]
pub struct Outcome {
    /// Where the journey ended.
    pub verdict: Verdict,
    /// Packets on the wire that the frame stands for.
    pub packets: u32,
    /// The reply buffer holds a frame to send back to the port this one came in by.
    pub reply: bool,
    /// Copies are owed on account of it: [`crate::Lane::tapped`] says of what.
    pub tapped: bool,
    /// Fragments that wait no more on account of this frame, to be resumed after it in this order (CT-61). Almost always
    /// empty, which takes no memory.
    pub released: Vec<Released>,
}

impl Outcome {
    /// A frame that ended so, and has no other effect.
    pub(crate) const fn of(verdict: Verdict, packets: u32) -> Self {
        Self { verdict, packets, reply: false, tapped: false, released: Vec::new() }
    }
}

/// Where a journey ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The frame, edited in place, goes out by a port.
    Deliver(Delivery),
    /// The fabric took it.
    Consume(Consumed),
    /// It is a fragment that came before its first one and waits for it; the engine has kept a copy (CT-61).
    Hold,
    /// It is dropped.
    Drop(DropReason),
}

/// A frame to hand to a port. The packet in it is in [`crate::Lane::packet`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// The port.
    pub to: PortKey,
    /// Offload work left to do: by the port, or for it if it cannot.
    pub offload: Offload,
    /// Set if every wire packet must be fragmented to this MTU first (IPv4 without DF, RT-61).
    pub fragment: Option<u16>,
}

/// How one side's filters judged a packet: what that side's flow-log record says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Side {
    /// The ENI.
    pub eni: EniKey,
    /// `None`: accepted and committed; otherwise which filter refused it.
    pub refused: Option<DropReason>,
}

/// The result of a walk: one result per side, and the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Walked {
    /// The sender's side; `None` if the packet did not get as far as its security group.
    pub a: Option<Side>,
    /// The receiver's side; `None` if the packet did not get there.
    pub b: Option<Side>,
    /// The packet as policy judged it: a later fragment has the ports of its first one (CT-60). `None` if nothing judged it.
    pub judged: Option<IpPacket>,
    /// The ENI that it was handed to, whether or not it got there.
    pub to: Option<EniKey>,
    /// Where the journey ended.
    pub verdict: Verdict,
    /// Packets on the wire that the frame stands for.
    pub packets: u32,
    /// What to send back to the port the frame came in by.
    pub reply: Option<Reply>,
    /// How to address the frame that goes on, if one does.
    pub link: Option<Link>,
    /// Who copies the packet (TM-40), whatever became of it afterwards (TM-41).
    pub taps: Taps,
}

/// A frame that the fabric makes and sends back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply {
    /// An ARP answer: this address is at this MAC.
    Arp {
        /// The address asked for.
        address: std::net::Ipv4Addr,
        /// Its MAC address.
        mac: palisade_packet::MacAddr,
    },
    /// A neighbour advertisement: this address is at this MAC.
    Neighbour {
        /// The address asked for.
        address: std::net::Ipv6Addr,
        /// Its MAC address.
        mac: palisade_packet::MacAddr,
        /// Whether the address is a router's.
        router: bool,
    },
    /// "Fragmentation needed" or "packet too big" (RT-61, RT-62).
    TooBig {
        /// MTU of the next hop in bytes.
        mtu: u16,
        /// Source of the error: an address of the implicit router (RES-44).
        router: std::net::IpAddr,
        /// Its MAC address.
        router_mac: palisade_packet::MacAddr,
    },
}

/// Link-layer addresses of the next hop.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Link {
    /// New source MAC address; `None` leaves the sender's own.
    pub source: Option<palisade_packet::MacAddr>,
    /// New destination MAC address.
    pub destination: palisade_packet::MacAddr,
}
