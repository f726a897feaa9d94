//! What Palisade does with a trace: its scenario played in process, every packet and change of rules noted with its time.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use palisade_conntrack::ConnView;
use palisade_engine::{Explanation, Selection};
use palisade_packet::{Body, IpPacket, parse};
use palisade_policy::{EniKey, PortKey, Snapshot};
use palisade_scenario::notation::Frame;
use palisade_scenario::{Halt, InProcess, Law, Mode, Readings, Scenario, Seen, Stage, run_file, run_file_on};

use crate::fate::{Fate, amount};
use crate::pace::Pace;

/// A trace, ready to be played elsewhere, and what Palisade made of it.
pub(crate) struct Recording {
    /// Name of the trace: its path without folder and ending.
    pub(crate) name: String,
    /// How fast it is to be played.
    pub(crate) pace: Pace,
    /// The policy at its start.
    pub(crate) world: Arc<Snapshot>,
    /// What happens, in order.
    pub(crate) events: Vec<Event>,
    /// The packets and datagrams that are compared.
    pub(crate) units: Vec<Unit>,
}

/// Something that happens.
pub(crate) struct Event {
    /// Virtual time since the start.
    pub(crate) at: Duration,
    /// What.
    pub(crate) what: What,
}

/// What happens.
pub(crate) enum What {
    /// The rules change.
    Publish(Arc<Snapshot>),
    /// A packet is sent.
    Send(Sent),
}

/// A packet that is sent.
#[derive(Clone)]
pub(crate) struct Sent {
    /// Which of [`Recording::units`] it is, or is a fragment of.
    pub(crate) unit: usize,
    /// Who sends it.
    pub(crate) from: EniKey,
    /// Whose address it goes to.
    pub(crate) to: Option<EniKey>,
    /// What it says.
    pub(crate) packet: IpPacket,
    /// The Ethernet frame.
    pub(crate) frame: Vec<u8>,
}

/// A packet, or a datagram in fragments: what is compared.
pub(crate) struct Unit {
    /// The step of its only packet, or of its last fragment.
    pub(crate) step: usize,
    /// That packet as the trace writes it.
    pub(crate) text: String,
    /// What was sent of it, as [`amount`] counts.
    pub(crate) sent: usize,
    /// How Palisade comes to its verdict on that packet.
    pub(crate) walk: Explanation,
    arrived: BTreeMap<String, usize>,
}

impl Unit {
    /// What Palisade made of it.
    pub(crate) fn fate(&self) -> Fate {
        Fate::of(self.sent, &self.arrived)
    }
}

impl Recording {
    /// Plays a trace.
    ///
    /// # Errors
    ///
    /// What makes the trace unfit for a comparison: it fails as a scenario, does not say what must be seen, has a time-out
    /// that the kernel cannot have at this pace, or sends a packet too near to the end of an entry.
    pub(crate) fn make(name: &str, path: &Path, pace: Pace) -> Result<Self, String> {
        passes(path)?;
        let scenario = Scenario::load(path).map_err(|why| why.to_string())?;
        let unsure = scenario.steps.iter().position(|step| step.send.is_some() && step.expect.is_none());
        if let Some(step) = unsure {
            return Err(format!("step {} does not say what is expected", step + 1));
        }
        let tape = Rc::new(RefCell::new(Tape::default()));
        let mut world = None;
        let report = run_file_on(path, |table| {
            let stage = InProcess::open(table, Mode::ALL[0]).map_err(|why| Halt::Failed(why.to_string()))?;
            world = Some(stage.snapshot());
            Ok(Recorder { stage, pace, steps: sends(&scenario), now: Duration::ZERO, tape: Rc::clone(&tape) })
        });
        report.map_err(|why| why.to_string())?;
        let (tape, world) = (tape.take(), world.expect("the stage was opened"));
        let rough = tape.time_outs.iter().filter(|time_out| !pace.divides(**time_out));
        let rough = rough.map(|time_out| format!("{time_out:?} is no whole second at one to {}", pace.0));
        let faults: Vec<_> = tape.faults.iter().cloned().chain(rough).collect();
        if !faults.is_empty() {
            return Err(faults.join("\n"));
        }
        Ok(Self { name: name.to_owned(), pace, world, events: tape.events, units: tape.units })
    }

    /// Whether an ENI sends or is sent anything.
    pub(crate) fn involves(&self, eni: EniKey) -> bool {
        self.events.iter().any(|event| match &event.what {
            What::Send(sent) => sent.from == eni || sent.to == Some(eni),
            What::Publish(_) => false,
        })
    }
}

fn passes(path: &Path) -> Result<(), String> {
    let report = run_file(path).map_err(|why| why.to_string())?;
    if report.passed() { Ok(()) } else { Err(format!("fails as a scenario: {:#?}", report.failures)) }
}

/// Number and packet of the step of every packet, in the order of sending.
fn sends(scenario: &Scenario) -> std::vec::IntoIter<(usize, String)> {
    let steps = (1..).zip(&scenario.steps);
    let sends = steps.filter_map(|(number, step)| {
        Some((number, step.send.as_ref()?.text.clone(), step.repeat.unwrap_or(1)))
    });
    let all: Vec<_> = sends
        .flat_map(|(number, packet, times)| std::iter::repeat_n((number, packet), times as usize))
        .collect();
    all.into_iter()
}

#[derive(Default)]
struct Tape {
    events: Vec<Event>,
    units: Vec<Unit>,
    /// Fragments that belong together.
    datagrams: BTreeMap<String, usize>,
    /// When the entries of the moment will end if nothing comes.
    ends: Vec<Duration>,
    time_outs: BTreeSet<Duration>,
    faults: Vec<String>,
}

impl Tape {
    /// The unit of a packet: a new one, unless it is a further fragment.
    fn number_of(&mut self, packet: &IpPacket) -> usize {
        let next = self.units.len();
        let Some(fragment) = packet.fragment else { return next };
        let datagram = format!("{} {} {}", packet.source, packet.destination, fragment.identification);
        *self.datagrams.entry(datagram).or_insert(next)
    }
}

/// A stage that notes what happens on another.
struct Recorder {
    stage: InProcess,
    pace: Pace,
    steps: std::vec::IntoIter<(usize, String)>,
    now: Duration,
    tape: Rc<RefCell<Tape>>,
}

impl Recorder {
    fn note(&mut self, what: What) {
        let at = self.now;
        let conns = self.stage.connections();
        let mut tape = self.tape.borrow_mut();
        tape.events.push(Event { at, what });
        tape.ends = conns.iter().map(|conn| at + conn.left).collect();
        tape.time_outs.extend(conns.iter().map(|conn| conn.left + conn.idle));
    }

    /// Notes a packet before it is sent; gives the number of its unit.
    fn unit(&mut self, packet: &IpPacket, frame: &[u8], walk: Explanation) -> usize {
        let (step, text) = self.steps.next().expect("as many packets as the steps say");
        let mut tape = self.tape.borrow_mut();
        let near = tape.ends.iter().find(|end| self.now.abs_diff(**end) < self.pace.margin());
        if let Some(end) = near {
            let fault = format!("step {step} at {:?} is too near to {end:?}, when an entry ends", self.now);
            tape.faults.push(fault);
        }
        let number = tape.number_of(packet);
        if let Some(unit) = tape.units.get_mut(number) {
            (unit.step, unit.text, unit.walk) = (step, text, walk);
            unit.sent += amount(frame);
        } else {
            let (sent, arrived) = (amount(frame), BTreeMap::new());
            tape.units.push(Unit { step, text, sent, walk, arrived });
        }
        number
    }

    /// Counts what came out, a fragment that was held back among it, for the unit that it belongs to.
    fn arrived(&mut self, frame: &[u8], to: String) {
        let mut tape = self.tape.borrow_mut();
        let unit = tape.events.iter().rev().find_map(|event| match &event.what {
            What::Send(sent) => (sent.frame[12..] == frame[12..]).then_some(sent.unit),
            What::Publish(_) => None,
        });
        let unit = unit.expect("what is delivered was sent");
        *tape.units[unit].arrived.entry(to).or_default() += amount(frame);
    }
}

impl Stage for Recorder {
    fn advance(&mut self, now: Duration) -> Result<(), Halt> {
        self.now = now;
        self.stage.advance(now)
    }

    fn publish(&mut self, world: &toml::Table) -> Result<(), Halt> {
        self.stage.publish(world)?;
        let snapshot = self.stage.snapshot();
        self.note(What::Publish(snapshot));
        Ok(())
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.stage.snapshot()
    }

    fn explain(&self, frame: &Frame) -> Explanation {
        self.stage.explain(frame)
    }

    fn send(&mut self, frame: &Frame) -> Result<Seen, Halt> {
        let no = |what: &str| Halt::Failed(format!("{what} cannot be compared"));
        let PortKey::Eni(from) = frame.port else { return Err(no("what a service sends")) };
        let Ok(Body::Ip(packet)) = parse(&frame.bytes).map(|summary| summary.body) else {
            return Err(no("what is not IP"));
        };
        let unit = self.unit(&packet, &frame.bytes, self.stage.explain(frame));
        let seen = self.stage.send(frame)?;
        let snapshot = self.stage.snapshot();
        let to = snapshot.owner(packet.destination).map(|eni| eni.key);
        self.note(What::Send(Sent { unit, from, to, packet, frame: frame.bytes.clone() }));
        let released = seen.released.iter().flat_map(|resumed| &resumed.seen.arrivals);
        for arrival in seen.arrivals.iter().chain(released).filter(|arrival| arrival.port != frame.port) {
            let PortKey::Eni(to) = arrival.port else { return Err(no("what reaches a service")) };
            let eni = snapshot.eni(to).ok_or_else(|| no("what reaches nobody"))?;
            self.arrived(&arrival.bytes, snapshot.vpc()[eni.index].name.clone());
        }
        Ok(seen)
    }

    fn kill(&mut self, _: &Selection) -> Result<usize, Halt> {
        Err(Halt::Failed("the end of chosen entries cannot be compared".to_owned()))
    }

    fn readings(&mut self) -> Readings {
        self.stage.readings()
    }

    fn connections(&self) -> Vec<ConnView> {
        self.stage.connections()
    }

    fn flow_logs(&mut self) -> Result<Vec<String>, Halt> {
        self.stage.flow_logs()
    }

    fn close(self) -> Result<Vec<Law>, Halt> {
        self.stage.close()
    }
}
