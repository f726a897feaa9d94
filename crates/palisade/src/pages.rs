//! What is generated from the command line's own definition: completions and manual pages; and the schema.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::failure::{Exit, Failure};
use crate::screen::Screen;

/// Writes a completion script.
pub(crate) fn completions(screen: &mut Screen, shell: Shell) -> io::Result<Exit> {
    clap_complete::generate(shell, &mut Cli::command(), "palisade", &mut screen.out);
    screen.out.flush().map(|()| Exit::Ok)
}

/// Writes the manual page of the program, or one page per command into a directory.
pub(crate) fn man(screen: &mut Screen, dir: Option<&Path>) -> io::Result<Exit> {
    let Some(dir) = dir else {
        clap_mangen::Man::new(command()).render(&mut screen.out)?;
        return screen.out.flush().map(|()| Exit::Ok);
    };
    let written = fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(command(), dir));
    match written {
        Ok(()) => Ok(Exit::Ok),
        Err(error) => {
            let failure = Failure::file("write manual pages into", dir, &error);
            screen.failure(&failure).map(|()| failure.exit)
        }
    }
}

/// Writes the JSON Schema of a configuration file.
pub(crate) fn schema(screen: &mut Screen) -> io::Result<Exit> {
    screen.json(&palisade_policy::draft::schema()).map(|()| Exit::Ok)
}

/// The definition without the help command, which needs no page.
fn command() -> clap::Command {
    Cli::command().disable_help_subcommand(true)
}
