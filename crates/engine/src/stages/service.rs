//! The service path (RES-1, RES-3): reserved addresses, unfiltered, between one ENI and one service and never further.
//!
//! Exemption belongs to this path, not to an address in a header: a packet either goes to the service that owns its
//! destination or ends here, so no guest reaches another by a reserved or link-local address.

use std::net::IpAddr;

use palisade_packet::{Body, Direction, IpPacket, MacAddr};
use palisade_policy::{CompiledEni, CompiledService, PortKey, Reserved, ServiceKey};

use crate::end::{End, Step};
use crate::intake::{Inbound, sane};
use crate::outcome::Link;
use crate::reason::DropReason;
use crate::stages::link::Speaker;
use crate::stages::{mirror, mtu};
use crate::walk::Context;
use crate::witness::{Event, Witness};

/// The fabric's own MAC address on the link of every service; on a subnet's links it is the implicit router's.
pub(crate) const FABRIC_MAC: MacAddr = MacAddr([0x02, 0x50, 0x41, 0x4c, 0x00, 0x01]);

/// Ends the journey of a guest's packet to a reserved address: at the service, or nowhere (RES-5).
pub(crate) fn from_guest<'s, W: Witness>(
    cx: &mut Context<'s, W>,
    a: &'s CompiledEni,
    inbound: &Inbound<'_>,
    ip: &IpPacket,
) -> Step<()> {
    let service = match cx.snapshot.reserved(a.subnet, ip.destination) {
        Some(Reserved::Service(key)) => cx.snapshot.service(key).ok_or(DropReason::Unserved)?,
        Some(Reserved::Router | Reserved::Unserved) => return Err(DropReason::Unserved.into()),
        None if is_link_local(ip.destination) => return Err(DropReason::Unserved.into()),
        None => return Ok(()),
    };
    if !a.addresses.contains(&ip.source) {
        return Err(DropReason::SourceCheck.into()); // RES-43: whatever the check setting
    }
    sane(ip)?;
    cx.witness.saw(Event::ServicePath { service: &service.name });
    mirror::tap_service(cx, a, Direction::Egress, ip);
    let fragment = mtu::to_service(cx, a, inbound)?;
    let link = Link { source: Some(FABRIC_MAC), destination: service.mac };
    Err(End::Deliver(PortKey::Service(service.key), link, fragment))
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// Walks a service's frame: from its own addresses to an ENI that may see them, and to nothing else (RES-3).
pub(crate) fn from_service<W: Witness>(
    cx: &mut Context<'_, W>,
    key: ServiceKey,
    inbound: &Inbound<'_>,
) -> Step<End> {
    let service = cx.snapshot.service(key).ok_or(DropReason::PortMissing)?;
    if inbound.summary.source_mac != service.mac {
        return Err(DropReason::SourceMac.into());
    }
    on_its_link(cx, service, inbound)?;
    let ip = inbound.ip()?;
    if inbound.summary.destination_mac.is_group() {
        return Err(DropReason::Multicast.into());
    }
    let b = cx.snapshot.owner(ip.destination).ok_or(DropReason::ServicePath)?;
    if !service.addresses.contains(&ip.source) || !sees(cx, b, ip.source, key) {
        return Err(DropReason::ServicePath.into());
    }
    sane(ip)?;
    cx.witness.saw(Event::ServicePath { service: &service.name });
    let fragment = mtu::from_service(cx, b, inbound)?;
    let link = Link { source: Some(cx.snapshot.subnet(b.subnet).router_mac), destination: b.mac };
    mirror::tap_service(cx, b, Direction::Ingress, ip);
    Ok(End::Deliver(PortKey::Eni(b.key), link, fragment))
}

/// A service on another subnet's reserved address is not reachable from here, so it may not answer here (RES-8).
fn sees<W>(cx: &Context<'_, W>, b: &CompiledEni, source: IpAddr, key: ServiceKey) -> bool {
    cx.snapshot.reserved(b.subnet, source) == Some(Reserved::Service(key))
}

/// ARP and neighbour discovery of a service: the fabric answers for every ENI.
fn on_its_link<W>(cx: &Context<'_, W>, service: &CompiledService, inbound: &Inbound<'_>) -> Step<()> {
    let who = Speaker { mac: service.mac, addresses: &service.addresses };
    let known = |target: IpAddr| cx.snapshot.owner(target).map(|_| FABRIC_MAC);
    match &inbound.summary.body {
        Body::Arp(arp) => Err(who.arp(arp, |target| known(target.into()))),
        Body::Ip(ip) => who.ip(inbound.frame, ip, |target| known(target.into()).map(|mac| (mac, true))),
    }
}
