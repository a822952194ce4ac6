"""SOCKS5 as a dialogue, and what is not said in it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman.wire import socks5
from ferryman.wire.authority import parse_host
from ferryman.wire.socks5 import BadSocks, SocksRequest

Parser = Callable[[bytes], tuple[object, int] | None]
PARSERS: list[Parser] = [
    socks5.parse_greeting,
    socks5.parse_userpass,
    socks5.parse_request,
    socks5.parse_method,
    socks5.parse_userpass_reply,
    socks5.parse_reply,
]


def ask(parse: Parser, data: bytes) -> object:
    try:
        return parse(data)
    except BadSocks as bad:
        return bad.reason, bad.answer


def check_prefixes(parse: Parser, data: bytes) -> None:
    final = ask(parse, data)
    decided = False
    for end in range(len(data) + 1):
        answer = ask(parse, data[:end])
        assert answer == ask(parse, memoryview(data)[:end])  # type: ignore[arg-type]
        if answer is None:
            assert not decided, f"an answer was taken back after {end} bytes"
        else:
            decided = True
            assert answer == final, f"another answer after {end} bytes"


def test_a_dialogue_with_credentials() -> None:
    assert socks5.greeting(True) == b"\x05\x02\x00\x02"
    assert socks5.parse_greeting(b"\x05\x02\x00\x02") == ((0, 2), 4)
    assert socks5.method_reply(socks5.USER_PASSWORD) == b"\x05\x02"
    assert socks5.parse_method(b"\x05\x02") == (socks5.USER_PASSWORD, 2)
    assert socks5.userpass("alice", "sécret") == b"\x01\x05alice\x07s\xc3\xa9cret"
    assert socks5.parse_userpass(b"\x01\x05alice\x07s\xc3\xa9cret") == (("alice", "sécret"), 15)
    assert socks5.parse_userpass_reply(socks5.userpass_reply(True)) == (True, 2)
    assert socks5.request("example.com", 443) == b"\x05\x01\x00\x03\x0bexample.com\x01\xbb"
    assert socks5.parse_request(b"\x05\x01\x00\x03\x0bexample.com\x01\xbb") == (("example.com", 443), 18)
    assert socks5.reply(socks5.SUCCEEDED) == b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"
    assert socks5.parse_reply(socks5.reply(socks5.SUCCEEDED) + b"\x16") == (socks5.SUCCEEDED, 10)


def test_a_dialogue_without() -> None:
    assert socks5.greeting(False) == b"\x05\x01\x00"
    assert socks5.parse_greeting(b"\x05\x00rest") == ((), 2)
    assert socks5.parse_method(socks5.method_reply(socks5.NO_ACCEPTABLE)) == (255, 2)


@pytest.mark.parametrize(
    ("message", "host", "port"),
    [
        (b"\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x50", "192.0.2.7", 80),
        (b"\x05\x01\x00\x04" + b"\x20\x01\x0d\xb8" + bytes(11) + b"\x07\xff\xff", "2001:db8::7", 65535),
        (b"\x05\x01\x00\x03\x0cExample.COM.\x00\x01", "example.com", 1),
        (b"\x05\x01\x00\x03\x09192.0.2.7\x00\x01", "192.0.2.7", 1),
        (b"\x05\x01\x00\x03\x0b2001:DB8::7\x00\x01", "2001:db8::7", 1),
    ],
)
def test_requests(message: bytes, host: str, port: int) -> None:
    assert socks5.parse_request(message + b"early") == (SocksRequest(host, port), len(message))
    check_prefixes(socks5.parse_request, message + b"early")
    again = socks5.request(host, port)
    assert socks5.parse_request(again) == (SocksRequest(host, port), len(again))


GENERAL = b"\x05\x01\x00\x01" + bytes(6)
NO = b"\x01\x01"
BAD: list[tuple[Parser, bytes, str, bytes]] = [
    (socks5.parse_greeting, b"\x04", "SOCKS4", b""),
    (socks5.parse_greeting, b"C", "not SOCKS5", b""),
    (socks5.parse_userpass, b"\x05", "SOCKS5 credentials of an unknown version", NO),
    (socks5.parse_userpass, b"\x01\x00", "an empty SOCKS5 user or password", NO),
    (socks5.parse_userpass, b"\x01\x01a\x00", "an empty SOCKS5 user or password", NO),
    (socks5.parse_userpass, b"\x01\x02a\n", "a control character in a SOCKS5 user or password", NO),
    (socks5.parse_userpass, b"\x01\x01a\x02b\0", "a control character in a SOCKS5 user or password", NO),
    (socks5.parse_request, b"\x04", "a SOCKS5 request of another version", GENERAL),
    (socks5.parse_request, b"\x05\x02", "a SOCKS5 command other than CONNECT", b"\x05\x07\x00\x01" + bytes(6)),
    (socks5.parse_request, b"\x05\x03", "a SOCKS5 command other than CONNECT", b"\x05\x07\x00\x01" + bytes(6)),
    (socks5.parse_request, b"\x05\x01\x01", "a SOCKS5 request whose reserved byte is not 0", GENERAL),
    (socks5.parse_request, b"\x05\x01\x00\x02", "a SOCKS5 address of an unknown type", b"\x05\x08\x00\x01" + bytes(6)),
    (socks5.parse_request, b"\x05\x01\x00\x03\x00", "an empty host", GENERAL),
    (socks5.parse_request, b"\x05\x01\x00\x03\x03a\0b", "a host name with a byte that no name has", GENERAL),
    (socks5.parse_request, b"\x05\x01\x00\x03\x05b\xc3\xbcch",
     "a host name that is not ASCII: names in other scripts come as A-labels (xn--...)", GENERAL),
    (socks5.parse_request, b"\x05\x01\x00\x03\xff" + b"a." * 127 + b"a", "a host name longer than 253 bytes", GENERAL),
    (socks5.parse_request, b"\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x00", "port 0", GENERAL),
    (socks5.parse_method, b"H", "no SOCKS5 server", b""),
    (socks5.parse_userpass_reply, b"\x05", "SOCKS5 credentials of an unknown version", b""),
    (socks5.parse_reply, b"H", "a SOCKS5 reply of another version", b""),
    (socks5.parse_reply, b"\x05\x00\x00\x09", "a SOCKS5 address of an unknown type", b""),
]  # fmt: skip


@pytest.mark.parametrize(("parse", "message", "reason", "answer"), BAD, ids=range(len(BAD)))
def test_what_is_refused_at_the_byte_that_proves_it(parse: Parser, message: bytes, reason: str, answer: bytes) -> None:
    assert ask(parse, message) == (reason, answer)
    check_prefixes(parse, message + bytes(20))
    assert ask(parse, message[:-1]) is None


def test_replies_with_every_kind_of_address() -> None:
    for address in (b"\x01" + bytes(4), b"\x03\x04name", b"\x03\x00", b"\x04" + bytes(16)):
        message = b"\x05\x00\x00" + address + b"\x04\x38"
        assert socks5.parse_reply(message + b"early") == (0, len(message))
        check_prefixes(socks5.parse_reply, message + b"early")


@pytest.mark.parametrize("code", [1, 2, 5, 8, 255])
def test_a_failure_needs_no_address(code: int) -> None:
    assert socks5.parse_reply(bytes((5, code))) == (code, 2)
    check_prefixes(socks5.parse_reply, socks5.reply(code))


def test_credentials_that_do_not_fit() -> None:
    assert len(socks5.userpass("u" * 255, "p" * 255)) == 513
    for user, password in (("", "p"), ("u", ""), ("u" * 256, "p"), ("u", "ü" * 128)):
        with pytest.raises(ValueError, match="1 to 255 bytes"):
            socks5.userpass(user, password)


def test_credentials_that_are_not_utf_8() -> None:
    assert socks5.parse_userpass(b"\x01\x01\xe9\x01\xff") == (("é", "ÿ"), 5)


@settings(deadline=None)
@given(
    st.sampled_from(PARSERS), st.one_of(st.binary(max_size=30), st.binary(max_size=600).map(b"\x05\x01\0\3".__add__))
)
def test_any_bytes_give_one_answer_however_they_are_cut(parse: Parser, data: bytes) -> None:
    check_prefixes(parse, data)


@given(
    st.one_of(st.ip_addresses().map(str), st.from_regex(r"[a-z]{1,20}(\.[a-z]{2,20}){0,5}", fullmatch=True)),
    st.integers(1, 65535),
)
def test_what_is_asked_is_read(host: str, port: int) -> None:
    message = socks5.request(parse_host(host), port)
    assert socks5.parse_request(message) == (SocksRequest(parse_host(host), port), len(message))
