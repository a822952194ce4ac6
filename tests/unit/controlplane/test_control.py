"""The control API and its client, over a real Unix socket."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from plans import StillView, shop

from ferryman.controlplane import control
from ferryman.controlplane.control import Client, control_app
from ferryman.controlplane.runtime import Session
from ferryman.controlplane.snapshot import Snapshot, take
from ferryman.controlplane.web import WebServer
from ferryman.errors import ControlError

SESSION: Session = {
    "id": 7, "worker": 1, "listener": "web", "backend": "app", "server": "s1", "client": "192.0.2.7:40312",
    "sni": None, "age": 1.5, "idle": 0.5, "bytes_in": 1, "bytes_out": 2, "state": "carrying",
}  # fmt: skip


class Supervisor:
    """What the API acts on, without processes."""

    def __init__(self) -> None:
        self.view = StillView(shop())
        self.asked: list[str] = []
        self.answer = (True, ["a warning"])

    def snapshot(self) -> Snapshot:
        return take(self.view)

    async def reload(self) -> tuple[bool, list[str]]:
        self.asked.append("reload")
        return self.answer

    def begin_stop(self, drain: bool) -> None:
        self.asked.append("drain" if drain else "stop")

    async def sessions(self) -> list[Session]:
        return [SESSION]

    def learned_entries(self) -> list[dict[str, Any]]:
        return [{"listener": "out", "client": "192.0.2.7", "name": "a.example", "seconds": 59}]

    def forget_learned(self, listener: str, client: str, name: str) -> int:
        self.asked.append(f"forget {listener}/{client}/{name}")
        return 1


@pytest.fixture
def supervisor() -> Supervisor:
    return Supervisor()


@pytest.fixture
def client(supervisor: Supervisor, tmp_path: Path) -> Iterator[Client]:
    path = str(tmp_path / "control")
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    sock.listen()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = WebServer(control_app(supervisor))
    asyncio.run_coroutine_threadsafe(server.start([sock]), loop).result(60)
    yield Client(path)
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result(60)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(60)
    loop.close()
    sock.close()


def test_status_tells_nothing_of_what_the_plan_has_of_a_server(client: Client) -> None:
    rows = [server for backend in client.status()["backends"] for server in backend["servers"]]
    assert rows
    assert [row["state"].get("server") for row in rows] == [None] * len(rows), "there are private keys in it"


def test_status_is_the_snapshot_as_plain_data(client: Client) -> None:
    status = client.status()
    assert [row["name"] for row in status["listeners"]] == ["web", "both", "stats"]
    assert status["backends"][0]["servers"][1]["name"] == "a2"


def test_reload_tells_whether_and_what(client: Client, supervisor: Supervisor) -> None:
    assert client.reload() == {"ok": True, "messages": ["a warning"]}
    supervisor.answer = (False, ["f:1:1: no"])
    assert client.reload() == {"ok": False, "messages": ["f:1:1: no"]}


def test_stop_and_drain(client: Client, supervisor: Supervisor) -> None:
    client.stop()
    client.drain()
    assert supervisor.asked == ["stop", "drain"]


def test_what_was_learned_and_is_forgotten(client: Client, supervisor: Supervisor) -> None:
    assert client.learned() == [{"listener": "out", "client": "192.0.2.7", "name": "a.example", "seconds": 59}]
    assert client.forget_learned() == 1
    assert client.forget_learned("a&b", "2001:db8::1", "x y") == 1
    assert supervisor.asked == ["forget //", "forget a&b/2001:db8::1/x y"]


def test_what_the_api_does_not_have_is_an_error(client: Client) -> None:
    with pytest.raises(ControlError, match="answered 404"):
        client._ask("GET", "/v1/nothing")
    with pytest.raises(ControlError, match="answered 405"):
        client._ask("GET", "/v1/stop")


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="no ferryman is running behind"):
        Client(str(tmp_path / "nothing")).status()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead"))
    with pytest.raises(ControlError, match="no ferryman is running behind"):
        Client(str(tmp_path / "dead")).status()


@pytest.mark.parametrize(
    "answer", [b"", b"\xff\xff\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nno json", b"HTTP/1.1 200 OK\r\n\r\n[]"]
)
def test_what_answers_is_no_ferryman(tmp_path: Path, answer: bytes) -> None:
    path = str(tmp_path / "other")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen()

        def speak() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=speak)
        thread.start()
        with pytest.raises(ControlError):
            Client(path).status()
        thread.join(60)


def test_where_the_socket_is_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert control.default_path() == "/run/ferryman/control.sock"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    assert control.default_path() == "/run/user/1000/ferryman-control.sock"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert control.default_path() == f"/tmp/ferryman-{os.getuid()}/ferryman-control.sock"


def test_what_is_open_now(client: Client) -> None:
    assert client.sessions() == [SESSION]
