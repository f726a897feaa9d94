//! What a guest may send at all: RES-3, RES-4 and RES-41..43, in the order in which RES-43 counts the faults.

use std::net::{IpAddr, Ipv4Addr};

use palisade_packet::{IpPacket, MacAddr};
use palisade_policy::CompiledEni;

use crate::end::Step;
use crate::fragments::Place;
use crate::intake::{Inbound, Judged, sane};
use crate::reason::DropReason;
use crate::stages::{fragments, link, service};
use crate::walk::Context;
use crate::witness::{Event, Witness};

/// Lets a frame of ENI `a` into the fabric, or ends its journey: answered on the link, handed to a service, dropped.
pub(crate) fn admit<'s, W: Witness>(
    cx: &mut Context<'s, W>,
    a: &'s CompiledEni,
    inbound: &Inbound<'_>,
) -> Step<Judged> {
    if inbound.summary.source_mac != a.mac {
        return Err(DropReason::SourceMac.into());
    }
    link::handle(cx, a, inbound)?;
    let ip = inbound.ip()?;
    known_mac(cx, a, inbound.summary.destination_mac)?;
    service::from_guest(cx, a, inbound, ip)?;
    honest_source(cx, a, ip)?;
    sound(cx, a, inbound, ip)?;
    single_destination(cx, a, ip.destination)?;
    cx.witness.saw(Event::Admitted { eni: a });
    fragments::join(cx, a, Place::Sender, a, inbound)
}

/// Header sanity. An unsound fragment takes its whole datagram with it (CT-63).
fn sound<W: Witness>(
    cx: &mut Context<'_, W>,
    a: &CompiledEni,
    inbound: &Inbound<'_>,
    ip: &IpPacket,
) -> Result<(), DropReason> {
    sane(ip).inspect_err(|_| fragments::condemn(cx, a, inbound, ip))
}

/// The router's MAC address, or that of another ENI of the subnet (RT-5).
fn known_mac<W>(cx: &Context<'_, W>, a: &CompiledEni, mac: MacAddr) -> Result<(), DropReason> {
    if mac.is_group() {
        return Err(DropReason::Multicast);
    }
    let peer = || cx.snapshot.eni_by_mac(a.subnet, mac).is_some_and(|eni| eni.key != a.key);
    if mac == cx.snapshot.subnet(a.subnet).router_mac || peer() {
        Ok(())
    } else {
        Err(DropReason::DestinationMac)
    }
}

/// RES-4, which no setting lifts, then the source check (RES-42).
fn honest_source<W>(cx: &Context<'_, W>, a: &CompiledEni, ip: &IpPacket) -> Result<(), DropReason> {
    if never_a_source(ip.source)
        || cx.snapshot.reserved(a.subnet, ip.source).is_some()
        || cx.snapshot.is_subnet_broadcast(a.subnet, ip.source)
    {
        return Err(DropReason::ReservedSource);
    }
    if a.source_dest_check && !a.addresses.contains(&ip.source) {
        return Err(DropReason::SourceCheck);
    }
    Ok(())
}

/// Sources that no guest may use in any subnet (RES-4); those that depend on the subnet are asked of the snapshot.
fn never_a_source(source: IpAddr) -> bool {
    match source {
        IpAddr::V4(v4) => matches!(v4.octets(), [0 | 127 | 224..=255, ..] | [169, 254, ..]),
        IpAddr::V6(v6) => {
            v6.is_unspecified() || v6.is_loopback() || v6.is_multicast() || v6.is_unicast_link_local()
        }
    }
}

/// SG-72 and SG-74: not itself, not everybody.
fn single_destination<W>(
    cx: &Context<'_, W>,
    a: &CompiledEni,
    destination: IpAddr,
) -> Result<(), DropReason> {
    if a.addresses.contains(&destination) {
        return Err(DropReason::OwnAddress);
    }
    let many = destination.is_multicast()
        || destination == IpAddr::V4(Ipv4Addr::BROADCAST)
        || cx.snapshot.is_subnet_broadcast(a.subnet, destination);
    if many { Err(DropReason::Multicast) } else { Ok(()) }
}
