//! `palisade conns`: tracked connections.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};

use palisade_conntrack::{ConnView, Ids};
use palisade_engine::Listing;
use palisade_policy::model::Direction;
use palisade_policy::{EniKey, Snapshot};
use serde::{Deserialize, Serialize};

use super::numbers::time;
use crate::screen::{FAINT, NOTABLE};
use crate::table::{Column, Table, count};

/// Some or all connections, in the order of their ENIs, protocols and addresses.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct ConnsReport {
    /// How many there are that were asked for.
    pub(crate) total: usize,
    /// The first of them.
    pub(crate) connections: Vec<Conn>,
}

/// One entry of one ENI. A flow between two ENIs has one at each.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Conn {
    /// Name of the ENI.
    pub(crate) eni: String,
    /// Its id.
    pub(crate) eni_id: String,
    /// `tcp`, `udp`, `icmp`, `icmpv6`, or the number.
    pub(crate) protocol: String,
    /// Address on the ENI's side.
    pub(crate) local: IpAddr,
    /// Its port, of TCP and UDP.
    pub(crate) local_port: Option<u16>,
    /// Address on the other side.
    pub(crate) remote: IpAddr,
    /// Its port, of TCP and UDP.
    pub(crate) remote_port: Option<u16>,
    /// Identifier, of an ICMP query.
    pub(crate) identifier: Option<u16>,
    /// `egress` if the ENI's guest opened it, `ingress` if the other side did.
    pub(crate) origin: String,
    /// Name of the state.
    pub(crate) state: String,
    /// Time since the entry was made.
    pub(crate) age_seconds: f64,
    /// Time since the last packet.
    pub(crate) idle_seconds: f64,
    /// Time until the entry ends if no packet comes.
    pub(crate) left_seconds: f64,
    /// What the opener sent.
    pub(crate) forward: Amount,
    /// What the other side sent.
    pub(crate) reply: Amount,
}

/// An amount of traffic.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Amount {
    /// Packets.
    pub(crate) packets: u64,
    /// Bytes, from the IP header on.
    pub(crate) bytes: u64,
}

impl ConnsReport {
    /// What was listed, with names for what the policy names.
    pub(crate) fn new(listing: &Listing, snapshot: &Snapshot) -> Self {
        let connections = listing.first.iter().map(|entry| Conn::new(entry, snapshot)).collect();
        Self { total: listing.total, connections }
    }

    /// Writes the table.
    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.connections.is_empty() {
            return writeln!(out, "no tracked connections");
        }
        self.write_table(out)
    }

    fn write_table(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut table = Table::new(&[
            Column::Left("ENI"),
            Column::Left("PROTOCOL"),
            Column::Left("LOCAL"),
            Column::Left("REMOTE"),
            Column::Left("ORIGIN"),
            Column::Left("STATE"),
            Column::Right("AGE"),
            Column::Right("IDLE"),
            Column::Right("LEFT"),
            Column::Right("PACKETS"),
            Column::Right("REPLIES"),
        ]);
        self.connections.iter().for_each(|conn| table.row(conn.row()));
        table.write(out)?;
        let shown = self.connections.len();
        if shown < self.total {
            writeln!(
                out,
                "{NOTABLE}{shown} of {}{NOTABLE:#} {FAINT}(see --limit and --help){FAINT:#}",
                self.total
            )?;
        }
        Ok(())
    }
}

/// Connections that were ended, as they were.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct KillReport {
    /// Nothing was ended; these would have been.
    pub(crate) dry_run: bool,
    /// What was ended.
    #[serde(flatten)]
    pub(crate) ended: ConnsReport,
}

impl KillReport {
    /// Writes the table, and what happened to what is in it.
    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { dry_run, ended } = self;
        let done = if *dry_run { "would be ended" } else { "ended" };
        if ended.total == 0 {
            return writeln!(out, "no such connection");
        }
        ended.write_table(out)?;
        writeln!(out, "{NOTABLE}{} {done}{NOTABLE:#}", count(ended.total, "connection"))
    }
}

impl Conn {
    fn new(entry: &ConnView, snapshot: &Snapshot) -> Self {
        let (eni, eni_id) = names(entry, snapshot);
        let (local_port, remote_port, identifier) = match entry.ids {
            Ids::Ports { local, remote } => (Some(local), Some(remote), None),
            Ids::Query { identifier, .. } => (None, None, Some(identifier)),
            Ids::None => (None, None, None),
        };
        Self {
            eni,
            eni_id,
            protocol: protocol(entry.protocol),
            local: entry.local,
            local_port,
            remote: entry.remote,
            remote_port,
            identifier,
            origin: direction(entry.origin).to_owned(),
            state: entry.state.to_owned(),
            age_seconds: seconds(entry.age),
            idle_seconds: seconds(entry.idle),
            left_seconds: seconds(entry.left),
            forward: Amount { packets: entry.forward.packets, bytes: entry.forward.bytes },
            reply: Amount { packets: entry.reply.packets, bytes: entry.reply.bytes },
        }
    }

    fn row(&self) -> [String; 11] {
        [
            self.eni.clone(),
            self.protocol.clone(),
            end(self.local, self.local_port),
            end(self.remote, self.remote_port),
            self.origin.clone(),
            self.state.clone(),
            time(self.age_seconds),
            time(self.idle_seconds),
            time(self.left_seconds),
            self.forward.packets.to_string(),
            self.reply.packets.to_string(),
        ]
    }
}

/// Name and id of the ENI; its zone for one that has just been removed.
fn names(entry: &ConnView, snapshot: &Snapshot) -> (String, String) {
    let eni = snapshot.eni(EniKey(entry.zone.0)).map(|eni| &snapshot.vpc()[eni.index]);
    eni.map_or_else(
        || (format!("zone {}", entry.zone.0), String::new()),
        |eni| (eni.name.clone(), eni.id.clone()),
    )
}

pub(super) fn protocol(number: u8) -> String {
    match number {
        1 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        58 => "icmpv6".to_owned(),
        other => other.to_string(),
    }
}

pub(super) const fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    }
}

pub(super) fn end(address: IpAddr, port: Option<u16>) -> String {
    port.map_or_else(|| address.to_string(), |port| SocketAddr::new(address, port).to_string())
}

/// To the millisecond.
fn seconds(time: std::time::Duration) -> f64 {
    std::time::Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conn(eni: &str, protocol: &str, local_port: Option<u16>) -> Conn {
        Conn {
            eni: eni.to_owned(),
            eni_id: "eni-1".to_owned(),
            protocol: protocol.to_owned(),
            local: "10.0.1.10".parse().unwrap(),
            local_port,
            remote: "2001:db8::1".parse().unwrap(),
            remote_port: local_port,
            identifier: None,
            origin: "egress".to_owned(),
            state: "established".to_owned(),
            age_seconds: 75.5,
            idle_seconds: 0.25,
            left_seconds: 431_999.75,
            forward: Amount { packets: 12, bytes: 3456 },
            reply: Amount { packets: 7, bytes: 890 },
        }
    }

    fn written(report: &ConnsReport) -> String {
        let mut out = anstream::StripStream::new(Vec::new());
        report.write(&mut out).unwrap();
        String::from_utf8(out.into_inner()).unwrap()
    }

    #[test]
    fn connections_are_a_table() {
        let report = ConnsReport {
            total: 3,
            connections: vec![conn("web-1", "tcp", Some(443)), conn("a", "50", None)],
        };
        let expected = "\
ENI    PROTOCOL  LOCAL          REMOTE             ORIGIN  STATE          AGE  IDLE   LEFT  PACKETS  REPLIES
web-1  tcp       10.0.1.10:443  [2001:db8::1]:443  egress  established  1m15s  0.2s  4d23h       12        7
a      50        10.0.1.10      2001:db8::1        egress  established  1m15s  0.2s  4d23h       12        7
2 of 3 (see --limit and --help)
";
        assert_eq!(written(&report), expected);
        assert_eq!(written(&ConnsReport { total: 0, connections: Vec::new() }), "no tracked connections\n");
    }

    #[test]
    fn what_was_ended_is_told() {
        let ended = ConnsReport { total: 1, connections: vec![conn("web-1", "tcp", Some(443))] };
        let text = |report: &KillReport| {
            let mut out = anstream::StripStream::new(Vec::new());
            report.write(&mut out).unwrap();
            String::from_utf8(out.into_inner()).unwrap()
        };
        let report = KillReport { dry_run: false, ended };
        assert!(
            text(&report).starts_with("ENI    PROTOCOL") && text(&report).ends_with("\n1 connection ended\n")
        );
        let dry = KillReport { dry_run: true, ..report };
        assert!(text(&dry).ends_with("\n1 connection would be ended\n"));
        let json = serde_json::to_value(&dry).unwrap();
        assert_eq!((json["dry_run"].as_bool(), json["total"].as_u64()), (Some(true), Some(1)));
        let nothing = ConnsReport { total: 0, connections: Vec::new() };
        assert_eq!(text(&KillReport { dry_run: false, ended: nothing }), "no such connection\n");
    }

    #[test]
    fn the_keys_of_the_json_form_stay() {
        let json = serde_json::to_value(conn("web-1", "tcp", Some(443))).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "eni": "web-1", "eni_id": "eni-1", "protocol": "tcp",
                "local": "10.0.1.10", "local_port": 443, "remote": "2001:db8::1", "remote_port": 443,
                "identifier": null, "origin": "egress", "state": "established",
                "age_seconds": 75.5, "idle_seconds": 0.25, "left_seconds": 431_999.75,
                "forward": { "packets": 12, "bytes": 3456 }, "reply": { "packets": 7, "bytes": 890 }
            })
        );
        assert_eq!(serde_json::from_value::<Conn>(json).unwrap(), conn("web-1", "tcp", Some(443)));
    }
}
