"""Clients that stop amidst the handshake where TLS ends: they are ended in time and keep nobody from being served."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from ferry import Ferry, free_port, until
from hostile import connect
from pki import Pki
from servers import EchoServer
from tests.unit.wire import hello_builder as build

TIMEOUT = 1.5
"""Seconds, the `handshake_timeout` of the listener."""


class Site:
    def __init__(self, run: Callable[..., Ferry], folder: Path, echo: EchoServer, timeout: float) -> None:
        self.pki, self.port = Pki(folder), free_port()
        self.ferry = run(
            f"""
global: {{workers: 1}}
listeners:
  web:
    bind: 127.0.0.1:{self.port}
    tls: {{certificates: {self.pki.issue("front.pem", "front.example")}, handshake_timeout: {timeout}s}}
    to: echo
backends:
  echo: {{servers: ["{echo.address}"]}}
"""
        )

    def ordinary(self) -> float:
        """Seconds that an ordinary client takes."""
        begun = time.monotonic()
        context = ssl.create_default_context(cafile=self.pki.ca)
        with connect(self.port) as plain, context.wrap_socket(plain, server_hostname="front.example") as sock:
            sock.sendall(b"ping")
            assert sock.recv(4) == b"ping"
        return time.monotonic() - begun


@pytest.fixture
def start(
    run_ferry: Callable[..., Ferry], tmp_path: Path, echo: Callable[..., EchoServer]
) -> Iterator[Callable[[float], Site]]:
    def make(timeout: float) -> Site:
        return Site(run_ferry, tmp_path, echo(), timeout)

    return make


def hello() -> bytes:
    names = build.server_name(b"front.example")
    return build.record(build.hello(names, build.groups(0x1D, 0x17), build.sigalgs(0x0403), ciphers=(0xC02B,)))


STOPS = {
    "before a word": b"",
    "amidst the hello": hello()[:40],
    "after the hello": hello(),
    "amidst the next message": hello() + b"\x16\x03\x03\x00\x25\x10",
}


def test_who_stops_is_ended_by_the_timeout_wherever_that_is(start: Callable[[float], Site]) -> None:
    site = start(TIMEOUT)
    begun, held = time.monotonic(), ExitStack()
    with held:
        clients = {where: held.enter_context(connect(site.port)) for where in STOPS}
        for where, data in STOPS.items():
            clients[where].settimeout(8)
            clients[where].sendall(data)
        for where, sock in clients.items():
            assert ended(sock), where
            assert TIMEOUT - 0.2 < time.monotonic() - begun < TIMEOUT + 4, where
    until(lambda: len(site.ferry.lines()) == len(STOPS), "their lines in the log")
    assert {(line["code"], line["how"]) for line in site.ferry.lines()} == {("cR", "timeout")}
    site.ordinary()


def ended(sock: socket.socket) -> bool:
    try:
        while sock.recv(65536):
            pass
    except ConnectionResetError:
        return True
    return True


def test_a_client_that_goes_on_in_single_bytes_has_no_more_time(start: Callable[[float], Site]) -> None:
    site = start(TIMEOUT)
    begun = time.monotonic()
    with connect(site.port) as sock:
        sock.settimeout(0.1)
        for byte in hello() * 4:
            sock.sendall(bytes([byte]))
            try:
                if sock.recv(65536) == b"":
                    break
            except TimeoutError:
                continue
            except ConnectionResetError:
                break
        assert time.monotonic() - begun < TIMEOUT + 4
    assert site.ferry.line()["how"] == "timeout"


def test_500_of_them_keep_nobody_from_being_served(start: Callable[[float], Site]) -> None:
    site = start(10.0)
    alone = max(site.ordinary() for _ in range(3))
    until(lambda: site.ferry.listener("web")["counts"]["sessions_now"] == 0, "the first connections to end")
    before = site.ferry.descriptors()
    with ExitStack() as held:
        for number in range(500):
            sock = held.enter_context(connect(site.port))
            sock.sendall(list(STOPS.values())[number % 4])
        until(lambda: site.ferry.listener("web")["counts"]["sessions_now"] == 500, "all to be there")
        among = min(site.ordinary() for _ in range(5))
        assert among < alone * 5 + 0.5
    until(lambda: site.ferry.listener("web")["counts"]["sessions_now"] == 0, "all to end with their clients")
    until(lambda: site.ferry.descriptors() <= before, "descriptors to return to where they were")
