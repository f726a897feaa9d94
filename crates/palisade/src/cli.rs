//! The command line: what can be asked for and how it is explained.

mod conns;
mod flows;
mod lint;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;

pub(crate) use conns::{Action, Conns, Kill};
pub(crate) use flows::{Flows, FlowsAction, Read};
pub(crate) use lint::Lint;

const AFTER_HELP: &str = "\
Exit status:
  0  it is done, or the answer is yes
  1  the answer is no: a configuration has errors, a reload is refused, a scenario fails, a packet is not delivered
     (explain --exit-code), no connection is meant (conns kill), a finding is denied (lint --deny)
  2  the command line is wrong: an option, a packet that is none, a name that the VPC does not have
  3  no daemon answers: none runs, several run and none was named, or its socket may not be opened
  4  something failed: a file cannot be read, a device cannot be opened, another daemon is at work, a daemon that stops
     cannot account for all packets and connections

Environment:
  PALISADE_SOCKET  control socket of the daemon, as --socket
  PALISADE_LOG     what `run` logs, as --log-level
  NO_COLOR         no colour, whatever the output is

Files:
  /run/palisade/VPC-ID.sock  control socket, unless the configuration or --socket says otherwise";

/// The traffic controls of an Amazon VPC on real packets.
///
/// Palisade forwards packets between the network interfaces of a VPC that one file describes, and applies its network ACLs
/// and security groups on the way.
#[derive(Debug, Parser)]
#[command(name = "palisade", version, after_long_help = AFTER_HELP, propagate_version = true)]
#[command(arg_required_else_help = true, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) look: Look,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How results are written.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Look {
    /// Form of the results on standard output
    #[arg(long, short, value_enum, global = true, default_value_t, value_name = "FORM")]
    pub(crate) output: Format,
    /// When to use colour; `auto` means on a terminal
    #[arg(long, value_enum, global = true, default_value_t, value_name = "WHEN")]
    pub(crate) color: When,
}

/// Form of results.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub(crate) enum Format {
    /// Tables and sentences
    #[default]
    Table,
    /// JSON documents
    Json,
}

/// When to use colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub(crate) enum When {
    /// On a terminal, unless the environment variable `NO_COLOR` is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(Run),
    Check(Check),
    Lint(Lint),
    Schema(Schema),
    Status(Status),
    Conns(Conns),
    Rules(Rules),
    Mirror(Mirror),
    Explain(Explain),
    Flows(Flows),
    Reload(Reload),
    Scenario(Scenario),
    Completions(Completions),
    Man(Man),
}

/// Run the daemon in the foreground
///
/// Opens the devices, forwards, and tells the service manager when it does. SIGHUP reads the configuration again;
/// SIGTERM and SIGINT stop it, remove what it made and report totals. If anything fails at the start, nothing is
/// forwarded. An error in a configuration that is read again leaves the one in force untouched.
#[derive(Clone, Debug, Args)]
pub(crate) struct Run {
    /// Configuration file
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) config: PathBuf,
    /// Control socket to make; absent: the configuration's, else /run/palisade/VPC-ID.sock
    #[arg(long, value_name = "PATH", env = "PALISADE_SOCKET", value_hint = ValueHint::FilePath)]
    pub(crate) socket: Option<PathBuf>,
    /// Write what crosses each port to a file in this directory, DIR/PORT.pcapng
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) capture: Option<PathBuf>,
    /// How the kernel's own stack is kept off the interfaces of packet attachments
    #[arg(long, value_enum, default_value_t, value_name = "METHOD")]
    pub(crate) takeover: Takeover,
    #[command(flatten)]
    pub(crate) log: Log,
}

/// How the kernel's own stack is kept off an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub(crate) enum Takeover {
    /// tcx, or nftables where the kernel lacks it
    #[default]
    Auto,
    /// A BPF program at the tcx hooks (Linux 6.6)
    Tcx,
    /// An nftables table of family netdev (Linux 5.16)
    Nftables,
}

/// What the daemon logs on standard error.
#[derive(Clone, Debug, Args)]
pub(crate) struct Log {
    /// Form of the log
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub(crate) log_format: LogFormat,
    /// Least severe level logged, of all or per module: `warn`, `info,palisade_io=debug`
    #[arg(long, value_name = "LEVELS", env = "PALISADE_LOG", default_value = "info")]
    pub(crate) log_level: String,
}

/// Form of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people
    #[default]
    Human,
    /// One JSON object per line
    Json,
}

/// Check configuration files and say everything that is wrong with them
///
/// With `--output json`, one document per file: the VPC with every default filled in, or the errors.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Configuration files
    #[arg(required = true, value_name = "CONFIG", value_hint = ValueHint::FilePath)]
    pub(crate) configs: Vec<PathBuf>,
    /// Also list subnets, rules, interfaces and services as they were understood, and every rule set as it is compiled:
    /// kind of classifier, memory, time to build, and how many share it
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

/// Print the JSON Schema of a kind of file, for editors
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Schema {
    /// The kind of file
    #[arg(value_enum, default_value_t, value_name = "KIND")]
    pub(crate) of: FileKind,
}

/// A kind of file that people write.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub(crate) enum FileKind {
    /// Configuration files
    #[default]
    Config,
    /// Scenario files
    Scenario,
}

/// Play scenario files under a virtual clock, in process or on real devices
///
/// A scenario is a VPC, packets at virtual times, and what must be seen. In process it goes through the same walk as
/// forwarding, and no device is opened. With --netns a whole daemon forwards between network namespaces made for the
/// purpose: frames are sent and looked for at the guests' ends of TAPs and veth pairs. Exit status 1 if any failed.
#[derive(Debug, Args)]
pub(crate) struct Scenario {
    /// Scenario files, or folders of them
    #[arg(required = true, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
    /// Play in network namespaces, on real devices (as root)
    #[arg(long)]
    pub(crate) netns: bool,
    /// How the guests of --netns are attached
    #[arg(long, value_enum, default_value_t, value_name = "KIND", requires = "netns")]
    pub(crate) attach: Attach,
    /// Fail unless so many scenarios were played to their end and passed
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) at_least: usize,
}

/// How the guests of scenarios are attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub(crate) enum Attach {
    /// TAP devices
    Tap,
    /// veth pairs, with a packet socket on the daemon's end
    Packet,
    /// Both in every scenario, which port by which differs from one to the next
    #[default]
    Mixed,
}

/// Which daemon to ask.
#[derive(Clone, Debug, Args)]
pub(crate) struct Client {
    /// Control socket of the daemon; absent: the only one in /run/palisade
    #[arg(long, value_name = "PATH", env = "PALISADE_SOCKET", value_hint = ValueHint::FilePath)]
    pub(crate) socket: Option<PathBuf>,
}

/// Show what the daemon does: ports, packets, drops, connections
#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) client: Client,
}

/// List the rules in force and how many packets each decided
#[derive(Debug, Args)]
pub(crate) struct Rules {
    #[command(flatten)]
    pub(crate) client: Client,
}

/// Look at traffic mirroring
#[derive(Debug, Args)]
pub(crate) struct Mirror {
    #[command(subcommand)]
    pub(crate) action: MirrorAction,
}

/// What is looked at.
#[derive(Debug, Subcommand)]
pub(crate) enum MirrorAction {
    /// List mirror sessions with packets, bytes and drops
    ///
    /// Packets and bytes are those of the copies that were sent, bytes with their envelope. Copies are dropped where the
    /// filters on the way to the target refuse them, where its device takes no more, and, as `mirror-queue`, where more are
    /// owed at a time than may delay the next packets. All counts go on over reloads, as long as a session keeps its id.
    Status(Status),
}

/// Tell what would happen to a packet, stage by stage, and which rule decides
///
/// With a configuration file the answer is that of a daemon that has just started; without one, the running daemon
/// answers, and its connections count. Nothing is sent and nothing is changed.
///
/// A packet is written as `[PORT] PROTOCOL SOURCE > DESTINATION [WORD …]`:
///
///   tcp 10.0.1.10:40000 > 10.0.2.10:443 syn
///   udp 10.0.1.10:5353 > 10.0.2.10:53 len 100
///   icmp 10.0.1.10 > 10.0.2.10 echo-request
///   web-1 tcp 10.9.9.9:1 > 10.0.2.10:443       a forged source, sent by web-1
#[derive(Debug, Args)]
#[command(allow_missing_positional = true, verbatim_doc_comment)]
pub(crate) struct Explain {
    /// Configuration file to judge by; absent: the running daemon
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// The packet, as one argument
    #[arg(required = true)]
    pub(crate) packet: String,
    #[command(flatten)]
    pub(crate) client: Client,
    /// Exit with status 1 unless the packet is delivered
    #[arg(long, action = ArgAction::SetTrue)]
    pub(crate) exit_code: bool,
}

/// Have the daemon read its configuration file again
///
/// The new policy replaces the old one at once for every worker, and established connections live on as AWS has it. If
/// the file has errors, or a new device cannot be opened, nothing changes and the reasons are printed.
#[derive(Debug, Args)]
pub(crate) struct Reload {
    #[command(flatten)]
    pub(crate) client: Client,
}

/// Print a completion script for a shell
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: Shell,
}

/// Print the manual page, or write one page per command into a directory
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Directory for palisade.1, palisade-run.1 and so on; absent: palisade.1 on standard output
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    fn parse(line: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(["palisade"].iter().chain(line))
    }

    fn refused(line: &[&str]) -> ErrorKind {
        parse(line).expect_err("this command line is wrong").kind()
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_option_has_help() {
        let command = Cli::command();
        let nested = command.get_subcommands().flat_map(clap::Command::get_subcommands);
        for command in command.get_subcommands().chain(nested) {
            assert!(command.get_about().is_some(), "{} has no help", command.get_name());
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some(), "{} {} has no help", command.get_name(), arg.get_id());
            }
        }
    }

    #[test]
    fn explain_takes_a_file_or_none() {
        let Command::Explain(alone) = parse(&["explain", "icmp a > b"]).unwrap().command else { panic!() };
        assert_eq!((alone.config, alone.packet.as_str()), (None, "icmp a > b"));
        let Command::Explain(with) = parse(&["explain", "vpc.toml", "icmp a > b"]).unwrap().command else {
            panic!()
        };
        assert_eq!((with.config, with.packet.as_str()), (Some(PathBuf::from("vpc.toml")), "icmp a > b"));
        assert_eq!(refused(&["explain"]), ErrorKind::MissingRequiredArgument);
    }

    #[test]
    fn the_output_form_stands_before_or_behind_the_command() {
        let before = parse(&["--output", "json", "status"]).unwrap();
        let behind = parse(&["status", "--output", "json"]).unwrap();
        assert_eq!((before.look.output, behind.look.output), (Format::Json, Format::Json));
        assert_eq!(parse(&["status"]).unwrap().look.output, Format::Table);
        assert_eq!(refused(&["status", "--output", "xml"]), ErrorKind::InvalidValue);
    }

    #[test]
    fn check_needs_a_file_and_takes_many() {
        let Command::Check(check) = parse(&["check", "a.toml", "b.toml", "-v"]).unwrap().command else {
            panic!()
        };
        assert_eq!(check.configs.len(), 2);
        assert!(check.verbose);
        assert_eq!(refused(&["check"]), ErrorKind::MissingRequiredArgument);
    }

    #[test]
    fn limits_have_bounds() {}

    #[test]
    fn the_client_commands_take_a_socket_and_check_does_not() {
        for command in [&["status"][..], &["conns"], &["flows"], &["reload"], &["explain", "icmp a > b"]] {
            let line = [command, &["--socket", "/tmp/p.sock"]].concat();
            assert!(parse(&line).is_ok(), "{line:?}");
        }
        assert_eq!(refused(&["check", "a.toml", "--socket", "/tmp/p.sock"]), ErrorKind::UnknownArgument);
    }
}
