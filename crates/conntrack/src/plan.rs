//! The answers of the table: what a packet is to it, and what a commit would do.

use palisade_packet::{Direction, IpPacket};

use crate::handle::ConnHandle;
use crate::key::Key;
use crate::owner::Zone;
use crate::table::{key_of, opens};

/// What a packet is to the table. Nothing has been changed yet (CT-7).
#[derive(Debug)]
pub enum Consult {
    /// It belongs to an entry and is allowed without rules (CT-3). Commit the plan if the filters after this one let it
    /// pass too.
    Tracked(Plan),
    /// It is an ICMP error that quotes a packet of this entry, and is allowed without rules (CT-50). Commit nothing.
    Related(ConnHandle),
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
    Open(Rights),
    /// Let the packet act on this entry.
    Offer(ConnHandle),
}

/// What an entry is opened with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rights {
    pub(crate) key: Key,
    /// See [`Plan::admitted`].
    pub(crate) admitted_by: Option<u64>,
    pub(crate) referenced: bool,
}

impl Consult {
    /// What a packet is to a table in which no entry has anything to do with it: for one whose entry has lost its authority.
    #[must_use]
    pub fn without_entry(zone: Zone, direction: Direction, packet: &IpPacket) -> Self {
        key_of(zone, direction, packet).map_or(Self::Stateless, |key| Self::opening(direction, packet, key))
    }

    /// Rules decide, and a packet that may open an entry (CT-40, CT-55, CT-56) will if they say so.
    pub(crate) fn opening(direction: Direction, packet: &IpPacket, key: Key) -> Self {
        if opens(packet) { Self::New(Plan::open(direction, key)) } else { Self::Stateless }
    }

    /// The entry on whose authority the packet passes.
    #[must_use]
    pub const fn entry(&self) -> Option<&ConnHandle> {
        match self {
            Self::Tracked(plan) => plan.handle(),
            Self::Related(entry) => Some(entry),
            Self::New(_) | Self::Stateless => None,
        }
    }
}

impl Plan {
    /// Opens an entry with this key when it is committed.
    pub(crate) const fn open(direction: Direction, key: Key) -> Self {
        Self { direction, act: Act::Open(Rights { key, admitted_by: None, referenced: false }) }
    }

    /// The entry the packet belongs to; `None` if one is to be opened.
    #[must_use]
    pub const fn handle(&self) -> Option<&ConnHandle> {
        match &self.act {
            Act::Open(_) => None,
            Act::Offer(entry) => Some(entry),
        }
    }

    /// Notes what the rules said to a packet that opens an entry: the stamp of the policy that admits it, and whether rules
    /// that refer to groups might match (see [`crate::Opener`]). Says nothing to a plan for an entry that exists.
    #[must_use]
    pub const fn admitted(mut self, stamp: u64, referenced: bool) -> Self {
        if let Act::Open(rights) = &mut self.act {
            rights.admitted_by = Some(stamp);
            rights.referenced = referenced;
        }
        self
    }
}

impl std::fmt::Debug for Act {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open(rights) => f.debug_tuple("Open").field(&rights.key).finish(),
            Self::Offer(entry) => f.debug_tuple("Offer").field(entry).finish(),
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
