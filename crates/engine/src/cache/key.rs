//! What packets of one cached flow have in common: everything of a packet that its walk may depend on, besides what each
//! hit looks at anew (size, TCP flags, source MAC address).

use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use palisade_packet::{Body, IpPacket, MacAddr, PacketSummary, TcpFlags, Transport};
use palisade_policy::EniKey;

/// Six words, compared and hashed as such.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FlowKey([u64; 6]);

const IPV6: u64 = 1 << 8;

impl FlowKey {
    /// The key of a packet sent by an ENI; `None` for kinds of packets that always walk: fragments, ICMP errors, messages
    /// that discovery or a service may want, TCP flags that no TCP sends.
    pub(crate) fn of(from: EniKey, summary: &PacketSummary) -> Option<Self> {
        let Body::Ip(ip) = &summary.body else { return None };
        if ip.fragment.is_some() {
            return None;
        }
        let ids = ids(ip)?;
        let [source, destination] = [ip.source, ip.destination].map(words);
        let family = if ip.source.is_ipv6() { IPV6 } else { 0 };
        let flow = u64::from(ids) << 32 | family | u64::from(ip.protocol);
        // The destination MAC address chooses the next hop (RT-5).
        let from = u64::from(from.0);
        let hop = mac_word(summary.destination_mac) << 16 | from & 0xffff;
        let flow = flow | from >> 16 << 16 & 0xffff_0000;
        Some(Self([source[0], source[1], destination[0], destination[1], flow, hop]))
    }
}

/// Ports, or type, code and identifier of an ICMP query.
fn ids(ip: &IpPacket) -> Option<u32> {
    match ip.transport {
        Transport::Tcp(tcp) if tcp.flags.is_impossible() => None,
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
        IpAddr::V6(v6) => {
            let halves = v6.octets();
            let (high, low) = halves.split_at(8);
            [high, low].map(big_endian)
        }
    }
}

fn mac_word(mac: MacAddr) -> u64 {
    big_endian(&mac.0)
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte))
}
