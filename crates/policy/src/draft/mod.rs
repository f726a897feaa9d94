//! From the text of a configuration file to a [`Vpc`], or to every fault in it.
//!
//! Two steps. Reading turns TOML values into the tables of `file`, each value by itself: unknown keys, types, ranges,
//! the grammar of rules. Resolving looks across the tables: references, addresses, overlaps, quotas; it fills in AWS's
//! defaults and derives ids. Both note a fault and go on, so that one run finds all of them; what depends on a faulty
//! value is left alone, so that no fault is told twice.
//!
//! # Rules
//!
//! ```text
//! group rule  PROTOCOL [WHAT] from PEER              inbound; `to` in place of `from` outbound
//! ACL entry   NUMBER allow|deny PROTOCOL [WHAT] from CIDR
//!
//! PROTOCOL    tcp  udp  icmp  icmpv6  all  -1  0 to 255
//! WHAT        of tcp and udp: PORT, PORT-PORT or any
//!             of icmp and icmpv6: TYPE/CODE, TYPE/any or any; a group may leave it out for icmpv6 (SG-14)
//!             of another protocol: nothing; ports are accepted and mean nothing (SG-12, NACL-12)
//! PEER        CIDR, sg:NAME, pl:NAME, or the id of a group or prefix list; a name may have spaces
//!             stale:sg-…: a group that no longer exists (SG-38); such a rule matches nothing and counts in the quota
//! mirror rule NUMBER accept|reject PROTOCOL from CIDR [PORTS] to CIDR [PORTS]
//!
//! NUMBER      1 to 32766, once in a direction (NACL-3, NACL-4)
//! ```
//!
//! A CIDR block always has its prefix length (SG-18) and no host bits. A group rule is a string, or a table
//! `{ rule = "…", id = "sgr-…", description = "…" }`.

mod address;
mod entry;
mod file;
mod flow_log;
mod grammar;
mod lex;
mod mirror_rule;
mod places;
mod resolve;
mod rule;
mod scalar;
mod schema;
pub mod suggest;
mod table;
mod traffic;
mod value;

use toml::de::{DeTable, DeValue};

pub(crate) use places::{Places, RulePlace};
pub use schema::{schema, subschema};

use crate::diagnostics::{Code, Diagnostics, Report, Span};
use crate::model::Vpc;
use file::File;
use value::{Item, Read};

/// Text of a configuration file to the VPC it describes.
///
/// `source_name` is what diagnostics call the file.
///
/// # Errors
///
/// Every fault of the file, with its place and what is allowed there. Where the text is not TOML, only that is told:
/// what the rest means cannot be known.
pub fn load(source_name: &str, text: &str) -> Result<Vpc, Diagnostics> {
    load_with_places(source_name, text).map(|(vpc, _)| vpc)
}

/// The same, and where everything stands.
pub(crate) fn load_with_places(source_name: &str, text: &str) -> Result<(Vpc, Places), Diagnostics> {
    let mut report = Report::new(text);
    let file = read(text, &mut report);
    let vpc = file.as_ref().and_then(|file| resolve::vpc(file, &mut report));
    match (vpc, file) {
        (Some(vpc), Some(file)) if report.is_empty() => Ok((vpc, Places::of(&file))),
        _ => Err(report.finish(source_name)),
    }
}

/// What the TOML parser says of a key that stands twice in a table. It keeps the first and goes on, so the rest of the
/// file still means what it says; after any other fault that is unclear.
const DUPLICATE_KEY: &str = "duplicate key";

fn read(text: &str, report: &mut Report<'_>) -> Option<File> {
    let (document, faults) = DeTable::parse_recoverable(text);
    for fault in &faults {
        let span = fault.span().map_or_else(Span::default, Span::from);
        let (code, help) = match fault.message() {
            DUPLICATE_KEY => (Code::DuplicateKey, "a key stands once in a table, a table once in a file"),
            _ => (Code::Syntax, "the file must be TOML 1.1"),
        };
        report.add(code, span, fault.message(), help);
    }
    if faults.iter().any(|fault| fault.message() != DUPLICATE_KEY) {
        return None;
    }
    let value = DeValue::Table(document.into_inner());
    File::read(&Item { value: &value, span: Span::default(), owner: Span::default() }, report)
}
