//! What a walk tells the cache: a witness that counts, as forwarding does, and writes down what a later packet of the same
//! flow would meet.

use palisade_conntrack::{Birth, ConnHandle};
use palisade_packet::Direction;
use palisade_policy::RuleSlot;

use crate::witness::{Counting, Event, Tracking, Witness};

/// How a side's security groups let a packet pass, or did not.
#[derive(Clone, Debug)]
pub(crate) enum Ground {
    /// By an entry of the connection table.
    Conn(ConnHandle),
    /// By a rule, as long as the flow has no entry; `None`: it never has one.
    Rule(RuleSlot, Option<Birth>),
    /// No rule allows it, as long as the flow has no entry.
    Denied(Option<Birth>),
    /// They were not asked: the ACL of the receiver's subnet had refused it.
    Unasked,
}

/// The ACL entry that decided.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct AclNote {
    pub(crate) slot: RuleSlot,
    pub(crate) by_default: bool,
}

/// One side of a walk.
#[derive(Clone, Debug)]
pub(crate) struct SideNote {
    pub(crate) ground: Ground,
    pub(crate) acl: Option<AclNote>,
    /// Every filter of the side passed, so that packets act on its entry.
    pub(crate) committed: bool,
}

/// Both sides of a walk.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    a: Option<SideNote>,
    b: Option<SideNote>,
    acl: [Option<AclNote>; 2],
    /// The next packet of the flow meets something else: an entry was opened, an ICMP error was related.
    passing: bool,
}

impl Notes {
    /// Whether the next packet of the flow would get the same.
    pub(crate) const fn can_be_kept(&self) -> bool {
        !self.passing
    }

    /// The two sides, as far as the packet came.
    pub(crate) fn sides(self) -> (Option<SideNote>, Option<SideNote>) {
        let refused = self.acl[Direction::Ingress as usize].map(|acl| SideNote {
            ground: Ground::Unasked,
            acl: Some(acl),
            committed: false,
        });
        (self.a, self.b.or(refused))
    }

    fn side(&mut self, direction: Direction) -> &mut Option<SideNote> {
        match direction {
            Direction::Egress => &mut self.a,
            Direction::Ingress => &mut self.b,
        }
    }

    /// At side a the group comes first, at side b the ACL (RT-1, RT-2).
    fn ground(&mut self, direction: Direction, ground: Ground) {
        let acl = self.acl[direction as usize];
        *self.side(direction) = Some(SideNote { ground, acl, committed: false });
    }

    fn note(&mut self, event: &Event<'_>) {
        match *event {
            Event::GroupTracked { direction, plan, .. } => match plan.handle() {
                Some(conn) => self.ground(direction, Ground::Conn(conn.clone())),
                None => self.passing = true,
            },
            Event::GroupRule { tracking: Tracking::Opens, .. } | Event::GroupRelated { .. } => {
                self.passing = true;
            }
            Event::GroupRule { direction, slot, birth, .. } => {
                self.ground(direction, Ground::Rule(slot, birth));
            }
            Event::GroupDenied { direction, birth, .. } => self.ground(direction, Ground::Denied(birth)),
            Event::Acl { direction, decision, .. } => {
                let note = AclNote { slot: decision.slot, by_default: decision.number.is_none() };
                self.acl[direction as usize] = Some(note);
                if let Some(side) = self.side(direction) {
                    side.acl = Some(note);
                }
            }
            Event::Committed { direction, .. } => {
                if let Some(side) = self.side(direction) {
                    side.committed = true;
                }
            }
            _ => {}
        }
    }
}

/// Counts and takes notes.
pub(crate) struct Noting<'a> {
    pub(crate) counting: Counting<'a>,
    pub(crate) notes: Notes,
}

impl Witness for Noting<'_> {
    fn saw(&mut self, event: Event<'_>) {
        self.notes.note(&event);
        self.counting.saw(event);
    }
}
