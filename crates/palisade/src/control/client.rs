//! The commands' end: finds the daemon, asks, waits for the answer.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::protocol::{self, Refusal, Request, Response};
use super::socket::{DIRECTORY, live_sockets};
use crate::cli::Client;
use crate::failure::{Exit, Failure};

/// How long an answer may take. A reload opens devices, one after the other.
const PATIENCE: Duration = Duration::from_mins(1);

/// Why there is no answer to use.
#[derive(Debug)]
pub(crate) enum AskError {
    /// There is none.
    Unreachable(Failure),
    /// The daemon refuses.
    Refused(Refusal),
}

/// Asks the daemon that a command line means.
///
/// # Errors
/// No daemon, several, or a refusal.
pub(crate) fn ask<T: DeserializeOwned>(client: &Client, request: &Request) -> Result<T, AskError> {
    let path = match &client.socket {
        Some(path) => path.clone(),
        None => only_socket(Path::new(DIRECTORY)).map_err(AskError::Unreachable)?,
    };
    match exchange(&path, request).map_err(AskError::Unreachable)? {
        Response::Ok(answer) => Ok(answer),
        Response::Error(refusal) => Err(AskError::Refused(refusal)),
    }
}

/// The one socket that a daemon listens at.
fn only_socket(dir: &Path) -> Result<PathBuf, Failure> {
    let found = match live_sockets(dir) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(Failure { exit: Exit::NoDaemon, ..Failure::file("read", dir, &error) }),
    };
    match &found[..] {
        [one] => Ok(one.clone()),
        [] => {
            let what = format!("no daemon runs: there is no live socket in {}", dir.display());
            Err(Failure::with(
                Exit::NoDaemon,
                what,
                "start one with `palisade run CONFIG`, or name its socket with --socket",
            ))
        }
        several => {
            let names: Vec<_> = several.iter().map(|path| path.display().to_string()).collect();
            let what = format!("{} daemons run: {}", several.len(), names.join(", "));
            Err(Failure::with(Exit::NoDaemon, what, "say which one with --socket PATH"))
        }
    }
}

fn exchange<T: DeserializeOwned>(path: &Path, request: &Request) -> Result<Response<T>, Failure> {
    let answer = talk(path, request).map_err(|error| unreachable(path, &error))?;
    if answer.is_empty() {
        let what = format!("the daemon at {} hung up without an answer", path.display());
        return Err(Failure::with(Exit::NoDaemon, what, "it may be stopping; see its log"));
    }
    protocol::read(&answer).map_err(|error| {
        let what = format!("the answer from {} cannot be understood: {error}", path.display());
        Failure::new(what, "is it a palisade daemon of this version?")
    })
}

fn talk(path: &Path, request: &Request) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    match stream.write_all(&protocol::write(request)?) {
        // A daemon that has too many clients says so and hangs up at once.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        result => result?,
    }
    let mut answer = Vec::new();
    BufReader::new(stream).read_until(b'\n', &mut answer)?;
    Ok(answer)
}

fn unreachable(path: &Path, error: &io::Error) -> Failure {
    let help = match error.kind() {
        io::ErrorKind::NotFound => {
            "check --socket and PALISADE_SOCKET, or start the daemon with `palisade run CONFIG`"
        }
        io::ErrorKind::ConnectionRefused => "its daemon is dead; start it again with `palisade run CONFIG`",
        io::ErrorKind::PermissionDenied => "run as the daemon's user, usually root",
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "it does not answer; see its log",
        _ => "see the daemon's log",
    };
    Failure::with(Exit::NoDaemon, format_args!("no daemon answers at {}: {error}", path.display()), help)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::thread;

    fn serve_once(path: &Path, answer: &'static str) -> thread::JoinHandle<String> {
        let listener = UnixListener::bind(path).unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut asked).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            asked
        })
    }

    fn ask_at(path: &Path) -> Result<u32, AskError> {
        ask(&Client { socket: Some(path.to_owned()) }, &Request::Version {})
    }

    #[test]
    fn a_question_and_an_answer_are_a_line_each() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.sock");
        let daemon = serve_once(&path, "{\"ok\":7}\n");
        assert_eq!(ask_at(&path).unwrap(), 7);
        assert_eq!(daemon.join().unwrap(), "{\"command\":\"version\"}\n");
    }

    #[test]
    fn a_refusal_is_handed_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.sock");
        let _daemon =
            serve_once(&path, "{\"error\":{\"code\":\"busy\",\"message\":\"no\",\"help\":\"wait\"}}\n");
        let Err(AskError::Refused(refusal)) = ask_at(&path) else { panic!("this is a refusal") };
        assert_eq!(refusal.message, "no");
    }

    #[test]
    fn no_daemon_is_told_apart_from_a_strange_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.sock");
        let Err(AskError::Unreachable(missing)) = ask_at(&path) else { panic!("nobody is there") };
        assert_eq!(missing.exit, Exit::NoDaemon);
        let _daemon = serve_once(&path, "HTTP/1.1 400 Bad Request\r\n");
        let Err(AskError::Unreachable(strange)) = ask_at(&path) else { panic!("this is no answer") };
        assert_eq!(strange.exit, Exit::Failed);
    }

    #[test]
    fn the_only_daemon_is_found_and_several_are_listed() {
        let dir = tempfile::tempdir().unwrap();
        let none = only_socket(dir.path()).expect_err("there is none");
        assert!(none.what.starts_with("no daemon runs"), "{none}");
        let one = dir.path().join("vpc-1.sock");
        let _first = UnixListener::bind(&one).unwrap();
        drop(UnixListener::bind(dir.path().join("vpc-0.sock")).unwrap());
        assert_eq!(only_socket(dir.path()).unwrap(), one, "a dead daemon's socket does not count");
        let _second = UnixListener::bind(dir.path().join("vpc-2.sock")).unwrap();
        let several = only_socket(dir.path()).expect_err("there are two");
        assert!(several.what.contains("vpc-1.sock") && several.what.contains("vpc-2.sock"), "{several}");
        assert!(
            only_socket(&dir.path().join("nowhere")).is_err_and(|failure| failure.exit == Exit::NoDaemon)
        );
    }
}
