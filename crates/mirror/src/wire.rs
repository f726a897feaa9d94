//! What a frame is on the wire: offload frames are many packets there, with complete checksums.

use palisade_packet::{IpPacket, Offload, checksum, segment};

/// Emits the wire packets that a frame stands for, each with complete checksums, in order: a segmentation-offload frame
/// is cut into its segments, a partial checksum is completed in a copy. `scratch` is overwritten and may be used again.
///
/// `packet` and `offload` are those that were found in `frame` and checked.
pub fn on_the_wire(
    frame: &[u8],
    packet: &IpPacket,
    offload: Offload,
    scratch: &mut Vec<u8>,
    emit: &mut dyn FnMut(&[u8]),
) {
    match offload {
        Offload::Segments { kind, size, .. } => segment(frame, packet, kind, size, scratch, emit),
        Offload::Partial => {
            scratch.clear();
            scratch.extend_from_slice(frame);
            checksum::complete(scratch, packet);
            emit(scratch);
        }
        Offload::Valid | Offload::None => emit(frame),
    }
}
