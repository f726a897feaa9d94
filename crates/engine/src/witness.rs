//! What the walk tells whoever watches: the counters while forwarding, the recorder while explaining.
//!
//! The walk is generic over its witness, so that watching costs nothing where nobody does.

use palisade_conntrack::{Birth, Plan};
use palisade_packet::Direction;
use palisade_policy::{AclDecision, CompiledEni, CompiledSubnet, MirrorChoice, RuleSlot};

use crate::counters::Counters;
use crate::ledger::Grounds;
use crate::reason::DropReason;

/// One thing that happened on the way, in the order of the walk.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event<'s> {
    /// The sender passed the checks of its port.
    Admitted { eni: &'s CompiledEni },
    /// The packet belongs to the service path, which nothing filters.
    ServicePath { service: &'s str },
    /// A fragment that has waited at its receiver goes on.
    Resumed { to: &'s CompiledEni },
    /// An ENI took account of a fragment.
    Fragment { eni: &'s CompiledEni, direction: Direction, fate: FragmentFate },
    /// Other fragments, which had waited in vain, are dropped.
    Orphaned { fragments: usize },
    /// An entry of the connection table covers the packet.
    GroupTracked { eni: &'s CompiledEni, direction: Direction, plan: &'s Plan },
    /// The entry that covered the packet, or the flow it is an error about, is one that the present rules refuse: it ends.
    EntryRevoked { eni: &'s CompiledEni, direction: Direction },
    /// An ICMP error about a flow of this ENI.
    GroupRelated { eni: &'s CompiledEni, direction: Direction },
    /// A rule of one of the groups allows it.
    GroupRule {
        eni: &'s CompiledEni,
        direction: Direction,
        slot: RuleSlot,
        tracking: Tracking,
        birth: Option<Birth>,
    },
    /// No rule of any group allows it.
    GroupDenied { eni: &'s CompiledEni, direction: Direction, birth: Option<Birth> },
    /// Handed to an ENI of the same subnet: no ACL, no route table.
    SameSubnet { to: &'s CompiledEni, by_mac: bool },
    /// Leaves the subnet by the implicit router.
    ToRouter,
    /// The subnet's ACL decided.
    Acl { subnet: &'s CompiledSubnet, direction: Direction, decision: AclDecision },
    /// The side's filters passed and its state is changed, or would be.
    Committed { eni: &'s CompiledEni, direction: Direction, opens: bool },
    /// A session of the ENI copies the packet.
    Mirrored { eni: &'s CompiledEni, direction: Direction, choice: MirrorChoice },
    /// The route table led to an ENI.
    Routed { to: &'s CompiledEni },
    /// The path carries the packet whole, or in fragments.
    PathMtu { mtu: u16, largest: u32, fragments: bool },
    /// The destination check passed or is off.
    DestinationChecked { eni: &'s CompiledEni },
}

/// What becomes of a fragment where account is taken of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FragmentFate {
    /// It is a first one, for which so many have waited (CT-61).
    First { releases: usize },
    /// A later one takes the ports of its first one (CT-60).
    Joined,
    /// It waits for its first one (CT-61).
    Held,
    /// It may not go on (CT-61, CT-63).
    Dropped(DropReason),
}

/// What becomes of a flow that rules allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tracking {
    /// The packet opens an entry.
    Opens,
    /// CT-10: the flow is untracked, every packet is judged by rules.
    Untracked,
    /// The packet is not one that opens an entry (CT-40, CT-56, CT-58).
    OpensNothing,
}

/// Whoever watches a walk.
pub(crate) trait Witness {
    /// Something happened.
    fn saw(&mut self, event: Event<'_>);
}

/// Watches nothing.
pub(crate) struct Nobody;

impl Witness for Nobody {
    fn saw(&mut self, _: Event<'_>) {}
}

/// Counts what a worker forwards.
pub(crate) struct Counting<'a> {
    pub(crate) counters: &'a Counters,
    /// Packets on the wire that the frame stands for.
    pub(crate) packets: u32,
    /// What flow logs say of why.
    pub(crate) grounds: Grounds,
}

impl Witness for Counting<'_> {
    fn saw(&mut self, event: Event<'_>) {
        self.grounds.note(&event);
        let Self { counters, packets, .. } = *self;
        match event {
            Event::Acl { direction, decision, .. } => {
                counters.acl(direction, decision.slot, decision.number.is_none(), packets);
            }
            Event::GroupRule { direction, slot, .. } => counters.group(direction, Some(slot), packets),
            Event::GroupDenied { direction, .. } => counters.group(direction, None, packets),
            Event::GroupRelated { direction, .. } => counters.related(direction, packets),
            Event::Orphaned { fragments } => counters.orphaned(fragments),
            _ => {}
        }
    }
}
