"""Network namespaces, the processes in them, and their end.

Names begin with the prefix of the run and everything stands under its directory, so that two runs never meet, and the script
around this program can remove what is left if it is killed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

PATIENCE = 10.0  # seconds in which something that was started must be there


class Failure(Exception):
    """Something does not work, in words for people."""


class Process:
    """A process of a namespace that runs beside this one."""

    def __init__(self, child: subprocess.Popen[bytes], log: Path) -> None:
        self._child, self.log = child, log
        self.pid = child.pid

    def finish(self, limit: float) -> None:
        """Waits until it ends by itself."""
        try:
            status = self._child.wait(limit)
        except subprocess.TimeoutExpired:
            self.end()
            raise Failure(f"{self.log.stem} did not end in {limit:.0f} s") from None
        if status != 0:
            raise Failure(f"{self.log.stem} failed: {self.tail()}")

    def end(self) -> None:
        """Ends it: politely, then not."""
        if self._child.poll() is None:
            self._child.terminate()
            self.thaw()
            try:
                self._child.wait(5)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()

    def freeze(self) -> None:
        """Lets it use no CPU until it is thawed."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on."""
        self._signal(signal.SIGCONT)

    def pin(self, cpus: set[int]) -> None:
        """Binds all of its threads to these CPUs."""
        for task in os.listdir(f"/proc/{self.pid}/task"):
            os.sched_setaffinity(int(task), cpus)

    def listens(self, protocol: str, port: int) -> bool:
        """Whether a socket of its namespace is bound to the port (TCP: listens there)."""
        try:
            lines = Path(f"/proc/{self.pid}/net/{protocol}").read_text().splitlines()[1:]
        except OSError:
            return False
        fields = [line.split() for line in lines]
        return any(one[1].endswith(f":{port:04X}") and (protocol == "udp" or one[3] == "0A") for one in fields)

    def alive(self) -> bool:
        """Whether it still runs."""
        return self._child.poll() is None

    def tail(self) -> str:
        """The last of what it said."""
        return " ".join(self.log.read_text(errors="replace").split()[-40:]) or "it said nothing"

    def _signal(self, number: signal.Signals) -> None:
        if self._child.poll() is None:
            self._child.send_signal(number)


class Lab:
    """Everything that one run has made; closing it removes all."""

    def __init__(self, prefix: str, directory: Path) -> None:
        self.prefix, self.directory = prefix, directory
        self._netns: list[str] = []
        self._processes: list[Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes):
            process.end()
        for name in self._netns:
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)

    def netns(self, name: str) -> str:
        """Makes a namespace; its full name."""
        full = f"{self.prefix}-{name}"
        command(["ip", "netns", "add", full])
        self._netns.append(full)
        command(["ip", "-n", full, "link", "set", "lo", "up"])
        sysctl(full, "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
        return full

    def spawn(self, netns: str, name: str, words: Sequence[str], environment: dict[str, str] | None = None) -> Process:
        """Starts a process in a namespace; what it says goes into a file of its name. It does not outlive this program, whatever
        ends that."""
        log = self.directory / f"{netns}.{name}"
        with log.open("wb") as out:
            child = subprocess.Popen(
                ["ip", "netns", "exec", netns, "setpriv", "--pdeathsig", "KILL", *words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
            )
        process = Process(child, log)
        self._processes.append(process)
        return process

    def end(self, process: Process) -> None:
        """Ends a process and forgets it."""
        process.end()
        self._processes.remove(process)


def command(words: Sequence[str], *, text: str | None = None, limit: float = 30) -> str:
    """Runs to the end; what it printed. Whatever fails says which command and why."""
    try:
        done = subprocess.run(words, input=text or "", capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        raise Failure(f"{' '.join(words)} did not end in {limit:.0f} s") from None
    if done.returncode != 0:
        raise Failure(f"{' '.join(words)} failed: {' '.join((done.stderr or done.stdout).split()[:60])}")
    return done.stdout


def inside(netns: str, words: Sequence[str], *, text: str | None = None, limit: float = 30) -> str:
    """The same in a namespace."""
    return command(["ip", "netns", "exec", netns, *words], text=text, limit=limit)


def answer_of(netns: str, words: Sequence[str], limit: float) -> dict[str, Any]:
    """Runs a program in a namespace that prints one JSON object."""
    answer: dict[str, Any] = json.loads(inside(netns, words, limit=limit))
    return answer


def sysctl(netns: str, *settings: str) -> None:
    """Settings of a namespace."""
    inside(netns, ["sysctl", "-qw", *settings])


def until(what: str, done: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Waits for something that takes a moment."""
    end = time.monotonic() + patience
    while not done():
        if time.monotonic() > end:
            raise Failure(f"waited {patience:.0f} s for {what}")
        time.sleep(0.02)
