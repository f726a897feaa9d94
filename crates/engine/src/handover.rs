//! Hand-over (RT-5): to an ENI of the same subnet, directly, or to the implicit router and its route table.

use palisade_packet::MacAddr;
use palisade_policy::{CompiledEni, EniKey, Snapshot};

use crate::fragments::Place;
use crate::intake::Judged;
use crate::outcome::Link;
use crate::reason::DropReason;
use crate::walk::Context;
use crate::witness::{Event, Witness};

/// Where a packet goes next. Decided before the ACL stage, because ACLs depend on it; its effect comes after (RT-1).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hop<'s> {
    /// The receiver, or why there is none.
    pub(crate) target: Result<&'s CompiledEni, DropReason>,
    /// The packet leaves its subnet: ACLs, routes and the router's ICMP errors apply (NACL-20).
    pub(crate) leaves_subnet: bool,
}

impl<'s> Hop<'s> {
    /// Decides where a packet of ENI `a` goes that is sent to this MAC address.
    pub(crate) fn decide<W: Witness>(
        cx: &mut Context<'s, W>,
        a: &CompiledEni,
        next_hop: MacAddr,
        packet: &Judged,
    ) -> Self {
        let neighbour = cx.snapshot.owner(packet.ip.destination).filter(|owner| owner.subnet == a.subnet);
        let by_mac = || cx.snapshot.eni_by_mac(a.subnet, next_hop);
        if let Some(to) = neighbour.or_else(by_mac) {
            cx.witness.saw(Event::SameSubnet { to, by_mac: neighbour.is_none() });
            return Self { target: Ok(to), leaves_subnet: false };
        }
        cx.witness.saw(Event::ToRouter);
        let target = route(cx.snapshot, packet);
        if let Ok(to) = target {
            cx.witness.saw(Event::Routed { to });
        }
        Self { target, leaves_subnet: true }
    }

    /// Takes up again what was decided before a fragment had to wait at its receiver (CT-61).
    pub(crate) fn resume<W: Witness>(cx: &mut Context<'s, W>, receiver: EniKey, leaves_subnet: bool) -> Self {
        let target = cx.snapshot.eni(receiver).ok_or(DropReason::PortMissing);
        if let Ok(to) = target {
            cx.witness.saw(Event::Resumed { to });
        }
        Self { target, leaves_subnet }
    }

    /// Where a fragment of this packet waits at its receiver.
    pub(crate) const fn place(&self, b: &CompiledEni) -> Place {
        Place::Receiver { eni: b.key, leaves_subnet: self.leaves_subnet }
    }

    /// The MAC addresses of the frame that `b` receives: a routed packet comes from its router, a neighbour's from
    /// the neighbour.
    pub(crate) fn link(&self, snapshot: &Snapshot, b: &CompiledEni) -> Link {
        let source = self.leaves_subnet.then(|| snapshot.subnet(b.subnet).router_mac);
        Link { source, destination: b.mac }
    }
}

/// The subnet's route table, which has only its `local` routes so far (RT-11): one per CIDR block of the VPC.
fn route<'s>(snapshot: &'s Snapshot, packet: &Judged) -> Result<&'s CompiledEni, DropReason> {
    if !snapshot.in_vpc(packet.ip.destination) {
        return Err(DropReason::NoRoute);
    }
    snapshot.owner(packet.ip.destination).ok_or(DropReason::UnownedAddress)
}
