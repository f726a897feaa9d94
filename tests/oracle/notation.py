"""Reads the packet notation of scenario files, as far as the oracle judges it.

The grammar is that of `crates/scenario/src/notation.rs`. What the oracle does not judge (VLAN tags, foreign and raw
frames, forged lengths) raises `Unsupported`.
"""

from __future__ import annotations

import functools
import re
from typing import Optional, Union

from packets import ICMP, ICMP6, TCP, UDP, Address, Arp, Fragment, Packet, address

PROTOCOLS = {"tcp": TCP, "udp": UDP, "icmp": ICMP, "icmpv6": ICMP6}
NAMED_TYPES = {
    "echo-request": (8, 128), "echo-reply": (0, 129), "unreachable": (3, 1), "time-exceeded": (11, 3),
    "parameter-problem": (12, 4), "too-big": (3, 2), "redirect": (5, 137),
}
DISCOVERY = {"solicit": 135, "advertise": 136, "router-solicit": 133}
LETTERS = {"S": "syn", "A": "ack", ".": "ack", "F": "fin", "R": "rst", "P": "psh", "U": "urg", "E": "ece", "W": "cwr"}
FLAG_NAMES = {"syn", "ack", "fin", "rst", "psh", "urg"}
NUMBERS = {
    "seq": "seq", "win": "win", "wscale": "wscale", "gso": "gso", "len": "length", "id": "ident", "type": "icmp_type",
    "code": "code", "cut": "cut", "quote-cut": "quote_cut", "ttl": "ttl",
}


class Unsupported(Exception):
    """A word that the oracle does not judge."""


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
        self.rest = (re.findall(r"\[[a-z][^\]]* .*\]|\S+", text) if "quote" in text else text.split())[::-1]

    def next(self) -> str:
        if not self.rest:
            raise Unsupported("the line ends early")
        return self.rest.pop()

    def number(self) -> int:
        return int(self.next())

    def number_follows(self) -> bool:
        return bool(self.rest) and self.rest[-1].isdigit()


@functools.lru_cache(maxsize=512)
def parse(text: str) -> Union[Packet, Arp]:
    """Reads one packet. What it gives is shared: nobody may change it."""
    words = _Words(text)
    first = words.next()
    port = None
    if first not in PROTOCOLS and first not in ("proto", "arp"):
        port, first = first, words.next()
    if first == "arp":
        return _arp(port, words)
    packet, extensions = _head(port, first, words), []
    flags: Optional[set[str]] = None
    while words.rest:
        word = words.next()
        if word == "ext":
            extensions = words.next().split(",")
        elif word == "ack" and packet.protocol == TCP and words.number_follows():
            packet.ack = words.number()
        elif word == "no-flags":
            flags = flags or set()
        elif not _word(packet, word, words):
            found = _flags(word) if packet.protocol == TCP else None
            if found is None:
                raise Unsupported(word)
            flags = (flags or set()) | found
    if packet.protocol == TCP:
        packet.flags = frozenset({"syn"} if flags is None else flags)
    _place_extensions(packet, extensions)
    if packet.is_later:
        _strip(packet)
    return packet


def _head(port: Optional[str], first: str, words: _Words) -> Packet:
    if first == "proto":
        protocol = words.number()
    elif first in PROTOCOLS:
        protocol = PROTOCOLS[first]
    else:
        raise Unsupported(first)
    source, arrow, target = words.next(), words.next(), words.next()
    assert arrow == ">", source
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
    return packet


def _word(packet: Packet, word: str, words: _Words) -> bool:
    if word in NUMBERS:
        setattr(packet, NUMBERS[word], words.number())
    elif word == "mtu":
        words.number()
    elif word == "df":
        packet.df = True
    elif word == "bad-checksum":
        pass
    elif word == "from-mac":
        packet.from_mac = words.next()
    elif word == "to-mac":
        packet.to_mac = words.next()
    elif word == "frag":
        _fragment(packet, words)
    elif word == "vnet":
        packet.vnet = {key: int(value) for key, value in (pair.split("=") for pair in words.next().split(","))}
    elif packet.is_icmp:
        return _icmp_word(packet, word, words)
    else:
        return False
    return True


def _icmp_word(packet: Packet, word: str, words: _Words) -> bool:
    if word == "quote":
        quote = parse(words.next()[1:-1])
        assert isinstance(quote, Packet)
        packet.quote = quote
    elif word in NAMED_TYPES:
        packet.icmp_type = NAMED_TYPES[word][0 if packet.v4 else 1]
        packet.code = 4 if word == "too-big" and packet.v4 else packet.code
    elif word in DISCOVERY and not packet.v4:
        packet.icmp_type, packet.ttl = DISCOVERY[word], 255
        packet.discovery = (word, None if word == "router-solicit" else address(words.next()))
    elif word == "link":
        packet.link = words.next()
    else:
        return False
    return True


def _fragment(packet: Packet, words: _Words) -> None:
    """`frag id N offset N [more]`."""
    if words.next() != "id":
        raise Unsupported("frag without id")
    ident, _, offset = words.number(), words.next(), words.number()
    more = bool(words.rest) and words.rest[-1] == "more"
    if more:
        words.next()
    packet.fragment = Fragment(ident, offset, more)


def _place_extensions(packet: Packet, names: list[str]) -> None:
    if "hop" in names[1:]:
        raise Unsupported("hop-by-hop options in another place than the first")
    at = names.index("frag") if "frag" in names else len(names)
    if "frag" in names and packet.fragment is None:
        raise Unsupported("a fragment header without `frag`")
    packet.before, packet.behind = tuple(names[:at]), tuple(names[at + 1 :])


def _strip(packet: Packet) -> None:
    """Ports and ICMP words are not part of a fragment with an offset."""
    packet.sport = packet.dport = 0
    packet.flags = frozenset()
    packet.icmp_type, packet.quote, packet.discovery = -1, None, None


def _arp(port: Optional[str], words: _Words) -> Arp:
    kind = words.next()
    if kind == "who-has":
        target, _, sender = words.next(), words.next(), words.next()
        arp = Arp(port, False, address(target), address(sender))
    elif kind == "reply":
        sender, _, mac, _, target = (words.next() for _ in range(5))
        arp = Arp(port, True, address(target), address(sender), mac)
    else:
        raise Unsupported(f"arp {kind}")
    while words.rest:
        word = words.next()
        if word not in ("sender-mac", "from-mac", "to-mac"):
            raise Unsupported(word)
        value = words.next()
        if word == "sender-mac":
            arp.sender_mac = value
        elif word == "from-mac":
            arp.from_mac = value
    return arp
