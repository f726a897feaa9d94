//! Link scope: ARP, neighbour discovery, MLD and DHCP are the fabric's own and never reach another guest
//! (RES-31, RES-40, RES-40a, RES-40b, RES-23v6).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use palisade_packet::ndp::{self, NdpMessage};
use palisade_packet::{Arp, Body, Icmp, IpPacket, MacAddr, Transport};
use palisade_policy::{CompiledEni, Reserved};

use crate::end::{End, Step};
use crate::intake::Inbound;
use crate::outcome::Reply;
use crate::reason::{Consumed, DropReason};
use crate::walk::Context;

const ALL_DHCP_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

/// Ends the journey of link-scope traffic of a guest; lets everything else go on.
pub(crate) fn handle<W>(cx: &Context<'_, W>, a: &CompiledEni, inbound: &Inbound<'_>) -> Step<()> {
    let who = Speaker { mac: a.mac, addresses: &a.addresses };
    match &inbound.summary.body {
        Body::Arp(arp) => Err(who.arp(arp, |target| mac_of(cx, a, IpAddr::V4(target)).map(|(mac, _)| mac))),
        Body::Ip(ip) => who.ip(inbound.frame, ip, |target| mac_of(cx, a, IpAddr::V6(target))),
    }
}

/// Who answers for an address on the link of `a`, and whether that is the router. Nobody answers for the asker's own
/// address: that would break its duplicate-address detection (RES-40a, RES-40b).
fn mac_of<W>(cx: &Context<'_, W>, a: &CompiledEni, target: IpAddr) -> Option<(MacAddr, bool)> {
    match cx.snapshot.reserved(a.subnet, target) {
        Some(Reserved::Router | Reserved::Service(_)) => {
            Some((cx.snapshot.subnet(a.subnet).router_mac, true))
        }
        Some(Reserved::Unserved) => None,
        None => {
            let owner = cx.snapshot.owner(target)?;
            (owner.subnet == a.subnet && owner.key != a.key).then_some((owner.mac, false))
        }
    }
}

/// Whoever is at the other end of a link: a guest or a service.
pub(crate) struct Speaker<'a> {
    pub(crate) mac: MacAddr,
    pub(crate) addresses: &'a [IpAddr],
}

impl Speaker<'_> {
    /// Judges an ARP packet and answers it if `mac_of` knows the target.
    pub(crate) fn arp(&self, arp: &Arp, mac_of: impl FnOnce(Ipv4Addr) -> Option<MacAddr>) -> End {
        let request = arp.operation == 1;
        let probe = request && arp.sender.is_unspecified();
        if arp.sender_mac != self.mac || !(probe || self.owns(arp.sender.into())) {
            return DropReason::ArpSpoof.into();
        }
        let answer = if request && !self.owns(arp.target.into()) { mac_of(arp.target) } else { None };
        End::Consume(Consumed::Arp, answer.map(|mac| Reply::Arp { address: arp.target, mac }))
    }

    /// Judges the link-scope part of IP; anything else goes on.
    pub(crate) fn ip(
        &self,
        frame: &[u8],
        ip: &IpPacket,
        mac_of: impl FnOnce(Ipv6Addr) -> Option<(MacAddr, bool)>,
    ) -> Step<()> {
        match ip.transport {
            Transport::Icmp(icmp) if icmp.v6 => self.icmpv6(frame, ip, &icmp, mac_of),
            Transport::Udp { source, destination } => self.dhcp(ip, source, destination),
            _ => Ok(()),
        }
    }

    fn icmpv6(
        &self,
        frame: &[u8],
        ip: &IpPacket,
        icmp: &Icmp,
        mac_of: impl FnOnce(Ipv6Addr) -> Option<(MacAddr, bool)>,
    ) -> Step<()> {
        if matches!(icmp.icmp_type, 130..=132 | 143) {
            return Err(End::Consume(Consumed::Multicast, None));
        }
        if !ndp::is_ndp(ip) {
            return Ok(());
        }
        let message = ndp::read(frame, ip).map_err(|_| DropReason::NdpInvalid)?;
        let named = match &message {
            NdpMessage::Solicitation(neighbour) | NdpMessage::Advertisement(neighbour) => Some(neighbour),
            NdpMessage::Other => None,
        };
        // Only who asks may lack an address of its own; an advertisement from `::` speaks for nobody (RES-40b).
        let nobody = ip.source.is_unspecified() && matches!(message, NdpMessage::Advertisement(_));
        if nobody
            || !self.owns_source(ip.source)
            || named.is_some_and(|neighbour| !neighbour.speaks_only_for(self.mac))
        {
            return Err(DropReason::NdpSpoof.into());
        }
        let asked = match message {
            NdpMessage::Solicitation(neighbour) => Some(neighbour.target),
            NdpMessage::Advertisement(_) | NdpMessage::Other => None,
        };
        let answer = asked.filter(|target| !self.owns((*target).into())).and_then(|address| {
            let (mac, router) = mac_of(address)?;
            Some(Reply::Neighbour { address, mac, router })
        });
        Err(End::Consume(Consumed::Neighbour, answer))
    }

    /// The source is one of the speaker's addresses, unspecified (duplicate-address detection) or link-local. A guest
    /// may form any link-local address: nothing with one is ever forwarded (RES-23v6), so none can be stolen.
    fn owns_source(&self, source: IpAddr) -> bool {
        matches!(source, IpAddr::V6(v6) if v6.is_unspecified() || v6.is_unicast_link_local())
            || self.owns(source)
    }

    fn owns(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address)
    }

    /// DHCP from a guest goes to the fabric alone, which listens to nobody who speaks for another (RES-43), and no guest
    /// acts as a server (RES-31).
    fn dhcp(&self, ip: &IpPacket, source: u16, destination: u16) -> Step<()> {
        let consumed = match (ip.destination, source, destination) {
            (IpAddr::V4(_), 67, _) => return Err(DropReason::DhcpServer.into()),
            (IpAddr::V4(to), 68, 67) => to == Ipv4Addr::BROADCAST || ip.source.is_unspecified(),
            (IpAddr::V6(to), 546, 547) => to == ALL_DHCP_SERVERS,
            _ => false,
        };
        let honest = match ip.source {
            IpAddr::V4(v4) => v4.is_unspecified() || self.owns(ip.source),
            IpAddr::V6(v6) => v6.is_unicast_link_local() || self.owns(ip.source),
        };
        match (consumed, honest) {
            (false, _) => Ok(()),
            (true, true) => Err(End::Consume(Consumed::Dhcp, None)),
            (true, false) => Err(DropReason::SourceCheck.into()),
        }
    }
}
