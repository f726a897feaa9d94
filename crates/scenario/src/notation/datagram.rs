//! From an [`IpSpec`] to the bytes of an IP packet: headers, fragments, and lengths that lie.

use std::net::IpAddr;

use palisade_packet::checksum::Sum;

use super::{Extension, FragmentSpec, IpSpec};

const FRAGMENT_HEADER: u8 = 44;

impl IpSpec {
    /// The packet, or `None` if it is longer than IP allows.
    pub(crate) fn datagram(&self) -> Option<Vec<u8>> {
        let mut carried = self.carried()?;
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                carried.truncate(self.cut.map_or(usize::MAX, usize::from));
                let mut out = self.ipv4_header(carried.len(), source.octets(), destination.octets())?;
                out.append(&mut carried);
                Some(out)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let (first, rest) = self.chain(carried);
                let mut out = self.ipv6_header(first, rest.len())?;
                out.extend_from_slice(&source.octets());
                out.extend_from_slice(&destination.octets());
                out.extend_from_slice(&rest);
                Some(out)
            }
            _ => None,
        }
    }

    /// The upper-layer packet; of a later fragment, the bytes it carries.
    fn carried(&self) -> Option<Vec<u8>> {
        let counted = || (0..self.len).map(|at| at.to_be_bytes()[1]).collect();
        let payload = self.data.clone().unwrap_or_else(counted);
        if self.is_later() { Some(payload) } else { self.upper(payload) }
    }

    fn is_later(&self) -> bool {
        self.fragment.is_some_and(|fragment| fragment.offset > 0)
    }

    fn ipv4_header(&self, carried: usize, source: [u8; 4], destination: [u8; 4]) -> Option<Vec<u8>> {
        let mut options = self.options.clone();
        options.resize(options.len().next_multiple_of(4), 0);
        let header_len = 20 + options.len();
        let words = u8::try_from(header_len / 4).ok().filter(|words| *words < 16)?;
        let total = u16::try_from(carried + header_len).ok()?;
        let fragment = self.fragment.unwrap_or(FragmentSpec { id: 0, offset: 0, more: false });
        let [.., id_high, id_low] = fragment.id.to_be_bytes();
        let mut place = fragment.offset / 8;
        place |= if fragment.more { 0x2000 } else { 0 };
        place |= if self.dont_fragment { 0x4000 } else { 0 };
        let mut out = vec![0x40 | words, self.tos];
        out.extend_from_slice(&self.ip_len.unwrap_or(total).to_be_bytes());
        out.extend_from_slice(&[id_high, id_low]);
        out.extend_from_slice(&place.to_be_bytes());
        out.extend_from_slice(&[self.ttl, self.protocol(), 0, 0]);
        out.extend_from_slice(&source);
        out.extend_from_slice(&destination);
        out.extend_from_slice(&options);
        let checksum = Sum::ZERO.bytes(&out).checksum().to_be_bytes();
        out[10..12].copy_from_slice(&checksum);
        Some(out)
    }

    /// All but the addresses.
    fn ipv6_header(&self, first: u8, rest: usize) -> Option<Vec<u8>> {
        let length = self.ip_len.map_or_else(|| u16::try_from(rest).ok(), Some)?;
        let mut out = vec![0x60 | self.tos >> 4, self.tos << 4, 0, 0];
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&[first, self.ttl]);
        Some(out)
    }

    /// The IPv6 headers in front of what is carried, and the number of the first.
    fn chain(&self, carried: Vec<u8>) -> (u8, Vec<u8>) {
        let mut order = self.extensions.clone();
        if self.fragment.is_some() && !order.contains(&Extension::Fragment) {
            order.push(Extension::Fragment);
        }
        let cut = self.cut.map_or(usize::MAX, usize::from);
        let fragmented = order.contains(&Extension::Fragment);
        let (mut next, mut rest) = (self.protocol(), carried);
        let mut behind = true;
        for header in order.into_iter().rev() {
            if header == Extension::Fragment {
                behind = false;
                rest.truncate(cut);
            } else if behind && self.is_later() && fragmented {
                next = header.number();
                continue;
            }
            let mut with = self.extension(header, next);
            with.append(&mut rest);
            (next, rest) = (header.number(), with);
        }
        if !fragmented {
            rest.truncate(cut);
        }
        (next, rest)
    }

    fn extension(&self, header: Extension, next: u8) -> Vec<u8> {
        match (header, self.fragment) {
            (Extension::Fragment, Some(fragment)) => {
                let place = (fragment.offset & !7) | u16::from(fragment.more);
                let mut out = vec![next, 0];
                out.extend_from_slice(&place.to_be_bytes());
                out.extend_from_slice(&fragment.id.to_be_bytes());
                out
            }
            (Extension::Routing | Extension::Fragment, _) => vec![next, 0, 0, 0, 0, 0, 0, 0],
            // PadN with four bytes (RFC 8200 §4.2).
            (Extension::Hop | Extension::Destination, _) => vec![next, 0, 1, 4, 0, 0, 0, 0],
        }
    }
}

impl Extension {
    const fn number(self) -> u8 {
        match self {
            Self::Hop => 0,
            Self::Routing => 43,
            Self::Fragment => FRAGMENT_HEADER,
            Self::Destination => 60,
        }
    }
}
