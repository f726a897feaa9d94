//! What a frame says, read once: a small `Copy` value that every later step works on.
//!
//! A summary is only ever made by [`crate::parse()`]; whoever holds one may rely on its offsets lying inside the frame.

use std::net::{IpAddr, Ipv4Addr};

use crate::MacAddr;

/// IP protocol numbers (IANA) that the data plane treats by name.
pub mod protocol {
    /// `ICMPv4`.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// `ICMPv6`.
    pub const ICMPV6: u8 = 58;
}

/// A well-formed Ethernet II frame that carries ARP, IPv4 or IPv6.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PacketSummary {
    /// Source MAC address.
    pub source_mac: MacAddr,
    /// Destination MAC address.
    pub destination_mac: MacAddr,
    /// What the frame carries.
    pub body: Body,
}

impl PacketSummary {
    /// The IP packet in the frame; `None` if it is ARP.
    #[must_use]
    pub const fn ip(&self) -> Option<&IpPacket> {
        match &self.body {
            Body::Ip(ip) => Some(ip),
            Body::Arp(_) => None,
        }
    }
}

/// The payload of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Body {
    /// An Ethernet/IPv4 ARP packet (RFC 826).
    Arp(Arp),
    /// An IPv4 or IPv6 packet.
    Ip(IpPacket),
}

/// An Ethernet/IPv4 ARP packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arp {
    /// 1 request, 2 reply; anything else is malformed.
    pub operation: u16,
    /// Sender hardware address.
    pub sender_mac: MacAddr,
    /// Sender protocol address; 0.0.0.0 in a probe (RFC 5227).
    pub sender: Ipv4Addr,
    /// Target protocol address.
    pub target: Ipv4Addr,
}

/// An IPv4 or IPv6 packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IpPacket {
    /// Source address.
    pub source: IpAddr,
    /// Destination address; always of the family of `source`.
    pub destination: IpAddr,
    /// The upper-layer protocol: in IPv6 the one found behind the extension headers (SG-27); of a later IPv6 fragment,
    /// what its fragment header names, which may be another extension header (CT-60).
    pub protocol: u8,
    /// IPv4 time to live or IPv6 hop limit.
    pub hop_limit: u8,
    /// The IPv4 DF bit; true for IPv6.
    pub dont_fragment: bool,
    /// Length of the IP packet in bytes, header included, Ethernet padding excluded.
    pub ip_len: u32,
    /// Offset in the frame of the IP header.
    pub network_offset: u16,
    /// Offset in the frame of the upper-layer header (of a later fragment: of its payload).
    pub transport_offset: u16,
    /// Set if the packet is a fragment; an IPv6 atomic fragment is not (CT-65).
    pub fragment: Option<Fragment>,
    /// What the upper-layer header says.
    pub transport: Transport,
}

impl IpPacket {
    /// Whether the packet is IPv4.
    #[must_use]
    pub const fn is_ipv4(&self) -> bool {
        self.source.is_ipv4()
    }

    /// Bytes from the upper-layer header to the end of the IP packet.
    #[must_use]
    pub fn transport_len(&self) -> u32 {
        self.ip_len - u32::from(self.transport_offset - self.network_offset)
    }

    /// The tuple connection tracking keys on, as this packet shows it; `None` if the packet has no transport header.
    #[must_use]
    pub fn tuple(&self) -> Option<FlowTuple> {
        let selector = self.transport.selector()?;
        Some(FlowTuple {
            source: self.source,
            destination: self.destination,
            protocol: self.protocol,
            selector,
        })
    }
}

/// Where a fragment stands in its datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fragment {
    /// IPv4 16-bit or IPv6 32-bit identification.
    pub identification: u32,
    /// Offset of this fragment's payload in the datagram's payload, in bytes.
    pub offset: u16,
    /// Length of this fragment's payload, in bytes: in IPv6 all that follows the fragment header.
    pub len: u16,
    /// More fragments follow.
    pub more: bool,
}

impl Fragment {
    /// Whether this is the first fragment, the only one with an upper-layer header.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        self.offset == 0
    }
}

/// The upper-layer header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// TCP (RFC 9293).
    Tcp(Tcp),
    /// UDP (RFC 768).
    Udp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// `ICMPv4` in IPv4 or `ICMPv6` in IPv6; protocol 58 in IPv4 and 1 in IPv6 are `Other` (CT-58).
    Icmp(Icmp),
    /// A protocol without ports.
    Other,
    /// A later fragment: the header is in the first one.
    LaterFragment,
    /// The header is not whole or contradicts itself. Kept, not refused by the parser, because the faults of a packet
    /// are counted in the order of RES-43, in which this one comes late.
    Invalid(InvalidTransport),
}

/// Why an upper-layer header is refused (CT-48, CT-63, SG-27).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InvalidTransport {
    /// Less than 20 bytes of TCP or 8 of UDP, ICMP or `ICMPv6`, or an extension header that ends beyond the packet.
    Truncated,
    /// TCP data offset below 5 or beyond the packet; UDP length below 8 or beyond the packet.
    Length,
    /// More than eight IPv6 extension headers, hop-by-hop options elsewhere than first, or a second fragment header.
    ExtensionHeaders,
    /// A fragment that would end beyond 65,535, or a fragment other than the last whose length is not a multiple of 8.
    Fragment,
}

impl Transport {
    pub(crate) fn selector(&self) -> Option<Selector> {
        match *self {
            Self::Tcp(tcp) => Some(Selector::Ports { source: tcp.source, destination: tcp.destination }),
            Self::Udp { source, destination } => Some(Selector::Ports { source, destination }),
            Self::Icmp(icmp) => Some(match icmp.answered_by() {
                Some(answer) => Selector::Query {
                    source_type: icmp.icmp_type,
                    destination_type: answer,
                    identifier: icmp.identifier,
                },
                None => Selector::Message { icmp_type: icmp.icmp_type, code: icmp.code },
            }),
            Self::Other => Some(Selector::None),
            Self::LaterFragment | Self::Invalid(_) => None,
        }
    }
}

/// A TCP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tcp {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
    /// Control bits.
    pub flags: TcpFlags,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number; meaningless without [`TcpFlags::ACK`].
    pub acknowledgement: u32,
    /// Window as sent, not scaled.
    pub window: u16,
    /// Window scale option (RFC 7323), read from segments with SYN only, at most 14.
    pub window_scale: Option<u8>,
    /// Header length in bytes, 20 to 60. Only in a first IPv4 fragment may it reach beyond the packet's end: CT-63 asks for
    /// no more than 20 bytes there.
    pub header_len: u8,
}

/// The control bits of a TCP header, as they stand in its fourteenth byte.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// FIN.
    pub const FIN: Self = Self(0x01);
    /// SYN.
    pub const SYN: Self = Self(0x02);
    /// RST.
    pub const RST: Self = Self(0x04);
    /// PSH.
    pub const PSH: Self = Self(0x08);
    /// ACK.
    pub const ACK: Self = Self(0x10);
    /// URG.
    pub const URG: Self = Self(0x20);
    /// ECE (RFC 3168).
    pub const ECE: Self = Self(0x40);
    /// CWR (RFC 3168).
    pub const CWR: Self = Self(0x80);

    /// Whether every bit of `other` is set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// SYN without ACK: what CT-40b calls a SYN.
    #[must_use]
    pub const fn is_syn(self) -> bool {
        self.0 & 0x12 == 0x02
    }

    /// SYN and ACK.
    #[must_use]
    pub const fn is_syn_ack(self) -> bool {
        self.0 & 0x12 == 0x12
    }

    /// Combinations no TCP sends: SYN+FIN, SYN+RST, FIN+RST, or none of the six classic flags (CT-40).
    #[must_use]
    pub const fn is_impossible(self) -> bool {
        let control = self.0 & 0x07;
        let classic = self.0 & 0x3f;
        classic == 0 || control.count_ones() > 1
    }
}

impl std::fmt::Debug for TcpFlags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Display for TcpFlags {
    /// One letter per flag, in tcpdump's order: `S`, `SA`, `PA`, `F` …
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let letters =
            [(2, 'S'), (1, 'F'), (4, 'R'), (8, 'P'), (0x10, 'A'), (0x20, 'U'), (0x40, 'E'), (0x80, 'W')];
        letters.iter().filter(|(bit, _)| self.0 & bit != 0).try_for_each(|(_, letter)| write!(f, "{letter}"))
    }
}

/// An `ICMPv4` or `ICMPv6` header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::struct_field_names, reason = "`type` alone is a keyword")]
pub struct Icmp {
    /// True for `ICMPv6`.
    pub v6: bool,
    /// Type.
    pub icmp_type: u8,
    /// Code.
    pub code: u8,
    /// Bytes 4 and 5: the identifier of a query.
    pub identifier: u16,
    /// Of an error: the packet it quotes, if enough of it is there (CT-53).
    pub quoted: Option<Quoted>,
}

impl Icmp {
    /// Of a query message (either half), the type that the other side sends (CT-55); `None` for all other types.
    #[must_use]
    pub const fn answered_by(&self) -> Option<u8> {
        match (self.v6, self.icmp_type) {
            (false, 8) => Some(0),
            (false, 0) => Some(8),
            (false, 13) => Some(14),
            (false, 14) => Some(13),
            (false, 15) => Some(16),
            (false, 16) => Some(15),
            (false, 17) => Some(18),
            (false, 18) => Some(17),
            (true, 128) => Some(129),
            (true, 129) => Some(128),
            _ => None,
        }
    }

    /// Whether this is the request half of a query, which may open an entry (CT-55).
    #[must_use]
    pub const fn is_request(&self) -> bool {
        if self.v6 { self.icmp_type == 128 } else { matches!(self.icmp_type, 8 | 13 | 15 | 17) }
    }

    /// Whether this is an error message that may belong to a flow (CT-50, CT-54).
    #[must_use]
    pub const fn is_error(&self) -> bool {
        if self.v6 { matches!(self.icmp_type, 1..=4) } else { matches!(self.icmp_type, 3 | 11 | 12) }
    }
}

/// The packet quoted in an ICMP error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quoted {
    /// Its tuple, as that packet showed it.
    pub tuple: FlowTuple,
    /// Whether it is itself an ICMP error; an error about an error is never related (CT-53).
    pub is_icmp_error: bool,
}

/// Addresses, protocol and selector of one packet, in the packet's own direction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FlowTuple {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Upper-layer protocol.
    pub protocol: u8,
    /// What tells flows between the same two addresses apart.
    pub selector: Selector,
}

impl FlowTuple {
    /// The tuple of the answer: every element swapped (CT-5).
    #[must_use]
    pub const fn reversed(self) -> Self {
        let Self { source, destination, protocol, selector } = self;
        Self { source: destination, destination: source, protocol, selector: selector.reversed() }
    }
}

/// What tells flows between the same two addresses apart (CT-4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Selector {
    /// TCP and UDP ports.
    Ports {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// An ICMP query: the type each side sends, and the identifier.
    Query {
        /// The type this packet's source sends.
        source_type: u8,
        /// The type this packet's destination sends.
        destination_type: u8,
        /// Identifier.
        identifier: u16,
    },
    /// Any other ICMP message; never tracked (CT-58).
    Message {
        /// Type.
        icmp_type: u8,
        /// Code.
        code: u8,
    },
    /// A protocol without ports.
    None,
}

impl Selector {
    const fn reversed(self) -> Self {
        match self {
            Self::Ports { source, destination } => Self::Ports { source: destination, destination: source },
            Self::Query { source_type, destination_type, identifier } => {
                Self::Query { source_type: destination_type, destination_type: source_type, identifier }
            }
            other => other,
        }
    }
}
