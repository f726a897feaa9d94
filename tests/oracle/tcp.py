"""TCP states from the specification (CT-40 to CT-47)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Optional

from outcome import Ambiguous
from packets import TCP, Packet
from reach import hit

MODULUS = 2**32
HALF_OPEN = ("syn-sent", "syn-sent2", "syn-recv")
TRANSITIONS = {  # branches as `reach` counts them
    "CT-41: syn-sent to syn-recv", "CT-42: syn-sent to syn-sent2", "CT-42: syn-sent2 to syn-recv",
    "CT-41: syn-recv to established", "CT-43: syn-recv to fin-wait", "CT-43: established to fin-wait",
    "CT-43: fin-wait to close-wait", "CT-43: fin-wait to last-ack", "CT-43: close-wait to last-ack",
    "CT-43: last-ack to time-wait", "CT-46: syn-sent to close", "CT-46: syn-sent2 to close", "CT-46: syn-recv to close",
    "CT-46: established to close", "CT-46: fin-wait to close", "CT-46: close-wait to close", "CT-46: last-ack to close",
    "CT-46: time-wait to close",
}


@dataclass(frozen=True)
class Side:
    """What an entry remembers of one side of a connection (CT-46)."""

    syn: Optional[int] = None
    scale: Optional[int] = None
    ack: Optional[int] = None
    window: int = 0
    window_of_syn: bool = False


@dataclass(frozen=True)
class Tcp:
    """The TCP part of an entry."""

    state: str
    origin: Side
    reply: Side = Side()
    first_fin: str = ""
    simultaneous: bool = False

    def side(self, name: str) -> Side:
        """What is remembered of `origin` or `reply`."""
        return self.origin if name == "origin" else self.reply


def is_syn(packet: Packet) -> bool:
    """CT-40b: SYN without ACK."""
    return packet.protocol == TCP and "syn" in packet.flags and "ack" not in packet.flags


def opened(packet: Packet) -> Tcp:
    """The state after the SYN that opens a connection."""
    return Tcp("syn-sent", Side(packet.seq, packet.wscale))


def step(tcp: Tcp, side: str, packet: Packet) -> tuple[Tcp, bool]:
    """CT-41 to CT-47: the state after a packet of one side, and whether the time-out restarts."""
    if "rst" in packet.flags:
        plausible = plausible_reset(tcp, side, packet)
        return (_moved(tcp, "close"), True) if plausible else (tcp, False)
    if is_syn(packet) and tcp.state in ("established", "fin-wait", "close-wait", "last-ack"):
        hit("CT-45 SYN on a live connection")
        return tcp, False
    known = tcp.side(side).syn
    if "syn" in packet.flags and known not in (None, packet.seq) and tcp.state in HALF_OPEN:
        raise Ambiguous("CT-46: which SYN counts")
    tcp = _learn(tcp, side, packet)
    return _next(tcp, side, packet), True


def _moved(tcp: Tcp, state: str) -> Tcp:
    if state != tcp.state:
        hit(next(one for one in TRANSITIONS if one.endswith(f": {tcp.state} to {state}")))
    return replace(tcp, state=state)


def _learn(tcp: Tcp, side: str, packet: Packet) -> Tcp:
    mine = tcp.side(side)
    if "syn" in packet.flags and mine.syn is None and tcp.state in ("syn-sent", "syn-sent2"):
        mine = replace(mine, syn=packet.seq, scale=packet.wscale)
    if "ack" in packet.flags:
        mine = replace(mine, ack=packet.ack, window=packet.win, window_of_syn="syn" in packet.flags)
    return replace(tcp, origin=mine) if side == "origin" else replace(tcp, reply=mine)


def _next(tcp: Tcp, side: str, packet: Packet) -> Tcp:
    flags, state = packet.flags, tcp.state
    syn, ack, fin = "syn" in flags, "ack" in flags, "fin" in flags
    if syn and not ack:
        if state == "syn-sent" and side == "reply":
            return _moved(tcp, "syn-sent2")  # CT-42
        hit("CT-41 SYN retransmitted")
        return tcp
    if syn:
        answers = (state == "syn-sent" and side == "reply") or state == "syn-sent2"
        if not answers:
            hit("CT-40b SYN+ACK changes nothing")
        return _moved(tcp, "syn-recv") if answers else tcp  # CT-41, CT-42
    if fin:
        return _after_fin(tcp, side)
    if not ack:
        return tcp
    if state == "syn-recv" and side == "origin":
        return _moved(tcp, "established")
    if state == "fin-wait" and side != tcp.first_fin:
        return _moved(tcp, "close-wait")
    if state == "last-ack" and (tcp.simultaneous or side == tcp.first_fin):
        return _moved(tcp, "time-wait")
    return tcp


def _after_fin(tcp: Tcp, side: str) -> Tcp:
    """CT-43."""
    if tcp.state in ("syn-recv", "established"):
        return replace(_moved(tcp, "fin-wait"), first_fin=side)
    if tcp.state in ("fin-wait", "close-wait") and side != tcp.first_fin:
        if tcp.state == "fin-wait":
            hit("CT-43 simultaneous close")
        return replace(_moved(tcp, "last-ack"), simultaneous=tcp.state == "fin-wait")
    if tcp.state in ("syn-sent", "syn-sent2"):
        hit("CT-43 FIN before the handshake")
    else:
        hit("CT-43 FIN repeated")
    return tcp


def plausible_reset(tcp: Tcp, side: str, packet: Packet) -> bool:
    """CT-46."""
    mine, theirs = tcp.side(side), tcp.side("reply" if side == "origin" else "origin")
    if tcp.state in ("syn-sent", "syn-sent2"):
        syn = tcp.origin.syn
        assert syn is not None
        if side == "origin":
            hit("CT-46 the originator gives up")
            return packet.seq in (syn, (syn + 1) % MODULUS)
        hit("CT-46 refused")
        return "ack" in packet.flags and packet.ack == (syn + 1) % MODULUS
    if theirs.ack is None:
        hit("CT-46 no ACK yet")
        return theirs.syn is not None and "ack" in packet.flags and packet.ack == (theirs.syn + 1) % MODULUS
    both = mine.scale is not None and theirs.scale is not None
    shift = theirs.scale if both and not theirs.window_of_syn and theirs.scale is not None else 0
    if shift:
        hit("CT-46 scaled window")
    inside = (packet.seq - theirs.ack) % MODULUS <= theirs.window << shift
    if not inside:
        hit("CT-46 implausible")
    return inside
