#!/usr/bin/env python3
"""Flow logs of a daemon that forwards real packets, delivered to real servers; killed while it delivers, and started again.

daemon.py PALISADE MOTO   root; makes two network namespaces and removes them
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from gate import KEYS, Gate, Server, packets, passed, same

PINGS = 5
# Requests and answers, at both ends.
PACKETS = PINGS * 4
A, B = f"fl{os.getpid()}a", f"fl{os.getpid()}b"

CONFIG = """
[vpc]
account = "123456789010"
cidr_blocks = ["10.0.0.0/16"]
[subnet.web]
cidr = "10.0.1.0/24"
[eni.a]
subnet = "web"
address = "10.0.1.10"
attach = {{ tap = "eth0", netns = "{a}", configure = true }}
[eni.b]
subnet = "web"
address = "10.0.1.20"
attach = {{ tap = "eth0", netns = "{b}", configure = true }}
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


class Daemon:
    """A running daemon."""

    def __init__(self, program: str, folder: str) -> None:
        self.folder, self.program = folder, program
        # The keys are in the file that the configuration names.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self.out = Path(folder, "out").open("ab")
        log = Path(folder, "log").open("ab")
        command = [program, "run", f"{folder}/config.toml"]
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=self.out, stderr=log, process_group=0
        )
        for _ in range(300):
            if self.status() is not None:
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.fail("the daemon does not start")

    def status(self) -> list[dict] | None:
        """What each flow log has done."""
        command = [self.program, "status", "--socket", f"{self.folder}/control.sock", "--output", "json"]
        asked = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
        return json.loads(asked.stdout)["flow_logs"] if asked.returncode == 0 else None

    def until(self, what: str, is_so) -> None:  # noqa: ANN001
        """Waits until a condition holds for every flow log."""
        for _ in range(300):
            status = self.status()
            if status is not None and all(is_so(log) for log in status):
                return
            time.sleep(0.05)
        self.fail(f"never: {what}: {status}")

    def stop(self) -> int:
        """Tells it to stop; its exit status."""
        self.process.terminate()
        return self.process.wait(30)

    def fail(self, what: str) -> None:
        """Ends the test."""
        self.process.kill()
        sys.exit(f"{what}\n{Path(self.folder, 'log').read_text()}\ntest result: FAILED. 0 passed; 1 failed")


def ping() -> None:
    """From one to the other."""
    command = ["ip", "netns", "exec", A, "ping", "-q", "-c", str(PINGS), "-i", "0.1", "-W", "2", "10.0.1.20"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=20)


def json_packets(folder: str) -> int:
    """Packets in the lines of standard output, whole ones only."""
    lines = [line for line in Path(folder, "out").read_text().splitlines() if line.startswith("{")]
    return sum(flow["packets"] for flow in map(json.loads, lines) if flow["log-status"] == "OK")


def everything(server: Server) -> dict[str, list[str]]:
    """What each destination has."""
    events = [event["message"] for its in server.events().values() for event in its]
    return {"bucket": server.text_lines(), "log group": events, "Firehose": server.delivered_lines()}


def check_stop(program: str, server: Server, gate: Gate, folder: str) -> None:
    """A daemon that stops delivers everything first: each packet is in one record, at every destination."""
    server.empty()
    daemon = Daemon(program, folder)
    ping()
    same("exit status", daemon.stop(), 0)
    for name, lines in everything(server).items():
        same(f"packets in {name}", packets(lines), PACKETS)
        same(f"records twice in {name}", [line for line, count in Counter(lines).items() if count > 1], [])
    same("packets on standard output", json_packets(folder), PACKETS)
    same("signatures", gate.faults, [])


def check_kill(program: str, server: Server, gate: Gate, folder: str, at: int) -> None:
    """Killed while it delivers: the next one delivers the rest, and no object is there twice."""
    server.empty()
    daemon = Daemon(program, folder)
    ping()
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
    """Makes namespaces and server, runs the checks, removes both."""
    program = sys.argv[1]
    server = Server(sys.argv[2])
    gate = Gate(server.port)
    gate.open()
    try:
        for name in (A, B):
            subprocess.run(["ip", "netns", "add", name], check=True)
        with tempfile.TemporaryDirectory() as folder:
            config = CONFIG.format(a=A, b=B, endpoint=gate.endpoint, folder=folder)
            Path(folder, "config.toml").write_text(config)
            keys = "".join(f"{name.lower()} = {value}\n" for name, value in KEYS.items())
            Path(folder, "keys").write_text(f"[default]\n{keys}")
            check_stop(program, server, gate, folder)
            for at in (1, 3):
                check_kill(program, server, gate, folder, at)
    finally:
        server.process.terminate()
        server.process.wait()
        for name in (A, B):
            subprocess.run(["ip", "netns", "delete", name], check=False)
    print(passed())


if __name__ == "__main__":
    main()
