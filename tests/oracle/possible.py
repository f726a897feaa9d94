"""Whether a world is one that a configuration file may describe: stories that end late make changes that no longer fit."""

from __future__ import annotations

from typing import Any, Iterable, Optional

import amend
from model import cidr_of, read_entry, read_match
from packets import address

Table = dict[str, Any]
MOST_GROUPS, MOST_RULES, MOST_ENTRIES = 5, 60, 20  # quotas of one ENI, group and direction, ACL and direction


def changed(tables: Table, text: Optional[str], patch: Optional[Table]) -> bool:
    """Whether a world may become what a change makes of it."""
    after = amend.copied(tables)
    try:
        if text:
            amend.apply(after, text)
        amend.merge(after, patch or {})
    except (KeyError, ValueError):  # what it is about is not there
        return False
    return possible(after)


def possible(tables: Table) -> bool:
    """Whether validation lets a world pass, as far as random changes could break it."""
    enis = tables.get("eni", {})
    members = [one for instance in tables.get("instance", {}).values() for one in instance["enis"]]
    return (
        all(_eni(tables, eni) for eni in enis.values())
        and _distinct(own for eni in enis.values() for own in _addresses(eni))
        and _distinct(eni["mac"] for eni in enis.values() if "mac" in eni)
        and _distinct(members)
        and set(members) <= set(enis)
        and all(_rules(tables, rules) for group in tables["security_group"].values() for rules in group.values())
        and all(_entries(acl.get(way, [])) for acl in tables["network_acl"].values() for way in ("ingress", "egress"))
        and all(_prefix_list(table) for table in tables.get("prefix_list", {}).values())
    )


def _eni(tables: Table, eni: Table) -> bool:
    """Whether it is whole, and inside its subnet."""
    if not {"subnet", "address", "groups", "attach"} <= set(eni) or eni["subnet"] not in tables["subnet"]:
        return False
    subnet = tables["subnet"][eni["subnet"]]
    ranges = [cidr_of(subnet[key]) for key in ("cidr", "ipv6_cidr") if key in subnet]
    groups = eni["groups"]
    return (
        all(any(address(own) in one for one in ranges) for own in _addresses(eni))
        and 0 < len(groups) <= MOST_GROUPS
        and _distinct(groups)
        and set(groups) <= set(tables["security_group"])
    )


def _addresses(eni: Table) -> list[str]:
    return [eni["address"], *eni.get("secondary_addresses", []), *eni.get("ipv6_addresses", [])]


def _rules(tables: Table, rules: list[Any]) -> bool:
    """SG-60, and the quota, in which a prefix list counts as its most entries."""
    matches = [read_match(amend.text_of(rule)) for rule in rules]
    lists = tables.get("prefix_list", {})
    peers = [amend.text_of(rule).split()[-1] for rule in rules]
    weight = sum(lists[peer[3:]]["max_entries"] if peer.startswith("pl:") else 1 for peer in peers)
    return _distinct(matches) and weight <= MOST_RULES


def _entries(entries: list[str]) -> bool:
    return _distinct(read_entry(text).number for text in entries) and len(entries) <= MOST_ENTRIES


def _prefix_list(table: Table) -> bool:
    entries = table["entries"]
    return 0 < len(entries) <= table["max_entries"] and _distinct(entries) and len({":" in one for one in entries}) == 1


def _distinct(things: Iterable[Any]) -> bool:
    listed = list(things)
    return len(listed) == len(set(listed))
