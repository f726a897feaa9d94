"""Shows that the comparison bites: with one statement of the oracle made wrong, a run must disagree.

`teeth.py --seed N --packets P`; exit status 1 if a wrong oracle goes unnoticed. The engine need not be right for this.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import engine

HERE = Path(__file__).resolve().parent
WRONG = [  # statement, file, what stands there, what is put there
    ("CT-39a boundary", "tracking.py", "if now < conn.expiry]", "if now <= conn.expiry]"),
    ("CT-39a boundary", "tracking.py", "is not None and now < conn.expiry", "is not None and now <= conn.expiry"),
    ("CT-39c pending", "tracking.py", "    elif conn.pending:", "    else:"),
    ("CT-39c second", "tracking.py", "conn.transactions >= 2", "conn.transactions >= 3"),
    ("CT-17 reverse", "tracking.py", " or _opened(world, eni, other, mirrored(packet))", ""),
    ("CT-11 ports", "model.py", "(self.low, self.high) == (0, 65535)", "self.low <= 1 and self.high == 65535"),
    ("CT-40 only SYN", "tracking.py", "        return is_syn(packet)\n", "        return True\n"),
    ("CT-41 originator", "tracking.py", 'state == "syn-recv" and side == "origin"', 'state == "syn-recv"'),
    ("CT-42 state", "tracking.py", '"syn-sent2" if state', '"syn-recv" if state'),
    ("CT-43 close wait", "tracking.py", 'state == "fin-wait" and side != conn.first_fin', 'state == "fin-wait"'),
    ("CT-43 last ACK", "tracking.py", "(conn.simultaneous or side == conn.first_fin)", "side == conn.first_fin"),
    ("CT-43 crossing", "tracking.py", "(conn.simultaneous or side == conn.first_fin)", "True"),
    ("CT-45 deletes", "tracking.py", 'conn.state in ("time-wait", "close") and', 'conn.state in ("close",) and'),
    ("CT-45 live", "tracking.py", '("established", "fin-wait", "close-wait", "last-ack"):', '("established",):'),
    ("CT-45 its place", "tracking.py", "return replaces or bool(", "return bool("),
    ("CT-46 last byte", "tracking.py", "<= theirs.window << shift", "< theirs.window << shift"),
    ("CT-46 scale", "tracking.py", "if both and not theirs", "if not theirs"),
    ("CT-46 scale of SYN", "tracking.py", "both and not theirs.window_of_syn and", "both and"),
    ("CT-46 one more", "tracking.py", "packet.seq in (syn, (syn + 1) % MODULUS)", "packet.seq == syn"),
    ("CT-46 no ACK yet", "tracking.py", "return theirs.syn is not None and", "return False and"),
    ("CT-46 refresh", "tracking.py", "        return plausible\n", "        return True\n"),
    ("CT-50 refresh", "tracking.py", "quoted < (28 if quote.v4 else 48)", "quoted < (29 if quote.v4 else 49)"),
    ("CT-52 untracked", "tracking.py", "return quote.has_ports and allowed and", "return False and"),
    ("CT-53 delivered to", "tracking.py", 'direction == "ingress" and quote.src != packet.dst', "False"),
    ("CT-7 destination", "oracle.py", "        if self.world.checks(eni) and packet.dst not", "        if packet.dst not"),
    ("CT-30 configured", "model.py", "return values | {key: seconds(text) for key, text in given.items()}", "return values"),
    ("CT-26 address", "tracking.py", "if conn.local[0] not in gone", "if True"),
    ("strict cuts", "oracle.py", "        if world.strict:\n", "        if False:\n"),
    ("strict spares", "oracle.py", "        if world.strict:\n", "        if True:\n"),
    ("strict opener", "tracking.py", "    conn.opener = packet\n", "    conn.opener = mirrored(packet)\n"),
    ("CT-4 roles", "tracking.py", '(answered, sent)\n', '(sent, answered)\n'),
    ("CT-70 limit", "tracking.py", "used < instance", "used <= instance"),
    ("SG-15 families", "model.py", "return in_acl and self.protocol == ICMP6", "return True"),
    ("SG-34 handing", "model.py", 'direction == "egress" or owner == handing', "True"),
    ("NACL-20 subnet", "oracle.py", "        if not direct:\n            self._acl(eni, \"egress\"", "        if True:\n            self._acl(eni, \"egress\""),
    ("NACL-21 order", "model.py", "key=lambda entry: entry.number)", "key=lambda entry: -entry.number)"),
    ("RT-5 neighbour", "oracle.py", "packet.to_mac is not None and packet.to_mac in world.enis", "False"),
    ("RT-60 size", "oracle.py", "packet.largest_len() <= mtu", "packet.largest_len() < mtu"),
    ("RT-1 commit", "oracle.py", 'raise _Drop("allowance-egress")', 'raise _Drop("group-egress")'),
]


def bites(place: str, old: str, new: str, seed: int, packets: int) -> bool:
    """Whether a run with this change disagrees."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "tests" / "oracle"
        shutil.copytree(HERE, folder, ignore=shutil.ignore_patterns("__pycache__"))
        source = (folder / place).read_text()
        if source.count(old) < 1:
            raise SystemExit(f"{place} does not contain {old!r}")
        (folder / place).write_text(source.replace(old, new))
        command = [sys.executable, "run.py", "--seed", str(seed), "--packets", str(packets), "--reduce", "0"]
        command += ["--stop", "1"]
        environment = os.environ | {"PALISADE_BIN": str(engine.BINARY)}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)
        if "packets" not in done.stdout:
            raise SystemExit(done.stderr)
        return done.returncode == 1


def main() -> int:
    """Tries every wrong oracle."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--packets", type=int, default=60_000)
    parser.add_argument("--only", default="", help="statements whose name holds this")
    arguments = parser.parse_args()
    missed = 0
    for statement, place, old, new in [one for one in WRONG if arguments.only in one[0]]:
        found = bites(place, old, new, arguments.seed, arguments.packets)
        missed += not found
        print(f"{'found ' if found else 'MISSED'}  {statement}: {' '.join(new.split())[:60]}", flush=True)
    print(f"{missed} wrong oracles missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
