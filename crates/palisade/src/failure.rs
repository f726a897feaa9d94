//! What a command ends with when it does not end well: a status for scripts, two lines for people.

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

/// How a command ended, as the exit status of the process; see `palisade --help`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// Done, or the answer is yes.
    Ok = 0,
    /// The answer is no.
    No = 1,
    /// The command line is wrong, or names what the VPC does not have.
    Usage = 2,
    /// No daemon answers.
    NoDaemon = 3,
    /// Something failed.
    Failed = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command could not be carried out: one line says what happened, one what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    /// Status to exit with.
    pub(crate) exit: Exit,
    /// What happened.
    pub(crate) what: String,
    /// What to do; empty if `what` says it.
    pub(crate) help: String,
}

impl Failure {
    /// Something failed.
    pub(crate) fn new(what: impl fmt::Display, help: impl Into<String>) -> Self {
        Self::with(Exit::Failed, what, help)
    }

    /// The same with another status.
    pub(crate) fn with(exit: Exit, what: impl fmt::Display, help: impl Into<String>) -> Self {
        Self { exit, what: what.to_string(), help: help.into() }
    }

    /// A file or directory that could not be read or written.
    pub(crate) fn file(doing: &str, path: &Path, error: &std::io::Error) -> Self {
        let help = match error.kind() {
            std::io::ErrorKind::NotFound => "check the path",
            std::io::ErrorKind::PermissionDenied => "check its permissions, or run as root",
            _ => "check the path and the disk",
        };
        Self::new(format_args!("cannot {doing} {}: {error}", path.display()), help)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if self.help.is_empty() { Ok(()) } else { write!(f, "\n{}", self.help) }
    }
}

impl std::error::Error for Failure {}
