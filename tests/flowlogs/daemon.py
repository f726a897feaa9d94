#!/usr/bin/env python3
"""Flow logs of a daemon that forwards real packets, delivered to real servers; killed while it delivers, and started again.

daemon.py PALISADE MOTO   root; makes two network namespaces and removes them
"""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

from forwarding import Daemon, Guests
from gate import KEYS, Gate, Server, packets, passed, same

PINGS = 5
# Requests and answers, at both ends.
PACKETS = PINGS * 4

CONFIG = """
[vpc]
account = "123456789010"
cidr_blocks = ["10.0.0.0/16"]
[subnet.web]
cidr = "10.0.1.0/24"
[eni.a]
subnet = "web"
address = "10.0.1.10"
attach = {{ tap = "eth0", netns = "{guests[a]}", configure = true }}
[eni.b]
subnet = "web"
address = "10.0.1.20"
attach = {{ tap = "eth0", netns = "{guests[b]}", configure = true }}
[flow_log.bucket]
destination = {{ s3 = "text", endpoint = "{endpoint}" }}
[flow_log.group]
destination = {{ log_group = "flows", endpoint = "{endpoint}" }}
[flow_log.stream]
destination = {{ delivery_stream = "flows", endpoint = "{endpoint}" }}
[flow_log.pipe]
destination = {{ json_lines = "stdout" }}
[daemon]
control_socket = "{folder}/control.sock"
flow_log_spool = "{folder}/spool"
credentials_file = "{folder}/keys"
"""


def ping(guests: Guests) -> None:
    """From one to the other."""
    guests.run("a", f"ping -q -c {PINGS} -i 0.1 -W 2 10.0.1.20")


def json_packets(folder: str) -> int:
    """Packets in the records on standard output."""
    lines = [line for line in Path(folder, "out").read_text().splitlines() if '"log-status"' in line]
    return sum(flow["packets"] for flow in map(json.loads, lines) if flow["log-status"] == "OK")


def everything(server: Server) -> dict[str, list[str]]:
    """What each destination has."""
    events = [event["message"] for its in server.events().values() for event in its]
    return {"bucket": server.text_lines(), "log group": events, "Firehose": server.delivered_lines()}


def check_stop(program: str, server: Server, gate: Gate, guests: Guests, folder: str) -> None:
    """A daemon that stops delivers everything first: each packet is in one record, at every destination."""
    server.empty()
    daemon = Daemon(program, folder)
    ping(guests)
    same("exit status", daemon.stop(), 0)
    for name, lines in everything(server).items():
        same(f"packets in {name}", packets(lines), PACKETS)
        same(f"records twice in {name}", [line for line, count in Counter(lines).items() if count > 1], [])
    same("packets on standard output", json_packets(folder), PACKETS)
    same("signatures", gate.faults, [])


def check_kill(program: str, server: Server, gate: Gate, guests: Guests, folder: str, at: int) -> None:
    """Killed while it delivers: the next one delivers the rest, and no object is there twice."""
    server.empty()
    daemon = Daemon(program, folder)
    ping(guests)
    gate.requests.clear()

    def taken(number: int) -> bool:
        if number == at:
            daemon.process.send_signal(signal.SIGKILL)
            daemon.process.wait(10)
        return number >= at

    gate.taken = taken
    same(f"killed behind request {at}", daemon.stop(), -signal.SIGKILL)
    gate.taken = lambda _: False
    daemon = Daemon(program, folder)
    daemon.until("nothing waits", lambda log: log["waiting_bytes"] == 0)
    same("exit status of the next daemon", daemon.stop(), 0)
    found = everything(server)
    same("packets in the bucket, once", packets(found["bucket"]), PACKETS)
    for name, lines in found.items():
        same(f"packets in {name}, at least once", packets(sorted(set(lines))), PACKETS)
    same("signatures", gate.faults, [])


def main() -> None:
    """Makes guests and server, runs the checks, removes both."""
    program = sys.argv[1]
    server = Server(sys.argv[2])
    gate = Gate(server.port)
    gate.open()
    try:
        with tempfile.TemporaryDirectory() as folder, Guests("a", "b") as guests:
            config = CONFIG.format(guests=guests.names, endpoint=gate.endpoint, folder=folder)
            Path(folder, "config.toml").write_text(config)
            keys = "".join(f"{name.lower()} = {value}\n" for name, value in KEYS.items())
            Path(folder, "keys").write_text(f"[default]\n{keys}")
            check_stop(program, server, gate, guests, folder)
            for at in (1, 3):
                check_kill(program, server, gate, guests, folder, at)
    finally:
        server.process.terminate()
        server.process.wait()
    print(passed())


if __name__ == "__main__":
    main()
