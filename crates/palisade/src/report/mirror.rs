//! `palisade mirror status`: mirror sessions, and what became of their copies.

use std::collections::BTreeMap;
use std::io::{self, Write};

use palisade_engine::{DropReason, SessionValues};
use palisade_policy::model::{MirrorSession, MirrorTargetAt};
use palisade_policy::{MirrorKey, Snapshot};
use serde::{Deserialize, Serialize};

use crate::report::numbers;
use crate::table::{Column, Table};

/// Every mirror session of one generation, by source and number.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct MirrorReport {
    /// The generation.
    pub(crate) generation: u64,
    /// Its sessions.
    pub(crate) sessions: Vec<Session>,
}

/// A mirror session.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Session {
    /// Its name.
    pub(crate) name: String,
    /// `tms-…`.
    pub(crate) id: String,
    /// Name of the source ENI.
    pub(crate) source: String,
    /// Its place among the sessions of the source.
    pub(crate) number: u16,
    /// Name of the filter.
    pub(crate) filter: String,
    /// Name of the target.
    pub(crate) target: String,
    /// What receives the copies: the name of an ENI, or `service` and the name of a service.
    pub(crate) to: String,
    /// VXLAN network identifier.
    pub(crate) virtual_network_id: u32,
    /// Bytes copied of a packet; absent: all.
    pub(crate) packet_length: Option<u16>,
    /// Copies sent since the session exists.
    pub(crate) packets: u64,
    /// Bytes of the frames that carried them.
    pub(crate) bytes: u64,
    /// Copies dropped, by reason.
    pub(crate) dropped: BTreeMap<String, u64>,
}

impl MirrorReport {
    /// The sessions of a snapshot, with what became of their copies looked up by `copies`.
    pub(crate) fn new(snapshot: &Snapshot, copies: impl Fn(MirrorKey) -> SessionValues) -> Self {
        let sessions = snapshot.vpc().mirror_sessions.iter().zip(snapshot.mirror_keys());
        let mut sessions: Vec<_> =
            sessions.map(|(session, key)| Session::new(snapshot, session, &copies(key))).collect();
        sessions.sort_by(|a, b| (&a.source, a.number).cmp(&(&b.source, b.number)));
        Self { generation: snapshot.generation(), sessions }
    }

    /// Shows people the sessions.
    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        use Column::{Left, Right};
        if self.sessions.is_empty() {
            return writeln!(out, "nothing is mirrored: the configuration has no [mirror_session.NAME]");
        }
        let titles = [
            Left("SOURCE"),
            Right("NUMBER"),
            Left("SESSION"),
            Left("FILTER"),
            Left("TO"),
            Right("VNI"),
            Right("PACKETS"),
            Right("BYTES"),
            Right("DROPPED"),
            Left("BECAUSE OF"),
        ];
        let mut table = Table::new(&titles);
        for session in &self.sessions {
            let Session { source, name, filter, to, .. } = session;
            let reasons: Vec<_> =
                session.dropped.iter().map(|(why, count)| format!("{why} {count}")).collect();
            let because = if reasons.is_empty() { "-".to_owned() } else { reasons.join(", ") };
            let dropped: u64 = session.dropped.values().sum();
            let [number, vni, packets, dropped] = [
                session.number.to_string(),
                session.virtual_network_id.to_string(),
                session.packets.to_string(),
                dropped.to_string(),
            ];
            let bytes = numbers::bytes(session.bytes);
            table.row([source, &number, name, filter, to, &vni, &packets, &bytes, &dropped, &because]);
        }
        table.write(out)
    }
}

impl Session {
    fn new(snapshot: &Snapshot, session: &MirrorSession, copies: &SessionValues) -> Self {
        let vpc = snapshot.vpc();
        let target = &vpc[session.target];
        let to = match target.at {
            MirrorTargetAt::Eni(eni) => vpc[eni].name.clone(),
            MirrorTargetAt::Service(service) => format!("service {}", vpc.services[service].name),
        };
        let dropped = DropReason::ALL.iter().map(|why| (why.as_str().to_owned(), copies.dropped_for(*why)));
        Self {
            name: session.name.clone(),
            id: session.id.clone(),
            source: vpc[session.source].name.clone(),
            number: session.number.get(),
            filter: vpc[session.filter].name.clone(),
            target: target.name.clone(),
            to,
            virtual_network_id: session.vni,
            packet_length: session.packet_length,
            packets: copies.packets,
            bytes: copies.bytes,
            dropped: dropped.filter(|(_, count)| *count > 0).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use palisade_engine::Counters;
    use palisade_policy::draft;

    use super::*;

    const CONFIG: &str = r#"
[vpc]
cidr_blocks = ["10.0.0.0/16"]
[subnet.a]
cidr = "10.0.1.0/24"
[eni.web]
subnet = "a"
address = "10.0.1.10"
attach = { tap = "web" }
[eni.ids]
subnet = "a"
address = "10.0.1.20"
attach = { tap = "ids" }
[mirror_target.t]
eni = "ids"
[mirror_filter.f]
"#;
    const SESSION: &str = r#"
[mirror_session.s]
source = "web"
target = "t"
filter = "f"
number = 3
virtual_network_id = 77
"#;

    fn load(text: &str) -> palisade_policy::Vpc {
        draft::load("test", text).unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn text(report: &MirrorReport) -> String {
        let mut out = anstream::StripStream::new(Vec::new());
        report.write(&mut out).unwrap();
        String::from_utf8(out.into_inner()).unwrap()
    }

    #[test]
    fn tm_45_packets_bytes_and_drops_survive_a_change_of_the_session() {
        let before = Snapshot::compile(load(&format!("{CONFIG}{SESSION}")), None);
        let counters = Counters::new();
        let key = before.mirror_keys().next().unwrap();
        counters.copied(key, 104);
        counters.copy_lost(key, DropReason::GroupIngress, 2);
        let changed = SESSION.replace("77", "78");
        let after = Snapshot::compile(load(&format!("{CONFIG}{changed}")), Some(&before));
        let report = MirrorReport::new(&after, |key| counters.copies_of(key));
        let expected = "\
SOURCE  NUMBER  SESSION  FILTER  TO   VNI  PACKETS  BYTES  DROPPED  BECAUSE OF
web          3  s        f       ids   78        1  104 B        2  group-ingress 2
";
        assert_eq!(text(&report), expected);
    }

    #[test]
    fn without_sessions_it_says_so() {
        let report = MirrorReport::new(&Snapshot::compile(load(CONFIG), None), |_| SessionValues::default());
        assert!(text(&report).starts_with("nothing is mirrored"));
    }
}
