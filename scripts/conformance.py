#!/usr/bin/env python3
"""Writes docs/conformance.md: every statement of the specification, and what shows it.

conformance.py            writes the page
conformance.py --check    writes nothing; exit 1 if the page is stale or a rule below is broken
conformance.py --missing  prints the statements that nothing shows

A statement is shown by scenarios that rest on it (`rests_on`), by tests whose name, comments or body cite its number, or a
reason stands in docs/spec/not-shown.toml. An error is: a statement with none of the three; a citation of a statement that
does not exist; a reason for a statement that has scenarios. Needs Python 3.11, standard library only.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
import tomllib
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SPEC, CORPUS, PAGE = ROOT / "docs/spec", ROOT / "tests/scenarios", ROOT / "docs/conformance.md"
REASONS = SPEC / "not-shown.toml"
CHAPTERS = ("security-groups", "connection-tracking", "network-acls", "reserved-addresses", "routing", "flow-logs",
            "traffic-mirroring")

NUMBER = r"(?:SG|CT|NACL|RES|RT|FL|TM)-\d+(?:[a-z]\d?)?"
STATEMENT = re.compile(rf"(?:- |\| )({NUMBER})(?= )(.*)")
CITED = re.compile(rf"\b{NUMBER}\b")
CITED_IN_NAME = re.compile(r"(?<![a-z])(sg|ct|nacl|res|rt|fl|tm)_(\d+[a-z]?\d?)(?![a-z0-9])")
TEST = re.compile(r"#\[(?:tokio::)?test\b[^\]]*\]\s*(?:#\[[^\]]*\]\s*)*(?:async )?fn (\w+)")
COMMENT = re.compile(r"(?:[ ]*//[^\n]*\n)*\Z")
WIDTH = 110  # characters of a statement that are shown


@dataclass
class Statement:
    """One numbered statement, and what shows it."""

    number: str
    says: str
    scenarios: list[Path] = field(default_factory=list)
    tests: dict[Path, set[str]] = field(default_factory=lambda: defaultdict(set))
    reason: tuple[str, str] | None = None

    @property
    def is_missing(self) -> bool:
        """Nothing shows it, and nobody says why."""
        return not (self.scenarios or self.tests or self.reason)


@dataclass
class Book:
    """The specification: statements by chapter, and what is wrong."""

    chapters: dict[str, list[Statement]]
    titles: dict[str, str]
    brings: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.by_number = {one.number: one for chapter in self.chapters.values() for one in chapter}

    def find(self, number: str, where: str) -> Statement | None:
        """The statement of a number that stands somewhere; an error if there is none."""
        found = self.by_number.get(number)
        if found is None:
            self.errors.append(f"{where} cites {number}, which docs/spec does not have")
        return found


def read_spec() -> Book:
    """Every statement of every chapter, in order."""
    chapters, titles = {}, {}
    for chapter in CHAPTERS:
        text = (SPEC / f"{chapter}.md").read_text()
        titles[chapter] = text.splitlines()[0].removeprefix("# ")
        matches = [match for line in text.splitlines() if (match := STATEMENT.match(line))]
        chapters[chapter] = [Statement(match[1], shorten(match[2])) for match in matches]
    numbers = [one.number for chapter in chapters.values() for one in chapter]
    twice = sorted({number for number in numbers if numbers.count(number) > 1})
    return Book(chapters, titles, errors=[f"docs/spec has {number} twice" for number in twice])


def shorten(text: str) -> str:
    """The beginning of a statement, without grounds and emphasis, fit for a table."""
    text = re.sub(r" \[[^\]]*\](?!\()", "", text).replace("**", "")
    text = " · ".join(cell.strip() for cell in text.strip(" |").split("|"))
    if len(text) <= WIDTH:
        return text
    return text[:WIDTH].rsplit(" ", 1)[0].rstrip(",;:") + " …"


def read_corpus(book: Book) -> int:
    """Notes which scenarios rest on what; how many there are."""
    files = [file for file in sorted(CORPUS.rglob("*.toml")) if not {"worlds", "disagreements"} & set(file.parts)]
    for file in files:
        for number in tomllib.loads(file.read_text())["rests_on"]:
            statement = book.find(number, relative(file))
            if statement and file not in statement.scenarios:
                statement.scenarios.append(file)
    return len(files)


def read_tests(book: Book) -> None:
    """Notes which tests cite what."""
    for folder in ("crates", "tests", "fuzz"):
        for file in sorted((ROOT / folder).rglob("*.rs")):
            if "target" in file.parts:
                continue
            text = file.read_text()
            for number in CITED.findall(text):
                book.find(number, relative(file))
            start = tests_begin(file, text)
            for number, name in citations(text[start:]):
                if number in book.by_number:
                    book.by_number[number].tests[file].add(name)


def tests_begin(file: Path, text: str) -> int:
    """Where the tests of a file begin; its end if it has none."""
    if file.stem.endswith("tests") or "tests" in file.relative_to(ROOT).parts[:-1]:
        return 0 if TEST.search(text) else len(text)
    at = text.find("#[cfg(test)]\nmod ")
    return at if at >= 0 else len(text)


def citations(text: str) -> list[tuple[str, str]]:
    """Numbers cited by tests, each with the name of the test: in the comment above it, in its name, in its body. What stands
    elsewhere, such as in a table of cases, has no name."""
    found, covered = [], []
    for match in TEST.finditer(text):
        indent = re.search(r"[ ]*$", text[: match.start()])[0]
        begin = COMMENT.search(text[: match.start() - len(indent)]).start()
        end = text.find(f"\n{indent}}}", match.end())
        numbers = set(CITED.findall(text[begin:end]))
        numbers |= {f"{kind.upper()}-{number}" for kind, number in CITED_IN_NAME.findall(match[1])}
        found += [(number, match[1]) for number in sorted(numbers)]
        covered.append((begin, end))
    for match in CITED.finditer(text):
        if not any(begin <= match.start() < end for begin, end in covered):
            found.append((match[0], ""))
    return found


def read_reasons(book: Book) -> None:
    """Notes why a statement is not shown."""
    reasons = tomllib.loads(REASONS.read_text())
    book.brings = reasons["class"]
    for number, entry in reasons["statement"].items():
        statement = book.find(number, relative(REASONS))
        if entry["class"] not in book.brings:
            book.errors.append(f"{relative(REASONS)}: {number} has a class `{entry['class']}` that is not listed")
        elif statement:
            statement.reason = (entry["class"], entry["why"])
            if statement.scenarios:
                names = ", ".join(relative(file) for file in statement.scenarios)
                book.errors.append(f"{relative(REASONS)} says why {number} is not shown, but {names} rests on it")


def relative(file: Path) -> str:
    """A path from the root of the repository."""
    return str(file.relative_to(ROOT))


def shown_by(statement: Statement) -> str:
    """The last cell of a statement's row."""
    parts = [link(file, file.stem) for file in statement.scenarios]
    if not parts:
        for file, names in sorted(statement.tests.items()):
            named = ", ".join(f"`{name}`" for name in sorted(names) if name)
            parts.append(link(file, file.name) + (f": {named}" if named else ""))
    if statement.reason:
        kind, why = statement.reason
        parts.append(f"*{kind}*: {why}" if not parts else f"not wholly; *{kind}*: {why}")
    return " · ".join(parts) or "**nothing**"


def link(file: Path, text: str) -> str:
    """A link from the page."""
    return f"[{text}](../{relative(file)})"


def render(book: Book, scenarios: int) -> str:
    """The page."""
    lines = [
        "# Conformance",
        "",
        "Every numbered statement of the [specification](spec/README.md), and what shows that it holds: scenarios of the",
        "[corpus](scenarios.md), or else tests that cite it, or else the reason why nothing does and what will bring it.",
        "Written by `scripts/conformance.py`; `just conformance` writes it anew, and `scripts/test.sh` fails if it is stale.",
        "",
        f"{scenarios} scenarios.",
        "",
        "| chapter | statements | by scenarios | by tests alone | not shown |",
        "|---|---|---|---|---|",
    ]
    lines += [summary(book.titles[name], chapter) for name, chapter in book.chapters.items()]
    lines += ["", "Why a statement is not shown:", "", "| reason | shown once there is |", "|---|---|"]
    lines += [f"| *{name}* | {what} |" for name, what in book.brings.items()]
    for name, chapter in book.chapters.items():
        lines += ["", f"## [{book.titles[name]}](spec/{name}.md)", "", "| number | says | shown by |", "|---|---|---|"]
        lines += [f"| {one.number} | {one.says} | {shown_by(one)} |" for one in chapter]
    return "\n".join(lines) + "\n"


def summary(title: str, chapter: list[Statement]) -> str:
    """A chapter in numbers."""
    scenarios = sum(bool(one.scenarios) for one in chapter)
    tests = sum(bool(one.tests) and not one.scenarios for one in chapter)
    rest = len(chapter) - scenarios - tests
    return f"| {title} | {len(chapter)} | {scenarios} | {tests} | {rest} |"


def main() -> int:
    """Reads everything, then writes or checks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if something is wrong")
    parser.add_argument("--missing", action="store_true", help="print the statements that nothing shows")
    options = parser.parse_args()
    book = read_spec()
    scenarios = read_corpus(book)
    read_tests(book)
    read_reasons(book)
    missing = [one for one in book.by_number.values() if one.is_missing]
    if options.missing:
        print("\n".join(f"{one.number} {one.says}" for one in missing))
        return 0
    where = "no scenario rests on it, no test cites it, and docs/spec/not-shown.toml gives no reason"
    book.errors += [f"{one.number}: {where}" for one in missing]
    page = render(book, scenarios)
    if options.check:
        present = PAGE.read_text() if PAGE.exists() else ""
        stale = difflib.unified_diff(present.splitlines(), page.splitlines(), relative(PAGE), "as it should be", "", "", 0)
        changes = [line[:160] for line in stale]
        book.errors += [f"{relative(PAGE)} is stale; run `just conformance`:", *changes[:20]] if changes else []
    else:
        PAGE.write_text(page)
    print("\n".join(book.errors), end="\n" if book.errors else "", file=sys.stderr)
    return 1 if book.errors else 0


if __name__ == "__main__":
    sys.exit(main())
