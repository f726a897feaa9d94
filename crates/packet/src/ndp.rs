//! Reading IPv6 neighbour discovery (RFC 4861), as far as the fabric answers and polices it (RES-40b).

use std::net::{IpAddr, Ipv6Addr};

use crate::MacAddr;
use crate::checksum;
use crate::summary::{IpPacket, Transport};

const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;

/// A valid neighbour discovery message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NdpMessage {
    /// "Who has `target`?"; with the source `::` duplicate-address detection (RFC 4862).
    Solicitation(Neighbour),
    /// "I have `target`."
    Advertisement(Neighbour),
    /// Router solicitation, router advertisement or redirect: only the hop limit and code were looked at.
    Other,
}

/// What a solicitation or an advertisement says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Neighbour {
    /// The address asked for or advertised; never multicast.
    pub target: Ipv6Addr,
    /// The source link-layer address option (type 1).
    pub source_link_layer: Option<MacAddr>,
    /// The target link-layer address option (type 2).
    pub target_link_layer: Option<MacAddr>,
}

impl Neighbour {
    /// Whether every link-layer address it mentions is `mac` (RES-40b).
    #[must_use]
    pub fn speaks_only_for(&self, mac: MacAddr) -> bool {
        [self.source_link_layer, self.target_link_layer].into_iter().flatten().all(|named| named == mac)
    }
}

/// Why a neighbour discovery message is dropped.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum InvalidNdp {
    /// Not `ICMPv6` of type 133 to 137.
    #[error("the packet is not neighbour discovery")]
    NotNdp,
    /// A hop limit other than 255: it came from beyond the link (RES-24v6).
    #[error("the hop limit is not 255")]
    HopLimit,
    /// Neighbour discovery in fragments (RFC 6980).
    #[error("the message is a fragment")]
    Fragmented,
    /// A code other than 0.
    #[error("the code is not 0")]
    Code,
    /// A wrong checksum: the fabric is the receiver here, so unlike a filter (CT-48) it looks (RFC 4861 §7.1).
    #[error("the checksum is wrong")]
    Checksum,
    /// Shorter than its fixed part, or a multicast target.
    #[error("the message is truncated or its target is a multicast address")]
    Target,
    /// An option of length 0 or beyond the message, a link-layer address that is not Ethernet, or two that differ.
    #[error("an option is malformed")]
    Option,
    /// Duplicate-address detection with a source link-layer address, or not sent to the solicited-node address.
    #[error("duplicate-address detection is malformed")]
    Unspecified,
}

/// Whether the packet is neighbour discovery at all: `ICMPv6` type 133 to 137 (RES-23v6).
#[must_use]
pub const fn is_ndp(packet: &IpPacket) -> bool {
    matches!(packet.transport, Transport::Icmp(icmp) if icmp.v6 && matches!(icmp.icmp_type, 133..=137))
}

/// Reads a neighbour discovery message and validates it as RFC 4861 §7.1 says.
///
/// # Errors
///
/// [`InvalidNdp`]: the message must have no effect and goes nowhere.
pub fn read(frame: &[u8], packet: &IpPacket) -> Result<NdpMessage, InvalidNdp> {
    let icmp = match packet.transport {
        Transport::Icmp(icmp) if is_ndp(packet) => icmp,
        _ => return Err(InvalidNdp::NotNdp),
    };
    if packet.fragment.is_some() {
        return Err(InvalidNdp::Fragmented);
    }
    if packet.hop_limit != 255 {
        return Err(InvalidNdp::HopLimit);
    }
    if icmp.code != 0 {
        return Err(InvalidNdp::Code);
    }
    let message = match icmp.icmp_type {
        NEIGHBOUR_SOLICITATION => NdpMessage::Solicitation,
        NEIGHBOUR_ADVERTISEMENT => NdpMessage::Advertisement,
        _ => return Ok(NdpMessage::Other),
    };
    if !checksum::transport_is_valid(frame, packet) {
        return Err(InvalidNdp::Checksum);
    }
    let neighbour = neighbour(frame.get(checksum::upper_range(packet)).unwrap_or_default())?;
    if packet.source.is_unspecified() && icmp.icmp_type == NEIGHBOUR_SOLICITATION {
        check_duplicate_detection(packet, &neighbour)?;
    }
    Ok(message(neighbour))
}

/// The solicited-node multicast address of `target` (RFC 4291 §2.7.1).
#[must_use]
pub const fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = target.octets();
    Ipv6Addr::from_octets([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// Reads the target and options of a solicitation or advertisement, from its `ICMPv6` header on.
fn neighbour(message: &[u8]) -> Result<Neighbour, InvalidNdp> {
    let (_, body) = message.split_first_chunk::<8>().ok_or(InvalidNdp::Target)?;
    let (target, options) = body.split_first_chunk::<16>().ok_or(InvalidNdp::Target)?;
    let target = Ipv6Addr::from_octets(*target);
    if target.is_multicast() {
        return Err(InvalidNdp::Target);
    }
    let mut neighbour = Neighbour { target, source_link_layer: None, target_link_layer: None };
    read_options(options, &mut neighbour).map(|()| neighbour)
}

fn read_options(mut options: &[u8], neighbour: &mut Neighbour) -> Result<(), InvalidNdp> {
    while !options.is_empty() {
        let (option, rest) = next_option(options).ok_or(InvalidNdp::Option)?;
        options = rest;
        let slot = match option.first() {
            Some(&SOURCE_LINK_LAYER) => &mut neighbour.source_link_layer,
            Some(&TARGET_LINK_LAYER) => &mut neighbour.target_link_layer,
            _ => continue,
        };
        let &[_, _, m0, m1, m2, m3, m4, m5] = option else { return Err(InvalidNdp::Option) };
        let mac = MacAddr([m0, m1, m2, m3, m4, m5]);
        if slot.replace(mac).is_some_and(|earlier| earlier != mac) {
            return Err(InvalidNdp::Option);
        }
    }
    Ok(())
}

/// The first option and the rest; lengths count in units of eight bytes (RFC 4861 §4.6).
fn next_option(options: &[u8]) -> Option<(&[u8], &[u8])> {
    let len = usize::from(*options.get(1)?) * 8;
    if len == 0 { None } else { options.split_at_checked(len) }
}

/// RFC 4861 §7.1.1, of a solicitation from `::`.
fn check_duplicate_detection(packet: &IpPacket, neighbour: &Neighbour) -> Result<(), InvalidNdp> {
    let solicited = packet.destination == IpAddr::V6(solicited_node(neighbour.target));
    if solicited && neighbour.source_link_layer.is_none() { Ok(()) } else { Err(InvalidNdp::Unspecified) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::{pseudo_header, write_field};
    use crate::tests::samples::*;

    /// A neighbour discovery packet with a right checksum.
    struct Ndp {
        source: Ipv6Addr,
        destination: Ipv6Addr,
        hop_limit: u8,
        message: Vec<u8>,
    }

    impl Ndp {
        fn new(icmp_type: u8, options: &[u8]) -> Self {
            let message = [&[icmp_type, 0, 0, 0, 0, 0, 0, 0][..], &PEER6.octets(), options].concat();
            Self { source: GUEST6, destination: solicited_node(PEER6), hop_limit: 255, message }
        }

        fn frame(&self) -> Vec<u8> {
            let mut frame = v6_frame(58, &self.message);
            frame[21] = self.hop_limit;
            frame[22..38].copy_from_slice(&self.source.octets());
            frame[38..54].copy_from_slice(&self.destination.octets());
            let len = u32::try_from(self.message.len()).unwrap();
            let sum = pseudo_header(self.source.into(), self.destination.into(), 58, len);
            write_field(&mut frame, 56, sum.bytes(&self.message).checksum());
            frame
        }

        fn read(&self) -> Result<NdpMessage, InvalidNdp> {
            let frame = self.frame();
            read(&frame, &ip(&frame))
        }
    }

    fn link_layer(kind: u8, mac: MacAddr) -> Vec<u8> {
        [&[kind, 1][..], &mac.0].concat()
    }

    #[test]
    fn solicitations_and_advertisements_are_read() {
        let source = Some(GUEST_MAC);
        let expected = Neighbour { target: PEER6, source_link_layer: source, target_link_layer: None };
        let solicitation = Ndp::new(135, &link_layer(1, GUEST_MAC));
        assert_eq!(solicitation.read(), Ok(NdpMessage::Solicitation(expected)));
        let unknown_first = [&[14, 1, 0, 0, 0, 0, 0, 0][..], &link_layer(2, ROUTER_MAC)].concat();
        let Ok(NdpMessage::Advertisement(read)) = Ndp::new(136, &unknown_first).read() else { panic!() };
        assert_eq!((read.source_link_layer, read.target_link_layer), (None, Some(ROUTER_MAC)));
        assert_eq!(Ndp::new(133, &[]).read(), Ok(NdpMessage::Other));
    }

    #[test]
    fn a_neighbour_speaks_for_the_addresses_it_names() {
        let bare = Neighbour { target: PEER6, source_link_layer: None, target_link_layer: None };
        let forged = Neighbour { target_link_layer: Some(ROUTER_MAC), ..bare };
        let own = Neighbour { source_link_layer: Some(GUEST_MAC), ..bare };
        assert!(bare.speaks_only_for(GUEST_MAC) && own.speaks_only_for(GUEST_MAC), "RES-40b");
        assert!(!forged.speaks_only_for(GUEST_MAC), "RES-40b");
        let both = Neighbour { source_link_layer: Some(GUEST_MAC), ..forged };
        assert!(!both.speaks_only_for(GUEST_MAC), "RES-40b");
    }

    #[test]
    fn invalid_messages_name_their_fault() {
        let spoilt = |spoil: fn(&mut Ndp)| {
            let mut ndp = Ndp::new(135, &link_layer(1, GUEST_MAC));
            spoil(&mut ndp);
            ndp.read()
        };
        assert_eq!(spoilt(|ndp| ndp.hop_limit = 254), Err(InvalidNdp::HopLimit), "RES-24v6");
        assert_eq!(spoilt(|ndp| ndp.message[1] = 1), Err(InvalidNdp::Code));
        assert_eq!(spoilt(|ndp| ndp.message.truncate(23)), Err(InvalidNdp::Target));
        assert_eq!(spoilt(|ndp| ndp.message[8] = 0xff), Err(InvalidNdp::Target), "multicast target");
        assert_eq!(spoilt(|ndp| ndp.message[25] = 0), Err(InvalidNdp::Option), "length 0");
        assert_eq!(spoilt(|ndp| ndp.message[25] = 2), Err(InvalidNdp::Option), "beyond the message");
        assert_eq!(spoilt(|ndp| ndp.message.push(1)), Err(InvalidNdp::Option), "cut off");
        assert_eq!(spoilt(|ndp| ndp.message[0] = 128), Err(InvalidNdp::NotNdp));
        let differ = |ndp: &mut Ndp| ndp.message.extend(link_layer(1, ROUTER_MAC));
        assert_eq!(spoilt(differ), Err(InvalidNdp::Option), "two addresses");
        let long = |ndp: &mut Ndp| (ndp.message[25], ndp.message) = (2, [&ndp.message[..], &[0; 8]].concat());
        assert_eq!(spoilt(long), Err(InvalidNdp::Option), "not an Ethernet address");
        let mut frame = Ndp::new(135, &[]).frame();
        frame[56] ^= 1;
        assert_eq!(read(&frame, &ip(&frame)), Err(InvalidNdp::Checksum));
        assert_eq!(spoilt(|ndp| ndp.message[0] = 137), Ok(NdpMessage::Other));
    }

    #[test]
    fn fragments_are_no_neighbour_discovery() {
        let message = Ndp::new(135, &[]).message;
        let frame = v6_frame(44, &fragment_header(58, 0, true, &message));
        assert_eq!(read(&frame, &ip(&frame)), Err(InvalidNdp::Fragmented), "RFC 6980");
    }

    #[test]
    fn duplicate_address_detection_goes_to_the_solicited_node() {
        let probe = |options: &[u8], destination| {
            let ndp = Ndp { source: Ipv6Addr::UNSPECIFIED, destination, ..Ndp::new(135, options) };
            ndp.read().map(|message| matches!(message, NdpMessage::Solicitation(_)))
        };
        let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0x10);
        assert_eq!(solicited_node(PEER6), group);
        assert_eq!(probe(&[], group), Ok(true));
        assert_eq!(probe(&[], PEER6), Err(InvalidNdp::Unspecified));
        assert_eq!(probe(&link_layer(1, GUEST_MAC), group), Err(InvalidNdp::Unspecified));
    }
}
