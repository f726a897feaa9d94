//! IEEE 802 MAC addresses.

use std::fmt;
use std::str::FromStr;

/// A 48-bit IEEE 802 MAC address, in transmission order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether the group bit is set: a multicast or the broadcast address.
    #[must_use]
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// The modified EUI-64 interface identifier of RFC 4291, appendix A, as the link-local address `fe80::/64`.
    #[must_use]
    pub const fn link_local(self) -> std::net::Ipv6Addr {
        let [m0, m1, m2, m3, m4, m5] = self.0;
        let octets = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, m0 ^ 2, m1, m2, 0xff, 0xfe, m3, m4, m5];
        std::net::Ipv6Addr::from_octets(octets)
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [m0, m1, m2, m3, m4, m5] = self.0;
        write!(f, "{m0:02x}:{m1:02x}:{m2:02x}:{m3:02x}:{m4:02x}:{m5:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not six pairs of hexadecimal digits separated by colons.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a MAC address is six pairs of hexadecimal digits separated by colons, such as 02:00:0a:00:01:0a")]
pub struct InvalidMac;

impl FromStr for MacAddr {
    type Err = InvalidMac;

    fn from_str(text: &str) -> Result<Self, InvalidMac> {
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let is_pair = |part: &&str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
            let part = parts.next().filter(is_pair).ok_or(InvalidMac)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| InvalidMac)?;
        }
        if parts.next().is_some() { Err(InvalidMac) } else { Ok(Self(octets)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        let mac: MacAddr = "02:00:0a:00:01:0A".parse().unwrap();
        assert_eq!(mac.to_string(), "02:00:0a:00:01:0a");
    }

    #[test]
    fn malformed_text_is_refused() {
        for text in [
            "",
            "02:00:0a:00:01",
            "02:00:0a:00:01:0a:0b",
            "2:0:a:0:1:a",
            "zz:00:0a:00:01:0a",
            "+2:00:00:00:00:00",
        ] {
            assert_eq!(text.parse::<MacAddr>(), Err(InvalidMac), "{text}");
        }
    }

    #[test]
    fn link_local_is_modified_eui_64() {
        let mac = MacAddr([0x02, 0, 0x0a, 0, 1, 0x0a]);
        assert_eq!(mac.link_local().to_string(), "fe80::aff:fe00:10a");
    }
}
