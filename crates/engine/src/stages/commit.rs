//! The commit of a side: the only place where a walk changes the connection table (CT-7).

use palisade_conntrack::{Owner, Refused, TimeOuts, Zone};
use palisade_packet::Direction;
use palisade_policy::CompiledEni;

use crate::intake::Judged;
use crate::reason::DropReason;
use crate::stages::group::Pass;
use crate::walk::{Context, Step};
use crate::witness::{Event, Witness};

/// Does what the group stage planned, unless the table refuses (CT-70).
pub(crate) fn commit<'s, W: Witness>(
    cx: &mut Context<'s, W>,
    eni: &'s CompiledEni,
    direction: Direction,
    pass: Pass,
    packet: &Judged,
) -> Step<()> {
    let opens = matches!(pass, Pass::Open(_)) && !packet.later_fragment;
    cx.witness.saw(Event::Committed { eni, opens });
    let (Pass::Refresh(plan) | Pass::Open(plan)) = pass else { return Ok(()) };
    if packet.later_fragment || !cx.commits {
        return Ok(()); // CT-62
    }
    cx.table.commit(plan, &owner(eni), &packet.ip, cx.now).map_err(|refused| match refused {
        Refused::Allowance => DropReason::allowance(direction).into(),
        Refused::TableFull => DropReason::TableFull.into(),
    })
}

fn owner(eni: &CompiledEni) -> Owner {
    let time_outs = TimeOuts {
        tcp_established: eni.time_outs.tcp_established,
        udp: eni.time_outs.udp,
        udp_stream: eni.time_outs.udp_stream,
    };
    Owner { zone: Zone(eni.key.0), instance: eni.instance.0, max_tracked: eni.max_tracked, time_outs }
}
