"""Answers of proxies: heads as they come, and what came instead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.doctor.answer import Foreign, Head, parse_head, schemes, shown

SQUID = b"HTTP/1.1 407 Proxy Authentication Required\r\nServer: squid/5.7\r\nProxy-Authenticate: NTLM\r\n\r\nbody"


def test_a_head_and_where_it_ends() -> None:
    head = parse_head(SQUID)
    assert isinstance(head, Head)
    assert (head.version, head.status, head.get("server")) == ("1.1", 407, "squid/5.7")
    assert SQUID[head.length :] == b"body"


@pytest.mark.parametrize("cut", range(len(SQUID) - 4))
def test_a_prefix_is_not_enough(cut: int) -> None:
    assert parse_head(SQUID[:cut]) is None


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x15\x03\x01", Foreign.TLS),
        (b"\x16\x03", Foreign.TLS),
        (bytes.fromhex("000012040000000000"), Foreign.HTTP2),
        (b"SSH-2.0-x\r\n", Foreign.OTHER),
        (b"HTTP/1.1 abc\r\n\r\n", Foreign.OTHER),
        (b"HTTP/" + b"x" * 70000, Foreign.OTHER),
    ],
)
def test_what_came_instead(data: bytes, kind: Foreign) -> None:
    assert parse_head(data) is kind


def test_lone_lf_and_other_versions_are_read() -> None:
    head = parse_head(b"HTTP/2 200 OK\nVia: x\n\n")
    assert isinstance(head, Head)
    assert (head.version, head.status, head.headers) == ("2", 200, (("Via", "x"),))


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ([], []),
        (['Basic realm="a"'], ["Basic"]),
        (["NTLM", "Negotiate"], ["NTLM", "Negotiate"]),
        (['Digest realm="a, Basic b", nonce="x", Negotiate, BASIC realm=x'], ["Digest", "Negotiate", "BASIC"]),
        (["Negotiate YII=="], ["Negotiate"]),
    ],
)
def test_schemes(fields: list[str], found: list[str]) -> None:
    headers = tuple(("Proxy-Authenticate", field) for field in fields)
    assert schemes(Head("", "1.1", 407, headers, 0)) == found


def test_what_is_shown_fits_a_line() -> None:
    assert shown(b"a\r\nb\x1b[31m") == "a\\r\\nb\\x1b[31m"
    assert len(shown("x" * 1000)) == 200


@given(st.binary(max_size=300) | st.binary(max_size=200).map(lambda rest: b"HTTP/1.1 200 OK\r\n" + rest))
def test_fuzz_what_is_said_of_a_prefix_holds(data: bytes) -> None:
    """Never raises; the first answer for a prefix is the answer for the whole."""
    whole = parse_head(data)
    first = next((found for end in range(len(data) + 1) if (found := parse_head(data[:end])) is not None), None)
    assert first == whole
    if isinstance(whole, Head):
        assert all(scheme.isprintable() for scheme in schemes(whole))
        assert whole.length <= len(data)
