//! A wrapper that tells every frame to `tracing`, at level trace.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;

use palisade_packet::MacAddr;

use crate::burst::{Burst, FrameInfo};
use crate::port::{Capabilities, Outgoing, Receive, Transmit, TransmitError};

/// An end of a port whose frames are logged, one event each: length, addresses, ethertype and virtio-net header.
pub struct Traced<T> {
    inner: T,
    port: String,
}

impl<T> Traced<T> {
    /// Wraps an end of the named port.
    pub fn new(port: &str, inner: T) -> Self {
        Self { inner, port: port.to_owned() }
    }
}

impl<T: Receive> Receive for Traced<T> {
    fn receive(&mut self, burst: &mut Burst) -> io::Result<usize> {
        let received = self.inner.receive(burst)?;
        if tracing::enabled!(tracing::Level::TRACE) {
            for (frame, FrameInfo { vnet, vlan, truncated }) in burst.iter() {
                tracing::trace!(port = %self.port, vlan, truncated, ?vnet, frame = %Head(frame), "received");
            }
        }
        Ok(received)
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }

    fn lost(&mut self) -> u64 {
        self.inner.lost()
    }
}

impl<T: Transmit> Transmit for Traced<T> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn transmit(&self, frames: &[Outgoing<'_>], failed: &mut dyn FnMut(usize, TransmitError)) {
        if tracing::enabled!(tracing::Level::TRACE) {
            for outgoing in frames {
                let frame = outgoing.whole();
                tracing::trace!(port = %self.port, vnet = ?outgoing.vnet, frame = %Head(&frame), "transmitted");
            }
        }
        self.inner.transmit(frames, &mut |index, error| {
            tracing::trace!(port = %self.port, index, %error, "not transmitted");
            failed(index, error);
        });
    }
}

/// The Ethernet header of a frame and its length.
struct Head<'a>(&'a [u8]);

impl fmt::Display for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = self.0.split_first_chunk().and_then(|(destination, rest)| {
            let (source, rest) = rest.split_first_chunk()?;
            Some((MacAddr(*destination), MacAddr(*source), u16::from_be_bytes(*rest.first_chunk()?)))
        });
        let Some((destination, source, ethertype)) = head else {
            return write!(f, "{} bytes", self.0.len());
        };
        write!(f, "{source} > {destination} {ethertype:#06x} {} bytes", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_told_by_its_ethernet_header() {
        let frame = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00, 0x45];
        assert_eq!(Head(&frame).to_string(), "02:00:00:00:00:02 > 02:00:00:00:00:01 0x0800 15 bytes");
        assert_eq!(Head(&frame[..5]).to_string(), "5 bytes");
    }
}
