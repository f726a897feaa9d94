//! From a path to a scenario: files, positions in them, and what a step must and must not have.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};
use toml::{Spanned, Table};

use crate::file::{Scenario, Step, World, merge};

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
    /// The scenario file, or its world, does not have the form of one.
    #[error("{}: {source}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Why, with line and column.
        source: Box<toml::de::Error>,
    },
    /// It could not fail, or rests on nothing.
    #[error("{}: {why}", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
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
    #[error("{}: the world, as patched, is not valid:\n{source}", path.display())]
    World {
        /// The scenario file.
        path: PathBuf,
        /// Why.
        source: palisade_policy::Diagnostics,
    },
    /// The scenario has nowhere to be played.
    #[error("{why}")]
    Stage {
        /// Why.
        why: String,
    },
    /// A step cannot be carried out.
    #[error("{}:{line}: step {number}: {why}", path.display())]
    Step {
        /// The scenario file.
        path: PathBuf,
        /// The line that the step begins in, from 1.
        line: usize,
        /// Number of the step, from 1.
        number: usize,
        /// Why, beginning with the key.
        why: String,
    },
}

impl Scenario {
    /// Reads a scenario file. All notations in it are read, and each step is checked by itself; what needs the world is
    /// found when it is played.
    ///
    /// # Errors
    ///
    /// If it cannot be read or is not a scenario.
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        Self::read(path, &read(path)?)
    }

    /// Reads the text of a scenario file; the path is for messages and for what it refers to.
    ///
    /// # Errors
    ///
    /// If it is not a scenario.
    pub fn read(path: &Path, text: &str) -> Result<Self, ScenarioError> {
        let syntax = |source| ScenarioError::Syntax { path: path.into(), source: Box::new(source) };
        let mut scenario: Self = toml::from_str(text).map_err(syntax)?;
        for (number, step) in (1..).zip(&mut scenario.steps) {
            step.line = text.get(..step.line).map_or(0, |before| before.matches('\n').count()) + 1;
            let wrong = |why| ScenarioError::Step { path: path.into(), line: step.line, number, why };
            step.check().map_err(|why| wrong(why.to_owned()))?;
        }
        scenario.check().map_err(|why| ScenarioError::Empty { path: path.into(), why })?;
        Ok(scenario)
    }

    /// It must rest on something, and something of it must be able to fail.
    fn check(&self) -> Result<(), String> {
        if self.rests_on.is_empty() {
            return Err(
                "rests_on: name the statements of the specification that it shows, such as \"CT-20\""
                    .to_owned(),
            );
        }
        if let Some(number) = self.rests_on.iter().find(|number| !is_number(number)) {
            return Err(format!(
                "rests_on: `{number}` is not the number of a statement, such as CT-20 or RES-21v6"
            ));
        }
        let looks = self.steps.iter().any(|step| {
            step.expect.is_some() || step.refused.is_some() || step.kill.is_some() || step.looks()
        });
        if looks { Ok(()) } else { Err("step: nothing must be seen, so nothing can fail".to_owned()) }
    }

    /// The configuration that it begins with.
    ///
    /// # Errors
    ///
    /// If it cannot be read or is not TOML.
    pub(crate) fn world(&self, scenario: &Path) -> Result<Table, ScenarioError> {
        let mut world = match &self.world {
            World::Inline(tables) => tables.clone(),
            World::File(file) => {
                let path = scenario.parent().unwrap_or(Path::new(".")).join(file);
                let text = read(&path)?;
                toml::from_str(&text)
                    .map_err(|source| ScenarioError::Syntax { path, source: Box::new(source) })?
            }
        };
        merge(&mut world, &self.patch);
        Ok(world)
    }
}

/// Reads steps and notes where each begins: for now as bytes from the beginning of the file.
pub(crate) fn steps<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Step>, D::Error> {
    let steps = Vec::<Spanned<Step>>::deserialize(deserializer)?;
    let place = |step: Spanned<Step>| Step { line: step.span().start, ..step.into_inner() };
    Ok(steps.into_iter().map(place).collect())
}

impl Step {
    /// A step must do or look at something; a packet must be watched; and there must be a packet to watch.
    fn check(&self) -> Result<(), &'static str> {
        let changes = !self.change.is_empty() || self.patch.is_some();
        let acts = changes || self.kill.is_some();
        let watches = self.released.is_empty()
            && self.by.is_none()
            && self.link.is_none()
            && self.bytes.is_none()
            && self.packets.is_none()
            && self.copies.is_empty()
            && self.reply.is_none()
            && self.answer.is_none();
        match (self.send.is_some(), self.expect.is_some()) {
            (true, false) => {
                Err("`send` needs an `expect` beside it: a packet that nobody watches shows nothing")
            }
            (false, true) => Err("`expect` needs a `send` beside it"),
            (false, false) if !watches => Err(
                "`released`, `by`, `link`, `bytes`, `packets`, `copies`, `reply` and `answer` tell of a packet: they need a `send`",
            ),
            (false, false) if !(acts || self.looks()) => Err(
                "does nothing; it needs one of: send, change, patch, kill, conns, conns_exact, conns_total, flow_logs, counters",
            ),
            _ if self.refused.is_some() && !changes => {
                Err("`refused` needs a `change` or a `patch` beside it")
            }
            _ if self.refused.is_some() && self.change.len() > 1 => Err("`refused` tells of one change"),
            _ if self.repeat == Some(0) => Err("`repeat` is at least 1"),
            _ => Ok(()),
        }
    }
}

impl Step {
    /// Whether it looks at anything but a packet.
    fn looks(&self) -> bool {
        self.conns.is_some()
            || self.conns_exact.is_some()
            || self.conns_total.is_some()
            || self.flow_logs.is_some()
            || !self.counters.is_empty()
    }
}

/// `CT-39c`: letters, a number, perhaps a letter that may have a digit behind it.
fn is_number(text: &str) -> bool {
    let read = || {
        let (chapter, rest) = text.split_once('-')?;
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(digits);
        let named = !chapter.is_empty() && chapter.bytes().all(|letter| letter.is_ascii_uppercase());
        let suffixed = match suffix.as_bytes() {
            [] => true,
            [letter] => letter.is_ascii_lowercase(),
            [letter, digit] => letter.is_ascii_lowercase() && digit.is_ascii_digit(),
            _ => false,
        };
        Some(named && !number.is_empty() && suffixed)
    };
    read().unwrap_or(false)
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
