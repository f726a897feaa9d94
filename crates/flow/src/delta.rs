//! What a worker hands over of one flow at one ENI.

use std::net::IpAddr;

use palisade_packet::Direction;
use palisade_policy::{EniKey, RuleSlot};

use crate::ground::{Action, Ground};
use crate::window::Window;

/// What one worker counted of one flow at one ENI, in one direction, in one minute: `first` and `last` lie in the same
/// [`Window`]. Fields that a record does not aggregate by (from `ground` on) are those of the first packet (FL-10).
///
/// A plain value of 96 bytes, made to go through a bounded queue in batches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delta {
    /// Source address in the packets.
    pub source: IpAddr,
    /// Destination address in the packets; of the family of `source`.
    pub destination: IpAddr,
    /// 0 without ports (FL-15). Later fragments have their first one's (FL-16).
    pub source_port: u16,
    /// As `source_port`.
    pub destination_port: u16,
    /// IANA number of the protocol.
    pub protocol: u8,
    /// As seen from the ENI, whoever opened the connection (FL-45).
    pub direction: Direction,
    /// The ENI.
    pub eni: EniKey,
    /// Packets on the wire: a segmentation-offload frame counts as those it stands for, a fragment as one (FL-14). At
    /// least 1.
    pub packets: u64,
    /// Their IP lengths, headers included (FL-14).
    pub bytes: u64,
    /// Unix second of the first packet, rounded down (FL-13).
    pub first: u32,
    /// Unix second of the last packet, rounded down.
    pub last: u32,
    /// [`counted_flags`](crate::counted_flags) of all packets together; 0 unless TCP.
    pub tcp_flags: u8,
    /// Why they were accepted or rejected.
    pub ground: Ground,
    /// The rule or entry that decided, a `*` entry included; `None` if none did.
    pub rule: Option<RuleSlot>,
    /// Generation of the policy that judged.
    pub generation: u64,
    /// Where they went, or came from.
    pub hop: Hop,
}

impl Delta {
    /// The minute that it belongs to.
    #[must_use]
    pub const fn window(&self) -> Window {
        Window::of(self.first)
    }

    /// What its record says.
    #[must_use]
    pub const fn action(&self) -> Action {
        self.ground.action()
    }

    /// Whether both are counted in one record, if the interval has room for both (FL-10, FL-11, FL-43).
    #[must_use]
    pub fn is_of_record(&self, other: &Self) -> bool {
        self.eni == other.eni
            && self.source_port == other.source_port
            && self.destination_port == other.destination_port
            && self.protocol == other.protocol
            && self.direction == other.direction
            && self.source == other.source
            && self.destination == other.destination
            && self.action() == other.action()
    }

    /// Counts `other` in as well, whichever of the two was first.
    pub fn merge(&mut self, other: &Self) {
        if other.first < self.first {
            let Self { first, ground, rule, generation, hop, .. } = *other;
            *self = Self { first, ground, rule, generation, hop, ..*self };
        }
        self.last = self.last.max(other.last);
        self.tcp_flags |= other.tcp_flags;
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}

/// The other end of an ENI's leg: the receiver of what it sent, the sender of what it received.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Hop {
    /// Nobody known: no route, a blackhole, an address without owner, a rejected packet (FL-46).
    None,
    /// An ENI of the VPC.
    Eni(EniKey),
    /// The internet gateway.
    InternetGateway,
}

/// What was not counted in any delta because a queue or a table was full: exact, and written as SKIPDATA (FL-7, FL-47).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Loss {
    /// The ENI whose records lack it.
    pub eni: EniKey,
    /// The minute.
    pub window: Window,
    /// Deltas that were not handed over, at least 1.
    pub deltas: u64,
    /// Their packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delta(first: u32, last: u32, rule: u32) -> Delta {
        Delta {
            source: IpAddr::from([10, 0, 1, 10]),
            destination: IpAddr::from([10, 0, 2, 10]),
            source_port: 40000,
            destination_port: 443,
            protocol: 6,
            direction: Direction::Egress,
            eni: EniKey(1),
            packets: 3,
            bytes: 300,
            first,
            last,
            tcp_flags: 2,
            ground: Ground::Rule,
            rule: Some(RuleSlot(rule)),
            generation: 1,
            hop: Hop::Eni(EniKey(2)),
        }
    }

    #[test]
    fn it_is_small() {
        assert_eq!(size_of::<Delta>(), 96);
        assert_eq!(size_of::<Loss>(), 32);
    }

    /// FL-10: the key, and whose values the other fields have; FL-13.
    #[test]
    fn fl_10_the_first_packet_speaks_for_the_record() {
        let (early, late) = (delta(61, 70, 1), Delta { tcp_flags: 1, ..delta(65, 99, 2) });
        for (mut one, other) in [(early, late), (late, early)] {
            assert!(one.is_of_record(&other));
            one.merge(&other);
            assert_eq!((one.first, one.last, one.rule), (61, 99, Some(RuleSlot(1))));
            assert_eq!((one.packets, one.bytes, one.tcp_flags), (6, 600, 3));
        }
    }

    /// FL-11: two actions, two records; FL-43: two packet-level addresses, two records.
    #[test]
    fn fl_11_fl_43_what_makes_records_differ() {
        let one = delta(61, 70, 1);
        for other in [
            Delta { ground: Ground::NoRule, ..one },
            Delta { source: IpAddr::from([10, 0, 1, 11]), ..one },
            Delta { direction: Direction::Ingress, ..one },
            Delta { source_port: 1, ..one },
            Delta { destination_port: 1, ..one },
            Delta { protocol: 17, ..one },
            Delta { eni: EniKey(9), ..one },
        ] {
            assert!(!one.is_of_record(&other), "{other:?}");
        }
        assert!(one.is_of_record(&Delta { ground: Ground::Tracked, rule: None, hop: Hop::None, ..one }));
    }
}
