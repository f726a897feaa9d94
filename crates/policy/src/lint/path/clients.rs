//! The ports that clients take, and which of them a list lets through.

use super::stretches::{By, Row, Way};
use crate::classifier::service::PLANES;
use crate::classifier::span::Span;

/// A range of ports, both ends included.
pub(super) type Ports = (u16, u16);

/// Ports that clients take (NACL-45): of Linux, of Windows, of NAT gateways, load balancers and everybody else.
pub(super) const LINUX: Ports = (32_768, 60_999);
pub(super) const WINDOWS: Ports = (49_152, 65_535);
pub(super) const EVERYBODY: Ports = (1024, 65_535);

/// What answers to the ports that clients take meet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Clients {
    /// All of them pass.
    All,
    /// Those to one system's ports pass; what denies the first of the others.
    Some(By),
    /// No system's ports pass as a whole; what denies the first of Linux's.
    None {
        by: By,
        /// Entries for certain addresses deny all of Linux's that are denied.
        meant: bool,
    },
}

impl Clients {
    /// Of TCP (plane 0) or UDP (plane 1).
    pub(super) fn of(way: &Way, row: &Row, plane: usize) -> Self {
        let span = |ports| in_plane(plane, ports);
        let Some(first) = way.denial(row, span(EVERYBODY)) else { return Self::All };
        match (way.denial(row, span(LINUX)), way.denial(row, span(WINDOWS))) {
            (Some(linux), Some(_)) => Self::None { by: linux.by, meant: linux.meant },
            _ => Self::Some(first.by),
        }
    }
}

/// Whether a range has all the ports of some system's clients.
pub(super) fn holds_clients((from, to): Ports) -> bool {
    [LINUX, WINDOWS].iter().any(|&(low, high)| from <= low && high <= to)
}

fn in_plane(plane: usize, (from, to): Ports) -> Span<u32> {
    let base = PLANES[plane].low;
    Span { low: base | u32::from(from), high: base | u32::from(to) }
}
