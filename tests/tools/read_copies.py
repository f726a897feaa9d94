#!/usr/bin/env python3
"""Reads captures with scapy and tells, as JSON, whether mirror copies are what was on the source's interface.

read_copies.py identical SOURCE.pcap TARGET.pcap VNI MAC [LENGTH]
    every IP packet that the source (whose interface has this MAC address) sent or got, but for neighbour discovery, must be in
    the target's capture, in the same order per direction, byte for byte as far as LENGTH: {"sent": N, "received": N}
read_copies.py streams FILE.pcap [VNI]
    the TCP streams of a capture, or of the copies in it, put together: {"FROM > TO": [BYTES, SHA-256]}; every copied packet must
    have valid checksums

Exit status 1, with what is wrong on standard error.
"""

from __future__ import annotations

import hashlib
import json
import sys

from scapy.all import IP, TCP, UDP, Ether, ICMPv6ND_NA, ICMPv6ND_NS, IPv6, RawPcapReader
from scapy.layers.vxlan import VXLAN


def frames(path: str) -> list[bytes]:
    return [data for data, _ in RawPcapReader(path)]


def copies(path: str, vni: int) -> list[bytes]:
    """The copied frames, whose envelopes are checked."""
    found, last = [], {}
    for data in frames(path):
        frame = Ether(data)
        outer, udp = frame[IP], frame[UDP]
        need(udp.dport == 4789 and udp.sport >= 49152 and udp.chksum == 0, "the UDP header (TM-32)", data)
        need(outer.ttl == 64 and outer.tos == 0 and int(outer.flags) == 0, "the outer header (TM-34)", data)
        # Of each flow and direction: two workers may make copies at the same time.
        need(outer.id > last.get(udp.sport, -1), "identification, which increases (TM-34),", data)
        last[udp.sport] = outer.id
        need(is_sound(bytes(outer)[:20]), "the outer checksum", data)
        vxlan = udp[VXLAN]
        need(int(vxlan.flags) == 8 and vxlan.vni == vni and vxlan.reserved2 == 0, "the VXLAN header (TM-33)", data)
        found.append(bytes(udp.payload)[8:])
    return found


def is_sound(header: bytes) -> bool:
    total = sum(int.from_bytes(header[at : at + 2], "big") for at in range(0, len(header), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total == 0xFFFF


def need(holds: bool, what: str, data: bytes) -> None:
    if not holds:
        sys.exit(f"{what} is wrong in {data.hex()}")


def is_mirrored(data: bytes) -> bool:
    frame = Ether(data)
    if IPv6 in frame:
        scoped = frame[IPv6].src.startswith(("fe80", "::")) and frame[IPv6].src != "::1" or frame[IPv6].dst.startswith("ff")
        return not (scoped or ICMPv6ND_NS in frame or ICMPv6ND_NA in frame)
    return IP in frame


def identical(source: str, target: str, vni: int, mac: str, length: int | None) -> dict[str, int]:
    own = bytes.fromhex(mac.replace(":", ""))
    original = [frame[:length] for frame in frames(source) if is_mirrored(frame)]
    copied = copies(target, vni)
    counts = {}
    for name, is_it in (("sent", lambda frame: frame[6:12] == own), ("received", lambda frame: frame[:6] == own)):
        wanted, got = [list(filter(is_it, side)) for side in (original, copied)]
        if wanted != got:
            missing = [frame.hex() for frame in wanted if frame not in got][:3]
            more = [frame.hex() for frame in got if frame not in wanted][:3]
            sys.exit(f"{name}: {len(wanted)} frames, {len(got)} copies; without a copy: {missing}; copies of nothing: {more}")
        counts[name] = len(wanted)
    return counts


def streams(path: str, vni: int | None) -> dict[str, list]:
    pieces: dict[str, dict[int, bytes]] = {}
    starts: dict[str, int] = {}
    for data in frames(path) if vni is None else copies(path, vni):
        frame = Ether(data)
        if TCP not in frame:
            continue
        ip, tcp = frame[IP], frame[TCP]
        if vni is not None:
            again = Ether(data)
            del again[IP].chksum, again[TCP].chksum
            built = Ether(bytes(again))
            need((built[IP].chksum, built[TCP].chksum) == (ip.chksum, tcp.chksum), "a checksum of the copied packet", data)
        name = f"{ip.src}:{tcp.sport} > {ip.dst}:{tcp.dport}"
        if "S" in tcp.flags:
            starts[name] = tcp.seq + 1
        payload = bytes(tcp.payload)[: ip.len - ip.ihl * 4 - tcp.dataofs * 4]
        if payload:
            pieces.setdefault(name, {})[tcp.seq] = max(payload, pieces.get(name, {}).get(tcp.seq, b""), key=len)
    return {name: together(starts.get(name), parts) for name, parts in pieces.items()}


def together(start: int | None, parts: dict[int, bytes]) -> list:
    """Length and hash of a stream, which must have no gap."""
    at = min(parts) if start is None else start
    whole = b""
    for seq in sorted(parts, key=lambda seq: (seq - at) % (1 << 32)):
        offset = (seq - at) % (1 << 32)
        if offset > len(whole):
            sys.exit(f"{offset - len(whole)} bytes are missing at {len(whole)}")
        whole += parts[seq][len(whole) - offset :]
    return [len(whole), hashlib.sha256(whole).hexdigest()]


def main() -> None:
    match sys.argv[1:]:
        case ["identical", source, target, vni, mac, *length]:
            told = identical(source, target, int(vni), mac, int(length[0]) if length else None)
        case ["streams", path, *vni]:
            told = streams(path, int(vni[0]) if vni else None)
        case _:
            sys.exit(__doc__)
    print(json.dumps(told))


main()
