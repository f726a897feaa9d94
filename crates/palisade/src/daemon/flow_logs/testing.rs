//! A small VPC and its only worker, for tests of what becomes of what it counts.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use palisade_conntrack::Instant as Moment;
use palisade_engine::{Counters, Coverage, Engine, Lane, Ledger, Now, Received, Tray};
use palisade_policy::model::Vpc;
use palisade_policy::{EniKey, Snapshot, draft};
use palisade_scenario::notation;

const WORLD: &str = r#"
    [vpc]
    id = "vpc-0a000001"
    account = "123456789010"
    cidr_blocks = ["10.0.0.0/16"]
    [subnet.web]
    cidr = "10.0.1.0/24"
    [security_group.open]
    ingress = ["all from 0.0.0.0/0"]
    [eni.a]
    subnet = "web"
    address = "10.0.1.10"
    groups = ["open"]
    attach = { tap = "a" }
    [eni.b]
    subnet = "web"
    address = "10.0.1.20"
    groups = ["open"]
    attach = { tap = "b" }
"#;

/// Two guests, and further tables of a configuration.
pub(super) fn vpc(more: &str) -> Vpc {
    draft::load("test", &format!("{WORLD}{more}")).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The key of an ENI.
pub(super) fn key(snapshot: &Snapshot, name: &str) -> EniKey {
    snapshot.eni_named(name).unwrap().key
}

/// A worker that counts what it forwards.
pub(super) struct Worker {
    engine: Engine,
    lane: Lane,
    pub(super) tray: Arc<Tray>,
}

impl Worker {
    /// One with room for so many deltas, in its ledger and on its way.
    pub(super) fn new(coverage: &Arc<Coverage>, room: usize) -> Self {
        let tray = Arc::new(Tray::new(room));
        let ledger = Ledger::new(room, Arc::clone(coverage), Arc::clone(&tray));
        let lane = Lane::new(Arc::new(Counters::new()), 0).with_ledger(ledger);
        Self { engine: Engine::new(1_000), lane, tray }
    }

    /// Forwards a packet at a Unix second.
    pub(super) fn forward(&mut self, snapshot: &Snapshot, packet: &str, second: u32) {
        self.lane.counters.ensure_rules(snapshot.rule_slots());
        let mut made = notation::parse(packet).unwrap().frame(snapshot).unwrap();
        let received = Received { vnet: made.vnet, ..Received::default() };
        self.engine.process(snapshot, &mut self.lane, at(second), made.port, &mut made.bytes, received);
    }

    /// Hands over the minutes before a second.
    pub(super) fn hand_over(&mut self, second: u32) {
        self.lane.ledger.hand_over(at(second), usize::MAX);
    }

    /// Hands over everything: the worker ends.
    pub(super) fn end(&mut self, second: u32) {
        self.lane.close(at(second));
    }
}

/// A Unix second.
pub(super) fn at(second: u32) -> Now {
    let unix = Duration::from_secs(second.into());
    Now { monotonic: Moment::from_nanos(0) + unix, unix }
}

/// Every file below a folder, in order.
pub(super) fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).map(|entries| entries.map(|entry| entry.unwrap().path()).collect());
    let below = |path: std::path::PathBuf| {
        if path.is_dir() { files(&path) } else { vec![path.display().to_string()] }
    };
    let mut found: Vec<_> = entries.unwrap_or_else(|_| Vec::new()).into_iter().flat_map(below).collect();
    found.sort();
    found
}

/// Waits until something is so.
pub(super) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
