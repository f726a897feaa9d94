//! The port of a device, lent to one data plane after the other, with a record of what comes in by it.
//!
//! The record is how the runner knows that a frame has come as far as the data plane, and that it is the one that was
//! sent. The receive half is with its home or with one borrower; the transmit half is shared.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use palisade_io::{Burst, FrameInfo, Port, Receive, Transmit};
use palisade_packet::MacAddr;

/// Where a port is when nobody has it.
pub(super) struct Home {
    name: String,
    mac: MacAddr,
    mtu: u16,
    takeover: Option<palisade_io::Takeover>,
    receive: Mutex<Option<Box<dyn Receive>>>,
    transmit: Arc<dyn Transmit>,
    log: Log,
}

/// Frames that came in by a port, in order.
#[derive(Debug, Default)]
pub(super) struct Log {
    heard: Mutex<Vec<Heard>>,
    more: Condvar,
}

/// One of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Heard {
    pub(super) bytes: Vec<u8>,
    pub(super) info: FrameInfo,
}

/// A receive half that goes home when it is dropped.
pub(super) struct Loan {
    receive: Option<Box<dyn Receive>>,
    home: Arc<Home>,
}

impl Home {
    pub(super) fn new(port: Port) -> Self {
        let Port { name, receive, transmit, takeover, mac, mtu } = port;
        Self { name, mac, mtu, takeover, receive: Mutex::new(Some(receive)), transmit, log: Log::default() }
    }

    pub(super) fn is_in(&self) -> bool {
        self.receive().is_some()
    }

    pub(super) const fn log(&self) -> &Log {
        &self.log
    }

    pub(super) fn transmit(&self) -> Arc<dyn Transmit> {
        Arc::clone(&self.transmit)
    }

    fn receive(&self) -> MutexGuard<'_, Option<Box<dyn Receive>>> {
        self.receive.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Home {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Home").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Loan {
    /// Takes the port from its home, without what waits there from before.
    pub(super) fn of(home: &Arc<Home>, scratch: &mut Burst) -> io::Result<Option<Port>> {
        let Some(mut receive) = home.receive().take() else { return Ok(None) };
        while receive.receive(scratch)? > 0 {}
        receive.lost();
        home.log.take();
        let loan = Self { receive: Some(receive), home: Arc::clone(home) };
        Ok(Some(Port {
            name: home.name.clone(),
            receive: Box::new(loan),
            transmit: home.transmit(),
            takeover: home.takeover,
            mac: home.mac,
            mtu: home.mtu,
        }))
    }

    fn receive_half(&mut self) -> &mut dyn Receive {
        &mut **self.receive.as_mut().expect("only the drop takes it")
    }
}

impl Receive for Loan {
    fn receive(&mut self, burst: &mut Burst) -> io::Result<usize> {
        let received = self.receive_half().receive(burst)?;
        self.home.log.note(burst);
        Ok(received)
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.receive.as_ref().expect("only the drop takes it").as_fd()
    }

    fn lost(&mut self) -> u64 {
        self.receive_half().lost()
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        *self.home.receive() = self.receive.take();
    }
}

impl Log {
    /// Waits until `enough` holds of what was heard, and takes it; whatever was heard if it does not come to hold in time.
    pub(super) fn wait(&self, patience: Duration, enough: impl Fn(&[Heard]) -> bool) -> Vec<Heard> {
        let heard = self.heard();
        let waited = self.more.wait_timeout_while(heard, patience, |heard| !enough(heard));
        let (mut heard, _) = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut heard)
    }

    /// Takes what was heard.
    pub(super) fn take(&self) -> Vec<Heard> {
        std::mem::take(&mut self.heard())
    }

    fn note(&self, burst: &Burst) {
        let copy = |(frame, info): (&[u8], FrameInfo)| Heard { bytes: frame.to_vec(), info };
        self.heard().extend(burst.iter().map(copy));
        self.more.notify_all();
    }

    fn heard(&self) -> MutexGuard<'_, Vec<Heard>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
