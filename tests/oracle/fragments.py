"""Fragment bookkeeping from the specification and ADR 0011: what each datagram showed, per ENI and direction (CT-60 to CT-65)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Optional

from outcome import Ambiguous, Drop
from packets import MOST_EXTENSIONS, TCP, UDP, Packet
from reach import hit

SECOND = 10**9
REMEMBERED = 30 * SECOND  # CT-62
HELD = SECOND  # CT-61
GONE = "a port that is gone"
MOST_HELD = 64
MOST_BYTES = 256 * 1024

Key = tuple[object, ...]


@dataclass(frozen=True)
class Piece:
    """What a fragment covers."""

    start: int
    end: int
    more: bool


@dataclass(frozen=True)
class Record:
    """What is known of a datagram."""

    pieces: tuple[Piece, ...] = ()
    said: Optional[Packet] = None  # the first fragment
    condemned: bool = False  # CT-63
    until: int = 0

    def overlaps(self, piece: Piece) -> bool:
        """Whether it shares a byte with what was seen."""
        return any(piece.start < one.end and one.start < piece.end for one in self.pieces)

    def contradicts(self, piece: Piece) -> bool:
        """Whether there would be data behind a last fragment."""
        if piece in self.pieces or (self.complete() and self.overlaps(piece)):
            return False
        every = (*self.pieces, piece)
        ends = [one.end for one in every if not one.more]
        return bool(ends) and max(one.end for one in every) > min(ends) and not self.overlaps(piece)

    def complete(self) -> bool:
        """CT-62: the last fragment and all bytes before it."""
        ends = [one.end for one in self.pieces if not one.more]
        covered = 0
        for one in sorted(self.pieces, key=lambda one: one.start):
            if one.start <= covered:
                covered = max(covered, one.end)
        return bool(ends) and covered >= min(ends)


@dataclass(frozen=True)
class Held:
    """A fragment that waits for its first one (CT-61)."""

    key: Key
    packet: Packet
    since: int
    sender: Optional[str]  # at the receiver: who handed it over
    direct: bool


@dataclass(frozen=True)
class Sight:
    """How a packet is to be judged."""

    packet: Packet  # as it is judged: a later fragment with what the first one said
    key: Optional[Key] = None
    later: bool = False


class Fragments:
    """The records of all ENIs, and what waits there."""

    def __init__(self) -> None:
        self.records: dict[Key, Record] = {}
        self.held: tuple[Held, ...] = ()
        self.orphans = 0  # those that waited in vain, so far

    def copy(self) -> "Fragments":
        """A copy; records themselves never change."""
        twin = Fragments()
        twin.records, twin.held, twin.orphans = dict(self.records), self.held, self.orphans
        return twin

    def forget(self, gone: set[str]) -> None:
        """ENIs that are deleted take with them what waits there; what they sent waits on, in vain (CT-26)."""
        self.records = {key: record for key, record in self.records.items() if key[0] not in gone}
        kept = tuple(one for one in self.held if one.key[0] not in gone)
        if len(kept) < len(self.held):
            hit("CT-61 ENI deleted")
            self.orphans += len(self.held) - len(kept)
        self.held = tuple(replace(one, sender=GONE) if one.sender in gone else one for one in kept)

    def expire(self, now: int) -> None:
        """Drops what was held for a second (CT-61); it leaves no trace."""
        left = tuple(one for one in self.held if now < one.since + HELD)
        if len(left) < len(self.held):
            hit("CT-61 waited in vain")
            self.orphans += len(self.held) - len(left)
        self.held = left

    # --- one packet ------------------------------------------------------------------------------------------------

    def sight(self, eni: str, direction: str, packet: Packet, fault: Optional[str], now: int) -> Optional[Sight]:
        """How a packet is to be judged; `None`: it has to wait for its first fragment. `fault` is its header's."""
        if not packet.is_fragment:
            if packet.fragment is not None and not packet.v4:
                hit("CT-65 atomic fragment")
            return Sight(packet)
        key = _key(eni, direction, packet)
        record = self._live(key, now)
        piece = _piece(packet)
        known = self._known(key, record)
        if known.complete() and known.overlaps(piece):
            hit("CT-62 the same identification again")
            record, known = None, Record()
            self.records.pop(key, None)
        self._faults(eni, key, known, piece, packet, fault, now)
        if record is None and packet.is_later:
            return None
        if record is not None and piece in record.pieces:
            return self._again(key, record, packet, now)
        pieces = (*known.pieces, piece) if record is None else (*record.pieces, piece)
        record = replace(record or Record(said=packet), pieces=pieces, until=now + REMEMBERED)
        self.records[key] = record
        if not packet.is_later:
            hit("CT-60 first fragment")
            return Sight(packet, key)
        return self._later(key, record, packet)

    def _known(self, key: Key, record: Optional[Record]) -> Record:
        """What was seen of a datagram: what passed, or what waits."""
        return record or Record(tuple(_piece(one.packet) for one in self.held if one.key == key))

    def _faults(
        self, eni: str, key: Key, known: Record, piece: Piece, packet: Packet, fault: Optional[str], now: int
    ) -> None:
        if packet.extensions() > MOST_EXTENSIONS:
            raise Ambiguous("a fragment whose headers are not walked to the end")
        empty = piece.start == piece.end and fault is None
        if empty or (piece.more and piece.end % 8) or 65535 - 40 < piece.end <= 65535:
            raise Ambiguous("an empty fragment, one not of whole eights, or whether 65535 is with the header")
        repeated = piece in known.pieces
        if fault is not None and (known.condemned or repeated or known.overlaps(piece)):
            raise Ambiguous("header sanity or CT-63 first")
        if known.condemned:
            hit("CT-63 condemned datagram")
            raise invalid(eni)
        if known.contradicts(piece):
            raise Ambiguous("data behind the last fragment")
        if piece.end > 65535:
            hit("CT-63 beyond the end")
            raise self._condemn(key, now, invalid(eni))
        if fault is not None:
            if packet.upper_len() < 0:
                hit("CT-63 header chain cut")
            elif fault == "tcp-flags":
                hit("CT-63 impossible flags in the first fragment")
            else:
                hit("CT-63 tiny first fragment")
            raise self._condemn(key, now, Drop(fault, eni))
        if known.overlaps(piece) and not repeated:
            hit("CT-63 overlap")
            raise self._condemn(key, now, invalid(eni))

    def _again(self, key: Key, record: Record, packet: Packet, now: int) -> Sight:
        """CT-63: an exact repetition is judged like any fragment."""
        hit("CT-63 repetition")
        self.records[key] = replace(record, until=now + REMEMBERED)
        if packet.is_later:
            return self._later(key, record, packet)
        assert record.said is not None
        if _says(record.said) != _says(packet):
            hit("CT-63 first fragment repeated with another header")
            raise self._condemn(key, now, invalid(str(key[0])))
        if (record.said.quote, record.said.behind) != (packet.quote, packet.behind):
            raise Ambiguous("ADR 0011: what another header is")
        return Sight(packet, key)

    @staticmethod
    def _later(key: Key, record: Record, packet: Packet) -> Sight:
        assert record.said is not None
        hit("CT-60 later fragment")
        return Sight(_as_if(record.said, packet), key, later=True)

    def _condemn(self, key: Key, now: int, drop: Drop) -> Drop:
        """CT-63: the whole datagram, with what waits for its first fragment."""
        self.records[key] = Record(condemned=True, until=now + REMEMBERED)
        drop.condemned = self.release(key)
        return drop

    def _live(self, key: Key, now: int) -> Optional[Record]:
        record = self.records.get(key)
        if record is not None and now >= record.until:
            if record.condemned:
                hit("CT-63 no longer condemned")
            else:
                hit("CT-62 forgotten")
            return None
        return record

    # --- holding ---------------------------------------------------------------------------------------------------

    def hold(
        self, eni: str, direction: str, packet: Packet, now: int, sender: Optional[str] = None, direct: bool = False
    ) -> None:
        """CT-61: takes a fragment in, or drops it if there is no room."""
        key = _key(eni, direction, packet)
        if sum(one.key == key for one in self.held) >= MOST_HELD:
            hit("CT-61 64 of a datagram")
            raise Drop("fragment-orphan", eni, "fragments")
        if sum(_frame(one.packet) for one in self.held if one.key[0] == eni) + _frame(packet) > MOST_BYTES:
            hit("CT-61 256 KiB of an ENI")
            raise Drop("fragment-orphan", eni, "fragments")
        hit("CT-61 held")
        self.held = (*self.held, Held(key, packet, now, sender, direct))

    def release(self, key: Key) -> tuple[Held, ...]:
        """Gives back what waited for a first fragment, in the order in which it came."""
        waiting = tuple(one for one in self.held if one.key == key)
        self.held = tuple(one for one in self.held if one.key != key)
        return waiting

    def resight(self, held: Held) -> Sight:
        """How a released fragment is to be judged, at this moment."""
        return self._later(held.key, self.records[held.key], held.packet)


def invalid(eni: str) -> Drop:
    """CT-63."""
    return Drop("fragment-invalid", eni, "fragments")


def _frame(packet: Packet) -> int:
    """Bytes of its frame (ADR 0011)."""
    return 14 + packet.ip_len()


def least(packet: Packet) -> int:
    """The shortest upper-layer part that can be judged (CT-48, CT-63)."""
    return 20 if packet.protocol == TCP else 8 if packet.protocol == UDP or packet.is_icmp else 0


def _key(eni: str, direction: str, packet: Packet) -> Key:
    """CT-60: with the protocol in IPv4, without it in IPv6."""
    assert packet.fragment is not None
    protocol = packet.protocol if packet.v4 else None
    return (eni, direction, packet.src, packet.dst, protocol, packet.fragment.ident)


def _piece(packet: Packet) -> Piece:
    assert packet.fragment is not None
    start = packet.fragment.offset
    return Piece(start, start + packet.carried(), packet.fragment.more)


def _says(packet: Packet) -> tuple[object, ...]:
    """The header of a first fragment."""
    if packet.protocol == TCP:
        header: tuple[object, ...] = (packet.flags, packet.seq, packet.ack, packet.win, packet.wscale)
    else:
        header = (packet.icmp_type, packet.code, packet.ident) if packet.is_icmp else ()
    return (packet.protocol, packet.sport, packet.dport, *header)


def _as_if(said: Packet, packet: Packet) -> Packet:
    """A later fragment as if it carried what the first one said (CT-62)."""
    return replace(said, port=packet.port, to_mac=packet.to_mac)
