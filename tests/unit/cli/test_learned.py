"""ferryman learned: asked over a real control socket, which a small supervisor serves."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from ferryman.cli.learned import table
from ferryman.controlplane.control import control_app
from ferryman.controlplane.snapshot import Snapshot
from ferryman.controlplane.web import WebServer

from .conftest import Ferryman

ENTRIES = [
    {"listener": "out", "client": "192.0.2.7", "name": "a.example", "seconds": 3599},
    {"listener": "out", "client": "192.0.2.8", "name": "a.example", "seconds": 42},
    {"listener": "in", "client": "192.0.2.7", "name": "b.example", "seconds": 1},
]


class Supervisor:
    """What the control API acts on, as far as this verb goes."""

    def __init__(self) -> None:
        self.forgotten: list[tuple[str, str, str]] = []

    def learned_entries(self) -> list[dict[str, Any]]:
        return ENTRIES

    def forget_learned(self, listener: str, client: str, name: str) -> int:
        self.forgotten.append((listener, client, name))
        return 2

    def snapshot(self) -> Snapshot:
        raise AssertionError("not asked for")

    async def reload(self) -> tuple[bool, list[str]]:
        raise AssertionError("not asked for")

    def begin_stop(self, drain: bool) -> None:
        raise AssertionError("not asked for")


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    made = Supervisor()
    path = str(tmp_path / "control")
    monkeypatch.setenv("FERRYMAN_CONTROL", path)
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    sock.listen()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = WebServer(control_app(made))
    asyncio.run_coroutine_threadsafe(server.start([sock]), loop).result(10)
    yield made
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(60)
    loop.close()
    sock.close()


def test_a_list(supervisor: Supervisor, ferryman: Ferryman) -> None:
    done = ferryman("learned")
    assert done.exit_code == 0
    assert done.output.splitlines() == [
        "LISTENER  CLIENT     NAME       FOR",
        "out       192.0.2.7  a.example  59m59s",
        "out       192.0.2.8  a.example  42s",
        "in        192.0.2.7  b.example  1s",
    ]


def test_only_some(supervisor: Supervisor, ferryman: Ferryman) -> None:
    assert json.loads(ferryman("learned", "--json").output) == ENTRIES
    assert json.loads(ferryman("learned", "--json", "--client", "192.0.2.7").output) == [ENTRIES[0], ENTRIES[2]]
    chosen = ferryman("learned", "--json", "--client", "192.0.2.7", "--name", "a.example", "--listener", "out")
    assert json.loads(chosen.output) == ENTRIES[:1]
    assert ferryman("learned", "--name", "c.example").output == "nothing is learned at the moment\n"


def test_forgetting(supervisor: Supervisor, ferryman: Ferryman) -> None:
    assert ferryman("learned", "--forget").output == "2 forgotten\n"
    assert ferryman("learned", "--forget", "--client", "192.0.2.7", "--json").output == '{"forgotten": 2}\n'
    assert supervisor.forgotten == [("", "", ""), ("", "192.0.2.7", "")]


def test_nobody_there(tmp_path: Path, ferryman: Ferryman) -> None:
    done = ferryman("learned", "--control", str(tmp_path / "nothing"))
    assert done.exit_code == 1
    assert "no ferryman is running" in done.stderr


def test_names_cannot_draw_on_the_terminal() -> None:
    text = click.unstyle(table([{**ENTRIES[0], "name": "a\x1b[31m"}]))
    assert "\x1b" not in text
