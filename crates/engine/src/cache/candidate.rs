//! A packet that the cache may know, or may get to know.

use palisade_packet::{Body, IpPacket, Offload, Transport};
use palisade_policy::{EniKey, PortKey};

use super::FlowCache;
use super::key::{FlowKey, is_plain};
use crate::intake::Inbound;

/// A packet of an ENI, with the key of its flow.
#[derive(Clone, Copy)]
pub(crate) struct Candidate<'i> {
    pub(crate) key: FlowKey,
    pub(crate) hash: u64,
    pub(crate) from: EniKey,
    pub(crate) ip: &'i IpPacket,
    pub(crate) offload: Offload,
    /// It neither opens, closes nor resets anything.
    pub(crate) is_plain: bool,
    /// Packets on the wire that the frame stands for.
    pub(crate) packets: u32,
}

impl<'i> Candidate<'i> {
    /// `None`: the packet is of a kind that always walks, or there is no cache.
    #[inline]
    pub(crate) fn of(from: PortKey, inbound: &Inbound<'i>, packets: u32, cache: &FlowCache) -> Option<Self> {
        let (PortKey::Eni(from), Body::Ip(ip), false) = (from, &inbound.summary.body, cache.is_off()) else {
            return None;
        };
        let is_plain = is_plain(ip);
        if !is_plain && is_impossible(ip) {
            return None;
        }
        let key = FlowKey::of(from, inbound.summary, ip)?;
        let hash = cache.hash(&key);
        Some(Self { key, hash, from, ip, offload: inbound.offload, is_plain, packets })
    }

    /// IP length in bytes of the largest packet on the wire.
    #[inline]
    pub(crate) fn largest(&self) -> u32 {
        self.offload.largest_ip_len(self.ip)
    }

    /// IP length in bytes of all packets on the wire (FL-14). Some MiB at most, headers of the smallest segments included.
    #[inline]
    pub(crate) fn bytes(&self) -> u32 {
        u32::try_from(self.offload.wire_ip_len(self.ip)).unwrap_or(u32::MAX)
    }
}

/// TCP flags that no TCP sends, whatever the flow (CT-40).
fn is_impossible(ip: &IpPacket) -> bool {
    matches!(ip.transport, Transport::Tcp(tcp) if tcp.flags.is_impossible())
}
