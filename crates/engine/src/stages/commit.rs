//! The commit of a side: the only place where a walk changes the connection table (CT-7).

use palisade_conntrack::{Owner, Refused, TimeOuts, Zone};
use palisade_packet::Direction;
use palisade_policy::CompiledEni;

use crate::end::Step;
use crate::intake::Judged;
use crate::reason::DropReason;
use crate::stages::group::Pass;
use crate::walk::Context;
use crate::witness::{Event, Witness};

/// Does what the group stage planned, unless the table refuses (CT-70). Later fragments change nothing (CT-62).
pub(crate) fn commit<'s, W: Witness>(
    cx: &mut Context<'s, W>,
    eni: &'s CompiledEni,
    direction: Direction,
    pass: Pass,
    packet: &Judged,
) -> Step<()> {
    let opens = matches!(pass, Pass::Open(_)) && !packet.later_fragment;
    if !packet.later_fragment {
        let done = if cx.commits {
            enact(cx, eni, pass, packet)
        } else {
            foresee(cx, eni, direction, opens, packet)
        };
        done.map_err(|refused| match refused {
            Refused::Allowance => DropReason::allowance(direction),
            Refused::TableFull => DropReason::TableFull,
        })?;
    }
    cx.witness.saw(Event::Committed { eni, direction, opens });
    Ok(())
}

fn enact<W>(cx: &Context<'_, W>, eni: &CompiledEni, pass: Pass, packet: &Judged) -> Result<(), Refused> {
    match pass {
        Pass::Nothing => Ok(()),
        Pass::Refresh(plan) | Pass::Open(plan) => cx.table.commit(plan, &owner(eni), &packet.ip, cx.now),
        Pass::Untracked(plan) => {
            cx.table.commit_untracked(plan, &packet.ip, cx.now);
            Ok(())
        }
    }
}

/// Whether a commit would be refused, for explaining. A closed entry that the packet replaces frees its place (CT-45).
fn foresee<W>(
    cx: &mut Context<'_, W>,
    eni: &CompiledEni,
    direction: Direction,
    opens: bool,
    packet: &Judged,
) -> Result<(), Refused> {
    if !opens || cx.table.handle(Zone(eni.key.0), direction, &packet.ip, cx.now).is_some() {
        return Ok(());
    }
    let taken = u32::from(cx.foreseen == Some(eni.instance));
    cx.foreseen = Some(eni.instance);
    let available = cx.table.available(eni.instance.0, eni.max_tracked, cx.now);
    if available > taken { Ok(()) } else { Err(Refused::Allowance) }
}

fn owner(eni: &CompiledEni) -> Owner {
    let (zone, instance) = (Zone(eni.key.0), eni.instance.0);
    Owner { zone, instance, max_tracked: eni.max_tracked, time_outs: time_outs(eni) }
}

/// The idle times now in force at an ENI (CT-25).
pub(crate) const fn time_outs(eni: &CompiledEni) -> TimeOuts {
    TimeOuts {
        tcp_established: eni.time_outs.tcp_established,
        udp: eni.time_outs.udp,
        udp_stream: eni.time_outs.udp_stream,
    }
}
