"""The whole walk of a packet, from the specification alone: naive, stage by stage (RT-1, RT-2)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from typing import Callable, Optional, Union

import link
import path
from fragments import GONE, Fragments, Held, Sight, invalid, least
from model import World
from notation import Unsupported
from outcome import Ambiguous, Drop, Outcome
from packets import MOST_EXTENSIONS, TCP, UDP, Address, Arp, Packet
from path import Limiter
from reach import hit
from tracking import Conn, Tracker, Verdict

PROTOCOL_WORDS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6"}

Walk = Callable[[], Outcome]
Waiting = tuple[Held, Optional[Sight]]  # a fragment that waits no more, and how it is judged; `None`: condemned (CT-63)
Saved = tuple[Tracker, Fragments, Limiter, Counter[str]]


class Oracle:
    """The world, its connections and fragments, and the time in nanoseconds."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tracker = Tracker()
        self.fragments = Fragments()
        self.limiter = Limiter()
        self.ends: Counter[str] = Counter()  # packets by what became of them, without those that waited in vain
        self.now = 0
        self._waiting: list[Waiting] = []
        self._by: list[str] = []  # decisions on the way; empty: by a rule whose id is not known

    def change(self, world: World) -> None:
        """Switches to another version of the configuration."""
        self.fragments.expire(self.now)
        self.tracker.forget(self.world, world)
        if world.strict:
            self.tracker.revoke(world)
        self.fragments.forget(set(self.world.enis) - set(world.enis))
        self.world = world

    def send(self, packet: Union[Packet, Arp]) -> Outcome:
        """Walks a packet; tables change as the specification says, or not at all if it does not say enough."""
        before = self.save()
        self.fragments.expire(self.now)
        self._waiting = []
        try:
            outcome = self._ended(lambda: self._walk(packet))
            while self._waiting:
                outcome.released.append(self._ended(partial(self._go_on, *self._waiting.pop(0))))
        except (Ambiguous, Unsupported):
            self.restore(before)
            raise
        self._count(packet, outcome)
        return outcome

    def _ended(self, walk: Walk) -> Outcome:
        """How a walk ends."""
        self._by = []
        try:
            outcome = walk()
        except Drop as drop:
            outcome = drop.outcome
            self._waiting += [(held, None) for held in drop.condemned]
        outcome.by = self._by if all(self._by) else None
        return outcome

    def _count(self, packet: Union[Packet, Arp], outcome: Outcome) -> None:
        """A segmentation-offload frame counts as the packets it stands for."""
        packets = packet.segments() if isinstance(packet, Packet) else 1
        self.ends["received"] += packets
        self.ends["generated"] += outcome.reply
        self.ends["delivered"] += outcome.reply
        for one, count in [(outcome, packets), *((released, 1) for released in outcome.released)]:
            kind = one.text.split()[0]
            if one.packets is not None:
                self.ends["delivered"] += one.packets
                self.ends["generated"] += one.packets - count
            if kind in ("dropped", "consumed"):
                self.ends[f"{kind}.{one.reason}"] += count
            if one.reason in ("allowance-egress", "allowance-ingress"):
                self.ends[f"eni.{one.full.split()[1]}.conntrack_allowance_exceeded"] += count

    def save(self) -> Saved:
        """What `restore` takes."""
        return self.tracker.copy(), self.fragments.copy(), self.limiter.copy(), Counter(self.ends)

    def restore(self, saved: Saved) -> None:
        """Goes back to where it was."""
        self.tracker, self.fragments, self.limiter, self.ends = saved

    def _walk(self, packet: Union[Packet, Arp]) -> Outcome:
        source = packet.sender if isinstance(packet, Arp) else packet.src
        sender = packet.port or self.world.owner(source) or self.world.services.get(source)
        assert sender is not None, packet
        if sender not in self.world.enis:
            return self._from_service(sender, packet)
        if isinstance(packet, Arp):
            return link.arp(self.world, sender, packet)
        known = self.world.macs.get(packet.to_mac or "")
        return self._from_eni(sender, packet if known is None else replace(packet, to_mac=known))

    # --- from a service (RES-3, ADR 0004) --------------------------------------------------------------------------

    def _from_service(self, service: str, packet: Union[Packet, Arp]) -> Outcome:
        if isinstance(packet, Arp) or packet.is_fragment or _header_fault(packet):
            raise Unsupported("the link of a service")
        target = self.world.owner(packet.dst)
        if target is None or self.world.service(self.world.subnet(target), packet.src) != service:
            hit("RES-3 a service is no way to anybody else")
            raise Drop("service-path", f"service {service}", "service-path")
        if packet.largest_len() > min(self.world.mtu(target), path.SERVICE_MTU):
            raise Ambiguous("a large packet of a service")
        hit("RES-3 from a service")
        return Outcome(f"delivered {target}", packets=packet.segments())

    # --- from an ENI (RT-1) ----------------------------------------------------------------------------------------

    def _from_eni(self, eni: str, packet: Packet) -> Outcome:
        early = self._entry_checks(eni, packet)
        if early is not None:
            return early
        self._source_checks(eni, packet)
        if packet.is_fragment and (packet.dst.is_multicast or self.world.last(self.world.subnet(eni), packet.dst)):
            raise Ambiguous("bookkeeping or SG-74 first")
        sight = self.fragments.sight(eni, "egress", packet, _header_fault(packet), self.now)
        if sight is None:
            self.fragments.hold(eni, "egress", self._addressed(eni, packet), self.now)
            return Outcome(f"held {eni}")
        return self._with_those_held(sight, lambda: self._leave(eni, packet, sight))

    def _addressed(self, eni: str, packet: Packet) -> Packet:
        """With the destination MAC address that its sender has written, as a frame that waits keeps it."""
        owner = self.world.owner(packet.dst)
        near = owner is not None and self.world.subnet(owner) == self.world.subnet(eni)
        return replace(packet, to_mac=packet.to_mac or (owner if near else "router"))

    def _entry_checks(self, eni: str, packet: Packet) -> Optional[Outcome]:
        """RES-43 up to the services: what consumes the packet, if anything does."""
        if packet.vnet or (packet.gso is not None and packet.is_fragment):
            self._offload(eni, packet)
        if not self.world.is_mac_of(packet.from_mac, eni):
            hit("RES-41 source MAC")
            raise Drop("source-mac", eni)
        consumed = link.link_scope(self.world, eni, packet)
        if consumed is not None:
            return consumed
        self._destination_mac(eni, packet)
        if packet.dst.version == 6 and packet.dst.is_link_local:
            if packet.src not in self.world.own[eni]:
                raise Ambiguous("a foreign source towards a link-local address")
            hit("RES-23v6 unicast link-local")
            raise Drop("unserved", eni)
        if self.world.exempt(self.world.subnet(eni), packet.dst):
            return self._to_service(eni, packet)
        if packet.dst in self.world.own[eni] and (packet.src not in self.world.own[eni] or _header_fault(packet)):
            raise Ambiguous("own address and another fault")
        return None

    def _offload(self, eni: str, packet: Packet) -> None:
        """ADR 0006: what the virtio-net header may ask for."""
        start = 14 + packet.chain_len()
        place = {TCP: 16, UDP: 6}.get(packet.protocol)
        wanted = {"flags": 1, "start": start, "offset": place}
        if place is None or packet.is_fragment or packet.vnet != wanted:
            hit("ADR 0006 bad offload")
            raise Drop("bad-offload", eni)
        if _header_fault(packet):
            raise Ambiguous("an offload of a malformed packet")

    def _to_service(self, eni: str, packet: Packet) -> Outcome:
        """RES-1, RES-3, RES-5; of a malformed packet ADR 0004."""
        world = self.world
        service = world.service(world.subnet(eni), packet.dst)
        if packet.src not in world.own[eni]:
            if service is None or world.no_source(world.subnet(eni), packet.src):
                raise Ambiguous("a foreign source and nobody there")
            hit("RES-43 a service wants own addresses")
            raise Drop("source-check", eni)
        if service is None:
            hit("RES-5 nobody serves")
            raise Drop("unserved", eni)
        if packet.is_fragment and (_header_fault(packet) or packet.carried() % 8):
            raise Ambiguous("an unsound fragment to a service")
        fault = _header_fault(packet)
        if fault is not None:
            raise Drop(fault, eni)
        packets = path.carry(world, self.limiter, eni, path.SERVICE_MTU, packet, self.now, None)
        hit("RES-3 to a service")
        return Outcome(f"delivered service {service}", packets=packets)

    def _destination_mac(self, eni: str, packet: Packet) -> None:
        """SG-74 and RT-5 on the destination MAC address."""
        world, word = self.world, packet.to_mac
        if word is None:
            if packet.dst.is_multicast or packet.dst == link.BROADCAST:
                hit("SG-74 group MAC address")
                raise Drop("multicast", eni)
            if packet.dst in world.own[eni]:
                raise Ambiguous("a frame to oneself")
            return
        if word == "router":
            return
        if word in world.enis and word != eni and world.subnet(word) == world.subnet(eni):
            return
        if ":" in word and int(word[:2], 16) & 1:
            hit("SG-74 group MAC address")
            raise Drop("multicast", eni)
        owner = world.owner(packet.dst)
        if owner is not None and world.subnet(owner) == world.subnet(eni):
            raise Ambiguous("RT-5: `whatever the destination MAC is: router or peer`, but this is neither")
        hit("RT-5 unknown MAC address")
        raise Drop("destination-mac", eni)

    def _source_checks(self, eni: str, packet: Packet) -> None:
        """RES-4, RES-42."""
        world, subnet = self.world, self.world.subnet(eni)
        if not packet.v4 and (world.first_four(subnet, packet.src) or world.last(subnet, packet.src)):
            raise Ambiguous("RES-4 names no reserved IPv6 addresses of a subnet")
        if world.no_source(subnet, packet.src):
            hit("RES-4 reserved source")
            raise Drop("reserved-source", eni)
        if packet.src not in world.own[eni]:
            if world.checks(eni):
                hit("RES-42 source check")
                raise Drop("source-check", eni)
            hit("RES-42 source check off")

    def _with_those_held(self, sight: Sight, walk: Walk) -> Outcome:
        """Walks a packet; behind a first fragment follow those that waited for it (CT-61)."""
        waiting = self.fragments.release(sight.key) if sight.key is not None and not sight.later else ()
        sights = [(held, self.fragments.resight(held)) for held in waiting]
        try:
            return walk()
        finally:
            self._waiting += sights

    def _go_on(self, held: Held, sight: Optional[Sight]) -> Outcome:
        """CT-61: judged at the moment of its release, from where it waits."""
        eni = str(held.key[0])
        if held.sender is None:
            self._destination_mac(eni, held.packet)
            self._source_checks(eni, held.packet)
            self._multicast(eni, held.packet)
            sight = _not_condemned(eni, sight)
            hit("CT-61 released at the sender")
            return self._leave(eni, held.packet, sight)
        if held.sender == GONE:
            hit("CT-61 its sender is gone")
            raise Drop("port-missing", GONE, "outlet")
        near = eni if held.direct else None
        packets = path.carry(self.world, self.limiter, held.sender, self.world.mtu(eni), held.packet, self.now, near)
        sight = _not_condemned(eni, sight)
        hit("CT-61 released at the receiver")
        return self._arrive(held.sender, eni, held.direct, held.packet, packets, sight)

    def _leave(self, eni: str, packet: Packet, sight: Sight) -> Outcome:
        """RT-1 from header sanity on; `sight` is how the packet is judged."""
        world, now = self.world, self.now
        fault = None if packet.is_fragment else _header_fault(packet)
        if fault is not None:
            raise Drop(fault, eni)
        self._multicast(eni, packet)
        verdict = self._judge(eni, "egress", sight, None)
        if not verdict.allowed:
            raise Drop("group-egress", eni, "security-group", "no-rule")
        target, direct = self._hand_over(eni, packet)
        if not direct:
            self._acl(eni, "egress", sight.packet)
        self._commit(eni, "egress", verdict)
        if target is None:
            raise Drop("unowned-address" if world.in_vpc(packet.dst) else "no-route", path.ROUTER, "route")
        packets = path.carry(world, self.limiter, eni, world.mtu(target), packet, now, target if direct else None)
        return self._to_eni(eni, target, direct, packet, packets)

    def _multicast(self, eni: str, packet: Packet) -> None:
        """SG-74 on addresses, SG-72."""
        world, subnet = self.world, self.world.subnet(eni)
        if not packet.v4 and world.last(subnet, packet.dst):
            raise Ambiguous("the last address of an IPv6 subnet")
        broadcast = packet.v4 and (world.last(subnet, packet.dst) or packet.dst == link.BROADCAST)
        if packet.dst.is_multicast or broadcast:
            hit("SG-74 destination address")
            raise Drop("multicast", eni)
        if packet.dst in world.own[eni]:
            hit("SG-72 own address")
            raise Drop("own-address", eni)

    def _judge(self, eni: str, direction: str, sight: Sight, handing: Optional[str]) -> Verdict:
        """The group stage (CT-3, CT-62)."""
        judge = self.tracker.judge_later if sight.later else self.tracker.judge
        verdict = judge(self.world, eni, direction, sight.packet, handing, self.now)
        self._by.append(verdict.by and f"{eni} security-group {verdict.by}")
        return verdict

    def _commit(self, eni: str, direction: str, verdict: Verdict) -> None:
        if not self.tracker.commit(self.world, eni, verdict, self.now):
            raise Drop(f"allowance-{direction}", eni, "commit")

    def _hand_over(self, eni: str, packet: Packet) -> tuple[Optional[str], bool]:
        """RT-5: the receiver, and whether it is in the same subnet."""
        world = self.world
        owner = world.owner(packet.dst)
        if owner is not None and world.subnet(owner) == world.subnet(eni):
            if packet.to_mac is not None and packet.to_mac != owner:
                hit("RT-5 a neighbour whatever the MAC address")
            return owner, True
        if packet.to_mac is not None and packet.to_mac in world.enis:
            hit("RT-5 handed to a neighbour")
            return packet.to_mac, True
        return owner, False

    def _acl(self, eni: str, direction: str, packet: Packet) -> None:
        subnet = self.world.subnet(eni)
        allowed, number = self.world.acl(subnet, direction, packet)
        self._by.append(f"{subnet} network-acl {number}")
        if not allowed:
            raise Drop(f"acl-{direction}-{'default' if number == '*' else 'entry'}", subnet, "network-acl", number)

    # --- to an ENI (RT-2) ------------------------------------------------------------------------------------------

    def _to_eni(self, sender: str, eni: str, direct: bool, packet: Packet, packets: int) -> Outcome:
        sight = self.fragments.sight(eni, "ingress", packet, _header_fault(packet), self.now)
        if sight is None:
            self.fragments.hold(eni, "ingress", packet, self.now, sender, direct)
            return Outcome(f"held {eni}")
        return self._with_those_held(sight, lambda: self._arrive(sender, eni, direct, packet, packets, sight))

    def _arrive(self, sender: str, eni: str, direct: bool, packet: Packet, packets: int, sight: Sight) -> Outcome:
        if not direct:
            self._acl(eni, "ingress", sight.packet)
        verdict = self._judge(eni, "ingress", sight, sender)
        if not verdict.allowed:
            raise Drop("group-ingress", eni, "security-group", "no-rule")
        if self.world.checks(eni) and packet.dst not in self.world.own[eni]:
            hit("RT-3 destination check")
            raise Drop("destination-check", eni, "destination-check")
        self._commit(eni, "ingress", verdict)
        return Outcome(f"delivered {eni}", packets=packets)

    # --- what a scenario may ask -----------------------------------------------------------------------------------

    def counters(self) -> list[str]:
        """What scenario files ask of counters: packets by what became of them, those that wait, allowances (CT-71)."""
        self.fragments.expire(self.now)
        orphans = self.ends["dropped.fragment-orphan"] + self.fragments.orphans
        ends = {**self.ends, "dropped.fragment-orphan": orphans}
        lines = [f"{name} {count}" for name, count in sorted(ends.items())]
        lines.append(f"held {len(self.fragments.held)}")
        for name, instance in self.world.tables.get("instance", {}).items():
            if "max_tracked" in instance:
                used = sum(len(self.tracker.live(eni, self.now)) for eni in instance["enis"])
                free = max(0, instance["max_tracked"] - used)
                lines.append(f"instance.{name}.conntrack_allowance_available {free}")
        return lines

    def connections(self) -> list[tuple[str, Conn]]:
        """All live entries with their ENI."""
        return [(eni, conn) for eni in self.tracker.tables for conn in self.tracker.live(eni, self.now)]

    def listing(self) -> list[str]:
        """`ENI PROTOCOL OPENER > OTHER STATE LEFT` of each."""
        return sorted(show(eni, conn, self.now) for eni, conn in self.connections())


def _not_condemned(eni: str, sight: Optional[Sight]) -> Sight:
    if sight is None:
        hit("CT-63 condemned while held")
        raise invalid(eni)
    return sight


def _header_fault(packet: Packet) -> Optional[str]:
    """SG-27, CT-48, CT-40."""
    if packet.extensions() > MOST_EXTENSIONS:
        if packet.upper_len() < least(packet):
            raise Ambiguous("too many headers or one cut off")
        hit("SG-27 nine headers")
        return "extension-headers"
    if packet.is_later:
        return None
    if packet.upper_len() < least(packet):
        hit("CT-48 truncated")
        return "truncated-transport"
    if packet.protocol != TCP:
        return None
    sent = packet.flags & {"syn", "fin", "rst"}
    if len(sent) > 1 or not packet.flags & {"syn", "ack", "fin", "rst", "psh", "urg"}:
        hit("CT-40 impossible flags")
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
