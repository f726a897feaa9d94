"""Holds the oracle against scenario files written by hand: `check.py FILE|FOLDER…`.

Scenarios with words that the oracle does not judge are named and passed by.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Optional

import scenario
from notation import Unsupported
from oracle import Ambiguous
from scenario import Seen


def differences(path: Path) -> list[str]:
    """Where the file and the oracle disagree."""
    script, raw = scenario.load(path)
    found = []
    steps = [step for step in raw.get("step", []) for _ in range(step.get("repeat", 1))]
    for number, (step, seen) in enumerate(zip(steps, scenario.expectations(script), strict=True), 1):
        wrong = _wrong(step, seen)
        if wrong is not None and (number == len(steps) or steps[number] is not step):
            found.append(f"{path}, step {number}: {step.get('send')}\n    {wrong}")
    return found


def _wrong(step: dict[str, Any], seen: Seen) -> Optional[str]:
    expect, outcome = step.get("expect"), seen.outcome
    if expect is not None and outcome is not None and outcome.text not in _short(expect):
        return f"the file expects {expect}, the oracle {outcome.text}"
    if "reply" in step and outcome is not None and step["reply"] != outcome.reply:
        return f"the file expects reply = {step['reply']}"
    if seen.connections is None:
        return None
    known = {_canonical(one) for one in seen.connections}
    missing = [one for one in step.get("conns", []) if _canonical(one) not in known]
    total = step.get("conns_total", 0 if step.get("conns") == [] else len(seen.connections))
    if missing or total != len(seen.connections):
        return f"the file expects {missing} of {total}, the oracle {seen.connections}"
    return None


def _short(expect: str) -> list[str]:
    """What the oracle says of a packet that ends as the file expects: reasons, not places."""
    words = expect.split()
    if words[0] != "dropped" or len(words) < 4:
        return [expect]
    stage, why = words[-2:]
    if stage == "security-group":
        return ["dropped group-egress", "dropped group-ingress"]
    if stage == "network-acl":
        kind = "default" if why == "*" else "entry"
        return [f"dropped acl-egress-{kind}", f"dropped acl-ingress-{kind}"]
    return [f"dropped {why}"]


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
