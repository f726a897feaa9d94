"""Flows between two addresses, which know what a plausible next packet looks like, and write it down."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Optional

from packets import Address
from oracle import endpoint
from tcp import MODULUS
from tracking import Conn

PLANS = {  # C: client, S: server; then tcpdump's letters; `*` is a reset made to be on some edge
    "open": ["C S", "S SA", "C A"],
    "open-fast": ["C S", "S SA", "C PA"],
    "simultaneous-open": ["C S", "S S", "S SA", "C A"],
    "simultaneous-open-2": ["C S", "S S", "C SA", "S SA", "C A"],
    "retransmit": ["C S", "C S", "S SA", "S SA", "C A"],
    "data": ["C PA", "S A", "S PA", "C A"],
    "close": ["C FA", "S A", "S FA", "C A"],
    "close-by-server": ["S FA", "C A", "S PA", "C A", "C FA", "S A"],
    "close-crossing": ["C FA", "S FA", "C A", "S A"],
    "close-crossing-2": ["C FA", "S FA", "S A", "C A"],
    "close-three": ["C FA", "S FA", "C A"],
    "close-repeated": ["C FA", "C FA", "S A", "S FA", "S FA", "C A", "C FA"],
    "close-wrong-side": ["C FA", "S A", "S FA", "S A", "S PA", "C A"],
    "close-by-server-wrong-side": ["S FA", "C A", "C FA", "C A", "S A"],
    "close-and-reuse": ["C FA", "S FA", "C A", "C S", "S SA", "C A"],
    "reset-and-reuse": ["C *", "C S", "S SA", "C A"],
    "refused-again": ["C S", "S RA", "C S", "S SA", "C A"],
    "bare-fin": ["C F", "S F", "C A", "S A"],
    "refused": ["C S", "S RA"],
    "reset": ["C *"],
    "reset-by-server": ["S *"],
    "reuse": ["C S", "S SA", "C A"],
    "reuse-reversed": ["S S", "C SA", "S A"],
}
KINDS = ("tcp",) * 11 + ("udp",) * 5 + ("icmp",) * 2 + ("proto 47", "proto 132")
WINDOWS = [0, 1, 10, 1000, 64240, 65535]


@dataclass
class Side:
    """One end of a flow."""

    eni: str
    host: Address
    port: int
    iss: int = 0
    nxt: int = 0
    scale: Optional[int] = None


@dataclass
class Flow:
    """A flow of TCP, UDP, ICMP queries or another protocol."""

    kind: str
    sides: dict[str, Side]
    ident: int = 1
    plan: list[str] = field(default_factory=list)

    def renew(self, rng: random.Random) -> None:
        """Fresh sequence numbers for the next connection."""
        for side in self.sides.values():
            side.iss = rng.choice([rng.randrange(MODULUS), MODULUS - rng.randint(2, 9), rng.randint(1, 9)])
            side.nxt = (side.iss + 1) % MODULUS
            side.scale = rng.choice([None, None, 0, 1, 7, 14])


def other(who: str) -> str:
    """The other side."""
    return "S" if who == "C" else "C"


def head(flow: Flow, who: str) -> str:
    """Sender, protocol and addresses of a packet from one side."""
    mine, theirs = flow.sides[who], flow.sides[other(who)]
    ports = flow.kind in ("tcp", "udp")
    ends = [endpoint((side.host, side.port), ports) for side in (mine, theirs)]
    word = flow.kind
    if word == "icmp":
        word = "icmp" if mine.host.version == 4 else "icmpv6"
    return f"{mine.eni} {word} {ends[0]} > {ends[1]}"


def plain(flow: Flow, who: str) -> str:
    """The shortest packet from one side."""
    text = head(flow, who)
    if flow.kind != "icmp":
        return text
    six = flow.sides["C"].host.version == 6
    return f"{text} type {(128 if six else 8) + (who == 'S') * (1 if six else -8)} id {flow.ident}"


def tcp_packet(rng: random.Random, flow: Flow, who: str, letters: str, conn: Optional[Conn]) -> str:
    """A segment with these flags; `conn` helps to put resets on an edge."""
    if letters == "*":
        return _reset(rng, flow, who, conn)
    mine, theirs = flow.sides[who], flow.sides[other(who)]
    seq = mine.iss if "S" in letters else mine.nxt
    words = [head(flow, who), letters, f"seq {seq}"]
    if "A" in letters:
        words.append(f"ack {theirs.nxt}")
    words.append(f"win {rng.choice(WINDOWS)}")
    if "S" in letters and mine.scale is not None:
        words.append(f"wscale {mine.scale}")
    size = rng.choice([0, 1, 100, 9000]) if "P" in letters else 0
    words += [f"len {size}"] if size else []
    words += [f"gso {rng.choice([536, 1220, 1221, 1240, 1241, 1460])}"] if size == 9000 else []
    if "S" not in letters:
        mine.nxt = (mine.nxt + size + ("F" in letters)) % MODULUS
    return " ".join(words)


def _reset(rng: random.Random, flow: Flow, who: str, conn: Optional[Conn]) -> str:
    mine, theirs = flow.sides[who], flow.sides[other(who)]
    choices = [mine.nxt, mine.iss, mine.iss + 1, mine.iss - 1, mine.iss + 2, rng.randrange(MODULUS)]
    if conn is not None:
        choices = choices if rng.random() < 0.4 else []
        for side in () if conn.tcp is None else (conn.tcp.origin, conn.tcp.reply):
            if side.ack is not None:
                shift = rng.choice([0, side.scale or 0])
                choices += [side.ack + step for step in (-1, 0, 1)]
                choices += [side.ack + (side.window << shift) + step for step in (-1, 0, 1)]
    seq = rng.choice(choices or [mine.iss, mine.iss + 1, mine.nxt]) % MODULUS
    if rng.random() < 0.5:
        return f"{head(flow, who)} R seq {seq}"
    ack = rng.choice([theirs.iss + 1, theirs.iss + 1, theirs.iss, theirs.nxt, 0]) % MODULUS
    return f"{head(flow, who)} RA seq {seq} ack {ack}"


def icmp_packet(rng: random.Random, flow: Flow, who: str) -> str:
    """A query of the client, or a reply of the server; now and then the other way round."""
    six = flow.sides["C"].host.version == 6
    request, reply = (128, 129) if six else [(8, 0), (13, 14), (15, 16), (17, 18)][flow.ident % 16 // 13]
    kind = request if (who == "C") != (rng.random() < 0.1) else reply
    code = rng.choice([0, 0, 0, 1])
    return f"{head(flow, who)} type {kind} code {code} id {flow.ident}"


def other_packet(rng: random.Random, flow: Flow, who: str) -> str:
    """A packet of UDP, or of a protocol that is neither."""
    return f"{head(flow, who)} len {rng.choice([8, 24, 100])}{extensions(rng, flow.sides[who].host)}"


def extensions(rng: random.Random, host: Address) -> str:
    """Now and then IPv6 headers in front (SG-27)."""
    if host.version == 4 or rng.random() < 0.8:
        return ""
    names = ["hop"] * rng.randint(0, 1) + rng.choices(["dst", "routing"], k=rng.choice([0, 1, 2, 6, 7, 8]))
    atomic = f" frag id {rng.randint(1, 3)} offset 0" if rng.random() < 0.3 else ""
    if not names:
        return atomic
    return f" ext {','.join(names)}{atomic}"
