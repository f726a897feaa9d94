//! The walk of a packet, whole, on one page. Everything that must know what happens to a packet calls [`walk`]:
//! forwarding, `palisade explain`, the scenario runner. There is no second implementation of it.
//!
//! Each step is one call, in the order of RT-1 and RT-2, and either lets the packet go on or ends its journey with
//! [`Err`]. Look-ups only plan; state changes in the side's commit, after all of that side's filters passed (CT-7).

use palisade_conntrack::{ConnTable, Instant};
use palisade_packet::Direction::{Egress, Ingress};
use palisade_policy::{CompiledEni, InstanceKey, PortKey, Snapshot};

use crate::end::{End, Step};
use crate::fragments::{Fragments, Released};
use crate::handover::Hop;
use crate::intake::{Inbound, Judged};
use crate::mirroring::Taps;
use crate::outcome::{Link, Side, Walked};
use crate::reason::DropReason;
use crate::stages::{acl, admit, commit, destination, fragments, group, mirror, mtu, service};
use crate::witness::Witness;

/// What a walk may look at, and change when it `commits`.
pub(crate) struct Context<'s, W> {
    pub(crate) snapshot: &'s Snapshot,
    pub(crate) table: &'s ConnTable,
    pub(crate) fragments: &'s Fragments,
    pub(crate) now: Instant,
    /// False while explaining: plans are made and thrown away.
    pub(crate) commits: bool,
    /// While explaining: the instance at which side a would have opened an entry, which then counts (CT-70).
    pub(crate) foreseen: Option<InstanceKey>,
    /// Fragments that wait no more on account of this packet (CT-61).
    pub(crate) released: Vec<Released>,
    /// Who copies the packet.
    pub(crate) taps: Taps,
    pub(crate) witness: W,
}

/// Walks one frame from the port it came in by to its end.
pub(crate) fn walk<W: Witness>(
    cx: &mut Context<'_, W>,
    from: PortKey,
    inbound: Result<Inbound<'_>, DropReason>,
) -> Walked {
    let mut walked = Walked::begin(inbound.as_ref().map_or(1, Inbound::packets));
    let end = match &inbound {
        Ok(inbound) => journey(cx, from, inbound, &mut walked).unwrap_or_else(|end| end),
        Err(reason) => (*reason).into(),
    };
    walked.end(end, inbound);
    walked.taps = cx.taps;
    walked
}

/// Walks copies from the ENI at which they were taken to their target. They are judged as any packet from there would be,
/// but the groups of the source are not asked and remember nothing (TM-42, TM-43, NACL-52); they were cut to fit.
pub(crate) fn walk_copies<'s, W: Witness>(
    cx: &mut Context<'s, W>,
    a: &'s CompiledEni,
    copy: &Judged,
) -> Step<(PortKey, Link)> {
    let router = cx.snapshot.subnet(a.subnet).router_mac;
    let hop = Hop::decide(cx, a, router, copy);
    acl::judge(cx, a, Egress, copy, &hop)?;
    let b = hop.target?;
    side_b(cx, a, b, &hop, copy)?;
    Ok((PortKey::Eni(b.key), hop.link(cx.snapshot, b)))
}

fn journey<W: Witness>(
    cx: &mut Context<'_, W>,
    from: PortKey,
    inbound: &Inbound<'_>,
    walked: &mut Walked,
) -> Step<End> {
    let a = match from {
        PortKey::Service(key) => return service::from_service(cx, key, inbound),
        PortKey::Eni(key) => cx.snapshot.eni(key).ok_or(DropReason::PortMissing)?,
    };
    let hop = match inbound.held_at_receiver() {
        Some((eni, leaves_subnet)) => Hop::resume(cx, eni, leaves_subnet),
        None => departure(cx, a, inbound, walked)?,
    };

    let b = hop.target?;
    walked.to = Some(b.key);
    let fragment = mtu::check(cx, a, b, &hop, inbound)?;

    let packet = fragments::join(cx, b, hop.place(b), a, inbound)?;
    walked.judged = Some(packet.ip);
    let arrival = side_b(cx, a, b, &hop, &packet);
    walked.b = Some(Side::of(b, &arrival));
    arrival?;

    Ok(End::Deliver(PortKey::Eni(b.key), hop.link(cx.snapshot, b), fragment))
}

/// From the sender's port to the end of its side.
fn departure<'s, W: Witness>(
    cx: &mut Context<'s, W>,
    a: &'s CompiledEni,
    inbound: &Inbound<'_>,
    walked: &mut Walked,
) -> Step<Hop<'s>> {
    let packet = admit::admit(cx, a, inbound)?;
    walked.judged = Some(packet.ip);
    let departure = side_a(cx, a, inbound, &packet);
    walked.a = Some(Side::of(a, &departure));
    departure
}

/// Side a: what the sender's security groups and its subnet's ACL say.
fn side_a<'s, W: Witness>(
    cx: &mut Context<'s, W>,
    a: &'s CompiledEni,
    inbound: &Inbound<'_>,
    packet: &Judged,
) -> Step<Hop<'s>> {
    let pass = group::judge(cx, a, Egress, packet, a.key)?;
    let hop = Hop::decide(cx, a, inbound.summary.destination_mac, packet);
    acl::judge(cx, a, Egress, packet, &hop)?;
    commit::commit(cx, a, Egress, pass, packet)?;
    mirror::tap(cx, a, Egress, &packet.ip);
    Ok(hop)
}

/// Side b: what the receiver's subnet's ACL and its security groups say.
fn side_b<'s, W: Witness>(
    cx: &mut Context<'s, W>,
    a: &CompiledEni,
    b: &'s CompiledEni,
    hop: &Hop<'s>,
    packet: &Judged,
) -> Step<()> {
    acl::judge(cx, b, Ingress, packet, hop)?;
    let pass = group::judge(cx, b, Ingress, packet, a.key)?;
    destination::check(cx, b, packet)?;
    commit::commit(cx, b, Ingress, pass, packet)?;
    mirror::tap(cx, b, Ingress, &packet.ip);
    Ok(())
}
