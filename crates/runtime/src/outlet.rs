//! Fits a packet to the port it leaves by: what the port cannot do itself is done here.
//!
//! Frames made on the way stand in one buffer that is emptied, not freed, after each burst. An outlet belongs to one worker.

use palisade_engine::Delivery;
use palisade_io::Capabilities;
use palisade_packet::{GsoKind, IpPacket, Offload, Segment, VnetHeader, checksum, fragment_ipv4, segment};

use crate::joiner::Joiner;

/// A frame on its way out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planned {
    /// Where its bytes are.
    pub(crate) place: Place,
    /// The header to send before it.
    pub(crate) vnet: VnetHeader,
    /// Packets on the wire that it stands for.
    pub(crate) packets: u32,
    /// Set for a TCP segment or UDP datagram that the port might take as part of a larger frame.
    pub(crate) segment: Option<Segment>,
}

/// Where the bytes of a frame are until the burst is handed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// The frame with this number in the burst, as it was received and edited.
    Burst(usize),
    /// The fragment with this number among those released since the last burst was handed on.
    Released(usize),
    /// Made here: offset and length in the outlet's buffer.
    Made(usize, usize),
    /// Headers made here, then the payloads of so many segments as packets are planned: see [`crate::joiner`].
    Train {
        /// Offset and length of the headers in the outlet's buffer.
        head: (usize, usize),
        /// Number of the first segment in the burst.
        first: usize,
        /// Where payloads start in their frames.
        start: usize,
    },
    /// Part of a train.
    Joined,
}

/// Scratch space for frames that are made on the way out.
#[derive(Default)]
pub(crate) struct Outlet {
    made: Vec<u8>,
    segments: Vec<u8>,
    fragments: Vec<u8>,
    joiner: Joiner,
}

impl Outlet {
    /// Forgets the frames made so far.
    pub(crate) fn clear(&mut self) {
        self.made.clear();
    }

    /// The bytes of a frame made here.
    pub(crate) fn made(&self, offset: usize, len: usize) -> &[u8] {
        self.made.get(offset..offset + len).unwrap_or_default()
    }

    /// Joins the segments of a port's queue into frames that its device takes whole; `frames` are those of the burst.
    pub(crate) fn join(&mut self, queue: &mut Vec<Planned>, frames: &[&[u8]]) {
        self.joiner.join(queue, frames, &mut self.made);
    }

    /// The payloads of a train, in order.
    pub(crate) fn payloads<'f>(
        &self,
        frames: &'f [&'f [u8]],
        train: (usize, u16, usize),
    ) -> impl Iterator<Item = &'f [u8]> {
        self.joiner.payloads(frames, train)
    }

    /// Plans a complete frame of the fabric's own.
    pub(crate) fn keep(&mut self, frame: &[u8]) -> Planned {
        keep(&mut self.made, frame)
    }

    /// Plans the frames that a packet becomes at a port and returns how many packets they are on the wire.
    ///
    /// `place` is where the frame is. The result differs from the delivery's own count if the packet had to be
    /// fragmented: it is higher by the fragments made, or lower by packets that cannot be fragmented.
    pub(crate) fn prepare(
        &mut self,
        place: Place,
        frame: &mut [u8],
        (packet, delivery): (&IpPacket, &Delivery),
        can: Capabilities,
        queue: &mut Vec<Planned>,
    ) -> u32 {
        let Delivery { offload, fragment, .. } = delivery;
        let first = queue.len();
        match (*offload, *fragment) {
            (Offload::Segments { kind, size, .. }, None) if !takes(can, kind) => {
                self.segment(frame, packet, kind, size, queue);
            }
            (Offload::Segments { kind, size, .. }, Some(mtu)) => {
                self.segment_and_fragment(frame, packet, kind, size, mtu, queue);
            }
            (offload, Some(mtu)) => {
                if offload == Offload::Partial {
                    checksum::complete(frame, packet);
                }
                self.fragment(frame, packet, mtu, queue);
            }
            (Offload::Partial, None) if !can.checksum => {
                checksum::complete(frame, packet);
                queue.push(whole(place, Offload::None, packet));
            }
            (Offload::Valid, None) if !can.checksum => queue.push(whole(place, Offload::None, packet)),
            (offload, None) if can.checksum && (can.tso || can.uso) => {
                let segment = Segment::of(frame.len(), packet, offload);
                let segment = segment.filter(|segment| if segment.is_udp() { can.uso } else { can.tso });
                queue.push(Planned { segment, ..whole(place, offload, packet) });
            }
            (offload, None) => queue.push(whole(place, offload, packet)),
        }
        queue[first..].iter().map(|planned| planned.packets).sum()
    }

    fn segment(
        &mut self,
        frame: &[u8],
        packet: &IpPacket,
        kind: GsoKind,
        size: u16,
        queue: &mut Vec<Planned>,
    ) {
        let Self { made, segments, .. } = self;
        segment(frame, packet, kind, size, segments, &mut |segment| queue.push(keep(made, segment)));
    }

    fn fragment(&mut self, frame: &[u8], packet: &IpPacket, mtu: u16, queue: &mut Vec<Planned>) {
        let Self { made, fragments, .. } = self;
        fragment_into(frame, packet, mtu, fragments, made, queue);
    }

    /// A fragment carries a piece of one datagram, so a super-packet becomes datagrams first.
    fn segment_and_fragment(
        &mut self,
        frame: &[u8],
        packet: &IpPacket,
        kind: GsoKind,
        size: u16,
        mtu: u16,
        queue: &mut Vec<Planned>,
    ) {
        let Self { made, segments, fragments, .. } = self;
        segment(frame, packet, kind, size, segments, &mut |segment| {
            let ip_len = segment.len().saturating_sub(usize::from(packet.network_offset));
            let ip_len = u32::try_from(ip_len).unwrap_or(u32::MAX).min(packet.ip_len);
            fragment_into(segment, &IpPacket { ip_len, ..*packet }, mtu, fragments, made, queue);
        });
    }
}

fn fragment_into(
    frame: &[u8],
    packet: &IpPacket,
    mtu: u16,
    scratch: &mut Vec<u8>,
    made: &mut Vec<u8>,
    queue: &mut Vec<Planned>,
) {
    // What cannot be fragmented is missing from the plan, and counted as dropped by whoever compares the counts.
    let _ = fragment_ipv4(frame, packet, mtu, scratch, &mut |fragment| queue.push(keep(made, fragment)));
}

fn keep(made: &mut Vec<u8>, frame: &[u8]) -> Planned {
    let offset = made.len();
    made.extend_from_slice(frame);
    let place = Place::Made(offset, frame.len());
    Planned { place, vnet: VnetHeader::default(), packets: 1, segment: None }
}

fn whole(place: Place, offload: Offload, packet: &IpPacket) -> Planned {
    Planned { place, vnet: offload.header(packet), packets: offload.wire_packets(packet), segment: None }
}

/// Whether a port takes super-packets of this kind; it must then finish their checksums too.
fn takes(can: Capabilities, kind: GsoKind) -> bool {
    can.checksum
        && match kind {
            GsoKind::Tcp4 | GsoKind::Tcp6 => can.tso,
            GsoKind::Udp => can.uso,
        }
}

#[cfg(test)]
#[path = "outlet_tests.rs"]
mod tests;
