//! Ethernet frames as a test wants them, wrong ones among them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{
    ArpEthIpv4Packet, ArpHardwareId, ArpOperation, ArpPacket, ArpPacketSlice, EtherType, IpFragOffset,
    IpNumber, Ipv4Header, Ipv6FragmentHeader, Ipv6Header, PacketBuilder, VlanId,
};

/// The Ethernet broadcast address.
pub const BROADCAST: [u8; 6] = [0xff; 6];

/// The two ends of a UDP datagram, all parts free to choose.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// Source and destination MAC address.
    pub mac: ([u8; 6], [u8; 6]),
    /// Source and destination address, of one family.
    pub ip: (IpAddr, IpAddr),
    /// Source and destination port.
    pub port: (u16, u16),
}

/// A UDP datagram in a frame, checksums complete.
#[must_use]
pub fn udp(ends: &Ends, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(ends.mac.0, ends.mac.1);
    let builder = match ends.ip {
        (IpAddr::V4(from), IpAddr::V4(to)) => builder.ipv4(from.octets(), to.octets(), 64),
        (IpAddr::V6(from), IpAddr::V6(to)) => builder.ipv6(from.octets(), to.octets(), 64),
        mixed => panic!("{mixed:?} are of two families"),
    };
    let mut frame = Vec::new();
    builder.udp(ends.port.0, ends.port.1).write(&mut frame, payload).expect("a Vec takes everything");
    frame
}

/// Cuts a datagram into fragments of so many bytes, a multiple of eight; the last one holds what is left.
#[must_use]
pub fn fragments(frame: &[u8], identification: u16, size: usize) -> Vec<Vec<u8>> {
    let (ethernet, packet) = frame.split_at(14);
    let is_v4 = packet[0] >> 4 == 4;
    let payload = &packet[if is_v4 { Ipv4Header::MIN_LEN } else { Ipv6Header::LEN }..];
    let pieces = payload.len().div_ceil(size);
    let cut = |(at, piece): (usize, &[u8])| {
        let offset = u16::try_from(at * size / 8).ok().and_then(|units| IpFragOffset::try_new(units).ok());
        let offset = offset.expect("a datagram of at most 64 KiB");
        let more = at + 1 < pieces;
        let header = if is_v4 {
            ipv4_fragment(packet, identification, (offset, more), piece.len())
        } else {
            ipv6_fragment(packet, identification, (offset, more), piece.len())
        };
        [ethernet, &header, piece].concat()
    };
    payload.chunks(size).enumerate().map(cut).collect()
}

fn ipv4_fragment(packet: &[u8], id: u16, (offset, more): (IpFragOffset, bool), len: usize) -> Vec<u8> {
    let (mut header, _) = Ipv4Header::from_slice(packet).expect("a header without options");
    (header.identification, header.dont_fragment) = (id, false);
    (header.fragment_offset, header.more_fragments) = (offset, more);
    header.set_payload_len(len).expect("less than before");
    header.header_checksum = header.calc_header_checksum();
    header.to_bytes().to_vec()
}

fn ipv6_fragment(packet: &[u8], id: u16, (offset, more): (IpFragOffset, bool), len: usize) -> Vec<u8> {
    let (mut header, _) = Ipv6Header::from_slice(packet).expect("a whole header");
    let fragment = Ipv6FragmentHeader::new(header.next_header, offset, more, id.into());
    header.next_header = IpNumber::IPV6_FRAGMENTATION_HEADER;
    header.set_payload_length(len + 8).expect("less than 64 KiB");
    [&header.to_bytes()[..], &fragment.to_bytes()].concat()
}

/// Puts VLAN tags of given types in front of a frame's Ethernet type, the first one outermost; VLAN 0 to 4094.
#[must_use]
pub fn tagged(frame: &[u8], tags: &[(u16, u16)]) -> Vec<u8> {
    let mut out = frame[..12].to_vec();
    for &(kind, vlan) in tags {
        let vlan = VlanId::try_new(vlan).expect("a VLAN number of twelve bits");
        out.extend(kind.to_be_bytes());
        out.extend(vlan.value().to_be_bytes());
    }
    out.extend(&frame[12..]);
    out
}

/// An ARP packet with everything free to choose.
#[derive(Clone, Copy, Debug)]
pub struct Arp {
    /// Ethernet source and destination.
    pub mac: ([u8; 6], [u8; 6]),
    /// Whether it is a request.
    pub request: bool,
    /// Sender hardware and protocol address.
    pub sender: ([u8; 6], Ipv4Addr),
    /// Target protocol address.
    pub target: Ipv4Addr,
}

impl Arp {
    /// The honest broadcast question of a host for an address.
    #[must_use]
    pub fn ask(mac: [u8; 6], address: Ipv4Addr, target: Ipv4Addr) -> Self {
        Self { mac: (mac, BROADCAST), request: true, sender: (mac, address), target }
    }

    /// The frame.
    #[must_use]
    pub fn frame(&self) -> Vec<u8> {
        let operation = if self.request { ArpOperation::REQUEST } else { ArpOperation::REPLY };
        let arp = ArpPacket::new(
            ArpHardwareId::ETHERNET,
            EtherType::IPV4,
            operation,
            &self.sender.0,
            &self.sender.1.octets(),
            &[0; 6],
            &self.target.octets(),
        );
        let arp = arp.expect("lengths are those of Ethernet and IPv4");
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(self.mac.0, self.mac.1).arp(arp).write(&mut frame).expect("a Vec takes all");
        frame
    }
}

/// Who answers for an address, as an ARP reply says; `None` if the frame is anything else.
#[must_use]
pub fn arp_reply(frame: &[u8]) -> Option<(Ipv4Addr, [u8; 6])> {
    let arp = frame.get(14..).filter(|_| frame[12..14] == [0x08, 0x06])?;
    let arp = ArpPacketSlice::from_slice(arp).ok()?.to_packet();
    let arp = ArpEthIpv4Packet::try_from(arp).ok().filter(|arp| arp.operation == ArpOperation::REPLY)?;
    Some((arp.sender_ipv4.into(), arp.sender_mac))
}

/// A message of neighbour discovery with everything free to choose.
#[derive(Clone, Copy, Debug)]
pub struct Ndp {
    /// Ethernet source and destination.
    pub mac: ([u8; 6], [u8; 6]),
    /// Source and destination address.
    pub ip: (Ipv6Addr, Ipv6Addr),
    /// 255 in an honest message.
    pub hop_limit: u8,
    /// 135: solicitation, 136: advertisement.
    pub icmp_type: u8,
    /// The address in question.
    pub target: Ipv6Addr,
    /// Link-layer address option: source of a solicitation, target of an advertisement.
    pub link_layer: Option<[u8; 6]>,
}

impl Ndp {
    /// The honest multicast question of a host for an address.
    #[must_use]
    pub fn ask(mac: [u8; 6], address: Ipv6Addr, target: Ipv6Addr) -> Self {
        let group = solicited_node(target);
        let ip = (address, group);
        Self {
            mac: (mac, multicast_mac(group)),
            ip,
            hop_limit: 255,
            icmp_type: 135,
            target,
            link_layer: Some(mac),
        }
    }

    /// The frame.
    #[must_use]
    pub fn frame(&self) -> Vec<u8> {
        let mut body = self.target.octets().to_vec();
        if let Some(mac) = self.link_layer {
            body.extend([if self.icmp_type == 135 { 1 } else { 2 }, 1]);
            body.extend(mac);
        }
        let flags = if self.icmp_type == 136 { [0x20, 0, 0, 0] } else { [0; 4] };
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(self.mac.0, self.mac.1)
            .ipv6(self.ip.0.octets(), self.ip.1.octets(), self.hop_limit)
            .icmpv6_raw(self.icmp_type, 0, flags)
            .write(&mut frame, &body)
            .expect("a Vec takes everything");
        frame
    }
}

/// Target and link-layer address of a neighbour advertisement; `None` if the frame is anything else.
#[must_use]
pub fn advertisement(frame: &[u8]) -> Option<(Ipv6Addr, [u8; 6])> {
    let is_icmpv6 = frame.get(12..14)? == [0x86, 0xdd] && *frame.get(20)? == IpNumber::IPV6_ICMP.0;
    if !is_icmpv6 || *frame.get(54)? != 136 {
        return None;
    }
    let target: [u8; 16] = frame.get(62..78)?.try_into().ok()?;
    let mac = frame.get(78..86).filter(|option| option[..2] == [2, 1])?;
    Some((target.into(), mac[2..].try_into().ok()?))
}

/// The solicited-node group, `ff02::1:ffXX:XXXX`, of an address (RFC 4291).
#[must_use]
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let bytes = address.octets();
    Ipv6Addr::new(
        0xff02,
        0,
        0,
        0,
        0,
        1,
        0xff00 | u16::from(bytes[13]),
        u16::from_be_bytes([bytes[14], bytes[15]]),
    )
}

/// 33:33 and the last four bytes of a multicast address (RFC 2464).
#[must_use]
pub fn multicast_mac(group: Ipv6Addr) -> [u8; 6] {
    let bytes = group.octets();
    [0x33, 0x33, bytes[12], bytes[13], bytes[14], bytes[15]]
}

/// The IPv6 link-local address that a MAC address gives (RFC 4291, modified EUI-64).
#[must_use]
pub fn link_local(mac: [u8; 6]) -> Ipv6Addr {
    let word = |at: usize| u16::from_be_bytes([mac[at], mac[at + 1]]);
    Ipv6Addr::new(
        0xfe80,
        0,
        0,
        0,
        word(0) ^ 0x0200,
        u16::from_be_bytes([mac[2], 0xff]),
        u16::from_be_bytes([0xfe, mac[3]]),
        word(4),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    #[test]
    fn only_an_arp_reply_is_one() {
        let address = Ipv4Addr::new(10, 0, 1, 10);
        let question = Arp::ask(MAC, address, Ipv4Addr::new(10, 0, 1, 1));
        assert_eq!(arp_reply(&question.frame()), None);
        let answer = Arp { request: false, ..question };
        assert_eq!(arp_reply(&answer.frame()), Some((address, MAC)));
        assert_eq!(arp_reply(&answer.frame()[..13]), None);
    }

    #[test]
    fn only_a_neighbour_advertisement_is_one() {
        let (address, target) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        let question = Ndp::ask(MAC, address, target);
        assert_eq!(question.mac.1, [0x33, 0x33, 0xff, 0, 0, 2]);
        assert_eq!(advertisement(&question.frame()), None);
        let answer = Ndp { icmp_type: 136, ..question };
        assert_eq!(advertisement(&answer.frame()), Some((target, MAC)));
        assert_eq!(advertisement(&answer.frame()[..60]), None);
    }

    #[test]
    fn tags_stand_before_the_ethertype() {
        let frame = tagged(&Arp::ask(MAC, Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST).frame(), &[(0x8100, 5)]);
        assert_eq!(frame[12..18], [0x81, 0, 0, 5, 8, 6]);
    }

    #[test]
    fn link_local_addresses_are_eui_64() {
        assert_eq!(link_local([2, 0, 0x0a, 0, 1, 0x0b]).to_string(), "fe80::aff:fe00:10b");
    }
}
