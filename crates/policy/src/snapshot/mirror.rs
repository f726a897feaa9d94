//! What is copied of one ENI's packets, and where to.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;

use palisade_packet::{Direction, IpPacket, Transport};

use super::keys::{EniKey, Keys, MirrorKey, ServiceKey};
use crate::model::{
    EniIndex, MirrorAction, MirrorFilter, MirrorRule, MirrorSessionIndex, MirrorTargetAt, RuleNumber, Vpc,
};

/// The sessions of one source ENI in the order in which they are asked (TM-24).
#[derive(Debug)]
pub struct MirrorPlan {
    sessions: Box<[CompiledMirror]>,
    /// Where each stands in this generation; not part of what a cached choice rests on.
    indices: Box<[MirrorSessionIndex]>,
}

/// The session that copies a packet: its place in the plan of the ENI, from 1, which holds as long as the ENI's stamp does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MirrorChoice(NonZeroU16);

/// A session, as copying needs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CompiledMirror {
    /// The same over generations: what counters know it by.
    pub key: MirrorKey,
    /// `tms-…`.
    pub id: String,
    /// VXLAN network identifier, 24 bits.
    pub vni: u32,
    /// Bytes kept of the copied frame (TM-36).
    pub packet_length: Option<u16>,
    /// Outer source: the primary address of the source ENI (TM-31).
    pub source: Ipv4Addr,
    /// Outer destination: the primary address of the target ENI, or the first IPv4 address of the service.
    pub destination: Ipv4Addr,
    /// What receives the copies.
    pub to: MirrorTo,
    number: RuleNumber,
    filter: MirrorFilter,
}

/// What receives copies, by a key that is the same over generations.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MirrorTo {
    /// An ENI.
    Eni(EniKey),
    /// The device of a service.
    Service(ServiceKey),
}

impl MirrorPlan {
    /// The plan of an ENI; `None` if no session has it as source.
    pub(super) fn compile(vpc: &Vpc, keys: &Keys, source: EniIndex) -> Option<Self> {
        let mine = (0..).map(MirrorSessionIndex).zip(&vpc.mirror_sessions);
        let mut mine: Vec<_> = mine.filter(|(_, session)| session.source == source).collect();
        if mine.is_empty() {
            return None;
        }
        mine.sort_by_key(|(_, session)| session.number);
        let compile = |(index, session): &(MirrorSessionIndex, &crate::model::MirrorSession)| {
            let (to, destination) = receiver(vpc, keys, vpc[session.target].at);
            CompiledMirror {
                key: keys.mirror_session(index.0),
                id: session.id.clone(),
                vni: session.vni,
                packet_length: session.packet_length,
                source: vpc[source].address,
                destination,
                to,
                number: session.number,
                filter: vpc[session.filter].clone(),
            }
        };
        Some(Self {
            sessions: mine.iter().map(compile).collect(),
            indices: mine.iter().map(|(index, _)| *index).collect(),
        })
    }

    /// The session that copies a packet which passed the filters of the ENI in this direction: the first whose filter
    /// accepts it. `amazon_dns` is set for traffic to and from the Amazon resolver, of which the rules say nothing (TM-26);
    /// other exempt traffic is not to be asked about (TM-27).
    #[must_use]
    pub fn choose(&self, direction: Direction, packet: &IpPacket, amazon_dns: bool) -> Option<MirrorChoice> {
        let accepts = |session: &CompiledMirror| {
            if amazon_dns {
                session.filter.amazon_dns
            } else {
                accepts(session.filter.rules(direction), packet)
            }
        };
        let at = self.sessions.iter().position(accepts)?;
        u16::try_from(at + 1).ok().and_then(NonZeroU16::new).map(MirrorChoice)
    }

    /// The chosen session.
    #[must_use]
    pub fn session(&self, choice: MirrorChoice) -> Option<(&CompiledMirror, MirrorSessionIndex)> {
        let at = usize::from(choice.0.get()) - 1;
        Some((self.sessions.get(at)?, *self.indices.get(at)?))
    }

    /// Every session, in their order.
    pub fn sessions(&self) -> impl Iterator<Item = (&CompiledMirror, MirrorSessionIndex)> {
        self.sessions.iter().zip(self.indices.iter().copied())
    }

    /// Whether the same packets are copied to the same places.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.sessions == other.sessions
    }
}

fn receiver(vpc: &Vpc, keys: &Keys, at: MirrorTargetAt) -> (MirrorTo, Ipv4Addr) {
    match at {
        MirrorTargetAt::Eni(eni) => (MirrorTo::Eni(keys.eni(eni.0)), vpc[eni].address),
        MirrorTargetAt::Service(service) => {
            let first = vpc.services[service].addresses.iter().find_map(|address| match address {
                IpAddr::V4(address) => Some(*address),
                IpAddr::V6(_) => None,
            });
            // A configuration whose target has none is refused.
            (MirrorTo::Service(keys.service(service)), first.unwrap_or(Ipv4Addr::UNSPECIFIED))
        }
    }
}

/// TM-21: the first match decides; no match, no copy.
fn accepts(rules: &[MirrorRule], packet: &IpPacket) -> bool {
    let rule = rules.iter().find(|rule| rule.matches(packet));
    rule.is_some_and(|rule| rule.action == MirrorAction::Accept)
}

impl MirrorRule {
    /// Whether the rule speaks of a packet (TM-22). A later fragment is to be shown with the ports of its first (TM-28).
    #[must_use]
    pub fn matches(&self, packet: &IpPacket) -> bool {
        self.protocol.is_none_or(|protocol| protocol == packet.protocol)
            && self.source.contains(&packet.source)
            && self.destination.contains(&packet.destination)
            && self.matches_ports(packet)
    }

    fn matches_ports(&self, packet: &IpPacket) -> bool {
        let (source, destination) = match packet.transport {
            Transport::Tcp(tcp) => (tcp.source, tcp.destination),
            Transport::Udp { source, destination } => (source, destination),
            _ => return self.source_ports.is_none() && self.destination_ports.is_none(),
        };
        self.source_ports.as_ref().is_none_or(|ports| ports.contains(&source))
            && self.destination_ports.as_ref().is_none_or(|ports| ports.contains(&destination))
    }
}
