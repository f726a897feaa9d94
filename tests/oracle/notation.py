"""Reads the packet notation of scenario files, as far as the oracle judges it.

The grammar is that of `crates/scenario/src/notation.rs`. What the oracle does not judge (ARP, neighbour discovery,
fragments, extension headers, forged lengths) raises `Unsupported`.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from dataclasses import dataclass, field
from typing import Optional, Union

Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]

TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
PROTOCOLS = {"tcp": TCP, "udp": UDP, "icmp": ICMP, "icmpv6": ICMP6}
NAMED_TYPES = {
    "echo-request": (8, 128), "echo-reply": (0, 129), "unreachable": (3, 1), "time-exceeded": (11, 3),
    "parameter-problem": (12, 4), "too-big": (3, 2), "redirect": (5, 137),
}
LETTERS = {"S": "syn", "A": "ack", ".": "ack", "F": "fin", "R": "rst", "P": "psh", "U": "urg", "E": "ece", "W": "cwr"}
FLAG_NAMES = {"syn", "ack", "fin", "rst", "psh", "urg"}


class Unsupported(Exception):
    """A word that the oracle does not judge."""


@functools.lru_cache(maxsize=4096)
def address(text: str) -> Address:
    """An address; parsing is cached as scenarios name few."""
    return ipaddress.ip_address(text)


@dataclass
class Packet:
    """A packet as a guest sends it."""

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
    length: int = 0
    df: bool = False
    cut: Optional[int] = None
    from_mac: Optional[str] = None
    to_mac: Optional[str] = None
    words: list[str] = field(default_factory=list)

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

    def header_len(self) -> int:
        """Bytes of the upper-layer header."""
        if self.protocol == TCP:
            return 20 if self.wscale is None else 24
        return 8 if self.protocol == UDP or self.is_icmp else 0

    def upper_len(self) -> int:
        """Bytes of the upper-layer packet that are there."""
        quoted = 0
        if self.quote is not None:
            quoted = self.quote.ip_len()
            quoted = quoted if self.quote_cut is None else min(quoted, self.quote_cut)
        whole = self.header_len() + quoted + self.length
        return whole if self.cut is None else min(whole, self.cut)

    def ip_len(self) -> int:
        """Length of the IP packet in bytes."""
        return (20 if self.v4 else 40) + self.upper_len()

    def largest_len(self) -> int:
        """Length of the largest packet on the wire: a segmentation-offload frame is many."""
        if self.gso is None:
            return self.ip_len()
        return (20 if self.v4 else 40) + self.header_len() + min(self.gso, self.length)


def _flags(word: str) -> Optional[set[str]]:
    names = [part.lower() for part in re.split(r"[+\-,]", word)]
    if all(name in FLAG_NAMES for name in names):
        return set(names)
    if all(letter in LETTERS for letter in word):
        return {LETTERS[letter] for letter in word}
    return None


def _endpoint(text: str) -> tuple[Address, int]:
    host, _, port = text.rpartition(":")
    return address(host.strip("[]")), int(port)


class _Words:
    """The words of a line, one after the other; a bracket is one word."""

    def __init__(self, text: str) -> None:
        self.rest = re.findall(r"\[[a-z][^\]]* .*\]|\S+", text)[::-1]

    def next(self) -> str:
        if not self.rest:
            raise Unsupported("the line ends early")
        return self.rest.pop()

    def number(self) -> int:
        return int(self.next())

    def number_follows(self) -> bool:
        return bool(self.rest) and self.rest[-1].isdigit()


def parse(text: str) -> Packet:
    """Reads one packet."""
    words = _Words(text)
    first = words.next()
    port = None
    if first not in PROTOCOLS and first != "proto":
        port, first = first, words.next()
    if first == "proto":
        protocol = words.number()
    elif first in PROTOCOLS:
        protocol = PROTOCOLS[first]
    else:
        raise Unsupported(first)
    source, arrow, target = words.next(), words.next(), words.next()
    assert arrow == ">", text
    if first in ("tcp", "udp"):
        (src, sport), (dst, dport) = _endpoint(source), _endpoint(target)
        packet = Packet(src, dst, protocol, port, sport, dport)
    else:
        packet = Packet(address(source), address(target), protocol, port)
    if packet.src.version != packet.dst.version:
        raise Unsupported("two families")
    if first in ("icmp", "icmpv6"):
        if not packet.is_icmp:
            raise Unsupported("ICMP of the other family")
        packet.icmp_type = 8 if packet.v4 else 128
    elif packet.is_icmp:
        raise Unsupported("ICMP by number")
    flags: set[str] = set()
    no_flags = False
    while words.rest:
        word = words.next()
        if word == "no-flags":
            no_flags = True
        elif word == "ack" and packet.protocol == TCP and words.number_follows():
            packet.ack = words.number()
        elif not _word(packet, word, words):
            found = _flags(word) if packet.protocol == TCP else None
            if found is None:
                raise Unsupported(word)
            flags |= found
    if packet.protocol == TCP:
        packet.flags = frozenset(flags if flags or no_flags else {"syn"})
    return packet


def _word(packet: Packet, word: str, words: _Words) -> bool:
    numbers = {
        "seq": "seq", "win": "win", "wscale": "wscale", "gso": "gso", "len": "length", "id": "ident",
        "type": "icmp_type", "code": "code", "cut": "cut", "quote-cut": "quote_cut",
    }
    if word in numbers:
        setattr(packet, numbers[word], words.number())
    elif word in ("mtu", "ttl"):
        words.number()
    elif word == "df":
        packet.df = True
    elif word == "bad-checksum":
        pass
    elif word == "from-mac":
        packet.from_mac = words.next()
    elif word == "to-mac":
        packet.to_mac = words.next()
    elif word == "quote":
        packet.quote = parse(words.next()[1:-1])
    elif word in NAMED_TYPES and packet.is_icmp:
        packet.icmp_type = NAMED_TYPES[word][0 if packet.v4 else 1]
        packet.code = 4 if word == "too-big" and packet.v4 else packet.code
    else:
        return False
    return True
