"""What step 3 of peeking reads of the server's answer, and what is counted; the whole of bump is in
tests/e2e/test_opening_tls.py."""

from __future__ import annotations

import ssl
from dataclasses import replace
from typing import Any

import pytest
import trustme
from proxying import connect_to, head, line, proxy
from rig import Rig

from ferryman.dataplane import bump, counters
from ferryman.dataplane.counters import Cell
from ferryman.dataplane.stream import LONGEST
from ferryman.plan import Bump
from ferryman.rules.access import TlsRule
from ferryman.wire.certificate import certificate_names


def first_flight(newest: ssl.TLSVersion) -> bytes:
    """What a server answers to a hello."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = newest
    trustme.CA().issue_cert("a.example.test", "b.example.test").configure_cert(context)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello = client.wrap_bio(back, there, server_hostname="a.example.test")
    with pytest.raises(ssl.SSLWantReadError):
        hello.do_handshake()
    answer = context.wrap_bio(there, back, server_side=True)
    with pytest.raises(ssl.SSLWantReadError):
        answer.do_handshake()
    return back.read()


def hello(name: str) -> bytes:
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(there, back, server_hostname=name).do_handshake()
    return back.read()


BUMP = Bump("ca.pem", "ca.key", 0, "", "", None, "refuse")


@pytest.mark.parametrize(
    ("settings", "says", "cell", "error"),
    [
        ({"match_sni": True}, hello("a.test"), Cell.DENIED_CONTENT, "http_request_denied"),
        ({"tls": (TlsRule(None, "f:1", "bump"),), "bump": BUMP}, hello("a.test"), Cell.CONNECT_ERRORS, None),
        (
            {"tls": (TlsRule(None, "f:1", "bump"),), "bump": BUMP, "on_unknown_protocol": "terminate"},
            b"GET / HTTP/1.1\r\n",
            Cell.DENIED_CONTENT,
            None,
        ),
    ],
)
def test_refusals_are_counted(rig: Rig, settings: dict[str, Any], says: bytes, cell: Cell, error: str | None) -> None:
    made = proxy(rig, **settings)
    cells = rig.follow(made)
    far = rig.server()
    client = connect_to(rig, far.port)
    rig.run(far.waiting)
    connection = far.accept()
    assert head(rig, client).startswith("HTTP/1.1 200 ")
    client.sendall(says)
    rig.turns(5)
    connection.close()
    found = line(rig)
    client.close()
    assert cells[counters.listener_base(made, 0) + cell] == 1
    assert error in (None, found["error"])


@pytest.mark.parametrize("untrusted", ["show", "refuse"])
def test_a_server_whose_tls_takes_too_long(rig: Rig, untrusted: str) -> None:
    bumping = replace(BUMP, untrusted=untrusted)
    proxy(rig, tls=(TlsRule(None, "f:1", "bump"),), bump=bumping, connect_timeout=0.1)
    far = rig.server()
    client = connect_to(rig, far.port)
    assert head(rig, client).startswith("HTTP/1.1 200 ")
    client.sendall(hello("a.test"))
    found = line(rig)
    client.close()
    assert (found["error"], found["code"], found["how"]) == ("connection_timeout", "sC", "timeout")


def test_the_certificate_of_tls_1_2_is_seen_and_nothing_is_taken() -> None:
    flight = first_flight(ssl.TLSVersion.TLSv1_2)
    found = bump._leaf(flight)
    assert found is not None
    assert certificate_names(found[0]) == ("a.example.test", "b.example.test")
    assert found[1] == 0
    assert bump._leaf(flight[:200]) is None, "more is needed"


def test_what_cannot_be_seen_is_no_certificate() -> None:
    assert bump._leaf(first_flight(ssl.TLSVersion.TLSv1_3)) == (b"", 0)
    assert bump._leaf(b"220 mail.example.test ESMTP\r\n") == (b"", 0)
    assert bump._leaf(b"\x16\x03\x03" + b"\x3f\xff" + bytes(LONGEST)) == (b"", 0)
