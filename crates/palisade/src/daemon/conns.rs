//! Connections on request: which there are, and the end of some.

use std::sync::PoisonError;

use palisade_engine::{Listing, Selection, SelectionError};
use palisade_policy::Snapshot;

use super::Daemon;
use crate::control::protocol::{Code, ConnsRequest, KillRequest, MAX_LIMIT, Refusal};
use crate::report::conns::{ConnsReport, KillReport};

impl Daemon {
    /// Tracked connections.
    ///
    /// # Errors
    /// A filter word is none, or there is no such ENI.
    pub(crate) fn conns(&self, request: &ConnsRequest) -> Result<ConnsReport, Refusal> {
        let snapshot = self.dataplane.snapshot();
        let eni = request.eni.iter().map(|name| format!("eni={name}"));
        let chosen = selection(request.filter.iter().cloned().chain(eni), &snapshot)?;
        let listing = self.select(&chosen, &snapshot, request.limit);
        Ok(ConnsReport::new(&listing, &snapshot))
    }

    /// Ends tracked connections.
    ///
    /// # Errors
    /// A filter word is none, there is no such ENI, or nothing says which connections are meant.
    pub(crate) fn kill(&self, request: &KillRequest) -> Result<KillReport, Refusal> {
        let KillRequest { filter, all, dry_run, limit } = request;
        if *all != filter.is_empty() {
            let help = "name them by filter words, or say `all`, and not both";
            return Err(Refusal::new(Code::BadRequest, "it is not clear which connections are meant", help));
        }
        let snapshot = self.dataplane.snapshot();
        let chosen = selection(filter.iter().cloned(), &snapshot)?;
        let listing = if *dry_run {
            self.select(&chosen, &snapshot, *limit)
        } else {
            self.engine.kill(&chosen, &snapshot, self.dataplane.now(), bounded(*limit))
        };
        let ended = ConnsReport::new(&listing, &snapshot);
        if !dry_run {
            tracing::info!(
                filter = filter.join(" "),
                all,
                count = ended.total,
                "connections ended on request"
            );
        }
        Ok(KillReport { dry_run: *dry_run, ended })
    }

    /// One at a time: each looks at the whole table, and clients are many while processors are few.
    fn select(&self, chosen: &Selection, snapshot: &Snapshot, limit: u32) -> Listing {
        let _turn = self.listing.lock().unwrap_or_else(PoisonError::into_inner);
        self.engine.select(chosen, snapshot, self.dataplane.now(), bounded(limit))
    }
}

fn bounded(limit: u32) -> usize {
    usize::try_from(limit.clamp(1, MAX_LIMIT)).unwrap_or(usize::MAX)
}

fn selection(words: impl Iterator<Item = String>, snapshot: &Snapshot) -> Result<Selection, Refusal> {
    Selection::parse(words, snapshot).map_err(|error| {
        let SelectionError { what, help, unknown, .. } = error;
        Refusal::new(if unknown { Code::Unknown } else { Code::BadRequest }, what, help)
    })
}
