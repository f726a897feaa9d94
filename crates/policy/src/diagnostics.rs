//! What is wrong with a configuration file: every fault of one run, each with its place and what is allowed there.

mod code;
mod field;
mod render;
mod report;

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

pub use code::Code;
pub use render::Style;
pub(crate) use render::{Sketch, draw};
pub(crate) use report::{Finding, Layout, Report, Span};

/// Every fault found in one file, in the order of their places. Never empty when returned as an error.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostics {
    source: Arc<str>,
    found: Vec<Diagnostic>,
}

/// One fault.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Diagnostic {
    /// What kind of fault.
    pub code: Code,
    /// The fault in one sentence, without its place.
    pub message: String,
    /// Name of the file, as it was given.
    pub file: String,
    /// Where the fault is.
    #[serde(flatten)]
    pub place: Place,
    /// The innermost key, value or list item there, such as `security_group.web.ingress[2]`; empty where there is none.
    pub field: String,
    /// The offending text, as written.
    pub text: String,
    /// What is allowed there, or what to do.
    pub help: String,
    /// A second place that the fault has to do with, such as the first use of a duplicate.
    pub related: Option<Related>,
}

/// A place in the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Place {
    /// Line, counted from 1.
    pub line: usize,
    /// Column, counted from 1 in characters.
    pub column: usize,
    /// Bytes before the offending text.
    pub offset: usize,
    /// Bytes of the offending text; 0 where something is missing.
    pub length: usize,
}

/// A second place of a fault.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Related {
    /// What is there.
    pub label: String,
    /// Where.
    #[serde(flatten)]
    pub place: Place,
}

impl Diagnostics {
    /// The faults, in the order of their places.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.found.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// Whether there are none, which an error never says.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl std::error::Error for Diagnostics {}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, diagnostic) in self.found.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            diagnostic.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { line, column, .. } = self.place;
        write!(f, "{}:{line}:{column}: ", self.file)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

impl Serialize for Diagnostics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.found.serialize(serializer)
    }
}
