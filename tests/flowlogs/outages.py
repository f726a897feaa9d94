#!/usr/bin/env python3
"""Flow logs through kills and outages, while traffic flows and windows and slots end every moment.

outages.py PALISADE MOTO [SEED]   root; makes two network namespaces and removes them

The daemon's wall clock goes faster (libfaketime; its other clock does not), so that a slot of five minutes takes seconds, and
deliveries are under way at any moment. First the destination is cut off for longer than the spool lasts: what is lost must be
counted exactly and told. Then records are too old for one of the services. Then the daemon is killed again and again at moments drawn by lot, with destinations that are slow,
refuse, or take an object and do not say so: what was in the spool must arrive, no object twice or partly.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from datetime import datetime, timezone
from pathlib import Path

from forwarding import Daemon, Guests, give_up, wait_for
from gate import HEADER, KEYS, Gate, Server, packets, passed, same

PORT = 2000
# Seconds of the wall clocks of daemons in one second: a window takes half a second, a slot two and a half.
RATE = 120
# Wall clocks begin so long ago, so that fast ones stay in the past: services refuse what is to come.
AGO = 3 * 3600
# Older than CloudWatch Logs takes, which is fourteen days.
LONG_AGO = 15 * 24 * 3600
# Packets, each a flow of its own, a second; while the destination is cut off, and while the daemon is killed.
MANY, FEW = 2000, 400
KILLS = 5

CONFIG = """
[vpc]
account = "123456789010"
cidr_blocks = ["10.0.0.0/16"]
[subnet.web]
cidr = "10.0.1.0/24"
[security_group.open]
ingress = ["all from 0.0.0.0/0"]
[eni.a]
subnet = "web"
address = "10.0.1.10"
groups = ["open"]
attach = {{ tap = "eth0", netns = "{guests[a]}", configure = true }}
[eni.b]
subnet = "web"
address = "10.0.1.20"
groups = ["open"]
attach = {{ tap = "eth0", netns = "{guests[b]}", configure = true }}
[flow_log.bucket]
max_aggregation_interval = 60
destination = {{ s3 = "text", endpoint = "{endpoint}" }}
[flow_log.group]
max_aggregation_interval = 60
destination = {{ log_group = "flows", endpoint = "{endpoint}" }}
[flow_log.stream]
max_aggregation_interval = 60
destination = {{ delivery_stream = "flows", endpoint = "{endpoint}" }}
{more}
[daemon]
control_socket = "{folder}/control.sock"
flow_log_spool = "{folder}/spool"
flow_log_spool_limit = {limit}
credentials_file = "{folder}/keys"
"""
STDOUT = '[flow_log.pipe]\nmax_aggregation_interval = 60\ndestination = { json_lines = "stdout" }\n'
FILES = '[flow_log.files]\nmax_aggregation_interval = 60\ndestination = {{ directory = "{folder}/files" }}\n'

# A datagram from each source port in turn: raw, because a socket for each would take long. Without a device there are errors.
SENDER = """
import contextlib, socket, struct, sys, time
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
begin, rate, first, count = time.monotonic(), *map(int, sys.argv[1:])
for number in range(count):
    with contextlib.suppress(OSError):
        raw.sendto(struct.pack("!4H", 1024 + (first + number) % 60000, {port}, 8, 0), ("10.0.1.20", 0))
    time.sleep(max(0, begin + number / rate - time.monotonic()))
""".replace("{port}", str(PORT))

# Takes them, so that nobody answers that nobody does.
LISTENER = f"import socket, time; taken = socket.socket(2, 2); taken.bind(('', {PORT})); time.sleep(600)"


class FastClock:
    """A wall clock for one daemon after the other; it never goes back."""

    def __init__(self, ago: int) -> None:
        found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        if not found:
            give_up("libfaketime is missing")
        self.library = str(found[0])
        self.begin, self.moved = time.time() - ago, time.monotonic()

    def variables(self) -> dict[str, str]:
        """The environment of a daemon that is started now."""
        now = self.begin + (time.monotonic() - self.moved) * RATE
        stamp = datetime.fromtimestamp(now, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
        plain = {"DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1", "TZ": "UTC"}
        return {"LD_PRELOAD": self.library, "FAKETIME": f"@{stamp} x{RATE}", **plain}

    def wait(self, seconds: float) -> None:
        """Until so much has passed by it."""
        time.sleep(seconds / RATE)


@contextlib.contextmanager
def background(guests: Guests, guest: str, program: str, *arguments: int):  # noqa: ANN201
    """A program of Python in a guest, ended with the `with`."""
    process = guests.start(guest, "python3 -c", program, *map(str, arguments))
    try:
        yield process
    finally:
        process.kill()
        process.wait(5)


@contextlib.contextmanager
def listening(guests: Guests):  # noqa: ANN201
    """Somebody at b takes what comes."""
    with background(guests, "b", LISTENER):
        wait_for("somebody listens", lambda: guests.run("b", f"ss -Hunl sport = :{PORT}").strip())
        yield


def configure(guests: Guests, gate: Gate, folder: str, more: str, limit: int) -> None:
    """Writes what the daemon reads."""
    config = CONFIG.format(guests=guests.names, endpoint=gate.endpoint, folder=folder, more=more, limit=limit)
    Path(folder, "config.toml").write_text(config)
    keys = "".join(f"{name.lower()} = {value}\n" for name, value in KEYS.items())
    Path(folder, "keys").write_text(f"[default]\n{keys}")


def everything(server: Server) -> dict[str, list[str]]:
    """What each destination has."""
    events = [event["message"] for its in server.events().values() for event in its]
    return {"bucket": server.text_lines(), "group": events, "stream": server.delivered_lines()}


def told(folder: str) -> list[str]:
    """Lines of standard output as the default format has them: nothing was lost there."""
    lines = [json.loads(line) for line in Path(folder, "out").read_text().splitlines() if '"log-status"' in line]
    plain = lambda value: "-" if value is None else str(value)  # noqa: E731
    return [" ".join(plain(line.get(name)) for name in HEADER.split()) for line in lines]


def window(line: str) -> tuple[str, int]:
    """The ENI of a record, and the minute it belongs to."""
    fields = line.split()
    return fields[2], int(fields[10]) // 60


def check_outage(program: str, server: Server, gate: Gate, guests: Guests) -> None:
    """Cut off for longer than the spool lasts: records and loss are what was seen, exactly, and each gap is told once."""
    server.empty()
    with tempfile.TemporaryDirectory() as folder:
        configure(guests, gate, folder, STDOUT, limit=1)
        clock = FastClock(AGO)
        daemon = Daemon(program, folder, **clock.variables())
        gate.close()
        with listening(guests), background(guests, "a", SENDER, MANY, 0, 4 * MANY) as sender:
            same("the sender ends well", sender.wait(20), 0)
        cut_off = lambda log: log["name"] == "pipe" or log["lost_records"] > 0 and log["failures"] > 0  # noqa: E731
        daemon.until("more than the spool holds is lost", cut_off)
        gate.open()
        daemon.until("deliveries go on", lambda log: log["delivery_error"] is None)
        with listening(guests), background(guests, "a", SENDER, FEW, 4 * MANY, FEW // 4) as sender:
            same("the sender ends well", sender.wait(20), 0)
        clock.wait(180)
        status = {log["name"]: log for log in daemon.status() or []}
        same("exit status", daemon.stop(), 0)
        same("the laws of conservation hold", daemon.totals()["lawful"], True)
        truth = told(folder)
        same("lines on standard output twice", twice(truth), [])
        flows = [line for line in truth if line.endswith(" OK")]
        same("flows, at both ends", len(flows), 2 * (4 * MANY + FEW // 4))
        for name, lines in everything(server).items():
            check_loss(name, lines, truth, status[name])
        same("signatures", gate.faults, [])


def check_loss(name: str, lines: list[str], truth: list[str], status: dict) -> None:
    """What a destination has and what the daemon says that it lost are together what there was."""
    same(f"lines in {name} twice", twice(lines), [])
    skips = [line for line in lines if line.endswith(" SKIPDATA")]
    arrived = set(lines) - set(skips)
    missing = set(truth) - arrived
    same(f"lines in {name} that are not true", sorted(arrived - set(truth)), [])
    lost = [line.split() for line in missing if line.endswith(" OK")]
    same(f"records that {name} lacks", len(lost), status["lost_records"])
    same(f"packets that {name} lacks", sum(int(fields[8]) for fields in lost), status["lost_packets"])
    same(f"{name} has lost a good part, and has one", len(truth) // 8 < len(lost) < len(truth) * 7 // 8, True)
    same(f"gaps told in {name}", sorted(map(window, skips)), sorted(set(map(window, missing))))


def twice(lines: list[str]) -> list[str]:
    """What is there more than once."""
    return [line for line, count in Counter(lines).items() if count > 1]


def check_too_old(program: str, server: Server, gate: Gate, guests: Guests) -> None:
    """Records of fifteen days ago: CloudWatch Logs refuses them, for good and counted; the others take them."""
    server.empty()
    with tempfile.TemporaryDirectory() as folder:
        configure(guests, gate, folder, "", limit=1)
        daemon = Daemon(program, folder, **FastClock(LONG_AGO).variables())
        with listening(guests), background(guests, "a", SENDER, FEW, 0, FEW // 4) as sender:
            same("the sender ends well", sender.wait(20), 0)
        everything_refused = lambda log: log["refused_records"] == log["records"] + log["other_records"]  # noqa: E731
        seen = lambda log: log["name"] != "group" or log["records"] == FEW // 2 and everything_refused(log)  # noqa: E731
        daemon.until("everything is refused", seen)
        same("nothing is said to fail", [log["delivery_error"] for log in daemon.status() or []], [None] * 3)
        same("exit status", daemon.stop(), 0)
        found = everything(server)
        same("events in the group", found.pop("group"), [])
        same("packets elsewhere", {name: packets(lines) for name, lines in found.items()}, dict.fromkeys(found, FEW // 2))


class Witness:
    """Looks at objects all the time: each is whole, and stays as it is."""

    def __init__(self, server: Server, folder: str) -> None:
        self.server, self.files = server, Path(folder, "files")
        self.seen: dict[str, bytes] = {}
        self.faults: list[str] = []
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def watch(self) -> None:
        """Until it is stopped."""
        while not self.stopped.wait(0.05):
            self.look(new=True)

    def look(self, *, new: bool) -> None:
        """Once, at everything or at what is new."""
        known = set(self.seen) if new else set()
        for key, content in {**self.in_directory(), **self.server.objects("text", known)}.items():
            if self.seen.setdefault(key, content) != content:
                self.faults.append(f"{key} has changed")
            with contextlib.suppress(EOFError, OSError):
                text = gzip.decompress(content).decode()
                if text.startswith(f"{HEADER}\n") and text.endswith("\n"):
                    continue
            self.faults.append(f"{key} is not whole")

    def in_directory(self) -> dict[str, bytes]:
        """Objects in the directory; what begins with a dot is none."""
        files = [file for file in self.files.rglob("*") if file.is_file() and not file.name.startswith(".")]
        return {f"files/{file.name}": file.read_bytes() for file in files}

    def stop(self) -> dict[str, list[str]]:
        """Lines of every object in the end, by key."""
        self.stopped.set()
        self.thread.join()
        self.look(new=False)
        return {key: gzip.decompress(content).decode().splitlines()[1:] for key, content in self.seen.items()}


def spooled(folder: str) -> dict[tuple[str, str], list[str]]:
    """The whole lines of every segment that a killed daemon has left, by spool and name; the first is the header."""
    found = {}
    for file in Path(folder, "spool").glob("*/*"):
        if file.suffix in (".seg", ".open"):
            lines = file.read_text().splitlines(keepends=True)
            found[file.parent.name, file.stem] = [line.rstrip("\n") for line in lines[1:] if line.endswith("\n")]
    return {segment: lines for segment, lines in found.items() if lines}


def moody(chance: random.Random):  # noqa: ANN201
    """A destination that is slow and refuses a third of what it is asked."""

    def refuses() -> bool:
        time.sleep(chance.uniform(0, 0.15))
        return chance.random() < 1 / 3

    return refuses


def check_kills(program: str, server: Server, gate: Gate, guests: Guests, seed: int) -> None:
    """Killed at any moment: what was spooled is there in the end, in files and bucket once, elsewhere at least once."""
    server.empty()
    chance = random.Random(seed)
    left: dict[tuple[str, str], list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        configure(guests, gate, folder, FILES.format(folder=folder), limit=64)
        clock, witness = FastClock(AGO), Witness(server, folder)
        with listening(guests), background(guests, "a", SENDER, FEW, 0, 1_000_000):
            gate.refuses, gate.taken = moody(chance), lambda _: chance.random() < 1 / 8
            for _ in range(KILLS):
                daemon = Daemon(program, folder, **clock.variables())
                time.sleep(chance.uniform(0.1, 2.2))
                same("killed", (daemon.process.kill(), daemon.process.wait(10))[1], -signal.SIGKILL)
                left |= spooled(folder)
            gate.refuses, gate.taken = lambda: False, lambda _: False
            daemon = Daemon(program, folder, **clock.variables())
            ids = {log["name"]: log["id"] for log in daemon.status() or []}
            time.sleep(1)
        same("exit status of the last daemon", daemon.stop(), 0)
        objects = witness.stop()
        same("objects that were not whole, or changed", witness.faults, [])
        check_arrived(left, objects, ids, everything(server))
        same("signatures", gate.faults, [])


def check_arrived(left: dict, objects: dict[str, list[str]], ids: dict[str, str], found: dict[str, list[str]]) -> None:
    """Each segment that was left behind is one object; where there are no objects, its lines are there."""
    for name in ("files", "bucket"):
        its = {key: lines for key, lines in objects.items() if ids[name] in key}
        holders = defaultdict(list)
        for key, lines in its.items():
            for line in lines:
                holders[line].append(key)
        doubles = [line for line, keys in holders.items() if len(keys) > 1]
        same(f"lines in {name} twice", doubles, [])
        segments = [lines for (log, _), lines in left.items() if log == ids[name]]
        same(f"segments of {name} that were left behind", len(segments) >= KILLS // 2, True)
        for lines in segments:
            keys = {key for line in lines for key in holders.get(line, ["nowhere"])}
            same(f"objects of a segment of {name}", len(keys), 1)
            same(f"a segment of {name}", its.get(*keys), lines)
        same(f"packets in {name}", len(holders) > 2 * FEW, True)
    for name in ("group", "stream"):
        segments = [lines for (log, _), lines in left.items() if log == ids[name]]
        wanted = {line.split(" ", 2)[2] if name == "group" else line for lines in segments for line in lines}
        same(f"lines that {name} lacks", sorted(wanted - set(found[name])), [])
        same(f"lines that were left for {name}", len(wanted) > FEW // 4, True)


def main() -> None:
    """Makes guests and server, runs the checks, removes both."""
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}", flush=True)
    server = Server(sys.argv[2])
    gate = Gate(server.port)
    gate.open()
    try:
        with Guests("a", "b") as guests:
            check_outage(sys.argv[1], server, gate, guests)
            check_too_old(sys.argv[1], server, gate, guests)
            check_kills(sys.argv[1], server, gate, guests, seed)
    finally:
        server.process.terminate()
        server.process.wait()
    print(passed())


if __name__ == "__main__":
    main()
