"""Writes random scenarios with the oracle's expectations: `generate.py --seed N --worlds W --steps S --out DIR`."""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path
from typing import Optional

import scenario
import sequences
import worlds
from scenario import Script, Seen


LENGTHS = [8, 15, 30, 60, 120, 250]  # packets; short sequences begin many worlds, long ones fill tables


def script(seed: int, number: int, packets: Optional[int] = None) -> tuple[Script, list[Seen]]:
    """The script of one world and what the oracle says; the same arguments give the same script."""
    rng = random.Random(f"{seed}/{number}")
    return sequences.script(rng, worlds.world(rng), packets or length(seed, number))


def length(seed: int, number: int) -> int:
    """How many packets a sequence has, at least."""
    return random.Random(f"{seed}/{number}/length").choice(LENGTHS)


def write(folder: Path, seed: int, number: int, packets: Optional[int] = None) -> tuple[Path, Script, list[Seen]]:
    """Writes one scenario."""
    path = folder / f"oracle-{seed}-{number:06}.toml"
    header = [f"Generated: tests/oracle/generate.py --seed {seed}, world {number}."]
    header.append("Every expectation is the oracle's, from the specification alone.")
    title = f"Oracle, seed {seed}, world {number}"
    made, seen = script(seed, number, packets)
    path.write_text(scenario.text(made, title, header, "worlds/vpc.toml", seen))
    return path, made, seen


def prepare(folder: Path) -> None:
    """Makes the folder and the configuration that the scenarios are laid over."""
    (folder / "worlds").mkdir(parents=True, exist_ok=True)
    (folder / "worlds" / "vpc.toml").write_text(worlds.BASE)


def main() -> int:
    """Generates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--worlds", type=int, default=10)
    parser.add_argument("--steps", type=int, help="packets in each world; absent: short and long ones")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    prepare(arguments.out)
    for number in range(arguments.worlds):
        write(arguments.out, arguments.seed, number, arguments.steps)
    return 0


if __name__ == "__main__":
    sys.exit(main())
