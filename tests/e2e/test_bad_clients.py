"""Clients that send garbage, dribble, say nothing or break off: dealt with, logged, and nothing is left behind."""

from __future__ import annotations

import random
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from ferry import PATIENCE, Ferry, free_port, until
from servers import Authority, EchoServer, TlsServer

pytestmark = pytest.mark.twin

RESET = b"\1\0\0\0\0\0\0\0"  # SO_LINGER on, 0 seconds


class Site:
    """A listener that routes by SNI: known names to a TLS server, the rest to an echo server; and one in a hurry."""

    def __init__(self, start: Callable[..., Ferry], authority: Authority, stack: ExitStack) -> None:
        server, other = TlsServer("api", authority, ("api.example.org",)), EchoServer()
        stack.callback(server.close)
        stack.callback(other.close)
        self.authority, self.ports = authority, {name: free_port() for name in ("web", "hasty")}
        routed = "routes: [{when: {sni: api.example.org}, to: api}], to: other"
        self.ferry = start(
            f"""
global: {{workers: 1}}
listeners:
  web: {{bind: "127.0.0.1:{self.ports["web"]}", inspect_timeout: 5m, client_timeout: 5m, {routed}}}
  hasty: {{bind: "127.0.0.1:{self.ports["hasty"]}", inspect_timeout: 300ms, client_timeout: 5m, {routed}}}
backends:
  api: {{servers: ["{server.address}"]}}
  other: {{servers: ["{other.address}"]}}
"""
        )
        self.begin()

    def begin(self) -> None:
        """Numbers count from here on."""
        self._bad_hellos = 0
        self._bad_hellos = self.bad_hellos()

    def line(self, client: str) -> dict[str, Any]:
        """That of one client, by its address."""
        return self.ferry.line(lambda line: line["client"] == client)

    def bad_hellos(self) -> int:
        return int(self.ferry.listener("hasty")["counts"]["bad_hellos"]) - self._bad_hellos

    def connect(self, listener: str = "web") -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.ports[listener]), PATIENCE)

    def works(self) -> bool:
        context = self.authority.client_context()
        with self.connect() as raw, context.wrap_socket(raw, server_hostname="api.example.org") as sock:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return b"200" in sock.recv(4096)

    def settle(self) -> None:
        for name in self.ports:
            until(lambda name=name: not self.ferry.listener(name)["counts"]["sessions_now"], "all to end")  # type: ignore[misc]


def address(sock: socket.socket) -> str:
    """As the log has it."""
    return f"127.0.0.1:{sock.getsockname()[1]}"


@pytest.fixture(scope="module")
def shared(run_shared_ferry: Callable[..., Ferry], authority: Authority, at_the_end: ExitStack) -> Site:
    return Site(run_shared_ferry, authority, at_the_end)


@pytest.fixture
def site(shared: Site) -> Iterator[Site]:
    assert shared.works()
    shared.settle()
    shared.begin()
    before = shared.ferry.descriptors()
    yield shared
    assert shared.works(), "still serving"
    shared.settle()
    until(lambda: shared.ferry.descriptors() <= before, "descriptors to return to where they were")


def hello(name: str = "api.example.org") -> bytes:
    """A real ClientHello, from Python's ssl."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def test_random_bytes_go_to_the_default_untouched(site: Site) -> None:
    for seed in range(10):
        data = random.Random(seed).randbytes(3000)
        with site.connect() as sock:
            client = address(sock)
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            received = b""
            while chunk := sock.recv(65536):
                received += chunk
        assert received == data
    line = site.line(client)
    assert (line["backend"], line["bytes"]) == ("other", {"in": 3000, "out": 3000})


def test_a_hello_in_single_bytes_is_still_routed_by_its_name(site: Site) -> None:
    data = hello()
    with site.connect() as sock:
        client = address(sock)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for index in range(len(data)):
            sock.sendall(data[index : index + 1])
        assert sock.recv(1) == b"\x16", "the server's answer"
    line = site.line(client)
    assert (line["backend"], line["sni"]) == ("api", "api.example.org")


def test_a_hello_that_is_never_finished_is_decided_when_time_is_up(site: Site) -> None:
    data = hello()[:100]
    with site.connect("hasty") as sock:
        sock.sendall(data)
        assert sock.recv(1000) == data, "what was looked at reaches the default backend"
    assert site.bad_hellos() >= 1


def test_a_hello_of_more_than_16_kib_is_no_reason_to_wait(site: Site) -> None:
    data = b"\x16\x03\x01\x40\x00\x01\x00\xff\xff" + bytes(20000)
    with site.connect() as sock:
        sock.sendall(data)
        received = b""
        while len(received) < len(data):
            received += sock.recv(65536)
    assert received == data


def test_a_client_that_says_nothing_reaches_the_default_after_the_wait(site: Site) -> None:
    with site.connect("hasty") as sock:
        until(lambda: site.bad_hellos() == 1, "the wait to end")
        sock.sendall(b"late")
        assert sock.recv(10) == b"late"


def test_a_client_that_connects_and_goes_is_logged_with_the_reason(site: Site) -> None:
    with site.connect() as sock:
        client = address(sock)
    line = site.line(client)
    assert (line["code"], line["how"]) == ("CR", "fin")
    assert line["reason"] == "client: closed without having sent anything"


@pytest.mark.parametrize("sent", [0, 1, 100, "all"])
def test_a_reset_while_the_hello_is_awaited(site: Site, sent: int | str) -> None:
    data = hello()
    with site.connect() as sock:
        client = address(sock)
        sock.sendall(data if sent == "all" else data[: int(sent)])
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    line = site.line(client)
    assert line["how"] == "rst"
    assert line["code"] in ("CR", "CC", "CD")


def test_a_flood_of_half_open_hellos_does_not_stop_others(site: Site) -> None:
    data = hello()[:50]
    socks = [site.connect() for _ in range(300)]
    try:
        for sock in socks:
            sock.sendall(data)
        assert site.works()
    finally:
        for sock in socks:
            sock.close()
