"""Clients that break the rules of TLS where it ends: they see what a bare server of Python's ssl would let them see.

And whatever they do: the worker lives, its log has no traceback, no descriptor stays open, the next client is served.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from ferry import Ferry, free_port, until
from hostile import RESET, Bare, Meddler, Meddling, Message, connect, played, said
from pki import Pki
from servers import EchoServer
from tests.unit.wire import hello_builder as build

TLS12, TLS13 = (3, 3), (3, 4)
VERSIONS = [pytest.param(TLS12, id="1.2"), pytest.param(TLS13, id="1.3")]


class Site:
    """ferryman and the bare server, with the same certificate and the same settings."""

    def __init__(self, folder: Path, run: Callable[..., Ferry]) -> None:
        self.pki = Pki(folder)
        certificate = self.pki.issue("front.pem", "front.example", rsa=True)
        self.echo, self.bare, self.port = EchoServer(), Bare(certificate), free_port()
        self.ferry = run(
            f"""
global: {{workers: 1}}
listeners:
  web:
    bind: 127.0.0.1:{self.port}
    tls: {{certificates: {certificate}, handshake_timeout: 5m}}
    to: echo
backends:
  echo: {{servers: ["{self.echo.address}"]}}
"""
        )
        self.workers = self.ferry.workers()
        self.ordinary()
        until(self.idle, "the first connection to end")
        self.descriptors = self.ferry.descriptors()

    def ordinary(self) -> None:
        context = ssl.create_default_context(cafile=self.pki.ca)
        with connect(self.port) as plain, context.wrap_socket(plain, server_hostname="front.example") as sock:
            sock.sendall(b"an ordinary client")
            assert sock.recv(100) == b"an ordinary client"

    def idle(self) -> bool:
        return bool(self.ferry.listener("web")["counts"]["sessions_now"] == 0)

    def said(self, *pieces: bytes) -> list[str]:
        """What both say."""
        bare, ours = said(self.bare.port, *pieces), said(self.port, *pieces)
        assert ours == bare
        return ours

    def played(self, version: tuple[int, int], step: int = -1, meddle: Meddling | None = None, **more: Any) -> str:
        """How both let it end."""
        bare, ours = (played(port, version, step, meddle, **more) for port in (self.bare.port, self.port))
        assert ours == bare
        return ours

    def close(self) -> None:
        self.bare.close()
        self.echo.close()


@pytest.fixture(scope="module")
def shared(run_shared_ferry: Callable[..., Ferry], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("pki"), run_shared_ferry)
    yield site
    site.close()


@pytest.fixture
def site(shared: Site) -> Iterator[Site]:
    yield shared
    shared.ordinary()
    until(shared.idle, "all connections to end")
    assert shared.ferry.workers() == shared.workers
    until(lambda: shared.ferry.descriptors() <= shared.descriptors, "descriptors to return to where they were")
    assert "Traceback" not in shared.ferry.log
    assert "internal error" not in shared.ferry.log


def hello(name: bytes | None = b"front.example", *more: bytes, version: int = 0x0303, **options: Any) -> bytes:
    """A hello of TLS 1.2 that OpenSSL answers."""
    extensions = [build.groups(0x1D, 0x17), build.sigalgs(0x0804, 0x0401), *more]
    if name is not None:
        extensions.insert(0, build.server_name(name))
    return build.hello(*extensions, version=version, ciphers=(0xC02F, 0xC030), **options)


FIRST_FLIGHT = ["handshake", "alert 2 50"]  # and that the handshake must not end there


def test_what_both_say_to_a_hello_that_is_in_order(site: Site) -> None:
    assert site.said(build.record(hello())) == FIRST_FLIGHT
    for version in (TLS12, TLS13):
        assert site.played(version) == "served"


# the hello on its way


def test_a_hello_cut_anywhere(site: Site) -> None:
    whole = build.record(hello(b"a-rather-long-name." * 8 + b"front.example"))
    for end in [*range(1, 12), *range(12, len(whole), 50), len(whole) - 1]:
        assert "handshake" not in site.said(whole[:end]), end


def test_one_byte_per_segment(site: Site) -> None:
    whole = build.record(hello())
    assert site.said(*(whole[at : at + 1] for at in range(len(whole)))) == FIRST_FLIGHT


def test_one_byte_per_record(site: Site) -> None:
    message = hello()
    assert site.said(build.records(message, range(len(message)))) == FIRST_FLIGHT
    assert site.said(*(build.record(message[at : at + 1]) for at in range(len(message)))) == FIRST_FLIGHT


@pytest.mark.parametrize("size", [300, 5000, 15000, 16000, 20000, 60000, 70000, 130000, 140000, 1 << 24 - 1])
def test_large_hellos(site: Site, size: int) -> None:
    size = min(size, 0xFFFFFF)
    filling = [build.extension(0x5000 + at, bytes(min(size - at, 60000))) for at in range(0, min(size, 60000), 60000)]
    message = hello(None, *filling)
    message = message[:1] + size.to_bytes(3, "big") + (message[4:] + bytes(size))[: min(size, 200_000)]
    site.said(build.records(message, range(16384, len(message), 16384)))


@pytest.mark.parametrize("size", [0, 1, 16384, 16385, 16640, 16641, 18433, 65535])
@pytest.mark.parametrize("kind", [20, 21, 22, 23])
def test_sizes_of_the_first_record(site: Site, size: int, kind: int) -> None:
    site.said(build.record(b"\1" + bytes(size - 1) if size else b"", kind))


@pytest.mark.parametrize("version", [0x0000, 0x0002, 0x0200, 0x0300, 0x0301, 0x0302, 0x0303, 0x0304, 0x0400, 0xFEFD])
def test_versions(site: Site, version: int) -> None:
    site.said(build.record(hello(version=version)))
    site.said(build.record(hello(), version=version))
    site.said(build.record(hello(None, build.versions(version))))


def test_a_hello_of_ssl_2(site: Site) -> None:
    body = b"\x01\x03\x03" + b"\x00\x06\x00\x00\x00\x10" + b"\x00\xc0\x2f\x00\xc0\x30" + bytes(16)
    site.said(bytes([0x80, len(body)]) + body)
    body = b"\x01\x00\x02" + body[3:]
    site.said(bytes([0x80, len(body)]) + body)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(b"192.0.2.1", id="an IPv4 address"),
        pytest.param(b"2001:db8::1", id="an IPv6 address"),
        pytest.param(b"", id="empty"),
        pytest.param(b".", id="a dot"),
        pytest.param(b"x" * 255, id="255 bytes"),
        pytest.param(b"x" * 256, id="256 bytes"),
        pytest.param(b"x" * 5000, id="5000 bytes"),
        pytest.param("bücher.example".encode(), id="UTF-8"),
        pytest.param(b"\xff\xfe.example", id="no text at all"),
        pytest.param(b"front.example\0.evil.example", id="a NUL"),
        pytest.param(b"front.example\r\nX: y", id="a line end"),
        pytest.param(b"FRONT.example.", id="capitals and a dot"),
        pytest.param(b'"><script>', id="markup"),
    ],
)
def test_names(site: Site, name: bytes) -> None:
    site.said(build.record(hello(name)))


def test_odd_lists_of_names(site: Site) -> None:
    for extension in (
        build.extension(0, b""),
        build.extension(0, b"\0\0"),
        build.extension(0, b"\0\x09\0\0\x05a"),
        build.server_name(b"front.example", b"other.example"),
        build.server_name(b"front.example", kind=7),
        build.server_name(b"front.example") * 2,
    ):
        site.said(build.record(hello(None, extension)))


def test_odd_hellos(site: Site) -> None:
    for message in (
        hello(session=bytes(33)),
        hello(compression=b""),
        hello(compression=b"\1"),
        hello(rest=b"\0"),
        hello(rest=b"\xff\xff"),
        hello() + b"more",
        build.hello(build.groups(0x1D), ciphers=(0x0005,)),
        build.hello(build.groups(0x1D), ciphers=()),
        build.hello(build.versions(0x0304), ciphers=(0x1301,)),
        hello(None, build.alpn()),
        hello(None, build.alpn(b"")),
        b"\1" + b"\0\0\0",
        b"\1" + b"\0\0\5" + b"abcde",
        *(bytes([kind]) + hello()[1:] for kind in (0, 2, 4, 11, 14, 16, 20, 24, 99)),
    ):
        site.said(build.record(message))


def test_what_follows_the_hello(site: Site) -> None:
    whole = build.record(hello())
    for after in (
        b"GET / HTTP/1.1\r\n\r\n",
        whole,
        b"\0" * 100,
        build.record(b"application data", 23),
        build.record(b"\1", 20),
        build.record(b"\2\x28", 21),
        build.record(b"\1\0", 21),
        build.record(b"\1\x5a" * 3, 21),
        build.record(b"\x0e\0\0\0"),
        build.record(b"", 22),
        build.record(b"x" * 20000),
        build.record(b"x", 99),
    ):
        site.said(whole + after)
        site.said(whole, after)
        site.said(whole[:80] + after)


def test_bytes_that_are_no_tls(site: Site) -> None:
    for data in (
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT x:443 HTTP/1.1\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"\0" * 70000,
    ):
        site.said(data)
    site.said(b"\5\1\0")
    site.said(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + build.record(hello()))


def test_alerts_instead_of_a_hello(site: Site) -> None:
    for level in (0, 1, 2, 3):
        for number in (0, 10, 40, 90, 255):
            site.said(build.record(bytes([level, number]), 21))
    site.said(build.record(b"\1\0", 21) * 20)
    site.said(build.record(b"\1\0", 21) + build.record(hello()))


# the handshake


def alert(level: int, number: int) -> Meddling:
    def meddle(client: Meddler, msg: Any) -> Generator[int, None, None]:
        client.post(21, bytes([level, number]))
        yield from client.send(msg)

    return meddle


def before(kind: int, body: bytes) -> Meddling:
    def meddle(client: Meddler, msg: Any) -> Generator[int, None, None]:
        client.post(kind, body)
        yield from client.send(msg)

    return meddle


def twice(client: Meddler, msg: Any) -> Generator[int, None, None]:
    yield from client.send(msg)
    yield from client.send(msg, update_hashes=False)


def left_out(client: Meddler, msg: Any) -> Generator[int, None, None]:
    client.plain.shutdown(socket.SHUT_WR)
    yield from ()


def garbled(client: Meddler, msg: Any) -> Generator[int, None, None]:
    data = bytearray(msg.write())
    data[-1] ^= 1
    yield from client.send(Message(msg.contentType, data), update_hashes=False)


def in_single_bytes(client: Meddler, msg: Any) -> Generator[int, None, None]:
    for byte in bytes(msg.write()):
        yield from client.send(Message(msg.contentType, bytearray([byte])))


def reset(client: Meddler, msg: Any) -> Generator[int, None, None]:
    client.plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.plain.close()
    yield from ()


def cut(client: Meddler, msg: Any) -> Generator[int, None, None]:
    data = bytes(msg.write())
    client.plain.sendall(build.record(data, msg.contentType)[: 5 + len(data) // 2])
    client.plain.shutdown(socket.SHUT_WR)
    yield from ()


MEDDLING = {
    "a fatal alert": alert(2, 40),
    "a warning": alert(1, 90),
    "close_notify": alert(1, 0),
    "an alert of no level": alert(9, 9),
    "application data": before(23, b"too early"),
    "no such type": before(99, b"?"),
    "no such message": before(22, b"\x63\0\0\0"),
    "a change of ciphers": before(20, b"\1"),
    "an odd change of ciphers": before(20, b"\2\2"),
    "HelloRequest": before(22, b"\0\0\0\0"),
    "KeyUpdate": before(22, b"\x18\0\0\1\1"),
    "twice": twice,
    "left out": left_out,
    "garbled": garbled,
    "single bytes": in_single_bytes,
    "reset": reset,
    "cut": cut,
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("what", MEDDLING)
def test_one_message_of_the_handshake(site: Site, version: tuple[int, int], what: str) -> None:
    first = int(what == "left out")  # who says nothing at all is told nothing
    for step in range(first, 4 if version == TLS12 else 3):
        site.played(version, step, MEDDLING[what])


# after the handshake


def renegotiate(client: Meddler) -> None:
    client.post(22, hello())


def many_key_updates(client: Meddler) -> None:
    for _ in range(40):
        client.post(22, b"\x18\0\0\1\0")


LATER: dict[str, Callable[[Meddler], None]] = {
    "renegotiation": renegotiate,
    "a fatal alert": lambda client: client.post(21, b"\2\x28"),
    "a warning": lambda client: client.post(21, b"\1\x5a"),
    "empty records": lambda client: [client.post(23, b"") for _ in range(20)] and None,
    "no such message": lambda client: client.post(22, b"\x63\0\0\0"),
    "part of a message": lambda client: client.post(22, b"\x18\0"),
    "a bad KeyUpdate": lambda client: client.post(22, b"\x18\0\0\1\x07"),
    "a change of ciphers": lambda client: client.post(20, b"\1"),
    "plain text": lambda client: client.plain.sendall(b"GET / HTTP/1.1\r\n\r\n"),
    "a hello in plain text": lambda client: client.plain.sendall(build.record(hello())),
    "a record that nobody can read": lambda client: client.plain.sendall(build.record(bytes(100), 23, 0x0303)),
    "a record too large": lambda client: client.plain.sendall(build.record(bytes(18000), 23, 0x0303)),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("what", LATER)
def test_after_the_handshake(site: Site, version: tuple[int, int], what: str) -> None:
    site.played(version, later=LATER[what])


def test_half_a_record_and_the_end(site: Site) -> None:
    def half(client: Meddler) -> None:
        client.plain.sendall(build.record(bytes(100), 23, 0x0303)[:50])
        client.plain.shutdown(socket.SHUT_WR)

    site.played(TLS13, later=half)


def test_forty_new_keys(site: Site) -> None:
    site.played(TLS13, later=many_key_updates)
