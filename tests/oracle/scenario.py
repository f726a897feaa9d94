"""Scenario files: reading, changing the world as they say, writing, and what the oracle expects of each step."""

from __future__ import annotations

import copy
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

import notation
from model import World
from oracle import Oracle, Outcome, span

Table = dict[str, Any]
UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}
UNITS |= {"day": UNITS["d"], "days": UNITS["d"], "min": UNITS["m"], "hours": UNITS["h"]}
SECTIONS = {"sg": "security_group", "acl": "network_acl"}


@dataclass
class Step:
    """One step, without what must be seen."""

    at: int
    send: Optional[str] = None
    change: Optional[str] = None
    patch: Optional[Table] = None
    list_connections: bool = False


@dataclass
class Seen:
    """What the oracle says of a step."""

    outcome: Optional[Outcome] = None
    connections: Optional[list[str]] = None


@dataclass
class Script:
    """A world and what happens in it."""

    world: Table
    steps: list[Step] = field(default_factory=list)


def merge(table: Table, patch: Table) -> None:
    """Lays a patch over a table: tables merge, everything else replaces."""
    for key, value in patch.items():
        if isinstance(table.get(key), dict) and isinstance(value, dict):
            merge(table[key], value)
        else:
            table[key] = copy.deepcopy(value)


def apply(world: Table, step: Step) -> None:
    """Carries out the change and the patch of a step; `ValueError` if there is nothing to revoke."""
    if step.change is not None:
        _change(world, step.change)
    if step.patch is not None:
        merge(world, step.patch)


def _change(world: Table, text: str) -> None:
    if text.startswith("delete "):
        section, name = text[7:].split(":")
        del world[section][name]
        return
    verb, target, direction, rule = text.split(" ", 3)
    kind, name = target.split(":")
    rules = world[SECTIONS[kind]][name].setdefault(direction, [])
    if verb in ("authorize", "add"):
        rules.append(rule)
    else:
        rules.remove(rule)


class Player:
    """Plays the steps of a script to the oracle."""

    def __init__(self, world: Table) -> None:
        self.tables = copy.deepcopy(world)
        self.oracle = Oracle(World(copy.deepcopy(world)))

    def play(self, step: Step) -> Seen:
        """One step."""
        self.oracle.now = step.at
        if step.change is not None or step.patch is not None:
            apply(self.tables, step)
            self.oracle.change(World(copy.deepcopy(self.tables)))
        seen = Seen()
        if step.send is not None:
            seen.outcome = self.oracle.send(notation.parse(step.send))
        if step.list_connections:
            seen.connections = self.oracle.listing()
        return seen


def expectations(script: Script) -> list[Seen]:
    """What the oracle says of every step."""
    player = Player(script.world)
    return [player.play(step) for step in script.steps]


# --- writing -------------------------------------------------------------------------------------------------------


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return f'"{value}"'
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


def text(script: Script, title: str, header: list[str], base: str, rests_on: Optional[list[str]] = None) -> str:
    """A scenario file; `base` is the configuration that the whole world is laid over."""
    lines = [f"# {line}" for line in header]
    lines += [f'title = "{title}"', f"rests_on = {_value(rests_on or ['CT-3'])}", f'world = "{base}"']
    lines += _world(script.world, "patch.")
    for step, seen in zip(script.steps, expectations(script), strict=True):
        lines += ["", "[[step]]", f'at = "{span(step.at)}"']
        if step.change is not None:
            lines.append(f'change = "{step.change}"')
        if step.patch is not None:
            lines.append(f"patch = {_value(step.patch)}")
        if step.send is not None and seen.outcome is not None:
            lines.append(f'send = "{step.send}"')
            lines.append(f'expect = "{seen.outcome.text}"')
            lines.append(f"reply = {_value(seen.outcome.reply)}")
            if seen.outcome.answer is not None:
                lines.append(f'answer = "{seen.outcome.answer}"')
        if seen.connections is not None:
            lines.append(f"conns = {_value(seen.connections)}")
            lines.append(f"conns_total = {len(seen.connections)}")
    return "\n".join(lines) + "\n"


# --- reading -------------------------------------------------------------------------------------------------------


def nanoseconds(text_: str) -> int:
    """Reads a time such as `1m 59s`."""
    return sum(int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+)\s*([a-z]+)", text_))


def load(path: Path) -> tuple[Script, Table]:
    """Reads a scenario file: the script, and the file as it is."""
    raw = tomllib.loads(path.read_text())
    world = tomllib.loads((path.parent / raw["world"]).read_text())
    merge(world, raw.get("patch", {}))
    steps = []
    for step in raw.get("step", []):
        asked = "conns" in step or "conns_total" in step
        if "kill" in step:
            raise notation.Unsupported("kill")
        for _ in range(step.get("repeat", 1)):
            steps.append(Step(nanoseconds(step["at"]), step.get("send"), step.get("change"), step.get("patch"), asked))
            step = {**step, "change": None, "patch": None}
    return Script(world, steps), raw
