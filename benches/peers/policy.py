"""The policy that every filtering peer enforces: one description, which `dialects.py` puts into the words of each.

Two guests in two subnets. Each subnet has a network ACL, ordered and stateless, the same list of entries inbound and outbound;
the client's security group has rules outbound and the server's the same rules inbound, stateful; there is no rule the other way
round, so the server may answer and open nothing. What the load sends matches the last entry of each ACL and the last rules of each
group, so that a list costs its whole length.
"""

from __future__ import annotations

from dataclasses import dataclass

CLIENT, SERVER = "10.0.1.10", "10.0.2.10"
VPC = "10.0.0.0/16"
SERVED = (5200, 5215)  # what the groups allow
CUT = (5208, 5215)  # what the ACLs deny of it

TCP_PORT, UDP_PORT = 5201, 5202

Ports = tuple[int, int]


@dataclass(frozen=True)
class Entry:
    """An entry of a network ACL; `block` is the source inbound and the destination outbound."""

    allow: bool
    protocol: str  # "tcp", "udp", or "all", which has no ports
    ports: Ports | None  # of the destination
    block: str


@dataclass(frozen=True)
class Rule:
    """A rule of a security group, which allows; `block` is the source inbound and the destination outbound."""

    protocol: str
    ports: Ports  # of the destination
    block: str

    @property
    def is_exact(self) -> bool:
        """One host, one port: an element of a hash set, where a peer has those."""
        return self.block.endswith("/32") and self.ports[0] == self.ports[1]


@dataclass(frozen=True)
class Policy:
    """So many ACL entries per subnet and direction, so many group rules per side."""

    entries: tuple[Entry, ...]
    rules: tuple[Rule, ...]

    @classmethod
    def of(cls, entries: int, rules: int) -> Policy:
        """What speaks of networks and hosts elsewhere comes first, what the load meets last."""
        return cls(
            (
                Entry(False, "tcp", CUT, VPC),
                *(_foreign_entry(i) for i in range(1, entries - 1)),
                Entry(True, "all", None, VPC),
            ),
            (
                *(_foreign_rule(i) for i in range(1, rules - 1)),
                Rule("udp", SERVED, VPC),
                Rule("tcp", SERVED, VPC),
            ),
        )


def _foreign_entry(i: int) -> Entry:
    first = 100 + i
    return Entry(i % 4 != 3, _protocol(i), (first, first + 10), f"172.{16 + i // 256 % 16}.{i % 256}.0/24")


def _foreign_rule(i: int) -> Rule:
    return Rule(_protocol(i), (20 + i, 20 + i), f"192.168.{i // 250}.{1 + i % 250}/32")


def _protocol(i: int) -> str:
    return "tcp" if i % 2 else "udp"


# What must be seen before anything is measured: a port, and whether it answers.
ANSWERED, SILENT = "answered", "silent"
FROM_CLIENT = {
    f"tcp:{TCP_PORT}": ANSWERED,
    f"udp:{UDP_PORT}": ANSWERED,
    f"tcp:{CUT[0] + 1}": SILENT,  # the groups allow it, the ACLs deny it
    "tcp:7000": SILENT,  # the ACLs allow it, no rule of a group does
    "udp:7000": SILENT,
}
FROM_SERVER = {f"tcp:{TCP_PORT}": SILENT, f"udp:{UDP_PORT}": SILENT}  # no rule lets the server open anything
