"""Short stories in which state, rules and time interplay; several run at once, with other packets between."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Iterator, Optional

import changes
from flows import Flow, head, other, plain, tcp_packet
from tracking import Conn

if TYPE_CHECKING:
    from sequences import Director

SECOND = 10**9
SHORT = {"tcp_established": "60s", "udp": "30s", "udp_stream": "60s"}
LONG = {"tcp_established": "5m", "udp": "60s", "udp_stream": "180s"}


def any_of(rng: random.Random, director: "Director") -> Iterator[None]:
    """One of them."""
    stories = [
        _opened_from_the_other_side, _one_direction, _one_direction, _full_then_free, _full_then_free, _shorter_time_out,
        _outlives_its_rule, _outlives_its_rule, _untracked_is_cut, _moved_address, _another_eni, _hidden_change, _reuse,
        _many_errors, _stream, _through_an_appliance, _through_an_appliance, _too_large, _too_large, _reset_anywhere,
        _reset_anywhere, _reset_anywhere, _reuse,
    ]
    yield from rng.choice(stories)(rng, director)


def _handshake(director: "Director", flow: Flow, count: int = 3) -> None:
    """A TCP handshake, or a packet each way."""
    for number in range(count):
        if flow.kind == "tcp":
            flow.plan = flow.plan or ["C S", "S SA", "C A", "S PA", "C PA"]
            director.send(director.step(flow))
        else:
            director.send(director.any(flow, "CS"[number % 2]))


def _edge(rng: random.Random, director: "Director", flow: Flow, who: str) -> None:
    """To the end of an entry, or a nanosecond before."""
    conn = director.conn(flow, who)
    if conn is not None and conn.expiry - director.now < 1000 * SECOND:
        director.wait(conn.expiry + rng.choice([-1, 0]))


def _opened_from_the_other_side(rng: random.Random, director: "Director") -> Iterator[None]:
    """Denied; then the other side opens it, and it passes until the entry ends."""
    flow = director.flow(("udp", "udp", "icmp", "proto 47", "tcp"))
    if flow is None:
        return
    for who in "SCSSC":
        director.send(director.any(flow, who))
        yield
        director.wait(director.now + rng.choice([0, 1, SECOND, 10 * SECOND]))
    _edge(rng, director, flow, rng.choice("CS"))
    for who in "SC":
        director.send(director.any(flow, who))
        yield


def _one_direction(rng: random.Random, director: "Director") -> Iterator[None]:
    """An ACL stops one direction: its packets refresh one side's entry while the other's runs out (CT-7, CT-24)."""
    flow = director.flow(("udp", "tcp", "icmp", "proto 132"))
    if flow is None:
        return
    _handshake(director, flow)
    yield
    who = rng.choice("CS")
    sender, receiver = flow.sides[who].eni, flow.sides[other(who)].eni
    made = changes.acl_deny(rng, director.player.tables, receiver, "ingress", flow.sides[who].host)
    director.change(made)
    late = director.conn(flow, other(who))
    for _ in range(rng.randint(2, 5)):
        conn = director.conn(flow, who)
        if conn is None or conn.expiry - director.now > 700 * SECOND:
            break
        director.wait(conn.expiry - rng.choice([1, SECOND]))
        director.send(director.any(flow, who))
        yield
        if late is not None and rng.random() < 0.3:
            director.wait(late.expiry + rng.choice([-1, 0]))
    director.change(changes.undo(made, director.player.tables))
    for side in (who, other(who), who):
        director.send(director.any(flow, side))
        yield
    if rng.random() < 0.3 and sender in director.ports():
        director.change(changes.acl_deny(rng, director.player.tables, sender, "egress", flow.sides[other(who)].host))


def _full_then_free(rng: random.Random, director: "Director") -> Iterator[None]:
    """The allowance is met, refuses, and has room again when an entry ends (CT-70, CT-73)."""
    flow = director.flow(("udp", "tcp", "icmp", "proto 47"))
    if flow is None:
        return
    eni = flow.sides[rng.choice("CS")].eni
    name = next((one for one, table in director.player.tables.get("instance", {}).items() if eni in table["enis"]), None)
    if name is None:
        return
    enis = director.player.tables["instance"][name]["enis"]
    used = sum(len(director.oracle.tracker.live(one, director.now)) for one in enis)
    director.change((None, {"instance": {name: {"max_tracked": max(1, used + rng.choice([-1, 0, 0, 1]))}}}))
    for _ in range(rng.randint(2, 4)):
        fresh = director.flow(("udp", "tcp", "icmp", "proto 47"))
        if fresh is not None:
            director.send(director.step(fresh))
            yield
    alive = sorted((conn for one in enis for conn in director.oracle.tracker.live(one, director.now)), key=_expiry)
    if alive and alive[0].expiry - director.now < 1000 * SECOND:
        director.wait(alive[0].expiry + rng.choice([-1, 0]))
    for _ in range(2):
        director.send(director.any(flow, "C"))
        yield
        director.wait(director.now + rng.choice([0, 1]))
    if rng.random() < 0.5:
        director.change((None, {"instance": {name: {"max_tracked": 50}}}))


def _expiry(conn: Conn) -> int:
    return conn.expiry


def _shorter_time_out(rng: random.Random, director: "Director") -> Iterator[None]:
    """A time-out changes under a live flow: it holds from the next packet on (CT-25)."""
    flow = director.flow(("udp", "udp", "tcp"))
    if flow is None:
        return
    for who in "CS":
        director.change((None, {"eni": {flow.sides[who].eni: {"connection_tracking": dict(LONG)}}}))
    _handshake(director, flow, rng.choice([1, 3, 4, 5]))
    yield
    who = rng.choice("CS")
    director.wait(director.now + rng.choice([0, 10 * SECOND, 29 * SECOND, 30 * SECOND, 59 * SECOND]))
    director.change((None, {"eni": {flow.sides[who].eni: {"connection_tracking": dict(SHORT)}}}))
    for _ in range(rng.randint(1, 3)):
        _edge(rng, director, flow, rng.choice("CS"))
        director.send(director.any(flow, rng.choice("CS")) if flow.kind != "tcp" else director.step(flow))
        yield


def _outlives_its_rule(rng: random.Random, director: "Director") -> Iterator[None]:
    """A rule or a membership goes under a tracked flow (CT-20), comes back, or the flow ends first."""
    flow = director.flow()
    if flow is None:
        return
    _handshake(director, flow, rng.choice([1, 2, 3]))
    yield
    made = changes.against(rng, director.player.tables, flow.sides["C"].eni, flow.sides["S"].eni)
    director.change(made)
    for _ in range(rng.randint(2, 5)):
        director.send(director.any(flow, rng.choice("CS")))
        yield
        director.wait(director.now + rng.choice([0, SECOND, 9 * SECOND]))
    if rng.random() < 0.4:
        _edge(rng, director, flow, rng.choice("CS"))
    if rng.random() < 0.4:
        director.change(changes.undo(made, director.player.tables))
    for _ in range(3):
        director.send(director.step(flow))
        yield


def _untracked_is_cut(rng: random.Random, director: "Director") -> Iterator[None]:
    """An untracked service loses a rule: requests stop, what the guest sends opens a tracked flow (CT-21, CT-22a)."""
    flow = director.flow(("udp", "udp", "tcp"), promising=False)
    if flow is None:
        return
    made = changes.untrack(rng, director.player.tables, flow.sides["S"])
    if made is None or made[1] is None:
        return
    [group] = made[1]["security_group"]
    director.change(made)
    _handshake(director, flow)
    yield
    cut = rng.choice(["ingress", "ingress", "egress"])
    director.change((None, {"security_group": {group: {cut: []}}}))
    for who in "CSCSC":
        director.send(director.any(flow, who))
        yield
    director.change(made)
    director.send(director.any(flow, rng.choice("CS")))


def _moved_address(rng: random.Random, director: "Director") -> Iterator[None]:
    """An address goes to another ENI, or away, under its flows (CT-26, RES-45)."""
    flow = director.flow()
    if flow is None:
        return
    _handshake(director, flow)
    yield
    made = changes.move_address(rng, director.player.tables, flow.sides[rng.choice("CS")].eni)
    director.change(made)
    world = director.oracle.world
    for who in "CSSC":
        side = flow.sides[who]
        side.eni = world.owner(side.host) or side.eni
        director.send(director.any(flow, who))
        yield


def _another_eni(rng: random.Random, director: "Director") -> Iterator[None]:
    """An ENI goes, and one of the same name and address comes (CT-26)."""
    flow = director.flow()
    if flow is None:
        return
    _handshake(director, flow)
    yield
    eni = flow.sides[rng.choice("CS")].eni
    table = director.player.tables["eni"].get(eni)
    if table is None or not director.change(changes.delete_eni(director.player.tables, eni)):
        return
    for who in "CS":
        director.send(director.any(flow, who))
        yield
    director.change((None, {"eni": {eni: table}}))
    for who in "SCS":
        director.send(director.any(flow, who))
        yield


def _hidden_change(rng: random.Random, director: "Director") -> Iterator[None]:
    """Other ENIs' rules change again and again while a flow runs."""
    flow = director.flow()
    if flow is None:
        return
    _handshake(director, flow)
    yield
    mine = {side.eni for side in flow.sides.values()}
    strangers = [eni for eni in director.player.tables["eni"] if eni not in mine]
    for _ in range(rng.randint(2, 5)):
        if strangers:
            stranger = rng.choice(strangers)
            if stranger in director.player.tables["eni"]:
                director.change(changes.against(rng, director.player.tables, stranger, stranger))
        director.send(director.step(flow))
        yield


def _reuse(rng: random.Random, director: "Director") -> Iterator[None]:
    """Closed or reset, then opened again, while the rules or the allowance have changed (CT-45)."""
    flow = director.flow(("tcp",))
    if flow is None:
        return
    flow.plan = ["C S", "S SA", "C A", *rng.choice([["C FA", "S FA", "C A"], ["C *"], ["S *"], ["C FA", "S A", "S FA", "C A"]])]
    while flow.plan:
        director.send(director.step(flow))
        yield
    director.wait(director.now + rng.choice([0, SECOND, 9 * SECOND, 10 * SECOND, 100 * SECOND]))
    chance = rng.random()
    if chance < 0.3:
        director.change(changes.against(rng, director.player.tables, flow.sides["C"].eni, flow.sides["S"].eni))
    elif chance < 0.7:
        director.change(changes.untrack(rng, director.player.tables, flow.sides[rng.choice("SSSC")]))
    flow.renew(rng)
    flow.plan = rng.choice([["C S", "S SA", "C A"], ["S S", "C SA", "S A"], ["S SA", "C S", "S SA"], ["C S", "S RA", "C S"]])[:]
    while flow.plan:
        director.send(director.step(flow))
        yield


def _many_errors(rng: random.Random, director: "Director") -> Iterator[None]:
    """A thousand MTU errors, one more, and another a second later (RT-64)."""
    if rng.random() < 0.9:
        return  # a thousand packets
    flow = director.flow(("udp",))
    if flow is None or len(director.oracle.limiter.sent) > 1:
        return
    text = f"{director.any(flow, 'C').split(' len ')[0]} len 9100 df"
    director.wait(director.now + SECOND)
    director.send(text)
    director.send(text, repeat=rng.choice([998, 999, 999]))
    for _ in range(3):
        director.send(text)
    yield
    director.wait(director.now + SECOND)
    director.send(text)


def _too_large(rng: random.Random, director: "Director") -> Iterator[None]:
    """Around the receiver's MTU: packets, segments, fragments, and errors, of which no errors are sent (RT-61 to RT-64)."""
    flow = director.flow(("udp", "tcp", "icmp"))
    if flow is None:
        return
    who = rng.choice("CCS")
    mtu = rng.choice([1280, 1400])
    director.change((None, {"eni": {flow.sides[other(who)].eni: {"mtu": mtu}}}))
    _handshake(director, flow, 2)
    yield
    six = flow.sides["C"].host.version == 6
    for _ in range(rng.randint(2, 4)):
        size = mtu - (40 if six else 20) + rng.choice([0, 1, 1, 8])
        start = head(flow, who)
        kind = rng.choice(["packet", "segments", "first", "later", "error", "error"])
        df = "" if six else rng.choice([" df", " df", ""])
        if kind == "packet" or (kind == "segments" and flow.kind == "icmp"):
            director.send(f"{plain(flow, who)}{' A' if flow.kind == 'tcp' else ''} len {size - 8}{df}")
        elif kind == "segments":
            header = 20 if flow.kind == "tcp" else 8
            director.send(f"{start}{' A' if flow.kind == 'tcp' else ''} len 9000 gso {size - header}{df}")
        elif kind == "error":
            target = plain(flow, other(who)).split(maxsplit=1)[1]
            word, mine, theirs = "icmpv6" if six else "icmp", flow.sides[who], flow.sides[other(who)]
            error = f"{mine.eni} {word} {mine.host} > {theirs.host} unreachable"
            director.send(f"{error} quote [{target} len 8] len {size - (60 if six else 40)}{df}")
        else:
            size += -size % 8
            director.send(f"{plain(flow, who)}{' A' if flow.kind == 'tcp' else ''} len {size - (20 if flow.kind == 'tcp' else 8)}"
                          f"{df} frag id 77 offset 0 more cut {size if kind == 'first' else 64}")
            director.send(f"{start} len {size}{df} frag id 77 offset {size if kind == 'first' else 64} more")
        yield


def _reset_anywhere(rng: random.Random, director: "Director") -> Iterator[None]:
    """A reset in any state, plausible or not (CT-46)."""
    flow = director.flow(("tcp",))
    if flow is None:
        return
    closing = rng.choice([["C FA", "S FA", "C A"], ["S FA", "C A", "C FA", "S A"], ["C FA", "S A", "S FA"]])
    plan = ["C S", "S SA", "C A", "S A", *closing]
    flow.plan = plan[: rng.choice([3, 4, 5, 6, 7, 8, 9])]
    while flow.plan:
        director.send(director.step(flow))
    yield
    for _ in range(rng.randint(1, 3)):
        director.send(tcp_packet(rng, flow, rng.choice("CS"), "*", director.conn(flow)))
        yield


def _stream(rng: random.Random, director: "Director") -> Iterator[None]:
    """Transactions of UDP in any order, on the edge of their time-outs (CT-39c)."""
    flow = director.flow(("udp",))
    if flow is None:
        return
    for who in rng.choice(["CSCS", "CCSS", "CSSCS", "SCSC", "CSCSCS", "CCSCCS"]):
        director.send(director.any(flow, who))
        yield
        if rng.random() < 0.3:
            _edge(rng, director, flow, rng.choice("CS"))
    _edge(rng, director, flow, rng.choice("CS"))
    director.send(director.any(flow, rng.choice("CS")))


def _through_an_appliance(rng: random.Random, director: "Director") -> Iterator[None]:
    """Forwarded in and out by one ENI (CT-4a, CT-83, SG-34)."""
    world = director.oracle.world
    appliance: Optional[str] = next((one for one in world.enis if not world.checks(one)), None)
    flow = director.flow(promising=False)
    if flow is None or appliance is None or appliance in (flow.sides["C"].eni, flow.sides["S"].eni):
        return
    for who in "CSCCS":
        text = director.step(flow) if flow.kind == "tcp" else director.any(flow, who)
        sender, rest = text.split(maxsplit=1)
        if sender in world.enis and world.subnet(sender) == world.subnet(appliance):
            director.send(f"{text} to-mac {appliance}")
            yield
        director.send(f"{appliance} {rest}")
        yield
