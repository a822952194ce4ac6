"""Connections to servers that are held ready: who gets them, how many there are, and that no dead one is given out."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from ferry import PATIENCE, Ferry, free_port, until
from pki import Pki
from servers import EchoServer
from talk import Talk

PREWARM = {
    "three": "{min: 3, rate: 0, idle: 1h}",
    "four": "{min: 4, rate: 0, idle: 1h}",
    "growing": "{min: 1, max: 5, idle: 5s}",
    "limited": "{min: 9, max: 9, rate: 0, idle: 1h}",
    "leaving": "{min: 2, rate: 0, idle: 1h}",
}
"""By the name of the listener, of its backend, and of the server in there."""


@pytest.fixture(scope="module")
def sites(run_shared_ferry: Callable[..., Ferry], at_the_end: ExitStack) -> dict[str, Site]:
    """One ferryman in front of an echo server for each of them."""
    echoes = {name: EchoServer(greeting=b"welcome " if name == "three" else b"", port=free_port()) for name in PREWARM}
    for echo in echoes.values():
        at_the_end.callback(echo.close)
    ports = {name: free_port() for name in PREWARM}
    listeners = "".join(f"  {name}: {{bind: '127.0.0.1:{ports[name]}', to: {name}}}\n" for name in PREWARM)
    backends = "".join(
        f"  {name}: {{servers: [{{address: '{echoes[name].address}', name: {name}"
        f"{', max_connections: 3' if name == 'limited' else ''}}}], retries: 0, prewarm: {prewarm}}}\n"
        for name, prewarm in PREWARM.items()
    )
    ferry = run_shared_ferry(f"global: {{workers: 1}}\nlisteners:\n{listeners}backends:\n{backends}")
    return {name: Site(ferry, name, ports[name], echoes[name]) for name in PREWARM}


class Site:
    """ferryman in front of one echo server."""

    def __init__(self, ferry: Ferry, name: str, port: int, echo: EchoServer) -> None:
        self.ferry, self.name, self.port, self.echo = ferry, name, port, echo

    def counts(self) -> dict[str, Any]:
        counts: dict[str, Any] = self.ferry.server(self.name)["counts"]
        return counts

    def held(self, number: int) -> None:
        """Wait until so many connections are open that no client uses."""
        until(lambda: len(self.echo.open) == number, f"{number} connections at the server")
        until(lambda: self.counts()["prewarmed_now"] == number, f"{number} connections to be counted")

    def talk(self, data: bytes = b"hello") -> bytes:
        with Talk(self.port) as talk:
            talk.send(data)
            talk.end()
            return talk.rest()

    def lines(self, number: int) -> list[dict[str, Any]]:
        """Those of so many clients."""

        def found() -> list[dict[str, Any]]:
            return [line for line in self.ferry.lines() if line["listener"] == self.name]

        until(lambda: len(found()) == number, "the log lines")
        return found()


@pytest.mark.twin
def test_clients_get_what_was_held_ready(sites: dict[str, Site]) -> None:
    site = sites["three"]
    site.held(3)
    data = bytes(range(256)) * 8000
    for number, said in enumerate((b"hello", data, b"")):
        assert site.talk(said) == b"welcome " + said
        line = site.lines(number + 1)[-1]
        assert (line["prewarmed"], line["times"]["connect"], line["code"]) == (True, 0, "--")
    site.held(3)
    assert site.echo.connections == 6, "each that was taken was replaced"
    counts = site.counts()
    assert (counts["prewarm_hits"], counts["prewarm_misses"], counts["sessions"]) == (3, 0, 3)


@pytest.mark.twin
def test_no_dead_connection_is_given_out(sites: dict[str, Site]) -> None:
    site = sites["four"]
    site.held(4)
    for round_ in range(3):
        how = (socket.SHUT_RDWR, socket.SHUT_WR)[round_ % 2]
        for connection in list(site.echo.open):
            with suppress(OSError):  # it was closed just now
                connection.shutdown(how)
        for _ in range(6):
            assert site.talk() == b"hello"
    site.held(4)


def test_it_grows_with_what_is_missing_and_shrinks_again(sites: dict[str, Site]) -> None:
    site = sites["growing"]
    site.held(1)
    with_all: list[Talk] = []
    try:
        (worker,) = site.ferry.workers()
        os.kill(worker, signal.SIGSTOP)  # so that all of them come at once
        try:
            for _ in range(9):
                talk = Talk(site.port)
                with_all.append(talk)
                talk.send(b"x")
        finally:
            os.kill(worker, signal.SIGCONT)
        for talk in with_all:
            assert talk.exactly(1) == b"x"
        assert site.counts()["prewarm_misses"] >= 4
        until(lambda: site.counts()["prewarmed_now"] == 5 and len(site.echo.open) == 9 + 5, "as many as there may be")
    finally:
        for talk in with_all:
            talk.sock.close()
    site.lines(9)
    site.held(1)
    assert site.talk() == b"hello"
    assert site.lines(10)[-1]["prewarmed"] is True


def test_a_place_that_is_held_ready_is_taken_from_the_server_s_limit(sites: dict[str, Site]) -> None:
    site = sites["limited"]
    site.held(3)
    with Talk(site.port) as one, Talk(site.port) as two:
        for talk in (one, two):
            talk.send(b"x")
            assert talk.exactly(1) == b"x"
        until(lambda: site.counts()["prewarmed_now"] == 1, "what is left of the places")
        until(lambda: len(site.echo.open) == 3, "no more than three at the server")
    site.held(3)


def test_a_server_that_cannot_be_reached_is_tried_again(
    sites: dict[str, Site], echo: Callable[..., EchoServer]
) -> None:
    site = sites["leaving"]
    site.held(2)
    site.echo.close()
    said = "backend leaving: no connection can be held ready: leaving: Connection refused"
    until(lambda: said in site.ferry.log, "the message")
    with suppress(ConnectionResetError), Talk(site.port) as talk:  # perhaps so soon that it meets the connecting
        assert talk.rest() == b""
    site.echo = echo(port=site.echo.port)
    site.held(2)
    assert site.talk() == b"hello"


def test_after_a_reload_there_are_those_of_the_new_plan_and_none_while_it_drains(
    run_ferry: Callable[..., Ferry], echo: Callable[..., EchoServer]
) -> None:
    server, port = echo(), free_port()
    text = f"""
global: {{workers: 1}}
listeners: {{web: {{bind: "127.0.0.1:{port}", to: b}}}}
backends: {{b: {{servers: [{{address: "{server.address}", name: s}}], prewarm: {{min: 2, rate: 0, idle: 1h}}}}}}
"""
    site = Site(run_ferry(text), "s", port, server)
    site.held(2)
    with Talk(site.port) as talk:
        talk.send(b"before")
        assert talk.exactly(6) == b"before"
        until(lambda: len(site.echo.open) == 3, "the one that was taken to be replaced")
        site.ferry.file.write_text(site.ferry.file.read_text().replace("min: 2", "min: 4"))
        assert site.ferry.client.reload()["ok"]
        until(lambda: len(site.echo.open) == 5, "four, and that of the client")
        until(lambda: site.counts()["prewarmed_now"] == 4, "four to be counted")
        talk.send(b"after")
        assert talk.exactly(5) == b"after"
        site.ferry.client.drain()
        until(lambda: len(site.echo.open) == 1, "nothing to be held ready")
        talk.send(b"still")
        assert talk.exactly(5) == b"still"
    assert site.ferry.process.wait(PATIENCE) == 0


def test_a_server_in_maintenance_is_left_alone(
    run_ferry: Callable[..., Ferry], echo: Callable[..., EchoServer]
) -> None:
    server, other = echo(), echo()
    port, checked = free_port(), socket.create_server(("127.0.0.1", free_port()))  # a port that nobody else gets
    ferry = run_ferry(
        f"""
global: {{workers: 1}}
listeners: {{web: {{bind: "127.0.0.1:{port}", to: b}}}}
backends:
  b:
    servers:
      - {{name: s, address: "{server.address}", check: {{interval: 200ms, timeout: 1m, fall: 1, rise: 1,
          address: "127.0.0.1:{checked.getsockname()[1]}"}}}}
      - {{name: other, address: "{other.address}"}}
    prewarm: {{min: 2, rate: 0, idle: 1h}}
"""
    )
    until(lambda: (len(server.open), len(other.open)) == (2, 2), "both")
    checked.close()
    until(lambda: not server.open, "nothing to be held ready of the server that is down")
    with Talk(port) as talk:
        talk.send(b"x")
        assert talk.exactly(1) == b"x"
    assert ferry.line()["server"] == "other"
    until(lambda: len(other.open) == 2, "the other's to be as before")


class TlsEcho:
    """Speaks TLS and sends back what it gets. `shaken`: the names it was asked for, once each handshake is over."""

    def __init__(self, pki: Pki) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pki.issue("server.pem", "inner.example"))
        self._context.sni_callback = lambda sock, name, context: setattr(sock, "asked", name)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.accepted = 0
        self.shaken: list[str | None] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            if not connection.recv(1, socket.MSG_PEEK):  # wrap_socket leaks what is closed already
                return
            with self._context.wrap_socket(connection, server_side=True) as tls:
                self.shaken.append(getattr(tls, "asked", None))
                while data := tls.recv(65536):
                    tls.sendall(data)
                tls.unwrap()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.mark.parametrize("fixed", [True, False])
def test_tls_is_begun_ahead_where_it_is_the_same_for_all(
    fixed: bool, run_ferry: Callable[..., Ferry], tmp_path: Path
) -> None:
    pki, port = Pki(tmp_path), free_port()
    shown = pki.issue("front.pem", "front.example")
    server = TlsEcho(pki)
    asked = "server_name: inner.example, alpn: none" if fixed else "verify_name: inner.example"
    try:
        ferry = run_ferry(
            f"""
global: {{workers: 1}}
listeners: {{web: {{bind: "127.0.0.1:{port}", tls: {{certificates: {shown}}}, to: b}}}}
backends:
  b:
    servers: [{{name: s, address: "{server.address}"}}]
    tls: {{ca: {pki.ca}, {asked}}}
    prewarm: {{min: 2, rate: 0, idle: 1h}}
"""
        )
        until(lambda: server.accepted == 2, "two connections")
        if fixed:
            until(lambda: server.shaken == ["inner.example"] * 2, "their handshakes")
        context = ssl.create_default_context(cafile=pki.ca)
        context.set_alpn_protocols(["h2"])
        data = bytes(range(256)) * 1000
        with (
            socket.create_connection(("127.0.0.1", port), PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname="front.example") as tls,
        ):
            for start in range(0, len(data), 32768):  # from one thread: an object of the ssl module is not for two
                piece = data[start : start + 32768]
                tls.sendall(piece)
                got = b""
                while len(got) < len(piece):
                    got += tls.recv(65536)
                assert got == piece
        line = ferry.line()
        assert line["prewarmed"] is True
        assert line["code"] == "--"
        if fixed:
            until(lambda: server.shaken == ["inner.example"] * 3, "the one that was taken to be replaced")
        else:
            assert server.shaken == ["front.example"], "a handshake only once it is known what to ask for"
        counts = ferry.server("s")["counts"]
        assert (counts["prewarm_hits"], counts["prewarm_misses"]) == (1, 0)
    finally:
        server.close()


def test_it_is_shown_on_the_page_and_in_metrics(
    run_ferry: Callable[..., Ferry], echo: Callable[..., EchoServer]
) -> None:
    server, port, pages = echo(), free_port(), free_port()
    ferry = run_ferry(
        f"""
global: {{workers: 2}}
listeners:
  web: {{bind: "127.0.0.1:{port}", to: b}}
  stats: {{bind: "127.0.0.1:{pages}", pages: {{}}}}
backends: {{b: {{servers: [{{name: s, address: "{server.address}"}}], prewarm: {{min: 2, rate: 0, idle: 1h}}}}}}
"""
    )
    until(lambda: len(server.open) == 4, "two of each worker")
    with Talk(port) as talk:
        talk.send(b"x")
        assert talk.exactly(1) == b"x"
        until(lambda: len(server.open) == 5, "its replacement")

    def page(path: str) -> str:
        with Talk(pages) as asking:
            asking.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return asking.rest().decode()

    said = "4 connections held ready, which"
    until(lambda: said in " ".join(page("/").split()), "the replacement to be counted")
    metrics = page("/metrics")
    for name, value in (("prewarmed_connections", 4), ("prewarm_hits_total", 1), ("prewarm_misses_total", 0)):
        assert f'ferryman_server_{name}{{proxy="b",server="s"}} {value}.0' in metrics
    dead = ferry.workers()[0]
    ferry.client.status()
    # a worker that dies takes what it held with it
    os.kill(dead, signal.SIGKILL)
    until(lambda: dead not in ferry.workers() and len(ferry.workers()) == 2, "another worker")
    until(lambda: ferry.server("s")["counts"]["prewarmed_now"] == 4, "four again")
