"""Daemons that forward between guests in namespaces, for tests of their flow logs."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable


class Guests:
    """Network namespaces, by short names; removed at the end of a `with`."""

    def __init__(self, *names: str) -> None:
        self.names = {name: f"fl{os.getpid()}{name}" for name in names}

    def __enter__(self) -> Guests:
        for netns in self.names.values():
            subprocess.run(["ip", "netns", "add", netns], check=True)
        return self

    def __exit__(self, *_: object) -> None:
        for netns in self.names.values():
            subprocess.run(["ip", "netns", "delete", netns], check=False)

    def command(self, guest: str, line: str, *words: str) -> list[str]:
        """A command line (words separated by blanks), and words that hold blanks, as they are started in a guest."""
        return ["ip", "netns", "exec", self.names[guest], *line.split(), *words]

    def run(self, guest: str, line: str) -> str:
        """Runs a command in a guest, which must succeed; its output."""
        ran = subprocess.run(self.command(guest, line), capture_output=True, text=True, timeout=30, check=False)
        if ran.returncode:
            give_up(f"{guest}: {line}: exit {ran.returncode}\n{ran.stdout}{ran.stderr}")
        return ran.stdout

    def python(self, guest: str, program: str) -> str:
        """Runs a program in a guest; what it says on standard error."""
        command = self.command(guest, "python3 -c", program)
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stderr

    def start(self, guest: str, line: str, *words: str) -> subprocess.Popen:
        """Starts a command in a guest."""
        quiet = subprocess.DEVNULL
        return subprocess.Popen(self.command(guest, line, *words), stdin=quiet, stdout=quiet, stderr=quiet)


class Daemon:
    """A running daemon."""

    def __init__(self, program: str, folder: str, **variables: str) -> None:
        self.folder, self.program = folder, program
        # The keys are in the file that the configuration names.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self.out = Path(folder, "out").open("ab")
        log = Path(folder, "log").open("ab")
        command = [program, "run", "--output", "json", f"{folder}/config.toml"]
        self.process = subprocess.Popen(
            command, env=environment | variables, stdin=subprocess.DEVNULL, stdout=self.out, stderr=log, process_group=0
        )
        # Whatever ends the test.
        atexit.register(self.process.kill)
        for _ in range(300):
            if self.whole_status() is not None:
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.fail("the daemon does not start")

    def whole_status(self) -> dict | None:
        """What it does; nothing while it does not answer."""
        command = [self.program, "status", "--socket", f"{self.folder}/control.sock", "--output", "json"]
        asked = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
        return json.loads(asked.stdout) if asked.returncode == 0 else None

    def status(self) -> list[dict] | None:
        """What each flow log has done."""
        whole = self.whole_status()
        return None if whole is None else whole["flow_logs"]

    def until(self, what: str, is_so: Callable[[dict], bool]) -> None:
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

    def totals(self) -> dict:
        """The last words of the last daemon that stopped."""
        return json.loads(Path(self.folder, "out").read_text().splitlines()[-1])

    def fail(self, what: str) -> None:
        """Ends the test, with the daemon's log."""
        give_up(f"{what}\n{Path(self.folder, 'log').read_text()}")


def wait_for(what: str, is_so: Callable[[], object]) -> None:
    """Waits until something is so."""
    for _ in range(200):
        if is_so():
            return
        time.sleep(0.02)
    give_up(f"never: {what}")


def give_up(what: str) -> None:
    """Ends the test."""
    sys.exit(f"{what}\ntest result: FAILED. 0 passed; 1 failed")
