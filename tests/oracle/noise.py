"""Packets that belong to no flow in good order: forged, misdirected, malformed, or errors about others."""

from __future__ import annotations

import random
from typing import Optional

from flows import Flow, extensions, head, other, tcp_packet
from model import World
from packets import Address, address
from worlds import CLIENT_PORTS, SERVER_PORTS

UNKNOWN_MAC = "02:bb:bb:bb:bb:bb"
BAD_FLAGS = ["SF", "SR", "FR", "SFA", "SRA", "FRA", "no-flags", "SFR", "E"]
STRAY_FLAGS = ["A", "SA", "F", "FA", "R", "RA", "P", "U", "PA", "SP", "SE"]


def _ends(rng: random.Random, world: World) -> tuple[str, Address, Address]:
    eni = rng.choice(list(world.enis))
    source = rng.choice(world.own[eni])
    peers = [one for one, owner in world.owners.items() if owner != eni and one.version == source.version]
    return eni, source, rng.choice(peers or [one for one in world.own[eni] if one.version == source.version])


def _subnet_base(world: World, eni: str) -> str:
    return str(world.tables["subnet"][world.subnet(eni)]["cidr"]).split("/", maxsplit=1)[0]


def _upper(rng: random.Random, eni: str, source: Address, target: Address) -> str:
    pair = [str(one) if one.version == 4 else f"[{one}]" for one in (source, target)]
    sport, dport = rng.choice(CLIENT_PORTS), rng.choice(SERVER_PORTS)
    if rng.random() < 0.25:
        sport, dport = dport, sport
    kind = rng.random()
    if kind < 0.35:
        return f"{eni} udp {pair[0]}:{sport} > {pair[1]}:{dport}"
    if kind < 0.7:
        return f"{eni} tcp {pair[0]}:{sport} > {pair[1]}:{dport} {rng.choice(['S', 'S', *STRAY_FLAGS])}"
    if kind < 0.85:
        word = "icmp" if source.version == 4 else "icmpv6"
        return f"{eni} {word} {source} > {target} {_icmp(rng, source.version)}"
    numbers = [47, 50, 51, 132, 136, 4] + ([58, 2] if source.version == 4 else [1])
    return f"{eni} proto {rng.choice(numbers)} {source} > {target} len {rng.choice([0, 8, 30])}"


def _icmp(rng: random.Random, version: int) -> str:
    types = [0, 3, 4, 5, 8, 9, 11, 12, 13, 14, 17, 30, 40] if version == 4 else [1, 2, 3, 4, 100, 128, 129, 139, 200]
    return f"type {rng.choice(types)} code {rng.choice([0, 0, 1, 3])} id {rng.randint(1, 3)}"


def forged(rng: random.Random, world: World) -> str:
    """One or two faults of RES-43 at once; the first counts."""
    eni, source, target = _ends(rng, world)
    words: list[str] = []
    faults = rng.sample(["source", "target", "mac", "from", "flags", "cut", "headers"], rng.choice([1, 1, 1, 2]))
    if "source" in faults:
        source = _odd_source(rng, world, eni, source)
    if "target" in faults:
        target = _odd_target(rng, world, eni, target)
    if "mac" in faults:
        words.append(f"to-mac {rng.choice([UNKNOWN_MAC, 'router', 'ff:ff:ff:ff:ff:ff', *world.enis])}")
    if "from" in faults:
        words.append(f"from-mac {rng.choice(['02:aa:aa:aa:aa:aa', world.enis[eni].get('mac', '02:aa:aa:aa:aa:aa')])}")
    elif target in world.own[eni] or rng.random() < 0.1:
        words.append("to-mac router")
    text = _upper(rng, eni, source, target)
    if "flags" in faults and " tcp " in text:
        text = " ".join(text.split()[:5]) + f" {rng.choice(BAD_FLAGS)}"
    if "cut" in faults and " proto " not in text:
        limit = 20 if " tcp " in text else 8
        words.append(f"cut {rng.choice([limit, limit - 1, 0])}")
    if "headers" in faults and source.version == 6:
        words.append("ext " + ",".join(["dst"] * rng.choice([1, 2, 8, 9])))
    return " ".join([text, *words])


def _odd_source(rng: random.Random, world: World, eni: str, own: Address) -> Address:
    others = [one for one, owner in world.owners.items() if owner != eni and one.version == own.version]
    if own.version == 6:
        texts = ["fe80::1", "::1", "::", "ff02::1", "fd00:ec2::254", "2001:db8:9::1"]
    else:
        texts = ["127.0.0.1", "169.254.1.1", "0.1.2.3", "224.0.0.1", "240.0.0.1", "10.0.0.2", "10.0.99.9", "192.0.2.1"]
        base = address(_subnet_base(world, eni))
        texts += [str(base + at) for at in range(4)]
        texts.append(str(_last(world, eni)))
    return rng.choice([address(text) for text in texts] + others * 2)


def _last(world: World, eni: str) -> Address:
    base = int(address(_subnet_base(world, eni)))
    size = 256 if str(world.tables["subnet"][world.subnet(eni)]["cidr"]).endswith("/24") else 16
    return address(str(type(address("0.0.0.0"))(base + size - 1)))


def _odd_target(rng: random.Random, world: World, eni: str, target: Address) -> Address:
    if target.version == 6:
        texts = ["ff02::5", "ff0e::1", "fe80::99", "fd00:ec2::254", "fd00:ec2::253", "2001:db8:9::1", "2001:db8:1:77::5"]
        return address(rng.choice(texts))
    base = address(_subnet_base(world, eni))
    texts = ["255.255.255.255", "224.0.0.5", "169.254.9.9", "169.254.169.253", "10.0.0.2", "192.0.2.1", "10.0.99.9"]
    texts += [str(base + at) for at in (0, 1, 2, 3, 13)] + [str(_last(world, eni))] * 2
    somebody = rng.choice(list(world.enis))
    texts += [str(address(_subnet_base(world, somebody)) + 1), str(_last(world, somebody))]
    return rng.choice([address(text) for text in texts] + world.own[eni][:1] * 3)


def stray(rng: random.Random, world: World) -> str:
    """A well-formed packet out of nowhere."""
    return _upper(rng, *_ends(rng, world))


def next_hop(rng: random.Random, world: World) -> Optional[str]:
    """A packet handed to a neighbour by its MAC address, or forwarded by one with its check off (RT-5, CT-4a)."""
    eni, source, target = _ends(rng, world)
    if rng.random() < 0.5:
        appliances = [one for one in world.enis if not world.checks(one)]
        if not appliances:
            return None
        return _upper(rng, rng.choice(appliances), source, target)
    neighbours = [one for one in world.enis if one != eni and world.subnet(one) == world.subnet(eni)]
    if not neighbours:
        return None
    if rng.random() < 0.3:
        near = [one for one in world.own[rng.choice(neighbours)] if one.version == source.version]
        target = rng.choice(near or [target])
    neighbour = rng.choice(neighbours)
    word = world.enis[neighbour].get("mac", neighbour) if rng.random() < 0.3 else neighbour
    return f"{_upper(rng, eni, source, target)} to-mac {word}"


def service(rng: random.Random, world: World) -> Optional[str]:
    """To a service, or from one (RES-3)."""
    if not world.services:
        return None
    mine = rng.choice(list(world.services))
    peers = [one for one in world.owners if one.version == mine.version]
    if not peers:
        return None
    guest = rng.choice(peers)
    ends = [f"[{one}]" if one.version == 6 else str(one) for one in (mine, guest)]
    if rng.random() < 0.12:
        return f"{rng.choice(list(world.enis))} udp {ends[1]}:40000 > {ends[0]}:53 len 30"
    if rng.random() < 0.5:
        return _upper(rng, str(world.owner(guest)), guest, mine) + extensions(rng, guest)
    if rng.random() < 0.8:
        return f"{world.services[mine]} udp {ends[0]}:53 > {ends[1]}:40000 len 60"
    wrong = rng.choice(peers) if rng.random() < 0.5 else mine
    wrong_end = f"[{wrong}]" if wrong.version == 6 else str(wrong)
    return f"{world.services[mine]} udp {wrong_end}:53 > {ends[rng.randint(0, 1)]}:53"


def large(rng: random.Random, world: World) -> str:
    """Around the receiver's MTU, in one packet or in segments (RT-60 to RT-63, RT-4)."""
    eni, source, target = _ends(rng, world)
    owner = world.owner(target)
    mtu = world.mtu(owner if owner is not None else eni)
    if world.services and rng.random() < 0.25:
        served = [one for one in world.services if one.version == source.version]
        target, mtu = rng.choice(served or [target]), 1500
    overhead = 20 if source.version == 4 else 40
    size = mtu - overhead + rng.choice([-1, 0, 1, 1, 50])
    pair = [str(one) if one.version == 4 else f"[{one}]" for one in (source, target)]
    ports = rng.choice(CLIENT_PORTS), rng.choice(SERVER_PORTS)
    kind = rng.random()
    if kind < 0.3:
        text = f"{eni} tcp {pair[0]}:{ports[0]} > {pair[1]}:{ports[1]} A len {5 * size} gso {size - 20}"
    elif kind < 0.45:
        text = f"{eni} udp {pair[0]}:{ports[0]} > {pair[1]}:{ports[1]} len {3 * size} gso {size - 8}"
    elif kind < 0.65:
        word = "icmp" if source.version == 4 else "icmpv6"
        text = f"{eni} {word} {source} > {target} {rng.choice(['echo-request', 'unreachable'])} len {size - 8}"
    else:
        text = f"{eni} udp {pair[0]}:{ports[0]} > {pair[1]}:{ports[1]} len {size - 8}"
    return text + rng.choice(["", " df"])


def offload(rng: random.Random, world: World) -> str:
    """A virtio-net header that fits the packet, or does not (ADR 0006)."""
    eni, source, target = _ends(rng, world)
    pair = [str(one) if one.version == 4 else f"[{one}]" for one in (source, target)]
    kind, flags = rng.choice([("tcp", " A"), ("udp", "")])
    start = 34 if source.version == 4 else 54
    place = 16 if kind == "tcp" else 6
    start, place = rng.choice([(start, place), (start, place), (start - 8, place), (start, 22 - place), (start, 0), (26, 0)])
    ends = f"{eni} {kind} {pair[0]}:{rng.choice(CLIENT_PORTS)} > {pair[1]}:{rng.choice(SERVER_PORTS)}{flags} len 40"
    if rng.random() < 0.2:
        return f"{ends} frag id 9 offset 0 more vnet flags=1,start={start},offset={place}"
    return f"{ends} vnet flags=1,start={start},offset={place}"


def headers(rng: random.Random, world: World) -> str:
    """IPv6 headers, up to the cap and beyond (SG-27)."""
    eni, source, target = _ends(rng, world)
    return _upper(rng, eni, source, target) + extensions(rng, source)


def error(rng: random.Random, world: World, flow: Flow) -> Optional[str]:
    """An ICMP error about a packet of a flow, from its receiver or from somebody else (CT-50 to CT-53)."""
    who = rng.choice("CS")
    quoted = _quoted(rng, flow, who)
    mine, theirs = flow.sides[who], flow.sides[other(who)]
    version = mine.host.version
    sender, source, target = theirs.eni, theirs.host, mine.host
    chance = rng.random()
    if chance < 0.2:
        candidates = [(eni, one) for eni, own in world.own.items() for one in own if one.version == version]
        sender, source = rng.choice(candidates)
    elif chance < 0.4:
        own = [one for one in world.own[mine.eni] if one.version == version]
        target = rng.choice(own or [target])
    if sender not in world.enis or target in world.own[sender]:
        return None
    kinds = ["unreachable code 3", "unreachable code 4 mtu 1400", "time-exceeded", "parameter-problem"]
    kinds += ["redirect", "type 4"]
    if version == 6:
        kinds = ["unreachable code 4", "too-big mtu 1400", "time-exceeded", "parameter-problem"]
    word = "icmp" if version == 4 else "icmpv6"
    text = f"{sender} {word} {source} > {target} {rng.choice(kinds)} quote [{quoted}]"
    whole = 28 if version == 4 else 48
    if " frag " in quoted:
        whole += 8 * (version == 6)
    return text + rng.choice(["", "", f" quote-cut {whole}", f" quote-cut {whole - 1}"])


def _quoted(rng: random.Random, flow: Flow, who: str) -> str:
    words = head(flow, who).split(maxsplit=1)[1]
    if rng.random() < 0.05:
        return "udp [2001:db8:1::4]:1 > [2001:db8:1:1::4]:2" if "." in words else "udp 10.0.0.4:1 > 10.0.1.4:2"
    if rng.random() < 0.15:
        place = rng.choice(["offset 0 more", "offset 0", "offset 16 more"])
        return f"{words} len {rng.choice([24, 32])} frag id 7 {place}"
    if flow.kind == "tcp":
        return tcp_packet(rng, flow, who, rng.choice(["S", "A", "SA"]), None).split(maxsplit=1)[1]
    if flow.kind == "icmp":
        six = flow.sides["C"].host.version == 6
        kind = rng.choice([128, 129] if six else [8, 0, 3])
        return f"{words} type {kind} id {flow.ident}"
    size = rng.choice([8, 8, 0]) if flow.kind.startswith("proto") else 8
    return f"{words} len {size}{extensions(rng, flow.sides['C'].host)}"


OTHERS = [service, service, large, large, next_hop, next_hop, offload, headers]
