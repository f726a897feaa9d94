//! The network-ACL stage: stateless, and consulted only where a packet crosses a subnet's boundary (NACL-20..24).

use palisade_packet::Direction;
use palisade_policy::model::AclAction;
use palisade_policy::{CompiledEni, FilterKey};

use crate::end::Step;
use crate::handover::Hop;
use crate::intake::Judged;
use crate::reason::DropReason;
use crate::stages::group::filter_key;
use crate::walk::Context;
use crate::witness::{Event, Witness};

/// Judges a packet that leaves (egress) or enters (ingress) the subnet of `at`.
pub(crate) fn judge<'s, W: Witness>(
    cx: &mut Context<'s, W>,
    at: &CompiledEni,
    direction: Direction,
    packet: &Judged,
    hop: &Hop<'s>,
) -> Step<()> {
    if !hop.leaves_subnet {
        return Ok(()); // NACL-20
    }
    let subnet = cx.snapshot.subnet(at.subnet);
    let key: FilterKey = filter_key(direction, &packet.ip);
    let decision = subnet.acl.decide(direction, &key);
    cx.witness.saw(Event::Acl { subnet, direction, decision });
    match decision.action {
        AclAction::Allow => Ok(()),
        AclAction::Deny => Err(DropReason::acl(direction, decision.number.is_some()).into()),
    }
}
