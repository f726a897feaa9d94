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
    /// Flow logs that it began and ended.
    #[serde(default)]
    pub(crate) flow_logs: FlowLogChange,
    /// What the operator should know.
    pub(crate) warnings: Vec<String>,
}

/// Flow logs by name; one that was changed is another one, and in both lists (FL-5).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct FlowLogChange {
    /// They begin with the next minute.
    pub(crate) begun: Vec<String>,
    /// They end with this minute.
    pub(crate) ended: Vec<String>,
}

impl ReloadReport {
    /// Writes the change in a line or a few.
    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "generation {} is {GOOD}in force{GOOD:#}", self.generation)?;
        let FlowLogChange { begun, ended } = &self.flow_logs;
        let lists = [
            ("closed", &self.closed),
            ("opened", &self.opened),
            ("flow logs ended", ended),
            ("flow logs begun", begun),
        ];
        for (what, names) in lists.iter().filter(|(_, names)| !names.is_empty()) {
            writeln!(out, "{what}: {}", names.join(", "))?;
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
            flow_logs: FlowLogChange { begun: vec!["all".to_owned()], ended: vec![] },
            warnings: vec!["mind the gap".to_owned()],
        };
        let mut out = anstream::StripStream::new(Vec::new());
        report.write(&mut out).unwrap();
        let text = String::from_utf8(out.into_inner()).unwrap();
        assert_eq!(
            text,
            "generation 2 is in force\nclosed: a, b\nopened: c\nflow logs begun: all\nwarning: mind the gap\n"
        );
    }
}
