//! `palisade status`: what the daemon does.

use std::collections::BTreeMap;
use std::io::{self, Write};

use palisade_conntrack::ConnTotals;
use palisade_engine::{Consumed, CopyValues, CounterValues, DropReason, Holding, StageValues};
use palisade_runtime::{PortValues, Traffic, WorkerStatus};
use serde::{Deserialize, Serialize};

use super::flow_logs::FlowLogReport;
use super::numbers::{bytes, time};
use crate::screen::{BAD, FAINT, GOOD, HEADING, NOTABLE};
use crate::table::{Column, Table, count, or_dash};

/// The daemon at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct StatusReport {
    /// Version of the daemon.
    pub(crate) version: String,
    /// Its process.
    pub(crate) pid: u32,
    /// Id of its VPC.
    pub(crate) vpc: String,
    /// Its configuration file.
    pub(crate) config: String,
    /// The generation that every worker forwards by.
    pub(crate) generation: u64,
    /// The generation published last; greater only while workers take it up.
    pub(crate) published_generation: u64,
    /// Time since it forwards.
    pub(crate) uptime_seconds: u64,
    /// Threads that forward.
    pub(crate) workers: Vec<Worker>,
    /// Ports, ENIs first.
    pub(crate) ports: Vec<PortReport>,
    /// Counters of all workers together.
    pub(crate) counters: Counters,
    /// The connection table.
    pub(crate) connections: Connections,
    /// Fragments that wait for their first one.
    pub(crate) held: Held,
    /// Flow logs, in the order of the file.
    #[serde(default)]
    pub(crate) flow_logs: Vec<FlowLogReport>,
}

/// A thread that forwards.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Worker {
    /// Name of the thread.
    pub(crate) name: String,
    /// Whether it runs.
    pub(crate) running: bool,
    /// Generation it forwards by.
    pub(crate) generation: u64,
    /// Ports it receives from.
    pub(crate) ports: usize,
}

/// A port.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct PortReport {
    /// Name of the ENI or service.
    pub(crate) name: String,
    /// Id of the ENI.
    pub(crate) id: Option<String>,
    /// `eni` or `service`.
    pub(crate) kind: String,
    /// `tap` or `packet`.
    pub(crate) attachment: String,
    /// Interface name.
    pub(crate) device: String,
    /// Network namespace of the interface, if it is not the daemon's.
    pub(crate) netns: Option<String>,
    /// `up` or `down`.
    pub(crate) state: String,
    /// How the kernel's own stack is kept off the interface.
    pub(crate) takeover: Option<String>,
    /// Maximum transmission unit of the interface in bytes of IP packet.
    pub(crate) mtu: u16,
    /// MAC address of the interface.
    pub(crate) mac: String,
    /// Worker that receives from it.
    pub(crate) worker: String,
    /// What came in by it.
    pub(crate) received: Volume,
    /// What went out by it.
    pub(crate) sent: Volume,
    /// Packets that it did not take.
    pub(crate) dropped: PortDrops,
    /// Frames that the kernel dropped because they were not read in time.
    pub(crate) unread: u64,
    /// Packets of an ENI that were dropped because its instance may track no more connections (CT-71); of a service: none.
    pub(crate) conntrack_allowance_exceeded: Option<u64>,
}

/// An amount of traffic.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Volume {
    /// Packets on the wire.
    pub(crate) packets: u64,
    /// Frames, a segmentation-offload one counting once.
    pub(crate) frames: u64,
    /// Bytes of those frames.
    pub(crate) bytes: u64,
}

/// Packets that a device did not take.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct PortDrops {
    /// Its queue was full.
    pub(crate) full: u64,
    /// It was down or gone.
    pub(crate) down: u64,
    /// It refused the frame.
    pub(crate) refused: u64,
}

/// What became of mirror copies, of all sessions together.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Copies {
    /// Owed.
    pub(crate) made: u64,
    /// Of them, sent.
    pub(crate) sent: u64,
    /// Bytes of the frames they went out in.
    pub(crate) sent_bytes: u64,
    /// Of them, dropped, by reason; reasons that did not occur are absent.
    pub(crate) dropped: BTreeMap<String, u64>,
}

/// Counters, in packets on the wire.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counters {
    /// Came in by ports.
    pub(crate) received: u64,
    /// Bytes of the frames they came in.
    pub(crate) received_bytes: u64,
    /// Went out by ports.
    pub(crate) delivered: u64,
    /// Bytes of the frames they went out in.
    pub(crate) delivered_bytes: u64,
    /// Made by the fabric.
    pub(crate) generated: u64,
    /// Dropped, by reason; reasons that did not occur are absent.
    pub(crate) dropped: BTreeMap<String, u64>,
    /// Taken by the fabric itself, by kind.
    pub(crate) consumed: BTreeMap<String, u64>,
    /// Network ACLs, packets entering a subnet.
    pub(crate) acl_ingress: Stage,
    /// Network ACLs, packets leaving a subnet.
    pub(crate) acl_egress: Stage,
    /// Security groups, packets towards a guest that no connection covered.
    pub(crate) group_ingress: Stage,
    /// Security groups, packets from a guest that no connection covered.
    pub(crate) group_egress: Stage,
    /// Mirror copies, which are in no other count of packets but those of the filters that judge them.
    #[serde(default)]
    pub(crate) copies: Copies,
}

/// What one stage did in one direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Stage {
    /// Packets whose rules were consulted.
    pub(crate) reached: u64,
    /// Of them, denied because nothing matched.
    pub(crate) by_default: u64,
    /// Of them, ICMP errors that passed because of the packet they quote.
    pub(crate) related: u64,
}

/// The connection table.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Connections {
    /// Entries now.
    pub(crate) alive: u64,
    /// Most entries, all ENIs together.
    pub(crate) limit: u64,
    /// Entries ever made.
    pub(crate) created: u64,
    /// Ended by their time-out.
    pub(crate) expired: u64,
    /// Ended by traffic.
    pub(crate) closed: u64,
    /// Ended with their ENI or address, on request, or revoked.
    pub(crate) removed: u64,
    /// Of the removed, those that a strict policy refused (CT-27).
    pub(crate) revoked: u64,
    /// What each instance uses of its allowance.
    pub(crate) instances: Vec<Allowance>,
}

/// Fragments that wait for their first one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Held {
    /// How many.
    pub(crate) fragments: u64,
    /// Bytes of their frames.
    pub(crate) bytes: u64,
}

/// An instance's allowance of tracked connections.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Allowance {
    /// Name of the instance.
    pub(crate) instance: String,
    /// Its id.
    pub(crate) id: String,
    /// Entries now.
    pub(crate) tracked: u32,
    /// Most entries.
    pub(crate) limit: u32,
    /// Entries that may still be opened (CT-71); 0 at the limit.
    pub(crate) conntrack_allowance_available: u32,
}

impl From<WorkerStatus> for Worker {
    fn from(status: WorkerStatus) -> Self {
        let WorkerStatus { name, running, generation, ports, .. } = status;
        Self { name, running, generation, ports }
    }
}

impl From<Traffic> for Volume {
    fn from(traffic: Traffic) -> Self {
        Self { packets: traffic.packets, frames: traffic.frames, bytes: traffic.bytes }
    }
}

impl From<&PortValues> for PortDrops {
    fn from(values: &PortValues) -> Self {
        let dropped = &values.dropped;
        Self { full: dropped.full, down: dropped.down, refused: dropped.refused }
    }
}

impl From<StageValues> for Stage {
    fn from(values: StageValues) -> Self {
        Self { reached: values.reached, by_default: values.by_default, related: values.related }
    }
}

impl From<&CopyValues> for Copies {
    fn from(values: &CopyValues) -> Self {
        let CopyValues { made, sent, sent_bytes, ref dropped } = *values;
        let dropped = DropReason::ALL.map(|reason| (reason.as_str(), dropped.get(reason.index())));
        Self { made, sent, sent_bytes, dropped: occurring(&dropped) }
    }
}

impl From<&CounterValues> for Counters {
    fn from(values: &CounterValues) -> Self {
        let dropped = DropReason::ALL.map(|reason| (reason.as_str(), values.dropped_for(reason)));
        let consumed = Consumed::ALL.map(|what| (what.as_str(), values.consumed.get(what.index())));
        Self {
            received: values.received,
            received_bytes: values.received_bytes,
            delivered: values.delivered,
            delivered_bytes: values.delivered_bytes,
            generated: values.generated,
            dropped: occurring(&dropped),
            consumed: occurring(&consumed),
            acl_ingress: values.acl_ingress.into(),
            acl_egress: values.acl_egress.into(),
            group_ingress: values.group_ingress.into(),
            group_egress: values.group_egress.into(),
            copies: (&values.copies).into(),
        }
    }
}

impl Connections {
    /// From the table's own counts.
    pub(crate) fn new(totals: ConnTotals, limit: u64, instances: Vec<Allowance>) -> Self {
        let ConnTotals { created, alive, expired, closed, removed, revoked } = totals;
        Self { alive, limit, created, expired, closed, removed, revoked, instances }
    }
}

impl From<Holding> for Held {
    fn from(holding: Holding) -> Self {
        Self { fragments: holding.fragments, bytes: holding.bytes }
    }
}

fn occurring(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
    let found = counts.iter().filter(|(_, count)| *count > 0);
    found.map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

impl StatusReport {
    /// Writes everything for people.
    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        self.head(out)?;
        writeln!(out)?;
        self.ports(out)?;
        self.counters.write_drops(out)?;
        self.connections.write_allowances(out)?;
        self.write_refusals(out)?;
        FlowLogReport::write_all(&self.flow_logs, out)
    }

    /// The ENIs at which connections were refused for want of allowance.
    fn write_refusals(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut table = Table::new(&[Column::Left("ENI"), Column::Right("conntrack_allowance_exceeded")]);
        for port in &self.ports {
            if let Some(refused) = port.conntrack_allowance_exceeded.filter(|refused| *refused > 0) {
                table.row([port.name.as_str(), &refused.to_string()]);
            }
        }
        if table.is_empty() {
            return Ok(());
        }
        writeln!(out)?;
        table.write(out)
    }

    fn head(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { vpc, generation, published_generation, uptime_seconds, pid, version, config, .. } = self;
        let uptime = time(std::time::Duration::from_secs(*uptime_seconds).as_secs_f64());
        writeln!(out, "{HEADING}{vpc}{HEADING:#}  up {uptime}, pid {pid}, version {version}")?;
        write!(out, "generation {generation} of {config}")?;
        if published_generation > generation {
            write!(out, " {NOTABLE}(generation {published_generation} is being taken up){NOTABLE:#}")?;
        }
        writeln!(out)?;
        for worker in &self.workers {
            let state = if worker.running { "" } else { " does not run any more" };
            let ports = count(worker.ports, "port");
            writeln!(out, "worker {}: {ports}{BAD}{state}{BAD:#}", worker.name)?;
        }
        self.counters.write_sum(out)?;
        self.connections.write_sum(out)?;
        self.held.write(out)
    }

    fn ports(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut table = Table::new(&[
            Column::Left("PORT"),
            Column::Left("KIND"),
            Column::Left("ATTACHED TO"),
            Column::Left("STATE"),
            Column::Right("RX PACKETS"),
            Column::Right("RX BYTES"),
            Column::Right("TX PACKETS"),
            Column::Right("TX BYTES"),
            Column::Right("DROPS"),
            Column::Right("UNREAD"),
            Column::Left("TAKEOVER"),
        ]);
        self.ports.iter().for_each(|port| table.row(port.row()));
        table.write(out)
    }
}

impl PortReport {
    fn row(&self) -> [String; 11] {
        let Self { attachment, device, netns, dropped, .. } = self;
        let place = netns.as_ref().map_or_else(String::new, |netns| format!(" in {netns}"));
        [
            self.name.clone(),
            self.kind.clone(),
            format!("{attachment} {device}{place}"),
            self.state.clone(),
            self.received.packets.to_string(),
            self.received.bytes.to_string(),
            self.sent.packets.to_string(),
            self.sent.bytes.to_string(),
            (dropped.full + dropped.down + dropped.refused).to_string(),
            self.unread.to_string(),
            or_dash(self.takeover.as_deref()).to_owned(),
        ]
    }
}

impl Counters {
    /// Writes one line of sums.
    pub(crate) fn write_sum(&self, out: &mut dyn Write) -> io::Result<()> {
        let (dropped, consumed) = (self.dropped.values().sum::<u64>(), self.consumed.values().sum::<u64>());
        let Self { received, delivered, generated, .. } = self;
        writeln!(
            out,
            "packets: {received} received ({}), {delivered} delivered ({}), {generated} generated, {dropped} dropped, \
             {consumed} consumed",
            bytes(self.received_bytes),
            bytes(self.delivered_bytes),
        )?;
        let Copies { made, sent, sent_bytes, dropped } = &self.copies;
        if *made == 0 {
            return Ok(());
        }
        let (sent_bytes, dropped) = (bytes(*sent_bytes), dropped.values().sum::<u64>());
        writeln!(out, "mirror copies: {made} made, {sent} sent ({sent_bytes}), {dropped} dropped")
    }

    /// Writes what was dropped, the most frequent reason first, after an empty line; nothing if nothing was.
    pub(crate) fn write_drops(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.dropped.is_empty() {
            return Ok(());
        }
        let mut reasons: Vec<_> = self.dropped.iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let mut table = Table::new(&[Column::Left("DROPPED"), Column::Right("PACKETS"), Column::Left("WHY")]);
        for (reason, count) in reasons {
            table.row([reason.as_str(), &count.to_string(), why(reason)]);
        }
        writeln!(out)?;
        table.write(out)
    }
}

fn why(reason: &str) -> &'static str {
    let known = DropReason::ALL.into_iter().find(|known| known.as_str() == reason);
    known.map_or("", DropReason::describe)
}

impl Connections {
    /// Writes one line of sums.
    pub(crate) fn write_sum(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { alive, limit, created, expired, closed, removed, revoked, .. } = self;
        let revoked = if *revoked > 0 { format!(" ({revoked} revoked)") } else { String::new() };
        let style = if alive < limit { GOOD } else { BAD };
        writeln!(
            out,
            "connections: {style}{alive}{style:#} of {limit}; {created} created, {expired} expired, {closed} closed, \
             {removed} removed{revoked}"
        )
    }

    fn write_allowances(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut table = Table::new(&[
            Column::Left("INSTANCE"),
            Column::Right("TRACKED"),
            Column::Right("ALLOWANCE"),
            Column::Right("conntrack_allowance_available"),
        ]);
        let used = self.instances.iter().filter(|instance| instance.tracked > 0);
        for Allowance { instance, tracked, limit, conntrack_allowance_available, .. } in used.clone() {
            let numbers = [tracked, limit, conntrack_allowance_available].map(ToString::to_string);
            table.row(std::iter::once(instance.clone()).chain(numbers));
        }
        if used.count() == 0 {
            return writeln!(out, "{FAINT}no instance tracks a connection{FAINT:#}");
        }
        writeln!(out)?;
        table.write(out)
    }
}

impl Held {
    /// Writes one line, if any fragment waits.
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.fragments == 0 {
            return Ok(());
        }
        writeln!(out, "fragments held: {} ({})", self.fragments, bytes(self.bytes))
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
