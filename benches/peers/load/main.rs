//! Traffic for the comparison with peers that no packaged tool makes exactly: small datagrams at full speed, connections at full
//! rate, round trips of one byte; and probes of what a filter lets through.
//!
//! `benches/peers` runs it inside the namespaces of the two ends. Every command ends by itself and prints one JSON object.
#![forbid(unsafe_code)]

mod connections;
mod datagrams;
mod probes;
mod round_trips;

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use serde_json::Value;

use probes::Probe;

/// Traffic between two ends.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Count datagrams until none has come for a while.
    Sink {
        /// UDP port.
        port: u16,
    },
    /// Send datagrams of 64 bytes as fast as the socket takes them.
    Blast {
        /// Where to.
        to: SocketAddrV4,
        /// For so many seconds.
        seconds: f64,
    },
    /// Accept connections, answer one byte, close first: the ports of the client are free at once.
    Accept {
        /// TCP port.
        port: u16,
        /// For so many seconds.
        seconds: f64,
    },
    /// Connect, send a byte, receive a byte, see the end; again and again, sixteen at a time.
    Connect {
        /// Where to.
        to: SocketAddrV4,
        /// For so many seconds.
        seconds: f64,
    },
    /// Send back each byte of one connection.
    Echo {
        /// TCP port.
        port: u16,
    },
    /// Send a byte, wait for it to come back; again and again on one connection.
    Ask {
        /// Where to.
        to: SocketAddrV4,
        /// For so many seconds.
        seconds: f64,
    },
    /// Answer probes.
    Answer {
        /// For so many seconds.
        seconds: f64,
        /// Ports, such as tcp:5201.
        ports: Vec<Probe>,
    },
    /// Ask ports all at once whether they answer.
    Probe {
        /// Whom.
        host: Ipv4Addr,
        /// Seconds until a port counts as silent.
        patience: f64,
        /// Ports, such as udp:5201.
        ports: Vec<Probe>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(result) => match writeln!(io::stdout(), "{result}") {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => {
            let _ = writeln!(io::stderr(), "load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> io::Result<Value> {
    match command {
        Command::Sink { port } => datagrams::sink(port),
        Command::Blast { to, seconds } => datagrams::blast(to, Duration::from_secs_f64(seconds)),
        Command::Accept { port, seconds } => connections::accept(port, Duration::from_secs_f64(seconds)),
        Command::Connect { to, seconds } => connections::connect(to, Duration::from_secs_f64(seconds)),
        Command::Echo { port } => round_trips::echo(port),
        Command::Ask { to, seconds } => round_trips::ask(to, Duration::from_secs_f64(seconds)),
        Command::Answer { seconds, ports } => probes::answer(&ports, Duration::from_secs_f64(seconds)),
        Command::Probe { host, patience, ports } => {
            probes::probe(host, &ports, Duration::from_secs_f64(patience))
        }
    }
}
