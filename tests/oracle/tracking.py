"""Connection tracking from the specification: entries per ENI, keyed as CT-4, in plain dictionaries."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Optional

from model import World
from notation import TCP, UDP, Address, Packet

SECOND = 10**9
FIXED = {  # CT-33 to CT-36, in seconds
    "other": 600, "icmp": 30, "syn-sent": 120, "syn-sent2": 120, "syn-recv": 60, "fin-wait": 120, "close-wait": 60,
    "last-ack": 30, "time-wait": 120, "close": 10,
}
CONFIGURED = {"established": "tcp_established", "udp-single": "udp", "udp-stream": "udp_stream"}  # CT-30 to CT-32
QUERIES_V4 = {8: 0, 13: 14, 15: 16, 17: 18}  # CT-55
QUERIES_V6 = {128: 129}
ERRORS = {4: (3, 11, 12), 6: (1, 2, 3, 4)}  # CT-50
MODULUS = 2**32

Key = tuple[object, ...]


def opposite(direction: str) -> str:
    """The other direction."""
    return "ingress" if direction == "egress" else "egress"


@dataclass
class Side:
    """What an entry remembers of one side of a TCP connection (CT-46)."""

    syn: Optional[int] = None
    scale: Optional[int] = None
    ack: Optional[int] = None
    window: int = 0
    window_of_syn: bool = False


@dataclass
class Conn:
    """A tracked connection of one ENI."""

    key: Key
    origin: str
    protocol: int
    local: tuple[Address, int]
    remote: tuple[Address, int]
    state: str
    expiry: int = 0
    sides: dict[str, Side] = field(default_factory=lambda: {"origin": Side(), "reply": Side()})
    first_fin: str = ""
    simultaneous: bool = False
    pending: bool = False
    transactions: int = 0
    opener: Optional[Packet] = None
    direct: bool = False  # whether the ENI that handed the opener over had its source address (SG-34)


@dataclass
class Verdict:
    """What the group stage says, and what is to be committed if every filter of the side passes (CT-7)."""

    allowed: bool
    key: Optional[Key] = None
    conn: Optional[Conn] = None
    delete: bool = False
    creates: bool = False


def key_of(packet: Packet, direction: str) -> Optional[Key]:
    """CT-4: the key of a packet that moves in a direction; `None` if it belongs to no flow (CT-50, CT-58)."""
    local, remote = (packet.src, packet.dst) if direction == "egress" else (packet.dst, packet.src)
    if packet.has_ports:
        ports = (packet.sport, packet.dport) if direction == "egress" else (packet.dport, packet.sport)
        return (packet.protocol, local, ports[0], remote, ports[1])
    if not packet.is_icmp:
        return (packet.protocol, local, remote)
    queries = QUERIES_V4 if packet.v4 else QUERIES_V6
    pairs = queries | {reply: request for request, reply in queries.items()}
    if packet.icmp_type not in pairs:
        return None
    sent, answered = packet.icmp_type, pairs[packet.icmp_type]
    types = (sent, answered) if direction == "egress" else (answered, sent)
    return (packet.protocol, local, remote, *types, packet.ident)


def mirrored(packet: Packet) -> Packet:
    """The packet as its answer would look (CT-17)."""
    answer = copy.copy(packet)
    answer.src, answer.dst = packet.dst, packet.src
    answer.sport, answer.dport = packet.dport, packet.sport
    return answer


class Tracker:
    """The tables of all ENIs."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[Key, Conn]] = {}

    def live(self, eni: str, now: int) -> list[Conn]:
        """The entries of an ENI that have not expired (CT-39a, CT-73)."""
        return [conn for conn in self.tables.get(eni, {}).values() if now < conn.expiry]

    def find(self, eni: str, key: Optional[Key], now: int) -> Optional[Conn]:
        """The live entry of a key."""
        conn = self.tables.get(eni, {}).get(key) if key is not None else None
        return conn if conn is not None and now < conn.expiry else None

    # --- the group stage -------------------------------------------------------------------------------------------

    def judge(
        self, world: World, eni: str, direction: str, packet: Packet, handing: Optional[str], now: int
    ) -> Verdict:
        """Looks up, or asks the rules (CT-3)."""
        key = key_of(packet, direction)
        conn = self.find(eni, key, now)
        reuse = conn is not None and conn.state in ("time-wait", "close") and is_syn(packet)  # CT-45
        if conn is not None and not reuse:
            return Verdict(True, key, self._passed(world, eni, direction, packet, conn, now))
        if self._related(world, eni, direction, packet, now):
            return Verdict(True)
        if not any(world.matches(rule, direction, packet, handing) for rule in world.rules(eni, direction)):
            return Verdict(False)
        if not opens(packet) or untracked(world, eni, direction, packet):
            return Verdict(True, key, delete=reuse)
        assert key is not None
        conn = new_conn(world, eni, direction, packet, key, now)
        conn.direct = handing is not None and world.owner(packet.src) == handing
        return Verdict(True, key, conn, creates=True)

    def _related(self, world: World, eni: str, direction: str, packet: Packet, now: int) -> bool:
        """CT-50, CT-52, CT-53."""
        if not packet.is_icmp or packet.icmp_type not in ERRORS[packet.src.version] or packet.quote is None:
            return False
        quote, cut = packet.quote, packet.quote_cut
        quoted = quote.ip_len() if cut is None else min(cut, quote.ip_len())
        if quote.v4 != packet.v4 or quoted < (28 if quote.v4 else 48):
            return False
        if direction == "ingress" and quote.src != packet.dst:
            return False
        other = opposite(direction)
        if self.find(eni, key_of(quote, other), now) is not None:
            return True
        allowed = any(world.matches(rule, other, quote, None) for rule in world.rules(eni, other))
        return quote.has_ports and allowed and untracked(world, eni, other, quote)

    def _passed(self, world: World, eni: str, direction: str, packet: Packet, conn: Conn, now: int) -> Conn:
        """The entry as it is after a packet of its flow."""
        after = copy.deepcopy(conn)
        side = "origin" if direction == conn.origin else "reply"
        if packet.protocol == TCP:
            if not tcp_step(after, side, packet):
                return after
        elif packet.protocol == UDP:
            udp_step(after, side)
        after.expiry = now + time_out(world, eni, after.state)
        return after

    # --- commit ----------------------------------------------------------------------------------------------------

    def commit(self, world: World, eni: str, verdict: Verdict, now: int) -> bool:
        """Makes the verdict's change visible; `False`: refused by the allowance (CT-70)."""
        if verdict.creates and not self._room(world, eni, verdict, now):
            return False
        table = self.tables.setdefault(eni, {})
        if verdict.delete and verdict.key in table:
            del table[verdict.key]
        if verdict.conn is not None:
            table[verdict.conn.key] = verdict.conn
        return True

    def _room(self, world: World, eni: str, verdict: Verdict, now: int) -> bool:
        instance = world.instance(eni)
        if instance is None or "max_tracked" not in instance:
            return True
        used = sum(len(self.live(one, now)) for one in instance["enis"])
        replaces = self.find(eni, verdict.key, now) is not None  # CT-45: the old one's place is for the new one
        return replaces or bool(used < instance["max_tracked"])

    def revoke(self, world: World) -> None:
        """CT-27: ends every entry whose opener no rule would let in or out now."""
        for eni, table in self.tables.items():
            self.tables[eni] = {key: conn for key, conn in table.items() if _admitted(world, eni, conn)}

    def forget(self, before: World, after: World) -> None:
        """CT-26: entries of ENIs and of addresses that are gone."""
        for eni in list(self.tables):
            if eni not in after.enis:
                del self.tables[eni]
                continue
            gone = set(before.own[eni]) - set(after.own[eni])
            table = self.tables[eni]
            self.tables[eni] = {key: conn for key, conn in table.items() if conn.local[0] not in gone}


def _admitted(world: World, eni: str, conn: Conn) -> bool:
    packet = conn.opener
    assert packet is not None
    handing = world.owner(packet.src) if conn.direct else None
    return any(world.matches(rule, conn.origin, packet, handing) for rule in world.rules(eni, conn.origin))


def is_syn(packet: Packet) -> bool:
    """CT-40b: SYN without ACK."""
    return packet.protocol == TCP and "syn" in packet.flags and "ack" not in packet.flags


def opens(packet: Packet) -> bool:
    """Whether an allowed packet without an entry may open one (CT-40, CT-55, CT-56, CT-58)."""
    if packet.protocol == TCP:
        return is_syn(packet)
    if packet.is_icmp:
        return packet.icmp_type in (QUERIES_V4 if packet.v4 else QUERIES_V6)
    return True


def untracked(world: World, eni: str, direction: str, packet: Packet) -> bool:
    """CT-10 and CT-17: whether either side taken as the opener makes the flow untracked."""
    if not packet.has_ports:
        return False  # CT-12
    other = opposite(direction)
    return _opened(world, eni, direction, packet) or _opened(world, eni, other, mirrored(packet))


def _opened(world: World, eni: str, direction: str, packet: Packet) -> bool:
    version = packet.src.version
    wide = [rule for rule in world.rules(eni, direction) if rule.anywhere(version)]
    back = [rule for rule in world.rules(eni, opposite(direction)) if rule.anywhere(version)]
    asked = any(rule.fits(packet, in_acl=False) for rule in wide)
    answered = any(rule.all_ports and rule.protocol in (-1, packet.protocol) for rule in back)
    return asked and answered


def time_out(world: World, eni: str, state: str) -> int:
    """The idle time-out of a state, in nanoseconds."""
    if state in CONFIGURED:
        return world.time_outs(eni)[CONFIGURED[state]]
    return FIXED[state] * SECOND


def new_conn(world: World, eni: str, direction: str, packet: Packet, key: Key, now: int) -> Conn:
    """The entry that a packet opens."""
    ends = [(packet.src, packet.sport), (packet.dst, packet.dport)]
    local, remote = ends if direction == "egress" else ends[::-1]
    state = {TCP: "syn-sent", UDP: "udp-single"}.get(packet.protocol, "icmp" if packet.is_icmp else "other")
    conn = Conn(key, direction, packet.protocol, local, remote, state, now + time_out(world, eni, state))
    conn.pending = True
    conn.opener = packet
    if packet.protocol == TCP:
        conn.sides["origin"].syn, conn.sides["origin"].scale = packet.seq, packet.wscale
    return conn


def udp_step(conn: Conn, side: str) -> None:
    """CT-39c."""
    if side == "origin":
        conn.pending = True
    elif conn.pending:
        conn.pending = False
        conn.transactions += 1
    if conn.transactions >= 2:
        conn.state = "udp-stream"


def tcp_step(conn: Conn, side: str, packet: Packet) -> bool:
    """CT-41 to CT-47; whether the time-out restarts."""
    if "rst" in packet.flags:
        plausible = plausible_reset(conn, side, packet)
        conn.state = "close" if plausible else conn.state
        return plausible
    if is_syn(packet) and conn.state in ("established", "fin-wait", "close-wait", "last-ack"):
        return False  # CT-45
    _learn(conn, side, packet)
    conn.state = _next_state(conn, side, packet)
    return True


def _learn(conn: Conn, side: str, packet: Packet) -> None:
    mine = conn.sides[side]
    if "syn" in packet.flags and mine.syn is None and conn.state in ("syn-sent", "syn-sent2"):
        mine.syn, mine.scale = packet.seq, packet.wscale
    if "ack" in packet.flags:
        mine.ack, mine.window, mine.window_of_syn = packet.ack, packet.win, "syn" in packet.flags


def _next_state(conn: Conn, side: str, packet: Packet) -> str:
    flags, state = packet.flags, conn.state
    syn, ack, fin = "syn" in flags, "ack" in flags, "fin" in flags
    if syn and not ack:
        return "syn-sent2" if state == "syn-sent" and side == "reply" else state  # CT-42
    if syn:
        answers = (state == "syn-sent" and side == "reply") or state == "syn-sent2"
        return "syn-recv" if answers else state  # CT-41, CT-42
    if fin:
        return _after_fin(conn, side)
    if not ack:
        return state
    if state == "syn-recv" and side == "origin":
        return "established"
    if state == "fin-wait" and side != conn.first_fin:
        return "close-wait"
    if state == "last-ack" and (conn.simultaneous or side == conn.first_fin):
        return "time-wait"
    return state


def _after_fin(conn: Conn, side: str) -> str:
    """CT-43."""
    if conn.state in ("syn-recv", "established"):
        conn.first_fin = side
        return "fin-wait"
    if conn.state in ("fin-wait", "close-wait") and side != conn.first_fin:
        conn.simultaneous = conn.state == "fin-wait"
        return "last-ack"
    return conn.state


def plausible_reset(conn: Conn, side: str, packet: Packet) -> bool:
    """CT-46."""
    mine, theirs = conn.sides[side], conn.sides["reply" if side == "origin" else "origin"]
    if conn.state in ("syn-sent", "syn-sent2"):
        syn = conn.sides["origin"].syn
        assert syn is not None
        if side == "origin":
            return packet.seq in (syn, (syn + 1) % MODULUS)
        return "ack" in packet.flags and packet.ack == (syn + 1) % MODULUS
    if theirs.ack is None:
        return theirs.syn is not None and "ack" in packet.flags and packet.ack == (theirs.syn + 1) % MODULUS
    both = mine.scale is not None and theirs.scale is not None
    shift = theirs.scale if both and not theirs.window_of_syn and theirs.scale is not None else 0
    return (packet.seq - theirs.ack) % MODULUS <= theirs.window << shift
