"""Shows that the comparison bites: with one statement of the oracle made wrong, a run must disagree.

`teeth.py --seed N --packets P --jobs J`; exit status 1 if a wrong oracle goes unnoticed. The engine need not be right for this.
`--check` only looks whether each wrong oracle can be made.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import engine
from wrong import WRONG

HERE = Path(__file__).resolve().parent


def bites(place: str, old: str, new: str, arguments: argparse.Namespace) -> str:
    """Whether a run with this change disagrees: `found`, `MISSED`, or `BROKEN` if it cannot be made at all."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "tests" / "oracle"
        shutil.copytree(HERE, folder, ignore=shutil.ignore_patterns("__pycache__"))
        source = (folder / place).read_text()
        (folder / place).write_text(source.replace(old, new))
        command = [sys.executable, "run.py", "--seed", str(arguments.seed), "--packets", str(arguments.packets)]
        command += ["--reduce", "0", "--stop", "1"]
        environment = os.environ | {"PALISADE_BIN": str(engine.BINARY.resolve())}
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=1200, check=False
        )
        if "sequences" not in done.stdout:
            print(done.stderr[-400:], file=sys.stderr)
            return "BROKEN"
        return "found" if done.returncode == 1 else "MISSED"


def impossible() -> list[str]:
    """Wrong oracles whose place is not to be found."""
    return [f"{name}: {place} does not contain {old!r}" for name, place, old, _ in WRONG if old not in (HERE / place).read_text()]


def main() -> int:
    """Tries every wrong oracle."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--packets", type=int, default=100_000)
    parser.add_argument("--jobs", type=int, default=1, help="processors")
    parser.add_argument("--only", default="", help="statements whose name holds this")
    parser.add_argument("--check", action="store_true", help="look only whether each can be made")
    arguments = parser.parse_args()
    if impossible() or arguments.check:
        print("\n".join(impossible() or [f"{len(WRONG)} wrong oracles can be made"]))
        return bool(impossible())
    chosen = [one for one in WRONG if arguments.only in one[0]]
    missed = []
    with ThreadPoolExecutor(arguments.jobs) as pool:
        found = pool.map(lambda one: bites(*one[1:], arguments), chosen)
        for (name, _, _, new), noticed in zip(chosen, found):
            missed += [] if noticed == "found" else [name]
            print(f"{noticed:<6}  {name}: {' '.join(new.split())[:60]}", flush=True)
    print(f"{len(missed)} of {len(chosen)} wrong oracles missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
