"""What is measured, and how. Every load ends by itself."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lab import Failure, answer_of, inside, until
from policy import SERVER, TCP_PORT, UDP_PORT
from systems import System

ACCEPT_PORT, ECHO_PORT = 5203, 5204
SLACK = 10.0  # seconds that a load may take beyond its length

Sample = tuple[float, dict[str, Any]]  # the value, and what else was seen


@dataclass(frozen=True)
class Figure:
    """One number of a system. `cpus`: how many it wants, as it binds processes to them."""

    name: str
    title: str
    unit: str
    measure: Callable[[System, int], Sample]
    lower_is_better: bool = False
    cpus: int = 1


def _stream(streams: int) -> Callable[[System, int], Sample]:
    def measure(system: System, seconds: int) -> Sample:
        return _iperf(system, seconds, streams)

    return measure


def _small_segments(system: System, seconds: int) -> Sample:
    """Every packet on the way has 1,500 bytes or fewer."""
    ends = (system.client, system.server)
    before = {netns: _offloads(netns) for netns in ends}
    for netns in ends:
        _set_offloads(netns, dict.fromkeys(before[netns], False))
    try:
        return _iperf(system, seconds, 1)
    finally:
        for netns in ends:
            _set_offloads(netns, before[netns])


def _iperf(system: System, seconds: int, streams: int) -> Sample:
    server = system.lab.spawn(system.server, "iperf3", ["iperf3", "-s", "-1", "-B", SERVER, "-p", str(TCP_PORT)])
    try:
        until("iperf3 to listen", lambda: server.listens("tcp", TCP_PORT))
        client = ["iperf3", "-c", SERVER, "-p", str(TCP_PORT), "-t", str(seconds), "-P", str(streams), "--json"]
        said = json.loads(inside(system.client, [*client, "--connect-timeout", "2000"], limit=seconds + SLACK))
    finally:
        system.lab.end(server)
    if "error" in said:
        raise Failure(f"iperf3: {said['error']}")
    sent, received = said["end"]["sum_sent"], said["end"]["sum_received"]
    return received["bits_per_second"] / 1e9, {"retransmissions": sent.get("retransmits", 0)}


def _datagrams(system: System, seconds: int) -> Sample:
    """What arrives is counted, not what is sent."""
    load = system.tools.load
    sink = system.lab.spawn(system.server, "sink", [load, "sink", str(UDP_PORT)])
    try:
        until("the sink to listen", lambda: sink.listens("udp", UDP_PORT))
        to = [f"{SERVER}:{UDP_PORT}", str(seconds)]
        sent = answer_of(system.client, [load, "blast", *to], limit=seconds + SLACK)
        sink.finish(SLACK)
    finally:
        system.lab.end(sink)
    received = json.loads(sink.log.read_text())
    if received["datagrams"] > sent["datagrams"]:
        raise Failure(f"{received['datagrams']} datagrams arrived of {sent['datagrams']}")
    lost = 1 - received["datagrams"] / sent["datagrams"]
    return received["rate"], {"sent": sent["rate"], "lost": lost, "late": received["late"]}


def _connections(system: System, seconds: int) -> Sample:
    load = system.tools.load
    server = system.lab.spawn(system.server, "accept", [load, "accept", str(ACCEPT_PORT), str(seconds + SLACK)])
    try:
        until("the server to listen", lambda: server.listens("tcp", ACCEPT_PORT))
        to = [f"{SERVER}:{ACCEPT_PORT}", str(seconds)]
        said = answer_of(system.client, [load, "connect", *to], limit=seconds + SLACK)
    finally:
        system.lab.end(server)
        system.forget()
    return said["rate"], {"failed": said["failed"]}


def _round_trip(ends: tuple[int, int], middle: int | None) -> Callable[[System, int], Sample]:
    """The client on one CPU and the server on one; what is between on one, too, or wherever the kernel puts it. Unbound, the
    kernel chooses at random, and the median jumps tenfold."""

    def measure(system: System, seconds: int) -> Sample:
        allowed = sorted(os.sched_getaffinity(0))
        client, server = (["taskset", "-c", str(allowed[index]), system.tools.load] for index in ends)
        if middle is not None:
            system.pin({allowed[middle]})
        echo = system.lab.spawn(system.server, "echo", [*server, "echo", str(ECHO_PORT)])
        try:
            until("the echo to listen", lambda: echo.listens("tcp", ECHO_PORT))
            to = [f"{SERVER}:{ECHO_PORT}", str(seconds)]
            said = answer_of(system.client, [*client, "ask", *to], limit=seconds + SLACK)
        finally:
            system.lab.end(echo)
            system.pin(set(allowed))
        return said["p50"], said

    return measure


OFFLOADS = ("tcp-segmentation-offload", "generic-segmentation-offload", "generic-receive-offload")


def _offloads(netns: str) -> dict[str, bool]:
    """Which offloads of large segments the device of an end has; a veth has no receive offload unless asked."""
    (device,) = json.loads(inside(netns, ["ethtool", "--json", "-k", "eth0"]))
    return {name: device[name]["active"] for name in OFFLOADS}


def _set_offloads(netns: str, wanted: dict[str, bool]) -> None:
    settings = [word for name, active in wanted.items() for word in (name, "on" if active else "off")]
    inside(netns, ["ethtool", "-K", "eth0", *settings])


FIGURES = (
    Figure("tcp1", "TCP, 1 stream", "Gbit/s", _stream(1)),
    Figure("tcp4", "TCP, 4 streams", "Gbit/s", _stream(4)),
    Figure("tcp1_nooff", "TCP, 1 stream, offloads off", "Gbit/s", _small_segments),
    Figure("udp_pps", "UDP, 64 bytes, received", "packets/s", _datagrams),
    Figure("cps", "new TCP connections", "1/s", _connections),
    Figure("rr_same", "TCP round trip, one CPU", "µs", _round_trip((0, 0), 0), lower_is_better=True),
    Figure("rr_split", "TCP round trip, two CPUs", "µs", _round_trip((0, 1), None), lower_is_better=True, cpus=2),
)
BY_NAME = {figure.name: figure for figure in FIGURES}
