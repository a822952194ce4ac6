"""Runs ferryman for a test, as a user would: a configuration, the command line, real sockets, its own log.

Used by every e2e test through the fixtures of conftest.py. Waits for conditions, never for time.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from ferryman.controlplane.control import Client
from ferryman.errors import ControlError

T = TypeVar("T")

PATIENCE = 120.0
"""Seconds: longer than any machine needs, so that it is no test of the machine."""


def until(condition: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """Wait until `condition` gives something true and give it back; fail saying `what` was waited for."""
    deadline = time.monotonic() + seconds
    pause = 0.005
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain for {what}"
        threading.Event().wait(pause)
        pause = min(pause * 1.5, 0.1)
    return value


# by process: other runs of the tests on the same machine begin elsewhere
_PORTS = itertools.count(12000 + 5000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) + os.getpid() % 97 * 40)


def free_port(host: str = "127.0.0.1") -> int:
    """A port for a listener: below the kernel's own range, so no connection takes it; each test process has its own."""
    for port in _PORTS:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock, suppress(OSError):
            sock.bind((host, port))
            return port
    raise AssertionError("unreachable: the ports do not end")


class Ferry:
    """One running ferryman."""

    def __init__(
        self,
        folder: Path,
        text: str,
        name: str,
        *arguments: str,
        environment: dict[str, str] | None = None,
        prefix: Sequence[str] = (),  # a command that runs ferryman
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.file = folder / name
        self.file.write_text(text)
        self.control = str(folder / "control.sock")
        self.log_file = folder / "log"
        self._log = open(self.log_file, "ab")  # noqa: SIM115
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "ferryman", "run", str(self.file), "--control", self.control, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
        self.client = Client(self.control)

    def wait_ready(self) -> Ferry:
        until(lambda: self.process.poll() is not None or self._answers(), "ferryman to start")
        assert self.process.poll() is None, f"ferryman ended with {self.process.returncode}:\n{self.log}"
        return self

    def _answers(self) -> bool:
        try:
            self.client.status()
        except ControlError:
            return False
        return True

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def lines(self) -> list[dict[str, Any]]:
        """The JSON access log so far; the last line may be only half written."""
        whole = self.log.rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]

    def line(self, matches: Callable[[dict[str, Any]], bool] = lambda line: True) -> dict[str, Any]:
        """The first access-log line that fits, waiting for it."""
        return until(lambda: next((line for line in self.lines() if matches(line)), None), "an access-log line")

    def status(self) -> dict[str, Any]:
        return self.client.status()

    def server(self, name: str) -> dict[str, Any]:
        rows = (row for backend in self.status()["backends"] for row in backend["servers"])
        row: dict[str, Any] = next(row for row in rows if row["name"] == name)
        return row

    def listener(self, name: str) -> dict[str, Any]:
        row: dict[str, Any] = next(row for row in self.status()["listeners"] if row["name"] == name)
        return row

    def workers(self) -> list[int]:
        return list(self.status()["process"]["worker_pids"])

    def descriptors(self) -> int:
        """Open descriptors of all workers together."""
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.workers())

    def memory(self) -> int:
        """Private memory of all workers, bytes."""
        total = 0
        for pid in self.workers():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith(("Private_Dirty:", "Private_Clean:")):
                    total += int(line.split()[1]) * 1024
        return total

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        """End it and give the exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(PATIENCE)
            raise AssertionError(f"ferryman did not stop:\n{self.log}") from None
        finally:
            self._log.close()
        said = self.log.replace("TLS alert internal error", "")  # a peer may send that
        assert "internal error" not in said, self.log
        assert "Traceback" not in self.log, self.log
        return status
