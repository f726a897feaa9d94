//! The key of an entry: zone, protocol and the flow's two ends told apart as local and remote (CT-4, CT-4a).

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use palisade_packet::{Direction, FlowTuple, Selector};
use serde::{Deserialize, Serialize};

use crate::Zone;

/// What tells entries between the same two addresses apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ids {
    /// TCP and UDP ports.
    Ports {
        /// Port of the local side.
        local: u16,
        /// Port of the remote side.
        remote: u16,
    },
    /// An ICMP query (CT-55, CT-57).
    Query {
        /// The type that the local side sends.
        local_type: u8,
        /// The type that the remote side sends.
        remote_type: u8,
        /// Identifier.
        identifier: u16,
    },
    /// Nothing: a protocol that is tracked by addresses alone.
    None,
}

/// Six words, so that hashing is six multiplications and comparing six comparisons.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key {
    local: [u64; 2],
    remote: [u64; 2],
    /// Zone in the upper half; family in bit 8; protocol in the lowest byte.
    flow: u64,
    ids: u64,
}

/// A key as an entry keeps it: 24 bytes, and 48 elsewhere for IPv6. Made to be small, while [`Key`] is made to be compared.
#[derive(Debug)]
pub(crate) enum KeptKey {
    V4 { local: [u8; 4], remote: [u8; 4], zone: u32, ids: u32, protocol: u8, kind: u8 },
    V6(Box<Key>),
}

const IPV6: u64 = 1 << 8;
const PORTS: u64 = 1 << 32;
const QUERY: u64 = 2 << 32;

impl Key {
    /// The key of a packet that moves in `direction`; `None` for ICMP messages that are never tracked (CT-58).
    ///
    /// Both directions of a flow give the same key: local is the destination of ingress and the source of egress,
    /// whoever owns the address (CT-4a).
    pub(crate) fn of(zone: Zone, direction: Direction, tuple: &FlowTuple) -> Option<Self> {
        let outward = match direction {
            Direction::Egress => *tuple,
            Direction::Ingress => tuple.reversed(),
        };
        let ids = match outward.selector {
            Selector::Ports { source, destination } => Ids::Ports { local: source, remote: destination },
            Selector::Query { source_type, destination_type, identifier } => {
                Ids::Query { local_type: source_type, remote_type: destination_type, identifier }
            }
            Selector::Message { .. } => return None,
            Selector::None => Ids::None,
        };
        Some(Self::new(zone, outward.protocol, (outward.source, outward.destination), ids))
    }

    /// The key with these parts. The family is that of the local address.
    pub(crate) fn new(zone: Zone, protocol: u8, (local, remote): (IpAddr, IpAddr), ids: Ids) -> Self {
        let family = if local.is_ipv6() { IPV6 } else { 0 };
        Self {
            local: words(local),
            remote: words(remote),
            flow: u64::from(zone.0) << 32 | family | u64::from(protocol),
            ids: pack(ids),
        }
    }

    pub(crate) fn zone(&self) -> Zone {
        Zone(u32::try_from(self.flow >> 32).expect("a u64 shifted by 32 fits in 32 bits"))
    }

    pub(crate) fn protocol(&self) -> u8 {
        self.flow.to_le_bytes()[0]
    }

    pub(crate) fn local(&self) -> IpAddr {
        self.address(self.local)
    }

    pub(crate) fn remote(&self) -> IpAddr {
        self.address(self.remote)
    }

    pub(crate) fn ids(&self) -> Ids {
        let [a, b, c, d, ..] = self.ids.to_le_bytes();
        let (low, high) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        match self.ids & !0xffff_ffff {
            PORTS => Ids::Ports { local: high, remote: low },
            QUERY => Ids::Query { local_type: d, remote_type: c, identifier: low },
            _ => Ids::None,
        }
    }

    fn address(&self, [high, low]: [u64; 2]) -> IpAddr {
        if self.flow & IPV6 != 0 {
            return Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low)).into();
        }
        Ipv4Addr::from_bits(u32::try_from(low).expect("made from 32 bits by `words`")).into()
    }
}

impl KeptKey {
    pub(crate) fn of(key: &Key) -> Self {
        let ([_, local], [_, remote]) = (key.local, key.remote);
        let ([protocol, 0, .., z0, z1, z2, z3], [i0, i1, i2, i3, kind, ..]) =
            (key.flow.to_le_bytes(), key.ids.to_le_bytes())
        else {
            return Self::V6(Box::new(*key));
        };
        let [local, remote] = [local, remote].map(|word| {
            let [a, b, c, d, ..] = word.to_le_bytes();
            [a, b, c, d]
        });
        let [zone, ids] = [[z0, z1, z2, z3], [i0, i1, i2, i3]].map(u32::from_le_bytes);
        Self::V4 { local, remote, zone, ids, protocol, kind }
    }

    pub(crate) fn key(&self) -> Key {
        match self {
            Self::V4 { local, remote, zone, ids, protocol, kind } => Key {
                local: [0, u32::from_le_bytes(*local).into()],
                remote: [0, u32::from_le_bytes(*remote).into()],
                flow: u64::from(*zone) << 32 | u64::from(*protocol),
                ids: u64::from(*kind) << 32 | u64::from(*ids),
            },
            Self::V6(key) => **key,
        }
    }
}

impl Hash for Key {
    /// Whole words: the derived implementation hashes the length of each array as well and takes twice as long.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let words = self.local.iter().chain(&self.remote).chain([&self.flow, &self.ids]);
        words.for_each(|word| state.write_u64(*word));
    }
}

fn words(address: IpAddr) -> [u64; 2] {
    match address {
        IpAddr::V4(v4) => [0, u64::from(v4.to_bits())],
        IpAddr::V6(v6) => [v6.to_bits() >> 64, v6.to_bits() & u128::from(u64::MAX)]
            .map(|half| u64::try_from(half).expect("shifted or masked to 64 bits")),
    }
}

fn pack(ids: Ids) -> u64 {
    match ids {
        Ids::Ports { local, remote } => PORTS | u64::from(local) << 16 | u64::from(remote),
        Ids::Query { local_type, remote_type, identifier } => {
            QUERY | u64::from(local_type) << 24 | u64::from(remote_type) << 16 | u64::from(identifier)
        }
        Ids::None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(selector: Selector) -> FlowTuple {
        FlowTuple {
            source: "10.0.1.10".parse().unwrap(),
            destination: "10.0.2.20".parse().unwrap(),
            protocol: 6,
            selector,
        }
    }

    #[test]
    fn a_flow_and_its_mirror_have_one_key() {
        let sent = tuple(Selector::Ports { source: 40_000, destination: 443 });
        let key = Key::of(Zone(7), Direction::Egress, &sent).unwrap();
        assert_eq!(Some(key), Key::of(Zone(7), Direction::Ingress, &sent.reversed()), "CT-5");
        assert_ne!(Some(key), Key::of(Zone(7), Direction::Ingress, &sent), "CT-4a");
        assert_ne!(Some(key), Key::of(Zone(8), Direction::Egress, &sent), "CT-2");
    }

    #[test]
    fn parts_come_back() {
        let ends6: (IpAddr, IpAddr) = ("2001:db8::1".parse().unwrap(), "fe80::abcd:2".parse().unwrap());
        let ends4: (IpAddr, IpAddr) = ("255.1.2.3".parse().unwrap(), "10.0.0.1".parse().unwrap());
        let query = Ids::Query { local_type: 8, remote_type: 0, identifier: 0xabcd };
        for (ends, ids) in
            [(ends6, query), (ends4, Ids::Ports { local: 1, remote: 65_535 }), (ends4, Ids::None)]
        {
            let key = Key::new(Zone(u32::MAX), 58, ends, ids);
            assert_eq!((key.local(), key.remote(), key.ids()), (ends.0, ends.1, ids));
            assert_eq!((key.zone(), key.protocol()), (Zone(u32::MAX), 58));
            assert_eq!(KeptKey::of(&key).key(), key);
        }
    }

    #[test]
    fn families_do_not_meet() {
        let four: IpAddr = "0.0.0.1".parse().unwrap();
        let six: IpAddr = "::1".parse().unwrap();
        assert_ne!(
            Key::new(Zone(0), 47, (four, four), Ids::None),
            Key::new(Zone(0), 47, (six, six), Ids::None),
            "::1 and 0.0.0.1 have the same words"
        );
    }

    #[test]
    fn messages_have_no_key() {
        let message = tuple(Selector::Message { icmp_type: 9, code: 0 });
        assert_eq!(Key::of(Zone(0), Direction::Egress, &message), None, "CT-58");
    }
}
