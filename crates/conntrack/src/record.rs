//! Entries that outlive the process (CT-40a).

use std::net::IpAddr;
use std::sync::Arc;

use palisade_packet::Direction;
use serde::{Deserialize, Serialize};

use crate::conn::{Birth, Conn, MAX_TIME_OUT};
use crate::instance::Instance;
use crate::key::{Ids, Key};
use crate::opener::Opener;
use crate::owner::Zone;
use crate::state::{Kind, Side, State, TimeOutClass};
use crate::time::Instant;
use crate::view::{Volume, volume};
use crate::window::{Acknowledged, Opening};
use crate::word::Word;

/// All there is to know about an entry. Times are spans, since another process has another clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EntryRecord {
    /// The ENI.
    pub zone: Zone,
    /// The instance whose allowance the entry counts against.
    pub instance: u32,
    /// IP protocol number.
    pub protocol: u8,
    /// The address on the ENI's side.
    pub local: IpAddr,
    /// The address on the other side; of the same family.
    pub remote: IpAddr,
    /// Ports, or types and identifier of a query.
    pub ids: Ids,
    /// The way the opening packet moved.
    #[serde(with = "direction")]
    pub origin: Direction,
    /// What rules saw of the opening packet besides. Which policy admitted it is not told: another process numbers its
    /// policies anew, so an imported entry counts as not admitted by any.
    #[serde(flatten)]
    pub opener: Opener,
    /// The state.
    pub state: State,
    /// Nanoseconds since the entry was made.
    pub age: u64,
    /// Nanoseconds since the last packet.
    pub idle: u64,
    /// The idle times kept in the entry, in nanoseconds: TCP established and 0, or UDP and UDP stream, or zeros.
    pub time_outs: [u64; 2],
    /// What the opener sent.
    pub originator: SideRecord,
    /// What the other side sent.
    pub responder: SideRecord,
}

/// What an entry knows of one side.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct SideRecord {
    /// Its SYN (TCP).
    pub opening: Option<Opening>,
    /// Its newest acknowledgement (TCP).
    pub acknowledged: Option<Acknowledged>,
    /// Its traffic.
    pub volume: Volume,
}

impl EntryRecord {
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
            state,
            age: conn.age(now),
            idle,
            time_outs: conn.time_outs(),
            originator: SideRecord::of(conn, Side::Originator),
            responder: SideRecord::of(conn, Side::Responder),
        })
    }

    /// Whether the parts can belong to one entry and it has not ended.
    pub(crate) fn is_sound(&self) -> bool {
        let ids_fit = match self.state.kind() {
            Kind::Tcp => self.protocol == 6 && matches!(self.ids, Ids::Ports { .. }),
            Kind::Udp => self.protocol == 17 && matches!(self.ids, Ids::Ports { .. }),
            Kind::Icmp => matches!(self.ids, Ids::Query { .. }),
            Kind::Other => self.ids == Ids::None,
        };
        ids_fit && self.local.is_ipv4() == self.remote.is_ipv4() && self.idle < self.time_out()
    }

    pub(crate) fn key(&self) -> Key {
        Key::new(self.zone, self.protocol, (self.local, self.remote), self.ids)
    }

    /// The entry, as if it had been here all the time.
    pub(crate) fn revive(&self, instance: Arc<Instance>, now: Instant) -> Conn {
        let birth = Birth {
            key: self.key(),
            origin: self.origin,
            word: Word::idle_for(self.state, now, self.idle),
            time_outs: self.time_outs.map(|span| span.min(MAX_TIME_OUT)),
            created: now.as_nanos().wrapping_sub(self.age),
            opener: self.opener,
            admitted_by: None,
        };
        let conn = Conn::new(&birth, instance);
        self.originator.restore(&conn, Side::Originator);
        self.responder.restore(&conn, Side::Responder);
        conn
    }

    fn time_out(&self) -> u64 {
        let span = match self.state.time_out() {
            TimeOutClass::Fixed(seconds) => seconds * 1_000_000_000,
            TimeOutClass::First => self.time_outs[0],
            TimeOutClass::Second => self.time_outs[1],
        };
        span.min(MAX_TIME_OUT)
    }
}

impl SideRecord {
    fn of(conn: &Conn, side: Side) -> Self {
        let windows = conn.windows();
        Self {
            opening: windows.opening(side),
            acknowledged: windows.acknowledged(side),
            volume: volume(conn, side),
        }
    }

    fn restore(&self, conn: &Conn, side: Side) {
        if let Some(opening) = self.opening {
            conn.windows().set_opening(side, opening);
        }
        if let Some(acknowledged) = self.acknowledged {
            conn.windows().set_acknowledged(side, acknowledged);
        }
        conn.traffic(side).add(self.volume.packets, self.volume.bytes);
    }
}

/// What an import did.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Imported {
    /// Entries now in the table.
    pub taken: usize,
    /// Records that contradict themselves or whose time is over.
    pub unsound: usize,
    /// Records whose key the table already had.
    pub duplicates: usize,
    /// Records for which the table had no room.
    pub no_room: usize,
}

/// A [`Direction`] as `ingress` or `egress`.
pub(crate) mod direction {
    use palisade_packet::Direction;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for this signature")]
    pub(crate) fn serialize<S: Serializer>(direction: &Direction, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(direction.as_str())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Direction, D::Error> {
        let text = String::deserialize(from)?;
        [Direction::Ingress, Direction::Egress]
            .into_iter()
            .find(|direction| direction.as_str() == text)
            .ok_or_else(|| D::Error::unknown_variant(&text, &["ingress", "egress"]))
    }
}
