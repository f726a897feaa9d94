"""The policy in the words of each peer. Devices in the middle are called `client` and `server` in all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from policy import CLIENT, SERVER, Entry, Policy, Ports, Rule

FIELD = {"in": "saddr", "out": "daddr"}  # what a block speaks of, in nftables
NW = {"in": "nw_src", "out": "nw_dst"}  # and in OpenFlow
SUBNETS = ("web", "data")  # of the client and of the server


def nft_lists(policy: Policy) -> str:
    """nftables, each list a chain of rules in the same order."""

    def acl(way: str) -> tuple[str, str]:
        return "", "\n".join(_nft_entry(entry, way) for entry in policy.entries)

    def group(way: str, then: str) -> tuple[str, str]:
        return "", "\n".join(_nft_rule(rule, way, then) for rule in policy.rules)

    return _nft_table(acl, group)


def nft_maps(policy: Policy) -> str:
    """nftables as an expert would write it: a verdict map of concatenated intervals for an ACL, a hash set for a group. What is
    for all ports, or for a whole network, stays a rule and stands behind the look-up. Possible only for entries that do not
    overlap: a map has no order."""
    entries = [entry for entry in policy.entries if entry.ports]
    rules = [rule for rule in policy.rules if rule.is_exact]
    others = [rule for rule in policy.rules if not rule.is_exact]

    def acl(way: str) -> tuple[str, str]:
        elements = _elements(
            f"{entry.block} . {entry.protocol} . {_range(entry.ports)} : {'return' if entry.allow else 'drop'}"
            for entry in entries
            if entry.ports
        )
        table = f"type ipv4_addr . inet_proto . inet_service : verdict\nflags interval\n{elements}"
        look_up = f"ip {FIELD[way]} . meta l4proto . th dport vmap @MAP"
        return f"map MAP {{\n{table}\n}}", "\n".join(
            [look_up, *(_nft_entry(entry, way) for entry in policy.entries if not entry.ports)]
        )

    def group(way: str, then: str) -> tuple[str, str]:
        elements = _elements(f"{rule.block.removesuffix('/32')} . {rule.protocol} . {rule.ports[0]}" for rule in rules)
        table = f"type ipv4_addr . inet_proto . inet_service\n{elements}"
        look_up = f"ip {FIELD[way]} . meta l4proto . th dport @MAP {then}"
        return f"set MAP {{\n{table}\n}}", "\n".join([look_up, *(_nft_rule(rule, way, then) for rule in others)])

    return _nft_table(acl, group)


def openflow(policy: Policy) -> str:
    """Open vSwitch, laid out as OVN does it: stateless tables in order of priority, then connection tracking in a zone of the
    client's port and in one of the server's. Port 1 is the client, port 2 the server."""
    flows = ["table=0,priority=100,arp,in_port=1,actions=output:2", "table=0,priority=100,arp,in_port=2,actions=output:1"]
    flows += ["table=0,priority=10,ip,in_port=1,actions=goto_table:1", "table=0,priority=10,ip,in_port=2,actions=goto_table:11"]
    for table, way in ((1, "out"), (2, "in"), (11, "out"), (12, "in")):
        flows += _flows_of_acl(policy.entries, table, way)
    flows += ["table=3,ip,actions=ct(zone=1,table=4)", *_flows_of_group(policy.rules, 4, 1, "out", "resubmit(,5)")]
    flows += ["table=5,ip,actions=ct(zone=2,table=6)", *_flows_of_group(policy.rules, 6, 2, "in", "dec_ttl,output:2")]
    # The way back: what the server may send belongs to a connection on both sides.
    flows += ["table=13,ip,actions=ct(zone=2,table=14)", "table=14,ct_state=+est+trk,ip,actions=ct(zone=1,table=15)"]
    flows += ["table=15,ct_state=+est+trk,ip,actions=dec_ttl,output:1"]
    return "\n".join(flows) + "\n"


def palisade(policy: Policy, attach: Callable[[str], str], daemon: str = "") -> str:
    """Palisade's configuration file; `attach` says how the guest of a name is attached."""
    entries, rules = policy.entries, policy.rules
    parts = [
        '[vpc]\ncidr_blocks = ["10.0.0.0/16"]',
        "[quotas]\nnetwork_acl_entries = 32767\nsecurity_group_rules = 20000\nrules_per_eni = 100000",
    ]
    if daemon:
        parts.append(f"[daemon]\n{daemon}")
    for subnet, third in zip(SUBNETS, (1, 2), strict=True):
        parts.append(f'[subnet.{subnet}]\ncidr = "10.0.{third}.0/24"\nnetwork_acl = "{subnet}"')
        lists = (f"{key} = {_toml(_toml_entry(n, e, way) for n, e in enumerate(entries, 1))}" for key, way in _WAYS)
        parts.append(f"[network_acl.{subnet}]\n" + "\n".join(lists))
    parts.append(f"[security_group.client]\negress = {_toml(_toml_rule(rule, 'to') for rule in rules)}")
    parts.append(f"[security_group.server]\ningress = {_toml(_toml_rule(rule, 'from') for rule in rules)}\negress = []")
    for guest, subnet, address in (("client", "web", CLIENT), ("server", "data", SERVER)):
        parts.append(
            f'[eni.{guest}]\nsubnet = "{subnet}"\naddress = "{address}"\nmac = "{mac(address)}"\nmtu = 1500\n'
            f'groups = ["{guest}"]\nattach = {{ {attach(guest)} }}'
        )
    return "\n\n".join(parts) + "\n"


def observed(everything: bool, netns: str, directory: Path) -> str:
    """Tables that log the flows of the VPC to a directory and mirror the client to a sensor in a namespace: `everything` it
    sends and receives, or, after a few rules, nothing."""
    foreign = (f'"{n} accept udp from 172.16.{n}.0/24 to 0.0.0.0/0 {n}"' for n in range(1, 5))
    last = f'"9 {"accept" if everything else "reject"} all from 0.0.0.0/0 to 0.0.0.0/0"'
    rules = f"[{', '.join([*foreign, last])}]"
    parts = [
        f'[flow_log.all]\nmax_aggregation_interval = 60\ndestination = {{ directory = "{directory}" }}',
        '[security_group.sensor]\ningress = ["udp 4789 from 10.0.0.0/16"]\negress = []',
        '[eni.sensor]\nsubnet = "data"\naddress = "10.0.2.99"\nmtu = 1600\ngroups = ["sensor"]\n'
        f'attach = {{ tap = "sensor", netns = "{netns}", configure = true }}',
        '[mirror_target.sensor]\neni = "sensor"',
        f"[mirror_filter.f]\ningress = {rules}\negress = {rules}",
        '[mirror_session.client]\nsource = "client"\ntarget = "sensor"\nfilter = "f"\nnumber = 1',
    ]
    return "\n" + "\n\n".join(parts) + "\n"


def mac(address: str) -> str:
    """The link address of a guest."""
    return "02:00:" + ":".join(f"{int(part):02x}" for part in address.split("."))


# --- nftables ---------------------------------------------------------------------------------------------------------


def _nft_table(acl: Callable[[str], tuple[str, str]], group: Callable[[str, str], tuple[str, str]]) -> str:
    """The frame of both kinds. `acl(way)` and `group(way, then)` give a declaration, in which MAP is to be named, and rules."""
    chains = []
    for subnet in SUBNETS:
        chains += [_chain(f"acl_{subnet}_{way}", *acl(way)) for way in ("in", "out")]
    chains.append(_chain("server_ingress", *group("in", "accept")))
    chains.append(_chain("client_egress", *group("out", "goto server_ingress")))
    return "table ip vpc {\n" + "\n".join(chains) + _FORWARD + "}\n"


_FORWARD = """
chain forward {
type filter hook forward priority filter; policy drop;
iif client jump acl_web_out
oif server jump acl_data_in
iif server jump acl_data_out
oif client jump acl_web_in
ct state established,related accept
iif client oif server goto client_egress
}
"""


def _chain(name: str, declaration: str, rules: str) -> str:
    text = f"{declaration}\nchain {name} {{\n{rules}\ndrop\n}}"
    return text.replace("@MAP", f"@{name}_map").replace(" MAP ", f" {name}_map ").strip()


def _nft_entry(entry: Entry, way: str) -> str:
    ports = f" {entry.protocol} dport {_range(entry.ports)}" if entry.ports else ""
    return f"ip {FIELD[way]} {entry.block}{ports} {'return' if entry.allow else 'drop'}"


def _nft_rule(rule: Rule, way: str, then: str) -> str:
    return f"ip {FIELD[way]} {rule.block} {rule.protocol} dport {_range(rule.ports)} {then}"


def _elements(elements: Iterable[str]) -> str:
    return "elements = { " + ",\n".join(elements) + " }"


def _range(ports: Ports) -> str:
    return str(ports[0]) if ports[0] == ports[1] else f"{ports[0]}-{ports[1]}"


# --- OpenFlow ---------------------------------------------------------------------------------------------------------


def _flows_of_acl(entries: tuple[Entry, ...], table: int, way: str) -> Iterable[str]:
    for number, entry in enumerate(entries, 1):
        then = f"goto_table:{table + 1}" if entry.allow else "drop"
        for ports in masks(entry.ports) if entry.ports else ("",):
            match = f"{entry.protocol if entry.ports else 'ip'},{NW[way]}={entry.block}{ports}"
            yield f"table={table},priority={30000 - number},{match},actions={then}"


def _flows_of_group(rules: tuple[Rule, ...], table: int, zone: int, way: str, then: str) -> Iterable[str]:
    for state in ("+est", "+rel"):
        yield f"table={table},priority=30000,ct_state={state}+trk,ip,actions={then}"
    for number, rule in enumerate(rules, 1):
        for ports in masks(rule.ports):
            match = f"{rule.protocol},{NW[way]}={rule.block}{ports}"
            yield f"table={table},priority={30000 - number},ct_state=+new+trk,{match},actions=ct(commit,zone={zone}),{then}"


def masks(ports: Ports) -> Iterable[str]:
    """A range as matches on a value under a mask, as few as there can be: a flow has no ranges."""
    first, last = ports
    while first <= last:
        size = first & -first or 0x10000  # the largest block that begins here
        while first + size - 1 > last:
            size //= 2
        yield f",tp_dst={first:#x}/{0x10000 - size:#x}"
        first += size


# --- Palisade ---------------------------------------------------------------------------------------------------------

_WAYS = (("ingress", "from"), ("egress", "to"))


def _toml(lines: Iterable[str]) -> str:
    return "[\n" + "".join(f'    "{line}",\n' for line in lines) + "]"


def _toml_entry(number: int, entry: Entry, way: str) -> str:
    ports = f" {_range(entry.ports)}" if entry.ports else ""
    return f"{number} {'allow' if entry.allow else 'deny'} {entry.protocol}{ports} {way} {entry.block}"


def _toml_rule(rule: Rule, way: str) -> str:
    return f"{rule.protocol} {_range(rule.ports)} {way} {rule.block}"
