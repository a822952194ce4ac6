"""Answers as of an API server: what it misses it says, and after 101 pings come back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.unit.doctor.ends import PATIENCE, Server, talks_tls

from ferryman.doctor.apiserver import SPDY_PING, accept, answer, websocket_ping, websocket_pong
from ferryman.doctor.tlsstream import TlsStream, client_context
from ferryman.doctor.tunnel import Dialer
from ferryman.wire.http1 import parse_request


def asked(server: Callable[..., Server], fields: str, ping: bytes, count: int) -> tuple[str, bytes, str]:
    """The head of the answer, what came back for a ping, and what it was in words."""
    words: list[str] = []

    def handler(stream: TlsStream) -> None:
        found = parse_request(stream.read(PATIENCE))
        assert found
        words.append(answer(stream, found[0]))

    there = server(talks_tls(handler))
    stream = TlsStream(client_context(), "localhost")
    stream.handshake(Dialer(PATIENCE).connect("127.0.0.1", there.port), PATIENCE)
    stream.write(f"POST /api HTTP/1.1\r\nHost: api.test\r\n{fields}\r\n".encode(), PATIENCE)
    data = b""
    while b"\r\n\r\n" not in data:
        data += stream.read(PATIENCE)
    head, _, came = data.partition(b"\r\n\r\n")
    if ping:
        for byte in ping:  # one at a time
            stream.write(bytes([byte]), PATIENCE)
    while len(came) < count:
        came += stream.read(PATIENCE)
    stream.close()
    there.close()
    return head.decode(), came, words[0]


def test_the_key_of_the_rfc() -> None:
    assert accept("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 section 1.3


def test_spdy(server: Callable[..., Server]) -> None:
    fields = "Connection: keep-alive, Upgrade\r\nUpgrade: SPDY/3.1\r\n"
    head, came, said = asked(server, fields, SPDY_PING, len(SPDY_PING))
    assert head.startswith("HTTP/1.1 101 ")
    assert "\r\nX-Stream-Protocol-Version: v4.channel.k8s.io" in head
    assert (came, said) == (SPDY_PING, "spoke SPDY/3.1")


def test_websocket(server: Callable[..., Server]) -> None:
    fields = (
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Protocol: v5.channel.k8s.io, v4.channel.k8s.io\r\n"
    )
    pong = websocket_pong(b"12345678")
    head, came, _ = asked(server, fields, websocket_ping(b"12345678", b"\x01\x02\x03\x04"), len(pong))
    assert "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
    assert head.endswith("\r\nSec-WebSocket-Protocol: v5.channel.k8s.io")  # one of them
    assert came == pong


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("Upgrade: SPDY/3.1\r\n", "Upgrade request required"),
        ("Connection: keep-alive\r\nUpgrade: SPDY/3.1\r\n", "Upgrade request required"),
        ("Connection: Upgrade\r\n", "missing upgrade headers"),
        ("Connection: Upgrade\r\nUpgrade: h2c\r\n", "missing upgrade headers"),
    ],
)
def test_what_did_not_arrive_is_said(fields: str, message: str, server: Callable[..., Server]) -> None:
    head, came, _ = asked(server, fields, b"", 60)
    assert head.startswith("HTTP/1.1 400 ")
    assert b'"kind": "Status"' in came
    assert message.encode() in came
