//! The guest's side of a device: a raw packet socket such as a program of the guest may open.
//!
//! What it sends passes the guest's queueing discipline, so that the guest's kernel does what the device cannot; what it
//! hears is whatever arrives at the interface, before the guest's stack. It hears nothing that leaves by the interface.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use palisade_packet::VnetHeader;

use crate::burst::Burst;
use crate::error::{Place, PortError};
use crate::link::Links;
use crate::netns;
use crate::packet::Inflow;
use crate::port::Outgoing;
use crate::sys::{mmsg, packet};

/// A raw packet socket on one interface, with the virtio-net header beside each frame.
pub struct RawSocket {
    socket: OwnedFd,
    inflow: Mutex<Inflow>,
}

impl RawSocket {
    /// Opens a socket on an interface of a namespace under `/run/netns`, or of the caller's.
    ///
    /// # Errors
    /// There is no such namespace or interface, or a capability is missing.
    pub fn open(netns: Option<&str>, device: &str) -> Result<Self, PortError> {
        let place = Place::new(device, netns);
        let socket = netns::inside(netns, || {
            let links = Links::open().map_err(PortError::step(&place, "read the links"))?;
            let link = links.find(device).map_err(PortError::step(&place, "find the link"))?;
            let link = link.ok_or_else(|| PortError::Missing { place: place.clone() })?;
            let socket = packet::open().map_err(PortError::step(&place, "open a packet socket"))?;
            packet::prepare(&socket)
                .and_then(|()| packet::bind(&socket, link.index))
                .map_err(PortError::step(&place, "bind a packet socket"))?;
            Ok(socket)
        })?;
        Ok(Self { socket, inflow: Mutex::new(Inflow::new()) })
    }

    /// Sends a frame out of the interface, as it is.
    ///
    /// # Errors
    /// `EINVAL`: the kernel refuses the virtio-net header, or the frame is shorter than an Ethernet header; `EMSGSIZE`: it
    /// is longer than the interface takes; [`io::ErrorKind::WouldBlock`]: the queue is full; or the interface is down.
    pub fn send(&self, vnet: VnetHeader, frame: &[u8]) -> io::Result<()> {
        match mmsg::send(self.socket.as_fd(), &[Outgoing::new(vnet, frame)])? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(()),
        }
    }

    /// Fills a burst with what has arrived, without waiting; returns the number of frames.
    ///
    /// # Errors
    /// The interface is down or gone.
    pub fn receive(&self, burst: &mut Burst) -> io::Result<usize> {
        let mut inflow = self.inflow.lock().unwrap_or_else(PoisonError::into_inner);
        inflow.receive(self.socket.as_fd(), burst)
    }

    /// Frames that have arrived since the last call and found no room.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn lost(&self) -> io::Result<u64> {
        packet::dropped(self.socket.as_fd())
    }
}

impl AsFd for RawSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl std::fmt::Debug for RawSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawSocket").field("socket", &self.socket).finish_non_exhaustive()
    }
}
