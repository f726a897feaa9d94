//! `palisade run`: the life of a daemon, from its configuration file to its totals.

use std::io::{self, Write as _};
use std::os::unix::net::UnixListener as StdListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use palisade_io::TakeoverMethod;
use palisade_policy::model::Vpc;
use palisade_runtime::{Clock, Dataplane};
use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;

use crate::check;
use crate::cli::{Format, LogFormat, Run, Takeover, When};
use crate::control::server;
use crate::control::socket::{self, ControlSocket};
use crate::daemon::{Daemon, Opener, Settings, engine};
use crate::failure::{Exit, Failure};
use crate::logging;
use crate::report::totals::TotalsReport;
use crate::screen::Screen;
use crate::service_manager;

/// Runs a daemon until it is told to stop.
pub(crate) fn run(screen: &mut Screen, color: When, request: &Run) -> io::Result<Exit> {
    let vpc = match check::load(&request.config) {
        Ok(vpc) => vpc,
        Err(error) => return check::refuse(screen, &request.config, &error),
    };
    match live(color, request, vpc) {
        Ok(totals) => report(screen, request.log.log_format, &totals),
        Err(failure) => screen.failure(&failure).map(|()| failure.exit),
    }
}

/// Everything between a good configuration and the totals. Any error before forwarding begins undoes what was done.
fn live(color: When, request: &Run, vpc: Vpc) -> Result<TotalsReport, Failure> {
    logging::start(&request.log, color)?;
    let config = std::path::absolute(&request.config)
        .map_err(|error| Failure::file("find the directory of", &request.config, &error))?;
    let path = socket::path(request.socket.as_deref(), &vpc);
    let (control, listener) = ControlSocket::claim(&path)?;
    let runtime = control_runtime()?;
    // Before the first device: a signal during the start is obeyed after it, when everything can be undone.
    let signals = runtime.block_on(async { Signals::listen() })?;
    let daemon = Arc::new(start(config, vpc, request)?);
    tracing::info!(
        ports = daemon.port_count(),
        config = %daemon.config().display(),
        socket = %control.path().display(),
        "forwarding"
    );
    runtime.block_on(serve(&daemon, listener, signals))?;
    drop(control);
    let totals = daemon.stop();
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(totals)
}

/// The control side's own thread and a few more for the work behind answers; workers are not of it.
fn control_runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build().map_err(
        |error| {
            Failure::new(format_args!("cannot start the control side: {error}"), "raise the process limits")
        },
    )
}

fn start(config: PathBuf, vpc: Vpc, request: &Run) -> Result<Daemon, Failure> {
    let takeover = match request.takeover {
        Takeover::Auto => TakeoverMethod::Auto,
        Takeover::Tcx => TakeoverMethod::Tcx,
        Takeover::Nftables => TakeoverMethod::Nftables,
    };
    let devices = Arc::new(Opener { capture: request.capture.clone() });
    let engine = engine(&vpc);
    let (judge, clock) = (Arc::clone(&engine) as _, Clock::system());
    Daemon::start(config, vpc, Settings { takeover, engine, judge, devices, clock })
}

/// The signals that a daemon obeys.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::new(format_args!("cannot listen for signals: {error}"), ""))
        };
        Ok(Self {
            hangup: listen(SignalKind::hangup())?,
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }
}

/// Answers clients and signals until it is time to stop.
async fn serve(daemon: &Arc<Daemon>, listener: StdListener, mut signals: Signals) -> Result<(), Failure> {
    let broken =
        |error: io::Error| Failure::new(format_args!("cannot serve the control socket: {error}"), "");
    listener.set_nonblocking(true).map_err(broken)?;
    let listener = UnixListener::from_std(listener).map_err(broken)?;
    let backend = Arc::clone(daemon);
    let server = tokio::spawn(server::serve(listener, backend));
    service_manager::ready();
    let mut look = tokio::time::interval(Dataplane::LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = look.tick(), if daemon.leaves_workers_to_the_load() => balance(daemon),
            _ = signals.hangup.recv() => reload(daemon).await,
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
        }
    }
    tracing::info!("stopping");
    service_manager::stopping();
    server.abort();
    Ok(())
}

/// A worker that does not answer is told in the log; it is waited for once, since its port is not moved again.
fn balance(daemon: &Daemon) {
    if let Err(error) = daemon.dataplane().balance() {
        tracing::warn!(%error, "a port could not be moved to another worker");
    }
}

/// SIGHUP: as `palisade reload`, told in the log.
async fn reload(daemon: &Arc<Daemon>) {
    let daemon = Arc::clone(daemon);
    // The daemon tells the log itself what came of it.
    let done = tokio::task::spawn_blocking(move || drop(daemon.reload())).await;
    if done.is_err() {
        tracing::error!(
            "the reload failed by a fault of the daemon; what is in force is uncertain, restart it"
        );
    }
}

fn report(screen: &mut Screen, log: LogFormat, totals: &TotalsReport) -> io::Result<Exit> {
    if log == LogFormat::Json {
        let json = serde_json::to_string(totals)?;
        tracing::info!(totals = json, "stopped");
    }
    if !totals.lawful {
        tracing::error!("a conservation law is broken: packets or connections were not all accounted for");
    }
    match screen.format {
        Format::Json => screen.json_line(totals)?,
        Format::Table => totals.write(&mut screen.out).and_then(|()| screen.out.flush())?,
    }
    Ok(if totals.lawful { Exit::Ok } else { Exit::Failed })
}
