//! Values of filter words, of `palisade conns` and of `palisade flows`: what they may be and what is said when they are not.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use palisade_packet::summary::protocol::{ICMP, ICMPV6, TCP, UDP};
use palisade_policy::model::Cidr;

/// What [`protocol`] takes, as people are told.
pub const PROTOCOLS: &str = "write `tcp`, `udp`, `icmp`, `icmpv6` or a number from 0 to 255";
/// What [`block`] takes, as people are told.
pub const BLOCKS: &str =
    "write an address such as 10.0.1.10, or a CIDR block without host bits such as 10.0.2.0/24";
/// What [`ports`] takes, as people are told.
pub const PORTS: &str = "write a port from 0 to 65535, or a range such as 1024-65535";

/// The number of a protocol: a name, or the number itself.
#[must_use]
pub fn protocol(text: &str) -> Option<u8> {
    match text {
        "tcp" => Some(TCP),
        "udp" => Some(UDP),
        "icmp" => Some(ICMP),
        "icmpv6" => Some(ICMPV6),
        number => number.parse().ok(),
    }
}

/// A block of addresses, or one address.
#[must_use]
pub fn block(text: &str) -> Option<Cidr> {
    match IpAddr::from_str(text) {
        Ok(address) => Some(address.into()),
        Err(_) => Cidr::from_str(text).ok().filter(|block| *block == block.trunc()),
    }
}

/// A port, or a range of them that is not empty.
#[must_use]
pub fn ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let range = from.parse().ok()?..=to.parse().ok()?;
    (!range.is_empty()).then_some(range)
}
