//! `palisade flows`: flows that are watched.

use std::io::{self, Write};
use std::net::IpAddr;

use palisade_flow::Delta;
use serde::{Deserialize, Serialize};

use super::conns::{direction, end, protocol};
use super::numbers;
use crate::screen::{BAD, FAINT, GOOD, NOTABLE};
use crate::table::{Column, Table, count, or_dash};

/// Seconds between the end of the interval of rates and the present: workers tell of what they have counted once a second, and
/// of a packet two seconds later at the latest.
pub(crate) const RATES_LAG: u32 = 2;

/// Some or all flows, in the order that was asked for.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct FlowsReport {
    /// Unix second of the answer.
    pub(crate) at: u32,
    /// Seconds since watching began; what came before is not counted.
    pub(crate) watched_seconds: u32,
    /// Seconds over which rates are taken.
    pub(crate) interval_seconds: u32,
    /// How many flows there are that were asked for.
    pub(crate) total: usize,
    /// Flows that have left the table for lack of room, since watching began.
    pub(crate) forgotten: u64,
    /// Packets that are in no flow because workers could not hand them over, since watching began.
    pub(crate) lost_packets: u64,
    /// The first of the flows.
    pub(crate) flows: Vec<Flow>,
}

/// A flow at an ENI: what flow logs tell apart. One between two ENIs is seen at both.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Flow {
    /// Name of the ENI.
    pub(crate) eni: String,
    /// Its id.
    pub(crate) eni_id: String,
    /// `egress` if the ENI sent the packets, `ingress` if they came to it.
    pub(crate) direction: String,
    /// `tcp`, `udp`, `icmp`, `icmpv6`, or the number.
    pub(crate) protocol: String,
    /// Source address in the packets.
    pub(crate) source: IpAddr,
    /// Source port, of TCP and UDP.
    pub(crate) source_port: Option<u16>,
    /// Destination address in the packets.
    pub(crate) destination: IpAddr,
    /// Destination port, of TCP and UDP.
    pub(crate) destination_port: Option<u16>,
    /// `ACCEPT` or `REJECT`.
    pub(crate) action: String,
    /// The stage of the walk that decided.
    pub(crate) stage: String,
    /// The rule that decided, as records call it; absent if none did.
    pub(crate) rule: Option<String>,
    /// Why, as records call it.
    pub(crate) reason: String,
    /// TCP flags of all packets together, as records count them (FL-44).
    pub(crate) tcp_flags: u8,
    /// Packets on the wire.
    pub(crate) packets: u64,
    /// Their IP lengths.
    pub(crate) bytes: u64,
    /// Packets per second over the interval.
    pub(crate) packets_per_second: f64,
    /// Bits per second over the interval, of IP lengths.
    pub(crate) bits_per_second: f64,
    /// Unix second of the first packet.
    pub(crate) first: u32,
    /// Unix second of the last packet.
    pub(crate) last: u32,
}

/// What objects of a flow are called.
pub(crate) struct Names {
    /// Name of the ENI.
    pub(crate) eni: String,
    /// Its id.
    pub(crate) eni_id: String,
    /// The rule that decided.
    pub(crate) rule: Option<String>,
}

impl Flow {
    /// What was counted of a flow, altogether and, as packets and bytes, in an interval of so many seconds.
    #[expect(clippy::cast_precision_loss, reason = "rates are for people")]
    pub(crate) fn new(seen: &Delta, names: Names, (packets, bytes): (u64, u64), interval: u32) -> Self {
        let Names { eni, eni_id, rule } = names;
        let port = |port| matches!(seen.protocol, 6 | 17).then_some(port);
        Self {
            eni,
            eni_id,
            direction: direction(seen.direction).to_owned(),
            protocol: protocol(seen.protocol),
            source: seen.source,
            source_port: port(seen.source_port),
            destination: seen.destination,
            destination_port: port(seen.destination_port),
            action: seen.action().as_str().to_owned(),
            stage: seen.ground.stage().to_owned(),
            rule,
            reason: seen.ground.as_str(seen.direction).to_owned(),
            tcp_flags: seen.tcp_flags,
            packets: seen.packets,
            bytes: seen.bytes,
            packets_per_second: packets as f64 / f64::from(interval),
            bits_per_second: (bytes * 8) as f64 / f64::from(interval),
            first: seen.first,
            last: seen.last,
        }
    }

    fn row(&self, at: u32) -> [String; 14] {
        [
            self.action.clone(),
            self.eni.clone(),
            self.direction.clone(),
            self.protocol.clone(),
            end(self.source, self.source_port),
            end(self.destination, self.destination_port),
            format!("{:.1}", self.packets_per_second),
            numbers::bits(self.bits_per_second),
            self.packets.to_string(),
            numbers::bytes(self.bytes),
            or_dash(self.rule.as_deref()).to_owned(),
            self.reason.clone(),
            flags(self.tcp_flags),
            whole_time(at.saturating_sub(self.last)),
        ]
    }
}

impl FlowsReport {
    /// Whether rates have been watched for a whole interval.
    pub(crate) const fn has_rates(&self) -> bool {
        self.watched_seconds >= self.interval_seconds + RATES_LAG
    }

    /// Writes the table.
    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        use Column::{Left, Right};
        let titles = [
            Left("ACTION"),
            Left("ENI"),
            Left("DIRECTION"),
            Left("PROTOCOL"),
            Left("SOURCE"),
            Left("DESTINATION"),
            Right("PACKETS/S"),
            Right("BITS/S"),
            Right("PACKETS"),
            Right("BYTES"),
            Left("RULE"),
            Left("BECAUSE OF"),
            Left("FLAGS"),
            Right("AGO"),
        ];
        let mut table = Table::new(&titles);
        self.flows.iter().for_each(|flow| table.row(flow.row(self.at)));
        if !self.flows.is_empty() {
            table.write_with(out, |action| if action == "REJECT" { BAD } else { GOOD })?;
        }
        self.write_sum(out)
    }

    fn write_sum(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { total, forgotten, lost_packets, .. } = *self;
        let (shown, flows) = (self.flows.len(), count(total, "flow"));
        let watched = whole_time(self.watched_seconds);
        let (what, more) =
            if shown < total { (format!("{shown} of {flows}"), "; see --limit") } else { (flows, "") };
        writeln!(out, "{what} {FAINT}(watched for {watched}{more}){FAINT:#}")?;
        if forgotten > 0 {
            writeln!(out, "{NOTABLE}{forgotten} more have left for lack of room{NOTABLE:#}")?;
        }
        if lost_packets > 0 {
            writeln!(
                out,
                "{NOTABLE}packets that are in no flow, for lack of room: {lost_packets}{NOTABLE:#}"
            )?;
        }
        Ok(())
    }
}

/// Seconds, or the two largest units.
fn whole_time(seconds: u32) -> String {
    if seconds < 60 { format!("{seconds}s") } else { numbers::time(seconds.into()) }
}

/// A letter for each flag, as `explain` has them.
fn flags(flags: u8) -> String {
    let letters = [(2, 'S'), (16, 'A'), (1, 'F'), (4, 'R')];
    let text: String =
        letters.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, letter)| letter).collect();
    or_dash(Some(&text)).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow() -> Flow {
        Flow {
            eni: "web-1".to_owned(),
            eni_id: "eni-1".to_owned(),
            direction: "ingress".to_owned(),
            protocol: "tcp".to_owned(),
            source: "10.0.1.10".parse().unwrap(),
            source_port: Some(40000),
            destination: "2001:db8::1".parse().unwrap(),
            destination_port: Some(22),
            action: "REJECT".to_owned(),
            stage: "security-group".to_owned(),
            rule: Some("default".to_owned()),
            reason: "group-ingress".to_owned(),
            tcp_flags: 2,
            packets: 3,
            bytes: 1800,
            packets_per_second: 1.5,
            bits_per_second: 7200.0,
            first: 1000,
            last: 1007,
        }
    }

    fn report(flows: Vec<Flow>, total: usize) -> FlowsReport {
        let (forgotten, lost_packets) = (0, 0);
        FlowsReport {
            at: 1010,
            watched_seconds: 75,
            interval_seconds: 2,
            total,
            forgotten,
            lost_packets,
            flows,
        }
    }

    fn text(report: &FlowsReport) -> String {
        let mut out = anstream::StripStream::new(Vec::new());
        report.write(&mut out).unwrap();
        String::from_utf8(out.into_inner()).unwrap()
    }

    #[test]
    fn flows_are_a_table() {
        let ping = Flow {
            protocol: "icmp".to_owned(),
            source_port: None,
            destination_port: None,
            action: "ACCEPT".to_owned(),
            rule: None,
            reason: "tracked".to_owned(),
            tcp_flags: 0,
            ..flow()
        };
        let expected = "\
ACTION  ENI    DIRECTION  PROTOCOL  SOURCE           DESTINATION       PACKETS/S  BITS/S  PACKETS   BYTES  RULE     BECAUSE OF     FLAGS  AGO
REJECT  web-1  ingress    tcp       10.0.1.10:40000  [2001:db8::1]:22        1.5   7.2 k        3  1.8 kB  default  group-ingress  S       3s
ACCEPT  web-1  ingress    icmp      10.0.1.10        2001:db8::1             1.5   7.2 k        3  1.8 kB  -        tracked        -       3s
2 of 5 flows (watched for 1m15s; see --limit)
";
        assert_eq!(text(&report(vec![flow(), ping], 5)), expected);
    }

    #[test]
    fn what_is_not_there_is_told() {
        let nothing = report(Vec::new(), 0);
        assert_eq!(text(&nothing), "0 flows (watched for 1m15s)\n");
        let less = FlowsReport { forgotten: 4096, lost_packets: 7, ..nothing };
        let text = text(&less);
        assert!(text.contains("\n4096 more have left for lack of room\n"), "{text}");
        assert!(text.ends_with("\npackets that are in no flow, for lack of room: 7\n"), "{text}");
    }

    #[test]
    fn rejections_are_red_and_the_rest_is_not() {
        let mut out = Vec::new();
        report(vec![flow()], 1).write(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains(&format!("{BAD}REJECT{BAD:#} ")), "{text}");
    }

    #[test]
    fn flags_have_letters() {
        assert_eq!([0, 2, 18, 3, 19, 4].map(flags), ["-", "S", "SA", "SF", "SAF", "R"]);
    }

    #[test]
    fn the_keys_of_the_json_form_stay() {
        let json = serde_json::to_value(report(vec![flow()], 1)).unwrap();
        let expected = serde_json::json!({
            "at": 1010, "watched_seconds": 75, "interval_seconds": 2, "total": 1, "forgotten": 0, "lost_packets": 0,
            "flows": [{
                "eni": "web-1", "eni_id": "eni-1", "direction": "ingress", "protocol": "tcp",
                "source": "10.0.1.10", "source_port": 40000, "destination": "2001:db8::1", "destination_port": 22,
                "action": "REJECT", "stage": "security-group", "rule": "default", "reason": "group-ingress",
                "tcp_flags": 2, "packets": 3, "bytes": 1800, "packets_per_second": 1.5, "bits_per_second": 7200.0,
                "first": 1000, "last": 1007
            }]
        });
        assert_eq!(json, expected);
    }
}
