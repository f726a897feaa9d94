"""Changes of the world in words, as scenario files write them (`crates/scenario/src/change.rs`)."""

from __future__ import annotations

import tomllib
from typing import Any

from model import read_match
from notation import Unsupported
from packets import address

Table = dict[str, Any]
SECTIONS = {
    "sg": "security_group",
    "acl": "network_acl",
    "pl": "prefix_list",
    "tmt": "mirror_target",
    "tmf": "mirror_filter",
    "tms": "mirror_session",
}


def copied(value: Any) -> Any:
    """A copy of tables, several times as fast as `copy.deepcopy`."""
    if isinstance(value, dict):
        return {key: copied(one) for key, one in value.items()}
    return [copied(one) for one in value] if isinstance(value, list) else value


def merge(table: Table, patch: Table) -> None:
    """Lays a patch over a table: tables merge, everything else replaces."""
    for key, value in patch.items():
        if isinstance(table.get(key), dict) and isinstance(value, dict):
            merge(table[key], value)
        else:
            table[key] = copied(value)


def apply(world: Table, text: str) -> None:
    """Carries out one change; `ValueError` or `KeyError` if there is nothing to change."""
    verb, target, *rest = text.split(" ", 2)
    kind, name = target.split(":")
    words = rest[0] if rest else ""
    objects = world.setdefault(SECTIONS.get(kind, kind), {})
    if verb == "delete":
        del objects[name]
    elif verb == "create":
        objects[name] = _value(words)
    elif verb == "set":
        key, value = words.split(" ", 1)
        *path, last = key.split(".")
        inner = objects[name]
        for step in path:
            inner = inner.setdefault(step, {})
        inner[last] = _value(value)
    elif kind == "sg":
        _rule(objects[name], verb, words)
    elif kind == "acl":
        _entry(objects[name], verb, words)
    elif kind == "pl":
        _member(objects[name]["entries"], verb == "add", words)
    elif kind == "subnet" and verb == "associate":
        objects[name]["network_acl"] = words.split(":")[1]
    elif kind == "eni":
        _eni(objects[name], verb, words)
    else:
        raise Unsupported(text)


def _value(text: str) -> Any:
    return tomllib.loads(f"value = {text}")["value"]


def _rule(group: Table, verb: str, words: str) -> None:
    direction, rule = words.split(" ", 1)
    rules = group.setdefault(direction, [])
    if verb == "authorize":
        rules.append(rule)
    else:
        _remove(rules, [one for one in rules if read_match(text_of(one)) == read_match(rule)])


def text_of(rule: Any) -> str:
    """A rule as a line, whether or not it has an id."""
    return str(rule if isinstance(rule, str) else rule["rule"])


def _remove(from_: list[Any], found: list[Any]) -> None:
    if not found:
        raise ValueError("nothing to remove")
    from_.remove(found[0])


def _entry(acl: Table, verb: str, words: str) -> None:
    direction, entry = words.split(" ", 1)
    entries = acl.setdefault(direction, [])
    number = entry.split(" ", 1)[0]
    if verb in ("remove", "replace"):
        _remove(entries, [one for one in entries if one.split(" ", 1)[0] == number])
    if verb in ("add", "replace"):
        entries.append(entry)


def _member(list_: list[str], add: bool, text: str) -> None:
    if add:
        list_.append(text)
    else:
        list_.remove(text)


def _eni(eni: Table, verb: str, words: str) -> None:
    if verb in ("attach", "detach"):
        _member(eni.setdefault("groups", ["default"]), verb == "attach", words.split(":")[1])
    elif verb in ("assign", "unassign"):
        key = "secondary_addresses" if address(words).version == 4 else "ipv6_addresses"
        if verb == "unassign" and eni.get("ipv6_address") == words:
            del eni["ipv6_address"]
        else:
            _member(eni.setdefault(key, []), verb == "assign", words)
    else:
        raise Unsupported(f"{verb} eni")
