//! Says in words what a frame that goes back to its sender is.

use palisade_packet::{Body, IpPacket, MacAddr, Transport, ndp, parse};
use palisade_policy::Snapshot;

/// `arp ADDRESS is-at MAC`, `neighbour ADDRESS is-at MAC`, or `icmp SOURCE > DESTINATION type N code N mtu N len N`.
pub(crate) fn describe(snapshot: &Snapshot, frame: &[u8]) -> String {
    match parse(frame) {
        Ok(summary) => match summary.body {
            Body::Arp(arp) => format!("arp {} is-at {}", arp.sender, owner(snapshot, arp.sender_mac)),
            Body::Ip(packet) => {
                advertisement(snapshot, frame, &packet).unwrap_or_else(|| message(frame, &packet))
            }
        },
        Err(fault) => format!("{fault:?}"),
    }
}

fn advertisement(snapshot: &Snapshot, frame: &[u8], packet: &IpPacket) -> Option<String> {
    let Transport::Icmp(icmp) = packet.transport else { return None };
    if icmp.icmp_type != 136 || packet.is_ipv4() {
        return None;
    }
    ndp::read(frame, packet).ok()?;
    let start = usize::from(packet.transport_offset);
    let target: [u8; 16] = frame.get(start + 8..start + 24)?.try_into().ok()?;
    let mac: [u8; 6] = frame.get(start + 26..start + 32)?.try_into().ok()?;
    let (target, mac) = (std::net::Ipv6Addr::from(target), owner(snapshot, MacAddr(mac)));
    Some(format!("neighbour {target} is-at {mac}"))
}

fn message(frame: &[u8], packet: &IpPacket) -> String {
    let (source, destination, len) = (packet.source, packet.destination, packet.ip_len);
    let Transport::Icmp(icmp) = packet.transport else {
        return format!("proto {} {source} > {destination} len {len}", packet.protocol);
    };
    let start = usize::from(packet.transport_offset);
    let mtu = frame
        .get(start + 4..start + 8)
        .map_or(0, |field| field.iter().fold(0_u32, |number, octet| number << 8 | u32::from(*octet)));
    let name = if icmp.v6 { "icmpv6" } else { "icmp" };
    let (icmp_type, code) = (icmp.icmp_type, icmp.code);
    format!("{name} {source} > {destination} type {icmp_type} code {code} mtu {mtu} len {len}")
}

/// `router`, the name of an ENI or service, or the address itself.
pub(crate) fn owner(snapshot: &Snapshot, mac: MacAddr) -> String {
    let eni = snapshot.enis().iter().find(|eni| eni.mac == mac);
    let service = snapshot.services().iter().find(|service| service.mac == mac);
    let router = || snapshot.enis().iter().any(|eni| snapshot.subnet(eni.subnet).router_mac == mac);
    match (eni, service) {
        (Some(eni), _) => snapshot.vpc()[eni.index].name.clone(),
        (None, Some(service)) => service.name.clone(),
        (None, None) if router() => "router".to_owned(),
        (None, None) => mac.to_string(),
    }
}
