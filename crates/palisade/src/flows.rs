//! `palisade flows`: flows that the daemon sees, and published files of flow logs.

mod columns;
mod live;
mod read;
mod summary;

use std::io;

use crate::cli::{Flows, FlowsAction};
use crate::failure::{Exit, Failure};
use crate::screen::Screen;

/// Carries out `palisade flows`.
pub(crate) fn flows(screen: &mut Screen, request: &Flows) -> io::Result<Exit> {
    let Some(FlowsAction::Read(files)) = &request.action else { return live::live(screen, request) };
    if request.is_bare() {
        return read::read(screen, files);
    }
    let what = "options of `palisade flows` stand before `read`, which reads files and watches nothing";
    let failure =
        Failure::with(Exit::Usage, what, "leave them out; `palisade flows read --help` lists its own");
    screen.failure(&failure).map(|()| failure.exit)
}
