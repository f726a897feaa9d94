//! Packets in one line of text: `tcp 10.0.1.10:40000 > 10.0.2.10:443 syn`.
//!
//! ```text
//! [PORT] PROTOCOL SOURCE > DESTINATION [WORD …]
//!
//! PORT         name or id of the ENI, or name of the service, that sends it; absent: the owner of the source address
//! PROTOCOL     tcp, udp, icmp, icmpv6, or proto and a number
//! SOURCE, …    address:port for tcp and udp ([address]:port in IPv6), address otherwise
//! tcp words    syn, ack, fin, rst, psh, urg, or tcpdump's letters (S, SA, PA, F …); none: syn
//!              seq N, ack N, win N, wscale N, gso N (a segmentation-offload frame with segments of N bytes)
//! icmp words   echo-request, echo-reply, type N, code N, id N; none: echo-request
//! any words    len N (payload bytes), ttl N, df, from-mac MAC, to-mac MAC|router|PORT
//! ```

mod build;
mod words;

use std::net::{IpAddr, SocketAddr};

use palisade_packet::{MacAddr, TcpFlags, VnetHeader};
use palisade_policy::PortKey;

pub use words::parse;

/// A packet as it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PacketSpec {
    /// Name of the sending port, if one was given.
    pub port: Option<String>,
    /// Source address.
    pub source: IpAddr,
    /// Destination address, of the same family.
    pub destination: IpAddr,
    /// The upper layer.
    pub transport: TransportSpec,
    /// Payload length in bytes.
    pub len: u16,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// IPv4: do not fragment.
    pub dont_fragment: bool,
    /// Source MAC address, if not the sender's own.
    pub from_mac: Option<MacAddr>,
    /// Destination MAC address, if not the one the sender would use.
    pub to_mac: Option<LinkTarget>,
}

/// A destination MAC address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinkTarget {
    /// This one.
    Mac(MacAddr),
    /// The implicit router's.
    Router,
    /// That of an ENI.
    Port(String),
}

/// The upper layer of a packet as it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TransportSpec {
    /// TCP.
    Tcp(TcpSpec),
    /// UDP.
    Udp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// `ICMPv4` or `ICMPv6`.
    Icmp {
        /// Type.
        icmp_type: u8,
        /// Code.
        code: u8,
        /// Identifier.
        id: u16,
    },
    /// Any other protocol.
    Other(u8),
}

/// A TCP segment as it was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TcpSpec {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
    /// Control bits.
    pub flags: TcpFlags,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
    /// Window.
    pub window: u16,
    /// Window scale option.
    pub window_scale: Option<u8>,
    /// Segment size of a segmentation-offload frame.
    pub gso: Option<u16>,
}

/// A packet ready to be walked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// The port it comes in by.
    pub port: PortKey,
    /// The Ethernet frame.
    pub bytes: Vec<u8>,
    /// Its virtio-net header.
    pub vnet: VnetHeader,
}

/// The text is not a packet, or names what the VPC does not have.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotationError {
    /// The line ends too early.
    #[error("expected {0}, but the line ends here")]
    Ends(&'static str),
    /// A word that is not what must stand there.
    #[error("`{word}` is not {expected}")]
    Word {
        /// The word.
        word: String,
        /// What must stand there.
        expected: &'static str,
    },
    /// Source and destination are of different families.
    #[error("source and destination must both be IPv4 or both be IPv6")]
    Families,
    /// Nobody in the VPC can send it.
    #[error("no ENI and no service owns {0}; name the sender first, as in `web-1 tcp … > …`")]
    NoSender(IpAddr),
    /// A name that the VPC does not have.
    #[error("the VPC has no ENI and no service named `{0}`")]
    UnknownPort(String),
    /// The packet would be longer than IP allows.
    #[error("a payload of {0} bytes does not fit into an IP packet")]
    TooLong(u16),
}

/// Formats an address and a port as the notation writes them.
#[must_use]
pub fn endpoint(address: IpAddr, port: u16) -> String {
    SocketAddr::new(address, port).to_string()
}
