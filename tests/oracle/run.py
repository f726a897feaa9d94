"""Generates, plays, reduces and reports: `run.py --seed N --packets P --jobs J`; exit status 1 on disagreement."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator

import engine
import generate
import reach
import shrink
from scenario import Script, Seen

BATCH = 2000  # packets that go to the binary at once


@dataclass
class Tally:
    """What a run showed."""

    worlds: int = 0
    packets: int = 0
    listings: int = 0
    changes: int = 0
    known: int = 0
    failing: list[Path] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    branches: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Tally") -> None:
        """Takes in what another showed."""
        for name in ("worlds", "packets", "listings", "changes", "known"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.failing += other.failing
        self.said += other.said
        self.outcomes += other.outcomes
        self.branches += other.branches

    def count(self, script: Script, seen: list[Seen]) -> None:
        """Counts one sequence."""
        self.worlds += 1
        for step, what in zip(script.steps, seen, strict=True):
            self.listings += step.list_connections
            self.changes += bool(step.changes) or step.patch is not None
            if what.outcome is not None:
                self.packets += 1
                self.outcomes[what.outcome.reason] += 1
                self.outcomes.update(f"released {one.reason}" for one in what.outcome.released)


def batch(seed: int, numbers: list[int], failures: Path) -> Tally:
    """Some sequences: written, played, counted. Those that disagree stay in the folder of failures."""
    tally = Tally()
    reach.COUNTS.clear()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate.prepare(folder)
        files = []
        for number in numbers:
            path, script, seen = generate.write(folder, seed, number)
            tally.count(script, seen)
            files.append(path)
        for path, found in engine.play(files).items():
            fresh = [failure for failure in found if not failure.known]
            tally.known += len(found) - len(fresh)
            if fresh:
                _keep(tally, path, fresh[0], failures)
    tally.branches = Counter(reach.COUNTS)
    return tally


def _keep(tally: Tally, path: Path, failure: engine.Failure, failures: Path) -> None:
    generate.prepare(failures)
    kept = failures / path.name
    kept.write_text(path.read_text())
    tally.failing.append(kept)
    tally.said.append(f"{kept}, step {failure.step}, mode {failure.mode}: expected {failure.expected}, saw {failure.seen[:200]}")


def batches(seed: int, packets: int) -> Iterator[list[int]]:
    """Numbers of sequences, until their packets are as many as asked for."""
    number = 0
    while packets > 0:
        numbers, left = [], min(BATCH, packets)
        while left > 0:
            size = generate.length(seed, number)
            numbers.append(number)
            number, left, packets = number + 1, left - size, packets - size
        yield numbers


def run(arguments: argparse.Namespace) -> Tally:
    """All batches, on as many processors as asked for."""
    tally, started = Tally(), time.monotonic()
    waiting = batches(arguments.seed, arguments.packets)
    with ProcessPoolExecutor(arguments.jobs) as pool:
        running: set[Future[Tally]] = set()
        while True:
            while len(running) < 2 * arguments.jobs and len(tally.failing) < arguments.stop:
                numbers = next(waiting, None)
                if numbers is None:
                    break
                running.add(pool.submit(batch, arguments.seed, numbers, arguments.failures))
            if not running:
                return tally
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                found = future.result()
                print("\n".join(found.said), end="\n" if found.said else "", flush=True)
                tally.add(found)
            _progress(tally, arguments.packets, time.monotonic() - started)


_shown = 0.0


def _progress(tally: Tally, packets: int, seconds: float) -> None:
    """One line that is written over; now and then a line of its own where nobody watches."""
    global _shown
    if seconds - _shown < (0.5 if sys.stderr.isatty() else 60):
        return
    _shown = seconds
    rate = tally.packets / seconds
    left = max(0, packets - tally.packets) / max(1, rate)
    text = f"{tally.packets:,} of {packets:,} packets, {tally.worlds:,} sequences, {rate:,.0f}/s, {left:,.0f} s left, "
    text += f"{len(tally.failing)} disagree"
    print(f"\r{text}  " if sys.stderr.isatty() else text, end="" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)


def _reduce(path: Path) -> str:
    out = path.with_suffix(".min.toml")
    script, last = shrink.shrink(path, out, [f"Reduced from {path.name} of tests/oracle/run.py."])
    lines = [f"{out}: {len(script.steps)} steps"]
    lines += [f"  step {one.step}: expected {one.expected}, saw {one.seen}" for one in last]
    return "\n".join(lines)


def report(tally: Tally, seconds: float, every: bool) -> None:
    """Prints the tables."""
    rows = {
        "sequences": tally.worlds, "packets": tally.packets, "changes": tally.changes, "connection listings": tally.listings,
        "seconds": round(seconds), "reported before": tally.known, "disagreeing": len(tally.failing),
    }
    for name, value in rows.items():
        print(f"{name:<24}{value:>10}")
    for outcome, count in tally.outcomes.most_common():
        print(f"  {outcome:<28}{count:>10}")
    named, missed = reach.branches(), reach.never(tally.branches)
    print(f"{len(named) - len(missed)} of {len(named)} branches taken{': never ' if missed else ''}{', '.join(missed)}")
    if every:
        for branch, count in sorted(tally.branches.items()):
            print(f"  {branch:<60}{count:>10}")


def main() -> int:
    """Runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="absent: a fresh one")
    parser.add_argument("--packets", type=int, default=20_000)
    parser.add_argument("--jobs", type=int, default=1, help="processors")
    parser.add_argument("--reduce", type=int, default=3, help="how many failures to reduce")
    parser.add_argument("--stop", type=int, default=20, help="how many failing sequences end the run")
    parser.add_argument("--failures", type=Path, default=Path("target/oracle"), help="where scenarios that disagree go")
    parser.add_argument("--reach", action="store_true", help="how often each branch of the oracle was taken")
    parser.add_argument("--every-branch", action="store_true", help="a branch that was never taken is a failure")
    arguments = parser.parse_args()
    arguments.seed = random.SystemRandom().randrange(10**9) if arguments.seed is None else arguments.seed
    print(f"seed {arguments.seed}", flush=True)
    started = time.monotonic()
    tally = run(arguments)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    report(tally, time.monotonic() - started, arguments.reach)
    for path in sorted(tally.failing)[: arguments.reduce]:
        print(_reduce(path))
    missed = arguments.every_branch and reach.never(tally.branches)
    return 1 if tally.failing or missed else 0


if __name__ == "__main__":
    sys.exit(main())
