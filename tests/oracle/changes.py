"""Random changes of the configuration between packets."""

from __future__ import annotations

import random
from typing import Any, Callable, Optional

import worlds
from model import read_entry, read_match

Table = dict[str, Any]
Change = tuple[Optional[str], Optional[Table]]  # a `change`, or a `patch`


def change(rng: random.Random, tables: Table) -> Optional[Change]:
    """A change that the present configuration allows, or `None`."""
    makers: list[Callable[[random.Random, Table], Optional[Change]]] = [
        _rule, _rule, _rule, _entry, _entry, _membership, _association, _prefix_list, _trait, _allowance, _address,
        _whole_group, _revocation,
    ]
    if rng.random() < 0.03:
        return _delete(rng, tables)
    return rng.choice(makers)(rng, tables)


def _rule(rng: random.Random, tables: Table) -> Optional[Change]:
    name = rng.choice(list(tables["security_group"]))
    direction = rng.choice(["ingress", "egress"])
    present = tables["security_group"][name].get(direction)
    if present is None:
        return None, {"security_group": {name: {direction: []}}}
    if present and rng.random() < 0.5:
        return f"revoke sg:{name} {direction} {rng.choice(present)}", None
    word = "from" if direction == "ingress" else "to"
    wide = [f"{what} {word} 0.0.0.0/0" for what in ("all", "tcp any", "udp any", "udp 53", "tcp 22")]
    text = rng.choice(wide) if rng.random() < 0.4 else worlds.rule(rng, tables, direction)
    if any(read_match(text) == read_match(known) for known in present):
        return None
    return f"authorize sg:{name} {direction} {text}", None


def _entry(rng: random.Random, tables: Table) -> Optional[Change]:
    name = rng.choice(list(tables["network_acl"]))
    direction = rng.choice(["ingress", "egress"])
    present = tables["network_acl"][name].get(direction, [])
    if present and rng.random() < 0.5:
        return f"remove acl:{name} {direction} {rng.choice(present)}", None
    used = {read_entry(text).number for text in present}
    number = rng.choice([one for one in range(20, 160) if one not in used])
    if len(present) > 12:
        return None
    return f"add acl:{name} {direction} {worlds.entry(rng, tables, direction, number)}", None


def _eni(rng: random.Random, tables: Table) -> str:
    return rng.choice(list(tables["eni"]))


def _membership(rng: random.Random, tables: Table) -> Optional[Change]:
    groups = list(tables["security_group"])
    return None, {"eni": {_eni(rng, tables): {"groups": rng.sample(groups, rng.choice([1, 1, 2]))}}}


def _association(rng: random.Random, tables: Table) -> Optional[Change]:
    subnet = rng.choice(list(tables["subnet"]))
    return None, {"subnet": {subnet: {"network_acl": rng.choice(list(tables["network_acl"]))}}}


def _prefix_list(rng: random.Random, tables: Table) -> Optional[Change]:
    if not tables.get("prefix_list"):
        return None
    name = rng.choice(list(tables["prefix_list"]))
    return None, {"prefix_list": {name: {"entries": worlds.prefixes(rng, tables)}}}


def _trait(rng: random.Random, tables: Table) -> Optional[Change]:
    trait = rng.choice(
        [
            {"source_dest_check": rng.random() < 0.5},
            {"mtu": rng.choice([1280, 1500, 9001])},
            {"connection_tracking": worlds.time_outs(rng)},
        ]
    )
    return None, {"eni": {_eni(rng, tables): trait}}


def _revocation(rng: random.Random, _: Table) -> Optional[Change]:
    return None, {"vpc": {"revocation": rng.choice(["aws", "strict"])}}


def _allowance(rng: random.Random, tables: Table) -> Optional[Change]:
    if not tables.get("instance"):
        return None
    name = rng.choice(list(tables["instance"]))
    return None, {"instance": {name: {"max_tracked": rng.choice([1, 2, 3, 5, 8, 50])}}}


def _address(rng: random.Random, tables: Table) -> Optional[Change]:
    """Unassigns a secondary address, or moves it to a neighbour (RES-45)."""
    owners = [name for name, eni in tables["eni"].items() if eni.get("secondary_addresses")]
    if not owners:
        return None
    name = rng.choice(owners)
    eni = tables["eni"][name]
    patch: Table = {name: {"secondary_addresses": []}}
    near = [one for one, table in tables["eni"].items() if one != name and table["subnet"] == eni["subnet"]]
    if near and rng.random() < 0.7:
        peer = rng.choice(near)
        have = tables["eni"][peer].get("secondary_addresses", [])
        patch[peer] = {"secondary_addresses": [*have, *eni["secondary_addresses"]]}
    return None, {"eni": patch}


def _whole_group(rng: random.Random, tables: Table) -> Optional[Change]:
    name = rng.choice(list(tables["security_group"]))
    direction = rng.choice(["ingress", "egress"])
    word = "from" if direction == "ingress" else "to"
    rules = rng.choice([[], [f"all {word} 0.0.0.0/0"], [f"tcp any {word} 0.0.0.0/0", f"udp any {word} 0.0.0.0/0"]])
    return None, {"security_group": {name: {direction: list(rules)}}}


def _delete(rng: random.Random, tables: Table) -> Optional[Change]:
    bound = {eni for instance in tables.get("instance", {}).values() for eni in instance["enis"]}
    free = [name for name in tables["eni"] if name not in bound]
    if not free or len(tables["eni"]) < 4:
        return None
    return f"delete eni:{rng.choice(free)}", None
