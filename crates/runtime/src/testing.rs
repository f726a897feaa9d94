//! Ports in memory and a judge that obeys what the frames say, for the tests of threads and publication.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use std::{io, thread};

use nix::sys::eventfd::{EfdFlags, EventFd};
use palisade_conntrack::ConnTotals;
use palisade_engine::{
    Consumed, Copied, Counters, Delivery, DropReason, Holding, Lane, Now, Outcome, Received, Released,
    Tapped, Verdict,
};
use palisade_io::{Burst, Capabilities, FrameInfo, Outgoing, Port, Receive, Transmit, TransmitError};
use palisade_packet::{IpPacket, MacAddr, Offload, Transport};
use palisade_policy::{EniKey, PortKey, Snapshot};

use crate::judge::Judge;

/// The far side of a port in memory.
pub(crate) struct Guest {
    shared: Arc<Shared>,
}

struct Shared {
    waiting: Mutex<VecDeque<Vec<u8>>>,
    readable: EventFd,
    sent: Mutex<Vec<Vec<u8>>>,
    fault: Mutex<Option<TransmitError>>,
    broken: AtomicBool,
}

struct FakeReceive(Arc<Shared>);
struct FakeTransmit(Arc<Shared>);

/// A port that takes whatever it is given, and its guest.
pub(crate) fn port(name: &str) -> (Port, Guest) {
    let shared = Arc::new(Shared {
        waiting: Mutex::default(),
        readable: EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap(),
        sent: Mutex::default(),
        fault: Mutex::default(),
        broken: AtomicBool::default(),
    });
    let port = Port {
        name: name.to_owned(),
        receive: Box::new(FakeReceive(Arc::clone(&shared))),
        transmit: Arc::new(FakeTransmit(Arc::clone(&shared))),
        takeover: None,
        mac: MacAddr([2, 0, 0, 0, 0, 1]),
        mtu: 1500,
    };
    (port, Guest { shared })
}

/// The key of a test port.
pub(crate) const fn key(number: u8) -> PortKey {
    PortKey::Eni(EniKey(number as u32))
}

impl Guest {
    /// Sends frames, which arrive at the port all at once.
    pub(crate) fn send(&self, frames: impl IntoIterator<Item = Vec<u8>>) {
        let mut waiting = self.shared.waiting.lock().unwrap();
        waiting.extend(frames);
        self.shared.readable.write(1).unwrap();
    }

    /// The frames received so far.
    pub(crate) fn frames(&self) -> Vec<Vec<u8>> {
        self.shared.sent.lock().unwrap().clone()
    }

    /// Sequence numbers of the frames received so far.
    pub(crate) fn received(&self) -> Vec<u32> {
        self.frames().iter().map(|frame| sequence(frame)).collect()
    }

    /// Waits for so many frames.
    pub(crate) fn expect(&self, count: usize) -> Vec<u32> {
        eventually("frames arrive", || self.received().len() >= count);
        self.received()
    }

    /// From now on sending to the guest fails, or works again.
    pub(crate) fn refuse(&self, fault: Option<TransmitError>) {
        *self.shared.fault.lock().unwrap() = fault;
    }

    /// From now on receiving from the guest fails, or works again.
    pub(crate) fn break_down(&self, broken: bool) {
        self.shared.broken.store(broken, Ordering::SeqCst);
        self.shared.readable.write(1).unwrap();
    }

    /// Whether both halves of the port are dropped.
    pub(crate) fn is_closed(&self) -> bool {
        Arc::strong_count(&self.shared) == 1
    }
}

impl Receive for FakeReceive {
    fn receive(&mut self, burst: &mut Burst) -> io::Result<usize> {
        burst.clear();
        let mut waiting = self.0.waiting.lock().unwrap();
        if self.0.broken.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::NetworkDown.into());
        }
        while let Some(frame) = waiting.pop_front() {
            if !burst.push(&frame, FrameInfo::default()) {
                waiting.push_front(frame);
                break;
            }
        }
        if waiting.is_empty() {
            let _ = self.0.readable.read();
        }
        Ok(burst.len())
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.readable.as_fd()
    }
}

impl Transmit for FakeTransmit {
    fn capabilities(&self) -> Capabilities {
        Capabilities { checksum: true, tso: true, uso: true }
    }

    fn transmit(&self, frames: &[Outgoing<'_>], failed: &mut dyn FnMut(usize, TransmitError)) {
        let fault = *self.0.fault.lock().unwrap();
        match fault {
            Some(fault) => (0..frames.len()).for_each(|at| failed(at, fault)),
            None => self.0.sent.lock().unwrap().extend(frames.iter().map(|frame| frame.whole().into_owned())),
        }
    }
}

/// What a test frame asks for.
#[derive(Clone, Copy)]
pub(crate) enum Ask {
    DeliverTo(u8),
    Drop,
    Answer,
    /// Waits until the gate of the judge opens, then is consumed.
    Wait,
    /// Keeps the worker's CPU busy for two milliseconds, then is consumed.
    Toil,
    /// Makes the judge panic.
    Panic,
}

/// A frame that asks the judge for something.
pub(crate) fn frame(ask: Ask, sequence: u32) -> Vec<u8> {
    let (what, port) = match ask {
        Ask::DeliverTo(port) => (b'd', port),
        Ask::Drop => (b'x', 0),
        Ask::Answer => (b'a', 0),
        Ask::Wait => (b'w', 0),
        Ask::Toil => (b't', 0),
        Ask::Panic => (b'p', 0),
    };
    let mut frame = vec![what, port];
    frame.extend(sequence.to_be_bytes());
    frame.resize(60, 0);
    frame
}

fn sequence(frame: &[u8]) -> u32 {
    u32::from_be_bytes(frame[2..6].try_into().unwrap())
}

/// Does what frames ask for, and remembers what it was asked.
#[derive(Default)]
pub(crate) struct Obedient {
    /// Generation and sequence number of every frame, in the order of judgement.
    pub(crate) seen: Mutex<Vec<(u64, u32)>>,
    /// Generations that were retired, old and new.
    pub(crate) retired: Mutex<Vec<(u64, u64)>>,
    /// Calls of `advance`.
    pub(crate) advanced: Mutex<u32>,
    gate: Gate,
}

/// Holds a worker up inside a burst.
#[derive(Default)]
struct Gate {
    state: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl Obedient {
    /// Waits until a worker stands at the gate.
    pub(crate) fn await_arrival(&self) {
        eventually("a worker comes to the gate", || self.gate.state.lock().unwrap().0);
    }

    /// Lets the worker go on, and all that come later.
    pub(crate) fn open_gate(&self) {
        self.gate.state.lock().unwrap().1 = true;
        self.gate.changed.notify_all();
    }

    fn stand_at_gate(&self) {
        let mut state = self.gate.state.lock().unwrap();
        state.0 = true;
        drop(self.gate.changed.wait_while(state, |state| !state.1).unwrap());
    }
}

impl Judge for Obedient {
    fn process(
        &self,
        snapshot: &Snapshot,
        lane: &mut Lane,
        _: Now,
        _: PortKey,
        frame: &mut [u8],
        _: Received,
    ) -> Outcome {
        let Lane { counters, reply, packet, .. } = lane;
        *packet = Some(some_packet());
        counters.received(1, frame.len());
        // Nothing judges, so to flow logs everything is exempt.
        counters.exempt(EniKey(0), 1);
        self.seen.lock().unwrap().push((snapshot.generation(), sequence(frame)));
        let consumed = Verdict::Consume(Consumed::Arp);
        let (verdict, answers) = match frame[0] {
            b'd' => (Verdict::Deliver(delivery(frame[1])), false),
            b'x' => (Verdict::Drop(DropReason::GroupEgress), false),
            b'a' => (consumed, true),
            b'p' => panic!("as asked"),
            b't' => {
                let start = Instant::now();
                while start.elapsed() < Duration::from_millis(2) {
                    std::hint::spin_loop();
                }
                (consumed, false)
            }
            _ => {
                self.stand_at_gate();
                (consumed, false)
            }
        };
        match verdict {
            Verdict::Deliver(_) | Verdict::Hold => {}
            Verdict::Consume(what) => counters.consumed(what, 1),
            Verdict::Drop(reason) => counters.dropped(reason, 1),
        }
        if answers {
            reply.clear();
            reply.extend_from_slice(frame);
        }
        Outcome { verdict, packets: 1, reply: answers, tapped: false, released: Vec::new() }
    }

    fn copy(
        &self,
        _: &Snapshot,
        _: &mut Lane,
        _: Now,
        _: (&Tapped, &[u8]),
        _: &mut u32,
        _: &mut dyn FnMut(Copied<'_>),
    ) {
        unreachable!("nothing is ever tapped")
    }

    fn resume(&self, _: &Snapshot, _: &mut Lane, _: Now, _: &mut Released) -> Outcome {
        unreachable!("nothing is ever held")
    }

    fn advance(&self, _: &Counters, _: Now, _: usize) -> usize {
        *self.advanced.lock().unwrap() += 1;
        0
    }

    fn retire(&self, _: &Counters, old: &Snapshot, new: &Snapshot, _: Now) {
        self.retired.lock().unwrap().push((old.generation(), new.generation()));
    }

    fn drain(&self, _: &Counters) {}

    fn connections(&self) -> ConnTotals {
        ConnTotals::default()
    }

    fn holding(&self) -> Holding {
        Holding::default()
    }
}

fn delivery(to: u8) -> Delivery {
    Delivery { to: key(to), offload: Offload::None, fragment: None }
}

fn some_packet() -> IpPacket {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    IpPacket {
        source: address,
        destination: address,
        protocol: 253,
        hop_limit: 64,
        dont_fragment: true,
        ip_len: 46,
        network_offset: 14,
        transport_offset: 34,
        fragment: None,
        transport: Transport::Other,
    }
}

/// A policy of the next generation; the obedient judge does not look into it.
pub(crate) fn policy(previous: Option<&Snapshot>) -> Arc<Snapshot> {
    let text = r#"
        [vpc]
        cidr_blocks = ["10.0.0.0/16"]

        [subnet.one]
        cidr = "10.0.1.0/24"

        [eni.a]
        subnet = "one"
        address = "10.0.1.10"
        attach = { tap = "pal-a" }
    "#;
    let vpc = palisade_policy::draft::load("test.toml", text).unwrap();
    Arc::new(Snapshot::compile(vpc, previous))
}

/// Waits for something that another thread is about to do.
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}
