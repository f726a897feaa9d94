"""Scenario files: reading, changing the world as they say, writing, and what the oracle expects of each step."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

import amend
import notation
from model import World
from notation import Unsupported
from oracle import Oracle, span
from outcome import Ambiguous, Outcome

Table = dict[str, Any]
UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}
UNITS |= {"day": UNITS["d"], "days": UNITS["d"], "min": UNITS["m"], "hours": UNITS["h"]}


@dataclass
class Step:
    """One step, without what must be seen."""

    at: int
    send: Optional[str] = None
    changes: tuple[str, ...] = ()
    patch: Optional[Table] = None
    list_connections: bool = False
    repeat: int = 1


@dataclass
class Seen:
    """What the oracle says of a step."""

    outcome: Optional[Outcome] = None
    connections: Optional[list[str]] = None
    counters: list[str] = field(default_factory=list)


@dataclass
class Script:
    """A world and what happens in it."""

    world: Table
    steps: list[Step] = field(default_factory=list)


class Player:
    """Plays the steps of a script to the oracle."""

    def __init__(self, world: Table, alike: bool = False) -> None:
        self.alike = alike  # whether what is said of a repeated packet must hold each time
        self.tables = amend.copied(world)
        self.oracle = Oracle(World(amend.copied(world)))

    def play(self, step: Step) -> Seen:
        """One step; `Ambiguous` and `Unsupported` leave a packet without effect."""
        self.oracle.now = step.at
        for number, change in enumerate(step.changes, 1):
            amend.apply(self.tables, change)
            if number < len(step.changes):
                self._switch()
        if step.patch is not None:
            amend.merge(self.tables, step.patch)
        if step.changes or step.patch is not None:
            self._switch()
        seen = Seen()
        if step.send is not None:
            seen.outcome = self._send(step.send, step.repeat)
        if step.list_connections:
            seen.connections, seen.counters = self.oracle.listing(), self.oracle.counters()
        return seen

    def _switch(self) -> None:
        self.oracle.change(World(amend.copied(self.tables)))

    def _send(self, text_: str, repeat: int) -> Outcome:
        before = self.oracle.save()
        try:
            outcome = self.oracle.send(notation.parse(text_))
            for _ in range(1, repeat):
                if self.oracle.send(notation.parse(text_)) != outcome and self.alike:
                    raise Ambiguous("a repeated packet that fares differently")
        except (Ambiguous, Unsupported):
            self.oracle.restore(before)
            raise
        return outcome


def expectations(script: Script, alike: bool = True) -> list[Seen]:
    """What the oracle says of every step."""
    player = Player(script.world, alike)
    return [player.play(step) for step in script.steps]


# --- writing -------------------------------------------------------------------------------------------------------


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return f"'{value}'" if '"' in value else f'"{value}"'
    if isinstance(value, list):
        return "[" + ", ".join(_value(one) for one in value) + "]"
    return "{ " + ", ".join(f"{key} = {_value(one)}" for key, one in value.items()) + " }"


def _world(world: Table, prefix: str) -> list[str]:
    lines: list[str] = []
    for section, objects in world.items():
        tables = {"": objects} if section in ("vpc", "quotas") else objects
        for name, table in tables.items():
            lines += ["", f"[{prefix}{section}{'.' + name if name else ''}]"]
            lines += [f"{key} = {_value(value)}" for key, value in table.items()]
    return lines


def text(script: Script, title: str, header: list[str], base: str, every: Optional[list[Seen]] = None) -> str:
    """A scenario file; `base` is the configuration that the whole world is laid over, `every` what the oracle said."""
    lines = [f"# {line}" for line in header]
    lines += [f'title = "{title}"', 'rests_on = ["CT-3"]', f'world = "{base}"']
    lines += _world(script.world, "patch.")
    for step, seen in zip(script.steps, every or expectations(script), strict=True):
        lines += ["", "[[step]]", f'at = "{span(step.at)}"', *_step(step), *_seen(seen)]
    return "\n".join(lines) + "\n"


def _step(step: Step) -> list[str]:
    lines = []
    if step.changes:
        lines.append(f"change = {_value(step.changes[0] if len(step.changes) == 1 else list(step.changes))}")
    if step.patch is not None:
        lines.append(f"patch = {_value(step.patch)}")
    if step.send is not None:
        lines.append(f'send = "{step.send}"')
    if step.repeat != 1:
        lines.append(f"repeat = {step.repeat}")
    return lines


def _seen(seen: Seen) -> list[str]:
    lines = []
    if seen.outcome is not None:
        lines += [f'expect = "{seen.outcome.expected}"', f"reply = {_value(seen.outcome.reply)}"]
        if seen.outcome.by is not None:
            lines.append(f"by = {_value(seen.outcome.by)}")
        if seen.outcome.packets is not None:
            lines.append(f"packets = {seen.outcome.packets}")
        if seen.outcome.answer is not None:
            lines.append(f'answer = "{seen.outcome.answer}"')
        if seen.outcome.released:
            lines.append(f"released = {_value([one.expected for one in seen.outcome.released])}")
    if seen.connections is not None:
        lines += [f"conns_exact = {_value(seen.connections)}", f"counters = {_value(seen.counters)}"]
    return lines


# --- reading -------------------------------------------------------------------------------------------------------


def nanoseconds(text_: str) -> int:
    """Reads a time such as `1m 59s`."""
    return sum(int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+)\s*([a-z]+)", text_))


def load(path: Path) -> tuple[Script, Table]:
    """Reads a scenario file: the script, and the file as it is."""
    raw = tomllib.loads(path.read_text())
    world = raw["world"]
    if isinstance(world, str):
        world = tomllib.loads((path.parent / world).read_text())
    amend.merge(world, raw.get("patch", {}))
    return Script(world, [_read(step) for step in raw.get("step", [])]), raw


def _read(step: Table) -> Step:
    if "kill" in step:
        raise Unsupported("kill")
    asked = any(key in step for key in ("conns", "conns_total", "conns_exact", "counters"))
    changes = step.get("change", ())
    refused = "refused" in step
    return Step(
        nanoseconds(step["at"]),
        step.get("send"),
        () if refused else (changes,) if isinstance(changes, str) else tuple(changes),
        None if refused else step.get("patch"),
        asked,
        step.get("repeat", 1),
    )
