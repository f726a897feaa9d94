"""One run: all systems up, each figure of all of them in turn, round after round."""

from __future__ import annotations

import fnmatch
import os
import sys
import time
from dataclasses import dataclass

from figures import FIGURES, Figure
from lab import Failure, Lab
from machine import Others
from results import Measurement, Results
from systems import System, Tools, catalogue

QUIET = 0.2  # CPUs that others may have without a measurement being repeated
REPEATED = 0.15  # of all measurements, at most
SHORT = 3  # seconds that a load takes at most whose rate does not have to grow first
GROWS = ("tcp1", "tcp4", "tcp1_nooff")


@dataclass(frozen=True)
class Plan:
    """What is measured of what, how often and how long."""

    pairs: list[tuple[System, Figure]]
    rounds: int
    seconds: int

    @classmethod
    def of(cls, only: list[str], rounds: int, seconds: int) -> Plan:
        """`only`: patterns `SYSTEM/FIGURE`; none: everything that this machine can."""
        possible = [
            (system, figure)
            for figure in FIGURES
            for system in catalogue()
            if figure.cpus <= len(os.sched_getaffinity(0)) and (not system.figures or figure.name in system.figures)
        ]
        systems = {system.name: system for system, _ in possible}
        pairs = [
            (systems[system.name], figure)
            for system, figure in possible
            if any(fnmatch.fnmatchcase(f"{system.name}/{figure.name}", pattern) for pattern in only)
            or not (only or system.on_request)
        ]
        return cls(pairs, rounds, seconds)

    @property
    def systems(self) -> list[System]:
        """Those with something to measure."""
        named = {system.name: system for system, _ in self.pairs}
        return [named[system.name] for system in catalogue() if system.name in named]

    def length(self, figure: Figure) -> int:
        """Of a load in seconds."""
        return self.seconds if figure.name in GROWS else min(self.seconds, SHORT)

    def in_order(self) -> list[tuple[int, System, Figure]]:
        """Figure by figure, so that systems compared are measured within moments; every other round backwards, so that none
        always comes first."""
        ordered: list[tuple[int, System, Figure]] = []
        for number in range(1, self.rounds + 1):
            for figure in dict.fromkeys(figure for _, figure in self.pairs):
                of_figure = [(number, system, one) for system, one in self.pairs if one is figure]
                ordered += of_figure if number % 2 else reversed(of_figure)
        return ordered


class Session:
    """Plays a plan and says how far it is. What fails is told, kept in `failures`, and the rest goes on."""

    def __init__(self, plan: Plan, lab: Lab, tools: Tools, results: Results) -> None:
        self._plan, self._lab, self._tools, self._results = plan, lab, tools, results
        self._repeats = int(REPEATED * len(plan.in_order()))
        self.failures: list[str] = []

    def play(self) -> None:
        """Everything of the plan."""
        up = self._build()
        steps = [step for step in self._plan.in_order() if step[1] in up]
        start = time.monotonic()
        for done, (number, system, figure) in enumerate(steps):
            left = (time.monotonic() - start) / done * (len(steps) - done) if done else 0.0
            share = 100 * done // len(steps)
            status(f"round {number} of {self._plan.rounds}, {figure.name} of {system.name}: {share} %{_minutes(left)}")
            try:
                self._results.measurements.append(self._measure(number, system, figure))
            except Failure as failure:
                self._fail(f"{figure.name} of {system.name}, round {number}: {failure}")
        status("")

    def _build(self) -> list[System]:
        up = []
        for system in self._plan.systems:
            status(f"making and checking {system.name}")
            try:
                system.up(self._lab, self._tools)
                up.append(system)
            except Failure as failure:
                self._fail(str(failure))
        return up

    def _measure(self, number: int, system: System, figure: Figure) -> Measurement:
        taken = self._once(number, system, figure)
        if taken.others > QUIET and self._repeats > 0:
            self._repeats -= 1
            taken = min(taken, self._once(number, system, figure), key=lambda one: one.others)
        if not sys.stderr.isatty():
            say(f"round {number}  {figure.name:<10}  {system.name:<18} {taken.value:>12,.2f} {figure.unit}")
        return taken

    def _once(self, number: int, system: System, figure: Figure) -> Measurement:
        system.thaw()
        others, start = Others(), time.monotonic()
        try:
            value, detail = figure.measure(system, self._plan.length(figure))
        finally:
            used = others.cpus(time.monotonic() - start)
            system.freeze()
        if value <= 0:
            raise Failure("nothing arrived")
        return Measurement(system.name, figure.name, number, value, round(used, 3), detail)

    def _fail(self, text: str) -> None:
        self.failures.append(text)
        status("")
        say(f"failed: {text}")


def say(text: str) -> None:
    """A line for people."""
    print(text, file=sys.stderr, flush=True)


def status(text: str) -> None:
    """What goes on, on a terminal, in one line that the next overwrites."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _minutes(seconds: float) -> str:
    if seconds <= 0:
        return ""
    return f", {seconds / 60:.0f} min left" if seconds >= 90 else f", {seconds:.0f} s left"
