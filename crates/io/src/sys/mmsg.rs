//! Bursts on packet sockets: `recvmmsg` and `sendmmsg` with the virtio-net header beside each frame.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use palisade_packet::VnetHeader;

use crate::burst::Burst;
use crate::port::Outgoing;

/// Most messages per call.
pub(crate) const MAX: usize = 64;

/// Parts of all messages of a call: a header and a beginning each, and what is joined to them.
const PARTS: usize = 2 * MAX + Burst::MAX_FRAMES;

/// What came with a received frame.
#[derive(Clone, Copy, Default)]
pub(crate) struct Message {
    /// Bytes of the frame that were written.
    pub(crate) len: usize,
    pub(crate) vnet: [u8; VnetHeader::LEN],
    /// Whether the kernel took a VLAN tag out of the frame.
    pub(crate) vlan: bool,
    /// Whether the frame was longer than its place.
    pub(crate) truncated: bool,
}

/// Room for the one control message that is asked for, the auxiliary data, aligned as the kernel's header is.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([MaybeUninit<u8>; 64]);

/// Receives up to `messages.len()` frames, at most [`MAX`], without blocking. Frame `i` is written at
/// `memory[i * stride..]`, up to `stride` bytes of it. Returns how many were received.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    memory: &mut [u8],
    stride: usize,
    messages: &mut [Message],
) -> io::Result<usize> {
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; MAX];
    let mut parts = [const { [MaybeUninit::<libc::iovec>::uninit(); 2] }; MAX];
    let mut controls = [const { Control([MaybeUninit::uninit(); 64]) }; MAX];

    let slots = memory.chunks_exact_mut(stride).zip(messages.iter_mut());
    let envelopes = headers.iter_mut().zip(&mut parts).zip(&mut controls);
    let mut count = 0;
    for ((slot, message), ((header, parts), control)) in slots.zip(envelopes) {
        parts[0].write(part(message.vnet.as_mut_ptr(), message.vnet.len()));
        parts[1].write(part(slot.as_mut_ptr(), slot.len()));
        let mut envelope = envelope(parts.as_mut_ptr().cast(), 2);
        envelope.msg_hdr.msg_control = ptr::from_mut(control).cast();
        envelope.msg_hdr.msg_controllen = size_of::<Control>() as _;
        header.write(envelope);
        count += 1;
    }

    let flags = libc::MSG_DONTWAIT;
    // SAFETY: the first `count` headers are initialised; each points at two parts, and each part at distinct memory
    // that is borrowed mutably (`memory`, `messages`) or owned here (`controls`) until the call returns.
    let received = unsafe {
        let headers = headers.as_mut_ptr().cast();
        libc::recvmmsg(socket.as_raw_fd(), headers, count, flags as _, ptr::null_mut())
    };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    for (message, header) in messages.iter_mut().zip(&headers[..received]) {
        // SAFETY: `received` is at most `count`, and the first `count` headers are initialised.
        let header = unsafe { header.assume_init_ref() };
        message.len = (header.msg_len as usize).saturating_sub(VnetHeader::LEN);
        message.truncated = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
        // SAFETY: the kernel has filled the header and the control messages that it points at, which live here.
        message.vlan = unsafe { has_vlan(&header.msg_hdr) };
    }
    Ok(received)
}

/// Sends up to [`MAX`] frames without blocking. Returns how many the kernel took; the next one is the one it refused,
/// and the error is told if that is the first.
pub(crate) fn send(socket: BorrowedFd<'_>, frames: &[Outgoing<'_>]) -> io::Result<usize> {
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; MAX];
    let mut parts = [const { MaybeUninit::<libc::iovec>::uninit() }; PARTS];
    let mut vnets = [const { MaybeUninit::<[u8; VnetHeader::LEN]>::uninit() }; MAX];

    let mut free = &mut parts[..];
    let mut count = 0;
    for (outgoing, (header, vnet)) in frames.iter().zip(headers.iter_mut().zip(&mut vnets)) {
        let Some((mine, others)) = std::mem::take(&mut free).split_at_mut_checked(2 + outgoing.rest.len())
        else {
            break;
        };
        let vnet = vnet.write(outgoing.vnet.to_bytes());
        mine[0].write(part(vnet.as_mut_ptr(), vnet.len()));
        for (part_of, bytes) in
            mine[1..].iter_mut().zip(std::iter::once(&outgoing.frame).chain(outgoing.rest))
        {
            part_of.write(part(bytes.as_ptr().cast_mut(), bytes.len()));
        }
        header.write(envelope(mine.as_mut_ptr().cast(), mine.len()));
        free = others;
        count += 1;
    }

    let flags = libc::MSG_DONTWAIT;
    // SAFETY: the first `count` headers are initialised; each points at its parts, all of them initialised, and each part
    // at memory that is borrowed (`frames`) or owned here (`vnets`) until the call returns. The kernel only reads it.
    let sent = unsafe {
        let headers = headers.as_mut_ptr().cast();
        libc::sendmmsg(socket.as_raw_fd(), headers, count, flags as _)
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

fn part(start: *mut u8, len: usize) -> libc::iovec {
    libc::iovec { iov_base: start.cast(), iov_len: len }
}

/// A message of the `count` parts at `parts`, without address or control data.
fn envelope(parts: *mut libc::iovec, count: usize) -> libc::mmsghdr {
    // SAFETY: `mmsghdr` is plain old data, for which zeros are a value.
    let mut envelope: libc::mmsghdr = unsafe { std::mem::zeroed() };
    envelope.msg_hdr.msg_iov = parts;
    envelope.msg_hdr.msg_iovlen = count as _;
    envelope
}

/// Whether the auxiliary data tell of a VLAN tag.
///
/// # Safety
/// The header's control pointer and length describe control messages that the kernel wrote.
unsafe fn has_vlan(header: &libc::msghdr) -> bool {
    // SAFETY: the caller's promise; the macros follow the kernel's own lengths and stop at the end.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !next.is_null() {
        // SAFETY: not null, so it points at a header inside the control data.
        let control = unsafe { &*next };
        if control.cmsg_level == libc::SOL_PACKET && control.cmsg_type == libc::PACKET_AUXDATA {
            // SAFETY: a message of this type carries a `tpacket_auxdata`; it may not be aligned for it.
            let data: libc::tpacket_auxdata = unsafe { ptr::read_unaligned(libc::CMSG_DATA(next).cast()) };
            return data.tp_status & libc::TP_STATUS_VLAN_VALID != 0;
        }
        // SAFETY: as for the first.
        next = unsafe { libc::CMSG_NXTHDR(header, next) };
    }
    false
}
