//! What is asked of ACLs and security groups, and what they answer.

use std::net::IpAddr;

use crate::model::{AclAction, RuleNumber};
use crate::snapshot::RuleSlot;

/// What a rule or an entry looks at of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FilterKey {
    /// The address that the rule's CIDR is compared with: the source of an inbound, the destination of an outbound
    /// packet (NACL-11). Its variant is the packet's family: an IPv4-mapped IPv6 address is IPv6 (SG-16).
    pub address: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Port, or ICMP type and code.
    pub selector: Match,
}

/// The part of an upper-layer header that rules can name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Match {
    /// The packet's destination port, of TCP or UDP (SG-13); with any other protocol the same as [`Match::Whole`].
    Port(u16),
    /// Type and code of protocol 1 in IPv4 or 58 in IPv6; with any other protocol the same as [`Match::Whole`].
    Icmp {
        /// ICMP type.
        icmp_type: u8,
        /// ICMP code.
        code: u8,
    },
    /// Nothing that rules could name: only rules that cover the protocol whatever its ports or types match (NACL-44).
    Whole,
}

/// What a network ACL says to a packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AclDecision {
    /// Allow or deny.
    pub action: AclAction,
    /// The entry that decided, a `*` entry included.
    pub slot: RuleSlot,
    /// Its number; `None`: a `*` entry (NACL-5).
    pub number: Option<RuleNumber>,
}

/// What the groups of an ENI say to a packet: nothing matched if `any` is `None`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct GroupMatch {
    /// Of the matching rules whose peer is exactly 0.0.0.0/0 or `::/0` (CT-11 iii) the one with the lowest `sgr-` id.
    pub anywhere: Option<RuleSlot>,
    /// Of all matching rules the one with the lowest `sgr-` id.
    pub any: Option<RuleSlot>,
}
