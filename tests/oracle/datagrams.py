"""Random datagrams in fragments: in and out of order, repeated, overlapping, late, and across changes (CT-60 to CT-65)."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Iterator, Optional

import changes
import fragments
from flows import Flow, head, other, plain, tcp_packet

if TYPE_CHECKING:
    from sequences import Director

SECOND = 10**9
MOST = fragments.MOST_HELD
GAPS = [0] * 8 + [1, 10**6, 10**6, 10**8, SECOND // 2, SECOND - 1, SECOND, SECOND + 1]
LONG_GAPS = [29 * SECOND, 30 * SECOND - 1, 30 * SECOND, 30 * SECOND + 1]


@dataclass
class Pieces:
    """A datagram as it is going to be sent."""

    flow: Flow
    who: str
    ident: int
    text: str  # the first fragment, without its length
    header: int  # bytes of its upper-layer header
    behind: int  # bytes of IPv6 headers in front of that
    cuts: list[tuple[int, int, bool]]  # offset, bytes, more


def any_of(rng: random.Random, director: "Director") -> Iterator[None]:
    """A datagram and what befalls it."""
    plans = [_whole] * 4 + [_across_a_change] * 3 + [_spoilt] * 3 + [_repeated, _long, _answered, _crowd, _forwarded]
    plans += [_another_way, _another_way, _another_way, _error]
    yield from rng.choice(plans)(rng, director)


# --- plans ---------------------------------------------------------------------------------------------------------


def _whole(rng: random.Random, director: "Director") -> Iterator[None]:
    """In some order, with some time between."""
    pieces = _pieces(rng, director)
    if pieces is None:
        return
    for cut in _order(rng, pieces.cuts):
        _send(director, pieces, cut)
        yield
        director.wait(director.now + rng.choice(GAPS + ([rng.choice(LONG_GAPS)] if rng.random() < 0.2 else [])))


def _across_a_change(rng: random.Random, director: "Director") -> Iterator[None]:
    """The rules or the ACL change while it is under way."""
    pieces = _pieces(rng, director, most=5)
    if pieces is None:
        return
    order = _order(rng, pieces.cuts)
    at = rng.randrange(len(order))
    made: Optional[changes.Change] = None
    for number, cut in enumerate(order):
        if number == at:
            made = changes.against(rng, director.player.tables, pieces.flow.sides["C"].eni, pieces.flow.sides["S"].eni)
            director.change(made)
        elif made is not None and rng.random() < 0.3:
            director.change(changes.undo(made, director.player.tables))
            made = None
        _send(director, pieces, cut)
        yield
        director.wait(director.now + rng.choice([0, 10**6, SECOND // 2]))


def _spoilt(rng: random.Random, director: "Director") -> Iterator[None]:
    """With a piece that condemns it, and another try later (CT-63)."""
    pieces = _pieces(rng, director, most=4)
    if pieces is None:
        return
    order = _order(rng, pieces.cuts)
    order.insert(rng.randint(0, len(order)), _bad(rng, pieces))
    began = director.now
    for cut in order:
        _send(director, pieces, cut)
        yield
        director.wait(director.now + rng.choice([0, 0, 10**6, SECOND // 2]))
    director.wait(rng.choice([began, director.now]) + rng.choice(LONG_GAPS))
    for cut in pieces.cuts:
        _send(director, pieces, cut)
        yield


def _repeated(rng: random.Random, director: "Director") -> Iterator[None]:
    """Exact repetitions, before and after it is complete."""
    pieces = _pieces(rng, director, most=4)
    if pieces is None:
        return
    order = _order(rng, pieces.cuts)
    for number, cut in enumerate(order):
        _send(director, pieces, cut)
        yield
        if rng.random() < 0.5:
            _send(director, pieces, rng.choice(order[: number + 1]))
            yield
        if rng.random() < 0.1:
            pieces.text = pieces.text.replace(" id ", " id 2")
            if pieces.flow.kind in ("tcp", "udp"):
                pieces.text = re.sub(r":\d+ >", ":41000 >", pieces.text, count=1)
            _send(director, pieces, pieces.cuts[0])
        director.wait(director.now + rng.choice([0, 10**6, SECOND // 2]))
    for cut in rng.sample(order, len(order)):
        _send(director, pieces, cut)
        yield


def _long(rng: random.Random, director: "Director") -> Iterator[None]:
    """Spread over as long as the entry of its first fragment lives, and longer (CT-62)."""
    pieces = _pieces(rng, director, least=4, most=8)
    if pieces is None:
        return
    for cut in pieces.cuts:
        _send(director, pieces, cut)
        yield
        conn = director.conn(pieces.flow, pieces.who)
        if conn is not None and conn.expiry - director.now < 31 * SECOND and rng.random() < 0.4:
            director.wait(conn.expiry + rng.choice([-1, 0]))
        else:
            director.wait(director.now + rng.choice([0, SECOND, 10 * SECOND, 29 * SECOND, 30 * SECOND - 1]))


def _answered(rng: random.Random, director: "Director") -> Iterator[None]:
    """Both sides send one, and the fragments mix (CT-39c)."""
    mine = _pieces(rng, director, most=4)
    if mine is None:
        return
    theirs = _pieces(rng, director, most=4, flow=mine.flow, who=other(mine.who))
    assert theirs is not None
    turns = [(mine, cut) for cut in mine.cuts] + [(theirs, cut) for cut in theirs.cuts]
    if rng.random() < 0.6:
        turns = [(mine, mine.cuts[0]), (theirs, theirs.cuts[0]), *_order(rng, turns)]
    for pieces, cut in turns:
        _send(director, pieces, cut)
        yield
        director.wait(director.now + rng.choice([0, 10**6]))


def _crowd(rng: random.Random, director: "Director") -> Iterator[None]:
    """More than may be held (CT-61): many of one datagram, or large ones of several."""
    pieces = _pieces(rng, director, most=3)
    if pieces is None:
        return
    if rng.random() < 0.5:
        for number in range(MOST + rng.choice([-1, 0, 1, 2])):
            _send(director, pieces, (2000 + 8 * number, 8, True))
    else:
        for number in range(7):
            pieces.ident = 100 + number
            _send(director, pieces, (800, rng.choice([40_000, 60_000]), True))
        pieces.ident = rng.randint(100, 107)
    yield
    director.wait(director.now + rng.choice([0, SECOND - 1, SECOND, SECOND // 2]))
    _send(director, pieces, (pieces.cuts[0][0], 24 + pieces.behind, True))
    yield
    _send(director, pieces, (4000, 8, False))


def _forwarded(rng: random.Random, director: "Director") -> Iterator[None]:
    """Two senders of one datagram: its owner and an appliance (CT-60, CT-63)."""
    world = director.oracle.world
    appliances = [one for one in world.enis if not world.checks(one)]
    pieces = _pieces(rng, director, most=4)
    if pieces is None or not appliances:
        return
    appliance = rng.choice(appliances)
    for cut in _order(rng, pieces.cuts):
        text = _text(pieces, cut)
        sender = rng.choice([appliance, text.split()[0]])
        to = rng.choice(["", "", f" to-mac {appliance}"]) if sender != appliance else ""
        director.send(f"{sender} {text.split(maxsplit=1)[1]}{to}")
        yield
        director.wait(director.now + rng.choice([0, 10**6, SECOND // 2]))


def _another_way(rng: random.Random, director: "Director") -> Iterator[None]:
    """The first fragment goes through an appliance, later ones do not and wait at the receiver (CT-61)."""
    world = director.oracle.world
    ways = [
        (one, other_) for one in world.enis for other_ in world.enis
        if one != other_ and world.subnet(one) == world.subnet(other_) and one in director.ports()
    ]
    flow = director.flow(("udp", "tcp", "icmp", "proto 47"))
    if flow is None:
        return
    near = [appliance for one, appliance in ways if one == flow.sides["C"].eni and appliance != flow.sides["S"].eni]
    pieces = _pieces(rng, director, most=4, flow=flow, who="C")
    if pieces is None or not near:
        return
    appliance = rng.choice(near)
    director.change((None, {"eni": {appliance: {"source_dest_check": False, "groups": ["open"]}}}))
    first = _text(pieces, pieces.cuts[0])
    director.send(f"{first} to-mac {appliance}")
    yield
    for cut in _order(rng, pieces.cuts[1:]):
        _send(director, pieces, cut)
        yield
        director.wait(director.now + rng.choice([0, 10**6, SECOND // 3, SECOND - 1]))
    if rng.random() < 0.5:
        director.change(changes.delete_eni(director.player.tables, flow.sides[rng.choice("CCCS")].eni))
    director.send(f"{appliance} {first.split(maxsplit=1)[1]}")
    yield


def _error(rng: random.Random, director: "Director") -> Iterator[None]:
    """An ICMP error in fragments, while the flow that it is about comes to its end (CT-62, ADR 0018)."""
    flow = director.flow(("udp", "tcp"))
    if flow is None:
        return
    director.send(director.step(flow))
    yield
    six = flow.sides["C"].host.version == 6
    word, kind = ("icmpv6", "too-big mtu 1280") if six else ("icmp", "unreachable code 4 mtu 1400")
    mine, theirs = flow.sides["S"], flow.sides["C"]
    start = f"{mine.eni} {word} {mine.host} > {theirs.host}"
    size = 8 + (20 if flow.kind == "tcp" else 8) + (40 if six else 20)
    rest = -size % 8 + 8
    director.send(f"{start} {kind} quote [{plain(flow, 'C').split(maxsplit=1)[1]}] len {rest} frag id 5 offset 0 more")
    for number in range(3):
        yield
        conn = director.conn(flow, rng.choice("CS"))
        if conn is not None and rng.random() < 0.4 and conn.expiry - director.now < 31 * SECOND:
            director.wait(conn.expiry + rng.choice([-1, 0]))
        director.send(f"{start} len 8 frag id 5 offset {size + rest + 8 * number} more")


# --- pieces --------------------------------------------------------------------------------------------------------


def _pieces(
    rng: random.Random, director: "Director", least: int = 2, most: int = 6, flow: Optional[Flow] = None, who: str = ""
) -> Optional[Pieces]:
    kinds = ("udp",) * 4 + ("tcp",) * 2 + ("icmp", "icmp", "proto 47")
    if flow is None and director.flows and rng.random() < 0.4:
        flow = rng.choice(list(director.flows.values())[-6:])
    flow = flow or director.flow(kinds, promising=rng.random() < 0.8)
    if flow is None:
        return None
    who = who or rng.choice("CCCS")
    text, header = _first(rng, flow, who)
    six = flow.sides["C"].host.version == 6
    extensions = rng.choice(["", "", " ext frag,dst", " ext hop,frag", " ext dst,frag,dst,dst"]) if six else ""
    text += rng.choice(["", "", " df"]) if not six else ""
    behind = 8 * (extensions.split("frag")[-1].count("dst")) if extensions else 0
    return Pieces(flow, who, rng.randint(1, 4), text + extensions, header, behind, _cuts(rng, header + behind, least, most))


def _first(rng: random.Random, flow: Flow, who: str) -> tuple[str, int]:
    """A packet of the flow without a length, and the bytes of its header."""
    if flow.kind == "tcp":
        letters = rng.choice(["S"] * 4 + ["SA", "A", "A", "PA", "FA", "SF"])
        words = tcp_packet(rng, flow, who, letters, None).split()
        for word in ("len", "gso"):
            if word in words:
                del words[words.index(word) : words.index(word) + 2]
        return " ".join(words), 24 if "wscale" in words else 20
    if flow.kind == "icmp":
        six = flow.sides["C"].host.version == 6
        request, reply = (128, 129) if six else (8, 0)
        return f"{head(flow, who)} type {request if who == 'C' else reply} id {flow.ident}", 8
    return head(flow, who), 8 if flow.kind == "udp" else 0


def _cuts(rng: random.Random, header: int, least: int, most: int) -> list[tuple[int, int, bool]]:
    """Offsets and lengths, the first at least as long as the headers."""
    at, cuts = 0, []
    count = rng.randint(least, most)
    for number in range(count):
        size = 8 * rng.choice([1, 2, 3, 10, 100, 170])
        if number == 0:
            size = -(-header // 8) * 8 + rng.choice([0, 0, 8, 80])
        if number == count - 1:
            size = max(1, size - rng.randint(0, 7))
        cuts.append((at, size, number < count - 1))
        at += size
    return cuts


def _order(rng: random.Random, cuts: list) -> list:  # type: ignore[type-arg]
    """Mostly in order, sometimes the first late, or any."""
    chance = rng.random()
    if chance < 0.4:
        return list(cuts)
    if chance < 0.7:
        return [*cuts[1:], cuts[0]]
    return rng.sample(cuts, len(cuts))


def _bad(rng: random.Random, pieces: Pieces) -> tuple[int, int, bool]:
    """A piece that spoils the datagram."""
    offset, size, more = rng.choice(pieces.cuts)
    if pieces.behind and rng.random() < 0.4:
        return 0, pieces.behind - 8 or 8, True
    return rng.choice(
        [
            (offset, size + 8 - size % 8, True),
            (offset, size, not more) if size % 8 == 0 or more else (offset, size + 8 - size % 8, True),
            (max(0, offset - 8), 16, True),
            (65528, 64, False),
            (65480, 64, True),
            (0, 8, True),
            (0, rng.choice([8, 16]), True),
            (0, 8, True),
            (pieces.cuts[-1][0] + 800, 8, False),
        ]
    )


def _text(pieces: Pieces, cut: tuple[int, int, bool]) -> str:
    offset, size, more = cut
    place = f"frag id {pieces.ident} offset {offset}{' more' if more else ''}"
    if offset == 0:
        rest = size - pieces.header - pieces.behind
        return f"{pieces.text} len {max(0, rest)} {place}{f' cut {size}' if rest < 0 else ''}"
    words = pieces.text.split()
    df = " df" if words[-1] == "df" else ""
    ends = words.index(">") + 2
    extensions = f" {' '.join(words[words.index('ext'):][:2])}" if "ext" in words else ""
    return f"{' '.join(words[:ends])}{extensions} len {size}{df} {place}"


def _send(director: "Director", pieces: Pieces, cut: tuple[int, int, bool]) -> None:
    director.send(_text(pieces, cut))
