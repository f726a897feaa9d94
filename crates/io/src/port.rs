//! What a port is to the rest of Palisade: two ends that work on bursts.

use std::borrow::Cow;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use palisade_packet::{MacAddr, VnetHeader};

use crate::burst::Burst;
use crate::capture::PcapWriter;
use crate::faulty::{Faults, Faulty};
use crate::takeover::Takeover;
use crate::traced::Traced;

/// The end that frames from the guest come out of; owned by one worker.
pub trait Receive: Send {
    /// Clears `burst`, then fills it with waiting frames until nothing waits or the burst is full. Never blocks.
    /// Returns the number of frames; 0 when nothing waits.
    ///
    /// # Errors
    /// [`io::ErrorKind::NetworkDown`]: the device is down for now. Anything else: the device is gone.
    fn receive(&mut self, burst: &mut Burst) -> io::Result<usize>;

    /// Readable when frames wait, for `epoll` or `poll`.
    fn as_fd(&self) -> BorrowedFd<'_>;

    /// Frames that the kernel has dropped since the last call because they were not read in time, as far as it tells.
    fn lost(&mut self) -> u64 {
        0
    }
}

/// A frame to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The virtio-net header; it must not ask for more than the port's [`Capabilities`].
    pub vnet: VnetHeader,
    /// The frame, from the destination MAC address on, or its beginning.
    pub frame: &'a [u8],
    /// What follows, in order: the payloads of segments that go out as one frame, where they were received. At most
    /// [`Burst::MAX_FRAMES`] in all the frames of one call.
    pub rest: &'a [&'a [u8]],
}

impl<'a> Outgoing<'a> {
    /// A frame in one piece.
    #[must_use]
    pub const fn new(vnet: VnetHeader, frame: &'a [u8]) -> Self {
        Self { vnet, frame, rest: &[] }
    }

    /// Length of the whole frame, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frame.len() + self.rest.iter().map(|part| part.len()).sum::<usize>()
    }

    /// Whether there are no bytes at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The frame in one piece; copies it if it is not.
    #[must_use]
    pub fn whole(&self) -> Cow<'a, [u8]> {
        if self.rest.is_empty() {
            return Cow::Borrowed(self.frame);
        }
        let mut whole = self.frame.to_vec();
        self.rest.iter().for_each(|part| whole.extend_from_slice(part));
        Cow::Owned(whole)
    }
}

/// The end that takes frames to the guest; shared by all workers.
pub trait Transmit: Send + Sync {
    /// What may be left to the receiver.
    fn capabilities(&self) -> Capabilities;

    /// Sends the frames in order. Never blocks. Calls `failed` with the index of each frame that did not go out, in
    /// ascending order.
    fn transmit(&self, frames: &[Outgoing<'_>], failed: &mut dyn FnMut(usize, TransmitError));
}

/// What a port takes apart from finished frames.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Capabilities {
    /// Frames with a partial TCP or UDP checksum.
    pub checksum: bool,
    /// TCP segmentation-offload frames, IPv4 and IPv6, with ECN.
    pub tso: bool,
    /// UDP segmentation-offload frames.
    pub uso: bool,
}

impl Capabilities {
    /// Finished frames only.
    pub const NONE: Self = Self { checksum: false, tso: false, uso: false };
}

/// Why a frame did not go out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum TransmitError {
    /// The device's queue or memory is full.
    #[error("the device's queue or memory is full")]
    Full,
    /// The device is down or gone.
    #[error("the device is down or gone")]
    Down,
    /// The kernel refused the frame: too long for the device, or a virtio-net header that does not fit.
    #[error(
        "the kernel refused the frame: too long for the device, or a virtio-net header that does not fit"
    )]
    Refused,
}

impl From<io::Error> for TransmitError {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => Self::Full,
            Some(libc::EINVAL | libc::EMSGSIZE) => Self::Refused,
            _ => Self::Down,
        }
    }
}

/// An attached device. What was made for it is removed when both of its ends are dropped.
pub struct Port {
    /// Name of the interface.
    pub name: String,
    /// Where frames come from.
    pub receive: Box<dyn Receive>,
    /// Where frames go to.
    pub transmit: Arc<dyn Transmit>,
    /// How the kernel's own stack is kept off the interface; `None` for a device that is not shared with it.
    pub takeover: Option<Takeover>,
    /// MAC address of the interface: of a TAP, the guest's; of a packet port, the host end's.
    pub mac: MacAddr,
    /// Maximum transmission unit of the interface, in bytes of IP packet.
    pub mtu: u16,
}

impl Port {
    /// Tells every frame of the port to `tracing`, at level trace.
    #[must_use]
    pub fn traced(self) -> Self {
        let receive = Box::new(Traced::new(&self.name, self.receive));
        let transmit = Arc::new(Traced::new(&self.name, self.transmit));
        Self { receive, transmit, ..self }
    }

    /// Gives both directions of the port the same faults. For tests.
    #[must_use]
    pub fn faulty(self, faults: Faults) -> Self {
        let receive = Box::new(Faulty::new(self.receive, faults));
        Self { receive, transmit: Arc::new(Faulty::new(self.transmit, faults)), ..self }
    }

    /// Captures both directions of the port.
    #[must_use]
    pub fn captured(self, writer: &Arc<PcapWriter>) -> Self {
        let receive = Box::new(writer.wrap(self.receive));
        Self { receive, transmit: Arc::new(writer.wrap(self.transmit)), ..self }
    }
}

impl<T: Receive + ?Sized> Receive for Box<T> {
    fn receive(&mut self, burst: &mut Burst) -> io::Result<usize> {
        (**self).receive(burst)
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        (**self).as_fd()
    }

    fn lost(&mut self) -> u64 {
        (**self).lost()
    }
}

impl<T: Transmit + ?Sized> Transmit for Arc<T> {
    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }

    fn transmit(&self, frames: &[Outgoing<'_>], failed: &mut dyn FnMut(usize, TransmitError)) {
        (**self).transmit(frames, failed);
    }
}

impl std::fmt::Debug for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Port")
            .field("name", &self.name)
            .field("takeover", &self.takeover)
            .field("mac", &self.mac)
            .field("mtu", &self.mtu)
            .finish_non_exhaustive()
    }
}
