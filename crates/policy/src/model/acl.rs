//! Network ACLs (NACL-1..17).

use std::fmt;

use super::{Cidr, Direction, Protocol};

/// A network ACL: two independent ordered lists of entries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetworkAcl {
    /// `acl-…`.
    pub id: String,
    /// Name in the configuration file; `default` for the one made by itself.
    pub name: String,
    /// Whether this is the VPC's default ACL.
    pub is_default: bool,
    /// Entries for packets entering the subnet, ascending by number.
    pub ingress: AclList,
    /// Entries for packets leaving the subnet, ascending by number.
    pub egress: AclList,
}

impl NetworkAcl {
    /// The list of one direction.
    #[must_use]
    pub fn list(&self, direction: Direction) -> &AclList {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

/// Entries of one direction, ascending by number, numbers unique across both families (NACL-3).
pub type AclList = Vec<AclEntry>;

/// One entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AclEntry {
    /// Its number, which is its place in the order.
    pub number: RuleNumber,
    /// What it decides.
    pub action: AclAction,
    /// Protocol, ports or ICMP type and code.
    pub protocol: Protocol,
    /// Compared with the source of inbound, the destination of outbound packets (NACL-11).
    pub cidr: Cidr,
}

/// What an entry decides.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AclAction {
    /// Let the packet pass.
    Allow,
    /// Drop it, silently (NACL-28).
    Deny,
}

/// Number of a user's ACL entry, 1 to 32766 (NACL-4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RuleNumber(u16);

impl RuleNumber {
    /// Highest number a user may give.
    pub const MAX: u16 = 32_766;

    /// `None` unless 1 ≤ `number` ≤ 32766.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if number >= 1 && number <= Self::MAX { Some(Self(number)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for RuleNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
