"""What the fabric itself answers or consumes: ARP, neighbour and listener discovery, DHCP (RES-23v6, RES-31, RES-40)."""

from __future__ import annotations

import ipaddress
from typing import Optional

from model import World
from outcome import Ambiguous, Drop, Outcome
from packets import UDP, Address, Arp, Packet
from reach import hit

LISTENER = (130, 131, 132, 143)
ROUTER_SOLICIT, ROUTER_ADVERTISE, SOLICIT, ADVERTISE, REDIRECT = range(133, 138)
ALL_DHCP = ipaddress.ip_address("ff02::1:2")
BROADCAST = ipaddress.ip_address("255.255.255.255")
NOBODY = (ipaddress.ip_address("0.0.0.0"), ipaddress.ip_address("::"))
ROUTER_LINK = ipaddress.ip_address("fe80:ec2::1")  # RES-22v6


def arp(world: World, eni: str, packet: Arp) -> Outcome:
    """RES-40, RES-40a."""
    own = world.own[eni]
    if not world.is_mac_of(packet.from_mac, eni):
        raise Drop("source-mac", eni)
    if not world.is_mac_of(packet.sender_mac, eni):
        hit("RES-40 sender MAC is not its own")
        raise Drop("arp-spoof", eni, answer="none")
    probe = packet.sender in NOBODY and not packet.reply
    if packet.sender not in own and not probe:
        hit("RES-40 sender address is not its own")
        raise Drop("arp-spoof", eni, answer="none")
    if packet.reply:
        hit("RES-40 a reply changes nothing")
        return _consumed("arp")
    if packet.target in own:
        if probe:
            hit("RES-40a probe for the own address")
        else:
            hit("RES-40 gratuitous")
        return _consumed("arp")
    if probe:
        hit("RES-40a probe for another address")
    mac = _answered(world, eni, packet.target)
    return _consumed("arp", mac and f"arp {packet.target} is-at {mac}")


def link_scope(world: World, eni: str, packet: Packet) -> Optional[Outcome]:
    """What is consumed of IP; `None` if it is none of that."""
    if packet.is_later:
        return None  # its upper layer is unknown
    if packet.protocol == UDP:
        return _dhcp(world, eni, packet)
    if packet.v4 or not packet.is_icmp:
        return None
    if packet.icmp_type in LISTENER:
        return _listener(world, eni, packet)
    if ROUTER_SOLICIT <= packet.icmp_type <= REDIRECT:
        return _discovery(world, eni, packet)
    return None


def _consumed(what: str, answer: Optional[str] = None) -> Outcome:
    return Outcome(f"consumed {what}", reply=answer is not None, answer=answer or "none")


def _answered(world: World, eni: str, target: Address) -> Optional[str]:
    """Whose MAC address is told (RES-40, RES-40b, ADR 0005): the router's, a neighbour's, or nobody's."""
    subnet = world.subnet(eni)
    if target in (world.router(subnet, 4), world.router(subnet, 6), ROUTER_LINK):
        hit("RES-40 the router")
        return "router"
    if world.service(subnet, target) is not None:
        hit("RES-40 a reserved service")
        return "router"
    owner = world.owner(target)
    if owner is not None and world.subnet(owner) == subnet:
        hit("RES-40 a neighbour")
        return owner
    hit("RES-40 nobody")
    return None


# --- DHCP ----------------------------------------------------------------------------------------------------------


def _dhcp(world: World, eni: str, packet: Packet) -> Optional[Outcome]:
    """RES-31, RES-23v6."""
    if packet.v4 and packet.sport == 67:
        hit("RES-31 a guest is no DHCP server")
        raise Drop("dhcp-server", eni)
    if packet.v4 and (packet.sport, packet.dport, packet.dst) == (68, 67, BROADCAST):
        return _from_client(world, eni, packet)
    if not packet.v4 and (packet.sport, packet.dport, packet.dst) == (546, 547, ALL_DHCP):
        return _from_client(world, eni, packet)
    if packet.v4 and packet.dport == 67 and (packet.sport == 68 or world.owner(packet.dst) is None):
        raise Ambiguous("RES-31: which packets are DHCP")
    if not packet.v4 and packet.dst.is_multicast and packet.dport in (546, 547):
        raise Ambiguous("RES-23v6: which packets are DHCPv6")
    return None


def _from_client(world: World, eni: str, packet: Packet) -> Outcome:
    """RES-43: a local service accepts only the ENI's own addresses, for DHCP also 0.0.0.0, and link scope (RES-23v6)."""
    if packet.upper_len() < 8 or packet.is_fragment or packet.before:
        raise Ambiguous("DHCP that cannot be read")
    if packet.src not in world.own[eni] and packet.src != NOBODY[0] and not _link_local(packet.src):
        hit("RES-43 DHCP for somebody else")
        raise Drop("source-check", eni)
    hit("RES-31 consumed")
    return _consumed("dhcp")


# --- discovery -----------------------------------------------------------------------------------------------------


def _link_local(wanted: Address) -> bool:
    return wanted.version == 6 and wanted.is_link_local


def _listener(world: World, eni: str, packet: Packet) -> Outcome:
    """RES-23v6."""
    if not packet.dst.is_multicast or packet.upper_len() < 8 or packet.is_fragment:
        raise Ambiguous("listener discovery outside link scope")
    if packet.src not in world.own[eni] and not _link_local(packet.src) and packet.src != NOBODY[1]:
        raise Ambiguous("listener discovery for somebody else")
    hit("RES-23v6 listener discovery")
    return _consumed("multicast-listener")


def _discovery(world: World, eni: str, packet: Packet) -> Outcome:
    """RES-23v6, RES-24v6, RES-40b, ADR 0005."""
    if packet.upper_len() < packet.header_len() or packet.is_fragment or packet.before:
        raise Ambiguous("discovery that cannot be read")
    if packet.icmp_type not in (SOLICIT, ADVERTISE) and not packet.dst.is_multicast:
        raise Ambiguous("router discovery or redirect outside link scope")
    if packet.ttl != 255:
        hit("RES-24v6 another hop limit than 255")
        raise Drop("ndp-invalid", eni)
    detection = packet.src == NOBODY[1] and packet.icmp_type == SOLICIT
    own = packet.src in world.own[eni] or _link_local(packet.src)
    if packet.icmp_type not in (SOLICIT, ADVERTISE):
        if not own:
            raise Ambiguous("router discovery for somebody else")
        hit("RES-23v6 router discovery")
        return _consumed("neighbour-discovery")
    if detection and not packet.dst.is_multicast:
        raise Ambiguous("RFC 4861: duplicate-address detection goes to a group")
    if not own and not detection:
        hit("RES-40b source is not its own")
        raise Drop("ndp-spoof", eni)
    if packet.link is not None and detection:
        raise Ambiguous("RFC 4861: no link-layer option in duplicate-address detection")
    if not world.is_mac_of(packet.link, eni):
        hit("RES-40b link-layer option is not its own")
        raise Drop("ndp-spoof", eni)
    return _solicited(world, eni, packet, detection)


def _solicited(world: World, eni: str, packet: Packet, detection: bool) -> Outcome:
    if packet.icmp_type == ADVERTISE:
        hit("RES-40b an advertisement changes nothing")
        return _consumed("neighbour-discovery")
    assert packet.discovery is not None and packet.discovery[1] is not None, packet
    target = packet.discovery[1]
    if target in world.own[eni]:
        if detection:
            hit("RES-40b detection of the own address")
        else:
            hit("RES-40b solicitation for the own address")
        return _consumed("neighbour-discovery")
    if detection:
        hit("RES-40b detection of another address")
    mac = _answered(world, eni, target)
    return _consumed("neighbour-discovery", mac and f"neighbour {target} is-at {mac}")
