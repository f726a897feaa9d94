//! Plays a scenario on a stage, step by step, and notes what is not as it must be.

use std::path::Path;
use std::time::Duration;

use palisade_engine::{Explanation, Selection};
use palisade_policy::draft;
use serde::Serialize;
use toml::Table;

use crate::conns::Conn;
use crate::counters::{Count, Readings};
use crate::expect::names;
use crate::file::{Packet, Scenario, Step, merge};
use crate::in_process::{InProcess, Mode};
use crate::judge;
use crate::load::ScenarioError;
use crate::notation::Frame;
use crate::stage::{Halt, Law, Resumed, Stage};

/// What a run showed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Report {
    /// The scenario's title.
    pub title: String,
    /// The statements that it rests on.
    pub rests_on: Vec<String>,
    /// Steps that were carried out.
    pub steps: usize,
    /// What was not as it must be; empty: passed, unless it was not played to its end.
    pub failures: Vec<Failure>,
    /// The step that the stage could not carry, at which the play ended.
    pub not_playable: Option<NotPlayable>,
    /// Name of the [`Mode`] in which something was not as it must be, in process.
    pub mode: Option<&'static str>,
}

impl Report {
    /// The report of a scenario that has not begun.
    fn of(scenario: &Scenario) -> Self {
        let Scenario { title, rests_on, .. } = scenario.clone();
        Self { title, rests_on, ..Self::default() }
    }

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
/// It is played in every [`Mode`]: with a flow cache, with one that is too small and without, by one worker and by
/// several, reclaiming what has expired at once and never. None of it may be seen.
///
/// # Errors
///
/// If the scenario or its world is not valid; a scenario that fails is a [`Report`] with failures.
pub fn run_file(path: &Path) -> Result<Report, ScenarioError> {
    let scenario = Scenario::load(path)?;
    let mut report = Report::default();
    for mode in Mode::ALL {
        report = run_in(mode, path, &scenario)?;
        if !report.passed() {
            break;
        }
    }
    Ok(report)
}

/// Runs a scenario in process and in one mode; the path is that of its file.
///
/// # Errors
///
/// If its world is not valid; a scenario that fails is a [`Report`] with failures.
pub fn run_in(mode: Mode, path: &Path, scenario: &Scenario) -> Result<Report, ScenarioError> {
    let world = scenario.world(path)?;
    let invalid = |source| ScenarioError::World { path: path.into(), source };
    let stage = InProcess::open(&world, mode).map_err(invalid)?;
    let report = play(path, scenario, world, stage)?;
    let mode = (!report.passed()).then_some(mode.name);
    Ok(Report { mode, ..report })
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
        Ok(stage) => play(path, &scenario, world, stage),
        Err(Halt::NotPlayable(reason)) => {
            let not_playable = Some(NotPlayable { step: 0, reason });
            Ok(Report { not_playable, ..Report::of(&scenario) })
        }
        Err(Halt::Failed(why)) => Err(ScenarioError::Stage { why }),
    }
}

fn play<S: Stage>(path: &Path, scenario: &Scenario, world: Table, stage: S) -> Result<Report, ScenarioError> {
    let mut report = Report::of(scenario);
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
            Err(Halt::Failed(why)) => {
                return Err(ScenarioError::Step { path: path.into(), line: step.line, number, why });
            }
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
            return Err(Halt::Failed("at: is earlier than the step before".to_owned()));
        }
        self.now = step.at;
        self.stage.advance(step.at)?;
        let before = if step.counters.is_empty() { Readings::default() } else { self.stage.readings() };
        let mut failures = Vec::new();
        for _ in 0..step.repeat.unwrap_or(1) {
            failures.extend(self.change(step)?);
            if let Some(words) = &step.kill {
                failures.extend(self.kill(words)?);
            }
            if let Some(packet) = &step.send {
                failures.extend(self.send(packet, step)?);
            }
            if !failures.is_empty() {
                break;
            }
        }
        failures.extend(self.connections(step));
        failures.extend(self.flow_logs(step)?);
        failures.extend(self.counters(step, &before)?);
        Ok(failures)
    }

    fn change(&mut self, step: &Step) -> Result<Option<Failure>, Halt> {
        let named = |what: &str, why: String| Halt::Failed(format!("{what}: {why}"));
        if step.refused.is_some() {
            return self.refused(step).map_err(|why| named("change", why));
        }
        for (left, change) in (0..step.change.len()).rev().zip(&step.change) {
            change.apply(&mut self.world).map_err(|why| named("change", why))?;
            if left > 0 {
                self.stage.publish(&self.world)?;
            }
        }
        step.patch.iter().for_each(|patch| merge(&mut self.world, patch));
        if !step.change.is_empty() || step.patch.is_some() {
            self.stage.publish(&self.world)?;
        }
        Ok(None)
    }

    /// A change that validation must refuse, for faults of one kind.
    fn refused(&self, step: &Step) -> Result<Option<Failure>, String> {
        let Some(wanted) = step.refused else { return Ok(None) };
        let mut world = self.world.clone();
        step.change.iter().try_for_each(|change| change.apply(&mut world))?;
        step.patch.iter().for_each(|patch| merge(&mut world, patch));
        let seen = match draft::load("world", &world.to_string()) {
            Ok(_) => "it is accepted".to_owned(),
            Err(faults) if faults.iter().all(|fault| fault.code == wanted) => return Ok(None),
            Err(faults) => faults.to_string(),
        };
        Ok(Some(Failure::plain(format!("refused for {}", wanted.as_str()), seen)))
    }

    fn kill(&mut self, words: &str) -> Result<Option<Failure>, Halt> {
        let words: &[&str] = &words.split_whitespace().collect::<Vec<_>>();
        let chosen = match words {
            [] => return Err(Halt::Failed("kill: name connections, or `all`".to_owned())),
            ["all"] => Selection::default(),
            words => Selection::parse(words, &self.stage.snapshot())
                .map_err(|error| Halt::Failed(format!("kill: {error}")))?,
        };
        let nothing = || Failure::plain("a connection to end".to_owned(), "none that was meant".to_owned());
        Ok((self.stage.kill(&chosen)? == 0).then(nothing))
    }

    /// Sends a packet. What `explain` says beforehand must be what forwarding does: both are the same walk.
    fn send(&mut self, packet: &Packet, step: &Step) -> Result<Vec<Failure>, Halt> {
        let snapshot = self.stage.snapshot();
        let frame = packet.spec.frame(&snapshot).map_err(|error| Halt::Failed(format!("send: {error}")))?;
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

    fn counters(&mut self, step: &Step, before: &Readings) -> Result<Vec<Failure>, Halt> {
        if step.counters.is_empty() {
            return Ok(Vec::new());
        }
        let (snapshot, after) = (self.stage.snapshot(), self.stage.readings());
        let miss = |count: &Count| {
            let seen = count.miss(&snapshot, before, &after).map_err(|why| format!("counters: {why}"))?;
            Ok(seen.map(|seen| Failure::plain(count.to_string(), seen)))
        };
        step.counters
            .iter()
            .filter_map(|count| miss(count).transpose())
            .collect::<Result<_, _>>()
            .map_err(Halt::Failed)
    }

    fn flow_logs(&mut self, step: &Step) -> Result<Option<Failure>, Halt> {
        let Some(wanted) = &step.flow_logs else { return Ok(None) };
        let (mut wanted, mut seen) = (wanted.clone(), self.stage.flow_logs()?);
        wanted.sort_unstable();
        seen.sort_unstable();
        let lines = |lines: &[String]| match lines {
            [] => "no line of a flow log".to_owned(),
            lines => lines.join("\n"),
        };
        Ok((wanted != seen).then(|| Failure::plain(lines(&wanted), lines(&seen))))
    }

    fn connections(&self, step: &Step) -> Vec<Failure> {
        if step.conns.is_none() && step.conns_exact.is_none() && step.conns_total.is_none() {
            return Vec::new();
        }
        let snapshot = self.stage.snapshot();
        let views = self.stage.connections();
        let mut seen: Vec<Conn> = views.iter().map(|conn| Conn::of(&snapshot, conn)).collect();
        seen.sort_by_cached_key(ToString::to_string);
        let all = || names(&seen);
        let mut failures = Vec::new();
        let wanted = step.conns.iter().chain(&step.conns_exact).flatten();
        let missing = wanted.filter(|wanted| !seen.iter().any(|seen| wanted.is(seen)));
        failures.extend(missing.map(|wanted| Failure::plain(wanted.to_string(), all())));
        let none = step.conns.as_ref().is_some_and(Vec::is_empty);
        let exact = if none { Some(&[][..]) } else { step.conns_exact.as_deref() };
        if let Some(wanted) = exact.filter(|wanted| !are(wanted, &seen)) {
            failures.push(Failure::plain(format!("exactly these connections: {}", names(wanted)), all()));
        }
        if let Some(total) = step.conns_total.filter(|total| *total != seen.len()) {
            failures
                .push(Failure::plain(format!("{total} connections"), format!("{}: {}", seen.len(), all())));
        }
        failures
    }
}

/// Whether these are those, in whatever order. Each text stands for one entry.
fn are(wanted: &[Conn], seen: &[Conn]) -> bool {
    let mut left: Vec<&Conn> = seen.iter().collect();
    let mut take = |wanted: &Conn| {
        let at = left.iter().position(|seen| wanted.is(seen))?;
        Some(left.swap_remove(at))
    };
    let found = wanted.iter().all(|wanted| take(wanted).is_some());
    found && left.is_empty()
}
