//! Fragment bookkeeping at an ENI (RT-1 step 3, RT-2 step 2): a later fragment is judged with the ports of its first one.

use palisade_packet::{Direction, IpPacket};
use palisade_policy::CompiledEni;

use crate::end::Step;
use crate::intake::Judged;
use crate::walk::Context;
use crate::witness::{Event, Witness};

/// Makes of a packet what policy judges at `eni`.
pub(crate) fn join<W: Witness>(
    cx: &mut Context<'_, W>,
    eni: &CompiledEni,
    direction: Direction,
    ip: IpPacket,
) -> Step<Judged> {
    let packet = cx.fragments.join(eni.key, direction, ip, cx.now, cx.commits)?;
    if packet.later_fragment {
        cx.witness.saw(Event::FragmentJoined);
    }
    Ok(packet)
}
