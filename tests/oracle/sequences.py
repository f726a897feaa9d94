"""Random sequences of packets and changes, biased towards what is interesting."""

from __future__ import annotations

import random
from typing import Iterator, Optional, Union

import changes
import datagrams
import episodes
import flows
import neighbours
import noise
import notation
import possible
import reach
import worlds
from flows import Flow, Side
from notation import Unsupported
from oracle import Oracle
from outcome import Ambiguous, Outcome
from packets import Arp, Packet
from scenario import Player, Script, Seen, Step, Table
from tcp import HALF_OPEN
from tracking import Conn, allowed_by_rules, key_of
from worlds import CLIENT_PORTS, SERVER_PORTS

SECOND = 10**9


class Director:
    """Writes a script step by step, with the oracle at its side to know what is on the edge of expiry."""

    def __init__(self, rng: random.Random, world: Table) -> None:
        self.rng = rng
        self.player = Player(world, alike=True)
        self.script = Script(world)
        self.seen: list[Seen] = []
        self.flows: dict[tuple[object, ...], Flow] = {}
        self.episodes: list[Iterator[None]] = []
        self.now = 0
        self.sent = 0

    @property
    def oracle(self) -> Oracle:
        """The oracle that plays along."""
        return self.player.oracle

    def run(self, packets: int) -> None:
        """Writes a script with that many packets."""
        while self.sent < packets:
            if self.rng.random() < 0.04:
                self.change(changes.change(self.rng, self.player.tables))
            if self.rng.random() < 0.3:
                self._episode()
            else:
                self._packet()
        self._play(Step(self.now, list_connections=True))

    # --- what episodes use -----------------------------------------------------------------------------------------

    def send(self, text: Optional[str], repeat: int = 1) -> Optional[Outcome]:
        """Sends a packet, unless it is one that cannot be judged."""
        if text is None or not self._can_be_sent(notation.parse(text)):
            return None
        seen = self._play(Step(self.now, text, list_connections=self.rng.random() < 0.12, repeat=repeat))
        self.sent += seen is not None
        return None if seen is None else seen.outcome

    def change(self, made: Optional[changes.Change]) -> bool:
        """Changes the world; `False`: there was nothing to change, or it cannot be changed so any more."""
        if made is None or not possible.changed(self.player.tables, *made):
            return False
        text, patch = made
        if patch is not None:
            worlds.name_rules(patch)
        self._play(Step(self.now, changes=(text,) if text else (), patch=patch, list_connections=self.rng.random() < 0.3))
        gone = [key for key, flow in self.flows.items() if any(s.eni not in self.ports() for s in flow.sides.values())]
        for key in gone:
            del self.flows[key]
        return True

    def wait(self, until: int) -> None:
        """Moves the clock, never back."""
        self.now = max(self.now, until)

    def ports(self) -> set[str]:
        """Who can send."""
        world = self.oracle.world
        return {*world.enis, *world.tables.get("service", {})}

    def flow(self, kinds: tuple[str, ...] = flows.KINDS, promising: bool = True) -> Optional[Flow]:
        """A flow; by default one that the present rules let through."""
        for _ in range(15):
            flow = self._random_flow(kinds)
            if flow is None:
                continue
            ends = flow.sides["C"], flow.sides["S"]
            key = (flow.kind, flow.ident, *[(side.host, side.port) for side in ends])
            if key in self.flows:
                flow = self.flows.pop(key)
            else:
                flow.renew(self.rng)
            if not promising or self._promising(flow):
                self.flows[key] = flow
                return flow
        return None

    def conn(self, flow: Flow, who: str = "C") -> Optional[Conn]:
        """The entry of a flow at one of its sides."""
        packet = notation.parse(flows.plain(flow, who))
        assert isinstance(packet, Packet)
        return self.oracle.tracker.find(flow.sides[who].eni, key_of(packet, "egress"), self.now)

    def step(self, flow: Flow) -> str:
        """The next packet of a flow: mostly by plan."""
        rng = self.rng
        if flow.kind != "tcp":
            return self.any(flow, rng.choice("CCS"))
        conn = self.conn(flow)
        if not flow.plan:
            flow.plan = self._plan(flow, conn)
        if rng.random() < 0.12:
            return self.any(flow, rng.choice("CS"))
        who, letters = flow.plan.pop(0).split()
        return flows.tcp_packet(rng, flow, who, letters, conn)

    def any(self, flow: Flow, who: str) -> str:
        """Any packet of a flow."""
        rng = self.rng
        if flow.kind == "tcp":
            letters = rng.choice(["S", "SA", "A", "A", "PA", "FA", "F", "*", "*", "P"])
            return flows.tcp_packet(rng, flow, who, letters, self.conn(flow, rng.choice("CS")))
        if flow.kind == "icmp":
            return flows.icmp_packet(rng, flow, who)
        return flows.other_packet(rng, flow, who)

    # --- steps -----------------------------------------------------------------------------------------------------

    def _play(self, step: Step) -> Optional[Seen]:
        try:
            seen = self.player.play(step)
        except (Ambiguous, Unsupported) as why:
            reach.hit(f"not sent: {why}")
            return None
        self.script.steps.append(step)
        self.seen.append(seen)
        return seen

    def _can_be_sent(self, packet: Union[Packet, Arp]) -> bool:
        """Whether everybody that it names is still there."""
        near = packet.to_mac if isinstance(packet, Packet) else None
        return packet.port in self.ports() and (near is None or near == "router" or ":" in near or near in self.ports())

    def _episode(self) -> None:
        """Begins an episode, or lets one go on; several run at once."""
        if len(self.episodes) < 2 or (len(self.episodes) < 5 and self.rng.random() < 0.2):
            kind = self.rng.choice([episodes.any_of, datagrams.any_of])
            self.episodes.append(kind(self.rng, self))
        episode = self.rng.choice(self.episodes)
        if next(episode, self) is self:
            self.episodes.remove(episode)

    def _packet(self) -> None:
        conn = self._advance()
        self.send(self._poke(conn) if conn is not None else self._next())

    # --- time ------------------------------------------------------------------------------------------------------

    def _advance(self) -> Optional[tuple[str, Conn]]:
        """Moves the clock; returns the connection whose time-out was met exactly, or missed by a nanosecond."""
        chance = self.rng.random()
        self.oracle.now = self.now
        alive = sorted(self.oracle.connections(), key=lambda found: found[1].expiry)
        if chance < 0.12 and alive:
            eni, conn = self.rng.choice(alive[:4] if self.rng.random() < 0.95 else alive)
            self.wait(conn.expiry + self.rng.choice([-1, -1, 0, 0, 1]))
            return eni, conn
        if chance < 0.5:
            self.now += self.rng.choice([0, 1, 10**6, SECOND // 2])
        elif chance < 0.6:
            self.now += self.rng.randint(1, 15) * SECOND
        return None

    def _poke(self, found: tuple[str, Conn]) -> Optional[str]:
        """A packet of a connection, by whichever side."""
        eni, conn = found
        for flow in self.flows.values():
            for who in self.rng.sample("CS", 2):
                packet = notation.parse(flows.plain(flow, who))
                assert isinstance(packet, Packet)
                direction = "egress" if flow.sides[who].eni == eni else "ingress"
                if key_of(packet, direction) == conn.key:
                    return self.any(flow, who)
        return self._next()

    # --- flows -----------------------------------------------------------------------------------------------------

    def _next(self) -> Optional[str]:
        rng, world = self.rng, self.oracle.world
        chance = rng.random()
        if chance < 0.15 or not self.flows:
            flow = self.flow(promising=rng.random() < 0.85)
            return self.step(flow) if flow is not None else noise.stray(rng, world)
        if chance < 0.70:
            recent = list(self.flows.values())[-6:]
            return self.step(rng.choice(recent))
        if chance < 0.77:
            return noise.error(rng, world, rng.choice(list(self.flows.values())))
        if chance < 0.81:
            return noise.stray(rng, world)
        if chance < 0.87:
            return noise.forged(rng, world)
        if chance < 0.92:
            return neighbours.any_of(rng, world)
        return rng.choice(noise.OTHERS)(rng, world)

    def _random_flow(self, kinds: tuple[str, ...]) -> Optional[Flow]:
        rng, world = self.rng, self.oracle.world
        client, server = rng.sample(list(world.enis), 2)
        source = rng.choice(world.own[client])
        targets = [one for one in world.own[server] if one.version == source.version]
        if not targets:
            return None
        kind = rng.choice(kinds)
        ports = kind in ("tcp", "udp")
        sides = {
            "C": Side(client, source, rng.choice(CLIENT_PORTS) if ports else 0),
            "S": Side(server, rng.choice(targets), rng.choice(SERVER_PORTS) if ports else 0),
        }
        return Flow(kind, sides, rng.randint(1, 20) if kind == "icmp" else 1)

    def _promising(self, flow: Flow) -> bool:
        packet = notation.parse(flows.plain(flow, "C"))
        assert isinstance(packet, Packet)
        client, server = flow.sides["C"].eni, flow.sides["S"].eni
        with reach.paused():
            return self._admits(client, "egress", packet, None) and self._admits(server, "ingress", packet, client)

    def _admits(self, eni: str, direction: str, packet: Packet, handing: Optional[str]) -> bool:
        world, tracker = self.oracle.world, self.oracle.tracker
        tracked = tracker.find(eni, key_of(packet, direction), self.now) is not None
        return tracked or allowed_by_rules(world, eni, direction, packet, handing)

    def _plan(self, flow: Flow, conn: Optional[Conn]) -> list[str]:
        closing = [name for name in flows.PLANS if name.startswith(("close", "bare", "reset"))]
        opening = [name for name in flows.PLANS if name not in closing and not name.startswith("data")]
        state = None if conn is None else conn.state
        if state in HALF_OPEN:
            names = ["open", "data", *closing]
        elif state in ("established", "fin-wait", "close-wait", "last-ack"):
            names = ["data", "data", *closing, *closing, "reuse"]
        else:
            if not self._half_open(flow):
                flow.renew(self.rng)
            names = ["open", "open", "open", *opening]
        return list(flows.PLANS[self.rng.choice(names)])

    def _half_open(self, flow: Flow) -> bool:
        """Whether new sequence numbers would leave open which SYN is meant (CT-46)."""
        found = [self.conn(flow, who) for who in "CS"]
        return any(conn is not None and conn.state in HALF_OPEN for conn in found)


def script(rng: random.Random, world: Table, packets: int) -> tuple[Script, list[Seen]]:
    """A random script in a world, and what the oracle says of each step."""
    director = Director(rng, world)
    director.run(packets)
    return director.script, director.seen
