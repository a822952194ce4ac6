"""Clients that stop amidst the handshake where TLS ends: they are ended in time and keep nobody from being served."""

from __future__ import annotations

import select
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
    """One listener where handshakes have little time, one where they have enough."""

    def __init__(self, run: Callable[..., Ferry], folder: Path, echo: EchoServer) -> None:
        self.pki, self.hasty, self.patient = Pki(folder), free_port(), free_port()
        certificates = f"certificates: {self.pki.issue('front.pem', 'front.example')}"
        self.ferry = run(
            f"""
global: {{workers: 1}}
listeners:
  hasty: {{bind: "127.0.0.1:{self.hasty}", tls: {{{certificates}, handshake_timeout: {TIMEOUT}s}}, to: echo}}
  patient: {{bind: "127.0.0.1:{self.patient}", tls: {{{certificates}, handshake_timeout: 5m}}, to: echo}}
backends:
  echo: {{servers: ["{echo.address}"]}}
"""
        )

    def ordinary(self) -> None:
        """An ordinary client is served."""
        context = ssl.create_default_context(cafile=self.pki.ca)
        with connect(self.patient) as plain, context.wrap_socket(plain, server_hostname="front.example") as sock:
            sock.sendall(b"ping")
            assert sock.recv(4) == b"ping"


@pytest.fixture(scope="module")
def shared(
    run_shared_ferry: Callable[..., Ferry], tmp_path_factory: pytest.TempPathFactory, at_the_end: ExitStack
) -> Site:
    echo = EchoServer()
    at_the_end.callback(echo.close)
    return Site(run_shared_ferry, tmp_path_factory.mktemp("pki"), echo)


@pytest.fixture
def site(shared: Site) -> Iterator[Site]:
    yield shared
    shared.ordinary()
    for name in ("hasty", "patient"):
        until(lambda name=name: not shared.ferry.listener(name)["counts"]["sessions_now"], "all to end")  # type: ignore[misc]


def hello() -> bytes:
    names = build.server_name(b"front.example")
    return build.record(build.hello(names, build.groups(0x1D, 0x17), build.sigalgs(0x0403), ciphers=(0xC02B,)))


STOPS = {
    "before a word": b"",
    "amidst the hello": hello()[:40],
    "after the hello": hello(),
    "amidst the next message": hello() + b"\x16\x03\x03\x00\x25\x10",
}


def test_who_stops_is_ended_by_the_timeout_wherever_that_is(site: Site) -> None:
    begun, held = time.monotonic(), ExitStack()
    with held:
        clients = {where: held.enter_context(connect(site.hasty)) for where in STOPS}
        for where, data in STOPS.items():
            clients[where].sendall(data)
        names = {f"127.0.0.1:{sock.getsockname()[1]}": where for where, sock in clients.items()}
        for where, sock in clients.items():
            assert ended(sock), where
            assert time.monotonic() - begun > TIMEOUT, where
    for name, where in names.items():
        line = site.ferry.line(lambda line, name=name: line["client"] == name)  # type: ignore[misc]
        assert (line["code"], line["how"]) == ("cR", "timeout"), where


def ended(sock: socket.socket) -> bool:
    try:
        while sock.recv(65536):
            pass
    except ConnectionResetError:
        return True
    return True


def test_a_client_that_goes_on_in_single_bytes_has_no_more_time(site: Site) -> None:
    begun = time.monotonic()
    with connect(site.hasty) as sock:
        name = f"127.0.0.1:{sock.getsockname()[1]}"
        bytes_of_it = iter(hello() * 4)
        while not select.select([sock], [], [], 0.1)[0]:
            sock.sendall(bytes([next(bytes_of_it)]))  # they would last for many times as long
        assert ended(sock)
        assert time.monotonic() - begun > TIMEOUT
    assert site.ferry.line(lambda line: line["client"] == name)["how"] == "timeout"


def test_500_of_them_keep_nobody_from_being_served(site: Site) -> None:
    def there() -> int:
        return int(site.ferry.listener("patient")["counts"]["sessions_now"])

    site.ordinary()
    until(lambda: there() == 0, "the first connection to end")
    before = site.ferry.descriptors()
    with ExitStack() as held:
        for number in range(500):
            sock = held.enter_context(connect(site.patient))
            sock.sendall(list(STOPS.values())[number % 4])
        until(lambda: there() == 500, "all to be there")
        for _ in range(5):
            site.ordinary()
        until(lambda: there() == 500, "all to be there still")
    until(lambda: there() == 0, "all to end with their clients")
    until(lambda: site.ferry.descriptors() <= before, "descriptors to return to where they were")
