//! What a configuration says without effect, or with another effect than it seems: `palisade lint`.
//!
//! Nothing here is guessed. Whether a rule changes anything is decided over every cell of the compiled rules, in each of
//! which all packets meet the same rules; removing what is reported as redundant, some of it or all, changes no verdict.
//! What is a matter of intent (a denial that only repeats the end of the list, a flow that is untracked) is a note.

mod book;
mod code;
mod entries;
mod finding;
mod never;
mod order;
mod path;
mod rules;
mod tracking;
mod union;
mod unused;

pub use code::{Code, Severity};
pub use finding::{Finding, Findings, RuleNamed};

use std::sync::Arc;

use crate::diagnostics::Diagnostics;
use crate::draft;
use crate::snapshot::Snapshot;
use book::Book;

/// Everything that is to be told of a configuration file.
///
/// `source_name` is what findings call the file.
///
/// # Errors
///
/// The file has faults: what it means is not known.
pub fn lint(source_name: &str, text: &str) -> Result<Findings, Diagnostics> {
    let (vpc, places) = draft::load_with_places(source_name, text)?;
    let snapshot = Snapshot::compile(vpc.clone(), None);
    let mut book = Book::new(&vpc, &snapshot, &places);
    never::check(&mut book);
    unused::check(&mut book);
    entries::check(&mut book);
    rules::check(&mut book);
    path::check(&mut book);
    Ok(Findings { source: Arc::from(text), found: book.finish(source_name, text) })
}

#[cfg(test)]
mod tests;
