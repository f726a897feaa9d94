//! The differences that are meant to be: `differences.toml`, and the same as a table of the documentation.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::fate::Fate;
use crate::pace::Pace;

/// What is known about the traces beside the traces themselves.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Known {
    /// Virtual seconds per real second.
    default_pace: u32,
    /// The same of traces, or of folders of traces, that want another.
    pace: BTreeMap<String, u32>,
    /// The list.
    #[serde(rename = "difference")]
    pub(crate) differences: Vec<Difference>,
}

/// Something that the two trackers mean to do differently.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Difference {
    /// What it is called.
    pub(crate) id: String,
    /// What Palisade follows.
    pub(crate) spec: Vec<String>,
    /// What Palisade does.
    pub(crate) palisade: String,
    /// What Linux does.
    pub(crate) linux: String,
    /// Why Palisade does not do the same.
    pub(crate) reason: String,
    /// Where it shows.
    pub(crate) seen: Vec<Sight>,
}

/// A packet with two fates.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sight {
    /// Name of the trace.
    pub(crate) trace: String,
    /// Number of the step, from 1.
    pub(crate) step: usize,
    /// What Palisade makes of it.
    pub(crate) palisade: Fate,
    /// What Linux makes of it.
    pub(crate) linux: Fate,
}

impl Difference {
    /// One that a test needs.
    pub(crate) fn made_up(sight: &str) -> Self {
        let text =
            format!("id = 'made-up'\nspec = []\npalisade = ''\nlinux = ''\nreason = ''\nseen = [{sight}]");
        toml::from_str(&text).unwrap_or_else(|why| panic!("{why}"))
    }
}

impl Known {
    /// Reads the file.
    pub(crate) fn load(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        toml::from_str(&text).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
    }

    /// The pace of a trace.
    pub(crate) fn pace(&self, trace: &str) -> Pace {
        let folder = trace.split('/').next().unwrap_or_default();
        let pace = self.pace.get(trace).or_else(|| self.pace.get(folder));
        Pace(pace.copied().unwrap_or(self.default_pace))
    }

    /// Every packet that is named, with the id of its difference.
    pub(crate) fn sights(&self) -> impl Iterator<Item = (&str, &Sight)> {
        self.differences.iter().flat_map(|it| it.seen.iter().map(|sight| (it.id.as_str(), sight)))
    }

    /// Names of traces that are mentioned.
    pub(crate) fn mentioned(&self) -> impl Iterator<Item = &str> {
        self.sights().map(|(_, sight)| sight.trace.as_str()).chain(self.pace.keys().map(String::as_str))
    }

    /// The list as a table in Markdown.
    pub(crate) fn table(&self) -> String {
        let mut text = String::from(
            "| | statements | Palisade | Linux | why not the same | seen in |\n|---|---|---|---|---|---|\n",
        );
        for it in &self.differences {
            let (id, spec, palisade, linux, reason) =
                (&it.id, it.spec.join(", "), &it.palisade, &it.linux, &it.reason);
            let mut traces: Vec<_> = it.seen.iter().map(|sight| format!("`{}`", sight.trace)).collect();
            traces.dedup();
            let traces = traces.join(", ");
            let _ = writeln!(text, "| {id} | {spec} | {palisade} | {linux} | {reason} | {traces} |");
        }
        text
    }
}
