//! Findings: what `lint` tells of a file.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::code::{Code, Severity};
use crate::diagnostics::{Place, Related, Sketch, Style, draw};

/// Everything found in one file, in the order of its places.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Findings {
    pub(super) source: Arc<str>,
    pub(super) found: Vec<Finding>,
}

/// Something that does nothing, or not what it seems to do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// How much it weighs.
    pub severity: Severity,
    /// What kind of finding.
    pub code: Code,
    /// What was found and why it is so, without its place.
    pub message: String,
    /// What to change.
    pub help: String,
    /// The rules and entries that it speaks of, that at fault first.
    pub rules: Vec<RuleNamed>,
    /// Name of the file, as it was given.
    pub file: String,
    /// Where it is.
    #[serde(flatten)]
    pub place: Place,
    /// The innermost key, value or list item there.
    pub field: String,
    /// The text there.
    pub text: String,
    /// Places of the other rules.
    pub related: Vec<Related>,
}

/// A rule of a group or an entry of an ACL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct RuleNamed {
    /// `sgr-…`, or `acl-… ingress 120`.
    pub id: String,
    /// Name of the group or ACL.
    pub of: String,
    /// `ingress` or `egress`.
    pub direction: &'static str,
    /// The rule as a configuration file writes it.
    pub rule: String,
}

impl Findings {
    /// The findings, in the order of their places.
    pub fn iter(&self) -> std::slice::Iter<'_, Finding> {
        self.found.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// How many weigh as much.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.iter().filter(|finding| finding.severity == severity).count()
    }

    /// Only those of which `keep` holds.
    pub fn retain(&mut self, keep: impl FnMut(&Finding) -> bool) {
        self.found.retain(keep);
    }

    /// Every finding with the line it stands in, why it is so and what to change.
    #[must_use]
    pub fn render(&self, style: Style) -> String {
        draw(&self.source, self.found.iter().map(Sketch::from), style)
    }
}

/// So many lines apart two places are drawn in one snippet.
const NEAR: usize = 6;

impl<'f> From<&'f Finding> for Sketch<'f> {
    /// Places close by are drawn, others are named: between two labels `miette` draws every line.
    fn from(finding: &'f Finding) -> Self {
        let is_near = |related: &&Related| related.place.line.abs_diff(finding.place.line) <= NEAR;
        let (related, far): (Vec<_>, Vec<_>) = finding.related.iter().partition(is_near);
        let far: Vec<_> =
            far.iter().map(|related| format!("{}: line {}", related.label, related.place.line)).collect();
        let help = &finding.help;
        Self {
            severity: match finding.severity {
                Severity::Warning => miette::Severity::Warning,
                Severity::Note => miette::Severity::Advice,
            },
            code: finding.code.as_str(),
            message: &finding.message,
            help: if far.is_empty() { help.into() } else { format!("{help}\n{}", far.join(", ")).into() },
            file: &finding.file,
            place: finding.place,
            field: &finding.field,
            related,
        }
    }
}

impl<'f> IntoIterator for &'f Findings {
    type Item = &'f Finding;
    type IntoIter = std::slice::Iter<'f, Finding>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { line, column, .. } = self.place;
        let (severity, code) = (self.severity.as_str(), self.code.as_str());
        write!(f, "{}:{line}:{column}: {severity}: {} ({code})", self.file, self.message)
    }
}

impl Serialize for Findings {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.found.serialize(serializer)
    }
}
