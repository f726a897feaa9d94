//! What packets of one cached flow have in common: everything of a packet that its walk may depend on, besides what each
//! hit looks at anew (size, TCP flags).
//!
//! A key has two halves, which are kept in two places: its [`Ends`] with the flow, its [`Way`] with all that flows between
//! the same two guests share.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use palisade_packet::summary::protocol::{TCP, UDP};
use palisade_packet::{IpPacket, MacAddr, PacketSummary, Transport};
use palisade_policy::EniKey;

/// The key of a packet's flow, in words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlowKey {
    pub(super) way: Way,
    ids: u32,
    addresses: Addresses,
}

/// By which way packets come, and of what kind they are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Way {
    from: EniKey,
    /// The destination MAC address, which chooses the next hop (RT-5), and family and protocol.
    hop: u64,
    source: u64,
}

/// Source and destination.
#[derive(Clone, Copy, Debug)]
enum Addresses {
    V4(u64),
    V6([u64; 4]),
}

/// Addresses and ids as a flow keeps them: 16 bytes, and 32 elsewhere for IPv6.
#[derive(Debug)]
pub(super) enum Ends {
    V4 { ids: u32, addresses: [u32; 2] },
    V6 { ids: u32, addresses: Box<[u64; 4]> },
}

const IPV6: u64 = 1 << 8;

impl FlowKey {
    /// The key of a packet sent by an ENI; `None` for kinds of packets that always walk: fragments, ICMP errors, messages
    /// that discovery or a service may want.
    #[inline]
    pub(crate) fn of(from: EniKey, summary: &PacketSummary, ip: &IpPacket) -> Option<Self> {
        if ip.fragment.is_some() {
            return None;
        }
        let ids = ids(ip)?;
        let (family, addresses) = match (ip.source, ip.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                (0, Addresses::V4(u64::from(source.to_bits()) << 32 | u64::from(destination.to_bits())))
            }
            (source, destination) => (IPV6, wide(source, destination)),
        };
        let hop = mac_word(summary.destination_mac) << 16 | family | u64::from(ip.protocol);
        Some(Self { way: Way { from, hop, source: mac_word(summary.source_mac) }, ids, addresses })
    }

    /// What a flow keeps of it.
    pub(super) fn ends(&self) -> Ends {
        let ids = self.ids;
        match self.addresses {
            Addresses::V4(word) => {
                let [d0, d1, d2, d3, s0, s1, s2, s3] = word.to_le_bytes();
                let addresses = [[s0, s1, s2, s3], [d0, d1, d2, d3]].map(u32::from_le_bytes);
                Ends::V4 { ids, addresses }
            }
            Addresses::V6(words) => Ends::V6 { ids, addresses: Box::new(words) },
        }
    }
}

impl Ends {
    /// Whether they are those of a key.
    #[inline]
    pub(super) fn are_of(&self, key: &FlowKey) -> bool {
        match (self, &key.addresses) {
            (Self::V4 { ids, addresses: [source, destination] }, Addresses::V4(word)) => {
                let mine = u64::from(*source) << 32 | u64::from(*destination);
                *ids == key.ids && mine == *word
            }
            (Self::V6 { ids, addresses }, Addresses::V6(words)) => *ids == key.ids && **addresses == *words,
            _ => false,
        }
    }

    /// Addresses and ports of the packets, 0 without ports (FL-15).
    pub(super) fn sockets(&self, protocol: u8) -> [(IpAddr, u16); 2] {
        let v6 = |high: u64, low: u64| IpAddr::from((u128::from(high) << 64 | u128::from(low)).to_be_bytes());
        let (ids, [source, destination]) = match self {
            Self::V4 { ids, addresses } => (*ids, addresses.map(|word| IpAddr::from(word.to_be_bytes()))),
            Self::V6 { ids, addresses } => {
                let [s0, s1, d0, d1] = **addresses;
                (*ids, [v6(s0, s1), v6(d0, d1)])
            }
        };
        let [d_low, d_high, s_low, s_high] = ids.to_le_bytes();
        let ports = match protocol {
            TCP | UDP => [[s_low, s_high], [d_low, d_high]].map(u16::from_le_bytes),
            _ => [0; 2],
        };
        [(source, ports[0]), (destination, ports[1])]
    }

    /// One of the words.
    pub(super) const fn ids(&self) -> u32 {
        match self {
            Self::V4 { ids, .. } | Self::V6 { ids, .. } => *ids,
        }
    }
}

impl Way {
    /// Whether it is the same one. Looks at all of it rather than leave early: most ways that are compared are equal.
    #[inline]
    pub(super) const fn is(&self, other: &Self) -> bool {
        let sender = (self.from.0 ^ other.from.0) as u64;
        sender | self.hop ^ other.hop | self.source ^ other.source == 0
    }

    pub(super) const fn protocol(&self) -> u8 {
        let [protocol, ..] = self.hop.to_le_bytes();
        protocol
    }
}

/// Ports, or type, code and identifier of an ICMP query.
#[inline]
fn ids(ip: &IpPacket) -> Option<u32> {
    // Apart from the others, which a table of jumps is made for.
    if let Transport::Tcp(tcp) = &ip.transport {
        return Some(u32::from(tcp.source) << 16 | u32::from(tcp.destination));
    }
    match &ip.transport {
        Transport::Udp { source, destination } => Some(u32::from(*source) << 16 | u32::from(*destination)),
        Transport::Icmp(icmp) => {
            icmp.answered_by()?;
            // Code and type of a query are small; together with the identifier they fill the word.
            let [kind, code] = [icmp.icmp_type, icmp.code].map(u32::from);
            Some(kind << 24 | code << 16 | u32::from(icmp.identifier))
        }
        Transport::Other => Some(0),
        Transport::Tcp(_) | Transport::LaterFragment | Transport::Invalid(_) => None,
    }
}

impl Hash for FlowKey {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Way { from, hop, source } = self.way;
        state.write_u64(u64::from(self.ids) << 32 | u64::from(from.0));
        state.write_u64(hop);
        state.write_u64(source);
        match &self.addresses {
            Addresses::V4(word) => state.write_u64(*word),
            Addresses::V6(words) => words.iter().for_each(|word| state.write_u64(*word)),
        }
    }
}

#[cold]
fn wide(source: IpAddr, destination: IpAddr) -> Addresses {
    let ([s0, s1], [d0, d1]) = (words(source), words(destination));
    Addresses::V6([s0, s1, d0, d1])
}

fn words(address: IpAddr) -> [u64; 2] {
    match address {
        IpAddr::V4(v4) => [0, u64::from(v4.to_bits())],
        IpAddr::V6(v6) => [v6.to_bits() >> 64, v6.to_bits() & u128::from(u64::MAX)]
            .map(|half| u64::try_from(half).expect("shifted or masked to 64 bits")),
    }
}

/// 48 bits. The order of the octets is anybody's choice: this one costs nothing.
fn mac_word(MacAddr([m0, m1, m2, m3, m4, m5]): MacAddr) -> u64 {
    u64::from(u32::from_ne_bytes([m0, m1, m2, m3])) << 16 | u64::from(u16::from_ne_bytes([m4, m5]))
}
