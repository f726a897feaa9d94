"""The world as the oracle sees it: the configuration text's tables, with rules read one by one."""

from __future__ import annotations

import functools
import ipaddress
from dataclasses import dataclass
from typing import Any, Optional, Union

from packets import ICMP, ICMP6, TCP, UDP, Address, Packet, address
from reach import hit

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
Table = dict[str, Any]

NAMED = ("sg:", "pl:", "stale:")  # peers that are no CIDR
NAMES = {"tcp": TCP, "udp": UDP, "icmp": ICMP, "icmpv6": ICMP6, "all": -1, "-1": -1}
ANYWHERE = {4: ipaddress.ip_network("0.0.0.0/0"), 6: ipaddress.ip_network("::/0")}
LINK_LOCAL = ipaddress.ip_network("169.254.0.0/16")
RESERVED_V6 = ipaddress.ip_network("fd00:ec2::/32")
NO_SOURCE = [  # RES-4
    ipaddress.ip_network(text)
    for text in (
        "169.254.0.0/16", "fd00:ec2::/32", "0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "::/128",
        "::1/128", "ff00::/8", "fe80::/10",
    )
]


@dataclass(frozen=True)
class Match:
    """What a rule of a group and an entry of an ACL have in common: protocol, ports or type and code, and a peer."""

    protocol: int
    low: int
    high: int
    peer: str  # a CIDR, sg:NAME, pl:NAME or stale:ID

    @property
    def network(self) -> Optional[Network]:
        """The CIDR, unless it refers to an object."""
        return None if self.peer.startswith(NAMED) else cidr_of(self.peer)

    @property
    def all_ports(self) -> bool:
        """CT-10 (b): all ports."""
        return self.protocol == -1 or (self.protocol in (TCP, UDP) and (self.low, self.high) == (0, 65535))

    def anywhere(self, version: int) -> bool:
        """Whether its peer is exactly 0.0.0.0/0, or ::/0 (CT-10, CT-11)."""
        return self.network == ANYWHERE[version]

    def fits(self, packet: Packet, in_acl: bool) -> bool:
        """Whether protocol and ports, or type and code, fit (SG-12 to SG-16, NACL-12, NACL-13)."""
        if self.protocol == -1:
            return True
        if self.protocol != packet.protocol:
            return False
        if self.protocol in (TCP, UDP):
            return self.low <= packet.dport <= self.high
        if self.protocol in (ICMP, ICMP6):
            if not packet.is_icmp:
                return in_acl and self.protocol == ICMP6  # NACL-12: 58 with an IPv4 CIDR; SG-15: never
            return self.low in (-1, packet.icmp_type) and self.high in (-1, packet.code)
        return True


@dataclass(frozen=True)
class Entry:
    """An entry of a network ACL."""

    number: int
    allow: bool
    match: Match


@functools.lru_cache(maxsize=4096)
def cidr_of(text: str) -> Network:
    return ipaddress.ip_network(text, strict=False)


@functools.lru_cache(maxsize=8192)
def read_match(text: str) -> Match:
    """Reads `tcp 443 from 0.0.0.0/0`."""
    words = text.split()
    name, direction, peer = words[0], words[-2], words[-1]
    assert direction in ("from", "to"), text
    spec = words[1] if len(words) == 4 else "any"
    protocol = NAMES[name] if name in NAMES else int(name)
    if not peer.startswith(NAMED):
        peer = str(cidr_of(peer))
    if protocol in (TCP, UDP):
        low, _, high = ("0-65535" if spec == "any" else spec).partition("-")
        return Match(protocol, int(low), int(high or low), peer)
    if protocol in (ICMP, ICMP6):
        kind, _, code = ("any/any" if spec == "any" else spec).partition("/")
        return Match(protocol, -1 if kind == "any" else int(kind), -1 if code == "any" else int(code), peer)
    return Match(protocol, 0, 65535, peer)


@functools.lru_cache(maxsize=8192)
def read_entry(text: str) -> Entry:
    """Reads `100 deny udp 53 to 198.51.100.0/24`."""
    number, action, rest = text.split(maxsplit=2)
    return Entry(int(number), action == "allow", read_match(rest))


def seconds(text: str) -> int:
    """Reads a configured time-out, in nanoseconds."""
    units = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}
    total = 0
    for word in text.split():
        digits = word.rstrip("smhd")
        total += int(digits) * units[word[len(digits):]]
    return total


class World:
    """One version of the configuration."""

    def __init__(self, tables: Table) -> None:
        self.tables = tables
        vpc = tables["vpc"]
        v6 = vpc.get("ipv6_cidr_blocks", [vpc["ipv6_cidr_block"]] if "ipv6_cidr_block" in vpc else [])
        self.blocks = [cidr_of(text) for text in [*vpc["cidr_blocks"], *v6]]
        self.has_v6 = bool(v6)
        self.strict = vpc.get("revocation") == "strict"  # CT-27
        self.enis: Table = tables.get("eni", {})
        self.owners: dict[Address, str] = {}
        self.own: dict[str, list[Address]] = {}
        for name, eni in self.enis.items():
            texts = [eni["address"], *eni.get("secondary_addresses", []), *eni.get("ipv6_addresses", [])]
            texts += [eni["ipv6_address"]] if "ipv6_address" in eni else []
            self.own[name] = [address(text) for text in texts]
            self.owners.update((own, name) for own in self.own[name])
        self.macs = {str(eni["mac"]): name for name, eni in self.enis.items() if "mac" in eni}
        self.services = {
            address(text): name for name, service in tables.get("service", {}).items() for text in service["addresses"]
        }

    # --- addresses -------------------------------------------------------------------------------------------------

    def subnet(self, eni: str) -> str:
        """The subnet of an ENI."""
        return str(self.enis[eni]["subnet"])

    def owner(self, wanted: Address) -> Optional[str]:
        """The ENI that owns an address (RES-45)."""
        return self.owners.get(wanted)

    def in_vpc(self, wanted: Address) -> bool:
        """Whether a `local` route leads there (RT-11)."""
        return any(wanted in block for block in self.blocks)

    def _ranges(self, subnet: str) -> list[Network]:
        table = self.tables["subnet"][subnet]
        return [cidr_of(table[key]) for key in ("cidr", "ipv6_cidr") if key in table]

    def first_four(self, subnet: str, wanted: Address) -> bool:
        """RES-1 (b), RES-25v6."""
        return any(
            wanted.version == cidr.version and 0 <= int(wanted) - int(cidr.network_address) < 4
            for cidr in self._ranges(subnet)
        )

    def dns(self) -> Address:
        """RES-1 (c)."""
        return self.blocks[0].network_address + 2

    def last(self, subnet: str, wanted: Address) -> bool:
        """The subnet's last address: broadcast in IPv4 (RES-7)."""
        return any(wanted == cidr.broadcast_address for cidr in self._ranges(subnet))

    def router(self, subnet: str, version: int) -> Optional[Address]:
        """The implicit router's address in a subnet (RES-11, RES-21v6)."""
        ranges = [cidr for cidr in self._ranges(subnet) if cidr.version == version]
        return ranges[0].network_address + 1 if ranges else None

    def service(self, subnet: str, wanted: Address) -> Optional[str]:
        """The service behind an address as seen from a subnet (RES-3, RES-8)."""
        return self.services.get(wanted) if self.exempt(subnet, wanted) else None

    def exempt(self, subnet: str, wanted: Address) -> bool:
        """RES-1, RES-20v6."""
        reserved = wanted in (LINK_LOCAL if wanted.version == 4 else RESERVED_V6)
        return reserved or wanted == self.dns() or self.first_four(subnet, wanted)

    def no_source(self, subnet: str, wanted: Address) -> bool:
        """RES-4."""
        if any(wanted in cidr for cidr in NO_SOURCE) or wanted == self.dns():
            return True
        return self.first_four(subnet, wanted) or self.last(subnet, wanted)

    # --- ENIs ------------------------------------------------------------------------------------------------------

    def checks(self, eni: str) -> bool:
        """Source/destination check (RES-42)."""
        return bool(self.enis[eni].get("source_dest_check", True))

    def is_mac_of(self, mac: Optional[str], eni: str) -> bool:
        """Whether a MAC address that was written is the ENI's own; without one it is."""
        return mac is None or mac == self.enis[eni].get("mac")

    def mtu(self, eni: str) -> int:
        """RT-60."""
        return int(self.enis[eni].get("mtu", 9001))

    def instance(self, eni: str) -> Optional[Table]:
        """The instance that an ENI belongs to, if one is configured."""
        for table in self.tables.get("instance", {}).values():
            if eni in table["enis"]:
                return dict(table)
        return None

    def time_outs(self, eni: str) -> dict[str, int]:
        """CT-30 to CT-32 of an ENI, in nanoseconds."""
        profile = (self.instance(eni) or {}).get("profile", "nitro")
        values = {
            "tcp_established": (350 if profile == "nitro-v6" else 432_000) * 10**9,
            "udp": 30 * 10**9,
            "udp_stream": 180 * 10**9,
        }
        given = self.enis[eni].get("connection_tracking", {})
        return values | {key: seconds(text) for key, text in given.items()}

    # --- groups ----------------------------------------------------------------------------------------------------

    def rules(self, eni: str, direction: str) -> list[Match]:
        """All rules of all groups of an ENI in a direction (SG-20)."""
        return [match for _, match in self.named_rules(eni, direction)]

    def named_rules(self, eni: str, direction: str) -> list[tuple[str, Match]]:
        """The same with their ids; none of those that the configuration does not give."""
        found: list[tuple[str, Match]] = []
        for name in self.enis[eni].get("groups", ["default"]):
            for rule in self._group(name, direction):
                found.append(("", read_match(rule)) if isinstance(rule, str) else (rule.get("id", ""), read_match(rule["rule"])))
        return found

    def _group(self, name: str, direction: str) -> list[Any]:
        default = ["all to 0.0.0.0/0"] + (["all to ::/0"] if self.has_v6 else [])  # SG-5, SG-6
        table = self.tables.get("security_group", {}).get(name, {})
        if direction == "egress":
            return list(table.get("egress", default))
        return list(table.get("ingress", ["all from sg:default"] if name == "default" else []))

    def matches(self, rule: Match, direction: str, packet: Packet, handing: Optional[str]) -> bool:
        """Whether a rule matches a packet in a direction; `handing` is the ENI that handed it over (SG-34)."""
        peer = packet.src if direction == "ingress" else packet.dst
        if not rule.fits(packet, in_acl=False):
            return False
        if rule.peer.startswith("pl:"):
            entries = self.tables["prefix_list"][rule.peer[3:]]["entries"]
            inside = any(peer in cidr_of(entry) for entry in entries)
            if inside:
                hit("SG-40 prefix list")
            return inside
        if rule.peer.startswith("sg:"):
            owner = self.owner(peer)
            member = owner is not None and rule.peer[3:] in self.enis[owner].get("groups", ["default"])  # SG-30
            if member and direction == "ingress" and owner != handing:
                hit("SG-34 handed over by another")
                return False
            if member and direction == "egress":
                hit("SG-35 outbound reference")
            if member and direction == "ingress":
                hit("SG-30 inbound reference")
            return member
        network = rule.network
        if network is None:
            hit("SG-38 a stale reference")
        return network is not None and peer in network

    # --- network ACLs ----------------------------------------------------------------------------------------------

    def acl(self, subnet: str, direction: str, packet: Packet) -> tuple[bool, str]:
        """Judges by the subnet's ACL: whether it lets the packet pass, and the number that decides; `*`: none matches."""
        peer = packet.src if direction == "ingress" else packet.dst
        for entry in sorted(self._entries(subnet, direction), key=lambda entry: entry.number):
            network = entry.match.network
            assert network is not None, entry
            if network.version == peer.version and peer in network and entry.match.fits(packet, in_acl=True):
                if not entry.allow:
                    hit("NACL-21 denied by an entry")
                return entry.allow, str(entry.number)
        hit("NACL-5 denied by default")
        return False, "*"

    def _entries(self, subnet: str, direction: str) -> list[Entry]:
        name = self.tables["subnet"][subnet].get("network_acl", "default")
        word = "from" if direction == "ingress" else "to"
        table = self.tables.get("network_acl", {}).get(name, {})
        default = [f"100 allow all {word} 0.0.0.0/0", f"101 allow all {word} ::/0"][: 1 + self.has_v6]
        return [read_entry(text) for text in table.get(direction, default if name == "default" else [])]

