"""Going to the background: the parent learns what became of the child, whatever it is."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from ferryman.controlplane import background
from ferryman.errors import StartError

Ready = Callable[[], None]
Start = Callable[[Callable[[Ready], int], str], int]


@pytest.fixture
def start(capfd: pytest.CaptureFixture[str]) -> Start:
    """background.start with the process's own descriptors, not those of pytest."""

    def outside(body: Callable[[Ready], int], log_file: str) -> int:
        with capfd.disabled():
            return background.start(body, log_file)

    return outside


def test_the_parent_comes_back_when_the_child_is_ready(start: Start, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    def body(ready: Ready) -> int:
        ready()
        print("ready was said")
        with open(fifo) as end:
            end.read()
        return 0

    pid = start(body, str(tmp_path / "log"))
    descriptor = os.pidfd_open(pid)
    try:
        with open(fifo, "w"):
            assert select.select([descriptor], [], [], 0)[0] == []
        assert select.select([descriptor], [], [], 60)[0] == [descriptor]
    finally:
        os.close(descriptor)
    assert (tmp_path / "log").read_text() == "ready was said\n"


def test_a_refusal_is_told_to_the_parent(start: Start, tmp_path: Path) -> None:
    def body(ready: Ready) -> int:
        raise StartError("the port is taken")

    with pytest.raises(StartError, match="the port is taken"):
        start(body, "")
    with pytest.raises(StartError, match="the port is taken"):
        start(body, str(tmp_path / "log"))
    assert (tmp_path / "log").read_text() == "ferryman: the port is taken\n"


def test_a_bug_is_told_to_the_parent_and_recorded(start: Start, tmp_path: Path) -> None:
    def body(ready: Ready) -> int:
        raise LookupError("lost")

    with pytest.raises(StartError, match="LookupError: lost"):
        start(body, str(tmp_path / "log"))
    assert "Traceback" in (tmp_path / "log").read_text()


def test_an_end_without_a_word_is_told_too(start: Start, tmp_path: Path) -> None:
    with pytest.raises(StartError, match="ended before it was ready; `ferryman run` shows"):
        start(lambda ready: 1, "")
    with pytest.raises(StartError, match="; see /"):
        start(lambda ready: 1, str(tmp_path / "log"))


def test_it_goes_on_when_its_parent_was_killed_meanwhile(tmp_path: Path) -> None:
    """What it has taken over by then would be lost otherwise."""
    begun, done = tmp_path / "begun", tmp_path / "done"
    os.mkfifo(begun)

    def body(ready: Callable[[], None]) -> int:
        with open(begun, "w") as said:
            said.write(str(os.getpid()))
        with open(begun) as heard:  # that the parent is gone
            heard.read()
        ready()
        done.touch()
        return 0

    parent = os.fork()
    if not parent:
        background.start(body, "")
        os._exit(1)
    with open(begun) as heard:
        child = os.pidfd_open(int(heard.read()))
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    with open(begun, "w"):
        pass
    select.select([child], [], [])
    os.close(child)
    assert done.exists()
