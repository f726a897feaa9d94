//! Security groups, their rules, and prefix lists (SG-1..18, SG-38, SG-40).

use std::fmt;

use super::{Cidr, Direction, GroupIndex, PrefixListIndex};
use crate::ids::IdKind;

/// A security group: two unordered sets of allow rules.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SecurityGroup {
    /// `sg-…`.
    pub id: String,
    /// Group name, unique in the VPC without regard to case (SG-3).
    pub name: String,
    /// Description.
    pub description: String,
    /// Inbound rules.
    pub ingress: Vec<GroupRule>,
    /// Outbound rules.
    pub egress: Vec<GroupRule>,
}

impl SecurityGroup {
    /// The rules of one direction.
    #[must_use]
    pub fn rules(&self, direction: Direction) -> &[GroupRule] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

/// One stored rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupRule {
    /// `sgr-` and 17 hexadecimal digits.
    pub id: String,
    /// Description; never looked at in matching (SG-9).
    pub description: Option<String>,
    /// Protocol, destination ports or ICMP type and code.
    pub protocol: Protocol,
    /// Source of an inbound, destination of an outbound rule.
    pub peer: Peer,
}

/// Source or destination of a rule.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Peer {
    /// A CIDR block in canonical form (SG-17).
    Cidr(Cidr),
    /// Every address of every ENI that has the group (SG-30).
    Group(GroupIndex),
    /// Every entry of the list's current version (SG-40).
    PrefixList(PrefixListIndex),
    /// Nothing: what the rule referred to is gone (SG-38). It counts in the quota like a reference all the same.
    Stale(StaleGroup),
}

impl Peer {
    /// Whether this is literally 0.0.0.0/0 or `::/0`, the test of CT-10 and CT-11 (iii).
    #[must_use]
    pub fn is_anywhere(&self) -> bool {
        matches!(self, Self::Cidr(cidr) if cidr.prefix_len() == 0)
    }
}

/// A security group that no longer exists: its id is all that is left of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct StaleGroup {
    digits: u128,
    len: usize,
}

impl StaleGroup {
    /// `None` if `id` is not the id of a security group.
    #[must_use]
    pub fn new(id: &str) -> Option<Self> {
        let digits = id.strip_prefix("sg-").filter(|_| IdKind::SecurityGroup.is_id(id))?;
        Some(Self { digits: u128::from_str_radix(digits, 16).ok()?, len: digits.len() })
    }
}

impl fmt::Display for StaleGroup {
    /// `sg-…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { digits, len } = self;
        write!(f, "sg-{digits:0len$x}")
    }
}

/// What a rule or entry covers of a protocol (SG-11..15, NACL-10..13).
///
/// Family is decided by the CIDR: [`Protocol::Icmp`] meets IPv4 packets only, [`Protocol::Icmpv6`] IPv6 packets only.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Protocol {
    /// `-1`: every protocol.
    All,
    /// TCP to destination ports `from` to `to`, both included.
    Tcp {
        /// Lowest port.
        from: u16,
        /// Highest port.
        to: u16,
    },
    /// UDP to destination ports `from` to `to`, both included.
    Udp {
        /// Lowest port.
        from: u16,
        /// Highest port.
        to: u16,
    },
    /// `ICMPv4` of a type and code, `None` for any.
    Icmp {
        /// Type.
        icmp_type: Option<u8>,
        /// Code; `None` if the type is.
        code: Option<u8>,
    },
    /// `ICMPv6` of a type and code, `None` for any.
    Icmpv6 {
        /// Type.
        icmp_type: Option<u8>,
        /// Code; `None` if the type is.
        code: Option<u8>,
    },
    /// Any other protocol, whole (SG-12, NACL-12). Never 1, 6, 17 or 58, save 58 with an IPv4 CIDR and 1 with an IPv6
    /// CIDR, which cover the protocol of that number in the family it is foreign to.
    Number(u8),
}

/// A prefix list of one family.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PrefixList {
    /// `pl-…`.
    pub id: String,
    /// Name.
    pub name: String,
    /// Whether its entries are IPv6 blocks.
    pub ipv6: bool,
    /// How large it may be, or how heavy AWS says it is.
    pub size: ListSize,
    /// Entries of the current version, canonical, all of one family.
    pub entries: Vec<Cidr>,
}

impl PrefixList {
    /// What it counts in its family in the quota of a group that refers to it (SG-41).
    #[must_use]
    pub fn weight(&self) -> u32 {
        match self.size {
            ListSize::MaxEntries(count) | ListSize::Weight(count) => count,
        }
    }
}

/// What decides what a prefix list counts in quotas (SG-41).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ListSize {
    /// Customer-managed: as many entries as it may have, however many it has.
    MaxEntries(u32),
    /// AWS-managed: the weight that AWS publishes, however many entries it has.
    Weight(u32),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_groups_keep_their_ids() {
        for id in ["sg-0123456789abcdef0", "sg-00000000", "sg-fffffffffffffffff"] {
            assert_eq!(StaleGroup::new(id).unwrap().to_string(), id);
        }
        assert_ne!(StaleGroup::new("sg-00000001"), StaleGroup::new("sg-00000000000000001"));
        for other in ["sg-1", "sg-0123456789ABCDEF0", "pl-01234567", "sgr-01234567", ""] {
            assert_eq!(StaleGroup::new(other), None, "{other}");
        }
    }
}
