"""Random worlds, as tables of the configuration file.

A world is small and dense: few ports, few hosts, rules that often overlap, so that random packets meet decisions.
"""

from __future__ import annotations

import hashlib
import random
from typing import Any

from model import NAMED, read_match

Table = dict[str, Any]

SERVER_PORTS = [22, 53, 80, 443, 5000]
CLIENT_PORTS = [40000, 40001, 40002]
BASE = """# The VPC that generated scenarios are laid over.
[vpc]
id = "vpc-0123456789abcdef0"
region = "us-east-1"
account = "123456789012"
cidr_blocks = ["10.0.0.0/16"]
"""
VPC_V6 = "2001:db8:1::/56"


def world(rng: random.Random) -> Table:
    """A random world."""
    tables: Table = {"vpc": {"cidr_blocks": ["10.0.0.0/16"]}}
    six = rng.random() < 0.75
    if six:
        tables["vpc"]["ipv6_cidr_block"] = VPC_V6
    if rng.random() < 0.4:
        tables["vpc"]["revocation"] = "strict"
    tables["subnet"] = _subnets(rng, six)
    tables["network_acl"] = {"open": _open_acl(six)}
    tables["security_group"] = {f"g{at}": {} for at in range(rng.randint(2, 4))}
    tables["prefix_list"] = {}
    tables["eni"] = _enis(rng, tables)
    _prefix_lists(rng, tables)
    for at in range(rng.choice([0, 0, 1, 1, 2])):
        tables["network_acl"][f"n{at}"] = acl(rng, tables)
    for subnet in tables["subnet"].values():
        subnet["network_acl"] = rng.choice(list(tables["network_acl"]) + ["open"])
    for name in tables["security_group"]:
        tables["security_group"][name] = _group(rng, tables)
    tables["security_group"]["open"] = {way: [f"all {word} {peer}" for peer in ("0.0.0.0/0", "::/0")[: 1 + six]]
                                        for way, word in (("ingress", "from"), ("egress", "to"))}
    _instances(rng, tables)
    tables["service"] = _services(rng, tables)
    name_rules(tables)
    return {key: value for key, value in tables.items() if value}


def name_rules(tables: Table) -> None:
    """Gives rules of groups ids, so that a scenario can say which decided."""
    for name, group in tables.get("security_group", {}).items():
        for direction in ("ingress", "egress"):
            if direction in group:
                group[direction] = [_named(name, direction, rule) for rule in group[direction]]


def _named(group: str, direction: str, rule: Any) -> Any:
    if not isinstance(rule, str):
        return rule
    digest = hashlib.sha1(f"{group} {direction} {read_match(rule)}".encode()).hexdigest()
    return {"rule": rule, "id": f"sgr-{digest[:17]}"}


def _services(rng: random.Random, tables: Table) -> Table:
    """Services on reserved addresses: of the VPC, link-local ones, and those of a subnet (RES-1, ADR 0004)."""
    six = "ipv6_cidr_block" in tables["vpc"]
    services: Table = {}
    if rng.random() < 0.7:
        addresses = ["10.0.0.2", "169.254.169.253"] + ["fd00:ec2::253"] * six
        services["dns"] = {"addresses": addresses, "attach": {"tap": "dns"}}
    if rng.random() < 0.4:
        addresses = ["169.254.169.254"] + ["fd00:ec2::254"] * six
        for at, subnet in enumerate(tables["subnet"].values()):
            if rng.random() < 0.5:
                base, _, last = subnet["cidr"].split("/")[0].rpartition(".")
                addresses.append(f"{base}.{int(last) + rng.choice([1, 3])}")
            if "ipv6_cidr" in subnet and rng.random() < 0.3:
                addresses.append(f"2001:db8:1:{at}::{rng.choice([2, 3])}")
        services["imds"] = {"addresses": addresses, "attach": {"tap": "imds"}}
    return services


def _subnets(rng: random.Random, six: bool) -> Table:
    subnets: Table = {}
    for at in range(rng.randint(2, 4)):
        subnets[f"s{at}"] = {"cidr": f"10.0.{at}.{rng.choice(['0/24', '0/28', '16/28'])}"}
        if six and rng.random() < 0.9:
            subnets[f"s{at}"]["ipv6_cidr"] = f"2001:db8:1:{at}::/64"
    return subnets


def _enis(rng: random.Random, tables: Table) -> Table:
    enis: Table = {}
    groups = list(tables["security_group"])
    for at, (name, subnet) in enumerate(tables["subnet"].items()):
        first = int(subnet["cidr"].split(".")[3].split("/")[0])
        for number in range(rng.choice([1, 2, 2, 3])):
            host = first + 4 + 2 * number
            eni: Table = {"subnet": name, "address": f"10.0.{at}.{host}"}
            if rng.random() < 0.45:
                eni["secondary_addresses"] = [f"10.0.{at}.{host + 1}"]
            if "ipv6_cidr" in subnet and rng.random() < 0.85:
                eni["ipv6_addresses"] = [f"2001:db8:1:{at}::{host:x}"]
                if rng.random() < 0.3:
                    eni["ipv6_addresses"].append(f"2001:db8:1:{at}:1::{host:x}")
            eni["groups"] = rng.sample(groups, rng.choice([1, 1, 2]))
            eni["attach"] = {"tap": f"e{at}{number}"}
            _traits(rng, eni)
            enis[f"e{at}{number}"] = eni
    return enis


def _traits(rng: random.Random, eni: Table) -> None:
    if rng.random() < 0.2:
        eni["source_dest_check"] = False
    if rng.random() < 0.25:
        eni["mtu"] = rng.choice([1280, 1400, 1500])
    if rng.random() < 0.3:
        eni["connection_tracking"] = time_outs(rng)
    if rng.random() < 0.4:
        eni["mac"] = f"02:00:{int(eni['address'].split('.')[2]):02x}:00:00:{int(eni['address'].split('.')[3]):02x}"


def time_outs(rng: random.Random) -> Table:
    """Configured time-outs of an ENI."""
    every = {
        "tcp_established": rng.choice(["60s", "61s", "90s", "5m"]),
        "udp": rng.choice(["30s", "31s", "60s"]),
        "udp_stream": rng.choice(["60s", "61s", "120s", "180s"]),
    }
    return {key: value for key, value in every.items() if rng.random() < 0.7}


def _prefix_lists(rng: random.Random, tables: Table) -> None:
    for at in range(rng.choice([0, 1, 1, 2])):
        six = "ipv6_cidr_block" in tables["vpc"] and rng.random() < 0.3
        tables["prefix_list"][f"p{at}"] = {"max_entries": 4, "entries": prefixes(rng, tables, six)}


def prefixes(rng: random.Random, tables: Table, six: bool) -> list[str]:
    """Entries of a prefix list, of one family."""
    pool = [cidr for cidr in cidrs(tables) if (":" in cidr) == six] + ["::/0" if six else "0.0.0.0/0"]
    distinct = sorted(set(pool))
    return rng.sample(distinct, min(len(distinct), rng.randint(1, 3)))


def cidrs(tables: Table) -> list[str]:
    """CIDRs that mean something in a world."""
    found = ["10.0.0.0/16", "0.0.0.0/1", "128.0.0.0/1"]
    for subnet in tables["subnet"].values():
        found += [subnet[key] for key in ("cidr", "ipv6_cidr") if key in subnet]
    for eni in tables.get("eni", {}).values():
        found += [f"{eni['address']}/32"] + [f"{one}/32" for one in eni.get("secondary_addresses", [])]
        found += [f"{one}/128" for one in eni.get("ipv6_addresses", [])]
    return found


# --- groups --------------------------------------------------------------------------------------------------------


def _peer(rng: random.Random, tables: Table) -> str:
    kind = rng.random()
    if kind < 0.4:
        return "::/0" if "ipv6_cidr_block" in tables["vpc"] and rng.random() < 0.4 else "0.0.0.0/0"
    if kind < 0.6:
        return "sg:" + rng.choice(list(tables["security_group"]))
    if kind < 0.7 and tables.get("prefix_list"):
        return "pl:" + rng.choice(list(tables["prefix_list"]))
    if 0.7 <= kind < 0.72:
        return "stale:sg-0123456789abcdef0"
    return rng.choice(cidrs(tables))


def _what(rng: random.Random, six: bool) -> str:
    port = rng.choice(SERVER_PORTS)
    ranges = [str(port), str(port), "any", "0-65535", "1-65535", f"{port}-5000", "40000-40001", "1024-65535"]
    kind = rng.random()
    if kind < 0.35:
        return f"tcp {rng.choice(ranges)}"
    if kind < 0.65:
        return f"udp {rng.choice(ranges)}"
    if kind < 0.8:
        if six:
            return "icmpv6 " + rng.choice(["any", "128/any", "129/0", "1/any"])
        return "icmp " + rng.choice(["any", "8/any", "8/0", "0/any", "3/any", "13/any"])
    return "all" if kind < 0.95 else rng.choice(["47", "50", "132"])


def rule(rng: random.Random, tables: Table, direction: str) -> str:
    """A random rule of a security group."""
    word = "from" if direction == "ingress" else "to"
    peer = _peer(rng, tables)
    six = ":" in peer and not peer.startswith(NAMED)
    if peer.startswith("sg:") and "ipv6_cidr_block" in tables["vpc"]:
        six = rng.random() < 0.4
    return f"{_what(rng, six)} {word} {peer}"


def add_rule(rules: list[str], text: str) -> bool:
    """Adds a rule unless an equal one is there (SG-60)."""
    if any(read_match(text) == read_match(known) for known in rules):
        return False
    rules.append(text)
    return True


def _group(rng: random.Random, tables: Table) -> Table:
    group: Table = {}
    ingress: list[str] = []
    for _ in range(rng.choice([0, 1, 2, 3, 4, 5])):
        add_rule(ingress, rule(rng, tables, "ingress"))
    group["ingress"] = ingress
    if rng.random() < 0.45:
        return group  # egress absent: everything
    egress: list[str] = []
    if rng.random() < 0.4:
        egress = rng.choice([["all to 0.0.0.0/0"], ["tcp any to 0.0.0.0/0", "udp any to 0.0.0.0/0"], ["all to ::/0"]])[:]
    for _ in range(rng.choice([0, 1, 2, 3])):
        add_rule(egress, rule(rng, tables, "egress"))
    group["egress"] = egress
    return group


# --- network ACLs --------------------------------------------------------------------------------------------------


def _open_acl(six: bool) -> Table:
    last = ["101 allow all {} ::/0"] if six else []
    texts = ["100 allow all {} 0.0.0.0/0", *last]
    return {"ingress": [text.format("from") for text in texts], "egress": [text.format("to") for text in texts]}


def entry(rng: random.Random, tables: Table, direction: str, number: int) -> str:
    """A random entry of a network ACL."""
    word = "from" if direction == "ingress" else "to"
    known = cidrs(tables) + ["0.0.0.0/0"] * 4 + ["::/0"] * (2 if "ipv6_cidr_block" in tables["vpc"] else 0)
    cidr = rng.choice(known)
    action = "deny" if rng.random() < 0.55 else "allow"
    return f"{number} {action} {_what(rng, ':' in cidr)} {word} {cidr}"


def acl(rng: random.Random, tables: Table) -> Table:
    """A network ACL with few overlapping entries."""
    made: Table = {}
    for direction in ("ingress", "egress"):
        numbers = rng.sample(range(50, 150), rng.choice([0, 1, 1, 2, 3, 4]))
        texts = [entry(rng, tables, direction, number) for number in numbers if number not in (100, 101)]
        word = "from" if direction == "ingress" else "to"
        if rng.random() < 0.85:
            texts.append(f"100 allow all {word} 0.0.0.0/0")
        if "ipv6_cidr_block" in tables["vpc"] and rng.random() < 0.85:
            texts.append(f"101 allow all {word} ::/0")
        rng.shuffle(texts)
        made[direction] = texts
    return made


def _instances(rng: random.Random, tables: Table) -> None:
    free = list(tables["eni"])
    rng.shuffle(free)
    instances: Table = {}
    for at in range(rng.choice([0, 1, 1, 2])):
        members, free = free[: rng.choice([1, 1, 2])], free[2:]
        if not members:
            break
        instance: Table = {"enis": members}
        if rng.random() < 0.6:
            instance["max_tracked"] = rng.choice([1, 1, 2, 3, 5, 8])
        if rng.random() < 0.3:
            instance["profile"] = "nitro-v6"
        instances[f"i{at}"] = instance
    tables["instance"] = instances
