"""Random changes of the configuration between packets, and changes against what passes now."""

from __future__ import annotations

import random
from typing import Any, Callable, Optional

import worlds
from amend import text_of
from flows import Side
from model import read_entry, read_match
from packets import Address

Table = dict[str, Any]
Change = tuple[Optional[str], Optional[Table]]  # a `change`, or a `patch`


def change(rng: random.Random, tables: Table) -> Optional[Change]:
    """A change that the present configuration allows, or `None`."""
    makers: list[Callable[[random.Random, Table], Optional[Change]]] = [
        _rule, _rule, _rule, _entry, _entry, _membership, _association, _prefix_list, _prefix_list, _trait, _allowance,
        _address, _whole_group, _revocation,
    ]
    if rng.random() < 0.03:
        return delete_eni(tables, rng.choice(list(tables["eni"])))
    if rng.random() < 0.05:
        return _new_eni(rng, tables)
    return rng.choice(makers)(rng, tables)


def _rule(rng: random.Random, tables: Table) -> Optional[Change]:
    name = rng.choice(list(tables["security_group"]))
    direction = rng.choice(["ingress", "egress"])
    present = _present(tables, name, direction)
    if present is None:
        return None, {"security_group": {name: {direction: []}}}
    if present and rng.random() < 0.5:
        return f"revoke sg:{name} {direction} {rng.choice(present)}", None
    word = "from" if direction == "ingress" else "to"
    wide = [f"{what} {word} 0.0.0.0/0" for what in ("all", "tcp any", "udp any", "udp 53", "tcp 22")]
    text = rng.choice(wide) if rng.random() < 0.4 else worlds.rule(rng, tables, direction)
    if any(read_match(text) == read_match(known) for known in present):
        return None
    if rng.random() < 0.5:
        return None, {"security_group": {name: {direction: [*tables["security_group"][name][direction], text]}}}
    return f"authorize sg:{name} {direction} {text}", None


def _present(tables: Table, name: str, direction: str) -> Optional[list[str]]:
    """The rules of a group, if it has a list of its own."""
    rules = tables["security_group"][name].get(direction)
    return None if rules is None else [text_of(rule) for rule in rules]


def _entry(rng: random.Random, tables: Table) -> Optional[Change]:
    name = rng.choice(list(tables["network_acl"]))
    direction = rng.choice(["ingress", "egress"])
    present = tables["network_acl"][name].get(direction, [])
    chance = rng.random()
    if present and chance < 0.5:
        entry = rng.choice(present)
        return f"remove acl:{name} {direction} {entry.split()[0] if chance < 0.25 else entry}", None
    if present and chance < 0.6:
        number = read_entry(rng.choice(present)).number
        return f"replace acl:{name} {direction} {worlds.entry(rng, tables, direction, number)}", None
    used = {read_entry(text).number for text in present}
    number = rng.choice([one for one in range(20, 160) if one not in used])
    if len(present) > 12:
        return None
    return f"add acl:{name} {direction} {worlds.entry(rng, tables, direction, number)}", None


def _eni(rng: random.Random, tables: Table) -> str:
    return rng.choice(list(tables["eni"]))


def _membership(rng: random.Random, tables: Table) -> Optional[Change]:
    groups = list(tables["security_group"])
    eni = _eni(rng, tables)
    present = tables["eni"][eni]["groups"]
    absent = [one for one in groups if one not in present]
    if absent and len(present) < 4 and rng.random() < 0.3:
        return f"attach eni:{eni} sg:{rng.choice(absent)}", None
    if len(present) > 1 and rng.random() < 0.5:
        return f"detach eni:{eni} sg:{rng.choice(present)}", None
    return None, {"eni": {_eni(rng, tables): {"groups": rng.sample(groups, rng.choice([1, 1, 2]))}}}


def _association(rng: random.Random, tables: Table) -> Optional[Change]:
    subnet, acl = rng.choice(list(tables["subnet"])), rng.choice(list(tables["network_acl"]))
    if rng.random() < 0.5:
        return f"associate subnet:{subnet} acl:{acl}", None
    return None, {"subnet": {subnet: {"network_acl": acl}}}


def _prefix_list(rng: random.Random, tables: Table) -> Optional[Change]:
    if not tables.get("prefix_list"):
        return None
    name = rng.choice(list(tables["prefix_list"]))
    entries = tables["prefix_list"][name]["entries"]
    six = ":" in entries[0]
    if len(entries) > 1 and rng.random() < 0.3:
        return f"remove pl:{name} {rng.choice(entries)}", None
    [one, *_] = worlds.prefixes(rng, tables, six)
    if len(entries) < 4 and one not in entries and rng.random() < 0.4:
        return f"add pl:{name} {one}", None
    return None, {"prefix_list": {name: {"entries": worlds.prefixes(rng, tables, six)}}}


def _trait(rng: random.Random, tables: Table) -> Optional[Change]:
    trait = rng.choice(
        [
            {"source_dest_check": rng.random() < 0.5},
            {"mtu": rng.choice([1280, 1500, 9001])},
            {"connection_tracking": worlds.time_outs(rng)},
        ]
    )
    eni = _eni(rng, tables)
    [(key, value)] = trait.items()
    if rng.random() < 0.3 and not isinstance(value, dict):
        return f"set eni:{eni} {key} {str(value).lower()}", None
    return None, {"eni": {eni: trait}}


def _revocation(rng: random.Random, _: Table) -> Optional[Change]:
    return None, {"vpc": {"revocation": rng.choice(["aws", "strict"])}}


def _allowance(rng: random.Random, tables: Table) -> Optional[Change]:
    if not tables.get("instance"):
        return None
    name = rng.choice(list(tables["instance"]))
    return None, {"instance": {name: {"max_tracked": rng.choice([1, 2, 3, 5, 8, 50])}}}


def _address(rng: random.Random, tables: Table) -> Optional[Change]:
    if rng.random() < 0.3:
        eni = _eni(rng, tables)
        free = _free(tables, tables["eni"][eni]["subnet"])
        return (f"assign eni:{eni} {rng.choice(free)}", None) if free else None
    return move_address(rng, tables, _eni(rng, tables))


def _whole_group(rng: random.Random, tables: Table) -> Optional[Change]:
    name = rng.choice(list(tables["security_group"]))
    direction = rng.choice(["ingress", "egress"])
    word = "from" if direction == "ingress" else "to"
    rules = rng.choice([[], [f"all {word} 0.0.0.0/0"], [f"tcp any {word} 0.0.0.0/0", f"udp any {word} 0.0.0.0/0"]])
    return None, {"security_group": {name: {direction: list(rules)}}}


def _new_eni(rng: random.Random, tables: Table) -> Optional[Change]:
    """A new ENI, often with an address that another had before."""
    subnet = rng.choice(list(tables["subnet"]))
    free = _free(tables, subnet)
    if not free or len(tables["eni"]) > 8:
        return None
    name = f"x{rng.randint(0, 3)}"
    if name in tables["eni"]:
        return None
    eni: Table = {"subnet": subnet, "address": rng.choice(free), "groups": [rng.choice(list(tables["security_group"]))]}
    if rng.random() < 0.5:
        fields = f'subnet = "{subnet}", address = "{eni["address"]}", groups = ["{eni["groups"][0]}"], attach = {{ tap = "{name}" }}'
        return f"create eni:{name} {{ {fields} }}", None
    return None, {"eni": {name: {**eni, "attach": {"tap": name}}}}


def _free(tables: Table, subnet: str) -> list[str]:
    """Addresses near the beginning of a subnet that nobody has."""
    used = {one for eni in tables["eni"].values() for one in [eni["address"], *eni.get("secondary_addresses", [])]}
    base, _, last = tables["subnet"][subnet]["cidr"].split("/")[0].rpartition(".")
    return [one for one in (f"{base}.{int(last) + at}" for at in range(4, 11)) if one not in used]


# --- changes that aim at somebody ----------------------------------------------------------------------------------


def delete_eni(tables: Table, eni: str) -> Optional[Change]:
    """An ENI goes, unless it is bound to an instance or the last but few."""
    bound = {one for instance in tables.get("instance", {}).values() for one in instance["enis"]}
    return None if eni in bound or eni not in tables["eni"] or len(tables["eni"]) < 4 else (f"delete eni:{eni}", None)


def move_address(rng: random.Random, tables: Table, name: str) -> Optional[Change]:
    """Unassigns a secondary or an IPv6 address of an ENI, or moves it to a neighbour (RES-45)."""
    eni = tables["eni"].get(name)
    if eni is None:
        return None
    key = rng.choice([key for key in ("secondary_addresses", "ipv6_addresses") if eni.get(key)] or [""])
    if not key:
        return None
    gone = rng.choice(eni[key])
    if rng.random() < 0.2:
        return f"unassign eni:{name} {gone}", None
    patch: Table = {name: {key: [one for one in eni[key] if one != gone]}}
    near = [one for one, table in tables["eni"].items() if one != name and table["subnet"] == eni["subnet"]]
    if near and rng.random() < 0.7:
        peer = rng.choice(near)
        patch[peer] = {key: [*tables["eni"][peer].get(key, []), gone]}
    return None, {"eni": patch}


def against(rng: random.Random, tables: Table, client: str, server: str) -> Optional[Change]:
    """Takes away what lets two ENIs talk: a rule, a membership, or the silence of an ACL."""
    eni, direction = rng.choice([(client, "egress"), (server, "ingress")])
    if eni not in tables["eni"]:
        return None
    if rng.random() < 0.35:
        return acl_deny(rng, tables, eni, direction, None)
    groups = tables["eni"][eni]["groups"]
    if rng.random() < 0.2:
        left = [name for name in tables["security_group"] if name not in groups]
        return (None, {"eni": {eni: {"groups": [rng.choice(left)]}}}) if left else None
    name = rng.choice(groups)
    present = _present(tables, name, direction)
    if present and rng.random() < 0.5:
        return f"revoke sg:{name} {direction} {rng.choice(present)}", None
    return None, {"security_group": {name: {direction: []}}}


def untrack(rng: random.Random, tables: Table, side: Side) -> Optional[Change]:
    """Rules of an ENI that leave what it serves untracked (CT-10)."""
    if side.eni not in tables["eni"]:
        return None
    anywhere = "::/0" if side.host.version == 6 else "0.0.0.0/0"
    ports = rng.choice([side.port, "any", "any"])
    rules = {
        "ingress": [f"{kind} {ports} from {anywhere}" for kind in ("tcp", "udp")],
        "egress": rng.choice([[f"all to {anywhere}"], [f"tcp any to {anywhere}", f"udp any to {anywhere}"]]),
    }
    return None, {"security_group": {rng.choice(tables["eni"][side.eni]["groups"]): rules}}


def acl_deny(
    rng: random.Random, tables: Table, eni: str, direction: str, peer: Optional[Address]
) -> Optional[Change]:
    """A low entry that denies, in the ACL of an ENI's subnet."""
    if eni not in tables["eni"]:
        return None
    acl = tables["subnet"][tables["eni"][eni]["subnet"]]["network_acl"]
    present = tables["network_acl"][acl].get(direction, [])
    free = [number for number in range(1, 10) if number not in {read_entry(text).number for text in present}]
    if not free or len(present) > 12:
        return None
    six = "ipv6_cidr_block" in tables["vpc"] and rng.random() < 0.3 if peer is None else peer.version == 6
    cidr = rng.choice(["::/0", *[f"{peer}/128"] * (peer is not None)] if six else ["0.0.0.0/0", *[f"{peer}/32"] * (peer is not None)])
    word = "from" if direction == "ingress" else "to"
    what = rng.choice(["all", "all", "udp any", "tcp any", "icmpv6 any" if six else "icmp any"])
    return f"add acl:{acl} {direction} {free[0]} deny {what} {word} {cidr}", None


def undo(made: Optional[Change], tables: Table) -> Optional[Change]:
    """The opposite of a change of rules, if it still means something."""
    if made is None or made[0] is None:
        return None
    verb, target, direction, text = made[0].split(" ", 3)
    _, name = target.split(":")
    if verb == "add":
        return (f"remove {target} {direction} {text}", None) if text in tables["network_acl"][name].get(direction, []) else None
    present = _present(tables, name, direction) or []
    if verb == "revoke" and not any(read_match(text) == read_match(known) for known in present):
        return f"authorize {target} {direction} {text}", None
    return None
