"""A route whose destination is the name in the hello: resolved, guarded, and the hello handed on byte for byte."""

from __future__ import annotations

import hashlib
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from ferry import PATIENCE, Ferry, free_port
from servers import Authority, TlsServer


def hello(name: str | None) -> bytes:
    """What a client of Python's ssl says first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    sent = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name).do_handshake()
    return sent.read()


def config(port: int, destination: str, more: str = "") -> str:
    return f"""
global: {{workers: 1}}
listeners:
  web: {{bind: "127.0.0.1:{port}", to: by-name, inspect_timeout: 5m}}
backends:
  by-name:
    destination: {destination}
    {more}
"""


def test_the_certificate_is_the_origin_s(run_ferry: Callable[..., Ferry], authority: Authority) -> None:
    server, port = TlsServer("origin", authority, ["localhost"], host="127.0.0.1"), free_port()
    ferry = run_ferry(config(port, f'{{to: "{{sni}}:{server.port}", names: localhost, egress_allow: localhost}}'))
    context = authority.client_context()
    with (
        socket.create_connection(("127.0.0.1", port), PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as sock,
    ):
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"origin" in sock.recv(65536) + sock.recv(65536)
    line = ferry.line()
    assert (line["target"], line["backend"], line["sni"], line["code"]) == (
        f"localhost:{server.port}",
        "by-name",
        "localhost",
        "--",
    )
    server.close()


def test_the_hello_is_duplicated_byte_for_byte(run_ferry: Callable[..., Ferry]) -> None:
    port, said = free_port(), hello("LocalHost")
    with socket.create_server(("127.0.0.1", 0)) as far:
        far.settimeout(PATIENCE)
        run_ferry(config(port, f'{{to: "{{sni}}:{far.getsockname()[1]}", egress_allow: localhost}}'))
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
            client.sendall(said[:100])
            client.sendall(said[100:])
            connection, _ = far.accept()
            with connection:
                connection.settimeout(PATIENCE)
                got = b""
                while len(got) < len(said):
                    got += connection.recv(65536)
    assert hashlib.sha256(got).digest() == hashlib.sha256(said).digest()


def test_the_incoming_port(run_ferry: Callable[..., Ferry]) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.2", port)) as far:
        far.settimeout(PATIENCE)
        run_ferry(config(port, '{to: "127.0.0.2:{local_port}", egress_allow: 127.0.0.0/8}'))
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
            client.sendall(hello("any.example"))
            far.accept()[0].close()


DENIED = b"\x15\x03\x03\x00\x02\x02\x31"  # alert: fatal, access_denied

DESTINATIONS = {
    "guarded": '"{sni}:443"',
    "metadata": '"{sni}:80"',
    "names": '{to: "{sni}:443", names: "*.example.org"}',
    "back": '{to: "{sni}:{local_port}", egress_guard: false}',
    "invalid": '{to: "{sni}:443", names: "*.invalid"}',
}


class Site:
    """A listener for each of the destinations."""

    def __init__(self, start: Callable[..., Ferry]) -> None:
        self.ports = {name: free_port() for name in DESTINATIONS}
        listeners = "".join(
            f"  {name}: {{bind: '127.0.0.1:{port}', to: {name}, inspect_timeout: 5m}}\n"
            for name, port in self.ports.items()
        )
        backends = "".join(f"  {name}: {{destination: {to}}}\n" for name, to in DESTINATIONS.items())
        self.ferry = start(f"global: {{workers: 1}}\nlisteners:\n{listeners}backends:\n{backends}")

    def told(self, listener: str, said: bytes) -> tuple[bytes, dict[str, Any]]:
        """What comes back, and the log line."""
        with socket.create_connection(("127.0.0.1", self.ports[listener]), PATIENCE) as sock:
            client, back = f"127.0.0.1:{sock.getsockname()[1]}", b""
            sock.sendall(said)
            with suppress(ConnectionResetError):
                back = sock.recv(65536)
        return back, self.ferry.line(lambda line: line["client"] == client)


@pytest.fixture(scope="module")
def site(run_shared_ferry: Callable[..., Ferry]) -> Site:
    return Site(run_shared_ferry)


@pytest.mark.parametrize(
    ("name", "listener", "reason"),
    [
        ("localhost", "guarded", "localhost:443 is not reached from here: a loopback address (egress guard"),
        ("169.254.169.254", "metadata", "needs what this connection does not have: sni"),  # no SNI for addresses
        ("other.example", "names", "other.example is none of the names that backend"),
        ("evil.example.org.example.com", "names", "is none of the names"),
        ("localhost", "back", "is one of this proxy's own listeners"),
        (None, "guarded", "needs what this connection does not have: sni"),
    ],
    ids=["guard", "address", "names", "anchored", "loop", "no name"],
)
def test_what_is_refused_is_told_in_tls(site: Site, name: str | None, listener: str, reason: str) -> None:
    back, line = site.told(listener, hello(name))
    assert back == DENIED
    assert (line["code"], line["how"]) == ("PR", "policy")
    assert reason in line["reason"]


def test_a_name_that_nobody_knows(site: Site) -> None:
    back, line = site.told("invalid", hello("nobody.invalid"))
    assert back == b""
    assert line["code"] == "SC"
    assert "nobody.invalid" in line["reason"]


def test_what_is_no_tls_has_no_name(site: Site) -> None:
    back, line = site.told("invalid", b"GET / HTTP/1.1\r\nHost: a.invalid\r\n\r\n")
    assert back == b""
    assert "does not have: sni" in line["reason"]
