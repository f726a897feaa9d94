"""Counts how often each branch that a statement asks for was taken, and finds those that never were."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from pathlib import Path
from typing import Iterator

HERE = Path(__file__).resolve().parent
ORACLE = ["oracle.py", "link.py", "fragments.py", "tracking.py", "tcp.py", "path.py", "model.py"]

COUNTS: Counter[str] = Counter()


_paused = False


def hit(branch: str) -> None:
    """Takes note of a branch, named after its statement."""
    if not _paused:
        COUNTS[branch] += 1


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """Nothing counts: somebody only asks what would be."""
    global _paused
    before, _paused = _paused, True
    try:
        yield
    finally:
        _paused = before


def branches() -> list[str]:
    """Every branch that the oracle's sources name."""
    found = []
    for name in ORACLE:
        text = (HERE / name).read_text()
        found += re.findall(r'hit\("([^"]+)"\)', text) + re.findall(r'"(CT-4\d: [a-z0-9-]+ to [a-z0-9-]+)"', text)
    return sorted(set(found))


def never(counts: Counter[str]) -> list[str]:
    """Branches that were not taken."""
    return [branch for branch in branches() if not counts[branch]]
