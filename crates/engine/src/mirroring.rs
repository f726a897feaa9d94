//! Copies of packets (TM-20..47): which are owed on account of a packet, and their making.
//!
//! The walk says which sessions copy a packet ([`Taps`]), a cached flow keeps that. [`Tapped`] is what is remembered of the
//! packet until production packets have left (TM-45); [`Engine::copy`] then makes the copies out of the frame. A copy is
//! not tapped, whatever becomes of it (TM-27).
//!
//! [`Engine::copy`]: crate::Engine::copy

use palisade_mirror::{Envelope, Link, OVERHEAD, PORT, Unsealed, on_the_wire, source_port};
use palisade_packet::{ETHERNET_LEN, IpPacket, Offload, Transport, checksum, fragment_ipv4};
use palisade_policy::model::Service;
use palisade_policy::{CompiledMirror, MirrorChoice, MirrorKey, MirrorTo, PortKey, Snapshot};

use crate::outcome::Verdict;
use crate::stages::mtu::VPC_MTU;

/// Which sessions copy a packet: at most one at its sender and one at its receiver (TM-24, TM-25).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Taps {
    /// The session of the sender.
    pub(crate) egress: Option<MirrorChoice>,
    /// The session of the receiver.
    pub(crate) ingress: Option<MirrorChoice>,
    /// UDP port from which the copies are sent (TM-32); means nothing where there are none.
    pub(crate) source_port: u16,
}

impl Taps {
    /// Whether nobody copies the packet.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.egress.is_none() && self.ingress.is_none()
    }

    /// The same, of the flow of a packet.
    pub(crate) fn of_flow(self, packet: &IpPacket) -> Self {
        Self { source_port: source_port(packet), ..self }
    }
}

/// A packet of which copies are owed.
#[derive(Clone, Copy, Debug)]
pub struct Tapped {
    pub(crate) taps: Taps,
    /// The port it came in by, and the one it goes out by.
    pub(crate) from: PortKey,
    pub(crate) to: Option<PortKey>,
    /// MAC addresses that it came with: on the way they are replaced in the frame.
    came_with: [u8; 12],
    packet: IpPacket,
    offload: Offload,
    /// It is delivered in fragments of this size (RT-61), which the sender's copies do not see.
    fragment: Option<u16>,
}

/// A copy, ready to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Copied<'f> {
    /// The session.
    pub session: MirrorKey,
    /// The port that it goes out by.
    pub to: PortKey,
    /// The frame, with complete checksums.
    pub frame: &'f [u8],
}

/// Where copies are made; one worker's.
#[derive(Debug, Default)]
pub(crate) struct Bench {
    scratch: Scratch,
    copy: Vec<u8>,
}

/// Room for the wire packets of one frame, one at a time.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    segment: Vec<u8>,
    fragment: Vec<u8>,
}

impl Bench {
    /// Room for what is copied, and for the copy.
    pub(crate) fn parts(&mut self) -> (&mut Scratch, &mut Vec<u8>) {
        (&mut self.scratch, &mut self.copy)
    }
}

impl Tapped {
    /// Remembers a packet that has been judged, before its link-layer addresses are replaced.
    ///
    /// A partial checksum is completed in the frame itself, for the packet as for its copies: later it might be complete
    /// already, on account of a port that cannot do it.
    pub(crate) fn of(
        taps: Taps,
        from: PortKey,
        frame: &mut [u8],
        (packet, mut offload): (IpPacket, Offload),
        verdict: &mut Verdict,
    ) -> Self {
        if offload == Offload::Partial {
            checksum::complete(frame, &packet);
            offload = Offload::Valid;
        }
        let (mut to, mut fragment) = (None, None);
        if let Verdict::Deliver(delivery) = verdict {
            delivery.offload = offload;
            (to, fragment) = (Some(delivery.to), delivery.fragment);
        }
        let came_with = frame.first_chunk().copied().unwrap_or_default();
        Self { taps, from, to, came_with, packet, offload, fragment }
    }

    /// Packets on the wire that are copied where the packet was sent.
    pub(crate) fn sent(&self, frame: &[u8]) -> Wire<'_> {
        let largest = ETHERNET_LEN + self.offload.largest_ip_len(&self.packet) as usize;
        Wire {
            tapped: self,
            came_with: Some(self.came_with),
            fragment: None,
            packets: self.offload.wire_packets(&self.packet),
            largest: largest.max(if self.is_one() { frame.len() } else { 0 }),
        }
    }

    /// Packets on the wire that are copied where the packet is received.
    pub(crate) fn received(&self, frame: &[u8]) -> Wire<'_> {
        let mut wire = Wire { came_with: None, fragment: self.fragment, ..self.sent(frame) };
        if let Some(mtu) = self.fragment {
            let mut packets = 0;
            wire.emit(frame, &mut Scratch::default(), &mut |_| packets += 1);
            (wire.packets, wire.largest) = (packets, ETHERNET_LEN + usize::from(mtu));
        }
        wire
    }

    const fn is_one(&self) -> bool {
        !matches!(self.offload, Offload::Segments { .. })
    }
}

/// The packets on the wire that a frame stands for at one end.
#[derive(Clone, Copy)]
pub(crate) struct Wire<'t> {
    tapped: &'t Tapped,
    came_with: Option<[u8; 12]>,
    fragment: Option<u16>,
    /// How many.
    pub(crate) packets: u32,
    /// Bytes of the largest frame.
    pub(crate) largest: usize,
}

impl Wire<'_> {
    /// Emits each, in order, with complete checksums.
    pub(crate) fn emit(&self, frame: &[u8], scratch: &mut Scratch, emit: &mut dyn FnMut(Unsealed<'_>)) {
        let Tapped { packet, offload, .. } = self.tapped;
        let Scratch { segment, fragment } = scratch;
        let addresses = self.came_with;
        on_the_wire(frame, packet, *offload, segment, &mut |whole| {
            let Some(mtu) = self.fragment else { return emit(Unsealed { frame: whole, addresses }) };
            let ip_len = whole.len().saturating_sub(usize::from(packet.network_offset));
            let ip_len = u32::try_from(ip_len).unwrap_or(u32::MAX).min(packet.ip_len);
            let packet = IpPacket { ip_len, ..*packet };
            // What cannot be fragmented is not delivered either.
            let _ = fragment_ipv4(whole, &packet, mtu, fragment, &mut |frame| {
                emit(Unsealed { frame, addresses });
            });
        });
    }
}

/// The envelope of a session's copies; `None` if its target is gone.
pub(crate) fn envelope(session: &CompiledMirror, snapshot: &Snapshot) -> Option<Envelope> {
    let mtu = match session.to {
        MirrorTo::Eni(key) => snapshot.eni(key)?.mtu.min(VPC_MTU),
        MirrorTo::Service(key) => snapshot.service(key).map(|_| Service::MTU)?,
    };
    let CompiledMirror { source, destination, vni, packet_length, .. } = *session;
    Some(Envelope { source, destination, vni, packet_length, mtu })
}

/// What policy judges of copies: their outer packet, as long as all of them together.
pub(crate) fn outer(envelope: &Envelope, wire: &Wire<'_>, source_port: u16) -> IpPacket {
    let one = u32::try_from(OVERHEAD + envelope.kept(wire.largest)).unwrap_or(u32::MAX);
    IpPacket {
        source: envelope.source.into(),
        destination: envelope.destination.into(),
        protocol: 17,
        hop_limit: 64,
        dont_fragment: false,
        ip_len: one.saturating_mul(wire.packets),
        network_offset: 14,
        transport_offset: 34,
        fragment: None,
        transport: Transport::Udp { source: source_port, destination: PORT },
    }
}

/// The link of a copy: from the source ENI itself, or from a router.
pub(crate) fn link(link: crate::outcome::Link, own: palisade_packet::MacAddr) -> Link {
    Link { source: link.source.unwrap_or(own), destination: link.destination }
}
