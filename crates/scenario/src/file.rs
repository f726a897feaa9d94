//! The scenario file: what the world is, what happens when, what must be seen.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use toml::Table;

use crate::expect::Expectation;

/// A scenario as it was written.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it shows, in a sentence.
    pub title: String,
    /// Numbers of the specification it rests on, such as `CT-20`.
    pub rests_on: Vec<String>,
    /// A configuration file, relative to the scenario file.
    pub world: PathBuf,
    /// Laid over the world: tables merge, everything else replaces.
    #[serde(default)]
    pub patch: Table,
    /// What happens, in order.
    #[serde(default, rename = "step")]
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Virtual time since the start, such as `"1ms"`; never earlier than the step before.
    #[serde(deserialize_with = "span")]
    pub at: Duration,
    /// A packet, in the notation of [`crate::notation`].
    pub send: Option<String>,
    /// How often, at the same time; absent: once. What must be seen holds of the last.
    pub repeat: Option<u32>,
    /// What becomes of it; stands wherever `send` does.
    #[serde(default, deserialize_with = "text")]
    pub expect: Option<Expectation>,
    /// What becomes of the held fragments that it releases (CT-61), all of them and in order; absent: it releases none.
    #[serde(default, deserialize_with = "texts")]
    pub released: Vec<Expectation>,
    /// What the receiver's side sends back to the sender, such as an ICMP error; absent: not looked at.
    pub reply: Option<bool>,
    /// The frame that goes back to the sender: `arp ADDRESS is-at MAC`, `neighbour ADDRESS is-at MAC` (MAC: `router` or the
    /// name of an ENI where it is theirs), or `PROTOCOL SOURCE > DESTINATION type N code N mtu N len N` (`len`: bytes of IP).
    pub answer: Option<String>,
    /// A change of policy: `authorize|revoke sg:NAME ingress|egress RULE`, `add|remove acl:NAME ingress|egress ENTRY`,
    /// `delete SECTION:NAME`.
    pub change: Option<String>,
    /// A change of policy, laid over the present world like [`Scenario::patch`].
    pub patch: Option<Table>,
    /// Connections to end, after a change and before a packet: filter words as `palisade conns kill` reads them, such as
    /// `eni=b1 port=22`, or `all`. There must be one.
    pub kill: Option<String>,
    /// Connections that must exist: `ENI PROTOCOL OPENER > OTHER STATE LEFT`; an empty list: none at all.
    pub conns: Option<Vec<String>>,
    /// How many connections there must be, of all ENIs together.
    pub conns_total: Option<usize>,
    /// How many fragments are held after the step, at all ENIs together (CT-61).
    pub held: Option<u64>,
    /// How many packets have been dropped since the start, by the name of the reason.
    #[serde(default)]
    pub drops: BTreeMap<String, u64>,
}

/// The scenario cannot be read or run.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The scenario file is not one.
    #[error("{}: {source}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Why, with line and column.
        source: Box<toml::de::Error>,
    },
    /// The folder cannot be listed.
    #[error("{}: {source}", path.display())]
    List {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The world, as patched, is not a valid configuration.
    #[error("the world is not valid:\n{0}")]
    World(#[from] palisade_policy::Diagnostics),
    /// The scenario has nowhere to be played.
    #[error("{why}")]
    Stage {
        /// Why.
        why: String,
    },
    /// A step cannot be carried out.
    #[error("step {number}: {why}")]
    Step {
        /// Its number, from 1.
        number: usize,
        /// Why.
        why: String,
    },
}

impl Scenario {
    /// Reads a scenario file.
    ///
    /// # Errors
    ///
    /// If it cannot be read or is not a scenario.
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        let text = read(path)?;
        toml::from_str(&text)
            .map_err(|source| ScenarioError::Syntax { path: path.into(), source: Box::new(source) })
    }

    /// Reads the configuration file that is its world.
    ///
    /// # Errors
    ///
    /// If it cannot be read or is not TOML.
    pub(crate) fn world(&self, scenario: &Path) -> Result<Table, ScenarioError> {
        let path = scenario.parent().unwrap_or(Path::new(".")).join(&self.world);
        let text = read(&path)?;
        let mut world = toml::from_str(&text)
            .map_err(|source| ScenarioError::Syntax { path, source: Box::new(source) })?;
        merge(&mut world, &self.patch);
        Ok(world)
    }
}

/// The scenario files below a folder, in order of their names. Folders named `worlds` and `disagreements` are passed by:
/// they hold configurations, and scenarios that are known to fail. A path that is not a folder stands for itself.
///
/// # Errors
///
/// If a folder cannot be listed.
pub fn find(path: &Path) -> Result<Vec<PathBuf>, ScenarioError> {
    if !path.is_dir() {
        return Ok(vec![path.into()]);
    }
    let cannot = |source| ScenarioError::List { path: path.into(), source };
    let entries = std::fs::read_dir(path).map_err(cannot)?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(cannot)?;
    paths.sort();
    let mut found = Vec::new();
    for entry in paths {
        let passed_by = entry.ends_with("worlds") || entry.ends_with("disagreements");
        if entry.is_dir() && !passed_by {
            found.extend(find(&entry)?);
        } else if entry.extension().is_some_and(|extension| extension == "toml") {
            found.push(entry);
        }
    }
    Ok(found)
}

fn read(path: &Path) -> Result<String, ScenarioError> {
    std::fs::read_to_string(path).map_err(|source| ScenarioError::Read { path: path.into(), source })
}

/// Lays `patch` over `table`: tables merge, everything else replaces.
pub(crate) fn merge(table: &mut Table, patch: &Table) {
    for (key, value) in patch {
        match (table.get_mut(key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => merge(below, above),
            _ => {
                table.insert(key.clone(), value.clone());
            }
        }
    }
}

/// A string in a notation of its own; what is wrong with it is told with line and column.
fn text<'de, D: serde::Deserializer<'de>, T: FromStr<Err: Display>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

fn texts<'de, D: serde::Deserializer<'de>, T: FromStr<Err: Display>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| text.parse().map_err(serde::de::Error::custom)).collect()
}

fn span<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(serde::de::Error::custom)
}
