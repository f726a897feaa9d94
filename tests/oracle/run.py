"""Generates, plays, reduces and reports: `run.py --seed N --packets P`; exit status 1 on disagreement."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import engine
import generate
import scenario
import shrink


@dataclass
class Tally:
    """What a run showed."""

    worlds: int = 0
    packets: int = 0
    listings: int = 0
    changes: int = 0
    failing: int = 0
    known: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    reduced: list[str] = field(default_factory=list)


def batch(arguments: argparse.Namespace, folder: Path, first: int, count: int, tally: Tally) -> None:
    """Some worlds: written, played, counted."""
    files = [generate.write(folder, arguments.seed, first + at, arguments.steps) for at in range(count)]
    for path, failures in engine.play(files).items():
        _count(path, tally)
        fresh = [failure for failure in failures if not failure.known]
        tally.known += len(failures) - len(fresh)
        if not fresh:
            path.unlink()
            continue
        tally.failing += 1
        print(f"{path.name}, step {fresh[0].step}: expected {fresh[0].expected}, saw {fresh[0].seen[:200]}", flush=True)
        if len(tally.reduced) < arguments.reduce:
            tally.reduced.append(_reduce(path, arguments.failures))


def _count(path: Path, tally: Tally) -> None:
    raw = scenario.load(path)[1]
    tally.worlds += 1
    for step in raw["step"]:
        tally.listings += "conns" in step
        tally.changes += "change" in step or "patch" in step
        if "send" in step:
            tally.packets += 1
            words = step["expect"].split()
            tally.outcomes[words[0] if words[0] == "delivered" else words[1]] += 1


def _reduce(path: Path, folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / path.name
    script, last = shrink.shrink(path, out, [f"Reduced from {path.name} of tests/oracle/run.py."])
    lines = [f"{out}: {len(script.steps)} steps"]
    lines += [f"  step {one.step}: expected {one.expected}, saw {one.seen}" for one in last]
    return "\n".join(lines)


def report(tally: Tally, seconds: float) -> None:
    """Prints the table."""
    print(f"{'worlds':<24}{tally.worlds:>10}")
    print(f"{'packets':<24}{tally.packets:>10}")
    print(f"{'changes':<24}{tally.changes:>10}")
    print(f"{'connection listings':<24}{tally.listings:>10}")
    print(f"{'seconds':<24}{seconds:>10.0f}")
    print(f"{'reported before':<24}{tally.known:>10}")
    print(f"{'disagreeing worlds':<24}{tally.failing:>10}")
    for outcome, count in tally.outcomes.most_common():
        print(f"  {outcome:<22}{count:>10}")
    print("\n".join(tally.reduced))


def main() -> int:
    """Runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--packets", type=int, default=20_000)
    parser.add_argument("--steps", type=int, default=200, help="packets in each world")
    parser.add_argument("--reduce", type=int, default=3, help="how many failures to reduce")
    parser.add_argument("--stop", type=int, default=20, help="how many failing worlds end the run")
    parser.add_argument("--failures", type=Path, default=Path("target/oracle"), help="where reduced scenarios go")
    arguments = parser.parse_args()
    started, tally = time.monotonic(), Tally()
    worlds = -(-arguments.packets // arguments.steps)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate.prepare(folder)
        for first in range(0, worlds, 20):
            batch(arguments, folder, first, min(20, worlds - first), tally)
            if tally.failing >= arguments.stop:
                print("too many disagreements; stopping")
                break
    report(tally, time.monotonic() - started)
    return 1 if tally.failing else 0


if __name__ == "__main__":
    sys.exit(main())
