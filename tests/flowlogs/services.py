#!/usr/bin/env python3
"""Flow logs delivered to S3, CloudWatch Logs and Firehose, as real servers and readers that others wrote see them.

services.py PUBLISH MOTO   runs the example `publish` of palisade-flowlog against the server `moto_server`

A gate stands between the two (gate.py), which checks signatures and kills the publisher where a test wants that.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path

import duckdb
from flowlogs_reader import FlowLogsReader, S3FlowLogsReader
from gate import HEADER, KEYS, Gate, Server, authority, packets, passed, same

warnings.filterwarnings("ignore", category=DeprecationWarning)

# A slot that is over: events must not be old, so the clock of these tests is near that of the machine.
BEGIN = int(time.time()) // 600 * 600 - 7200
# Packets of the flows that `publish` makes up in ten minutes, by ENI and action.
PUBLISHED = Counter({("eni-0a000001", "ACCEPT"): 6, ("eni-0a000002", "ACCEPT"): 2, ("eni-0a000002", "REJECT"): 2})


def publisher(program: str, folder: str, gate: Gate, *arguments: object, **variables: str) -> subprocess.Popen:
    """Starts the example."""
    command = [program, folder, gate.endpoint, str(BEGIN), *map(str, arguments)]
    pipe = subprocess.PIPE
    environment = {**os.environ, **KEYS, **variables, "HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    return subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True)


def told(process: subprocess.Popen) -> dict[str, list[int]]:
    """Records and packets of each flow log that went to the spool and that were lost."""
    assert process.stdout
    lines = iter(process.stdout.readline, "end\n")
    return {words[0]: [int(word) for word in words[1:]] for words in (line.split() for line in lines)}


def go_on(process: subprocess.Popen) -> None:
    """Lets it deliver."""
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


def check_readers(program: str, server: Server, gate: Gate) -> None:
    """Everything once, read by others."""
    server.empty()
    with tempfile.TemporaryDirectory() as folder:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{folder}/lines.sock")
        listener.listen()
        lines: list[bytes] = []
        thread = threading.Thread(target=listen, args=(listener, lines))
        thread.start()
        process = publisher(program, folder, gate)
        same("exit status of the publisher", process.wait(60), 0)
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        published = Path(folder, "read")
        for key, content in server.objects("parquet").items():
            path = published / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        base = duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})
        table = f"read_parquet('{published}/**/*.parquet', hive_partitioning = false)"
        sums = f"SELECT interface_id, action, sum(packets) FROM {table} WHERE action IS NOT NULL GROUP BY ALL"
        same("DuckDB", Counter({row[:2]: int(row[2]) for row in base.execute(sums).fetchall()}), PUBLISHED)
    same("signatures", gate.faults, [])
    start = datetime.fromtimestamp(BEGIN, timezone.utc).replace(tzinfo=None)
    span = {"start_time": start - timedelta(minutes=20), "end_time": start + timedelta(minutes=40)}
    for bucket in ("text", "parquet"):
        reader = S3FlowLogsReader(bucket, boto_client=server.s3, raise_on_error=True, **span)
        same(f"flowlogs_reader in bucket {bucket}", by_eni(reader), PUBLISHED)
    fields = tuple(HEADER.replace("-", "_").split())
    reader = FlowLogsReader("flows", boto_client=server.logs, fields=fields, **span)
    same("flowlogs_reader in the log group", by_eni(reader), PUBLISHED)
    streams = server.events()
    same("streams", sorted(streams), ["eni-0a000001-all", "eni-0a000002-all"])
    times = [(event["timestamp"], int(event["message"].split()[10]) * 1000) for its in streams.values() for event in its]
    same("times of events", [pair for pair in times if pair[0] != pair[1]], [])
    # A slot that has just begun is no object yet.
    over = lambda lines: sorted(line for line in lines if int(line.split()[11]) < BEGIN + 600)  # noqa: E731
    text = sorted(server.text_lines())
    same("events and objects", over(event["message"] for its in streams.values() for event in its), text)
    same("lines of Firehose and objects", over(server.delivered_lines()), text)
    flows = [json.loads(line) for line in b"".join(lines).decode().splitlines()]
    found = Counter()
    for flow in flows:
        if flow["log-status"] == "OK":
            found[flow["interface-id"], flow["action"]] += flow["packets"]
    same("lines of JSON", found, PUBLISHED)


def listen(listener: socket.socket, lines: list[bytes]) -> None:
    """Reads until the listener is shut."""
    while True:
        try:
            peer, _ = listener.accept()
        except OSError:
            return
        with peer, peer.makefile("rb") as stream:
            lines.append(stream.read())


def by_eni(records) -> Counter:  # noqa: ANN001
    """Packets by ENI and action."""
    found = Counter()
    for it in records:
        if it.log_status == "OK":
            found[it.interface_id, it.action] += it.packets
    return found


def check_outage(program: str, server: Server, gate: Gate) -> None:
    """Nobody answers for longer than the spool lasts: what is there in the end and what is counted as lost make up everything."""
    server.empty()
    gate.close()
    with tempfile.TemporaryDirectory() as folder:
        process = publisher(program, folder, gate, 20, 60_000)
        cut = told(process)
        same("something is lost everywhere", [log for log, it in cut.items() if not it[2] or not it[0]], [])
        gate.open()
        go_on(process)
        end = told(process)
        same("exit status after the outage", process.wait(120), 0)
    same("nothing more is lost", {log: it[2:] for log, it in end.items()}, {log: it[2:] for log, it in cut.items()})
    same("packets", {log: it[1] + it[3] for log, it in end.items()}, {log: 20 * 100 * 2 for log in end})
    events = [event["message"] for its in server.events().values() for event in its]
    for log, name, lines in [
        ("fl-0a000001", "the bucket", server.text_lines()),
        ("fl-0a000003", "the log group", events),
        ("fl-0a000004", "Firehose", server.delivered_lines()),
    ]:
        same(f"packets in {name}", packets(lines), end[log][1])
        same(f"no record twice in {name}", [line for line, count in Counter(lines).items() if count > 1], [])
        skips = sum(line.endswith(" SKIPDATA") for line in lines)
        # One for each minute that lacks something, the quiet ones at the end included.
        same(f"losses are told in {name}, {skips} times", 0 < skips <= 26, True)
    same("signatures", gate.faults, [])


def check_tls(program: str, server: Server) -> None:
    """The same over TLS: to whom an authority vouches for, and to nobody else."""
    server.empty()
    with tempfile.TemporaryDirectory() as folder:
        tls, file = authority(folder)
        gate = Gate(server.port, tls)
        gate.open()
        process = publisher(program, folder, gate, 1, 1 << 28)
        cut = told(process)
        go_on(process)
        same("nobody vouches for the gate", (process.wait(120) != 0, gate.requests), (True, []))
        process = publisher(program, folder, gate, 0, 1 << 28, AWS_CA_BUNDLE=file)
        told(process)
        go_on(process)
        told(process)
        same("exit status with TLS", process.wait(60), 0)
        gate.close()
    same("packets in the bucket by way of TLS", packets(server.text_lines()), cut["fl-0a000001"][1])
    same("signatures with TLS", gate.faults, [])


def check_kill(program: str, server: Server, gate: Gate, at: int) -> None:
    """Killed behind the request of a number, before its answer: nothing is missing, and no object is there twice."""
    server.empty()
    gate.close()
    with tempfile.TemporaryDirectory() as folder:
        process = publisher(program, folder, gate, 12, 1 << 28)
        cut = told(process)
        gate.requests.clear()

        def taken(number: int) -> bool:
            if number == at:
                process.send_signal(signal.SIGKILL)
                process.wait(10)
            return number >= at

        gate.taken = taken
        gate.open()
        go_on(process)
        same(f"killed behind request {at}", process.wait(60), -signal.SIGKILL)
        gate.taken = lambda _: False
        process = publisher(program, folder, gate, 0, 1 << 28)
        told(process)
        go_on(process)
        told(process)
        same("exit status of the next process", process.wait(120), 0)
    same("nothing was lost before", [it[2:] for it in cut.values()], [[0, 0]] * len(cut))
    text = server.text_lines()
    same("packets in the bucket, once", packets(text), cut["fl-0a000001"][1])
    same("no record twice in the bucket", [line for line, count in Counter(text).items() if count > 1], [])
    events = [event["message"] for its in server.events().values() for event in its]
    for name, lines in [("the log group", events), ("Firehose", server.delivered_lines())]:
        same(f"at least once in {name}", sorted(set(lines) & set(text)), sorted(set(text)))
    same("signatures", gate.faults, [])


def main() -> None:
    """Starts the server, runs the checks, stops it."""
    program = sys.argv[1]
    server = Server(sys.argv[2])
    try:
        gate = Gate(server.port)
        gate.open()
        check_readers(program, server, gate)
        check_outage(program, server, gate)
        check_tls(program, server)
        for at in (1, 6, 12, 28):
            check_kill(program, server, gate, at)
    finally:
        server.process.terminate()
        server.process.wait()
    print(passed())


if __name__ == "__main__":
    main()
