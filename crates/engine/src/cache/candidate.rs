//! A packet that the cache may know, or may get to know.

use palisade_conntrack::Said;
use palisade_packet::{Body, IpPacket, Offload, OnWire, Transport};
use palisade_policy::{EniKey, PortKey};

use super::FlowCache;
use super::key::FlowKey;
use crate::intake::Inbound;

/// A packet of an ENI, with the key of its flow.
#[derive(Clone, Copy)]
pub(crate) struct Candidate<'i> {
    pub(crate) key: FlowKey,
    pub(crate) hash: u64,
    pub(crate) from: EniKey,
    pub(crate) ip: &'i IpPacket,
    pub(crate) offload: Offload,
    /// What it says to its connections, if it neither opens, closes nor resets anything.
    pub(crate) said: Option<Said>,
    /// What the frame stands for.
    pub(crate) on_wire: OnWire,
}

impl<'i> Candidate<'i> {
    /// `None`: the packet is of a kind that always walks, or there is no cache.
    #[expect(
        clippy::inline_always,
        reason = "a hit has it in registers; the other caller is a walk, which does not mind"
    )]
    #[inline(always)]
    pub(crate) fn of(from: PortKey, inbound: &Inbound<'i>, cache: &FlowCache) -> Option<Self> {
        let (PortKey::Eni(from), Body::Ip(ip), false) = (from, &inbound.summary.body, cache.is_off()) else {
            return None;
        };
        let said = Said::of(ip);
        if said.is_none() && is_impossible(ip) {
            return None;
        }
        let key = FlowKey::of(from, inbound.summary, ip)?;
        let hash = cache.hash(&key);
        let Inbound { offload, on_wire, .. } = *inbound;
        Some(Self { key, hash, from, ip, offload, said, on_wire })
    }

    /// Whether it neither opens, closes nor resets anything.
    #[inline]
    pub(crate) const fn is_plain(&self) -> bool {
        self.said.is_some()
    }
}

/// TCP flags that no TCP sends, whatever the flow (CT-40).
fn is_impossible(ip: &IpPacket) -> bool {
    matches!(ip.transport, Transport::Tcp(tcp) if tcp.flags.is_impossible())
}
