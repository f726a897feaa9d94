//! The internet checksum (RFC 1071): sums, pseudo-headers, incremental update, and finishing partial checksums.

use std::net::IpAddr;
use std::ops::Range;

use crate::summary::{IpPacket, Transport, protocol};

/// A one's complement sum under way. Parts may be added in any order; each part counts from an even offset.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Sum(u64);

impl Sum {
    /// The empty sum.
    pub const ZERO: Self = Self(0);

    /// Adds bytes as big-endian 16-bit words; an odd last byte is padded with zero (RFC 1071 §1).
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        // The sum does not depend on byte order (RFC 1071 §2 B): native words are added and the result is swapped once.
        let (words, rest) = bytes.as_chunks::<4>();
        let mut native = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum::<u64>();
        let mut tail = [0; 4];
        for (to, from) in tail.iter_mut().zip(rest) {
            *to = *from;
        }
        native += u64::from(u32::from_ne_bytes(tail));
        self.word(u16::from_be_bytes(fold(native).to_ne_bytes()))
    }

    /// Adds one 16-bit word.
    #[must_use]
    pub const fn word(self, word: u16) -> Self {
        Self(self.0 + word as u64)
    }

    /// Adds a 32-bit number as two words.
    #[must_use]
    pub const fn long(self, long: u32) -> Self {
        Self(self.0 + long as u64)
    }

    /// Adds another sum.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// Takes one word out again.
    #[must_use]
    pub const fn without(self, word: u16) -> Self {
        self.word(!word)
    }

    /// The sum in 16 bits: what a partial checksum field holds.
    #[must_use]
    pub const fn folded(self) -> u16 {
        fold(self.0)
    }

    /// The complement of the sum: what a complete checksum field holds.
    #[must_use]
    pub const fn checksum(self) -> u16 {
        !fold(self.0)
    }
}

const fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [low, high, ..] = sum.to_le_bytes();
    u16::from_le_bytes([low, high])
}

/// The pseudo-header of RFC 9293 §3.1 and RFC 8200 §8.1; `len` is that of the upper-layer packet in bytes.
#[must_use]
pub fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, len: u32) -> Sum {
    let address = |sum: Sum, address| match address {
        IpAddr::V4(address) => sum.bytes(&address.octets()),
        IpAddr::V6(address) => sum.bytes(&address.octets()),
    };
    address(address(Sum::ZERO, source), destination).word(u16::from(protocol)).long(len)
}

/// The checksum field after one 16-bit word under it changed from `old` to `new` (RFC 1624, equation 3).
#[must_use]
pub const fn adjusted(checksum: u16, old: u16, new: u16) -> u16 {
    Sum::ZERO.without(checksum).without(old).word(new).checksum()
}

/// Where the checksum of a TCP or UDP header stands, counted from the start of that header: 16 or 6.
#[must_use]
pub const fn field_offset(transport: &Transport) -> Option<u16> {
    match transport {
        Transport::Tcp(_) => Some(16),
        Transport::Udp { .. } => Some(6),
        _ => None,
    }
}

/// Finishes the partial checksum of an unfragmented TCP or UDP packet: the field holds the folded pseudo-header sum that
/// the sender's stack put there, the rest of the packet is added. Everything else is left as it is.
///
/// The sender's sum is used rather than one made from the addresses, since with an IPv6 routing header the destination
/// in it is not the one in the header (RFC 8200 §8.1). A wrong one spoils that packet only.
pub fn complete(frame: &mut [u8], packet: &IpPacket) {
    let Some(field) = field_offset(&packet.transport).filter(|_| packet.fragment.is_none()) else { return };
    let Some(upper) = frame.get_mut(upper_range(packet)) else { return };
    let checksum = Sum::ZERO.bytes(upper).checksum();
    write_field(upper, usize::from(field), sendable(packet.protocol, checksum));
}

/// Whether the IPv4 header checksum is right; true for IPv6, which has none.
#[must_use]
pub fn header_is_valid(frame: &[u8], packet: &IpPacket) -> bool {
    if !packet.is_ipv4() {
        return true;
    }
    let start = usize::from(packet.network_offset);
    let len = frame.get(start).map_or(0, |first| usize::from(first & 0x0f) * 4);
    frame.get(start..start + len).is_some_and(|header| Sum::ZERO.bytes(header).checksum() == 0)
}

/// Whether the checksum of a whole TCP, UDP, `ICMPv4` or `ICMPv6` packet is right. UDP over IPv4 may have none (RFC 768);
/// over IPv6 it must (RFC 8200 §8.1). True for packets that carry nothing which could be verified.
#[must_use]
pub fn transport_is_valid(frame: &[u8], packet: &IpPacket) -> bool {
    let Some(upper) = frame.get(upper_range(packet)) else { return false };
    let pseudo = pseudo_header(packet.source, packet.destination, packet.protocol, packet.transport_len());
    match packet.transport {
        _ if packet.fragment.is_some() => true,
        Transport::Udp { .. } if upper.get(6..8) == Some(&[0, 0]) => packet.is_ipv4(),
        Transport::Icmp(icmp) if !icmp.v6 => Sum::ZERO.bytes(upper).checksum() == 0,
        Transport::Tcp(_) | Transport::Udp { .. } | Transport::Icmp(_) => pseudo.bytes(upper).checksum() == 0,
        Transport::Other | Transport::LaterFragment | Transport::Invalid(_) => true,
    }
}

/// The bytes of the upper-layer header and payload.
pub(crate) fn upper_range(packet: &IpPacket) -> Range<usize> {
    let end = usize::from(packet.network_offset).saturating_add(packet.ip_len as usize);
    usize::from(packet.transport_offset)..end
}

/// UDP writes a computed 0 as 0xffff, since 0 means "none" (RFC 768).
pub(crate) const fn sendable(protocol: u8, checksum: u16) -> u16 {
    if protocol == protocol::UDP && checksum == 0 { 0xffff } else { checksum }
}

/// Computes the checksum of the IPv4 header at the start of `ip` anew.
pub fn seal_ipv4_header(ip: &mut [u8], header_len: usize) {
    let Some(header) = ip.get_mut(..header_len) else { return };
    write_field(header, 10, 0);
    let checksum = Sum::ZERO.bytes(header).checksum();
    write_field(header, 10, checksum);
}

/// Writes a big-endian word, if it lies inside.
pub(crate) fn write_field(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(field) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<2>) {
        *field = value.to_be_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, word by word.
    fn naive(bytes: &[u8]) -> u16 {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::try_from(sum).unwrap()
    }

    #[test]
    fn the_example_of_rfc_1071_sums_to_ddf2() {
        let sum = Sum::ZERO.bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!((sum.folded(), sum.checksum()), (0xddf2, 0x220d));
    }

    #[test]
    fn a_zero_udp_checksum_is_sent_as_ffff() {
        assert_eq!(sendable(protocol::UDP, 0), 0xffff);
        assert_eq!(sendable(protocol::TCP, 0), 0);
    }

    proptest! {
        #[test]
        fn sums_agree_with_the_definition(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(Sum::ZERO.bytes(&bytes).folded(), naive(&bytes));
        }

        #[test]
        fn parts_add_up(head in proptest::collection::vec(any::<[u8; 2]>(), 0..50), tail: Vec<u8>) {
            let head = head.concat();
            let whole = [head.as_slice(), &tail].concat();
            prop_assert_eq!(Sum::ZERO.bytes(&head).bytes(&tail).folded(), naive(&whole));
        }

        #[test]
        fn an_adjusted_checksum_still_verifies(mut words: [u16; 10], new: u16, at in 1_usize..10) {
            words[0] = 0;
            let sum = |words: &[u16; 10]| words.iter().fold(Sum::ZERO, |sum, word| sum.word(*word));
            words[0] = sum(&words).checksum();
            words[0] = adjusted(words[0], words[at], new);
            words[at] = new;
            prop_assert_eq!(sum(&words).checksum(), 0);
        }
    }
}
