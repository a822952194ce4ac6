"""Whatever comes over a runtime socket, every line is answered within bounds and nothing is raised.

Also: a client of level user changes nothing, and no answer holds a byte that was not text.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Collection
from pathlib import Path
from typing import NoReturn, cast

import driver

sys.path.append(str(Path(__file__).parents[1] / "unit" / "controlplane"))

from plans import StillView, session, shop

from ferryman.controlplane.runtime import MAX_LINE, RuntimeServer
from ferryman.controlplane.serverstate import Admin

MAX_ANSWER = 64 * 1024
"""Bytes that one command may answer with, for the plan used here."""


class Sink:
    """A writer that takes everything, and counts."""

    def __init__(self) -> None:
        self.taken = bytearray()
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.taken += data

    async def drain(self) -> None:
        assert len(self.taken) < MAX_LINE * MAX_ANSWER

    def close(self) -> None:
        self.closed = True

    async def wait_closed(self) -> None:
        assert self.closed


class ReadOnly(StillView):
    """A view whose every change is a failure."""

    def set_admin(self, server_id: int, admin: Admin) -> NoReturn:
        raise AssertionError("level user changed the state of a server")

    def set_weight(self, server_id: int, weight: int) -> NoReturn:
        raise AssertionError("level user changed a weight")

    def clear_maxima(self) -> NoReturn:
        raise AssertionError("level user cleared counters")

    clear_counters = clear_maxima

    async def kill(self, ids: Collection[int]) -> NoReturn:
        raise AssertionError("level user ended a session")


def talk(view: StillView, data: bytes, level: str) -> bytes:
    async def dialogue() -> bytes:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        sink = Sink()
        await RuntimeServer(view, 5.0).serve(reader, cast("asyncio.StreamWriter", sink), level)
        assert sink.closed
        return bytes(sink.taken)

    return asyncio.run(dialogue())


def one(data: bytes) -> None:
    data = data[: 2 * MAX_LINE]
    view = StillView(shop())
    view.live = [session(1), session(0x19, server="s1", backend="both")]
    answer = talk(view, data, "admin")
    answer.decode()
    first = data.split(b"\n", 1)[0]
    assert answer or not data or len(first) > MAX_LINE or b"quit" in first
    assert all(0 <= state.weight <= 256 for state in view.states)
    assert all(state.admin in ("ready", "drain", "maint") for state in view.states)
    talk(ReadOnly(shop()), data, "user")


SEEDS = [
    line.encode()
    for line in (
        "show info\n",
        "show stat 5 4 2 json\n",
        "show stat app -1 -1 typed up no-maint\n",
        "show servers state app;show backend;show version\n",
        "prompt\nshow sess\nshutdown session 0x1\nshutdown sessions server both/s1\nquit\n",
        "set server app/a1 state drain;set server app/a1 weight 50%;get weight app/a1\n",
        "set weight both/s1 256\n",
        "disable server app/a1;enable server app/a3\n",
        "clear counters all;clear counters\n",
        "user;help show;operator;show cli level\n",
        "set timeout cli 60;prompt\n\nbogus\\ \\;x\n",
    )
]

if __name__ == "__main__":
    driver.main(one, SEEDS)
