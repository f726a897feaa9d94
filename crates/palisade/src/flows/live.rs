//! Flows that the daemon sees, once or again and again.

use std::io::{self, Write as _};
use std::time::Duration;

use crate::ask;
use crate::cli::{Flows, Format};
use crate::control::protocol::{FlowsRequest, Request};
use crate::failure::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::report::flows::{FlowsReport, RATES_LAG};
use crate::screen::{FAINT, Screen};

/// Lines of the screen that are no flows: titles, the sum, and what may have to be said besides.
const FRAME: u32 = 4;

/// Carries out `palisade flows` without `read`.
pub(super) fn live(screen: &mut Screen, request: &Flows) -> io::Result<Exit> {
    if !request.follow {
        return once(screen, request);
    }
    match Interrupt::watch() {
        Ok(interrupt) => follow(screen, request, &interrupt),
        Err(error) => {
            let failure =
                Failure::new(format_args!("cannot listen for signals: {error}"), "try it without --follow");
            screen.failure(&failure).map(|()| failure.exit)
        }
    }
}

/// Shows flows. If nobody has watched them so far, there is nothing to show until they are.
fn once(screen: &mut Screen, request: &Flows) -> io::Result<Exit> {
    let question = request.question();
    let begun: FlowsReport = match ask::answer(screen, &request.client, &question)? {
        Ok(report) => report,
        Err(exit) => return Ok(exit),
    };
    if begun.has_rates() {
        return show(screen, &begun);
    }
    let time = (begun.interval_seconds + RATES_LAG).saturating_sub(begun.watched_seconds);
    if screen.format == Format::Table {
        writeln!(screen.err, "{FAINT}watching for {time} seconds{FAINT:#}")?;
    }
    std::thread::sleep(Duration::from_secs(time.into()));
    match ask::answer(screen, &request.client, &question)? {
        Ok(report) => show(screen, &report),
        Err(exit) => Ok(exit),
    }
}

/// Shows flows until a signal comes: one picture in the place of the other on a terminal, one below the other elsewhere.
fn follow(screen: &mut Screen, request: &Flows, interrupt: &Interrupt) -> io::Result<Exit> {
    let interval = Duration::from_secs(request.interval().into());
    let mut is_first = true;
    loop {
        let report: FlowsReport = match ask::answer(screen, &request.client, &fitting(screen, request))? {
            Ok(report) => report,
            Err(exit) => return Ok(exit),
        };
        match screen.format {
            Format::Json => screen.json_line(&report)?,
            Format::Table if screen.is_terminal() => screen.redraw(|out| report.write(out))?,
            Format::Table => {
                if !is_first {
                    writeln!(screen.out)?;
                }
                report.write(&mut screen.out)?;
                screen.out.flush()?;
            }
        }
        is_first = false;
        if interrupt.comes_within(interval) {
            return Ok(Exit::Ok);
        }
    }
}

fn show(screen: &mut Screen, report: &FlowsReport) -> io::Result<Exit> {
    match screen.format {
        Format::Json => screen.json(report)?,
        Format::Table => report.write(&mut screen.out).and_then(|()| screen.out.flush())?,
    }
    Ok(Exit::Ok)
}

/// No more flows than a terminal has lines for.
fn fitting(screen: &Screen, request: &Flows) -> Request {
    let Request::Flows(question) = request.question() else { return request.question() };
    let lines = screen.height().filter(|_| screen.format == Format::Table);
    let room = lines.map_or(u32::MAX, |lines| u32::from(lines).saturating_sub(FRAME).max(1));
    Request::Flows(FlowsRequest { limit: question.limit.min(room), ..question })
}
