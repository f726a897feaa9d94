"""Random changes of the configuration between packets, and changes against what passes now."""

from __future__ import annotations

import random
from typing import Any, Callable, Optional

import worlds
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
    six = ":" in tables["prefix_list"][name]["entries"][0]
    return None, {"prefix_list": {name: {"entries": worlds.prefixes(rng, tables, six)}}}


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
    used = {one for eni in tables["eni"].values() for one in [eni["address"], *eni.get("secondary_addresses", [])]}
    base, _, last = tables["subnet"][subnet]["cidr"].split("/")[0].rpartition(".")
    free = [one for one in (f"{base}.{int(last) + at}" for at in range(4, 11)) if one not in used]
    if not free or len(tables["eni"]) > 8:
        return None
    name = f"x{rng.randint(0, 3)}"
    if name in tables["eni"]:
        return None
    eni: Table = {"subnet": subnet, "address": rng.choice(free), "groups": [rng.choice(list(tables["security_group"]))]}
    return None, {"eni": {name: {**eni, "attach": {"tap": name}}}}


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
    present = tables["security_group"][name].get(direction)
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
    section, name = target.split(":")
    present = tables["security_group" if section == "sg" else "network_acl"][name].get(direction, [])
    if verb == "add":
        return (f"remove {target} {direction} {text}", None) if text in present else None
    if verb == "revoke" and not any(read_match(text) == read_match(known) for known in present):
        return f"authorize {target} {direction} {text}", None
    return None
