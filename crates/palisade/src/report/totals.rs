//! What a daemon did from start to stop.

use std::io::{self, Write};

use palisade_runtime::{LawResult, Totals};
use serde::Serialize;

use super::numbers::time;
use super::status::Counters;
use crate::screen::{BAD, GOOD, HEADING};

/// The last words of a daemon.
#[derive(Debug, Serialize)]
pub(crate) struct TotalsReport {
    /// Time from the start of forwarding to its end.
    pub(crate) uptime_seconds: u64,
    /// The last generation in force.
    pub(crate) generation: u64,
    /// Whether every conservation law holds.
    pub(crate) lawful: bool,
    /// Everything counted, and the laws.
    #[serde(flatten)]
    pub(crate) totals: Totals,
}

impl TotalsReport {
    /// Writes it for people.
    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let uptime = time(std::time::Duration::from_secs(self.uptime_seconds).as_secs_f64());
        writeln!(out, "{HEADING}stopped{HEADING:#} after {uptime}, generation {}", self.generation)?;
        let counters = Counters::from(&self.totals.counters);
        counters.write_sum(out)?;
        let totals = &self.totals.connections;
        writeln!(
            out,
            "connections: {} created, {} alive, {} expired, {} closed, {} removed, of them {} revoked",
            totals.created, totals.alive, totals.expired, totals.closed, totals.removed, totals.revoked
        )?;
        counters.write_drops(out)?;
        self.write_laws(out)
    }

    fn write_laws(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.lawful {
            return writeln!(out, "{GOOD}all {} conservation laws hold{GOOD:#}", self.totals.laws.len());
        }
        for LawResult { name, left, right, .. } in self.totals.laws.iter().filter(|law| !law.holds) {
            writeln!(out, "{BAD}conservation law broken:{BAD:#} {name}: {left} and {right}")?;
        }
        Ok(())
    }
}
