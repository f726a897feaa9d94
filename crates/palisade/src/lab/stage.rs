//! The stage on devices: a whole daemon in this process, with the laboratory's devices and a clock moved by hand.
//!
//! A change of the world is a reload of the daemon's file, which exists in memory only. After each frame the data plane is
//! asked to settle, then every device is emptied up to a marker.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::memfd::{MFdFlags, memfd_create};
use palisade_conntrack::ConnView;
use palisade_engine::{Explanation, Received, Selection};
use palisade_io::{Burst, TakeoverMethod};
use palisade_packet::{Body, Offload, VnetHeader, parse};
use palisade_policy::model::Daemon as DaemonSettings;
use palisade_policy::{CompiledEni, RuleSlot, Snapshot, draft};
use palisade_runtime::{Clock, ClockHand};
use palisade_scenario::notation::Frame;
use palisade_scenario::{Arrival, Halt, Law, Readings, Seen, Stage, is_copy, same_packet};
use toml::Table;

use super::Lab;
use super::books::Books;
use super::device::{Device, PATIENCE};
use super::loan::Heard;
use super::marker::Marker;
use super::places::Places;
use super::unplayable::Unplayable;
use super::witness::Witness;
use crate::daemon::{Daemon, Settings, engine};

/// One scenario's daemon and devices.
pub(crate) struct LabStage {
    daemon: Daemon,
    file: File,
    hand: ClockHand,
    lab: Arc<Lab>,
    places: Arc<Places>,
    witness: Arc<Witness>,
    /// As they were before the next frame.
    books: Books,
    burst: Burst,
    /// Frames that guests have sent, and that have arrived at guests.
    sent: u64,
    arrived: u64,
    /// Where records of flow logs wait.
    spool: PathBuf,
}

impl LabStage {
    /// Starts a daemon in a world.
    pub(super) fn open(lab: Arc<Lab>, scenario: &Path, world: &Table) -> Result<Self, Halt> {
        let text = world.to_string();
        let mut vpc = draft::load("world", &text)
            .map_err(|error| Halt::Failed(format!("the world is not valid:\n{error}")))?;
        let names = vpc.enis.iter().map(|eni| eni.name.clone());
        let names = names.chain(vpc.services.iter().map(|service| service.name.clone())).collect();
        let places = Arc::new(Places::new(Arc::clone(&lab), scenario, names));
        let mut file = memory_file().map_err(|error| failed(&error))?;
        write(&mut file, &text).map_err(|error| failed(&error))?;
        let hand = ClockHand::new();
        suit(&mut vpc.daemon);
        let spool = spool_of(&file);
        vpc.daemon.flow_log_spool = Some(spool.clone());
        let engine = engine(&vpc);
        let witness = Arc::new(Witness::new(Arc::clone(&engine)));
        let settings = Settings {
            engine,
            judge: Arc::clone(&witness) as _,
            takeover: TakeoverMethod::Auto,
            devices: Arc::clone(&places) as _,
            clock: Clock::manual(&hand),
        };
        let daemon = Daemon::start(path_of(&file), vpc, settings).map_err(|error| failed(&error))?;
        let (books, burst) = (Books::default(), Burst::new());
        Ok(Self { daemon, file, hand, lab, places, witness, books, burst, sent: 0, arrived: 0, spool })
    }

    /// Everything that was sent to the guests since the last time.
    fn arrivals(&mut self) -> Result<Vec<Arrival>, Halt> {
        let marker = Marker::new();
        let mut arrivals = Vec::new();
        for (port, device) in self.places.all() {
            let arrived = device.arrivals(marker, &mut self.burst).map_err(|error| failed(&error))?;
            arrivals.extend(arrived.into_iter().map(|(vnet, bytes)| Arrival { port, vnet, bytes }));
        }
        self.arrived += arrivals.len() as u64;
        Ok(arrivals)
    }

    /// Fails if a guest has sent what nobody told it to.
    fn silence(&self) -> Result<(), Halt> {
        for (_, device) in self.places.all() {
            if let Some(heard) = device.log().take().first() {
                let (bytes, netns) = (&heard.bytes, device.namespace());
                return Err(failed(&format_args!("{netns} has sent a frame of its own: {bytes:02x?}")));
            }
        }
        Ok(())
    }

    /// Notes the books as they are, and forgets what was told of frames before.
    fn open_books(&mut self) -> Result<(), Halt> {
        self.settle()?;
        self.books = Books::of(&self.daemon.dataplane().status());
        self.witness.take();
        Ok(())
    }

    fn settle(&self) -> Result<(), Halt> {
        self.daemon.dataplane().settle().map_err(|error| failed(&error))
    }
}

impl Stage for LabStage {
    fn advance(&mut self, now: Duration) -> Result<(), Halt> {
        self.hand.move_to(now);
        // What has expired by now is gone by now, and counted, before anything else happens.
        self.daemon.dataplane().reclaim();
        self.open_books()
    }

    fn publish(&mut self, world: &Table) -> Result<(), Halt> {
        let text = world.to_string();
        draft::load("world", &text).map_err(|errors| failed(&errors))?;
        write(&mut self.file, &text).map_err(|error| failed(&error))?;
        let reloaded = self.daemon.reload();
        reloaded.map_err(|refusal| failed(&refusal.message))?;
        self.open_books()
    }

    fn kill(&mut self, chosen: &Selection) -> Result<usize, Halt> {
        let now = self.daemon.dataplane().now();
        Ok(self.daemon.engine().kill(chosen, &self.snapshot(), now, 0).total)
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.daemon.dataplane().snapshot()
    }

    fn explain(&self, frame: &Frame) -> Explanation {
        let received = Received { vnet: frame.vnet, ..Received::default() };
        let now = self.daemon.dataplane().now();
        self.daemon.engine().explain(&self.snapshot(), now, frame.port, &frame.bytes, received)
    }

    fn send(&mut self, frame: &Frame) -> Result<Seen, Halt> {
        if self.lab.is_interrupted() {
            return Err(Halt::Failed("interrupted".to_owned()));
        }
        let device = self.places.device(frame.port).ok_or_else(|| failed(&"the sender has no device"))?;
        device.send(frame.vnet, &frame.bytes).map_err(|error| Unplayable::refused(&error, &frame.bytes))?;
        let expected = packets(frame.vnet, &frame.bytes);
        let heard =
            device.log().wait(PATIENCE, |heard| heard.iter().map(Heard::packets).sum::<u32>() >= expected);
        self.sent += heard.len() as u64;
        self.settle()?;
        let books = Books::of(&self.daemon.dataplane().status());
        let before = std::mem::replace(&mut self.books, books);
        let snapshot = self.snapshot();
        let arrivals = self.arrivals()?.into_iter();
        let (copies, arrivals) = arrivals.partition(|arrival| is_copy(&snapshot, arrival));
        let seen = Seen { copies, ..before.seen(&self.books, arrivals, self.witness.take()) };
        self.silence()?;
        match heard.is_empty() {
            true => Err(failed(&"the frame did not come out of the guest's device")),
            false if !came_as_sent(&device, frame, &heard) => Err(Unplayable::FrameChanged.into()),
            false => Ok(seen),
        }
    }

    fn connections(&self) -> Vec<ConnView> {
        self.daemon.engine().connections().list(self.daemon.dataplane().now().monotonic)
    }

    fn readings(&mut self) -> Readings {
        let (dataplane, snapshot) = (self.daemon.dataplane(), self.snapshot());
        let (status, now, table) = (dataplane.status(), dataplane.now(), self.daemon.engine().connections());
        let slots = (0..snapshot.rule_slots()).filter_map(|slot| u32::try_from(slot).ok());
        let exceeded = |eni: &CompiledEni| (eni.key, dataplane.allowance_exceeded(eni.key));
        let available = |eni: &CompiledEni| {
            (eni.instance, table.available(eni.instance.0, eni.max_tracked, now.monotonic))
        };
        Readings {
            values: status.counters,
            held: status.holding.fragments,
            connections: status.connections,
            rules: slots.map(|slot| dataplane.rule_hits(RuleSlot(slot))).collect(),
            exceeded: snapshot.enis().iter().map(exceeded).collect(),
            available: snapshot.enis().iter().map(available).collect(),
            copies: snapshot.mirror_keys().map(|key| (key, dataplane.copies_of(key))).collect(),
        }
    }

    /// The daemon writes them in its own time, to destinations.
    fn flow_logs(&mut self) -> Result<Vec<String>, Halt> {
        Err(Halt::NotPlayable("lines of flow logs are looked at in process".to_owned()))
    }

    /// The laws of a daemon that stops, and those that tie the ports' counters to what guests have sent and received.
    fn close(self) -> Result<Vec<Law>, Halt> {
        self.silence()?;
        let totals = self.daemon.stop().totals;
        let ports = &totals.ports;
        let own = [
            Law {
                name: "frames received by ports = frames sent by guests",
                left: ports.received.frames,
                right: self.sent,
            },
            Law {
                name: "frames sent by ports = frames arrived at guests",
                left: ports.sent.frames,
                right: self.arrived,
            },
        ];
        let laws = totals.laws.iter().map(|law| Law { name: law.name, left: law.left, right: law.right });
        Ok(laws.chain(own).collect())
    }
}

impl Heard {
    fn packets(&self) -> u32 {
        packets(self.info.vnet, &self.bytes)
    }
}

/// Packets on the wire that a frame stands for.
fn packets(vnet: VnetHeader, frame: &[u8]) -> u32 {
    let Ok(summary) = parse(frame) else { return 1 };
    match (summary.body, vnet.check(&summary)) {
        (Body::Ip(ip), Ok(offload)) => offload.wire_packets(&ip),
        _ => 1,
    }
}

impl Drop for LabStage {
    fn drop(&mut self) {
        // There is none unless the world has flow logs.
        let _ = std::fs::remove_dir_all(&self.spool);
    }
}

/// Whether the data plane was given what the guest was told to send.
fn came_as_sent(device: &Device, frame: &Frame, heard: &[Heard]) -> bool {
    match heard {
        // The kernel has taken the tag out of the frame and told of it beside.
        [one] if one.info.vlan => {
            let (mut bytes, is_tagged) = (frame.bytes.clone(), frame.bytes.get(12..14) == Some(&[0x81, 0]));
            is_tagged && bytes.drain(12..16).count() == 4 && one.bytes == bytes
        }
        [one] if one.bytes == frame.bytes => {
            !one.info.truncated && meaning(one.info.vnet, &one.bytes) == meaning(frame.vnet, &frame.bytes)
        }
        many if !device.offload() => {
            same_packet(many.iter().map(|heard| (heard.info.vnet, &*heard.bytes)), frame)
        }
        _ => false,
    }
}

/// What a virtio-net header asks for, or that it cannot; a checksum that was verified is as good as any.
fn meaning(vnet: VnetHeader, frame: &[u8]) -> Option<Result<Offload, palisade_packet::BadOffload>> {
    let offload = vnet.check(&parse(frame).ok()?);
    Some(if offload == Ok(Offload::Valid) { Ok(Offload::None) } else { offload })
}

/// Ports are dealt to workers, so that the two directions of a flow meet different ones. Memory for more connections and
/// flows than a scenario has would be taken, cleared and given back for each.
fn suit(daemon: &mut DaemonSettings) {
    daemon.workers = Some(daemon.workers.unwrap_or(1).max(2));
    daemon.max_connections = daemon.max_connections.min(65_536);
    daemon.flow_cache = daemon.flow_cache.min(4_096);
}

fn failed(error: &dyn std::fmt::Display) -> Halt {
    Halt::Failed(error.to_string())
}

/// A file without a name, which ends with its descriptor.
fn memory_file() -> io::Result<File> {
    Ok(memfd_create("world", MFdFlags::MFD_CLOEXEC)?.into())
}

fn write(file: &mut File, text: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(text.as_bytes())
}

/// A place of its own for each stage: no daemon's records are delivered by a scenario.
fn spool_of(file: &File) -> PathBuf {
    std::env::temp_dir().join(format!("palisade-lab-{}-{}", std::process::id(), file.as_raw_fd()))
}

fn path_of(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

#[cfg(test)]
#[path = "stage_tests.rs"]
mod tests;
