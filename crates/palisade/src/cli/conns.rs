//! `palisade conns`: listing connections and ending some.

use clap::{ArgAction, Args, Subcommand};

use super::Client;

/// List tracked connections, or end some of them
///
/// FILTER words choose; a connection is meant if all of them are true of it:
///
///   eni=NAME                  an entry of this network interface, by name or id
///   proto=PROTOCOL            tcp, udp, icmp, icmpv6 or a number
///   local=ADDRESS             the address on the interface's side: an address, or a CIDR block
///   remote=ADDRESS            the address on the other side
///   port=PORT                 the port of either side: a port, or a range such as 1024-65535
///   local-port=PORT           the port on the interface's side
///   remote-port=PORT          the port on the other side
///   state=STATE               as the table shows it, such as established
///   origin=egress|ingress     opened by the interface's own guest, or by the other side
///   would-refuse              today's rules would not let it be opened; a VPC that is strict has cut it
///
/// A connection between two interfaces has an entry at each.
#[derive(Debug, Args)]
#[command(mut_arg("socket", |arg| arg.global(true)), verbatim_doc_comment)]
pub(crate) struct Conns {
    #[command(subcommand)]
    pub(crate) action: Option<Action>,
    #[command(flatten)]
    pub(crate) client: Client,
    /// Which connections; absent: all of them
    #[arg(value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
    /// Only those of this network interface, by name or id, as the word eni=ENI
    #[arg(long, value_name = "ENI", global = true)]
    pub(crate) eni: Option<String>,
    /// Only those that today's rules would not let be opened, as the word of the same name
    #[arg(long, action = ArgAction::SetTrue, global = true)]
    pub(crate) would_refuse: bool,
    /// Most connections to list
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000), global = true)]
    pub(crate) limit: u32,
}

/// What is done to connections, besides listing them.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    Kill(Kill),
}

/// End tracked connections, and list what was ended
///
/// FILTER words choose, as `palisade conns --help` explains them; all of them must be true of a connection.
///
/// What ends is what the security groups remember. The packets that come after are judged by rules, like any packet
/// without a connection: one that a rule allows passes. So end a connection after the rule that allows it is gone, or
/// where the other direction has no rule.
///
/// Exit status 1 if no connection is meant.
#[derive(Debug, Args)]
pub(crate) struct Kill {
    /// Which connections
    #[arg(value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
    /// Every connection of the VPC
    #[arg(long, action = ArgAction::SetTrue)]
    pub(crate) all: bool,
    /// List what would be ended, and end nothing
    #[arg(long, action = ArgAction::SetTrue)]
    pub(crate) dry_run: bool,
}

impl Conns {
    /// The filter words, those that options stand for and those of `kill` included.
    pub(crate) fn words(&self) -> Vec<String> {
        let eni = self.eni.iter().map(|name| format!("eni={name}"));
        let refused = self.would_refuse.then(|| "would-refuse".to_owned());
        let more = self.action.iter().flat_map(|Action::Kill(kill)| &kill.filter);
        self.filter.iter().chain(more).cloned().chain(eni).chain(refused).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser as _;
    use clap::error::ErrorKind;

    use super::*;
    use crate::cli::{Cli, Command};

    fn conns(line: &[&str]) -> Result<Conns, ErrorKind> {
        let line = ["palisade", "conns"].iter().chain(line);
        match Cli::try_parse_from(line).map_err(|error| error.kind())?.command {
            Command::Conns(conns) => Ok(conns),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_are_words_like_others() {
        assert_eq!(conns(&[]).unwrap().words(), [""; 0]);
        assert_eq!(conns(&["proto=tcp", "port=22"]).unwrap().words(), ["proto=tcp", "port=22"]);
        let all = conns(&["port=22", "--eni", "a", "--would-refuse", "--limit", "5"]).unwrap();
        assert_eq!(all.words(), ["port=22", "eni=a", "would-refuse"]);
        assert_eq!(all.limit, 5);
        assert_eq!(conns(&["--limit", "0"]).unwrap_err(), ErrorKind::ValueValidation);
    }

    #[test]
    fn nothing_that_narrows_what_is_ended_is_lost() {
        for line in [
            &["kill", "port=22", "--eni", "a", "--would-refuse", "--socket", "s"][..],
            &["--socket", "s", "--would-refuse", "--eni", "a", "kill", "port=22"],
        ] {
            let conns = conns(line).unwrap();
            assert!(
                matches!(&conns.action, Some(Action::Kill(kill)) if !kill.all && !kill.dry_run),
                "{line:?}"
            );
            assert_eq!(conns.words(), ["port=22", "eni=a", "would-refuse"], "{line:?}");
            assert_eq!(conns.client.socket.as_deref(), Some(Path::new("s")), "{line:?}");
        }
        let listing = conns(&["eni=a", "kill", "port=22"]).unwrap();
        assert!(listing.action.is_none(), "after a filter word `kill` is another, which the daemon refuses");
        assert_eq!(listing.words(), ["eni=a", "kill", "port=22"]);
    }
}
