"""Between the sides: what the path can carry, and what the router says of the rest (RT-60 to RT-64)."""

from __future__ import annotations

import ipaddress
from typing import Optional

from model import World
from outcome import Ambiguous, Drop
from packets import Packet
from reach import hit

SECOND = 10**9
SERVICE_MTU = 1500  # ADR 0004
ERRORS = {4: (3, 11, 12), 6: (1, 2, 3, 4)}  # CT-50
PERHAPS_ERRORS = {4: (4, 5), 6: (0, *range(5, 128), 137)}
QUOTED = {4: 576, 6: 1280}
MOST_ERRORS = 1000  # in a second, to one ENI


class Limiter:
    """RT-64: a thousand errors a second and ENI, however a second is measured."""

    def __init__(self) -> None:
        self.sent: dict[str, tuple[tuple[int, int], ...]] = {}

    def copy(self) -> "Limiter":
        """A copy."""
        twin = Limiter()
        twin.sent = dict(self.sent)
        return twin

    def allows(self, eni: str, now: int) -> bool:
        """Whether one more may be sent; takes note of it."""
        recent = tuple((at, count) for at, count in self.sent.get(eni, ()) if now - at < SECOND)
        of_now = sum(count for at, count in recent if at == now)
        if of_now >= MOST_ERRORS:
            hit("RT-64 limit")
            return False
        if sum(count for _, count in recent) >= MOST_ERRORS:
            raise Ambiguous("RT-64: how a second is measured")
        self.sent[eni] = (*(one for one in recent if one[0] != now), (now, of_now + 1))
        return True


ROUTER = "router"


def carry(world: World, limiter: Limiter, eni: str, mtu: int, packet: Packet, now: int, near: Optional[str]) -> int:
    """Lets a packet through that fits the path, or is made to (RT-60 to RT-64); `near`: the receiver in one subnet (RT-4).
    How many packets it then is."""
    if packet.largest_len() <= mtu:
        if packet.gso is not None and packet.ip_len() > mtu:
            hit("RT-61 segments fit")
        return packet.segments()
    if near is not None:
        hit("RT-4 receiver's MTU")
        raise Drop("receiver-mtu", near, "mtu")
    if packet.v4 and not packet.df:
        hit("RT-61 fragmented")
        return sum(-(-upper // ((mtu - 20) // 8 * 8)) if 20 + upper > mtu else 1 for upper in packet.upper_lens())
    told = _told(packet) and limiter.allows(eni, now)
    if packet.v4:
        hit("RT-61 refused")
    else:
        hit("RT-62 refused")
    raise Drop("mtu", ROUTER, "mtu", reply=told, answer=_answer(world, eni, mtu, packet) if told else "none")


def _told(packet: Packet) -> bool:
    """RT-64: about what errors are sent at all."""
    if packet.is_later:
        hit("RT-64 later fragment")
        return False
    if packet.is_icmp and packet.icmp_type in PERHAPS_ERRORS[packet.src.version]:
        raise Ambiguous("RT-64: what an ICMP error is")
    if packet.is_icmp and packet.icmp_type in ERRORS[packet.src.version]:
        hit("RT-64 about an error")
        return False
    return True


def _answer(world: World, eni: str, mtu: int, packet: Packet) -> Optional[str]:
    """The error, where its source is beyond doubt."""
    version = packet.src.version
    router = world.router(world.subnet(eni), version)
    if router is None or packet.src not in world.own[eni]:
        return None
    header = 28 if version == 4 else 48
    length = min(QUOTED[version], header + packet.largest_len())
    word = "icmp" if version == 4 else "icmpv6"
    kind = "type 3 code 4" if version == 4 else "type 2 code 0"
    return f"{word} {ipaddress.ip_address(router)} > {packet.src} {kind} mtu {mtu} len {length}"
