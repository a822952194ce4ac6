"""ferryman start, and what talks to the process it leaves behind: status, reload, drain, stop."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import Result

from .conftest import Ferryman

TEXT = """\
listeners:
  web:
    bind: unix@{folder}/web.sock
    servers: unix@{folder}/server.sock
"""


@dataclass(frozen=True, slots=True)
class Background:
    """A folder with a configuration, and command lines that know its control socket."""

    folder: Path
    ferryman: Ferryman

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "FERRYMAN_CONTROL": f"{self.folder}/control.sock"}

    def start(self, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ferryman", "start", "ferryman.yaml", *options],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def __call__(self, *arguments: str) -> Result:
        return self.ferryman(*arguments, env=self.environment)

    def write(self, text: str) -> None:
        (self.folder / "ferryman.yaml").write_text(text.format(folder=self.folder))

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(60)
        client.connect(f"{self.folder}/web.sock")
        return client


@pytest.fixture
def background(tmp_path: Path, ferryman: Ferryman) -> Iterator[Background]:
    there = Background(tmp_path, ferryman)
    there.write(TEXT)
    yield there
    if (tmp_path / "control.sock").exists():
        there("stop")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(f"{tmp_path}/server.sock")
        listening.listen()
        listening.settimeout(60)
        yield listening


def test_start_status_reload_stop(background: Background) -> None:
    started = background.start("--workers", "1", "--log-file", "ferryman.log")
    assert (started.returncode, started.stderr) == (0, "")
    pid = int(started.stdout.rpartition(" ")[2])
    log = str(background.folder / "ferryman.log")
    assert [os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)] == ["/dev/null", log, log]
    assert os.getsid(pid) not in (os.getsid(0), pid)

    status = background("status")
    assert f"process {pid}, up " in status.stdout
    assert "1 of 1 workers" in status.stdout
    assert "up, 1 of 1 usable" in status.stdout
    assert json.loads(background("status", "--json").stdout)["process"]["pid"] == pid

    background.write(TEXT.replace("web:", "shop:"))
    assert background("reload").exit_code == 0
    assert "\nshop " in background("status").stdout

    background.write(TEXT + "    bnd: 1\n")
    refused = background("reload")
    assert refused.exit_code == 1
    assert "ferryman.yaml:5:5: error: unknown key" in refused.stderr
    assert "stays as it was" in refused.stderr
    assert "\nshop " in background("status").stdout

    stopped = background("stop")
    assert (stopped.exit_code, stopped.stdout) == (0, f"process {pid} has ended\n")
    assert background("status").exit_code == 1
    assert "is ready" in (background.folder / "ferryman.log").read_text()


def test_drain_waits_for_the_connections(background: Background, server: socket.socket) -> None:
    assert background.start("--workers", "1").returncode == 0
    with background.connect() as client:
        client.sendall(b"still here")
        connection, _ = server.accept()
        with connection:
            waited = background("drain", "--timeout", "0")
            assert waited.exit_code == 1
            assert "is still draining after 0 s: 1 connection left" in waited.stderr
            assert connection.recv(100) == b"still here"
            connection.sendall(b"so am I")
            assert client.recv(100) == b"so am I"
    ended = background("drain")
    assert ended.exit_code == 0 or "no ferryman is running" in ended.stderr


def test_start_says_why_it_did_not(background: Background) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(f"{background.folder}/web.sock")
        other.listen()
        result = background.start()
    assert (result.returncode, result.stdout) == (1, "")
    assert "cannot listen on unix@" in result.stderr


def test_start_refuses_a_bad_configuration(background: Background) -> None:
    background.write("listeners: {{web: {{bind: 1}}}}\n")
    result = background("start", f"{background.folder}/ferryman.yaml")
    assert result.exit_code == 1
    assert "ferryman.yaml:1:25: error: " in result.stderr


def test_start_refuses_a_log_file_it_cannot_write(background: Background) -> None:
    result = background("start", f"{background.folder}/ferryman.yaml", "--log-file", "/nowhere/at/all.log")
    assert result.exit_code == 1
    assert "cannot write to /nowhere/at/all.log" in result.stderr
