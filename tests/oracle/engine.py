"""Calls the palisade binary: what it says of scenario files."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("PALISADE_BIN", ROOT / "target" / "debug" / "palisade"))

# Disagreements that were reported and wait for a decision, as (how the expectation begins, how what was seen ends):
# they are counted apart. Each has a scenario in tests/scenarios/disagreements.
KNOWN: tuple[tuple[str, str], ...] = ()


class Invalid(Exception):
    """The scenario cannot be played at all."""


@dataclass(frozen=True)
class Failure:
    """One disagreement."""

    step: int
    expected: str
    seen: str
    mode: str = ""  # of the engine, as docs/scenarios.md names them: with and without flow cache, on several workers

    @property
    def known(self) -> bool:
        """Whether it was reported."""
        return any(self.expected.startswith(begin) and self.seen.endswith(end) for begin, end in KNOWN)


def play(paths: list[Path]) -> dict[Path, list[Failure]]:
    """Plays scenario files; `Invalid` if one cannot be played."""
    command = [str(BINARY), "scenario", "-o", "json", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    found: dict[Path, list[Failure]] = {}
    for line in done.stdout.splitlines():
        report = json.loads(line)
        if report.get("error"):
            raise Invalid(f"{report['file']}: {report['error']}")
        found[Path(report["file"])] = [
            Failure(one["step"] or 0, one["expected"], one["seen"], report["mode"]) for one in report["failures"]
        ]
    if len(found) != len(paths):
        raise Invalid(done.stderr.strip() or "the binary said nothing of some file")
    return found
