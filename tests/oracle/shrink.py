"""Reduces a failing scenario to a small one that still fails: `shrink.py FILE [--out FILE]`.

Steps are dropped, gaps closed and objects of the world taken out, one try at a time; after each the oracle judges anew,
so that what remains is a disagreement and not a broken expectation.
"""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
from pathlib import Path
from typing import Any, Iterator, Optional

import engine
import generate
import scenario
from engine import Failure, Invalid
from notation import Unsupported
from outcome import Ambiguous
from scenario import Script, Step

PathOf = tuple[Any, ...]


class Shrinker:
    """A script that fails, and a folder to try smaller ones in."""

    def __init__(self, script: Script, folder: Path, kind: str) -> None:
        self.script = script
        self.folder = folder
        self.kind = kind
        self.tries = 0

    def failures(self, script: Script) -> list[Failure]:
        """The failures of a candidate that are of the kind looked for."""
        self.tries += 1
        path = self.folder / "candidate.toml"
        try:
            path.write_text(scenario.text(script, "Candidate", [], "worlds/vpc.toml"))
            found = engine.play([path])[path]
        except (Invalid, Ambiguous, Unsupported, AssertionError, KeyError, ValueError):
            return []
        return [failure for failure in found if kind_of(failure) == self.kind]

    def accept(self, candidate: Script) -> bool:
        """Takes a candidate if it still fails."""
        if not self.failures(candidate):
            return False
        self.script = candidate
        return True

    def run(self) -> Script:
        """Shrinks until nothing more goes."""
        self._cut_the_end()
        before = None
        while before != (len(self.script.steps), size(self.script.world)):
            before = (len(self.script.steps), size(self.script.world))
            self._drop_steps()
            self._simplify_steps()
            self._simplify_world()
        self._cut_the_end()
        return self.script

    def _cut_the_end(self) -> None:
        found = self.failures(self.script)
        last = min((failure.step for failure in found if failure.step), default=len(self.script.steps))
        self.accept(Script(self.script.world, self.script.steps[:last]))

    def _drop_steps(self) -> None:
        chunk = max(1, len(self.script.steps) // 2)
        while chunk:
            at = 0
            while at < len(self.script.steps):
                steps = self.script.steps
                if not self.accept(Script(self.script.world, steps[:at] + steps[at + chunk :])):
                    at += chunk
            chunk //= 2

    def _simplify_steps(self) -> None:
        for at in range(len(self.script.steps)):
            for candidate in self._simpler(at):
                self.accept(candidate)

    def _simpler(self, at: int) -> Iterator[Script]:
        step = self.script.steps[at]
        if step.list_connections:
            yield self._with(at, Step(step.at, step.send, step.changes, step.patch, repeat=step.repeat))
        gap = step.at - (self.script.steps[at - 1].at if at else 0)
        if gap not in (0, 10**9):
            for wanted in (0, 10**9):
                yield self._earlier(at, gap - wanted)

    def _with(self, at: int, step: Step) -> Script:
        steps = list(self.script.steps)
        steps[at] = step
        return Script(self.script.world, steps)

    def _earlier(self, at: int, by: int) -> Script:
        steps = copy.deepcopy(self.script.steps)
        for step in steps[at:]:
            step.at -= by
        return Script(self.script.world, steps)

    def _simplify_world(self) -> None:
        for path in sorted(paths(self.script.world), key=lambda one: (len(one), str(one)), reverse=True):
            if path[0] != "vpc":
                smaller = without(self.script.world, path)
                if smaller is not None:
                    self.accept(Script(smaller, self.script.steps))


def kind_of(failure: Failure) -> str:
    """What sort of failure it is, so that shrinking does not slip from one to another."""
    words = failure.expected.split()
    if failure.known or words[0] in ("delivered", "dropped", "explain"):
        return f"{failure.expected.partition(' e')[0]} {failure.known}"
    return "connections" if " > " in failure.expected or words[-1].startswith("connection") else "other"


def paths(table: Any, above: PathOf = ()) -> Iterator[PathOf]:
    """Every key and every place of a list."""
    keys = list(table) if isinstance(table, dict) else range(len(table)) if isinstance(table, list) else []
    for key in keys:
        yield (*above, key)
        yield from paths(table[key], (*above, key))


def without(world: scenario.Table, path: PathOf) -> Optional[scenario.Table]:
    """The world less one thing."""
    smaller = copy.deepcopy(world)
    inner: Any = smaller
    try:
        for key in path[:-1]:
            inner = inner[key]
        del inner[path[-1]]
    except (KeyError, IndexError):
        return None
    return smaller


def size(table: Any) -> int:
    """How many things a world holds."""
    return sum(1 for _ in paths(table))


def shrink(path: Path, out: Path, header: list[str], known: bool = False) -> tuple[Script, list[Failure]]:
    """Shrinks a file; by default failures that were not reported before."""
    found = [failure for failure in engine.play([path])[path] if known or not failure.known]
    if not found:
        raise SystemExit(f"{path} does not fail")
    with tempfile.TemporaryDirectory() as folder:
        generate.prepare(Path(folder))
        shrinker = Shrinker(scenario.load(path)[0], Path(folder), kind_of(found[0]))
        script = shrinker.run()
        last = shrinker.failures(script)
    generate.prepare(out.parent)
    out.write_text(scenario.text(script, out.stem, header, "worlds/vpc.toml"))
    return script, last


def main() -> int:
    """Shrinks one file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--known", action="store_true", help="reduce reported disagreements, too")
    arguments = parser.parse_args()
    out = arguments.out or arguments.file.with_suffix(".min.toml")
    script, last = shrink(arguments.file, out, [f"Reduced from {arguments.file.name}."], arguments.known)
    for failure in last:
        print(f"{out}, step {failure.step} of {len(script.steps)}: expected {failure.expected}, saw {failure.seen}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
