//! The MTU of the path (RT-60..64). Of a segmentation-offload frame the largest packet it will become is compared.

use std::net::IpAddr;

use palisade_packet::build::deserves_error;
use palisade_packet::{IpPacket, MacAddr};
use palisade_policy::CompiledEni;
use palisade_policy::model::Service;

use crate::end::{End, Step};
use crate::handover::Hop;
use crate::intake::Inbound;
use crate::outcome::Reply;
use crate::reason::DropReason;
use crate::stages::service::FABRIC_MAC;
use crate::walk::Context;
use crate::witness::{Event, Witness};

/// MTU inside a VPC, in bytes of IP packet (RT-60).
pub(crate) const VPC_MTU: u16 = 9001;

/// Between two ENIs. `Some(mtu)`: fragment to it.
pub(crate) fn check<'s, W: Witness>(
    cx: &mut Context<'s, W>,
    a: &CompiledEni,
    b: &CompiledEni,
    hop: &Hop<'s>,
    inbound: &Inbound<'_>,
) -> Step<Option<u16>> {
    if !hop.leaves_subnet {
        // RT-4: no router stands between the two, so nobody can fragment or tell the sender.
        let fits = inbound.offload.largest_ip_len(inbound.ip()?) <= b.mtu.into();
        return if fits { Ok(None) } else { Err(DropReason::ReceiverMtu.into()) };
    }
    path(cx, b.mtu.min(VPC_MTU), inbound, (a, cx.snapshot.subnet(a.subnet).router_mac))
}

/// From a guest to a service.
pub(crate) fn to_service<W: Witness>(
    cx: &mut Context<'_, W>,
    a: &CompiledEni,
    inbound: &Inbound<'_>,
) -> Step<Option<u16>> {
    path(cx, Service::MTU, inbound, (a, cx.snapshot.subnet(a.subnet).router_mac))
}

/// From a service to a guest; the service is told by the guest's router.
pub(crate) fn from_service<W: Witness>(
    cx: &mut Context<'_, W>,
    b: &CompiledEni,
    inbound: &Inbound<'_>,
) -> Step<Option<u16>> {
    path(cx, b.mtu.min(VPC_MTU), inbound, (b, FABRIC_MAC))
}

fn path<W: Witness>(
    cx: &mut Context<'_, W>,
    mtu: u16,
    inbound: &Inbound<'_>,
    (eni, router_mac): (&CompiledEni, MacAddr),
) -> Step<Option<u16>> {
    let ip = inbound.ip()?;
    let largest = inbound.offload.largest_ip_len(ip);
    let fits = largest <= mtu.into();
    if !fits && ip.dont_fragment {
        let router = router_address(cx, eni, ip).filter(|_| deserves_error(ip));
        let reply = router.map(|router| Reply::TooBig { mtu, router, router_mac });
        return Err(End::Drop(DropReason::Mtu, reply));
    }
    cx.witness.saw(Event::PathMtu { mtu, largest, fragments: !fits });
    Ok(if fits { None } else { Some(mtu) })
}

fn router_address<W>(cx: &Context<'_, W>, eni: &CompiledEni, ip: &IpPacket) -> Option<IpAddr> {
    let subnet = cx.snapshot.subnet(eni.subnet);
    if ip.is_ipv4() { Some(subnet.router_v4.into()) } else { subnet.router_v6.map(IpAddr::V6) }
}
