//! Why each side of a walk judged as it did, in the words of records.

use palisade_flow::Ground;
use palisade_packet::Direction;
use palisade_policy::RuleSlot;

use crate::outcome::Side;
use crate::reason::DropReason;
use crate::witness::Event;

/// Ground, and the rule or entry that decided.
pub(crate) type Why = (Ground, Option<RuleSlot>);

/// Of both sides: what let the packet pass the groups, and which ACL entry decided.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Grounds {
    group: [Option<Why>; 2],
    acl: [Option<RuleSlot>; 2],
}

impl Grounds {
    /// Takes note of what a walk tells.
    pub(crate) fn note(&mut self, event: &Event<'_>) {
        let (direction, why) = match *event {
            Event::GroupTracked { direction, .. } => (direction, (Ground::Tracked, None)),
            Event::GroupRelated { direction, .. } => (direction, (Ground::Related, None)),
            Event::GroupRule { direction, slot, .. } => (direction, (Ground::Rule, Some(slot))),
            Event::Acl { direction, decision, .. } => {
                self.acl[direction as usize] = Some(decision.slot);
                return;
            }
            _ => return,
        };
        self.group[direction as usize] = Some(why);
    }

    /// Why a side accepted or refused.
    pub(crate) fn of(&self, side: Side, direction: Direction) -> Why {
        let refused = side.refused.and_then(|reason| refusal(reason, self.acl[direction as usize]));
        refused.or(self.group[direction as usize]).unwrap_or((Ground::NoRule, None))
    }
}

/// Why a side refused; `None` for reasons that are not a side's (RT-3, FL-32).
pub(crate) const fn refusal(reason: DropReason, acl: Option<RuleSlot>) -> Option<Why> {
    match reason {
        DropReason::GroupEgress | DropReason::GroupIngress => Some((Ground::NoRule, None)),
        DropReason::AclEgressEntry | DropReason::AclIngressEntry => Some((Ground::AclEntry, acl)),
        DropReason::AclEgressDefault | DropReason::AclIngressDefault => Some((Ground::AclDefault, acl)),
        DropReason::AllowanceEgress | DropReason::AllowanceIngress => Some((Ground::Allowance, None)),
        DropReason::TableFull => Some((Ground::TableFull, None)),
        _ => None,
    }
}
