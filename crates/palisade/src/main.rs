//! Palisade: the traffic controls of an Amazon VPC on real packets.
//!
//! The binary: command line, assembly of the daemon, control socket, output. It knows nothing of how a packet is judged.
#![forbid(unsafe_code)]

mod ask;
mod check;
mod cli;
mod compiled;
mod control;
mod daemon;
mod failure;
mod flows;
mod interrupt;
mod lab;
mod lint;
mod logging;
mod pages;
mod report;
mod run;
mod scenario;
mod screen;
mod service_manager;
mod table;
mod view;

use std::io;
use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command, When};
use crate::failure::Exit;
use crate::screen::Screen;

fn main() -> ExitCode {
    let Cli { look, command } = Cli::parse();
    let mut screen = Screen::standard(look);
    match execute(&mut screen, look.color, command) {
        Ok(exit) => exit.into(),
        // Whoever read the output has seen enough, as in `palisade conns | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Ok.into(),
        Err(_) => Exit::Failed.into(),
    }
}

/// Carries out a command. Errors are those of writing its output.
fn execute(screen: &mut Screen, color: When, command: Command) -> io::Result<Exit> {
    match command {
        Command::Run(request) => run::run(screen, color, &request),
        Command::Check(request) => check::check(screen, &request),
        Command::Schema(request) => pages::schema(screen, request.of),
        Command::Lint(request) => lint::lint(screen, &request),
        Command::Completions(request) => pages::completions(screen, request.shell),
        Command::Man(request) => pages::man(screen, request.dir.as_deref()),
        Command::Status(request) => ask::status(screen, &request),
        Command::Conns(request) => ask::conns(screen, &request),
        Command::Rules(request) => ask::rules(screen, &request),
        Command::Mirror(request) => ask::mirror(screen, &request),
        Command::Explain(request) => ask::explain(screen, &request),
        Command::Flows(request) => flows::flows(screen, &request),
        Command::Reload(request) => ask::reload(screen, &request),
        Command::Scenario(request) => scenario::play(screen, &request),
    }
}
