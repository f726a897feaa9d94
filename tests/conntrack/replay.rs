//! A recorded trace played through a Linux router, in real time.

use std::collections::{BTreeMap, VecDeque};
use std::thread;
use std::time::{Duration, Instant};

use palisade_packet::checksum::Sum;
use palisade_policy::Snapshot;
use palisade_scenario::notation;
use palisade_tests::Netns;
use palisade_tests::wire::Wire;

use crate::fate::{Fate, amount};
use crate::pace::LATEST;
use crate::recording::{Event, Recording, Sent, What};
use crate::router::{Change, Port, Router};
use crate::rules::CONTROL;

/// How long a packet that must pass may take. It takes a fraction of a millisecond.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the router made of a trace.
pub(crate) struct Played {
    /// Of each unit.
    pub(crate) fates: Vec<Fate>,
    /// What the kernel tracked after the last packet of each unit with another fate than Palisade's.
    pub(crate) connections: BTreeMap<usize, String>,
    /// How much later than planned the latest packet was sent.
    pub(crate) late: Duration,
    /// Which play of the trace this is, from 1.
    pub(crate) plays: usize,
}

impl Played {
    /// Whether every packet was sent when it was to be sent, or near enough.
    pub(crate) fn in_time(&self) -> bool {
        self.late <= LATEST
    }
}

/// A trace and a router for it.
pub(crate) struct Replay<'a> {
    recording: &'a Recording,
    router: &'a Router,
    wires: Vec<Wire>,
    arrived: Vec<BTreeMap<String, usize>>,
    /// One for each change of policy.
    changes: VecDeque<Change<'a>>,
    controls: u16,
}

impl<'a> Replay<'a> {
    /// Opens the guests' devices and makes everything ready.
    pub(crate) fn prepare(guests: &Netns, recording: &'a Recording, router: &'a Router) -> Self {
        let open = || router.ports().iter().map(|port| Wire::on(&port.guest_device)).collect();
        let arrived = vec![BTreeMap::new(); recording.units.len()];
        let is_change = |event: &&Event| matches!(event.what, What::Publish(_));
        let changes = recording.events.iter().filter(is_change).map(|_| router.stand_by()).collect();
        Self { recording, router, wires: guests.enter(open), arrived, changes, controls: 0 }
    }

    /// Plays it, the time zero of the trace being `start`.
    pub(crate) fn play(&mut self, start: Instant) -> Played {
        let (mut late, mut connections) = (Duration::ZERO, BTreeMap::new());
        let recording = self.recording;
        for event in &recording.events {
            let planned = start + recording.pace.real(event.at);
            thread::sleep(planned.saturating_duration_since(Instant::now()));
            match &event.what {
                What::Publish(world) => {
                    let change = self.changes.pop_front().expect("one was made for each");
                    change.put_in_force(world, recording.pace);
                }
                What::Send(sent) => {
                    self.send(sent);
                    let unit = &recording.units[sent.unit];
                    if self.fate(sent.unit) != unit.fate() {
                        connections.insert(sent.unit, self.router.connections());
                    }
                }
            }
            late = late.max(planned.elapsed());
        }
        thread::sleep(LATEST);
        self.collect();
        let fates = (0..recording.units.len()).map(|unit| self.fate(unit)).collect();
        Played { fates, connections, late, plays: 1 }
    }

    fn fate(&self, unit: usize) -> Fate {
        Fate::of(self.recording.units[unit].sent, &self.arrived[unit])
    }

    /// Sends a packet, and after it one that nothing stops: once that one is there, the first has arrived or never will.
    fn send(&mut self, sent: &Sent) {
        let ports = self.router.ports();
        let at = |eni| ports.iter().position(|port| port.eni == eni).expect("ENIs do not come and go");
        let from = at(sent.from);
        let mut frame = sent.frame.clone();
        address(&mut frame, &ports[from]);
        mark(&mut frame, u16::try_from(sent.unit + 1).expect("few packets"));
        self.wires[from].send(&frame);
        if let Some(to) = sent.to.map(at) {
            self.controls += 1;
            let (world, ipv4) = (&self.recording.world, sent.packet.is_ipv4());
            let control = control(world, &ports[from], &ports[to], ipv4, self.controls);
            self.wires[from].send(&control);
            self.await_control();
        }
    }

    fn await_control(&mut self) {
        let start = Instant::now();
        while !self.collect() {
            let name = &self.recording.name;
            assert!(
                start.elapsed() < PATIENCE,
                "{name}: a packet that nothing stops did not pass the router"
            );
        }
    }

    /// Takes what has arrived; whether the last control packet is among it.
    fn collect(&mut self) -> bool {
        let mut controlled = false;
        for (wire, port) in self.wires.iter_mut().zip(self.router.ports()) {
            while let Some(frame) = wire.fetch() {
                match mark_of(&frame) {
                    Some((CONTROL, number)) => controlled |= number == self.controls,
                    Some((_, number)) => {
                        let unit = usize::from(number).checked_sub(1);
                        if let Some(arrived) = unit.and_then(|unit| self.arrived.get_mut(unit)) {
                            *arrived.entry(port.name.clone()).or_default() += amount(&frame);
                        }
                    }
                    None => {}
                }
            }
        }
        controlled
    }
}

/// From a guest to the router, whoever of the guest's neighbours it was meant for.
fn address(frame: &mut [u8], from: &Port) {
    frame[..6].copy_from_slice(&from.router_mac.0);
    frame[6..12].copy_from_slice(&from.mac.0);
}

/// Numbers a packet where neither tracker looks: in the identification, or the flow label. Fragments of one datagram have
/// one number.
fn mark(frame: &mut [u8], number: u16) {
    let number = number.to_be_bytes();
    if frame[12..14] == [0x08, 0x00] {
        frame[18..20].copy_from_slice(&number);
        frame[24..26].fill(0);
        let header = 14 + usize::from(frame[14] & 15) * 4;
        let checksum = Sum::ZERO.bytes(&frame[14..header]).checksum();
        frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    } else {
        frame[16..18].copy_from_slice(&number);
    }
}

/// Protocol and number of a packet.
fn mark_of(frame: &[u8]) -> Option<(u8, u16)> {
    let number = |at| Some(u16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?));
    match frame.get(12..14)? {
        [0x08, 0x00] => Some((*frame.get(23)?, number(18)?)),
        [0x86, 0xdd] => Some((*frame.get(20)?, number(16)?)),
        _ => None,
    }
}

fn control(world: &Snapshot, from: &Port, to: &Port, ipv4: bool, number: u16) -> Vec<u8> {
    let end = |port: &Port| {
        let own = port.addresses.iter().find(|address| address.is_ipv4() == ipv4);
        own.map_or_else(|| panic!("{} has no address of that family", port.name), ToString::to_string)
    };
    let text = format!("{} proto {CONTROL} {} > {} len 8", from.name, end(from), end(to));
    let packet = notation::parse(&text).expect("the notation of a packet");
    let mut frame = packet.frame(world).expect("both are of this world").bytes;
    address(&mut frame, from);
    mark(&mut frame, number);
    frame
}
