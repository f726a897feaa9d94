"""Measurements, and what follows from them: medians, ranges, and ratios of what was measured in the same round."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Measurement:
    """One value. `others`: how many CPUs others had meanwhile; above some 0.2 it is doubtful."""

    system: str
    figure: str
    round: int
    value: float
    others: float = 0.0
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Spread:
    """The median of some values, and how far they lie apart."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread | None:
        """None of no values."""
        held = sorted(values)
        return cls(median(held), held[0], held[-1]) if held else None


@dataclass
class Results:
    """All measurements of a run, and what was said about it."""

    about: dict[str, Any]
    measurements: list[Measurement] = field(default_factory=list)

    def spread(self, system: str, figure: str) -> Spread | None:
        """Of the values of all rounds."""
        return Spread.of(self._by_round(system, figure).values())

    def ratio(self, system: str, base: str, figure: str) -> Spread | None:
        """Of the ratios of each round. What slows the machine for a while slows both, and the ratio does not see it."""
        own, other = self._by_round(system, figure), self._by_round(base, figure)
        return Spread.of(value / other[number] for number, value in own.items() if other.get(number))

    def systems(self) -> list[str]:
        """Those with a value, in the order in which they came first."""
        return list(dict.fromkeys(one.system for one in self.measurements))

    def figures(self) -> list[str]:
        """The same of figures."""
        return list(dict.fromkeys(one.figure for one in self.measurements))

    def disturbed(self, limit: float) -> int:
        """Measurements during which others had more CPUs than that."""
        return sum(one.others > limit for one in self.measurements)

    def save(self, path: Path) -> None:
        """Everything, as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.to_json())

    def to_json(self) -> str:
        """One measurement per line."""
        head = json.dumps(self.about, ensure_ascii=False)
        lines = ",\n".join(json.dumps(asdict(one), ensure_ascii=False) for one in self.measurements)
        return f'{{"about": {head},\n"measurements": [\n{lines}\n]}}\n'

    @classmethod
    def load(cls, paths: Iterable[Path]) -> Results:
        """Runs of different figures or systems put together; what the last says about itself holds for all, but its command. A value measured
        in two of them comes from the later."""
        about: dict[str, Any] = {}
        held: dict[tuple[str, str, int], Measurement] = {}
        for path in paths:
            read = json.loads(path.read_text())
            about = {**about, **read["about"], "commands": about.get("commands", []) + read["about"]["commands"]}
            for one in (Measurement(**one) for one in read["measurements"]):
                held[one.system, one.figure, one.round] = one
        return cls(about, list(held.values()))

    def _by_round(self, system: str, figure: str) -> dict[int, float]:
        return {one.round: one.value for one in self.measurements if (one.system, one.figure) == (system, figure)}
