"""Random sequences of packets and changes, biased towards what is interesting."""

from __future__ import annotations

import random
from typing import Optional

import changes
import flows
import noise
import notation
from flows import Flow, Side
from notation import Packet, Unsupported
from oracle import Ambiguous
from scenario import Player, Script, Step, Table
from tracking import Conn, key_of
from worlds import CLIENT_PORTS, SERVER_PORTS

SECOND = 10**9
HALF_OPEN = ("syn-sent", "syn-sent2", "syn-recv")


class Director:
    """Writes a script step by step, with the oracle at its side to know what is on the edge of expiry."""

    def __init__(self, rng: random.Random, world: Table) -> None:
        self.rng = rng
        self.player = Player(world)
        self.script = Script(world)
        self.flows: dict[tuple[object, ...], Flow] = {}
        self.now = 0

    @property
    def oracle(self):  # type: ignore[no-untyped-def]
        """The oracle that plays along."""
        return self.player.oracle

    def run(self, packets: int) -> Script:
        """A script with that many packets."""
        sent = 0
        while sent < packets:
            if self.rng.random() < 0.04:
                self._change()
            sent += self._packet()
        self._play(Step(self.now, list_connections=True))
        return self.script

    def _play(self, step: Step) -> bool:
        try:
            if step.send is not None and notation.parse(step.send).port not in self._ports():
                return False
            self.player.play(step)
        except (Ambiguous, Unsupported):
            return False
        self.script.steps.append(step)
        return True

    def _ports(self) -> set[str]:
        world = self.oracle.world
        return {*world.enis, *world.tables.get("service", {})}

    def _change(self) -> None:
        made = changes.change(self.rng, self.player.tables)
        if made is None:
            return
        text, patch = made
        self._play(Step(self.now, change=text, patch=patch, list_connections=self.rng.random() < 0.3))
        gone = [key for key, flow in self.flows.items() if any(s.eni not in self._ports() for s in flow.sides.values())]
        for key in gone:
            del self.flows[key]

    def _packet(self) -> int:
        conn = self._advance()
        text = self._poke(conn) if conn is not None else self._next()
        if text is None:
            return 0
        return int(self._play(Step(self.now, send=text, list_connections=self.rng.random() < 0.12)))

    # --- time ------------------------------------------------------------------------------------------------------

    def _advance(self) -> Optional[tuple[str, Conn]]:
        """Moves the clock; returns the connection whose time-out was met exactly, or missed by a nanosecond."""
        chance = self.rng.random()
        self.oracle.now = self.now
        alive = sorted(self.oracle.connections(), key=lambda found: found[1].expiry)
        if chance < 0.12 and alive:
            eni, conn = self.rng.choice(alive[:4] if self.rng.random() < 0.95 else alive)
            self.now = max(self.now, conn.expiry + self.rng.choice([-1, -1, 0, 0, 1]))
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
                packet = notation.parse(self._plain(flow, who))
                direction = "egress" if flow.sides[who].eni == eni else "ingress"
                if key_of(packet, direction) == conn.key:
                    return self._any(flow, who)
        return self._next()

    @staticmethod
    def _plain(flow: Flow, who: str) -> str:
        text = flows.head(flow, who)
        if flow.kind != "icmp":
            return text
        six = flow.sides["C"].host.version == 6
        return f"{text} type {(128 if six else 8) + (who == 'S') * (1 if six else -8)} id {flow.ident}"

    # --- flows -----------------------------------------------------------------------------------------------------

    def _next(self) -> Optional[str]:
        rng, world = self.rng, self.oracle.world
        chance = rng.random()
        if chance < 0.15 or not self.flows:
            flow = self._new_flow()
            return self._step(flow) if flow is not None else noise.stray(rng, world)
        if chance < 0.74:
            recent = list(self.flows.values())[-6:]
            return self._step(rng.choice(recent))
        if chance < 0.81:
            return noise.error(rng, world, rng.choice(list(self.flows.values())))
        if chance < 0.85:
            return noise.stray(rng, world)
        if chance < 0.90:
            return noise.forged(rng, world)
        return rng.choice([noise.service, noise.large, noise.next_hop, noise.next_hop])(rng, world)

    def _new_flow(self) -> Optional[Flow]:
        """A flow; mostly one that the present rules let through."""
        picky = self.rng.random() < 0.85
        for _ in range(15):
            flow = self._random_flow()
            if flow is None:
                continue
            ends = flow.sides["C"], flow.sides["S"]
            key = (flow.kind, flow.ident, *[(side.host, side.port) for side in ends])
            if key in self.flows:
                flow = self.flows.pop(key)
            else:
                flow.renew(self.rng)
            if not picky or self._promising(flow):
                self.flows[key] = flow
                return flow
        return None

    def _random_flow(self) -> Optional[Flow]:
        rng, world = self.rng, self.oracle.world
        client, server = rng.sample(list(world.enis), 2)
        source = rng.choice(world.own[client])
        targets = [one for one in world.own[server] if one.version == source.version]
        if not targets:
            return None
        kind = rng.choices(["tcp", "udp", "icmp", "proto 47", "proto 132"], [55, 25, 10, 5, 5])[0]
        ports = kind in ("tcp", "udp")
        sides = {
            "C": Side(client, source, rng.choice(CLIENT_PORTS) if ports else 0),
            "S": Side(server, rng.choice(targets), rng.choice(SERVER_PORTS) if ports else 0),
        }
        return Flow(kind, sides, rng.randint(1, 20) if kind == "icmp" else 1)

    def _promising(self, flow: Flow) -> bool:
        text = self._plain(flow, "C")
        packet = notation.parse(text)
        world, tracker = self.oracle.world, self.oracle.tracker
        client, server = flow.sides["C"].eni, flow.sides["S"].eni
        out = tracker.judge(world, client, "egress", packet, None, self.now).allowed
        return bool(out and tracker.judge(world, server, "ingress", packet, client, self.now).allowed)

    def _step(self, flow: Flow) -> str:
        """The next packet of a flow: mostly by plan."""
        rng = self.rng
        if flow.kind != "tcp":
            return self._any(flow, rng.choice("CCS"))
        conn = self._conn(flow)
        if not flow.plan:
            flow.plan = self._plan(flow, conn)
        if rng.random() < 0.12:
            return self._any(flow, rng.choice("CS"))
        who, letters = flow.plan.pop(0).split()
        return flows.tcp_packet(rng, flow, who, letters, conn)

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
        found = [self._conn(flow, who) for who in "CS"]
        return any(conn is not None and conn.state in HALF_OPEN for conn in found)

    def _conn(self, flow: Flow, who: str = "C") -> Optional[Conn]:
        packet: Packet = notation.parse(self._plain(flow, who))
        found: Optional[Conn] = self.oracle.tracker.find(flow.sides[who].eni, key_of(packet, "egress"), self.now)
        return found

    def _any(self, flow: Flow, who: str) -> str:
        """Any packet of a flow."""
        rng = self.rng
        if flow.kind == "tcp":
            letters = rng.choice(["S", "SA", "A", "A", "PA", "FA", "F", "*", "*", "P"])
            return flows.tcp_packet(rng, flow, who, letters, self._conn(flow, rng.choice("CS")))
        if flow.kind == "icmp":
            return flows.icmp_packet(rng, flow, who)
        return flows.other_packet(rng, flow, who)


def script(rng: random.Random, world: Table, packets: int) -> Script:
    """A random script in a world."""
    return Director(rng, world).run(packets)
