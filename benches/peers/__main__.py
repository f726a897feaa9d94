"""Compares Palisade with its peers. `scripts/bench.sh` runs it, after it has built and installed what is needed."""

from __future__ import annotations

import argparse
import datetime
import os
import shlex
import signal
import sys
from pathlib import Path

import chart
import machine
import report
from figures import FIGURES
from lab import Lab
from results import Results
from session import Plan, Session, say
from systems import Tools, catalogue

ROOT = Path(__file__).resolve().parents[2]
PAGE, CHART, README = ROOT / "docs/benchmarks.md", ROOT / "docs/benchmarks.svg", ROOT / "README.md"
KEPT = ROOT / "target/bench/results.json"

ABOUT = "Measures Palisade and its peers on this machine, under one policy; a complete run writes docs/benchmarks.md anew."
SMOKE = ["nft/tcp1", "palisade-tap/*", "palisade-packet/tcp1"]
ALWAYS = ("ethtool", "ip", "iperf3", "setpriv", "taskset")


def main() -> int:
    """Exit status: 1 if anything failed."""
    arguments = parse()
    if arguments.list:
        put(listing())
        return 0
    if arguments.read:
        results = Results.load(arguments.read)
        tell(results, arguments.output)
        if not arguments.no_docs:
            document(results)
        return 0
    plan = Plan.of(arguments.only, arguments.rounds, arguments.seconds)
    if arguments.needs:
        put("\n".join([*ALWAYS, *sorted({need for system in plan.systems for need in system.needs})]))
        return 0
    return measure(plan, arguments)


def parse() -> argparse.Namespace:
    """The command line, with what the short forms stand for filled in."""
    parser = argparse.ArgumentParser(prog="bench.sh", description=ABOUT, allow_abbrev=False)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--quick", action="store_true", help="3 rounds of 1 second, within 8 minutes")
    how.add_argument("--smoke", action="store_true", help="1 round of 1 second of a few figures: does it work?")
    how.add_argument("--list", action="store_true", help="list systems and figures")
    how.add_argument(
        "--read", nargs="+", type=Path, metavar="FILE", help="measure nothing: tell and document what these files hold"
    )
    parser.add_argument("--rounds", type=positive, metavar="N", help="how often (default 5)")
    parser.add_argument(
        "--seconds", type=positive, metavar="N", help="length of a TCP stream (default 5); others take at most 3 s"
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="SYSTEM/FIGURE", help="measure these; * and ? match; may be repeated"
    )
    parser.add_argument("--output", choices=("table", "json"), default="table", help="print a table, or every measurement")
    parser.add_argument("--no-docs", action="store_true", help="leave docs/benchmarks.md, its chart and README.md as they are")
    parser.add_argument("--needs", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    rounds, seconds = (1, 1) if arguments.smoke else (3, 1) if arguments.quick else (5, 5)
    arguments.rounds, arguments.seconds = arguments.rounds or rounds, arguments.seconds or seconds
    if arguments.smoke:
        arguments.only = arguments.only or SMOKE
    if not (arguments.list or arguments.read) and not Plan.of(arguments.only, 1, 1).pairs:
        parser.error(f"nothing is called {' or '.join(arguments.only)}; --list shows what there is")
    return arguments


def positive(text: str) -> int:
    """A number of rounds or seconds."""
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above zero")
    return int(text)


def measure(plan: Plan, arguments: argparse.Namespace) -> int:
    """Plays a plan in the namespaces of the script's run."""
    # Leaves by the way on which everything is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    tools = Tools(os.environ["PALISADE_BIN"], os.environ["PALISADE_LOAD"])
    about = {
        "date": datetime.date.today().isoformat(),
        "commands": [shlex.join([report.COMMAND, *sys.argv[1:]])],
        "machine": machine.describe(),
        "versions": machine.versions(tools.palisade),
        "seconds": plan.seconds,
    }
    results = Results(about)
    with Lab(os.environ["RUN"], Path(os.environ["TMP"])) as lab:
        session = Session(plan, lab, tools, results)
        session.play()
    results.save(KEPT)
    tell(results, arguments.output)
    if session.failures:
        say(f"{len(session.failures)} measurements failed")
        return 1
    if not (arguments.only or arguments.no_docs):
        document(results)
    return 0


def tell(results: Results, output: str) -> None:
    """On standard output."""
    put(results.to_json().rstrip() if output == "json" else report.table(results))


def put(text: str) -> None:
    """Prints; who reads only the first lines ends this quietly."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    print(text)


def document(results: Results) -> None:
    """Writes the page, its chart and the front page's part anew."""
    report.write((PAGE, README), results)
    CHART.write_text(chart.draw(results))
    say("wrote docs/benchmarks.md, docs/benchmarks.svg and the table in README.md")


def listing() -> str:
    """What can be measured."""
    systems = [f"  {system.name:<19} {system.title}" for system in catalogue()]
    figures = [f"  {figure.name:<19} {figure.title}, {figure.unit}" for figure in FIGURES]
    return "\n".join(["systems", *systems, "figures", *figures])


if __name__ == "__main__":
    sys.exit(main())
