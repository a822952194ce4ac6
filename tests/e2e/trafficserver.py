"""Runs a real Traffic Server for a test: in the foreground, in a folder of its own, without cache and access log.

Used by the test that compares ferryman with it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from ferry import PATIENCE, until
from programs import program

_LIBRARIES = ("/usr/lib/trafficserver", "/usr/local/lib/trafficserver", "/usr/lib64/trafficserver")
_EMPTY = ("cache", "hosting", "parent", "plugin", "remap", "socks", "splitdns", "storage", "volume")
_OWN = """
CONFIG proxy.config.exec_thread.autoconfig INT 0
CONFIG proxy.config.exec_thread.limit INT 2
CONFIG proxy.config.log.logging_enabled INT 0
CONFIG proxy.config.http.cache.http INT 0
CONFIG proxy.config.hostdb.host_file.path STRING {etc}/hosts
CONFIG proxy.config.crash_log_helper STRING NULL
"""


def need() -> str:
    """The program; skips where it is missing."""
    path = program("traffic_server")
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    if "Traffic Server 9.2" not in version:
        pytest.skip(f"the cases are for Traffic Server 9.2, this is {version.strip()[:60]}")
    return path


class TrafficServer:
    """One running Traffic Server. `files` are its configuration, by name."""

    def __init__(self, place: Path, files: Mapping[str, str]) -> None:
        path = need()
        library = next((each for each in _LIBRARIES if os.path.isdir(each)), "/usr/lib/trafficserver")
        etc = place / "etc"
        for folder in ("etc", "var/run", "var/log", "var/cache", "share"):
            (place / folder).mkdir(parents=True)
        layout = {
            "prefix": place,
            "exec_prefix": place,
            "bindir": os.path.dirname(path),
            "sbindir": os.path.dirname(path),
            "sysconfdir": etc,
            "datadir": place / "share",
            "includedir": "/usr/include",
            "libdir": library,
            "libexecdir": f"{library}/modules",
            "localstatedir": place / "var",
            "runtimedir": place / "var/run",
            "logdir": place / "var/log",
            "cachedir": place / "var/cache",
        }
        (place / "runroot.yaml").write_text("".join(f"{key}: {value}\n" for key, value in layout.items()))
        (etc / "hosts").write_text("127.0.0.1 localhost\n")
        for name in _EMPTY:
            (etc / f"{name}.config").touch()
        for name, text in files.items():
            (etc / name).write_text(text + (_OWN.format(etc=etc) if name == "records.config" else ""))
        self._place = place
        with open(place / "output", "wb") as output:
            self.process = subprocess.Popen(
                [path, f"--run-root={place}/runroot.yaml"],
                cwd=place,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        until(lambda: self.process.poll() is not None or "traffic server running" in self.said(), "it to start")
        assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.said()}"

    def said(self) -> str:
        """Its messages."""
        logs = [self._place / "output", self._place / "var/log/diags.log"]
        return "".join(path.read_text(errors="replace") for path in logs if path.exists())

    def close(self) -> None:
        """End it; it has nothing to save."""
        self.process.kill()
        self.process.wait(PATIENCE)
        shutil.rmtree(self._place, ignore_errors=True)
