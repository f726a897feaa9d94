"""What the figures were taken on, in general terms: nothing that names one machine. And who else uses it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def describe() -> str:
    """Such as `2 CPUs (Intel Xeon, x86_64, virtual machine), Linux 6.1`."""
    info = Path("/proc/cpuinfo").read_text()
    kind = re.search(r"^model name\s*:\s*(.*)$", info, re.MULTILINE)
    name = re.sub(r"\(R\)|\(TM\)|@.*|\b(CPU|Processor)\b", "", kind[1] if kind else "").split()
    words = [" ".join(name), platform.machine(), "virtual machine" if re.search(r"\bhypervisor\b", info) else ""]
    count = len(os.sched_getaffinity(0))
    kernel = ".".join(platform.release().split(".")[:2])
    return f"{count} CPU{'s' if count > 1 else ''} ({', '.join(word for word in words if word)}), Linux {kernel}"


def versions(palisade: str) -> dict[str, str]:
    """Of the programs that take part; those that are not there are left out."""
    asked = {
        "palisade": [palisade, "--version"],
        "nftables": ["nft", "--version"],
        "Open vSwitch": ["ovs-vswitchd", "--version"],
        "iperf3": ["iperf3", "--version"],
    }
    found = {}
    for name, words in asked.items():
        try:
            said = subprocess.run(words, capture_output=True, text=True, timeout=10, check=False).stdout
        except FileNotFoundError:
            continue
        number = re.search(r"\d+(\.\d+)+", said)
        found[name] = number[0] if number else "unknown"
    return found


class Others:
    """CPU time that this run does not get: what processes outside it use, and what a hypervisor gives to other machines. The
    kernel's own threads are nobody's."""

    def __init__(self) -> None:
        self._before = self._used()

    def cpus(self, seconds: float) -> float:
        """CPUs gone so since it was made, so many seconds ago."""
        return max(0.0, (self._used() - self._before) / TICKS / seconds)

    def _used(self) -> int:
        """Ticks, those of children that have ended among them."""
        parents, ticks = {}, {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                pid, rest = int(stat.parent.name), stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended
            parents[pid], ticks[pid] = int(rest[1]), sum(map(int, rest[11:15]))
        own = {os.getpid()}
        return _stolen() + sum(used for pid, used in ticks.items() if not _descends(pid, parents, own))


def _stolen() -> int:
    return int(Path("/proc/stat").read_text().split(maxsplit=9)[8])


KERNEL_THREADS = 2


def _descends(pid: int, parents: dict[int, int], own: set[int]) -> bool:
    while pid > 1:
        if pid in own or pid == KERNEL_THREADS:
            return True
        pid = parents.get(pid, 0)
    return False
