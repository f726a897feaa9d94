#!/usr/bin/env python3
"""Flow logs of a daemon through which real traffic runs, read by readers that others wrote, against what was on the wire.

traffic.py PALISADE   root; makes network namespaces and removes them

TCP in bulk with offloads at both ends and at one, UDP, pings, refused connections and a service that no flow log covers. The
PyPI package flowlogs_reader and DuckDB must find the same records in text and Parquet; what these tell must be what the ports
of the daemon have counted, and what a capture of single packets has seen, to the packet and the byte.
"""

from __future__ import annotations

import ipaddress
import json
import sys
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Iterator

import duckdb
from flowlogs_reader import S3FlowLogsReader
from forwarding import Daemon, Guests, wait_for
from gate import HEADER, passed, same
from readers import Bucket

warnings.filterwarnings("ignore", category=DeprecationWarning)

SPEC = Path(__file__).resolve().parents[2] / "docs/spec/flow-logs.md"
DUCKDB_TYPES = {"INT_32": "INTEGER", "INT_64": "BIGINT", "STRING": "VARCHAR"}
# Of the default format, but the version, which is the highest of a format's fields.
FIELDS = HEADER.replace("-", "_").split()[1:]
NUMBERS = {"srcport", "dstport", "protocol", "packets", "bytes", "start", "end"}
ADDRESSES = {"a": "10.0.1.10", "b": "10.0.2.10", "c": "10.0.2.20", "dns": "10.0.0.2"}
TCP, UDP, ICMP = 6, 17, 1
BULK, DATAGRAMS, PINGS, ASKED = 40_000_000, 2_000_000, 5, 3

CONFIG = """
[vpc]
account = "123456789010"
cidr_blocks = ["10.0.0.0/16"]
[subnet.web]
cidr = "10.0.1.0/24"
[subnet.data]
cidr = "10.0.2.0/24"
[security_group.client]
[security_group.server]
ingress = [
    "icmp 8/any from 10.0.1.0/24",
    "tcp 5201 from 10.0.1.0/24",
    "udp 5201 from 10.0.1.0/24",
    "tcp 81 from 10.0.1.0/24",
]
[eni.a]
subnet = "web"
address = "{addresses[a]}"
groups = ["client"]
attach = {{ tap = "eth0", netns = "{guests[a]}", configure = true }}
[eni.b]
subnet = "data"
address = "{addresses[b]}"
groups = ["server"]
attach = {{ tap = "eth0", netns = "{guests[b]}", configure = true }}
[eni.c]
subnet = "data"
address = "{addresses[c]}"
groups = ["server"]
attach = {{ tap = "eth0", netns = "{guests[c]}", configure = true, offload = false }}
[service.dns]
addresses = ["{addresses[dns]}"]
attach = {{ tap = "eth0", netns = "{guests[dns]}", configure = true }}
[flow_log.text]
max_aggregation_interval = 60
destination = {{ directory = "{folder}/text" }}
[flow_log.parquet]
max_aggregation_interval = 60
log_format = "{every_field}"
destination = {{ directory = "{folder}/parquet" }}
destination_options = {{ file_format = "parquet" }}
[daemon]
control_socket = "{folder}/control.sock"
flow_log_spool = "{folder}/spool"
"""


def documented() -> dict[str, str]:
    """The type of every field but those of tags, as the specification's table has it; and of one of our own."""
    lines = [line for line in SPEC.read_text().splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.split("|")] for line in lines]
    kinds = {"palisade-rule": "STRING"}
    for _, names, version, kind, *_ in (row for row in rows if len(row) == 6):
        if version.isdecimal() and kind:
            kinds |= {name.strip(): kind.split()[0] for name in names.split(",") if "-tag" not in name}
    return kinds


class Captures:
    """tcpdump in guests, until it is asked for what it saw."""

    def __init__(self, guests: Guests, folder: str) -> None:
        self.files = {name: Path(folder, f"{name}.pcap") for name in "abc"}
        line = "tcpdump -i eth0 -n -U --immediate-mode -s 96 -B 65536 -w"
        self.running = [guests.start(name, f"{line} {file}") for name, file in self.files.items()]
        for file in self.files.values():
            wait_for(f"a capture in {file}", lambda file=file: file.exists() and file.stat().st_size >= 24)

    def stop(self) -> dict[str, list[bytes]]:
        """The frames of each guest."""
        for tcpdump in self.running:
            tcpdump.terminate()
            tcpdump.wait(5)
        return {name: list(frames(file.read_bytes())) for name, file in self.files.items()}


def frames(capture: bytes) -> Iterator[bytes]:
    """The beginnings of the frames of a capture."""
    same("a capture with microseconds, in this machine's byte order", capture[:4].hex(), "d4c3b2a1")
    at = 24
    while at < len(capture):
        length = int.from_bytes(capture[at + 8 : at + 12], "little")
        yield capture[at + 16 : at + 16 + length]
        at += 16 + length


def flows(packets: list[bytes]) -> dict[tuple, tuple[int, int]]:
    """Packets and IP lengths by addresses, ports and protocol, of frames with IPv4 that are no fragments."""
    sums: dict[tuple, list[int]] = defaultdict(lambda: [0, 0])
    for ip in (frame[14:] for frame in packets if frame[12:14] == b"\x08\x00"):
        layer4 = ip[(ip[0] & 15) * 4 :]
        ports = [int.from_bytes(layer4[at : at + 2], "big") if ip[9] in (TCP, UDP) else 0 for at in (0, 2)]
        source, destination = (str(ipaddress.IPv4Address(ip[at : at + 4])) for at in (12, 16))
        sums[source, destination, *ports, ip[9]][0] += 1
        sums[source, destination, *ports, ip[9]][1] += int.from_bytes(ip[2:4], "big")
    return {flow: tuple(volume) for flow, volume in sums.items() if ADDRESSES["dns"] not in flow}


def exempt(packets: list[bytes], sent: bool) -> int:
    """Frames of a guest that no record tells of: ARP, and what it and the service say to each other."""
    service = ipaddress.IPv4Address(ADDRESSES["dns"]).packed
    from_guest = lambda frame: frame[6:12] == packets[0][6:12] if packets else False  # noqa: E731
    is_exempt = lambda frame: frame[12:14] != b"\x08\x00" or service in (frame[26:30], frame[30:34])  # noqa: E731
    return sum(is_exempt(frame) and from_guest(frame) == sent for frame in packets)


def iperf(guests: Guests, to: str, options: str) -> int:
    """Bytes of payload that arrived at a guest, or came back from it."""
    end = json.loads(guests.run("a", f"iperf3 -J -c {ADDRESSES[to]} {options}"))["end"]
    sums = end["sum"] if "-u" in options.split() else end["sum_received"]
    return sums["bytes"]


@contextmanager
def servers(guests: Guests) -> Iterator[None]:
    """iperf3 at the ends of the connections."""
    running = [guests.start(name, "iperf3 -s") for name in "bc"]
    try:
        for name in "bc":
            listens = lambda name=name: guests.run(name, "ss -Htnl sport = :5201").strip()  # noqa: E731
            wait_for("iperf3 listens", listens)
        yield
    finally:
        for server in running:
            server.terminate()
            server.wait(5)


def talk(guests: Guests) -> Counter:
    """Everything that is to be logged, and what is not; bytes of payload by source, destination and protocol."""
    payload: Counter = Counter()
    with servers(guests):
        for to in "bc":
            payload["a", to, TCP] += iperf(guests, to, f"-n {BULK}")
            payload[to, "a", TCP] += iperf(guests, to, f"-n {BULK} -R")
        payload["a", "c", UDP] += iperf(guests, "c", f"-u -l 1400 -b 40M -n {DATAGRAMS}")
        guests.run("a", f"ping -q -c {PINGS} -i 0.1 -W 2 {ADDRESSES['c']}")
    # One that the group refuses, and one that it lets through to a port where nobody listens.
    for port, expected in ((22, "timed out"), (81, "refused")):
        connect = f"import socket; socket.create_connection(('{ADDRESSES['c']}', {port}), 0.3)"
        same(f"port {port}", expected in guests.python("a", connect), True)
    ask = f"import socket; [socket.socket(2, 2).sendto(b'?', ('{ADDRESSES['dns']}', 53)) for _ in range({ASKED})]"
    same("the service is asked", guests.python("a", ask), "")
    return payload


def quiet(daemon: Daemon) -> dict:
    """Its status, once nothing is on the way any more."""
    before = None
    for _ in range(40):
        status = daemon.whole_status()
        if status and before and status["ports"] == before["ports"]:
            return status
        before = status
        time.sleep(0.15)
    return daemon.fail("the guests are never quiet")


def by_reader(root: Path) -> list[tuple]:
    """Records that flowlogs_reader finds."""
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    span = {"start_time": now - timedelta(hours=1), "end_time": now + timedelta(hours=1)}
    reader = S3FlowLogsReader("bucket", boto_client=Bucket(root), raise_on_error=True, **span)
    seconds = lambda value: int(value.replace(tzinfo=timezone.utc).timestamp())  # noqa: E731
    plain = lambda value: seconds(value) if isinstance(value, datetime) else value  # noqa: E731
    return ordered(tuple(plain(getattr(it, name)) for name in FIELDS) for it in reader)


def by_duckdb(base: duckdb.DuckDBPyConnection, table: str, fields: list[str]) -> list[tuple]:
    """Records that DuckDB finds."""
    columns = ", ".join(f'"{name}"' for name in fields)
    return ordered(base.execute(f"SELECT {columns} FROM {table}").fetchall())


def ordered(records) -> list[tuple]:  # noqa: ANN001
    """In an order that does not depend on the reader's."""
    return sorted(map(tuple, records), key=str)


def check_readers(folder: Path) -> duckdb.DuckDBPyConnection:
    """Both readers find the same in both formats; DuckDB finds the documented types. Leaves a view of the records."""
    base = duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})
    base.execute(f"CREATE VIEW records AS SELECT * FROM read_parquet('{folder}/parquet/**/*.parquet')")
    types = {name: kind for name, kind, *_ in base.execute("DESCRIBE records").fetchall()}
    same("types in DuckDB", types, {name.replace("-", "_"): DUCKDB_TYPES[kind] for name, kind in documented().items()})
    text_types = {name: "BIGINT" if name.replace("-", "_") in NUMBERS else "VARCHAR" for name in HEADER.split()}
    text = f"read_csv('{folder}/text/**/*.log.gz', delim = ' ', header = true, nullstr = '-', columns = {text_types})"
    records = by_duckdb(base, "records", FIELDS)
    same("there are records", len(records) > 20, True)
    same("flowlogs_reader on Parquet", by_reader(folder / "parquet"), records)
    same("flowlogs_reader on text", by_reader(folder / "text"), records)
    same("DuckDB on text", by_duckdb(base, text, HEADER.split()[1:]), records)
    return base


def check_ports(base: duckdb.DuckDBPyConnection, status: dict, seen: dict[str, list[bytes]]) -> None:
    """What came in by each port is in a record or exempt; so is what went out by it. Nothing was lost on the way."""
    sums = """SELECT interface_id, flow_direction, action, sum(packets)::BIGINT FROM records
        WHERE log_status = 'OK' GROUP BY ALL"""
    packets: Counter = Counter()
    for eni, direction, action, count in base.execute(sums).fetchall():
        packets[eni, direction, action] += count
    for port in (port for port in status["ports"] if port["kind"] == "eni"):
        name, eni, captured = port["name"], port["id"], seen[port["name"]]
        from_guest = packets[eni, "egress", "ACCEPT"] + packets[eni, "egress", "REJECT"]
        same(f"packets received from {name}", port["received"]["packets"], from_guest + exempt(captured, sent=True))
        to_guest = packets[eni, "ingress", "ACCEPT"] + exempt(captured, sent=False)
        same(f"packets sent to {name}", port["sent"]["packets"] + sum(port["dropped"].values()), to_guest)
    same("records that were lost", [log["lost_records"] for log in status["flow_logs"]], [0, 0])


def check_wire(base: duckdb.DuckDBPyConnection, ports: dict[str, str], seen: dict[str, list[bytes]]) -> None:
    """What is recorded at c is what was captured there, where every packet is a frame; at a, the same."""
    captured = flows(seen["c"])
    at = """SELECT srcaddr, dstaddr, srcport, dstport, protocol, sum(packets)::BIGINT, sum(bytes)::BIGINT FROM records
        WHERE interface_id = ? AND ? IN (srcaddr, dstaddr) AND action = 'ACCEPT' AND dstport != 22 GROUP BY ALL"""
    for name, peer in (("c", "a"), ("a", "c")):
        rows = base.execute(at, [ports[name], ADDRESSES[peer]]).fetchall()
        recorded = {tuple(row[:5]): tuple(row[5:]) for row in rows}
        same(f"records at {name}", recorded, captured)
    pings = {flow: volume for flow, volume in captured.items() if flow[4] == ICMP}
    same("pings", set(pings.values()), {(PINGS, PINGS * 84)})
    same("super-packets at a", max(int.from_bytes(frame[16:18], "big") for frame in seen["a"]) > 20_000, True)
    same("single packets at c", max(int.from_bytes(frame[16:18], "big") for frame in seen["c"]) <= 9001, True)


def check_payload(base: duckdb.DuckDBPyConnection, ports: dict[str, str], payload: Counter) -> None:
    """At both ends of a connection there are at least the bytes that iperf3 has counted."""
    sums = """SELECT sum(bytes)::BIGINT FROM records
        WHERE interface_id = ? AND srcaddr = ? AND dstaddr = ? AND protocol = ?"""
    for (source, destination, protocol), count in payload.items():
        for eni in (source, destination):
            where = [ports[eni], ADDRESSES[source], ADDRESSES[destination], protocol]
            found = base.execute(sums, where).fetchone()[0]
            same(f"payload from {source} to {destination} at {eni}: {count} of {found}", found >= count > 0, True)


def check_refused(base: duckdb.DuckDBPyConnection, ports: dict[str, str]) -> None:
    """The connection that the group refuses left its sender and was rejected at its receiver, by no rule of the group."""
    refused = """SELECT interface_id, action, palisade_rule, sum(packets)::BIGINT FROM records
        WHERE dstport = 22 GROUP BY ALL ORDER BY action"""
    rows = base.execute(refused).fetchall()
    same("refused at", [(row[0], row[1]) for row in rows], [(ports["a"], "ACCEPT"), (ports["c"], "REJECT")])
    same("refused by", rows[1][2], "default")
    same("refused packets at both ends", rows[0][3], rows[1][3])


def main() -> None:
    """Lets them talk, stops the daemon, reads."""
    with tempfile.TemporaryDirectory() as folder, Guests("a", "b", "c", "dns") as guests:
        every_field = " ".join(f"${{{name}}}" for name in documented())
        config = CONFIG.format(addresses=ADDRESSES, guests=guests.names, folder=folder, every_field=every_field)
        Path(folder, "config.toml").write_text(config)
        for name in guests.names:
            # What kernels say by themselves in IPv6 would come at any time.
            switch = "open('/proc/sys/net/ipv6/conf/default/disable_ipv6', 'w').write('1')"
            same("IPv6 is off", guests.python(name, switch), "")
        daemon = Daemon(sys.argv[1], folder)
        guests.run("c", "ethtool -K eth0 tso off gso off gro off")
        captures = Captures(guests, folder)
        payload = talk(guests)
        status = quiet(daemon)
        seen = captures.stop()
        same("exit status", daemon.stop(), 0)
        ports = {port["name"]: port["id"] for port in status["ports"]}
        base = check_readers(Path(folder))
        check_ports(base, status, seen)
        check_wire(base, ports, seen)
        check_payload(base, ports, payload)
        check_refused(base, ports)
    print(passed())


if __name__ == "__main__":
    main()
