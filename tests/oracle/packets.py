"""A packet as a guest sends it: what its headers say and how long it is on the wire."""

from __future__ import annotations

import functools
import ipaddress
from dataclasses import dataclass, field
from typing import Optional, Union

Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]

TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
MOST_EXTENSIONS = 8  # SG-27


@functools.lru_cache(maxsize=4096)
def address(text: str) -> Address:
    """An address; parsing is cached as scenarios name few."""
    return ipaddress.ip_address(text)


@dataclass(frozen=True)
class Fragment:
    """Where a fragment stands in its datagram."""

    ident: int
    offset: int
    more: bool


@dataclass
class Packet:
    """An IP packet."""

    src: Address
    dst: Address
    protocol: int
    port: Optional[str] = None
    sport: int = 0
    dport: int = 0
    flags: frozenset[str] = frozenset()
    seq: int = 0
    ack: int = 0
    win: int = 64_240
    wscale: Optional[int] = None
    gso: Optional[int] = None
    icmp_type: int = 0
    code: int = 0
    ident: int = 1
    quote: Optional["Packet"] = None
    quote_cut: Optional[int] = None
    discovery: Optional[tuple[str, Optional[Address]]] = None  # solicit, advertise or router-solicit, and the target
    link: Optional[str] = None  # the link-layer option of neighbour discovery
    length: int = 0
    df: bool = False
    ttl: int = 64
    before: tuple[str, ...] = ()  # extension headers in front of the fragment header, or all
    behind: tuple[str, ...] = ()  # those that are part of what is fragmented
    fragment: Optional[Fragment] = None
    cut: Optional[int] = None
    vnet: dict[str, int] = field(default_factory=dict)
    from_mac: Optional[str] = None
    to_mac: Optional[str] = None

    # --- what it is ------------------------------------------------------------------------------------------------

    @property
    def v4(self) -> bool:
        """Whether it is IPv4."""
        return self.src.version == 4

    @property
    def is_icmp(self) -> bool:
        """ICMP of its own family (CT-58: the other family's number is an ordinary protocol)."""
        return self.protocol == (ICMP if self.v4 else ICMP6)

    @property
    def has_ports(self) -> bool:
        """Whether it is TCP or UDP."""
        return self.protocol in (TCP, UDP)

    @property
    def is_fragment(self) -> bool:
        """Whether it is part of a datagram only; an atomic fragment is a whole packet (CT-65)."""
        return self.fragment is not None and (self.fragment.more or self.fragment.offset > 0)

    @property
    def is_later(self) -> bool:
        """A fragment without the upper-layer header (CT-60)."""
        return self.fragment is not None and self.fragment.offset > 0

    # --- how long it is --------------------------------------------------------------------------------------------

    def header_len(self) -> int:
        """Bytes of the upper-layer header."""
        if self.protocol == TCP:
            return 20 if self.wscale is None else 24
        return 8 if self.protocol == UDP or self.is_icmp else 0

    def _quoted_len(self) -> int:
        if self.quote is None:
            return 0
        whole = self.quote.ip_len()
        return whole if self.quote_cut is None else min(whole, self.quote_cut)

    def _cut_len(self) -> int:
        """Bytes of what `cut` cuts: the IP payload, or what follows the IPv6 fragment header."""
        inner = self.behind if self.fragment is not None else self.before
        whole = self.length if self.is_later else 8 * len(inner) + self.header_len() + self._quoted_len() + self.length
        return whole if self.cut is None else min(whole, self.cut)

    def upper_len(self) -> int:
        """Bytes of the upper-layer packet that are there; below zero if even the extension headers are not."""
        inner = self.behind if self.fragment is not None else self.before
        return self._cut_len() - 8 * len(inner)

    def carried(self) -> int:
        """Bytes of the datagram that a fragment carries."""
        return self._cut_len()

    def quoted(self) -> int:
        """Bytes of a quoted packet that are there (CT-53)."""
        return min(self._quoted_len(), max(0, self.upper_len() - 8))

    def ip_len(self) -> int:
        """Length of the IP packet in bytes."""
        if self.v4:
            return 20 + self._cut_len()
        return 40 + (8 * (len(self.before) + 1) if self.fragment is not None else 0) + self._cut_len()

    def largest_len(self) -> int:
        """Length of the largest packet on the wire: a segmentation-offload frame is many (RT-61)."""
        if self.gso is None:
            return self.ip_len()
        return self.ip_len() - self.length + min(self.gso, self.length)

    def segments(self) -> int:
        """How many packets a segmentation-offload frame stands for."""
        return 1 if self.gso is None else max(1, -(-self.length // self.gso))

    def upper_lens(self) -> list[int]:
        """Bytes behind the IP header of each packet that it stands for, in IPv4."""
        whole, header = self.ip_len() - 20, self.ip_len() - 20 - self.length
        if self.gso is None:
            return [whole]
        return [header + min(self.gso, self.length - at) for at in range(0, self.length, self.gso)] or [whole]

    def chain_len(self) -> int:
        """Bytes of the IP header and all extension headers."""
        return 20 if self.v4 else 40 + 8 * (len(self.before) + len(self.behind) + (self.fragment is not None))

    def extensions(self) -> int:
        """How many IPv6 headers have to be walked to where the packet ends or the upper layer begins (SG-27)."""
        behind = 0 if self.is_later else len(self.behind)
        return len(self.before) + behind + (self.fragment is not None and not self.v4)


@dataclass
class Arp:
    """An ARP packet."""

    port: Optional[str]
    reply: bool
    target: Address
    sender: Address
    sender_mac: Optional[str] = None
    from_mac: Optional[str] = None
