"""Random ARP, neighbour and listener discovery, DHCP: honest, curious and forged (RES-23v6, RES-31, RES-40)."""

from __future__ import annotations

import random
from typing import Optional

from model import World
from packets import Address, address

FOREIGN_MAC = "02:aa:aa:aa:aa:aa"


def any_of(rng: random.Random, world: World) -> Optional[str]:
    """Any of them."""
    return rng.choice([_arp, _arp, _discovery, _discovery, _discovery, _listener, _dhcp])(rng, world)


def _own(rng: random.Random, world: World, version: int) -> Optional[tuple[str, Address]]:
    found = [(eni, one) for eni, own in world.own.items() for one in own if one.version == version]
    return rng.choice(found) if found else None


def _mac(rng: random.Random, world: World, eni: str) -> str:
    return str(rng.choice([FOREIGN_MAC, world.enis[eni].get("mac", FOREIGN_MAC)]))


def _target(rng: random.Random, world: World, eni: str, version: int) -> Address:
    """Somebody to ask for: near, far, reserved or nobody."""
    subnet = world.subnet(eni)
    near = [one for one, owner in world.owners.items() if one.version == version and world.subnet(owner) == subnet]
    every = [one for one in [*world.owners, *world.services] if one.version == version]
    router = world.router(subnet, version)
    base = [router, router + 1, router + 2, router + 40] if router is not None else []
    fixed = ["10.0.0.2", "169.254.169.253", "169.254.9.9"] if version == 4 else ["fe80:ec2::1", "fd00:ec2::253", "fe80::9"]
    own = [one for one in world.own[eni] if one.version == version]
    return rng.choice([*near * 2, *own, *base[:1] * 2, *base, *every, *map(address, fixed)])


def _arp(rng: random.Random, world: World) -> Optional[str]:
    found = _own(rng, world, 4)
    if found is None:
        return None
    eni, own = found
    target = _target(rng, world, eni, 4)
    sender = rng.choice([own, own, own, own, address("0.0.0.0"), _target(rng, world, eni, 4)])
    words = []
    if rng.random() < 0.15:
        words.append(f"sender-mac {_mac(rng, world, eni)}")
    if rng.random() < 0.08:
        words.append(f"from-mac {_mac(rng, world, eni)}")
    if rng.random() < 0.15:
        mac = world.enis[eni].get("mac", FOREIGN_MAC)
        return " ".join([f"{eni} arp reply {sender} is-at {rng.choice([mac, mac, FOREIGN_MAC])} to {target}", *words[1:]])
    return " ".join([f"{eni} arp who-has {target} tell {sender}", *words])


def _discovery(rng: random.Random, world: World) -> Optional[str]:
    found = _own(rng, world, 6)
    if found is None:
        return None
    eni, own = found
    target = _target(rng, world, eni, 6)
    source = rng.choice([own, own, own, own, address("fe80::77"), address("::"), _target(rng, world, eni, 6)])
    if rng.random() < 0.15:
        target, source = own, address("::")
    group = f"ff02::1:ff00:{int(target) & 0xFFFF:x}"
    destination = rng.choice([group, group, str(target)])
    kind = rng.choice(["solicit"] * 4 + ["advertise", "router-solicit", "type 134 ttl 255 len 8", "type 137 ttl 255 len 32"])
    if kind in ("solicit", "advertise"):
        kind += f" {target if kind == 'solicit' or rng.random() < 0.3 else own}"
    else:
        destination = rng.choice(["ff02::2", "ff02::1"])
    words = [f"{eni} icmpv6 {source} > {destination} {kind}"]
    if rng.random() < 0.2 and "type" not in kind:
        words.append(f"link {_mac(rng, world, eni)}")
    if rng.random() < 0.12:
        words.append(f"ttl {rng.choice([254, 1, 64])}")
    if rng.random() < 0.05:
        words.append(f"from-mac {_mac(rng, world, eni)}")
    return " ".join(words)


def _listener(rng: random.Random, world: World) -> Optional[str]:
    found = _own(rng, world, 6)
    if found is None:
        return None
    eni, own = found
    source = rng.choice([str(own), "fe80::77", "::"])
    target = rng.choice(["ff02::16", "ff02::1", "ff02::2"])
    return f"{eni} icmpv6 {source} > {target} type {rng.choice([130, 131, 132, 143])} ttl 1 len 16{rng.choice(['', ' ext hop'])}"


def _dhcp(rng: random.Random, world: World) -> Optional[str]:
    found = _own(rng, world, rng.choice([4, 4, 6]))
    if found is None:
        return None
    eni, own = found
    if own.version == 6:
        source = rng.choice([str(own), "fe80::77", "fe80::77", "::", str(_target(rng, world, eni, 6))])
        return f"{eni} udp [{source}]:546 > [ff02::1:2]:547 len 60"
    source = rng.choice([str(own), "0.0.0.0", "0.0.0.0", str(_target(rng, world, eni, 4))])
    peer = rng.choice([str(one) for one in world.owners if one.version == 4])
    return rng.choice(
        [
            f"{eni} udp {source}:68 > 255.255.255.255:67 len 300",
            f"{eni} udp {own}:67 > {rng.choice([peer, '255.255.255.255'])}:68 len 300",
            f"{eni} udp {own}:40000 > {peer}:67 len 30",
        ]
    )
