//! `palisade flows`: flows that are watched, and what published flow logs say.

use std::path::PathBuf;

use clap::{ArgAction, Args, Subcommand, ValueHint};

use super::Client;
use crate::control::protocol::{FlowOrder, FlowsRequest, INTERVALS, MAX_FLOWS, Request};

/// Watch flows, or read published flow logs
///
/// Shows who talks to whom: rates, packets, bytes, the verdict and the rule that decided. Each flow
/// is shown at both of its interfaces, as flow logs tell it, whether or not there are any. The daemon
/// counts from the first request on, and until half a minute after the last one; so the first answer
/// takes a few seconds.
///
/// FILTER words choose; a flow is meant if all of them are true of it:
///
///   eni=NAME                  seen at this network interface, by name or id
///   direction=egress|ingress  sent by the interface, or received
///   action=ACCEPT|REJECT      the verdict there
///   ADDRESS                   an address or a CIDR block that either end is of
///   src=ADDRESS               the source
///   dst=ADDRESS               the destination
///   port=PORT                 the port of either end: a port, or a range such as 1024-65535
///   srcport=PORT              the source port
///   dstport=PORT              the destination port
///   protocol=PROTOCOL         tcp, udp, icmp, icmpv6 or a number
///   rule=RULE                 the rule that decided: sgr-…, acl-…/120, or default (no match)
///   stage=STAGE               what decided: security-group, network-acl or commit
///   reason=REASON             why, as the table shows it, such as tracked or group-ingress
///
///   palisade flows --follow action=REJECT
///   palisade flows eni=db-1 port=5432 10.0.1.0/24 --sort bytes --limit 10
///
/// Rates are those of the last complete interval, which ends two seconds before the present.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Flows {
    #[command(subcommand)]
    pub(crate) action: Option<FlowsAction>,
    #[command(flatten)]
    pub(crate) client: Client,
    /// Which flows; absent: all of them
    #[arg(value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
    /// Go on until interrupted: draw anew on a terminal, write one table below the other elsewhere, or one JSON object per
    /// line
    #[arg(long, short, action = ArgAction::SetTrue)]
    pub(crate) follow: bool,
    /// Seconds between two pictures, and over which rates are taken; 1 to 10, absent: 2
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u8).range(i64::from(*INTERVALS.start())..=i64::from(*INTERVALS.end())))]
    pub(crate) interval: Option<u8>,
    /// Which come first; absent: rate
    #[arg(long, value_enum, value_name = "ORDER")]
    pub(crate) sort: Option<FlowOrder>,
    /// Most flows to list; absent: 50
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_FLOWS)))]
    pub(crate) limit: Option<u32>,
}

/// What is done besides watching.
#[derive(Debug, Subcommand)]
pub(crate) enum FlowsAction {
    Read(Read),
}

impl Flows {
    /// What is asked of the daemon.
    pub(crate) fn question(&self) -> Request {
        let default = FlowsRequest::default();
        Request::Flows(FlowsRequest {
            filter: self.filter.clone(),
            sort: self.sort.unwrap_or(default.sort),
            limit: self.limit.unwrap_or(default.limit),
            interval: self.interval(),
        })
    }

    /// Seconds between two pictures.
    pub(crate) fn interval(&self) -> u8 {
        self.interval.unwrap_or(FlowsRequest::default().interval)
    }

    /// Whether nothing says what is to be watched, or how.
    pub(crate) fn is_bare(&self) -> bool {
        let Self { filter, follow, interval, sort, limit, action: _, client: _ } = self;
        filter.is_empty() && !follow && interval.is_none() && sort.is_none() && limit.is_none()
    }
}

/// Sum up published files of flow logs
///
/// Reads files as a VPC's flow logs publish them to S3: Parquet, or text with a header, compressed or not, with whatever
/// fields. Of folders every .log, .gz and .parquet file below is read. Shows what was accepted and rejected, who sent most, and what rejected
/// most: by rule where the records name it (palisade-rule), else by destination port.
///
///   palisade flows read logs/
///   palisade flows read logs/ --where 'action=REJECT and dstport=22'
///   palisade flows read logs/ --where 'address=10.0.1.0/24 and bytes>1000000' --records
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Read {
    /// Files, or folders of them
    #[arg(required = true, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
    /// Only records of which this is true: FIELD=VALUE, or != < <= > >=, with `and` between comparisons. Fields are called
    /// as in formats; `address` and `port` mean either end, `eni` is interface-id; addresses may be CIDR blocks, numbers ranges
    #[arg(long = "where", value_name = "CONDITIONS")]
    pub(crate) conditions: Option<String>,
    /// Write the records themselves, under the names of their fields, or one JSON object per line
    #[arg(long)]
    pub(crate) records: bool,
    /// Rows of each list
    #[arg(long, value_name = "N", default_value_t = 10, conflicts_with = "records")]
    pub(crate) top: usize,
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use clap::error::ErrorKind;

    use super::*;
    use crate::cli::{Cli, Command};

    fn flows(line: &[&str]) -> Result<Flows, ErrorKind> {
        let line = ["palisade", "flows"].iter().chain(line);
        match Cli::try_parse_from(line).map_err(|error| error.kind())?.command {
            Command::Flows(flows) => Ok(flows),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_asked_is_what_was_written() {
        assert_eq!(flows(&[]).unwrap().question(), Request::Flows(FlowsRequest::default()));
        let line = ["eni=a", "--follow", "10.0.0.0/8", "--sort", "last", "--limit", "5", "--interval", "1"];
        let all = flows(&line).unwrap();
        let filter = vec!["eni=a".to_owned(), "10.0.0.0/8".to_owned()];
        let expected = FlowsRequest { filter, sort: FlowOrder::Last, limit: 5, interval: 1 };
        assert_eq!((all.question(), all.follow), (Request::Flows(expected), true));
        for wrong in [["--limit", "0"], ["--limit", "65537"], ["--interval", "0"], ["--interval", "11"]] {
            assert_eq!(flows(&wrong).unwrap_err(), ErrorKind::ValueValidation, "{wrong:?}");
        }
        assert_eq!(flows(&["--sort", "size"]).unwrap_err(), ErrorKind::InvalidValue);
    }

    #[test]
    fn reading_files_is_no_watching() {
        let read = flows(&["read", "logs", "--top", "3"]).unwrap();
        assert!(matches!(read.action, Some(FlowsAction::Read(Read { top: 3, .. }))) && read.is_bare());
        assert!(!flows(&["--follow", "read", "logs"]).unwrap().is_bare());
        let word = flows(&["eni=a", "read"]).unwrap();
        assert!(word.action.is_none(), "after a filter word `read` is another, which the daemon refuses");
    }
}
