"""What step 3 of peeking reads of the server's answer; the whole of bump is in tests/e2e/test_opening_tls.py."""

from __future__ import annotations

import ssl

import pytest
import trustme

from ferryman.dataplane import bump
from ferryman.dataplane.stream import LONGEST
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
