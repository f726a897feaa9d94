//! The answers of the table: what a packet is to it, and what a commit would do.

use std::sync::Arc;

use palisade_packet::Direction;

use crate::ConnView;
use crate::conn::Conn;
use crate::handle::ConnHandle;
use crate::key::Key;

/// What a packet is to the table. Nothing has been changed yet (CT-7).
#[derive(Debug)]
pub enum Consult {
    /// It belongs to an entry and is allowed without rules (CT-3). Commit the plan if the filters after this one let it
    /// pass too.
    Tracked(Plan),
    /// It is an ICMP error that quotes a packet of this entry, and is allowed without rules (CT-50). Commit nothing.
    Related(ConnView),
    /// Rules decide. If they allow it, commit the plan, or hand it to [`crate::ConnTable::commit_untracked`] if the flow
    /// is untracked (CT-17).
    New(Plan),
    /// Rules decide for this packet alone, and there is nothing to commit: TCP without SYN (CT-40), ICMP that is not a
    /// request (CT-56, CT-58), errors that are not related (CT-53), packets without a transport header.
    Stateless,
}

/// What a commit will do with a packet. Dropping it does nothing.
///
/// It stays valid whatever happens to the table in between; the commit looks again at what it finds.
#[derive(Debug)]
pub struct Plan {
    pub(crate) direction: Direction,
    pub(crate) act: Act,
}

pub(crate) enum Act {
    /// Open an entry, in the place of one that has ended or that the packet replaces (CT-45).
    Open(Key),
    /// Let the packet act on this entry.
    Offer(Arc<Conn>),
}

impl Plan {
    /// The entry the packet belongs to; `None` if one is to be opened.
    #[must_use]
    pub fn handle(&self) -> Option<ConnHandle> {
        match &self.act {
            Act::Open(_) => None,
            Act::Offer(conn) => Some(ConnHandle::new(Arc::clone(conn))),
        }
    }
}

impl std::fmt::Debug for Act {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open(key) => f.debug_tuple("Open").field(key).finish(),
            Self::Offer(conn) => f.debug_tuple("Offer").field(conn.key()).finish(),
        }
    }
}

/// Why an entry could not be opened. Nothing was changed; the packet is dropped (CT-70).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Refused {
    /// The instance has as many entries alive as its allowance lets it (CT-70).
    Allowance,
    /// The table has as many entries alive as it was made for.
    TableFull,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Allowance => "the instance's allowance of tracked connections is used up",
            Self::TableFull => "the connection table is full",
        })
    }
}

impl std::error::Error for Refused {}
