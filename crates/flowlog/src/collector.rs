//! The whole way from deltas to spools: what the flow-log thread owns.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use palisade_flow::{Delta, Loss};
use palisade_policy::Snapshot;
use palisade_policy::flow_log::{Destination, Traffic};

use crate::aggregate::{Aggregator, LINGER, Outlet, Taken};
use crate::deliver::Courier;
use crate::description::Description;
use crate::object::SLOT;
use crate::record::{Content, Record};
use crate::spool::{Lost, Spool, Store};
use crate::subscription::{FlowLog, interval_at};

/// How many losses may wait until there is room to tell of them, per flow log.
const MOST_SKIPS: usize = 65_536;

/// Bounds of what flow logs may take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Records of open windows, all flow logs together; each takes 110 to 220 bytes of memory.
    pub records: usize,
    /// Bytes of each flow log's spool.
    pub spool: u64,
}

impl Default for Limits {
    /// A million records, 256 MiB.
    fn default() -> Self {
        Self { records: 1 << 20, spool: 256 << 20 }
    }
}

/// Windows and spools of all flow logs.
pub struct Collector {
    aggregator: Aggregator,
    outbox: Outbox,
    credentials: Option<PathBuf>,
}

/// What has become of a flow log's records.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Written {
    /// Records of flows that went to the spool, delivered or not.
    pub records: u64,
    /// Their packets.
    pub packets: u64,
    /// Records of flows that had no room in the spool, and their packets.
    pub lost: Lost,
    /// NODATA and SKIPDATA records.
    pub others: u64,
    /// Bytes that wait for delivery.
    pub waiting: u64,
    /// Why the spool could not be written last, if it could not.
    pub error: Option<String>,
}

impl Collector {
    /// A collector whose spools lie in a directory, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// The directory cannot be made.
    pub fn new(directory: impl Into<PathBuf>, limits: Limits) -> io::Result<Self> {
        let directory = directory.into();
        std::fs::create_dir_all(&directory)?;
        let aggregator = Aggregator::new(limits.records);
        let outbox = Outbox { directory, limits, logs: HashMap::new() };
        Ok(Self { aggregator, outbox, credentials: None })
    }

    /// The file of keys for AWS services, if it is not where AWS's SDKs have it.
    #[must_use]
    pub fn with_credentials(mut self, file: Option<PathBuf>) -> Self {
        self.credentials = file;
        self
    }

    /// See [`Aggregator::learn`].
    pub fn learn(&mut self, snapshot: Arc<Snapshot>, now: u32) {
        self.aggregator.learn(snapshot, now);
    }

    /// The flow logs from now on; see [`Aggregator::subscribe`]. Returns who delivers for those that are new.
    ///
    /// # Errors
    ///
    /// A flow log keeps its id and is to be another one (FL-5), or a spool cannot be opened; then nothing has changed.
    pub fn subscribe(&mut self, logs: Vec<Arc<FlowLog>>, now: u32) -> io::Result<Vec<Courier>> {
        let mut stores = Vec::new();
        for log in &logs {
            stores.extend(self.outbox.open(log)?);
        }
        self.aggregator.subscribe(logs, now);
        Ok(stores.into_iter().map(|store| self.courier(store)).collect())
    }

    /// Who delivers what earlier processes have left of flow logs that there are no longer, and what could not be taken up.
    ///
    /// # Errors
    ///
    /// The directory of spools cannot be read.
    pub fn orphans(&self) -> io::Result<(Vec<Courier>, Vec<io::Error>)> {
        let present: Vec<_> = self.outbox.logs.keys().map(String::as_str).collect();
        let (mut couriers, mut errors) = (Vec::new(), Vec::new());
        for orphan in Spool::orphans(&self.outbox.directory, &present, self.outbox.limits.spool)? {
            match orphan {
                Ok(store) => couriers.push(self.courier(store)),
                Err(error) => errors.push(error),
            }
        }
        Ok((couriers, errors))
    }

    /// See [`Aggregator::take`].
    pub fn take(&mut self, deltas: &[Delta]) {
        self.aggregator.take(deltas);
    }

    /// See [`Aggregator::lose`].
    pub fn lose(&mut self, loss: &Loss) {
        self.aggregator.lose(loss);
    }

    /// Closes windows, writes up to `budget` of their records to the spools, and seals what is complete. True if there are
    /// more records to write, with the next tick.
    pub fn tick(&mut self, now: u32, budget: usize) -> bool {
        let more = self.aggregator.tick(now, budget, &mut self.outbox);
        if more {
            self.outbox.flush();
        } else {
            self.outbox.seal(now);
        }
        more
    }

    /// Writes and seals everything: the daemon stops.
    pub fn finish(&mut self) {
        self.aggregator.finish(&mut self.outbox);
        for out in self.outbox.logs.values_mut() {
            out.seal(|_| true);
            out.spool.give_up();
        }
    }

    /// What has become of the packets that were handed over.
    #[must_use]
    pub const fn taken(&self) -> Taken {
        self.aggregator.taken()
    }

    /// What has become of the records of a flow log.
    #[must_use]
    pub fn written(&self, log: &str) -> Option<Written> {
        self.outbox.logs.get(log).map(Out::written)
    }

    fn courier(&self, store: Arc<Store>) -> Courier {
        Courier::new(store, self.credentials.clone())
    }
}

/// Spools of the flow logs that are there.
struct Outbox {
    directory: PathBuf,
    limits: Limits,
    logs: HashMap<String, Out>,
}

struct Out {
    log: Arc<FlowLog>,
    spool: Spool,
    /// Whether the flow log is deleted.
    ended: bool,
    /// SKIPDATA lines of losses of the spool, by the end of their window and ENI.
    skips: BTreeMap<(u32, String), String>,
    /// Records of flows, and their packets, that were to be written.
    offered: Lost,
    /// NODATA and SKIPDATA records that were written.
    others: u64,
    line: String,
}

impl Outbox {
    /// Makes the spool of a flow log; `None` if there is one that is delivered from already.
    fn open(&mut self, log: &Arc<FlowLog>) -> io::Result<Option<Arc<Store>>> {
        if let Some(out) = self.logs.get(&log.id).filter(|out| out.log != *log) {
            let what = format!("the flow log {} cannot be changed (FL-5)", out.log.id);
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
        }
        if let Some(out) = self.logs.get_mut(&log.id).filter(|out| out.spool.revive()) {
            out.ended = false;
            return Ok(None);
        }
        let spool = Spool::open(&self.directory, log, self.limits.spool)?;
        let store = Arc::clone(spool.store());
        let out = Out {
            log: Arc::clone(log),
            spool,
            ended: false,
            skips: BTreeMap::new(),
            offered: Lost::default(),
            others: 0,
            line: String::new(),
        };
        self.logs.insert(log.id.clone(), out);
        Ok(Some(store))
    }

    /// The stream of an ENI in the log group of a flow log, if it has one. Flow logs that have the group in common have the
    /// stream in common, and then it is called after all of them (FL-70).
    fn stream(&self, log: &FlowLog, eni: &Description) -> Option<String> {
        let Destination::CloudWatchLogs { .. } = &log.destination else { return None };
        let others = self.logs.values().filter(|out| !out.ended && out.log.destination == log.destination);
        let mut sharing = others.filter(|out| out.log.resource.covers(eni));
        let is_single = sharing.all(|out| out.log.traffic == log.traffic);
        let traffic = if is_single { log.traffic } else { Traffic::All };
        Some(format!("{}-{}", eni.eni, traffic.as_str().to_ascii_lowercase()))
    }

    fn flush(&mut self) {
        self.logs.values_mut().for_each(|out| out.spool.flush());
    }

    fn seal(&mut self, now: u32) {
        for out in self.logs.values_mut() {
            let interval = out.log.interval.seconds().max(SLOT);
            let by_slot = out.log.destination.objects().is_some();
            // A slot is over with the last window that has records which end in it.
            let end = |slot: u32| slot.saturating_add(SLOT).div_ceil(interval).saturating_mul(interval);
            out.seal(|slot| !by_slot || end(slot).saturating_add(LINGER) <= now);
        }
    }
}

impl Outlet for Outbox {
    fn record(&mut self, log: &FlowLog, record: &Record<'_>) {
        let stream = self.stream(log, record.eni);
        if let Some(out) = self.logs.get_mut(&log.id) {
            out.write(record, stream.as_deref());
        }
    }

    fn ended(&mut self, log: &FlowLog) {
        if let Some(out) = self.logs.get_mut(&log.id) {
            out.tell_skips();
            out.spool.end();
            out.ended = true;
        }
    }
}

impl Out {
    /// Writes a record; behind the name of its stream and its time, where there are streams.
    fn write(&mut self, record: &Record<'_>, stream: Option<&str>) {
        self.line.clear();
        push_stream(&mut self.line, stream, record.start);
        record.write(&self.log.format, &mut self.line);
        let packets = match record.content {
            Content::Flow { delta, .. } => Some(delta.packets),
            Content::NoData | Content::SkipData => None,
        };
        let taken = self.spool.append(&self.line, record.end, packets);
        match packets {
            Some(packets) => {
                self.offered.records += 1;
                self.offered.packets += packets;
            }
            None => self.others += u64::from(taken),
        }
        if !taken {
            self.skip(record, stream);
        }
    }

    fn written(&self) -> Written {
        let (lost, offered) = (self.spool.lost(), self.offered);
        Written {
            records: offered.records - lost.records,
            packets: offered.packets - lost.packets,
            lost,
            others: self.others,
            waiting: self.spool.store().used(),
            error: self.spool.error().map(str::to_owned),
        }
    }

    /// Remembers to tell that a record of this window was lost.
    fn skip(&mut self, record: &Record<'_>, stream: Option<&str>) {
        let eni = record.eni;
        let interval = interval_at(self.log.interval, eni);
        let start = match record.content {
            Content::Flow { .. } => record.start - record.start % interval.seconds(),
            Content::NoData | Content::SkipData => record.start,
        };
        let end = start.saturating_add(interval.seconds());
        let key = (end, eni.eni.clone());
        if self.skips.len() < MOST_SKIPS && !self.skips.contains_key(&key) {
            let mut line = String::new();
            push_stream(&mut line, stream, start);
            Record { eni, start, end, content: Content::SkipData }.write(&self.log.format, &mut line);
            self.skips.insert(key, line);
        }
    }

    /// Writes what there is room for of the losses that have not been told.
    fn tell_skips(&mut self) {
        while let Some(((end, eni), line)) = self.skips.pop_first() {
            if !self.spool.append(&line, end, None) {
                self.skips.insert((end, eni), line);
                return;
            }
            self.others += 1;
        }
    }

    fn seal(&mut self, is_over: impl Fn(u32) -> bool) {
        self.tell_skips();
        self.spool.seal(is_over);
    }
}

fn push_stream(line: &mut String, stream: Option<&str>, start: u32) {
    if let Some(stream) = stream {
        // Writing to a String cannot fail.
        let _ = write!(line, "{stream} {start} ");
    }
}
