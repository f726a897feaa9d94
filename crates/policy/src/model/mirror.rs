//! Traffic mirroring: targets, filters, sessions (TM-1..9).

use std::ops::RangeInclusive;

use super::{Cidr, Direction, EniIndex, MirrorFilterIndex, MirrorTargetIndex, RuleNumber};

/// Where copies go (TM-1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MirrorTarget {
    /// `tmt-…`.
    pub id: String,
    /// Name in the configuration file.
    pub name: String,
    /// What receives them.
    pub at: MirrorTargetAt,
}

/// What receives copies.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MirrorTargetAt {
    /// An ENI: routes, ACLs and its groups judge each copy (TM-43).
    Eni(EniIndex),
    /// The collector behind a service attachment, by position in [`super::Vpc::services`]; nothing filters what goes there.
    Service(usize),
}

/// Which packets are copied (TM-2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MirrorFilter {
    /// `tmf-…`.
    pub id: String,
    /// Name in the configuration file.
    pub name: String,
    /// Whether traffic to and from the Amazon resolver is copied whatever the rules (TM-26).
    pub amazon_dns: bool,
    /// Rules for packets delivered to the source ENI, ascending by number.
    pub ingress: Vec<MirrorRule>,
    /// Rules for packets sent by the source ENI, ascending by number.
    pub egress: Vec<MirrorRule>,
}

impl MirrorFilter {
    /// Rules of one direction, seen from the source ENI (TM-20).
    #[must_use]
    pub fn rules(&self, direction: Direction) -> &[MirrorRule] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

/// One rule of a filter (TM-3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MirrorRule {
    /// `tmfr-…`.
    pub id: String,
    /// Its number, which is its place in the order; unique in a direction (TM-4).
    pub number: RuleNumber,
    /// What it decides.
    pub action: MirrorAction,
    /// IP protocol number; `None`: any.
    pub protocol: Option<u8>,
    /// Block of the packet's source address.
    pub source: Cidr,
    /// Block of the packet's destination address, of the same family.
    pub destination: Cidr,
    /// Source ports. With any such range a rule matches TCP and UDP only (TM-22).
    pub source_ports: Option<RangeInclusive<u16>>,
    /// Destination ports.
    pub destination_ports: Option<RangeInclusive<u16>>,
}

/// What a rule of a filter decides.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MirrorAction {
    /// The packet is copied.
    Accept,
    /// This filter does not copy it; a later session may (TM-24).
    Reject,
}

/// What is copied of one ENI's traffic, and where to (TM-5).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MirrorSession {
    /// `tms-…`.
    pub id: String,
    /// Name in the configuration file.
    pub name: String,
    /// The ENI whose packets are copied.
    pub source: EniIndex,
    /// Where the copies go.
    pub target: MirrorTargetIndex,
    /// Which packets.
    pub filter: MirrorFilterIndex,
    /// Place among the sessions of the source, unique there (TM-6, TM-24).
    pub number: RuleNumber,
    /// VXLAN network identifier, 0 to 16,777,215.
    pub vni: u32,
    /// Bytes copied of a packet, Ethernet header included, 1 to 8,500; `None`: all of them (TM-36).
    pub packet_length: Option<u16>,
}
