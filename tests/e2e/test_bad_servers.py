"""Servers that refuse, stay silent, vanish or break off: the client learns it, the log says it, others go on."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from ferry import PATIENCE, Ferry, free_port, until
from servers import EchoServer

pytestmark = pytest.mark.twin

RESET = b"\1\0\0\0\0\0\0\0"


class Site:
    """A listener for each way in which servers can be bad."""

    def __init__(self, start: Callable[..., Ferry], stack: ExitStack) -> None:
        self.echo = EchoServer()
        stack.callback(self.echo.close)
        self.breaking = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        full = stack.enter_context(full_server())
        nobody = f"127.0.0.1:{free_port()}"
        breaking = f"127.0.0.1:{self.breaking.getsockname()[1]}"
        backends = {
            "refusing": f"servers: ['{nobody}'], retries: 0",
            "first": f"servers: ['{nobody}', '{self.echo.address}'], retries: 1, balance: first",
            "source": f"servers: ['{nobody}', '{self.echo.address}'], retries: 1, balance: source",
            "full": f"servers: ['{full}'], retries: 0, connect_timeout: 300ms",
            "patient": f"servers: ['{full}'], retries: 0, connect_timeout: 5m",
            "silent": f"servers: ['{self.echo.address}'], server_timeout: 300ms",
            "breaking": f"servers: ['{breaking}']",
            "checked": f"servers: ['{nobody}'], check: {{interval: 50ms, fall: 1}}",
        }
        self.ports = {name: free_port() for name in backends}
        listeners = "".join(
            f"  {name}: {{bind: '127.0.0.1:{port}', client_timeout: 5m, backend: {{{backends[name]}}}}}\n"
            for name, port in self.ports.items()
        )
        self.ferry = start(f"listeners:\n{listeners}")

    def connect(self, listener: str, source: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.ports[listener]), PATIENCE, (source, 0))

    def outcome(self, listener: str) -> str:
        """How a client that only connects is ended. A reset may be so quick that it meets the connecting already."""
        try:
            with self.connect(listener) as sock:
                return closed_by(sock)
        except ConnectionResetError:
            return "rst"

    def lines(self, listener: str) -> list[dict[str, Any]]:
        return [line for line in self.ferry.lines() if line["listener"] == listener]

    def line(self, listener: str) -> dict[str, Any]:
        return self.ferry.line(lambda line: line["listener"] == listener)


def closed_by(sock: socket.socket) -> str:
    try:
        return "fin" if sock.recv(1) == b"" else "data"
    except ConnectionResetError:
        return "rst"


@contextmanager
def full_server() -> Iterator[str]:
    """A server whose queue is full: connections to it are not answered."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        fillers = []
        try:
            for _ in range(4):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(server.getsockname())
                fillers.append(filler)
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            for filler in fillers:
                filler.close()


@pytest.fixture(scope="module")
def site(run_shared_ferry: Callable[..., Ferry], at_the_end: ExitStack) -> Site:
    return Site(run_shared_ferry, at_the_end)


def test_a_refusal_is_passed_on_as_a_reset(site: Site) -> None:
    assert site.outcome("refusing") == "rst"
    line = site.line("refusing")
    assert (line["code"], line["how"]) == ("SC", "rst")
    assert "Connection refused" in line["reason"]


def test_a_refusing_server_costs_a_retry_and_another_answers(site: Site) -> None:
    with site.connect("first") as sock:
        sock.sendall(b"through")
        assert sock.recv(10) == b"through"
    line = site.line("first")
    assert (line["server"], line["retries"], line["redispatched"]) == (site.echo.address, 1, True)


def test_balance_source_moves_to_another_server_too(site: Site) -> None:
    for number in range(2, 8):
        with site.connect("source", f"127.0.0.{number}") as sock:
            sock.sendall(b"through")
            assert sock.recv(10) == b"through"
    until(lambda: len(site.lines("source")) == 6, "six log lines")
    assert any(line["redispatched"] for line in site.lines("source")), "some clients hash to the dead server"


def test_a_server_that_does_not_answer_is_given_up_in_time(site: Site) -> None:
    assert site.outcome("full") == "rst"
    line = site.line("full")
    assert (line["code"], line["how"]) == ("sC", "timeout")
    assert "no answer within 0.3 s" in line["reason"]


def test_a_client_that_gives_up_meanwhile_frees_everything(site: Site) -> None:
    until(lambda: site.ferry.status()["process"]["counts"]["sessions_now"] == 0, "what was before to end")
    before = site.ferry.descriptors()
    with site.connect("patient") as sock:
        until(lambda: site.ferry.listener("patient")["counts"]["sessions_now"] == 1, "the server to be tried")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    assert site.line("patient")["code"] == "CC"
    until(lambda: site.ferry.descriptors() <= before, "descriptors to be given back")


def test_a_server_that_accepts_and_says_nothing_times_out(site: Site) -> None:
    with site.connect("silent") as sock:
        assert closed_by(sock) == "fin"
    line = site.line("silent")
    assert (line["code"], line["how"]) == ("sD", "timeout")


def test_a_server_that_breaks_off_is_a_reset_for_the_client(site: Site) -> None:
    with site.connect("breaking") as sock:
        connection, _ = site.breaking.accept()
        sock.sendall(b"question")
        assert connection.recv(100) == b"question"
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        connection.close()
        assert closed_by(sock) == "rst"
    line = site.line("breaking")
    assert (line["code"], line["how"], line["ended_by"]) == ("SD", "rst", "server")


def test_without_any_server_the_client_is_refused_at_once(site: Site) -> None:
    def state() -> str:
        (backend,) = (row for row in site.ferry.status()["backends"] if row["name"] == "checked")
        return str(backend["servers"][0]["status"])

    until(lambda: state() == "DOWN", "the check to fail")
    assert "has no server available!" in site.ferry.log

    def refused() -> bool:
        """Workers are told of it a moment later."""
        assert site.outcome("checked") == "rst"
        return any("no server available" in line["reason"] for line in site.lines("checked"))

    until(refused, "the reason in the log")
