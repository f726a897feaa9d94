//! What a configuration is compiled into: every rule set, its kind, its memory and the time it takes to build; and what the
//! table of connections takes when it is full.

use std::io::{self, Write};
use std::time::Instant;

use palisade_conntrack::ConnTable;
use palisade_policy::model::{GroupIndex, Vpc};
use palisade_policy::{ClassifierKind, ClassifierSize, RuleOwner, RuleSet, Snapshot};
use serde::Serialize;

use crate::table::{Column, Table, count};
use crate::view::Named;

/// The rule sets of a VPC, and the room for its connections.
#[derive(Debug, Serialize)]
pub(crate) struct Compiled<'a> {
    rule_sets: Vec<RuleSetView<'a>>,
    connection_table: Room,
}

/// A full table of connections.
#[derive(Debug, Serialize)]
struct Room {
    /// Connections tracked at once, one at each end.
    entries: u32,
    bytes: usize,
}

/// The rules of one direction and family of an ACL, or of the groups that an ENI has.
#[derive(Debug, Serialize)]
struct RuleSetView<'a> {
    /// `network-acl` or `security-groups`.
    of: &'static str,
    /// The ACL, or the groups.
    members: Vec<Named<'a>>,
    direction: &'static str,
    family: &'static str,
    classifier: ClassifierKind,
    #[serde(flatten)]
    size: ClassifierSize,
    /// Nanoseconds that building it took.
    build_nanoseconds: u64,
    /// Subnets or interfaces that share the one copy in memory.
    shared_by: usize,
}

impl<'a> Compiled<'a> {
    /// The rule sets of a snapshot that was compiled from `vpc`, each built once more under the clock.
    pub(crate) fn new(vpc: &'a Vpc, snapshot: &Snapshot) -> Self {
        let entries = vpc.daemon.max_connections;
        let bytes = ConnTable::memory(usize::try_from(entries).unwrap_or(usize::MAX));
        Self {
            rule_sets: snapshot.rule_sets().iter().map(|set| view(vpc, set)).collect(),
            connection_table: Room { entries, bytes },
        }
    }

    /// Shows people the rule sets, their sum and the room for connections.
    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        use Column::{Left, Right};
        let titles = [
            Left("COMPILED"),
            Left("DIRECTION"),
            Left("FAMILY"),
            Right("RULES"),
            Left("CLASSIFIER"),
            Right("INTERVALS"),
            Right("BYTES"),
            Right("BUILT IN"),
            Left("SHARED BY"),
        ];
        let mut table = Table::new(&titles);
        self.rule_sets.iter().for_each(|set| table.row(set.cells()));
        table.write(out)?;
        let bytes: usize = self.rule_sets.iter().map(|set| set.size.bytes).sum();
        let time: u64 = self.rule_sets.iter().map(|set| set.build_nanoseconds).sum();
        let sets = count(self.rule_sets.len(), "rule set");
        writeln!(out, "\n{sets}: {bytes} bytes, built in {}", microseconds(time))?;
        let Room { entries, bytes } = self.connection_table;
        writeln!(out, "{entries} connection entries: {} MiB when all are in use", bytes >> 20)
    }
}

fn view<'a>(vpc: &'a Vpc, set: &RuleSet<'_>) -> RuleSetView<'a> {
    let start = Instant::now();
    let size = std::hint::black_box(set.rebuild());
    let build_nanoseconds = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let (of, members) = match set.owner {
        RuleOwner::Acl(acl) => ("network-acl", vec![Named { id: &vpc[acl].id, name: &vpc[acl].name }]),
        RuleOwner::Groups(groups) => {
            ("security-groups", groups.iter().map(|group| named(vpc, *group)).collect())
        }
    };
    RuleSetView {
        of,
        members,
        direction: set.direction.as_str(),
        family: if set.ipv6 { "IPv6" } else { "IPv4" },
        classifier: set.kind,
        size,
        build_nanoseconds,
        shared_by: set.shared_by,
    }
}

fn named(vpc: &Vpc, group: GroupIndex) -> Named<'_> {
    Named { id: &vpc[group].id, name: &vpc[group].name }
}

impl RuleSetView<'_> {
    fn cells(&self) -> [String; 9] {
        let names: Vec<_> = self.members.iter().map(|member| member.name).collect();
        let (what, user) = match self.of {
            "network-acl" => ("ACL", "subnet"),
            _ if names.len() == 1 => ("group", "interface"),
            _ => ("groups", "interface"),
        };
        let classifier = match self.classifier {
            ClassifierKind::Pairs => "pairs",
            ClassifierKind::Vectors => "bit vectors",
        };
        [
            format!("{what} {}", names.join(",")),
            self.direction.to_owned(),
            self.family.to_owned(),
            self.size.rules.to_string(),
            classifier.to_owned(),
            self.size.intervals.to_string(),
            self.size.bytes.to_string(),
            microseconds(self.build_nanoseconds),
            count(self.shared_by, user),
        ]
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn microseconds(nanoseconds: u64) -> String {
    format!("{:.1} µs", nanoseconds as f64 / 1000.0)
}
