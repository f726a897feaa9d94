//! Entries and totals as shown to people.

use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use palisade_packet::Direction;
use serde::Serialize;

use crate::conn::Conn;
use crate::key::Ids;
use crate::opener::Opener;
use crate::owner::Zone;
use crate::state::Side;
use crate::time::Instant;

/// An entry at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct ConnView {
    /// The ENI.
    pub zone: Zone,
    /// The instance whose allowance the entry counts against.
    pub instance: u32,
    /// IP protocol number.
    pub protocol: u8,
    /// The address on the ENI's side (CT-4a).
    pub local: IpAddr,
    /// The address on the other side.
    pub remote: IpAddr,
    /// Ports, or types and identifier of a query.
    pub ids: Ids,
    /// The way the opening packet moved.
    #[serde(with = "crate::record::direction")]
    pub origin: Direction,
    /// What rules saw of the opening packet besides.
    #[serde(flatten)]
    pub opener: Opener,
    /// Name of the state, kebab case: `syn-sent`, `established`, `udp-stream`, `icmp`, `other` …
    pub state: &'static str,
    /// Time since the entry was made.
    pub age: Duration,
    /// Time since the last packet.
    pub idle: Duration,
    /// Time until the entry ends if no packet comes; not zero.
    pub left: Duration,
    /// What the opener sent.
    pub forward: Volume,
    /// What the other side sent.
    pub reply: Volume,
}

/// Packets and bytes of one direction, for diagnosis only (CT-6): frames seen by a commit and their IP lengths, plus
/// what [`crate::ConnHandle::account`] added.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, serde::Deserialize)]
pub struct Volume {
    /// Packets.
    pub packets: u64,
    /// Bytes, from the IP header on.
    pub bytes: u64,
}

impl ConnView {
    /// `None` if the entry has ended.
    pub(crate) fn of(conn: &Conn, now: Instant) -> Option<Self> {
        let (state, idle) = conn.look(now)?;
        let key = conn.key();
        Some(Self {
            zone: key.zone(),
            instance: conn.instance().id(),
            protocol: key.protocol(),
            local: key.local(),
            remote: key.remote(),
            ids: key.ids(),
            origin: conn.origin(),
            opener: conn.opener(),
            state: state.name(),
            age: Duration::from_nanos(conn.age(now)),
            idle: Duration::from_nanos(idle),
            left: Duration::from_nanos(conn.time_out(state).saturating_sub(idle)),
            forward: volume(conn, Side::Originator),
            reply: volume(conn, Side::Responder),
        })
    }
}

pub(crate) fn volume(conn: &Conn, side: Side) -> Volume {
    let traffic = conn.traffic(side);
    let (packets, bytes) = (&traffic.packets, &traffic.bytes);
    Volume { packets: packets.load(Ordering::Relaxed), bytes: bytes.load(Ordering::Relaxed) }
}

/// What became of all entries ever made: `created = alive + expired + closed + removed` whenever no call is under way.
///
/// Each is counted on its own; the law is not built into the sums.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct ConnTotals {
    /// Entries that became visible, by a commit or an import.
    pub created: u64,
    /// Entries now in the table, those included whose idle time is over but which nobody has reclaimed yet.
    pub alive: u64,
    /// Ended by their time-out, in whatever state (CT-39a).
    pub expired: u64,
    /// Ended by traffic: a SYN took their place (CT-45).
    pub closed: u64,
    /// Ended by the control side: with their ENI or their address (CT-26), by choice, or because rules revoked them.
    pub removed: u64,
    /// Of the removed, those that a later policy would not have let be opened ([`crate::ConnTable::revoke`]).
    pub revoked: u64,
}
