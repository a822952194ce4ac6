"""The inner daemon: what is asked and answered, and what neither side believes of the other."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ferryman.opennebula import holder, names
from ferryman.opennebula.database import Endpoint
from ferryman.opennebula.holder import Holders, Place, ask
from ferryman.opennebula.native import plan
from ferryman.opennebula.settings import Settings
from ferryman.plan import Address

HOST = "127.0.0.1"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where sockets and key are."""
    monkeypatch.setattr(names, "RUN", str(tmp_path))
    monkeypatch.setattr(names, "log", lambda name: str(tmp_path / f"{name}.log"))
    monkeypatch.setattr(holder, "PATIENCE", 1.0)
    holder.key.cache_clear()
    holder.make_key()
    yield tmp_path
    holder.key.cache_clear()


@contextlib.contextmanager
def listening(bridge: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(holder.path(bridge))
        sock.listen()
        yield sock


def serve(sock: socket.socket, found: dict[Place, socket.socket]) -> None:
    with contextlib.suppress(SystemExit):
        holder._serve(sock, found, Log("br0"))


class Log(holder._Log):
    def write(self, severity: str, message: str) -> None:
        if message.startswith("Accept"):
            raise SystemExit  # the test is over
        super().write(severity, message)


@pytest.fixture
def held() -> Iterator[dict[Place, socket.socket]]:
    """A daemon for br0, and what it holds."""
    found: dict[Place, socket.socket] = {}
    with listening("br0") as sock:
        thread = threading.Thread(target=serve, args=(sock, found))
        thread.start()
        yield found
        sock.shutdown(socket.SHUT_RDWR)
        thread.join()
        for one in found.values():
            one.close()


@contextlib.contextmanager
def answering(say: Callable[[socket.socket], None]) -> Iterator[None]:
    """A strange daemon for br0: answers one question."""

    def serve(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            asking, _ = sock.accept()
            with asking:
                asking.recv(4096)
                say(asking)

    with listening("br0") as sock:
        thread = threading.Thread(target=serve, args=(sock,))
        thread.start()
        try:
            yield
        finally:
            thread.join()


def free_port() -> int:
    with socket.create_server((HOST, 0)) as sock:
        return int(sock.getsockname()[1])


def bind(port: int) -> tuple[dict[str, Any], socket.socket | None]:
    return ask("br0", {"do": "bind", "host": HOST, "port": port, "backlog": 5})


def keep(got: tuple[dict[str, Any], socket.socket | None]) -> None:
    """Let the daemon alone have it."""
    assert got[1] is not None
    got[1].close()


def test_the_key_is_for_root_alone_and_stays(folder: Path) -> None:
    before = holder.key()
    assert len(before) >= 32
    assert stat.S_IMODE((folder / "key").stat().st_mode) == 0o600
    holder.make_key()
    assert (folder / "key").read_text() == before


def test_a_socket_is_made_once_and_handed_over_again_and_again(held: dict[Place, socket.socket]) -> None:
    port = free_port()
    for _ in range(2):
        answer, sock = bind(port)
        assert answer == {}
        assert sock is not None
        with sock, socket.create_connection((HOST, port)) as client, sock.accept()[0] as accepted:
            assert accepted.getpeername() == client.getsockname()
    assert list(held) == [(HOST, port)]
    answer, _ = ask("br0", {"do": "list"})
    assert answer == {"held": [[HOST, port]], "pid": os.getpid(), "namespace": os.stat("/proc/self/ns/net").st_ino}


def test_who_has_the_answer_may_go(
    held: dict[Place, socket.socket], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log spoke of a question that was not understood, for each port there was."""
    send = socket.send_fds

    def send_and_see_it_go(sock: socket.socket, *what: Any) -> int:
        sent = send(sock, *what)
        assert sock.recv(1) == b""
        return sent

    monkeypatch.setattr(socket, "send_fds", send_and_see_it_go)
    keep(bind(free_port()))
    assert ask("br0", {"do": "list"})[0]["held"] == [list(place) for place in held]
    lines = (folder / "one_tproxy_br0.log").read_text().splitlines()
    assert [json.loads(line)["severity"] for line in lines] == ["info"]


def test_a_socket_that_is_released_is_closed(held: dict[Place, socket.socket]) -> None:
    port = free_port()
    keep(bind(port))
    assert ask("br0", {"do": "release", "host": HOST, "port": port}) == ({}, None)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, port))
    assert not held


@pytest.mark.usefixtures("held")
def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server((HOST, 0)) as other:
        assert bind(other.getsockname()[1]) == ({"errno": errno.EADDRINUSE}, None)


@pytest.mark.parametrize(
    "question",
    [
        b"", b"\n", b"{", b"[]", b"3", b'"do"', b"{}", b"\xff", b"[" * 4000,
        b'{"do": "list"}', b'{"do": "list", "key": "wrong"}', b'{"do": "list", "key": "\\ud800"}',
        b'{"do": "list", "key": 5}',
        b'{"key": KEY}', b'{"key": KEY, "do": "dance"}', b'{"key": KEY, "do": []}',
        b'{"key": KEY, "do": "bind", "host": "127.0.0.1", "port": 1e999, "backlog": 0}',
        b'{"key": KEY, "do": "bind", "host": "127.0.0.1", "port": 99999, "backlog": 0}',
        b'{"key": KEY, "do": "bind", "host": "127.0.0.1", "port": 0, "backlog": 99999999999999999999}',
        b'{"key": KEY, "do": "bind", "host": "\\u0000", "port": 1, "backlog": 0}',
    ],
)  # fmt: skip
def test_no_question_ends_it(held: dict[Place, socket.socket], question: bytes) -> None:
    """It holds what guests connect to."""
    port = free_port()
    keep(bind(port))
    with socket.socket(socket.AF_UNIX) as there:
        there.connect(holder.path("br0"))
        there.sendall(question.replace(b"KEY", json.dumps(holder.key()).encode()))
        there.shutdown(socket.SHUT_WR)
        data, descriptors, _, _ = socket.recv_fds(there, 4096, 1)
    assert (data, descriptors) == (b"", [])
    assert ask("br0", {"do": "list"})[0]["held"] == [[HOST, port]]
    assert list(held) == [(HOST, port)]


@pytest.mark.usefixtures("held")
def test_a_log_that_cannot_be_written_ends_nothing(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "one_tproxy_br0.log").mkdir()
    keep(bind(free_port()))
    assert "Bind 127.0.0.1:" in capfd.readouterr().out
    with open("/dev/full", "w") as full:
        out = os.dup(1)
        try:
            os.dup2(full.fileno(), 1)
            keep(bind(free_port()))
        finally:
            os.dup2(out, 1)
            os.close(out)


@pytest.mark.parametrize("said", [b"", b"\n", b"{", b"[]\n", b"[" * 5000 + b"\n", b"3\n", b"x" * (2 << 20), b"\xff\n"])
def test_a_strange_answer_is_a_value_error(said: bytes) -> None:
    with answering(lambda sock: sock.sendall(said)), pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        ask("br0", {"do": "list"})


def test_an_answer_that_comes_in_drops_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holder, "PATIENCE", 0.2)
    ended = threading.Event()

    def drop(sock: socket.socket) -> None:
        while not ended.wait(0.05):
            sock.sendall(b" ")

    with answering(drop):
        with pytest.raises(TimeoutError):
            ask("br0", {"do": "list"})
        ended.set()


def test_only_the_socket_that_was_asked_for_is_taken() -> None:
    """One that does not listen, one of another port, and what is none at all."""
    read, write = os.pipe()
    with socket.create_server((HOST, 0)) as other, socket.socket() as idle, socket.socket(socket.AF_UNIX) as unix:
        idle.bind((HOST, 0))
        for descriptor in (read, other.fileno(), idle.fileno(), unix.fileno()):
            port = idle.getsockname()[1]
            before = len(os.listdir("/proc/self/fd"))
            with (
                answering(lambda sock: socket.send_fds(sock, [b"{}\n"], [descriptor]) and None),  # noqa: B023
                pytest.raises(ValueError, match="it sent"),
            ):
                ask("br0", {"do": "bind", "host": HOST, "port": port, "backlog": 0})
            os.unlink(holder.path("br0"))
            assert len(os.listdir("/proc/self/fd")) == before, "and it is closed"
    os.close(read)
    os.close(write)


def local(*bridges: str) -> Any:
    """A plan for bridges whose services are at a loopback address of this namespace."""
    made, diagnostics = plan({bridge: [Endpoint(free_port(), HOST, 1)] for bridge in bridges}, Settings(), {})
    assert made is not None, diagnostics.found
    listeners = [
        replace(one, bind=tuple(replace(address, host=HOST) for address in one.bind)) for one in made.listeners
    ]
    return replace(made, listeners=tuple(listeners))


@pytest.mark.usefixtures("held")
def test_what_cannot_be_had_is_left_out_and_told() -> None:
    wanted = local("br0", "br1")
    holders = Holders()
    found, messages = holders.fetch(wanted)
    assert [len(listener.bind) for listener in found.listeners] == [1, 0]
    (message,) = messages
    assert message.startswith(f"bridge br1: cannot listen on {wanted.listeners[1].bind[0].text}: No such file")
    (address,) = found.listeners[0].bind
    with holders.bind(address, 5) as sock:
        assert sock.getsockname() == (HOST, address.port)
        assert not sock.getblocking()
        assert holders.fetch(wanted)[0].listeners[0].bind == (address,)
    holders.release(address)
    assert ask("br0", {"do": "list"})[0]["held"] == []


def test_one_that_does_not_answer_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holder, "PATIENCE", 0.3)
    monkeypatch.setattr(holder, "AGAIN", 300)
    asked = []
    real = holder.ask
    monkeypatch.setattr(holder, "ask", lambda *what: (asked.append(what), real(*what))[1])
    holders = Holders()
    addresses = [Address("inet", HOST, port, namespace=names.inner("br0")) for port in (1, 2, 3)]
    with listening("br0"):
        for address in addresses:
            with pytest.raises(TimeoutError, match="one_tproxy_br0 does not answer"):
                holders.bind(address, 0)
    assert len(asked) == 1


def test_an_error_is_an_oserror_whatever_it_says() -> None:
    address = Address("inet", HOST, 5030, namespace=names.inner("br0"))
    for said in (b"{}\n", b'{"errno": "x"}\n', b'{"errno": [98]}\n', b"[]\n"):
        with answering(lambda sock: sock.sendall(said)), pytest.raises(OSError, match="answer"):  # noqa: B023
            Holders().bind(address, 0)
        os.unlink(holder.path("br0"))
    with answering(lambda sock: sock.sendall(b'{"errno": 98}\n')), pytest.raises(OSError, match="in use") as caught:
        Holders().bind(address, 0)
    assert caught.value.errno == errno.EADDRINUSE


@pytest.mark.usefixtures("held")
def test_a_new_one_takes_over_what_the_old_one_holds() -> None:
    port = free_port()
    _, mine = bind(port)
    found = holder._inherit("br0")
    assert list(found) == [(HOST, port)]
    assert mine is not None
    with mine, found[HOST, port] as sock:
        assert sock.getsockname() == mine.getsockname()


def test_there_may_be_no_old_one() -> None:
    assert holder._inherit("br0") == {}
    with answering(lambda sock: sock.sendall(b'{"held": [[[], 1]], "x": 1}\n')):
        assert holder._inherit("br0") == {}
