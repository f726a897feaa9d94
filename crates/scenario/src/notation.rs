//! Packets in one line of text: `tcp 10.0.1.10:40000 > 10.0.2.10:443 syn`.
//!
//! ```text
//! [PORT] PROTOCOL SOURCE > DESTINATION [WORD …]
//! [PORT] arp who-has ADDRESS tell ADDRESS [sender-mac MAC] [WORD …]
//! [PORT] arp reply ADDRESS is-at MAC to ADDRESS [WORD …]
//! PORT ethertype HEX [BYTES] [WORD …]        a frame that is neither ARP nor IP; BYTES in hex digits
//! PORT raw BYTES                             a whole frame
//!
//! PORT         name or id of the ENI, or name of the service, that sends it; absent: the owner of the source address
//! PROTOCOL     tcp, udp, icmp, icmpv6, or proto and a number
//! SOURCE, …    address:port for tcp and udp ([address]:port in IPv6), address otherwise
//! tcp words    syn, ack, fin, rst, psh, urg, or tcpdump's letters (S, SA, PA, F …); none: syn; no-flags: really none
//!              seq N, ack N, win N, mss N, sack-ok, ts N,N, wscale N, tcp-options BYTES (in place of those four),
//!              gso N (a segmentation-offload frame with segments of N bytes)
//! udp words    gso N, length N (what its length field says)
//! icmp words   echo-request, echo-reply, unreachable, time-exceeded, parameter-problem, too-big, redirect,
//!              type N, code N, id N, seq N, mtu N, quote [PACKET] (what an error quotes),
//!              quote-cut N (its first N bytes); none: echo-request
//! icmpv6 words solicit ADDRESS, advertise ADDRESS, router-solicit, link MAC (the link-layer option)
//! ip words     len N (payload bytes), data BYTES (the payload itself), ttl N, tos N, df,
//!              ip-options BYTES (of IPv4), frag id N offset N [more], cut N (the IP payload, or what follows
//!              the IPv6 fragment header, ends after N bytes), ip-len N (what the IP length field says), bad-checksum,
//!              ext NAME,NAME… (IPv6 headers in order: hop, dst, routing, frag = the place of the fragment header)
//! any words    from-mac MAC, to-mac MAC|router|PORT, vlan N,
//!              vnet KEY=N,… (a virtio-net header of flags, gso, hdr, size, start, offset)
//! ```
//!
//! Of a fragment with an offset, `len` counts all it carries, and ports and ICMP words are not part of it.

mod build;
mod datagram;
mod link;
mod link_words;
mod transport_words;
mod upper;
mod words;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use palisade_packet::{MacAddr, TcpFlags, VnetHeader};
use palisade_policy::PortKey;

pub(crate) use link_words::hex;
pub use words::parse;

/// A packet as it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PacketSpec {
    /// Name of the sending port, if one was given.
    pub port: Option<String>,
    /// What is around it.
    pub link: LinkSpec,
    /// What the frame carries.
    pub body: BodySpec,
}

/// The link layer of a packet as it was written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LinkSpec {
    /// Source MAC address, if not the sender's own.
    pub from_mac: Option<MacAddr>,
    /// Destination MAC address, if not the one the sender would use.
    pub to_mac: Option<LinkTarget>,
    /// An 802.1Q tag.
    pub vlan: Option<u16>,
    /// A virtio-net header of the guest's own making.
    pub vnet: Option<VnetHeader>,
}

/// What a frame carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BodySpec {
    /// An IP packet.
    Ip(IpSpec),
    /// An ARP packet.
    Arp(ArpSpec),
    /// Something else.
    Foreign {
        /// The `EtherType`.
        ethertype: u16,
        /// What follows it.
        bytes: Vec<u8>,
    },
    /// The whole frame, Ethernet header included.
    Raw(Vec<u8>),
}

/// An IP packet as it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IpSpec {
    /// Source address.
    pub source: IpAddr,
    /// Destination address, of the same family.
    pub destination: IpAddr,
    /// The upper layer.
    pub transport: TransportSpec,
    /// Payload length in bytes.
    pub len: u16,
    /// The payload itself, if it matters.
    pub data: Option<Vec<u8>>,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Type of service, or traffic class.
    pub tos: u8,
    /// IPv4: options, filled up with zeroes to a multiple of four bytes.
    pub options: Vec<u8>,
    /// IPv4: do not fragment.
    pub dont_fragment: bool,
    /// IPv6 extension headers, in order.
    pub extensions: Vec<Extension>,
    /// If it is a fragment; in IPv6 also an atomic one.
    pub fragment: Option<FragmentSpec>,
    /// Bytes left of the IP payload, or of what follows the IPv6 fragment header.
    pub cut: Option<u16>,
    /// What the length field of the IP header says, if not the truth.
    pub ip_len: Option<u16>,
    /// The checksum of the upper layer is wrong.
    pub bad_checksum: bool,
}

/// An IPv6 extension header of eight bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extension {
    /// Hop-by-hop options.
    Hop,
    /// Destination options.
    Destination,
    /// A routing header with no segments left.
    Routing,
    /// The place of the fragment header; without it, behind all others.
    Fragment,
}

/// Where a fragment stands in its datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FragmentSpec {
    /// Identification.
    pub id: u32,
    /// Offset in bytes, a multiple of eight.
    pub offset: u16,
    /// More fragments follow.
    pub more: bool,
}

/// An ARP packet as it was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArpSpec {
    /// A reply, not a request.
    pub reply: bool,
    /// Sender hardware address, if not the sender's own.
    pub sender_mac: Option<MacAddr>,
    /// Sender protocol address.
    pub sender: Ipv4Addr,
    /// Target protocol address.
    pub target: Ipv4Addr,
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
    Udp(UdpSpec),
    /// `ICMPv4` or `ICMPv6`.
    Icmp(IcmpSpec),
    /// Any other protocol.
    Other(u8),
}

/// A UDP datagram as it was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct UdpSpec {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
    /// What its length field says, if not the truth.
    pub length: Option<u16>,
    /// Segment size of a segmentation-offload frame.
    pub gso: Option<u16>,
}

/// An ICMP message as it was written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IcmpSpec {
    /// Type.
    pub icmp_type: u8,
    /// Code.
    pub code: u8,
    /// Identifier.
    pub id: u16,
    /// Sequence number of a query.
    pub sequence: u16,
    /// The next-hop MTU of an error.
    pub mtu: Option<u32>,
    /// The packet that an error quotes.
    pub quote: Option<Box<IpSpec>>,
    /// How many bytes of it are there; absent: all.
    pub quote_cut: Option<u16>,
    /// The target of neighbour discovery.
    pub target: Option<Ipv6Addr>,
    /// The link-layer option of neighbour discovery.
    pub link: Option<MacAddr>,
}

/// A TCP segment as it was written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TcpSpec {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
    /// Control bits.
    pub flags: TcpFlags,
    /// No control bit at all is meant.
    pub no_flags: bool,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
    /// Window.
    pub window: u16,
    /// Maximum segment size option.
    pub mss: Option<u16>,
    /// Selective acknowledgements are permitted.
    pub sack_ok: bool,
    /// Timestamps option: value and echo.
    pub timestamps: Option<(u32, u32)>,
    /// Window scale option.
    pub window_scale: Option<u8>,
    /// Options byte by byte, in place of the others.
    pub options: Option<Vec<u8>>,
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
    /// A frame without an address does not tell its sender.
    #[error("name the sender first, as in `web-1 ethertype 88cc`")]
    Anonymous,
    /// A name that the VPC does not have.
    #[error("the VPC has no ENI and no service named `{0}`")]
    UnknownPort(String),
    /// The packet would be longer than IP allows, or its options longer than their header.
    #[error("a payload of {0} bytes does not fit into an IP packet, or options do not fit into their header")]
    TooLong(u16),
}
