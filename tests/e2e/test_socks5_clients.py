"""SOCKS5 on the explicit proxy's port: IPv4, IPv6, names; what is refused and with which reply."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress

import pytest
from ferry import Ferry, free_port
from servers import EchoServer
from talk import Talk

pytestmark = pytest.mark.twin

NO_CREDENTIALS = b"\x05\x01\x00"
V4, NAME, V6 = 1, 3, 4


class Site:
    """A proxy for SOCKS5, one that wants no SOCKS, and servers."""

    def __init__(self, run: Callable[..., Ferry], end: ExitStack) -> None:
        self.port, self.http, self.only, self.quick = (free_port() for _ in range(4))
        self.echo, self.six = EchoServer(greeting=b"hi"), EchoServer("::1")
        end.callback(self.echo.close)
        end.callback(self.six.close)
        self.ferry = run(f"""
global: {{workers: 1}}
listeners:
  out:
    bind: 127.0.0.1:{self.port}
    connect:
      egress_allow: [127.0.0.1, "::1", localhost]
      access: [{{action: deny, when: {{target_port: 25}}}}, {{action: allow}}]
  http: {{bind: "127.0.0.1:{self.http}", connect: {{protocols: [connect, http]}}}}
  only: {{bind: "127.0.0.1:{self.only}", connect: {{protocols: socks5}}}}
  quick: {{bind: "127.0.0.1:{self.quick}", connect: {{protocols: socks5, head_timeout: 2s}}}}
""")

    def reply(self, kind: int, address: bytes, port: int, command: int = 1, version: int = 5) -> int:
        """The reply to a request, after which the connection is closed unless it is a success."""
        with Talk(self.port) as talk:
            talk.send(NO_CREDENTIALS)
            assert talk.exactly(2) == b"\x05\x00"
            talk.send(bytes([version, command, 0, kind]) + address + port.to_bytes(2, "big"))
            reply = talk.exactly(10)
            assert reply[:1] + reply[2:] == b"\x05\0\x01" + bytes(6)
            if reply[1]:
                assert talk.rest() == b""
            return reply[1]


@pytest.fixture(scope="module")
def site(run_shared_ferry: Callable[..., Ferry], at_the_end: ExitStack) -> Site:
    return Site(run_shared_ferry, at_the_end)


def name(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def test_addresses_and_names_are_reached(site: Site) -> None:
    assert site.reply(V4, b"\x7f\0\0\x01", site.echo.port) == 0
    assert site.reply(V6, socket.inet_pton(socket.AF_INET6, "::1"), site.six.port) == 0
    assert site.reply(NAME, name("localhost"), site.echo.port) == 0
    assert site.reply(NAME, name("127.0.0.1"), site.echo.port) == 0
    line = site.ferry.line(lambda line: line.get("target") == f"localhost:{site.echo.port}")
    assert (line["protocol"], line["error"]) == ("socks5", None)


def test_everything_at_once_and_in_single_bytes(site: Site) -> None:
    dialogue = NO_CREDENTIALS + b"\x05\x01\x00\x01\x7f\0\0\x01" + site.echo.port.to_bytes(2, "big") + b"early"
    expected = b"\x05\x00" + b"\x05\0\0\x01" + bytes(6) + b"hiearly"
    with Talk(site.port) as talk:
        talk.send(dialogue)
        assert talk.exactly(len(expected)) == expected
    with Talk(site.port) as talk:
        for index in range(len(dialogue)):
            talk.send(dialogue[index : index + 1])
        assert talk.exactly(len(expected)) == expected
        talk.end()
        assert talk.rest() == b""


def test_why_it_failed_is_in_the_reply(site: Site) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        assert site.reply(V4, b"\x7f\0\0\x01", nobody.getsockname()[1]) == 5
    assert site.reply(NAME, name("nowhere.invalid"), 80) == 4
    assert site.reply(V4, b"\xa9\xfe\xa9\xfe", 80) == 2, "cloud metadata"
    assert site.reply(V4, b"\x7f\0\0\x01", 25) == 2, "a rule says no"


@pytest.mark.parametrize(
    ("kind", "address", "port", "command", "version", "reply"),
    [
        (V4, b"\x7f\0\0\x01", 80, 2, 5, 7),  # BIND
        (V4, b"\x7f\0\0\x01", 80, 3, 5, 7),  # UDP ASSOCIATE
        (2, b"\x7f\0\0\x01", 80, 1, 5, 8),
        (V4, b"\x7f\0\0\x01", 0, 1, 5, 1),
        (V4, b"\x7f\0\0\x01", 80, 1, 4, 1),
        (NAME, name("a" * 254), 80, 1, 5, 1),
        (NAME, name("a b"), 80, 1, 5, 1),
        (NAME, name("a\0b"), 80, 1, 5, 1),
        (NAME, name("a\r\nX: y"), 80, 1, 5, 1),
        (NAME, name(""), 80, 1, 5, 1),
        (NAME, name("127.1"), 80, 1, 5, 1),
    ],
)
def test_requests_that_are_none(
    site: Site, kind: int, address: bytes, port: int, command: int, version: int, reply: int
) -> None:
    assert site.reply(kind, address, port, command, version) == reply


def test_a_client_without_an_acceptable_method(site: Site) -> None:
    for methods in (b"\x05\x00", b"\x05\x02\x01\x02", b"\x05\x01\x02"):
        with Talk(site.port) as talk:
            talk.send(methods)
            assert talk.rest() == b"\x05\xff"


def test_socks4_is_no_request(site: Site) -> None:
    with Talk(site.port) as talk:
        talk.send(b"\x04\x01\x00\x50\x7f\0\0\x01\0")
        assert talk.answer().status == 400


def test_where_socks_is_not_taken_it_is_no_request(site: Site) -> None:
    with Talk(site.http) as talk:
        talk.send(NO_CREDENTIALS)
        assert talk.answer().status == 400


def test_where_only_socks_is_taken_http_is_not(site: Site) -> None:
    with Talk(site.only) as talk:
        answer = talk.connect("127.0.0.1:443")
        assert (answer.status, answer.all("allow")) == (405, [""])


def test_a_client_that_stops_is_closed_without_words_of_another_protocol(site: Site) -> None:
    with ExitStack() as stack:
        talks = []
        for sent in (b"\x05", NO_CREDENTIALS, NO_CREDENTIALS + b"\x05\x01\x00"):
            talk = stack.enter_context(Talk(site.quick))
            talk.send(sent)
            talks.append((sent, talk, f"127.0.0.1:{talk.sock.getsockname()[1]}"))
        for sent, talk, name in talks:
            if len(sent) > 1:
                assert talk.exactly(2) == b"\x05\x00"
            with suppress(ConnectionResetError):  # what it sent last was not read
                assert talk.rest() == b""
            line = site.ferry.line(lambda line, name=name: line["client"] == name)  # type: ignore[misc]
            assert (line["code"], line["reason"]) == ("cR", "client: no complete SOCKS5 request within 2 s")
