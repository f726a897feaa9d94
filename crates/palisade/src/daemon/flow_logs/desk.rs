//! What the flow-log thread works at: windows, spools, who is covered, and what somebody watches. Guarded by a lock of [`super::FlowLogs`].

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use palisade_engine::{Coverage, Handed, Now, Tray};
use palisade_flow::{Delta, Window};
use palisade_flowlog::{Collector, Description, FlowLog, LINGER, Limits, Resource, Traffic};
use palisade_policy::model::Vpc;
use palisade_policy::{EniKey, Snapshot};
use palisade_runtime::LawResult;

use super::couriers::{Couriers, LAST_CALL};
use super::live::Live;
use crate::control::protocol::{FlowsRequest, Refusal};
use crate::report::flow_logs::FlowLogReport;
use crate::report::flows::FlowsReport;

/// What is taken from one tray in a round.
const PORTION: usize = 16_384;
/// Deltas that are counted in at a time.
const BATCH: usize = 256;
/// Records written in a round.
const RECORDS: usize = 16_384;

/// How a round ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Round {
    /// There is more to do.
    Busy,
    /// Something is counted, and will come.
    Calm,
    /// Nothing is counted.
    Idle,
}

/// Windows, spools, couriers.
pub(super) struct Desk {
    spool: PathBuf,
    limits: Limits,
    /// File of credentials for AWS services.
    credentials: Option<PathBuf>,
    coverage: Arc<Coverage>,
    /// The policy that was taken up last.
    snapshot: Arc<Snapshot>,
    /// Flows, while somebody watches.
    live: Option<Live>,
    /// Made with the first flow log.
    collector: Option<Collector>,
    couriers: Couriers,
    trays: Vec<Arc<Tray>>,
    logs: Vec<Arc<FlowLog>>,
    /// Flow logs of the whole VPC, for all records, that have been there since the start: they get everything.
    lifelong: Vec<Arc<FlowLog>>,
    covered: HashSet<EniKey>,
    /// ENIs that will be covered when the minute is over whose first second after it this is; until then more are (FL-5).
    next: Option<(u32, HashSet<EniKey>)>,
    /// Until this second workers hand over what they have counted for those who have stopped to want it.
    awake_until: u32,
    /// Packets of everything that was taken.
    handed: u64,
    /// Packets taken while there was no collector.
    unwanted: u64,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("spool", &self.spool).field("logs", &self.logs).finish_non_exhaustive()
    }
}

impl Desk {
    /// A desk without flow logs.
    pub(super) fn new(snapshot: &Arc<Snapshot>, coverage: Arc<Coverage>) -> Self {
        let vpc = snapshot.vpc();
        let daemon = &vpc.daemon;
        let records = usize::try_from(daemon.flow_log_records).unwrap_or(usize::MAX);
        Self {
            spool: daemon.flow_log_spool(&vpc.id),
            limits: Limits { records, spool: daemon.flow_log_spool_limit },
            credentials: daemon.credentials_file.clone(),
            coverage,
            snapshot: Arc::clone(snapshot),
            live: None,
            collector: None,
            couriers: Couriers::default(),
            trays: Vec::new(),
            logs: Vec::new(),
            lifelong: Vec::new(),
            covered: HashSet::new(),
            next: None,
            awake_until: 0,
            handed: 0,
            unwanted: 0,
        }
    }

    /// Empties these trays from now on.
    pub(super) fn attach(&mut self, trays: Vec<Arc<Tray>>) {
        self.trays = trays;
    }

    /// Takes up a policy and its flow logs.
    ///
    /// # Errors
    /// A spool cannot be opened; the flow logs are as they were.
    pub(super) fn take_up(&mut self, snapshot: &Arc<Snapshot>, now: u32) -> io::Result<()> {
        self.take_up_logs(snapshot, now)?;
        if let Some(live) = &mut self.live {
            live.learn(snapshot, now);
        }
        self.snapshot = Arc::clone(snapshot);
        Ok(())
    }

    fn take_up_logs(&mut self, snapshot: &Arc<Snapshot>, now: u32) -> io::Result<()> {
        let logs = FlowLog::all(snapshot.vpc());
        let is_first = self.collector.is_none();
        if is_first && !logs.is_empty() {
            self.collector = Some(self.collector()?);
        }
        let Some(collector) = &mut self.collector else { return Ok(()) };
        collector.learn(Arc::clone(snapshot), now);
        self.couriers.send(collector.subscribe(logs.clone(), now)?);
        self.cover(snapshot, &logs, now);
        let is_whole =
            |log: &&Arc<FlowLog>| matches!(log.resource, Resource::Vpc(_)) && log.traffic == Traffic::All;
        if is_first && self.trays.is_empty() {
            self.lifelong = logs.iter().filter(is_whole).cloned().collect();
        } else {
            self.lifelong.retain(|log| logs.contains(log));
        }
        self.logs = logs;
        Ok(())
    }

    /// Sends somebody out for what earlier daemons have left of flow logs that there are no longer.
    ///
    /// # Errors
    /// The directory of spools cannot be read.
    pub(super) fn take_up_orphans(&mut self) -> io::Result<()> {
        if self.collector.is_none() && self.spool.is_dir() {
            self.collector = Some(self.collector()?);
        }
        let Some(collector) = &self.collector else { return Ok(()) };
        let (couriers, errors) = collector.orphans()?;
        for error in errors {
            tracing::warn!(%error, "records of an earlier flow log cannot be taken up; they stay where they are");
        }
        self.couriers.send(couriers);
        Ok(())
    }

    /// Shows flows, and watches them for a while from now on.
    ///
    /// # Errors
    /// A filter word is none, or names what there is not; whether flows are watched has not changed.
    pub(super) fn watch(&mut self, request: &FlowsRequest, now: Now) -> Result<FlowsReport, Refusal> {
        self.take(PORTION);
        if let Some(live) = &mut self.live {
            return live.show(request, now);
        }
        let mut live = Live::begin(&self.snapshot, now);
        let shown = live.show(request, now)?;
        self.live = Some(live);
        self.coverage.watch_everything(true);
        Ok(shown)
    }

    /// Empties the trays, closes windows, writes records.
    pub(super) fn round(&mut self, now: Now) -> Round {
        let mut is_busy = self.take(PORTION);
        self.end_watch(now);
        let now = super::second(now);
        self.uncover(now);
        if let Some(collector) = &mut self.collector {
            is_busy |= collector.tick(now, RECORDS);
        }
        match is_busy {
            true => Round::Busy,
            false if self.is_counting() || now < self.awake_until => Round::Calm,
            false => Round::Idle,
        }
    }

    /// What each flow log of a VPC has done, in the order of the file.
    pub(super) fn report(&self, vpc: &Vpc) -> Vec<FlowLogReport> {
        let figures = self.couriers.figures();
        let report = |log: &palisade_policy::model::FlowLog| {
            let written = self.collector.as_ref().and_then(|collector| collector.written(&log.id));
            let figures = figures.get(&*log.id).cloned().unwrap_or_default();
            FlowLogReport::new(vpc, log, written.unwrap_or_default(), figures)
        };
        vpc.flow_logs.iter().map(report).collect()
    }

    /// Takes what is left, writes and delivers it; then what was counted can be held against what was written (law 2).
    pub(super) fn finish(&mut self, logged: u64) -> Vec<LawResult> {
        while self.take(usize::MAX) {}
        for handed in self.trays.iter().flat_map(|tray| tray.take_remains()).collect::<Vec<_>>() {
            self.count(&[handed]);
        }
        if let Some(collector) = &mut self.collector {
            collector.finish();
        }
        self.couriers.recall(LAST_CALL);
        let mut laws =
            vec![law("packets logged = packets that workers have handed over", logged, self.handed)];
        laws.extend(self.collector.as_ref().into_iter().flat_map(|collector| self.laws(collector)));
        laws
    }

    /// Everything that was handed over is known to somebody; and a flow log that gets everything has it in records, or knows
    /// what is lost.
    fn laws(&self, collector: &Collector) -> Vec<LawResult> {
        let taken = collector.taken();
        let known = taken.packets + taken.uncovered + taken.unknown + taken.lost + self.unwanted;
        let mut laws = vec![law("packets handed over = packets taken up", self.handed, known)];
        // Records that had no room anywhere are counted once per interval, not per flow log.
        for log in self.lifelong.iter().filter(|_| taken.overflown == 0) {
            let written = collector.written(&log.id).unwrap_or_default();
            let told = written.packets + written.lost.packets;
            laws.push(law(
                "packets taken up = in records of a flow log of the VPC + lost",
                taken.packets,
                told,
            ));
        }
        laws
    }

    fn collector(&self) -> io::Result<Collector> {
        let collector = Collector::new(&self.spool, self.limits.clone())?;
        Ok(collector.with_credentials(self.credentials.clone()))
    }

    /// Takes up to `most` from each tray; true if there was more in one of them than is worth waiting for.
    fn take(&mut self, most: usize) -> bool {
        let mut is_busy = false;
        for tray in self.trays.clone() {
            let mut batch = Vec::with_capacity(BATCH);
            let mut taken = 0;
            while taken < most {
                batch.clear();
                batch.extend(std::iter::from_fn(|| tray.take()).take(BATCH));
                if batch.is_empty() {
                    break;
                }
                taken += batch.len();
                self.count(&batch);
            }
            is_busy |= taken > Tray::DEFAULT_CAPACITY / 4;
        }
        is_busy
    }

    fn count(&mut self, handed: &[Handed]) {
        let deltas: Vec<Delta> = handed.iter().filter_map(delta).collect();
        let losses = handed.iter().filter_map(|handed| match handed {
            Handed::Loss(loss) => Some(loss),
            Handed::Delta(_) => None,
        });
        let sum = deltas.iter().map(|delta| delta.packets).sum::<u64>()
            + losses.clone().map(|loss| loss.packets).sum::<u64>();
        self.handed += sum;
        if let Some(live) = &mut self.live {
            for handed in handed {
                live.count(handed);
            }
        }
        match &mut self.collector {
            Some(collector) => {
                collector.take(&deltas);
                losses.for_each(|loss| collector.lose(loss));
            }
            None => self.unwanted += sum,
        }
    }

    /// Covers what flow logs watch at once, and lets go of what they watch no longer when the minute is over.
    fn cover(&mut self, snapshot: &Snapshot, logs: &[Arc<FlowLog>], now: u32) {
        let is_watched = |key: &EniKey| {
            let eni = snapshot.eni(*key).map(|eni| Description::of(snapshot.vpc(), eni.index));
            eni.is_some_and(|eni| logs.iter().any(|log| log.resource.covers(&eni)))
        };
        let keys = snapshot.enis().iter().map(|eni| eni.key);
        let wanted: HashSet<EniKey> = keys.filter(is_watched).collect();
        for eni in wanted.difference(&self.covered) {
            self.coverage.set(*eni, true);
        }
        self.covered.extend(&wanted);
        self.next = (self.covered.len() > wanted.len()).then(|| (Window::of(now).end(), wanted));
    }

    fn uncover(&mut self, now: u32) {
        let Some((_, wanted)) = self.next.take_if(|(turn, _)| *turn <= now) else { return };
        for eni in self.covered.difference(&wanted) {
            self.coverage.set(*eni, false);
        }
        self.covered = wanted;
        self.stay_awake(now);
    }

    /// Stops to watch when nobody has asked for too long.
    fn end_watch(&mut self, now: Now) {
        let second = super::second(now);
        if self.live.take_if(|live| live.is_over(now)).is_some() {
            self.coverage.watch_everything(false);
            self.stay_awake(second);
        }
        if let Some(live) = &mut self.live {
            live.forget(second);
        }
    }

    /// What workers have counted they hand over when its minute is over, also if nobody wants it any longer; somebody must
    /// empty their trays until then.
    const fn stay_awake(&mut self, now: u32) {
        self.awake_until = Window::of(now).end().saturating_add(LINGER);
    }

    /// Whether anything is counted.
    fn is_counting(&self) -> bool {
        !self.covered.is_empty() || !self.logs.is_empty() || self.live.is_some()
    }
}

const fn delta(handed: &Handed) -> Option<Delta> {
    match handed {
        Handed::Delta(delta) => Some(*delta),
        Handed::Loss(_) => None,
    }
}

const fn law(name: &'static str, left: u64, right: u64) -> LawResult {
    LawResult { name, left, right, holds: left == right }
}

#[cfg(test)]
#[path = "desk_tests.rs"]
mod tests;
