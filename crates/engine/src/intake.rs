//! A frame as the walk takes it up: parsed once, its virtio-net header checked against what was parsed.

use palisade_packet::{Body, IpPacket, Malformed, PacketSummary, Transport};
use palisade_packet::{Offload, OnWire};
use palisade_policy::{EniKey, PortKey};

use crate::fragments::{Header, Place, Resumption};
use crate::outcome::{Delivery, Received};
use crate::reason::DropReason;

/// A parsed frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inbound<'f> {
    pub(crate) frame: &'f [u8],
    pub(crate) summary: &'f PacketSummary,
    pub(crate) offload: Offload,
    /// What the frame stands for; one packet without a length if it is ARP.
    pub(crate) on_wire: OnWire,
    pub(crate) received: &'f Received,
    /// Set if it is a fragment that was held (CT-61): where its walk goes on.
    pub(crate) resumed: Option<&'f Resumption>,
}

/// The packet that policy judges: a later fragment wears the transport header of its first one (CT-60).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judged {
    pub(crate) ip: IpPacket,
    /// A later fragment neither opens, refreshes nor changes an entry (CT-62).
    pub(crate) later_fragment: bool,
}

impl<'f> Inbound<'f> {
    /// Takes up a frame that was parsed. A tag outside the bytes and a cut-off frame are refused first: what they hide cannot
    /// be judged.
    #[inline]
    pub(crate) fn read(
        frame: &'f [u8],
        parsed: &'f Result<PacketSummary, Malformed>,
        received: &'f Received,
        resumed: Option<&'f Resumption>,
    ) -> Result<Self, DropReason> {
        if received.truncated {
            return Err(DropReason::Truncated);
        }
        if received.vlan {
            return Err(DropReason::VlanTag);
        }
        let summary = parsed.as_ref().map_err(|why| DropReason::from(*why))?;
        let offload = received.vnet.check(summary).map_err(|_| DropReason::BadOffload)?;
        let on_wire = match &summary.body {
            Body::Ip(ip) => offload.on_wire(ip),
            Body::Arp(_) => OnWire { packets: 1, bytes: 0, largest: 0 },
        };
        Ok(Self { frame, summary, offload, on_wire, received, resumed })
    }

    /// Packets on the wire that the frame stands for.
    #[inline]
    pub(crate) const fn packets(&self) -> u32 {
        self.on_wire.packets
    }

    /// The IP packet; ARP never gets as far as asking.
    pub(crate) fn ip(&self) -> Result<&'f IpPacket, DropReason> {
        match &self.summary.body {
            Body::Ip(ip) => Ok(ip),
            Body::Arp(_) => Err(DropReason::ForeignEthertype),
        }
    }

    /// If it was held at its receiver: at which ENI, and whether it left its subnet on the way there.
    pub(crate) fn held_at_receiver(&self) -> Option<(EniKey, bool)> {
        match self.resumed?.place {
            Place::Sender => None,
            Place::Receiver { eni, leaves_subnet } => Some((eni, leaves_subnet)),
        }
    }

    /// The frame as a port gets it.
    pub(crate) const fn delivery(&self, to: PortKey, fragment: Option<u16>) -> Delivery {
        Delivery { to, offload: self.offload, fragment }
    }
}

impl Judged {
    /// A packet judged by its own header.
    pub(crate) fn whole(ip: IpPacket) -> Self {
        Self { ip, later_fragment: false }
    }

    /// A later fragment, judged by the header of its first one.
    pub(crate) fn later(ip: IpPacket, header: Header) -> Self {
        let Header { protocol, transport } = header;
        Self { ip: IpPacket { protocol, transport, ..ip }, later_fragment: true }
    }
}

/// Header sanity (CT-40, CT-48, CT-63), which RES-43 places after the spoof rules.
pub(crate) fn sane(ip: &IpPacket) -> Result<(), DropReason> {
    match ip.transport {
        Transport::Invalid(why) => Err(why.into()),
        Transport::Tcp(tcp) if tcp.flags.is_impossible() => Err(DropReason::TcpFlags),
        _ => Ok(()),
    }
}

impl From<Malformed> for DropReason {
    fn from(why: Malformed) -> Self {
        match why {
            Malformed::FrameTooShort => Self::FrameTooShort,
            Malformed::VlanTagged => Self::VlanTag,
            Malformed::ForeignEthertype => Self::ForeignEthertype,
            Malformed::Arp => Self::MalformedArp,
            Malformed::Ipv4Header | Malformed::Ipv6Header | Malformed::IpLength => Self::MalformedIp,
        }
    }
}
