#!/usr/bin/env python3
"""Published flow logs, read by readers that others wrote.

readers.py PUBLISH   runs the example `publish` of palisade-flowlog and reads what it wrote

The PyPI package flowlogs_reader must find the objects by their keys, as it does in a bucket, and understand text and Parquet;
DuckDB must see the documented types. A directory stands for the bucket, behind the few calls of an S3 client that the reader
makes, so no server is needed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import warnings
from datetime import datetime
from pathlib import Path

import duckdb
from flowlogs_reader import S3FlowLogsReader

warnings.filterwarnings("ignore", category=DeprecationWarning)

BEGIN = 1_795_702_800
SPAN = {"start_time": datetime(2026, 11, 26, 14, 0), "end_time": datetime(2026, 11, 26, 15, 0)}
ONE, TWO = "eni-0a000001", "eni-0a000002"
A, B = "10.0.1.10", "10.0.1.20"

# interface, source, destination, destination port, packets, bytes, start, end, action, status
FLOWS = [
    (ONE, A, B, 443, 4, 400, 5, 42, "ACCEPT", "OK"),
    (TWO, A, B, 443, 2, 200, 5, 5, "ACCEPT", "OK"),
    (TWO, A, B, 22, 2, 200, 59, 59, "REJECT", "OK"),
    (ONE, A, B, 443, 2, 200, 310, 310, "ACCEPT", "OK"),
    (ONE, None, None, None, None, None, 120, 180, None, "SKIPDATA"),
]
QUIET = [(ONE, at) for at in range(60, 600, 60) if at not in (120, 300)] + [(TWO, at) for at in range(60, 600, 60)]
FLOWS += [(eni, None, None, None, None, None, at, at + 60, None, "NODATA") for eni, at in QUIET]
# Records of the slot that has just begun wait for its end.
PUBLISHED = [flow for flow in FLOWS if flow[7] < 600]

PARQUET_TYPES = {
    "version": "INTEGER", "interface_id": "VARCHAR", "srcaddr": "VARCHAR", "dstaddr": "VARCHAR", "dstport": "INTEGER",
    "packets": "BIGINT", "bytes": "BIGINT", "start": "BIGINT", "end": "BIGINT", "action": "VARCHAR",
    "log_status": "VARCHAR", "vpc_id": "VARCHAR", "tcp_flags": "INTEGER", "flow_direction": "VARCHAR",
    "traffic_path": "INTEGER", "palisade_rule": "VARCHAR",
}  # fmt: skip


class Bucket:
    """A directory behind the calls of an S3 client that the reader makes."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def keys(self, prefix: str) -> list[str]:
        """Every key that begins so."""
        keys = [str(file.relative_to(self.root)) for file in self.root.rglob("*") if file.is_file()]
        return sorted(key for key in keys if key.startswith(prefix))

    def get_object(self, Bucket: str, Key: str) -> dict:  # noqa: N803
        """An object."""
        file = self.root / Key
        return {"Body": file.open("rb"), "ContentLength": file.stat().st_size}

    def list_objects_v2(self, Bucket: str, Delimiter: str, Prefix: str) -> dict:  # noqa: N803
        """The folders of a folder."""
        names = {Prefix + key.removeprefix(Prefix).split(Delimiter)[0] + Delimiter for key in self.keys(Prefix)}
        return {"CommonPrefixes": [{"Prefix": name} for name in sorted(names)]}

    def get_paginator(self, _: str) -> Bucket:
        """Of lists of objects."""
        return self

    def paginate(self, Bucket: str, Prefix: str) -> list[dict]:  # noqa: N803
        """Everything on one page."""
        return [{"Contents": [{"Key": key} for key in self.keys(Prefix)]}]


def read(root: Path) -> list[tuple]:
    """What flowlogs_reader finds."""
    reader = S3FlowLogsReader("bucket", boto_client=Bucket(root), raise_on_error=True, **SPAN)
    seconds = lambda time: int((time - datetime(1970, 1, 1)).total_seconds()) - BEGIN  # noqa: E731
    return [
        (it.interface_id, it.srcaddr, it.dstaddr, it.dstport, it.packets, it.bytes, seconds(it.start), seconds(it.end),
         it.action, it.log_status)
        for it in reader
    ]  # fmt: skip


def same(what: str, found: object, expected: object) -> None:
    """Ends the test unless both are the same."""
    if found != expected:
        sys.exit(f"{what}:\n  found    {found}\n  expected {expected}\ntest result: FAILED. 0 passed; 1 failed")


def check(root: Path) -> None:
    """Text and Parquet by flowlogs_reader, Parquet by DuckDB."""
    order = lambda flows: sorted(flows, key=str)  # noqa: E731
    same("flowlogs_reader on text", order(read(root / "text")), order(PUBLISHED))
    same("flowlogs_reader on Parquet", order(read(root / "parquet")), order(PUBLISHED))
    base = duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})
    table = f"read_parquet('{root}/parquet/**/*.parquet', hive_partitioning = false)"
    types = {name: kind for name, kind, *_ in base.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()}
    same("types in DuckDB", types, PARQUET_TYPES)
    sums = f"SELECT action, sum(packets), sum(bytes), count(*) FROM {table} WHERE action IS NOT NULL GROUP BY action ORDER BY 1"
    same("sums in DuckDB", base.execute(sums).fetchall(), [("ACCEPT", 8, 800, 3), ("REJECT", 2, 200, 1)])
    detail = f"SELECT flow_direction, traffic_path, tcp_flags, vpc_id, palisade_rule FROM {table} WHERE dstport = 22"
    same("a record in DuckDB", base.execute(detail).fetchall(), [("ingress", None, 2, "vpc-0a000001", "default")])


def main() -> None:
    """Publishes and reads."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.argv[1], folder], check=True)
        check(Path(folder))
    print("test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out")


if __name__ == "__main__":
    main()
