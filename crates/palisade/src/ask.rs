//! The commands that ask a daemon, and `explain`, which can do without one.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use palisade_conntrack::Instant;
use palisade_engine::{Engine, Now};
use palisade_policy::Snapshot;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::check;
use crate::cli::{Action, Client, Conns, Explain, Format, Kill, Mirror, MirrorAction, Reload, Rules, Status};
use crate::control::client::{self, AskError};
use crate::control::protocol::{Code, ConnsRequest, KillRequest, Refusal, Request};
use crate::daemon::{self, NOTATION_HELP};
use crate::failure::{Exit, Failure};
use crate::report::conns::{ConnsReport, KillReport};
use crate::report::explain::ExplainReport;
use crate::report::mirror::MirrorReport;
use crate::report::reload::ReloadReport;
use crate::report::rules::RulesReport;
use crate::report::status::StatusReport;
use crate::screen::Screen;

/// `palisade status`.
pub(crate) fn status(screen: &mut Screen, request: &Status) -> io::Result<Exit> {
    ask(screen, &request.client, &Request::Status {}, StatusReport::write)
}

/// `palisade conns`.
pub(crate) fn conns(screen: &mut Screen, request: &Conns) -> io::Result<Exit> {
    if let Some(Action::Kill(what)) = &request.action {
        return kill(screen, request, what);
    }
    let question = ConnsRequest { eni: None, filter: request.words(), limit: request.limit };
    ask(screen, &request.client, &Request::Conns(question), ConnsReport::write)
}

/// `palisade conns kill`.
fn kill(screen: &mut Screen, request: &Conns, what: &Kill) -> io::Result<Exit> {
    let (filter, Kill { all, dry_run, .. }) = (request.words(), what);
    if *all != filter.is_empty() {
        let failure = if *all {
            Failure::with(
                Exit::Usage,
                "--all goes with no filter",
                "say --all, or which connections are meant",
            )
        } else {
            Failure::with(
                Exit::Usage,
                "nothing says which connections are meant",
                "name them by FILTER words, see `palisade conns --help`, or say --all",
            )
        };
        return screen.failure(&failure).map(|()| failure.exit);
    }
    let question = KillRequest { filter, all: *all, dry_run: *dry_run, limit: request.limit };
    let mut found = 0;
    let write = |report: &KillReport, out: &mut dyn Write| {
        found = report.ended.total;
        report.write(out)
    };
    let exit = ask(screen, &request.client, &Request::KillConns(question), write)?;
    Ok(if exit == Exit::Ok && found == 0 { Exit::No } else { exit })
}

/// `palisade rules`.
pub(crate) fn rules(screen: &mut Screen, request: &Rules) -> io::Result<Exit> {
    ask(screen, &request.client, &Request::Rules {}, RulesReport::write)
}

/// `palisade mirror status`.
pub(crate) fn mirror(screen: &mut Screen, request: &Mirror) -> io::Result<Exit> {
    let MirrorAction::Status(request) = &request.action;
    ask(screen, &request.client, &Request::Mirror {}, MirrorReport::write)
}

/// `palisade reload`.
pub(crate) fn reload(screen: &mut Screen, request: &Reload) -> io::Result<Exit> {
    ask(screen, &request.client, &Request::Reload {}, ReloadReport::write)
}

/// `palisade explain`.
pub(crate) fn explain(screen: &mut Screen, request: &Explain) -> io::Result<Exit> {
    let mut delivered = false;
    let mut write = |report: &ExplainReport, out: &mut dyn Write| {
        delivered = report.is_delivered();
        report.write(out)
    };
    let exit = if let Some(config) = &request.config {
        explain_alone(screen, config, &request.packet, &mut write)?
    } else {
        let question = Request::Explain { packet: request.packet.clone() };
        ask(screen, &request.client, &question, &mut write)?
    };
    let denied = request.exit_code && exit == Exit::Ok && !delivered;
    Ok(if denied { Exit::No } else { exit })
}

/// By a configuration file, with no connection open.
fn explain_alone(
    screen: &mut Screen,
    config: &Path,
    packet: &str,
    write: &mut dyn FnMut(&ExplainReport, &mut dyn Write) -> io::Result<()>,
) -> io::Result<Exit> {
    let vpc = match check::load(config) {
        Ok(vpc) => vpc,
        Err(error) => return check::refuse(screen, config, &error),
    };
    let now = Now { monotonic: Instant::from_nanos(0), unix: Duration::ZERO };
    match daemon::explain(&Engine::new(1), &Snapshot::compile(vpc, None), now, packet) {
        Ok(report) => show(screen, &report, write).map(|()| Exit::Ok),
        Err(error) => {
            let failure = Failure::with(Exit::Usage, format_args!("`{packet}`: {error}"), NOTATION_HELP);
            screen.failure(&failure).map(|()| failure.exit)
        }
    }
}

/// Asks a daemon; `Err` is how to end if it does not answer or refuses, which the user has been told.
///
/// # Errors
/// Those of writing.
pub(crate) fn answer<T: DeserializeOwned>(
    screen: &mut Screen,
    client: &Client,
    question: &Request,
) -> io::Result<Result<T, Exit>> {
    match client::ask::<T>(client, question) {
        Ok(answer) => Ok(Ok(answer)),
        Err(AskError::Unreachable(failure)) => screen.failure(&failure).map(|()| Err(failure.exit)),
        Err(AskError::Refused(refusal)) => refuse(screen, &refusal).map(Err),
    }
}

/// Asks a daemon and shows its answer.
fn ask<T: Serialize + DeserializeOwned>(
    screen: &mut Screen,
    client: &Client,
    question: &Request,
    mut write: impl FnMut(&T, &mut dyn Write) -> io::Result<()>,
) -> io::Result<Exit> {
    match answer::<T>(screen, client, question)? {
        Ok(answer) => show(screen, &answer, &mut write).map(|()| Exit::Ok),
        Err(exit) => Ok(exit),
    }
}

fn show<T: Serialize>(
    screen: &mut Screen,
    answer: &T,
    write: &mut dyn FnMut(&T, &mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    match screen.format {
        Format::Json => {
            write(answer, &mut io::sink())?;
            screen.json(answer)
        }
        Format::Table => write(answer, &mut screen.out).and_then(|()| screen.out.flush()),
    }
}

fn refuse(screen: &mut Screen, refusal: &Refusal) -> io::Result<Exit> {
    if screen.format == Format::Json {
        screen.json(&Response { ok: false, error: refusal })?;
    }
    if let Some(rendered) = refusal.rendered.as_ref().filter(|_| screen.format == Format::Table) {
        writeln!(screen.err, "{rendered}")?;
    }
    let exit = match refusal.code {
        Code::Busy => Exit::NoDaemon,
        Code::TooLong | Code::Internal => Exit::Failed,
        Code::BadRequest | Code::Unknown => Exit::Usage,
        Code::BadConfig | Code::Failed => Exit::No,
    };
    let failure = Failure::with(exit, &refusal.message, refusal.help.clone());
    screen.failure(&failure).map(|()| exit)
}

/// The document of a refusal.
#[derive(Serialize)]
struct Response<'a> {
    ok: bool,
    error: &'a Refusal,
}
