//! Flow logs of a scenario in process: what a daemon's flow-log thread does, under the virtual clock and without a disk.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use palisade_engine::{Coverage, Handed, Lane, Ledger, Now, Tray};
use palisade_flowlog::{Aggregator, Content, Description, FlowLog, Outlet, Record, Resource, Traffic};
use palisade_policy::{CompiledEni, Snapshot};

use crate::stage::Law;

/// Records of open windows; no scenario has as many.
const RECORDS: usize = 65_536;

/// Windows, and the lines that were written.
pub(crate) struct FlowLogs {
    aggregator: Aggregator,
    coverage: Arc<Coverage>,
    tray: Arc<Tray>,
    written: Written,
    /// Packets of everything that was handed over.
    handed: u64,
    /// Flow logs of the whole VPC, for all records, that were there from the start: they get everything.
    lifelong: Option<Vec<Arc<FlowLog>>>,
}

#[derive(Default)]
struct Written {
    names: HashMap<String, String>,
    lines: Vec<String>,
    /// Packets of records, by id of the flow log.
    packets: HashMap<String, u64>,
}

impl Default for FlowLogs {
    fn default() -> Self {
        Self {
            aggregator: Aggregator::new(RECORDS),
            coverage: Arc::default(),
            tray: Arc::new(Tray::new(RECORDS)),
            written: Written::default(),
            handed: 0,
            lifelong: None,
        }
    }
}

impl FlowLogs {
    /// A worker's ledger of so many deltas.
    pub(crate) fn ledger(&self, entries: usize) -> Ledger {
        Ledger::new(entries, Arc::clone(&self.coverage), Arc::clone(&self.tray))
    }

    /// Takes up a policy before any packet is judged by it.
    pub(crate) fn take_up(&mut self, snapshot: &Arc<Snapshot>, now: Duration) {
        let (now, vpc) = (second(now), snapshot.vpc());
        let logs = FlowLog::all(vpc);
        self.aggregator.learn(Arc::clone(snapshot), now);
        self.aggregator.subscribe(logs.clone(), now);
        self.written.names.extend(vpc.flow_logs.iter().map(|log| (log.id.clone(), log.name.clone())));
        let is_covered = |eni: &&CompiledEni| {
            let description = Description::of(vpc, eni.index);
            logs.iter().any(|log| log.resource.covers(&description))
        };
        // What no flow log covers any more goes on being counted, and is told to nobody.
        snapshot.enis().iter().filter(is_covered).for_each(|eni| self.coverage.set(eni.key, true));
        let is_whole =
            |log: &Arc<FlowLog>| matches!(log.resource, Resource::Vpc(_)) && log.traffic == Traffic::All;
        match &mut self.lifelong {
            Some(lifelong) => lifelong.retain(|log| logs.contains(log)),
            None => self.lifelong = Some(logs.into_iter().filter(is_whole).collect()),
        }
    }

    /// Does what is due at a time: workers hand over, windows are written.
    pub(crate) fn advance(&mut self, lanes: &mut [Lane], now: Now) {
        for lane in lanes {
            lane.settle(now, usize::MAX);
            while lane.ledger.hand_over(now, usize::MAX) {
                self.take();
            }
        }
        self.take();
        while self.aggregator.tick(second(now.unix), usize::MAX, &mut self.written) {}
    }

    /// The lines that were written since the last time, each behind the name of its flow log.
    pub(crate) fn lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.written.lines)
    }

    /// Writes everything; what workers have counted must have come, and what came must be in the records of each flow log that
    /// gets everything (law 2).
    pub(crate) fn finish(&mut self, lanes: &mut [Lane], logged: u64) -> [Law; 2] {
        for lane in lanes {
            lane.ledger.surrender();
        }
        self.take();
        for handed in self.tray.take_remains() {
            self.count(&handed);
        }
        self.aggregator.finish(&mut self.written);
        let taken = self.aggregator.taken();
        let told = |log: &Arc<FlowLog>| self.written.packets.get(&log.id).copied().unwrap_or_default();
        let lifelong = self.lifelong.iter().flatten();
        let wrong = lifelong.map(told).find(|told| *told != taken.packets);
        [
            Law {
                name: "packets that flow logs cover = packets handed over",
                left: logged,
                right: self.handed,
            },
            Law {
                name: "packets handed over = packets in records of the VPC + uncovered + lost",
                left: self.handed,
                right: wrong.unwrap_or(taken.packets) + taken.uncovered + taken.unknown + taken.lost,
            },
        ]
    }

    fn take(&mut self) {
        while let Some(handed) = self.tray.take() {
            self.count(&handed);
        }
    }

    fn count(&mut self, handed: &Handed) {
        match handed {
            Handed::Delta(delta) => {
                self.handed += delta.packets;
                self.aggregator.take(&[*delta]);
            }
            Handed::Loss(loss) => {
                self.handed += loss.packets;
                self.aggregator.lose(loss);
            }
        }
    }
}

impl Outlet for Written {
    fn record(&mut self, log: &FlowLog, record: &Record<'_>) {
        let mut line = self.names.get(&log.id).map_or_else(|| log.id.clone(), String::clone);
        line.push(' ');
        record.write(&log.format, &mut line);
        self.lines.push(line.trim_end().to_owned());
        if let Content::Flow { delta, .. } = record.content {
            *self.packets.entry(log.id.clone()).or_default() += delta.packets;
        }
    }

    fn ended(&mut self, _: &FlowLog) {}
}

fn second(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}
