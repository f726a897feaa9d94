//! The receive half of a port, as its worker holds it.

use std::io;
use std::sync::Arc;

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use palisade_io::{Burst, Receive};

use crate::registry::PortState;

/// A receive half: waited for, or resting after a failure.
///
/// An interface may be set down and up again, so a failure is never final: the descriptor leaves the epoll set, where it
/// would report its error without end, and comes back at the next roll call. An outage is logged once.
pub(crate) struct Inlet {
    pub(crate) port: Arc<PortState>,
    receive: Box<dyn Receive>,
    resting: bool,
}

impl Inlet {
    pub(crate) fn new(port: Arc<PortState>, receive: Box<dyn Receive>) -> Self {
        Self { port, receive, resting: false }
    }

    /// Has an epoll instance report frames under `token`.
    pub(crate) fn watch(&self, epoll: &Epoll, token: u64) -> io::Result<()> {
        Ok(epoll.add(self.receive.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, token))?)
    }

    /// Gives the receive half back.
    pub(crate) fn close(self, epoll: &Epoll) -> Box<dyn Receive> {
        if !self.resting {
            // It was added, so this can only fail for a device that is gone, and with it the registration.
            let _ = epoll.delete(self.receive.as_fd());
        }
        self.receive
    }

    /// Fills a burst after `events`; false if there is nothing to forward.
    pub(crate) fn fill(&mut self, burst: &mut Burst, epoll: &Epoll, events: EpollFlags) -> bool {
        burst.clear();
        let broken = events.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP);
        match self.receive.receive(burst) {
            Ok(0) if broken => self.rest(epoll, &io::Error::other("the device reports an error")),
            Ok(0) => {}
            Ok(_) => self.wake_up(),
            Err(error) if is_transient(&error) => {}
            Err(error) => self.rest(epoll, &error),
        }
        !burst.is_empty()
    }

    /// Whether it has failed and is not waited for.
    pub(crate) fn is_resting(&self) -> bool {
        self.resting
    }

    /// Counts what was lost since the last call, and ends a rest.
    pub(crate) fn call(&mut self, epoll: &Epoll, token: u64) {
        self.port.counters.unread(self.receive.lost());
        if self.resting {
            self.resting = self.watch(epoll, token).is_err();
        }
    }

    fn rest(&mut self, epoll: &Epoll, error: &io::Error) {
        // As in `close`: a failure means that the descriptor is not in the set any more.
        let _ = epoll.delete(self.receive.as_fd());
        self.resting = true;
        if self.port.set_up(false) {
            tracing::warn!(
                port = self.port.name,
                %error,
                "nothing can be received: set the interface up again, or remove its attachment and reload if it is gone"
            );
        }
    }

    fn wake_up(&self) {
        if !self.port.is_up() && !self.port.set_up(true) {
            tracing::info!(port = self.port.name, "frames arrive again");
        }
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
