"""ferryman run: in the foreground, refused with every reason, reloaded and ended by signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from .conftest import Ferryman, Write

TEXT = """\
global: {{workers: 1}}
listeners:
  web:
    bind: unix@{folder}/web.sock
    servers: unix@{folder}/server.sock
"""

Run = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Start `ferryman run` with its output in a pipe."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "ferryman", *arguments, "--control", f"{tmp_path}/control.sock"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def until(output: IO[str] | None, word: str) -> str:
    """What was printed up to the line with this word; the test's timeout is the deadline."""
    assert output is not None
    lines: list[str] = []
    for line in output:
        lines.append(line)
        if word in line:
            return "".join(lines)
    raise AssertionError(f"no {word!r} in {''.join(lines)!r}")


def test_run_until_terminated(run: Run, write: Write, tmp_path: Path) -> None:
    process = run("run", write(TEXT.format(folder=tmp_path)))
    until(process.stdout, "is ready")
    assert os.path.exists(tmp_path / "web.sock")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert not os.path.exists(tmp_path / "web.sock")


def test_daemon_is_noted_not_obeyed(run: Run, write: Write, tmp_path: Path) -> None:
    process = run("run", write(TEXT.format(folder=tmp_path)), "--set", "global.daemon=true")
    assert "run stays in the foreground" in until(process.stdout, "is ready")


def test_standard_input_is_kept_for_a_reload(run: Run, tmp_path: Path) -> None:
    process = run("run", "-")
    assert process.stdin is not None
    process.stdin.write(TEXT.format(folder=tmp_path))
    process.stdin.close()
    process.stdin = None
    until(process.stdout, "is ready")
    process.send_signal(signal.SIGHUP)
    until(process.stdout, "reloaded")


def test_forward_runs_without_a_file(run: Run, tmp_path: Path) -> None:
    process = run("forward", f"unix@{tmp_path}/a.sock", f"unix@{tmp_path}/b.sock", "--workers", "1")
    until(process.stdout, "is ready")
    assert os.path.exists(tmp_path / "a.sock")


def test_every_mistake_is_printed_and_nothing_started(ferryman: Ferryman, write: Write) -> None:
    path = write("listeners:\n  a: {bind: 1}\n  b: {bnd: 2}\n")
    result = ferryman("run", path)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert f"{path}:2:" in result.stderr
    assert f"{path}:3:" in result.stderr


def test_what_the_machine_lacks_is_a_refusal_that_says_how_to_go_on(
    ferryman: Ferryman, write: Write, tmp_path: Path
) -> None:
    path = write(TEXT.format(folder=tmp_path).replace("workers: 1", "user: no-such-user, pidfile: /no/such/x.pid"))
    result = ferryman("run", path)
    assert result.exit_code == 1
    assert f"{path}:1:16: error: there is no user no-such-user on this machine" in result.stderr
    assert "--set global.user=NAME" in result.stderr
    assert "there is no folder /no/such for the file with the process id" in result.stderr
