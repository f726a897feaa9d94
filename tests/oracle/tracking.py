"""Connection tracking from the specification: entries per ENI, keyed as CT-4, in plain dictionaries."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Optional

import tcp
from model import World
from outcome import Ambiguous
from packets import MOST_EXTENSIONS, TCP, UDP, Address, Packet
from reach import hit
from tcp import Tcp, is_syn

SECOND = 10**9
FIXED = {  # CT-33 to CT-36, in seconds
    "other": 600, "icmp": 30, "syn-sent": 120, "syn-sent2": 120, "syn-recv": 60, "fin-wait": 120, "close-wait": 60,
    "last-ack": 30, "time-wait": 120, "close": 10,
}
CONFIGURED = {"established": "tcp_established", "udp-single": "udp", "udp-stream": "udp_stream"}  # CT-30 to CT-32
QUERIES_V4 = {8: 0, 13: 14, 15: 16, 17: 18}  # CT-55
QUERIES_V6 = {128: 129}
ERRORS = {4: (3, 11, 12), 6: (1, 2, 3, 4)}  # CT-50

Key = tuple[object, ...]


def opposite(direction: str) -> str:
    """The other direction."""
    return "ingress" if direction == "egress" else "egress"


@dataclass(frozen=True)
class Conn:
    """A tracked connection of one ENI. It never changes: a packet puts another in its place."""

    key: Key
    origin: str
    protocol: int
    local: tuple[Address, int]
    remote: tuple[Address, int]
    state: str
    expiry: int
    opener: Packet
    direct: bool  # whether the ENI that handed the opener over had its source address (SG-34)
    tcp: Optional[Tcp] = None
    pending: bool = True
    transactions: int = 0


@dataclass
class Verdict:
    """What the group stage says, and what is to be committed if every filter of the side passes (CT-7)."""

    allowed: bool
    key: Optional[Key] = None
    conn: Optional[Conn] = None
    delete: bool = False
    creates: bool = False
    by: str = ""  # `tracked`, `related`, `no-rule`, or the id of a rule, if it has one that is known


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

    def copy(self) -> "Tracker":
        """A copy; entries themselves never change."""
        twin = Tracker()
        twin.tables = {eni: dict(table) for eni, table in self.tables.items()}
        return twin

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
            hit("CT-3 tracked")
            return Verdict(True, key, self._passed(world, eni, direction, packet, conn, now), by="tracked")
        if self._related(world, eni, direction, packet, now):
            return Verdict(True, by="related")
        without_entry = untracked(world, eni, direction, packet)
        by = deciding_rule(world, eni, direction, packet, handing, without_entry)
        if by is None:
            if reuse:
                hit("CT-45 reuse denied")
            return Verdict(False, by="no-rule")
        if reuse:
            hit("CT-45 reuse")
        if not opens(packet):
            hit("CT-40 opens nothing")
            return Verdict(True, key, delete=reuse, by=by)
        if without_entry:
            if reuse:
                hit("CT-45 reuse untracked")
            hit("CT-13 untracked")
            return Verdict(True, key, delete=reuse, by=by)
        assert key is not None
        direct = handing is not None and world.owner(packet.src) == handing
        conn = new_conn(world, eni, direction, packet, key, direct, now)
        return Verdict(True, key, conn, creates=True, by=by)

    def judge_later(
        self, world: World, eni: str, direction: str, packet: Packet, handing: Optional[str], now: int
    ) -> Verdict:
        """CT-62, ADR 0018: as the first fragment would be judged now; it changes nothing."""
        verdict = self.judge(world, eni, direction, packet, handing, now)
        if not verdict.allowed:
            hit("CT-62 denied by the rules")
        elif verdict.by == "related":
            hit("CT-62 of an error about a known flow")
        elif verdict.conn is not None and not verdict.creates:
            hit("CT-62 by the entry of its flow")
        else:
            hit("CT-62 by the rules")
        return Verdict(verdict.allowed, by=verdict.by)

    def _related(self, world: World, eni: str, direction: str, packet: Packet, now: int) -> bool:
        """CT-50, CT-52, CT-53."""
        if not packet.is_icmp or packet.icmp_type not in ERRORS[packet.src.version] or packet.quote is None:
            return False
        quote = packet.quote
        if quote.v4 != packet.v4:
            hit("CT-53 wrong version")
            return False
        if packet.quoted() < quote.chain_len() + 8 or quote.extensions() > MOST_EXTENSIONS:
            hit("CT-53 short quote")
            return False
        if quote.is_later:
            hit("CT-53 quote of a later fragment")
            return False
        if direction == "ingress" and quote.src != packet.dst:
            hit("CT-53 not delivered to the sender of the quoted packet")
            return False
        other = opposite(direction)
        if self.find(eni, key_of(quote, other), now) is not None:
            hit("CT-50 related")
            return True
        if not quote.has_ports or not untracked(world, eni, other, quote):
            return False
        allowed = allowed_by_rules(world, eni, other, quote, None)
        if allowed:
            hit("CT-52 about an untracked flow")
        return allowed

    def _passed(self, world: World, eni: str, direction: str, packet: Packet, conn: Conn, now: int) -> Conn:
        """The entry as it is after a packet of its flow."""
        side = "origin" if direction == conn.origin else "reply"
        if conn.tcp is not None:
            after, refreshes = tcp.step(conn.tcp, side, packet)
            conn = replace(conn, tcp=after, state=after.state)
            if not refreshes:
                return conn
        elif conn.protocol == UDP:
            conn = udp_step(conn, side)
        return replace(conn, expiry=now + time_out(world, eni, conn.state))

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
        if self.find(eni, verdict.key, now) is not None:
            hit("CT-45 the place of its predecessor")
            return True
        if used < instance["max_tracked"]:
            if any(len(self.tables.get(one, {})) > len(self.live(one, now)) for one in instance["enis"]):
                hit("CT-73 expired entries do not count")
            return True
        hit("CT-70 no room")
        return False

    def revoke(self, world: World) -> None:
        """CT-27: ends every entry whose opener no rule of the ENI admits now."""
        for eni, table in self.tables.items():
            kept = {key: conn for key, conn in table.items() if admits(world, eni, conn)}
            if len(kept) < len(table):
                hit("CT-27 ended")
            elif kept:
                hit("CT-27 stays")
            self.tables[eni] = kept

    def forget(self, before: World, after: World) -> None:
        """CT-26: entries of ENIs and of addresses that are gone."""
        for eni in list(self.tables):
            if eni not in after.enis:
                hit("CT-26 ENI deleted")
                del self.tables[eni]
                continue
            gone = set(before.own[eni]) - set(after.own[eni])
            table = self.tables[eni]
            kept = {key: conn for key, conn in table.items() if conn.local[0] not in gone}
            if len(kept) < len(table):
                hit("CT-26 address unassigned")
            self.tables[eni] = kept


def admits(world: World, eni: str, conn: Conn) -> bool:
    """CT-27: whether the packet that opened an entry would be let through now."""
    handing = world.owner(conn.opener.src) if conn.direct else None
    return allowed_by_rules(world, eni, conn.origin, conn.opener, handing)


def allowed_by_rules(world: World, eni: str, direction: str, packet: Packet, handing: Optional[str]) -> bool:
    """SG-20."""
    return any(world.matches(rule, direction, packet, handing) for rule in world.rules(eni, direction))


def deciding_rule(
    world: World, eni: str, direction: str, packet: Packet, handing: Optional[str], without_entry: bool
) -> Optional[str]:
    """The id of the rule that decides, as docs/scenarios.md says: of several that match one that makes the flow untracked
    (CT-11), otherwise the lowest. Empty if it is not known; `None` if none matches."""
    named = world.named_rules(eni, direction)
    found = [(ident, rule) for ident, rule in named if world.matches(rule, direction, packet, handing)]
    if not found:
        return None
    wide = [ident for ident, rule in found if rule.anywhere(packet.src.version)] if without_entry else []
    return min(wide or [ident for ident, _ in found])


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
    if _opened(world, eni, direction, packet):
        hit("CT-10 untracked forwards")
        return True
    if _opened(world, eni, opposite(direction), mirrored(packet)):
        hit("CT-17 untracked in reverse")
        return True
    return False


def _opened(world: World, eni: str, direction: str, packet: Packet) -> bool:
    version = packet.src.version
    back = world.rules(eni, opposite(direction))
    if not any(rule.all_ports and rule.protocol in (-1, packet.protocol) and rule.anywhere(version) for rule in back):
        return False
    return any(rule.anywhere(version) and rule.fits(packet, in_acl=False) for rule in world.rules(eni, direction))


def time_out(world: World, eni: str, state: str) -> int:
    """The idle time-out of a state, in nanoseconds."""
    if state in CONFIGURED:
        return world.time_outs(eni)[CONFIGURED[state]]
    return FIXED[state] * SECOND


def new_conn(world: World, eni: str, direction: str, packet: Packet, key: Key, direct: bool, now: int) -> Conn:
    """The entry that a packet opens."""
    ends = [(packet.src, packet.sport), (packet.dst, packet.dport)]
    local, remote = ends if direction == "egress" else ends[::-1]
    state = {TCP: "syn-sent", UDP: "udp-single"}.get(packet.protocol, "icmp" if packet.is_icmp else "other")
    opened = tcp.opened(packet) if packet.protocol == TCP else None
    expiry = now + time_out(world, eni, state)
    hit("CT-7 an entry")
    return Conn(key, direction, packet.protocol, local, remote, state, expiry, packet, direct, opened)


def udp_step(conn: Conn, side: str) -> Conn:
    """CT-39c."""
    if side == "origin":
        return replace(conn, pending=True)
    if conn.pending:
        conn = replace(conn, pending=False, transactions=conn.transactions + 1)
    if conn.transactions >= 2 and conn.state == "udp-single":
        hit("CT-39c a stream")
        conn = replace(conn, state="udp-stream")
    return conn
