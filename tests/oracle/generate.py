"""Writes random scenarios with the oracle's expectations: `generate.py --seed N --worlds W --steps S --out DIR`."""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

import scenario
import sequences
import worlds
from scenario import Script


def script(seed: int, number: int, packets: int) -> Script:
    """The script of one world; the same arguments give the same script."""
    rng = random.Random(f"{seed}/{number}")
    return sequences.script(rng, worlds.world(rng), packets)


def write(folder: Path, seed: int, number: int, packets: int) -> Path:
    """Writes one scenario."""
    path = folder / f"oracle-{seed}-{number:04}.toml"
    header = [f"Generated: tests/oracle/generate.py --seed {seed}, world {number}, {packets} packets."]
    header.append("Every expectation is the oracle's, from the specification alone.")
    title = f"Oracle, seed {seed}, world {number}"
    path.write_text(scenario.text(script(seed, number, packets), title, header, "worlds/vpc.toml"))
    return path


def prepare(folder: Path) -> None:
    """Makes the folder and the configuration that the scenarios are laid over."""
    (folder / "worlds").mkdir(parents=True, exist_ok=True)
    (folder / "worlds" / "vpc.toml").write_text(worlds.BASE)


def main() -> int:
    """Generates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--worlds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=200, help="packets in each world")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    prepare(arguments.out)
    for number in range(arguments.worlds):
        write(arguments.out, arguments.seed, number, arguments.steps)
    return 0


if __name__ == "__main__":
    sys.exit(main())
