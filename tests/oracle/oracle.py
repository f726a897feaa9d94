"""The whole walk of a packet, from the specification alone: naive, stage by stage (RT-1, RT-2)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Optional

from model import World
from notation import TCP, UDP, Address, Packet, Unsupported
from tracking import ERRORS, Conn, Tracker, Verdict

PROTOCOL_WORDS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6"}


class Ambiguous(Exception):
    """The specification does not say which of several faults counts."""


@dataclass
class Outcome:
    """What becomes of a packet."""

    text: str  # `delivered NAME` or `dropped REASON`
    reply: bool = False  # whether the router tells the sender
    answer: Optional[str] = None  # what it says, where the specification fixes it
    at: str = ""  # the ENI that judged last


class _Drop(Exception):
    """Ends a walk."""

    def __init__(self, reason: str, reply: bool = False, answer: Optional[str] = None) -> None:
        super().__init__(reason)
        self.outcome = Outcome(f"dropped {reason}", reply, answer)


class Oracle:
    """The world, its connections, and the time in nanoseconds."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tracker = Tracker()
        self.now = 0

    def change(self, world: World) -> None:
        """Switches to another version of the configuration."""
        self.tracker.forget(self.world, world)
        if world.strict:
            self.tracker.revoke(world)
        self.world = world

    def send(self, packet: Packet) -> Outcome:
        """Walks a packet; tables change as the specification says."""
        sender = packet.port or self.world.owner(packet.src) or self.world.services.get(packet.src)
        assert sender is not None, packet
        try:
            if sender in self.world.enis:
                return self._from_eni(sender, packet)
            return self._from_service(sender, packet)
        except _Drop as drop:
            return drop.outcome

    # --- from a service (RES-3) ------------------------------------------------------------------------------------

    def _from_service(self, service: str, packet: Packet) -> Outcome:
        target = self.world.owner(packet.dst)
        if self.world.services.get(packet.src) != service or target is None:
            raise _Drop("service-path")
        return Outcome(f"delivered {target}")

    # --- from an ENI (RT-1) ----------------------------------------------------------------------------------------

    def _from_eni(self, eni: str, packet: Packet) -> Outcome:
        service = self._entry_checks(eni, packet)
        if service is not None:
            return Outcome(f"delivered service {service}")
        self._other_checks(eni, packet)
        world, now = self.world, self.now
        verdict = self.tracker.judge(world, eni, "egress", packet, None, now)
        if not verdict.allowed:
            raise _Drop("group-egress")
        target, direct = self._hand_over(eni, packet)
        if not direct:
            self._acl(eni, "egress", packet)
        if not self.tracker.commit(world, eni, verdict, now):
            raise _Drop("allowance-egress")
        if target is None:
            raise _Drop("unowned-address" if world.in_vpc(packet.dst) else "no-route")
        self._mtu(eni, target, direct, packet)
        return self._to_eni(eni, target, direct, packet)

    def _entry_checks(self, eni: str, packet: Packet) -> Optional[str]:
        """RES-43 up to the services: the service that takes the packet, if one does."""
        world, subnet = self.world, self.world.subnet(eni)
        own_target = packet.dst in world.own[eni]
        if packet.from_mac is not None:
            raise _Drop("source-mac")
        if packet.protocol == UDP and packet.v4 and packet.sport == 67:
            raise _Drop("dhcp-server")
        if packet.protocol == UDP and packet.dport in (67, 546, 547):
            raise Unsupported("DHCP")
        if not packet.v4 and packet.is_icmp and packet.icmp_type in (*range(130, 138), 143):
            raise Unsupported("neighbour or listener discovery")
        self._destination_mac(eni, packet)
        if packet.dst.is_link_local and packet.dst.version == 6:
            raise Ambiguous("unicast link-local")
        if world.exempt(subnet, packet.dst):
            service = world.services.get(packet.dst)
            if packet.src in world.own[eni]:
                fault = _header_fault(packet)
                if service is None or fault is not None:
                    raise _Drop("unserved" if service is None else fault or "")  # ADR 0004: malformed to a service
                return service
            if service is None or world.no_source(subnet, packet.src):
                raise Ambiguous("a foreign source and nobody there")
            raise _Drop("source-check")
        if own_target and (packet.src not in world.own[eni] or _header_fault(packet)):
            raise Ambiguous("own address and another fault")
        return None

    def _destination_mac(self, eni: str, packet: Packet) -> None:
        """SG-74 and RT-5 on the destination MAC address."""
        world, word = self.world, packet.to_mac
        if word is None:
            if packet.dst.is_multicast or packet.dst == ipaddress.IPv4Address("255.255.255.255"):
                raise _Drop("multicast")
            if packet.dst in world.own[eni]:
                raise Ambiguous("a frame to oneself")
            return
        if word == "router":
            return
        if word in world.enis and word != eni and world.subnet(word) == world.subnet(eni):
            return
        if ":" in word and int(word[:2], 16) & 1:
            raise _Drop("multicast")
        owner = world.owner(packet.dst)
        if owner is not None and world.subnet(owner) == world.subnet(eni):
            raise Ambiguous("RT-5: `whatever the destination MAC is: router or peer`, but this is neither")
        raise _Drop("destination-mac")

    def _other_checks(self, eni: str, packet: Packet) -> None:
        """RES-43 from RES-4 on."""
        world, subnet = self.world, self.world.subnet(eni)
        first_v6 = not packet.v4 and (world.first_four(subnet, packet.src) or world.last(subnet, packet.src))
        if first_v6:
            raise Ambiguous("RES-4 names no reserved IPv6 addresses of a subnet")
        if world.no_source(subnet, packet.src):
            raise _Drop("reserved-source")
        if world.checks(eni) and packet.src not in world.own[eni]:
            raise _Drop("source-check")
        fault = _header_fault(packet)
        if fault is not None:
            raise _Drop(fault)
        if not packet.v4 and world.last(subnet, packet.dst):
            raise Ambiguous("the last address of an IPv6 subnet")
        broadcast = packet.v4 and (world.last(subnet, packet.dst) or packet.dst == ipaddress.IPv4Address(2**32 - 1))
        if packet.dst.is_multicast or broadcast:
            raise _Drop("multicast")
        if packet.dst in world.own[eni]:
            raise _Drop("own-address")

    def _hand_over(self, eni: str, packet: Packet) -> tuple[Optional[str], bool]:
        """RT-5: the receiver, and whether it is in the same subnet."""
        world = self.world
        owner = world.owner(packet.dst)
        if owner is not None and world.subnet(owner) == world.subnet(eni):
            return owner, True
        if packet.to_mac is not None and packet.to_mac in world.enis:
            return packet.to_mac, True
        return owner, False

    def _acl(self, eni: str, direction: str, packet: Packet) -> None:
        denied = self.world.acl(self.world.subnet(eni), direction, packet)
        if denied is not None:
            raise _Drop(f"acl-{direction}-{denied}")

    def _mtu(self, eni: str, target: str, direct: bool, packet: Packet) -> None:
        """RT-60 to RT-63, by the receiver's MTU; RT-4 in one subnet."""
        mtu = self.world.mtu(target)
        if packet.largest_len() <= mtu:
            return
        if direct:
            raise _Drop("receiver-mtu")
        if packet.v4 and not packet.df:
            return  # fragmented on the way
        error = packet.is_icmp and packet.icmp_type in ERRORS[packet.src.version]  # RT-64
        answer = None
        if packet.v4 and packet.src in self.world.own[eni] and not error:
            router = ipaddress.ip_network(self.world.tables["subnet"][self.world.subnet(eni)]["cidr"])[1]
            length = min(576, 28 + packet.ip_len())
            answer = f"icmp {router} > {packet.src} type 3 code 4 mtu {mtu} len {length}"
        raise _Drop("mtu", not error, answer)

    # --- to an ENI (RT-2) ------------------------------------------------------------------------------------------

    def _to_eni(self, sender: str, eni: str, direct: bool, packet: Packet) -> Outcome:
        if not direct:
            self._acl(eni, "ingress", packet)
        verdict: Verdict = self.tracker.judge(self.world, eni, "ingress", packet, sender, self.now)
        if not verdict.allowed:
            raise _Drop("group-ingress")
        if self.world.checks(eni) and packet.dst not in self.world.own[eni]:
            raise _Drop("destination-check")
        if not self.tracker.commit(self.world, eni, verdict, self.now):
            raise _Drop("allowance-ingress")
        return Outcome(f"delivered {eni}")

    # --- what a scenario may ask -----------------------------------------------------------------------------------

    def connections(self) -> list[tuple[str, Conn]]:
        """All live entries with their ENI."""
        return [(eni, conn) for eni in self.tracker.tables for conn in self.tracker.live(eni, self.now)]

    def listing(self) -> list[str]:
        """`ENI PROTOCOL OPENER > OTHER STATE LEFT` of each."""
        return sorted(show(eni, conn, self.now) for eni, conn in self.connections())


def _header_fault(packet: Packet) -> Optional[str]:
    """CT-48, CT-40."""
    least = 20 if packet.protocol == TCP else 8 if packet.protocol == UDP or packet.is_icmp else 0
    if packet.upper_len() < least:
        return "truncated-transport"
    if packet.protocol != TCP:
        return None
    sent = packet.flags & {"syn", "fin", "rst"}
    if len(sent) > 1 or not packet.flags & {"syn", "ack", "fin", "rst", "psh", "urg"}:
        return "tcp-flags"
    return None


def endpoint(end: tuple[Address, int], ports: bool) -> str:
    """An address, with a port if there is one."""
    host, port = end
    if not ports:
        return str(host)
    return f"{host}:{port}" if host.version == 4 else f"[{host}]:{port}"


def span(nanoseconds: int) -> str:
    """A time as scenario files write it."""
    whole, rest = divmod(nanoseconds, 10**9)
    return f"{whole}s {rest}ns" if rest else f"{whole}s"


def show(eni: str, conn: Conn, now: int) -> str:
    """An entry as scenario files write it."""
    word = PROTOCOL_WORDS.get(conn.protocol, f"proto {conn.protocol}")
    ends = [conn.local, conn.remote] if conn.origin == "egress" else [conn.remote, conn.local]
    first, second = (endpoint(end, conn.protocol in (TCP, UDP)) for end in ends)
    return f"{eni} {word} {first} > {second} {conn.state} {span(conn.expiry - now)}"
