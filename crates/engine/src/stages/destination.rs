//! The destination check (RES-42), after ACL and group: a packet that fails it is logged as they judged it (RT-3).

use palisade_policy::CompiledEni;

use crate::end::Step;
use crate::intake::Judged;
use crate::reason::DropReason;
use crate::walk::Context;
use crate::witness::{Event, Witness};

/// Refuses a packet whose destination is not one of the receiver's addresses, unless the check is off.
pub(crate) fn check<'s, W: Witness>(
    cx: &mut Context<'s, W>,
    b: &'s CompiledEni,
    packet: &Judged,
) -> Step<()> {
    if b.source_dest_check && !b.addresses.contains(&packet.ip.destination) {
        return Err(DropReason::DestinationCheck.into());
    }
    cx.witness.saw(Event::DestinationChecked { eni: b });
    Ok(())
}
