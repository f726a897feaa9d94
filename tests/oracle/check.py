"""Holds the oracle against scenario files written by hand: `check.py FILE|FOLDER…`.

Scenarios with words that the oracle does not judge are named and passed by.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Optional

import scenario
from notation import Unsupported
from outcome import Ambiguous
from scenario import Seen


def differences(path: Path) -> list[str]:
    """Where the file and the oracle disagree."""
    script, raw = scenario.load(path)
    found = []
    for number, (step, seen) in enumerate(zip(raw.get("step", []), scenario.expectations(script, alike=False), strict=True), 1):
        wrong = _wrong(step, seen)
        if wrong is not None:
            found.append(f"{path}, step {number}: {step.get('send')}\n    {wrong}")
    return found


def _wrong(step: dict[str, Any], seen: Seen) -> Optional[str]:
    expect, outcome = step.get("expect"), seen.outcome
    if expect is not None and outcome is not None and expect not in (outcome.text, outcome.full):
        return f"the file expects {expect}, the oracle {outcome.expected} ({outcome.text})"
    if "reply" in step and outcome is not None and step["reply"] != outcome.reply:
        return f"the file expects reply = {step['reply']}"
    if "by" in step and outcome is not None and outcome.by not in (None, step["by"]):
        return f"the file expects by = {step['by']}, the oracle {outcome.by}"
    if "packets" in step and outcome is not None and outcome.packets != step["packets"]:
        return f"the file expects packets = {step['packets']}, the oracle {outcome.packets}"
    if "answer" in step and outcome is not None and outcome.answer not in (None, step["answer"]):
        return f"the file expects answer = {step['answer']}, the oracle {outcome.answer}"
    known = dict(line.rsplit(" ", 1) for line in seen.counters)
    for line in step.get("counters", []):
        name, value = line.rsplit(" ", 1)
        if _judged(name) and not value.startswith("+") and known.get(name, "0") != value:
            return f"the file expects {line}, the oracle {known.get(name, 0)}"
    if outcome is not None and step.get("released", []) != [one.expected for one in outcome.released]:
        return f"the file expects {step.get('released')} released, the oracle {outcome.released}"
    if seen.connections is None:
        return None
    listed = {_canonical(one) for one in seen.connections}
    wanted = step.get("conns_exact", step.get("conns", []))
    missing = [one for one in wanted if _canonical(one) not in listed]
    total = len(wanted) if "conns_exact" in step else 0 if step.get("conns") == [] else len(seen.connections)
    total = step.get("conns_total", total)
    if missing or total != len(seen.connections):
        return f"the file expects {missing} of {total}, the oracle {seen.connections}"
    return None


def _judged(name: str) -> bool:
    """Whether the oracle keeps a counter."""
    return name.split(".")[0] in ("held", "received", "delivered", "generated", "consumed", "dropped") and name not in ("dropped", "consumed")


def _canonical(line: str) -> tuple[str, int]:
    words = line.split()
    cut = next((at for at in range(len(words) - 1, -1, -1) if not words[at][0].isdigit()), 0)
    return " ".join(words[: cut + 1]), scenario.nanoseconds(" ".join(words[cut + 1 :]))


def main(arguments: list[str]) -> int:
    """Prints the differences; 1 if there are any."""
    paths = [Path(one) for one in arguments]
    files = [file for path in paths for file in (sorted(path.rglob("*.toml")) if path.is_dir() else [path])]
    files = [file for file in files if "worlds" not in file.parts and "disagreements" not in file.parts]
    found, passed_by, checked = [], [], 0
    for file in files:
        try:
            found += differences(file)
            checked += 1
        except (Unsupported, Ambiguous) as why:
            passed_by.append(f"{file.name} ({why})")
    print("\n".join(found))
    print(f"{checked} scenarios checked, {len(found)} differences; passed by: {', '.join(passed_by) or 'none'}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
