"""The outer daemon: when it reads nftables again, and what a failed reading does."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ferryman.errors import StartError
from ferryman.opennebula import database, holder, names, outer, state
from ferryman.opennebula.database import Content, Endpoint
from ferryman.opennebula.state import State


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(names, "RUN", str(tmp_path))
    monkeypatch.setattr(names, "PUBLISHED", str(tmp_path / "settings.conf"))
    monkeypatch.setattr(database, "read", lambda: Content({"br0": [Endpoint(5030, "192.0.2.1", 5030)]}))
    monkeypatch.setattr(state, "read", State)
    return tmp_path


@pytest.fixture
def events() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Where changes are told, and who tells them."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with here, there:
        here.setblocking(False)
        yield here, there


def test_a_change_of_thousands_of_events_is_one(
    events: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outer, "REST", 0.01)
    here, there = events
    there.setblocking(False)
    with contextlib.suppress(BlockingIOError):  # as many as there is room for
        while True:
            there.send(b"event")
    asyncio.run(outer._calm(here))
    with pytest.raises(BlockingIOError):
        here.recv(1)


def test_changes_that_never_end_count_after_a_while(
    events: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else may write nftables a hundred times a second: no storm of readings, and no end of waiting."""
    monkeypatch.setattr(outer, "REST", 0.02)
    here, there = events

    async def storm() -> float:
        async def tell() -> None:
            while True:
                there.send(b"event")
                await asyncio.sleep(0.005)

        telling = asyncio.create_task(tell())
        began = time.monotonic()
        await asyncio.wait_for(outer._calm(here), 60)
        telling.cancel()
        return time.monotonic() - began

    assert asyncio.run(storm()) >= 0.2


def test_events_that_were_lost_are_events() -> None:
    class Overflown:
        """A netlink socket of which the kernel has thrown events away."""

        codes = iter((errno.ENOBUFS, errno.EAGAIN, errno.EAGAIN))

        def recv(self, size: int) -> bytes:
            raise OSError(next(self.codes), "")

    events = Overflown()
    assert outer._drain(events)  # type: ignore[arg-type]
    assert not outer._drain(events)  # type: ignore[arg-type]


@pytest.mark.parametrize("failure", [StartError("nft: busy"), OSError(errno.EAGAIN, "fork"), PermissionError("x")])
def test_a_reading_that_fails_makes_no_plan(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    def fail() -> None:
        raise failure

    monkeypatch.setattr(database, "read", fail)
    result = outer.Reader().load(False)
    assert (result.plan, result.messages) == (None, [str(failure)])


@pytest.mark.parametrize("broken", ["folder", "latin"])
def test_settings_that_cannot_be_read_make_no_plan(folder: Path, broken: str) -> None:
    """They are not the same as none: limits and remotes would be gone."""
    if broken == "folder":
        (folder / "settings.conf").mkdir()
    else:
        (folder / "settings.conf").write_bytes(b"\xff")
    assert outer.Reader().load(False).plan is None


def test_a_bridge_without_its_daemon_is_left_out() -> None:
    result = outer.Reader().load(False)
    assert result.plan is not None
    assert result.plan.listeners == ()
    assert result.messages == ["bridge br0: one_tproxy_br0 is not running; `ferryman tproxy heal` starts it"]


def test_a_bridge_whose_daemon_died_is_no_matter_of_the_rest(folder: Path) -> None:
    """Its socket is still there, and nobody behind it."""
    holder.key.cache_clear()
    holder.make_key()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(holder.path("br0"))
    result = outer.Reader().load(False)
    holder.key.cache_clear()
    assert result.plan is not None
    assert [listener.bind for listener in result.plan.listeners] == [()]
    (message,) = result.messages
    assert message.startswith("bridge br0: cannot listen on 169.254.16.9:5030: ")
