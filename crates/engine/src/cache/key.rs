//! What packets of one cached flow have in common: everything of a packet that its walk may depend on, besides what each
//! hit looks at anew (size, TCP flags).

use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use palisade_packet::summary::protocol::{TCP, UDP};
use palisade_packet::{IpPacket, MacAddr, PacketSummary, TcpFlags, Transport};
use palisade_policy::EniKey;

/// Addresses, ids and sender, next hop and protocol, source MAC address: seven words, compared and hashed as such.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlowKey([u64; 7]);

const IPV6: u64 = 1 << 8;

impl FlowKey {
    /// The key of a packet sent by an ENI; `None` for kinds of packets that always walk: fragments, ICMP errors, messages
    /// that discovery or a service may want.
    pub(crate) fn of(from: EniKey, summary: &PacketSummary, ip: &IpPacket) -> Option<Self> {
        if ip.fragment.is_some() {
            return None;
        }
        let flow = u64::from(ids(ip)?) << 32 | u64::from(from.0);
        let ([s0, s1], [d0, d1]) = (words(ip.source), words(ip.destination));
        let family = if ip.is_ipv4() { 0 } else { IPV6 };
        // The destination MAC address chooses the next hop (RT-5).
        let hop = mac_word(summary.destination_mac) << 16 | family | u64::from(ip.protocol);
        Some(Self([s0, s1, d0, d1, flow, hop, mac_word(summary.source_mac)]))
    }

    /// Addresses and ports of the packets, 0 without ports (FL-15), and their protocol.
    pub(crate) fn ends(&self) -> ([(IpAddr, u16); 2], u8) {
        let Self([s0, s1, d0, d1, flow, hop, _]) = *self;
        let [protocol, family, ..] = hop.to_le_bytes();
        let address = |high: u64, low: u64| match (family, low.to_le_bytes()) {
            (0, [a, b, c, d, ..]) => IpAddr::from([d, c, b, a]),
            _ => IpAddr::from((u128::from(high) << 64 | u128::from(low)).to_be_bytes()),
        };
        let [.., d_low, d_high, s_low, s_high] = flow.to_le_bytes();
        let ports = match protocol {
            TCP | UDP => [[s_low, s_high], [d_low, d_high]].map(u16::from_le_bytes),
            _ => [0; 2],
        };
        ([(address(s0, s1), ports[0]), (address(d0, d1), ports[1])], protocol)
    }

    /// One of the words.
    pub(super) const fn first(&self) -> u64 {
        self.0[0]
    }

    /// Whether it is the same one. Looks at all words rather than leave early: most keys that are compared are equal.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |differences, (mine, theirs)| differences | (mine ^ theirs)) == 0
    }
}

/// Ports, or type, code and identifier of an ICMP query.
fn ids(ip: &IpPacket) -> Option<u32> {
    match ip.transport {
        Transport::Tcp(tcp) => Some(u32::from(tcp.source) << 16 | u32::from(tcp.destination)),
        Transport::Udp { source, destination } => Some(u32::from(source) << 16 | u32::from(destination)),
        Transport::Icmp(icmp) => {
            icmp.answered_by()?;
            // Code and type of a query are small; together with the identifier they fill the word.
            let [kind, code] = [icmp.icmp_type, icmp.code].map(u32::from);
            Some(kind << 24 | code << 16 | u32::from(icmp.identifier))
        }
        Transport::Other => Some(0),
        Transport::LaterFragment | Transport::Invalid(_) => None,
    }
}

/// Whether a packet neither opens, closes nor resets anything.
pub(crate) fn is_plain(ip: &IpPacket) -> bool {
    match ip.transport {
        Transport::Tcp(tcp) => {
            let TcpFlags(bits) = tcp.flags;
            let moving = TcpFlags::SYN.with(TcpFlags::FIN).with(TcpFlags::RST);
            bits & moving.0 == 0 && tcp.flags.contains(TcpFlags::ACK)
        }
        _ => true,
    }
}

impl Hash for FlowKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.iter().for_each(|word| state.write_u64(*word));
    }
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
