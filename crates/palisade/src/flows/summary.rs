//! Records summed up: how much was accepted and rejected, who sent most, what rejected most.

use std::collections::HashMap;
use std::hash::Hash;
use std::io::{self, Write as _};

use palisade_flowlog::Field;
use serde::Serialize;

use super::columns::Row;
use crate::cli::Format;
use crate::screen::{BAD, GOOD, HEADING, NOTABLE, Screen};
use crate::table::{Column, Table, count};

/// Sums over the records that are meant.
#[derive(Default)]
pub(super) struct Summary {
    accepted: Sum,
    rejected: Sum,
    no_data: u64,
    skip_data: u64,
    talkers: HashMap<(String, String), Sum>,
    rejects: HashMap<Reject, Sum>,
}

/// Records, and what they count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
struct Sum {
    records: u64,
    packets: u64,
    bytes: u64,
}

/// What rejected: a rule, or, where records name none, the port and protocol of those who asked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(untagged)]
enum Reject {
    Rule { interface: String, stage: String, rule: String },
    Port { interface: String, protocol: String, port: String },
}

impl Summary {
    pub(super) fn add(&mut self, row: &Row<'_>) {
        match row.get(Field::LogStatus) {
            Some("NODATA") => self.no_data += 1,
            Some("SKIPDATA") => self.skip_data += 1,
            _ => self.add_flow(row),
        }
    }

    fn add_flow(&mut self, row: &Row<'_>) {
        let number = |field| row.number(field).unwrap_or(0);
        let one = Sum { records: 1, packets: number(Field::Packets), bytes: number(Field::Bytes) };
        let end = |packet, eni| row.get(packet).or_else(|| row.get(eni)).unwrap_or("-").to_owned();
        let pair = (end(Field::PktSrcAddr, Field::SrcAddr), end(Field::PktDstAddr, Field::DstAddr));
        self.talkers.entry(pair).or_default().add(one);
        if row.get(Field::Action) == Some("REJECT") {
            self.rejected.add(one);
            self.rejects.entry(Reject::of(row)).or_default().add(one);
        } else {
            self.accepted.add(one);
        }
    }

    /// Writes the sums, and the greatest `top` of each list.
    pub(super) fn tell(self, screen: &mut Screen, files: usize, top: usize) -> io::Result<()> {
        let talkers = greatest(self.talkers, top, |sum| (sum.bytes, sum.packets));
        let rejects = greatest(self.rejects, top, |sum| (sum.packets, sum.bytes));
        let report = Report {
            files,
            accepted: self.accepted,
            rejected: self.rejected,
            no_data: self.no_data,
            skip_data: self.skip_data,
            talkers: talkers
                .into_iter()
                .map(|((source, destination), sum)| Talker { source, destination, sum })
                .collect(),
            rejects: rejects.into_iter().map(|(by, sum)| Rejected { by, sum }).collect(),
        };
        if screen.format == Format::Json { screen.json(&report) } else { draw(screen, &report) }
    }
}

impl Sum {
    const fn add(&mut self, other: Self) {
        self.records += other.records;
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}

impl Reject {
    fn of(row: &Row<'_>) -> Self {
        let text = |field| row.get(field).unwrap_or("-").to_owned();
        let interface = text(Field::InterfaceId);
        if row.columns().has(Field::PalisadeRule) {
            return Self::Rule {
                interface,
                stage: text(Field::PalisadeStage),
                rule: text(Field::PalisadeRule),
            };
        }
        Self::Port { interface, protocol: text(Field::Protocol), port: text(Field::DstPort) }
    }

    /// What is shown of it: at, by, what.
    fn cells(&self) -> [&str; 3] {
        match self {
            Self::Rule { interface, stage, rule } => [interface, stage, rule],
            Self::Port { interface, protocol, port } => [interface, protocol_name(protocol), port],
        }
    }
}

/// The greatest first; equals in the order of their names.
fn greatest<K: Ord + Hash>(sums: HashMap<K, Sum>, top: usize, by: fn(&Sum) -> (u64, u64)) -> Vec<(K, Sum)> {
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_unstable_by(|(one, a), (other, b)| by(b).cmp(&by(a)).then_with(|| one.cmp(other)));
    sums.truncate(top);
    sums
}

fn protocol_name(number: &str) -> &str {
    match number {
        "1" => "icmp",
        "6" => "tcp",
        "17" => "udp",
        "58" => "icmpv6",
        _ => number,
    }
}

/// The JSON document; its keys are a promise.
#[derive(Serialize)]
struct Report {
    files: usize,
    accepted: Sum,
    rejected: Sum,
    no_data: u64,
    skip_data: u64,
    talkers: Vec<Talker>,
    rejects: Vec<Rejected>,
}

#[derive(Serialize)]
struct Talker {
    source: String,
    destination: String,
    #[serde(flatten)]
    sum: Sum,
}

#[derive(Serialize)]
struct Rejected {
    #[serde(flatten)]
    by: Reject,
    #[serde(flatten)]
    sum: Sum,
}

fn draw(screen: &mut Screen, report: &Report) -> io::Result<()> {
    let Report { files, accepted, rejected, no_data, skip_data, .. } = report;
    let files = count(*files, "file");
    let text = |sum: &Sum| {
        format!(
            "{} in {}, {} bytes",
            count_of(sum.packets, "packet"),
            count_of(sum.records, "record"),
            sum.bytes
        )
    };
    writeln!(screen.out, "{files}")?;
    writeln!(screen.out, "{GOOD}accepted{GOOD:#}  {}", text(accepted))?;
    writeln!(screen.out, "{BAD}rejected{BAD:#}  {}", text(rejected))?;
    if *no_data > 0 {
        writeln!(screen.out, "no data   {}", count_of(*no_data, "window"))?;
    }
    if *skip_data > 0 {
        writeln!(
            screen.out,
            "{NOTABLE}skipped{NOTABLE:#}   {} with records lost",
            count_of(*skip_data, "window")
        )?;
    }
    draw_talkers(screen, &report.talkers)?;
    draw_rejects(screen, &report.rejects)
}

fn draw_talkers(screen: &mut Screen, talkers: &[Talker]) -> io::Result<()> {
    if talkers.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&[
        Column::Left("SOURCE"),
        Column::Left("DESTINATION"),
        Column::Right("BYTES"),
        Column::Right("PACKETS"),
        Column::Right("RECORDS"),
    ]);
    for Talker { source, destination, sum } in talkers {
        let Sum { records, packets, bytes } = sum;
        table.row([source, destination, &bytes.to_string(), &packets.to_string(), &records.to_string()]);
    }
    writeln!(screen.out, "\n{HEADING}Most bytes{HEADING:#}")?;
    table.write(&mut screen.out)
}

fn draw_rejects(screen: &mut Screen, rejects: &[Rejected]) -> io::Result<()> {
    if rejects.is_empty() {
        return Ok(());
    }
    let by_rule = |rejected: &Rejected| matches!(rejected.by, Reject::Rule { .. });
    let (second, third) = match (rejects.iter().all(by_rule), rejects.iter().any(by_rule)) {
        (true, _) => ("STAGE", "RULE"),
        (false, false) => ("PROTOCOL", "PORT"),
        (false, true) => ("STAGE/PROTOCOL", "RULE/PORT"),
    };
    let mut table = Table::new(&[
        Column::Left("INTERFACE"),
        Column::Left(second),
        Column::Left(third),
        Column::Right("PACKETS"),
        Column::Right("RECORDS"),
    ]);
    for Rejected { by, sum } in rejects {
        let [at, second, third] = by.cells();
        table.row([at, second, third, &sum.packets.to_string(), &sum.records.to_string()]);
    }
    writeln!(screen.out, "\n{HEADING}Most rejected packets{HEADING:#}")?;
    table.write(&mut screen.out)
}

fn count_of(number: u64, noun: &str) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), noun)
}
