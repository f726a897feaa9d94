//! What is generated from the command line's own definition: completions and manual pages; and the schema.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::{Cli, FileKind};
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
        screen.out.write_all(main_page()?.as_bytes())?;
        return screen.out.flush().map(|()| Exit::Ok);
    };
    match write_pages(dir) {
        Ok(()) => Ok(Exit::Ok),
        Err(error) => {
            let failure = Failure::file("write manual pages into", dir, &error);
            screen.failure(&failure).map(|()| failure.exit)
        }
    }
}

fn write_pages(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    clap_mangen::generate_to(command(), dir)?;
    fs::write(dir.join("palisade.1"), main_page()?)
}

/// The page of the program, with what stands behind the help text in the sections where readers of manuals look for it.
fn main_page() -> io::Result<String> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command()).render(&mut page)?;
    let mut page = String::from_utf8(page).map_err(io::Error::other)?;
    for (here, there) in [
        (".SH EXTRA\nExit status:\n", ".SH \"EXIT STATUS\"\n"),
        ("\nEnvironment:\n", "\n.SH ENVIRONMENT\n"),
        ("\nFiles:\n", "\n.SH FILES\n"),
    ] {
        page = page.replacen(here, there, 1);
    }
    Ok(page)
}

/// Writes the JSON Schema of a kind of file.
pub(crate) fn schema(screen: &mut Screen, of: FileKind) -> io::Result<Exit> {
    let schema = match of {
        FileKind::Config => palisade_policy::draft::schema(),
        FileKind::Scenario => palisade_scenario::schema(),
    };
    screen.json(&schema).map(|()| Exit::Ok)
}

/// The definition without the help command, which needs no page.
fn command() -> clap::Command {
    Cli::command().disable_help_subcommand(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_page_has_the_usual_sections() {
        let page = main_page().unwrap();
        for section in
            ["NAME", "SYNOPSIS", "OPTIONS", "SUBCOMMANDS", "\"EXIT STATUS\"", "ENVIRONMENT", "FILES"]
        {
            assert!(page.contains(&format!(".SH {section}\n")), "{section} is missing:\n{page}");
        }
        assert!(!page.contains("EXTRA"));
    }

    #[test]
    fn every_command_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        write_pages(dir.path()).unwrap();
        for subcommand in command().get_subcommands() {
            let page = dir.path().join(format!("palisade-{}.1", subcommand.get_name()));
            assert!(page.exists(), "{}", page.display());
        }
    }
}
