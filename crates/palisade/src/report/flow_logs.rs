//! What flow logs have done.

use std::io::{self, Write};

use palisade_flowlog::{Figures, Written};
use palisade_policy::model::{FlowLog, Vpc};
use serde::{Deserialize, Serialize};

use super::numbers::bytes;
use crate::screen::{BAD, NOTABLE};
use crate::table::{Column, Table, count};

/// One flow log, since the daemon has started.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct FlowLogReport {
    /// Name in the configuration.
    pub(crate) name: String,
    /// `fl-…`.
    pub(crate) id: String,
    /// Id of what it watches.
    pub(crate) resource: String,
    /// Where its records go.
    pub(crate) destination: String,
    /// Records of flows that were written.
    pub(crate) records: u64,
    /// Packets of these.
    pub(crate) packets: u64,
    /// Records of flows that had no room in the spool.
    pub(crate) lost_records: u64,
    /// Packets of these.
    pub(crate) lost_packets: u64,
    /// NODATA and SKIPDATA records that were written.
    pub(crate) other_records: u64,
    /// Bytes that wait for delivery.
    pub(crate) waiting_bytes: u64,
    /// Segments of the spool that the destination has taken.
    pub(crate) delivered: u64,
    /// Records that the destination refuses for good, because they are too old or too new.
    pub(crate) refused_records: u64,
    /// Attempts to deliver one that have failed.
    pub(crate) failures: u64,
    /// Why the last attempt failed, until one succeeds (FL-77).
    pub(crate) delivery_error: Option<String>,
    /// Why the spool could not be written last.
    pub(crate) spool_error: Option<String>,
}

impl FlowLogReport {
    /// Joins what writer and courier know.
    pub(crate) fn new(vpc: &Vpc, log: &FlowLog, written: Written, figures: Figures) -> Self {
        Self {
            name: log.name.clone(),
            id: log.id.clone(),
            resource: log.resource.id(vpc).to_owned(),
            destination: log.destination.to_string(),
            records: written.records,
            packets: written.packets,
            lost_records: written.lost.records,
            lost_packets: written.lost.packets,
            other_records: written.others,
            waiting_bytes: written.waiting,
            delivered: figures.delivered,
            refused_records: figures.refused,
            failures: figures.failures,
            delivery_error: figures.error,
            spool_error: written.error,
        }
    }

    /// Writes a table behind an empty line, and what is wrong; nothing if there are no flow logs.
    pub(crate) fn write_all(reports: &[Self], out: &mut dyn Write) -> io::Result<()> {
        if reports.is_empty() {
            return Ok(());
        }
        let mut table = Table::new(&[
            Column::Left("FLOW LOG"),
            Column::Left("ID"),
            Column::Left("DESTINATION"),
            Column::Right("RECORDS"),
            Column::Right("PACKETS"),
            Column::Right("LOST"),
            Column::Right("WAITING"),
            Column::Right("DELIVERED"),
        ]);
        for report in reports {
            let Self { name, id, destination, .. } = report;
            let numbers = [report.records + report.other_records, report.packets, report.lost_records];
            let numbers = numbers.map(|number| number.to_string());
            let rest = [bytes(report.waiting_bytes), report.delivered.to_string()];
            table.row([name, id, destination].into_iter().cloned().chain(numbers).chain(rest));
        }
        writeln!(out)?;
        table.write(out)?;
        reports.iter().try_for_each(|report| report.write_faults(out))
    }

    fn write_faults(&self, out: &mut dyn Write) -> io::Result<()> {
        if let Some(error) = &self.delivery_error {
            writeln!(out, "{NOTABLE}{}: not delivered, tried again:{NOTABLE:#} {error}", self.name)?;
        }
        if self.refused_records > 0 {
            let refused = count(usize::try_from(self.refused_records).unwrap_or(usize::MAX), "record");
            writeln!(out, "{BAD}{}:{BAD:#} {refused} refused for good, too old or too new", self.name)?;
        }
        if let Some(error) = &self.spool_error {
            writeln!(out, "{BAD}{}: the spool cannot be written:{BAD:#} {error}", self.name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_below_the_table() {
        let report = FlowLogReport {
            name: "all".to_owned(),
            id: "fl-1".to_owned(),
            destination: "/var/log/palisade".to_owned(),
            records: 40,
            packets: 900,
            other_records: 2,
            lost_records: 7,
            waiting_bytes: 2048,
            delivered: 3,
            refused_records: 2,
            delivery_error: Some("disk full".to_owned()),
            ..FlowLogReport::default()
        };
        let mut out = anstream::StripStream::new(Vec::new());
        FlowLogReport::write_all(&[report], &mut out).unwrap();
        FlowLogReport::write_all(&[], &mut out).unwrap();
        let text = String::from_utf8(out.into_inner()).unwrap();
        let lines: Vec<_> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            lines,
            [
                "",
                "FLOW LOG ID DESTINATION RECORDS PACKETS LOST WAITING DELIVERED",
                "all fl-1 /var/log/palisade 42 900 7 2.0 kB 3",
                "all: not delivered, tried again: disk full",
                "all: 2 records refused for good, too old or too new",
            ]
        );
    }
}
