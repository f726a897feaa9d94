//! `palisade reload`: what a new configuration has changed.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use crate::screen::{GOOD, NOTABLE};

/// A change that is in force.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ReloadReport {
    /// The generation in force now.
    pub(crate) generation: u64,
    /// Ports that were opened.
    pub(crate) opened: Vec<String>,
    /// Ports that were closed; one that was opened anew is in both lists.
    pub(crate) closed: Vec<String>,
    /// What the operator should know.
    pub(crate) warnings: Vec<String>,
}

impl ReloadReport {
    /// Writes the change in a line or a few.
    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "generation {} is {GOOD}in force{GOOD:#}", self.generation)?;
        for (what, ports) in [("closed", &self.closed), ("opened", &self.opened)] {
            if !ports.is_empty() {
                writeln!(out, "{what}: {}", ports.join(", "))?;
            }
        }
        self.warnings.iter().try_for_each(|warning| writeln!(out, "{NOTABLE}warning:{NOTABLE:#} {warning}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told() {
        let report = ReloadReport {
            generation: 2,
            opened: vec!["c".to_owned()],
            closed: vec!["a".to_owned(), "b".to_owned()],
            warnings: vec!["mind the gap".to_owned()],
        };
        let mut out = anstream::StripStream::new(Vec::new());
        report.write(&mut out).unwrap();
        let text = String::from_utf8(out.into_inner()).unwrap();
        assert_eq!(text, "generation 2 is in force\nclosed: a, b\nopened: c\nwarning: mind the gap\n");
    }
}
