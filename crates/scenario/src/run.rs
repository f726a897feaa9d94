//! Plays a scenario on a stage, step by step, and notes what is not as it must be.

use std::path::Path;
use std::time::Duration;

use palisade_engine::{DropReason, Explanation, Selection};
use palisade_policy::Snapshot;
use serde::Serialize;
use toml::Table;

use crate::change;
use crate::conns::{self, Seen as Conn};
use crate::file::{Scenario, ScenarioError, Step, merge};
use crate::in_process::{InProcess, Mode};
use crate::judge;
use crate::notation::{self, Frame};
use crate::stage::{Halt, Law, Resumed, Stage};

/// What a run showed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Report {
    /// The scenario's title.
    pub title: String,
    /// Steps that were carried out.
    pub steps: usize,
    /// What was not as it must be; empty: passed, unless it was not played to its end.
    pub failures: Vec<Failure>,
    /// The step that the stage could not carry, at which the play ended.
    pub not_playable: Option<NotPlayable>,
}

impl Report {
    /// Whether it was played to its end and everything was as it must be.
    #[must_use]
    pub const fn passed(&self) -> bool {
        self.failures.is_empty() && self.not_playable.is_none()
    }
}

/// A step that a stage cannot carry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct NotPlayable {
    /// Number of the step, from 1; 0: the world.
    pub step: usize,
    /// Why.
    pub reason: String,
}

/// One thing that was not as it must be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Failure {
    /// Number of the step, from 1; `None`: seen at the end.
    pub step: Option<usize>,
    /// What must be seen.
    pub expected: String,
    /// What was seen.
    pub seen: String,
    /// The walk of the packet, if there was one.
    pub walk: Option<Explanation>,
}

impl Failure {
    pub(crate) const fn plain(expected: String, seen: String) -> Self {
        Self { step: None, expected, seen, walk: None }
    }
}

/// Reads and runs the scenario of a file in process, under a virtual clock.
///
/// It is played in every [`Mode`]: with and without the flow cache, by one worker and by several, reclaiming what has
/// expired at once and never. None of it may be seen.
///
/// # Errors
///
/// If the scenario or its world is not valid; a scenario that fails is a [`Report`] with failures.
pub fn run_file(path: &Path) -> Result<Report, ScenarioError> {
    let scenario = Scenario::load(path)?;
    let world = scenario.world(path)?;
    let mut report = Report::default();
    for mode in Mode::ALL {
        report = play(&scenario, world.clone(), InProcess::open(&world, mode)?)?;
        if !report.passed() {
            break;
        }
    }
    Ok(report)
}

/// Reads the scenario of a file and runs it on a stage, which `open` makes for its world.
///
/// # Errors
///
/// If the scenario or its world is not valid, or the stage fails; a scenario that fails is a [`Report`] with failures.
pub fn run_file_on<S: Stage>(
    path: &Path,
    open: impl FnOnce(&Table) -> Result<S, Halt>,
) -> Result<Report, ScenarioError> {
    let scenario = Scenario::load(path)?;
    let world = scenario.world(path)?;
    match open(&world) {
        Ok(stage) => play(&scenario, world, stage),
        Err(Halt::NotPlayable(reason)) => Ok(Report {
            title: scenario.title,
            steps: 0,
            failures: Vec::new(),
            not_playable: Some(NotPlayable { step: 0, reason }),
        }),
        Err(Halt::Failed(why)) => Err(ScenarioError::Stage { why }),
    }
}

fn play<S: Stage>(scenario: &Scenario, world: Table, stage: S) -> Result<Report, ScenarioError> {
    let title = scenario.title.clone();
    let mut report = Report { title, steps: 0, failures: Vec::new(), not_playable: None };
    let mut play = Play { world, stage, now: Duration::ZERO, held: Vec::new() };
    for (number, step) in (1..).zip(&scenario.steps) {
        match play.step(step) {
            Ok(seen) => {
                let failures = seen.into_iter().map(|failure| Failure { step: Some(number), ..failure });
                report.failures.extend(failures);
                report.steps = number;
            }
            Err(Halt::NotPlayable(reason)) => {
                report.not_playable = Some(NotPlayable { step: number, reason });
                break;
            }
            Err(Halt::Failed(why)) => return Err(ScenarioError::Step { number, why }),
        }
    }
    let laws = play.stage.close().map_err(|halt| ScenarioError::Stage { why: halt.to_string() })?;
    report.failures.extend(laws.iter().filter_map(broken));
    Ok(report)
}

fn broken(law: &Law) -> Option<Failure> {
    let Law { name, left, right } = law;
    (left != right).then(|| Failure::plain((*name).to_owned(), format!("{left} and {right}")))
}

/// A scenario while it plays.
struct Play<S> {
    world: Table,
    stage: S,
    now: Duration,
    /// Fragments that the stage holds, as they were sent; those that were dropped after a while are among them.
    held: Vec<Frame>,
}

impl<S: Stage> Play<S> {
    fn step(&mut self, step: &Step) -> Result<Vec<Failure>, Halt> {
        if step.at < self.now {
            return Err(Halt::Failed("is earlier than the step before".to_owned()));
        }
        self.now = step.at;
        self.stage.advance(step.at)?;
        self.change(step)?;
        let mut failures = Vec::new();
        if let Some(words) = &step.kill {
            failures.extend(self.kill(words)?);
        }
        if let Some(packet) = &step.send {
            for _ in 1..step.repeat.unwrap_or(1) {
                self.send(packet, step)?;
            }
            failures.extend(self.send(packet, step)?);
        }
        failures.extend(self.counts(step)?);
        if let Some(expected) = &step.conns {
            failures.extend(self.connections(expected));
        }
        if let Some(expected) = step.conns_total {
            let alive = self.stage.connections().len();
            let failure = || Failure::plain(format!("{expected} connections"), alive.to_string());
            failures.extend((expected != alive).then(failure));
        }
        Ok(failures)
    }

    fn change(&mut self, step: &Step) -> Result<(), Halt> {
        if step.change.is_none() && step.patch.is_none() {
            return Ok(());
        }
        if let Some(text) = &step.change {
            change::apply(&mut self.world, text).map_err(Halt::Failed)?;
        }
        if let Some(patch) = &step.patch {
            merge(&mut self.world, patch);
        }
        self.stage.publish(&self.world)
    }

    fn kill(&mut self, words: &str) -> Result<Option<Failure>, Halt> {
        let words: &[&str] = &words.split_whitespace().collect::<Vec<_>>();
        let chosen = match words {
            [] => return Err(Halt::Failed("kill: name connections, or `all`".to_owned())),
            ["all"] => Selection::default(),
            words => Selection::parse(words, &self.stage.snapshot())
                .map_err(|error| Halt::Failed(error.to_string()))?,
        };
        let nothing = || Failure::plain("a connection to end".to_owned(), "none that was meant".to_owned());
        Ok((self.stage.kill(&chosen)? == 0).then(nothing))
    }

    /// Sends a packet. What `explain` says beforehand must be what forwarding does: both are the same walk.
    fn send(&mut self, packet: &str, step: &Step) -> Result<Vec<Failure>, Halt> {
        let snapshot = self.stage.snapshot();
        let invalid = |error: notation::NotationError| Halt::Failed(error.to_string());
        let frame = notation::parse(packet).and_then(|spec| spec.frame(&snapshot)).map_err(invalid)?;
        let walk = self.stage.explain(&frame);
        let seen = self.stage.send(&frame)?;
        let mut failures = judge::packet(step, &snapshot, &frame, &walk, &seen);
        failures.extend(judge::released(&step.released, &snapshot, &seen.released));
        failures.extend(seen.released.iter().filter_map(|resumed| self.was_held(resumed)));
        let again = seen.released.into_iter().filter(|resumed| resumed.seen.held);
        self.held.extend(again.map(|resumed| resumed.frame).chain(seen.held.then_some(frame)));
        Ok(failures)
    }

    /// A fragment that is released is one that was held, byte for byte.
    fn was_held(&mut self, resumed: &Resumed) -> Option<Failure> {
        let Some(at) = self.held.iter().position(|held| *held == resumed.frame) else {
            let seen = format!("{:02x?}", resumed.frame.bytes);
            return Some(Failure::plain("released only what was held".to_owned(), seen));
        };
        self.held.remove(at);
        None
    }

    fn counts(&self, step: &Step) -> Result<Vec<Failure>, Halt> {
        let counts = self.stage.counts();
        let mut failures = Vec::new();
        if let Some(expected) = step.held.filter(|expected| *expected != counts.held) {
            failures.push(Failure::plain(format!("{expected} fragments held"), counts.held.to_string()));
        }
        for (name, expected) in &step.drops {
            let unknown = || Halt::Failed(format!("`{name}` is not the name of a reason to drop"));
            let reason = DropReason::named(name).ok_or_else(unknown)?;
            let seen = counts.drops.get(&reason).copied().unwrap_or_default();
            if seen != *expected {
                failures.push(Failure::plain(format!("{expected} dropped for {name}"), seen.to_string()));
            }
        }
        Ok(failures)
    }

    fn connections(&self, expected: &[String]) -> Vec<Failure> {
        let snapshot = self.stage.snapshot();
        let views = self.stage.connections();
        let seen: Vec<Conn> = views.iter().map(|conn| show(&snapshot, conn)).collect();
        let fail = |expected: &str| {
            let all = if seen.is_empty() {
                "no connection".to_owned()
            } else {
                seen.iter().map(Conn::text).collect()
            };
            Failure::plain(expected.to_owned(), all)
        };
        if expected.is_empty() && !seen.is_empty() {
            return vec![fail("no connection")];
        }
        let missing = expected.iter().filter(|wanted| !seen.contains(&Conn::parse(wanted)));
        missing.map(|wanted| fail(wanted)).collect()
    }
}

/// Seen from whoever opened it.
fn show(snapshot: &Snapshot, conn: &palisade_conntrack::ConnView) -> Conn {
    let eni = snapshot.enis().iter().find(|eni| eni.key.0 == conn.zone.0);
    let name = eni.map_or("?", |eni| snapshot.vpc()[eni.index].name.as_str());
    Conn { flow: format!("{name} {} {}", conns::flow(conn), conn.state), left: Some(conn.left) }
}
