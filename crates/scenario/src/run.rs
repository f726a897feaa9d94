//! Runs a scenario in process under a virtual clock, through the same walk as the daemon.

use std::path::Path;
use std::time::Duration;

use palisade_conntrack::{ConnView, Instant};
use palisade_engine::{Counters, Engine, Explanation, Now, Received, Verdict};
use palisade_policy::{Snapshot, draft};
use serde::Serialize;
use toml::Table;

use crate::answer;
use crate::change;
use crate::conns::{Seen, flow};
use crate::file::{Scenario, ScenarioError, Step, merge};
use crate::notation;

/// Room for connections; no scenario needs more.
const CONNECTIONS: usize = 65_536;

/// What a run showed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Report {
    /// The scenario's title.
    pub title: String,
    /// Steps that were carried out.
    pub steps: usize,
    /// What was not as it must be; empty: passed.
    pub failures: Vec<Failure>,
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
    const fn plain(expected: String, seen: String) -> Self {
        Self { step: None, expected, seen, walk: None }
    }
}

/// Reads and runs the scenario of a file.
///
/// # Errors
///
/// If the scenario or its world is not valid; a scenario that fails is a [`Report`] with failures.
pub fn run_file(path: &Path) -> Result<Report, ScenarioError> {
    let scenario = Scenario::load(path)?;
    let world = scenario.world(path)?;
    run(&scenario, &world)
}

/// Plays it twice: with everything expired reclaimed before each step, and with nothing ever reclaimed. What is expired is
/// gone either way (CT-73).
fn run(scenario: &Scenario, world: &Table) -> Result<Report, ScenarioError> {
    let mut failures = play(scenario, world, true)?;
    if failures.is_empty() {
        failures = play(scenario, world, false)?;
    }
    Ok(Report { title: scenario.title.clone(), steps: scenario.steps.len(), failures })
}

fn play(scenario: &Scenario, world: &Table, reclaims: bool) -> Result<Vec<Failure>, ScenarioError> {
    let mut stage = Stage::new(world.clone())?;
    let mut failures = Vec::new();
    for (at, step) in scenario.steps.iter().enumerate() {
        let number = at + 1;
        let seen = stage.step(step, reclaims).map_err(|why| ScenarioError::Step { number, why })?;
        failures.extend(seen.into_iter().map(|failure| Failure { step: Some(number), ..failure }));
    }
    failures.extend(stage.broken_laws());
    Ok(failures)
}

/// The world while a scenario plays.
struct Stage {
    world: Table,
    snapshot: Snapshot,
    engine: Engine,
    counters: Counters,
    now: Duration,
}

impl Stage {
    fn new(world: Table) -> Result<Self, ScenarioError> {
        let snapshot = Snapshot::compile(draft::load("world", &world.to_string())?, None);
        let counters = Counters::new();
        counters.ensure_rules(snapshot.rule_slots());
        Ok(Self { world, snapshot, engine: Engine::new(CONNECTIONS), counters, now: Duration::ZERO })
    }

    fn step(&mut self, step: &Step, reclaims: bool) -> Result<Vec<Failure>, String> {
        if step.at < self.now {
            return Err("is earlier than the step before".to_owned());
        }
        self.now = step.at;
        if reclaims {
            self.engine.advance(self.now(), usize::MAX);
        }
        self.change(step)?;
        let mut failures = Vec::new();
        if let Some(packet) = &step.send {
            for _ in 1..step.repeat.unwrap_or(1) {
                self.send(packet, step)?;
            }
            failures.extend(self.send(packet, step)?);
        }
        if let Some(expected) = &step.conns {
            failures.extend(self.connections(expected));
        }
        let alive = self.engine.connections().list(self.now().monotonic).len();
        if let Some(expected) = step.conns_total.filter(|expected| *expected != alive) {
            failures.push(Failure::plain(format!("{expected} connections"), alive.to_string()));
        }
        Ok(failures)
    }

    fn change(&mut self, step: &Step) -> Result<(), String> {
        if step.change.is_none() && step.patch.is_none() {
            return Ok(());
        }
        if let Some(text) = &step.change {
            change::apply(&mut self.world, text)?;
        }
        if let Some(patch) = &step.patch {
            merge(&mut self.world, patch);
        }
        let vpc = draft::load("world", &self.world.to_string()).map_err(|error| error.to_string())?;
        let next = Snapshot::compile(vpc, Some(&self.snapshot));
        self.counters.ensure_rules(next.rule_slots());
        self.engine.retire(&self.snapshot, &next);
        self.snapshot = next;
        Ok(())
    }

    /// Sends a packet. What `explain` says beforehand must be what forwarding does: both are the same walk.
    fn send(&mut self, packet: &str, step: &Step) -> Result<Vec<Failure>, String> {
        let spec = notation::parse(packet).map_err(|error| error.to_string())?;
        let mut frame = spec.frame(&self.snapshot).map_err(|error| error.to_string())?;
        let received = Received { vnet: frame.vnet, ..Received::default() };
        let walk = self.engine.explain(&self.snapshot, self.now(), frame.port, &frame.bytes, received);
        let (mut reply, sent) = (Vec::new(), frame.bytes.clone());
        let (now, bytes) = (self.now(), &mut frame.bytes);
        let outcome =
            self.engine.process(&self.snapshot, &self.counters, now, frame.port, bytes, received, &mut reply);
        let delivered = matches!(outcome.verdict, Verdict::Deliver(_));
        if delivered {
            self.counters.delivered(outcome.packets, bytes.len());
        }
        let seen = describe(&walk);
        let mut failures = Vec::new();
        let mut check = |holds: bool, expected: &dyn Fn() -> String, seen: &dyn Fn() -> String| {
            if !holds {
                let walk = Some(walk.clone());
                failures.push(Failure { step: None, expected: expected(), seen: seen(), walk });
            }
        };
        let short = reason(&outcome.verdict);
        let explained = walk.outcome.reason;
        check(explained == short, &|| format!("explain to say {short:?}"), &|| format!("{explained:?}"));
        let expected = step.expect.as_deref().unwrap_or(&seen);
        check(agrees(expected, &seen, short), &|| expected.to_owned(), &|| seen.clone());
        // Nothing behind the MAC addresses is ever edited: no hop is counted (RES-44), no fragment redrawn (CT-64).
        let unchanged = !delivered || bytes.get(12..) == sent.get(12..);
        check(unchanged, &|| "the packet as it was sent".to_owned(), &|| format!("{bytes:02x?}"));
        let answered = step.reply.unwrap_or(outcome.reply) == outcome.reply;
        check(answered, &|| format!("reply = {}", !outcome.reply), &|| format!("reply = {}", outcome.reply));
        let answer = answer::describe(&self.snapshot, outcome.reply.then_some(&reply));
        let wanted = step.answer.as_ref().unwrap_or(&answer);
        check(*wanted == answer, &|| wanted.clone(), &|| answer.clone());
        Ok(failures)
    }

    fn connections(&self, expected: &[String]) -> Vec<Failure> {
        let views = self.engine.connections().list(self.now().monotonic);
        let seen: Vec<Seen> = views.iter().map(|conn| self.show(conn)).collect();
        let fail = |expected: &str| Failure {
            step: None,
            expected: expected.to_owned(),
            seen: if seen.is_empty() {
                "no connection".to_owned()
            } else {
                seen.iter().map(Seen::text).collect()
            },
            walk: None,
        };
        if expected.is_empty() && !seen.is_empty() {
            return vec![fail("no connection")];
        }
        expected
            .iter()
            .filter(|wanted| !seen.contains(&Seen::parse(wanted)))
            .map(|wanted| fail(wanted))
            .collect()
    }

    /// Seen from whoever opened it.
    fn show(&self, conn: &ConnView) -> Seen {
        let eni = self.snapshot.enis().iter().find(|eni| eni.key.0 == conn.zone.0);
        let name = eni.map_or("?", |eni| self.snapshot.vpc()[eni.index].name.as_str());
        Seen { flow: format!("{name} {} {}", flow(conn), conn.state), left: Some(conn.left) }
    }

    fn now(&self) -> Now {
        let monotonic = Instant::from_nanos(0) + self.now;
        Now { monotonic, unix: self.now }
    }

    /// Architecture's conservation laws 1, 3 and 4.
    fn broken_laws(&self) -> Vec<Failure> {
        let values = self.counters.values();
        let connections = self.engine.connections().totals();
        let ends = values.delivered + values.dropped.total() + values.consumed.total();
        let stages = [values.acl_ingress, values.acl_egress, values.group_ingress, values.group_egress];
        let reached: u64 = stages.iter().map(|stage| stage.reached).sum();
        let group_defaults = values.group_ingress.by_default + values.group_egress.by_default;
        let related: u64 = stages.iter().map(|stage| stage.related).sum();
        let gone = connections.alive + connections.expired + connections.closed + connections.removed;
        let laws = [
            (
                "packets in + generated = delivered + dropped + consumed",
                values.received + values.generated,
                ends,
            ),
            (
                "rule hits + default denials + related = packets that reached a stage",
                values.rule_hits + group_defaults + related,
                reached,
            ),
            ("connections created = alive + expired + closed + removed", connections.created, gone),
        ];
        let broken = laws.into_iter().filter(|(_, left, right)| left != right);
        broken
            .map(|(law, left, right)| Failure {
                step: None,
                expected: law.to_owned(),
                seen: format!("{left} and {right}"),
                walk: None,
            })
            .collect()
    }
}

/// `delivered PORT`, `consumed WHAT` or `dropped AT STAGE WHY`.
fn describe(walk: &Explanation) -> String {
    match (&walk.outcome.to, walk.outcome.verdict, walk.stages.last()) {
        (Some(to), verdict, _) => format!("{verdict} {to}"),
        (None, "dropped", Some(last)) => {
            let why = match (last.stage, &last.rule) {
                ("security-group", _) => "no-rule",
                ("network-acl", Some(rule)) => rule.rsplit(' ').next().unwrap_or_default(),
                _ => walk.outcome.reason.unwrap_or_default(),
            };
            let at = if last.at.is_empty() { &walk.from } else { &last.at };
            format!("dropped {at} {} {why}", last.stage)
        }
        (None, verdict, _) => format!("{verdict} {}", walk.outcome.reason.unwrap_or_default()),
    }
}

fn reason(verdict: &Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::Deliver(_) => None,
        Verdict::Consume(what) => Some(what.as_str()),
        Verdict::Drop(reason) => Some(reason.as_str()),
    }
}

/// Either the whole description, or `dropped` and the counter's name.
fn agrees(expected: &str, seen: &str, reason: Option<&str>) -> bool {
    expected == seen || expected.strip_prefix("dropped ").is_some_and(|wanted| Some(wanted) == reason)
}
