"""However a SOCKS5 message is cut, its reader gives one answer and never raises but BadSocks; what it takes is clean.

That is: a prefix answers None or the answer of the whole, no reader wants more than 600 bytes, and a request that was
read is written and read again as the same.
"""

from __future__ import annotations

from collections.abc import Callable

import driver

from ferryman.wire import socks5
from ferryman.wire.authority import parse_host
from ferryman.wire.socks5 import BadSocks

PARSERS: list[Callable[[bytes], tuple[object, int] | None]] = [
    socks5.parse_greeting,
    socks5.parse_userpass,
    socks5.parse_request,
    socks5.parse_method,
    socks5.parse_userpass_reply,
    socks5.parse_reply,
]


def ask(parse: Callable[[bytes], tuple[object, int] | None], data: bytes) -> object:
    try:
        answer = parse(data)
    except BadSocks as bad:
        return bad.reason, bad.answer
    if answer is not None:
        assert 0 < answer[1] <= len(data)
    return answer


def one(data: bytes) -> None:
    for parse in PARSERS:
        final = ask(parse, data)
        assert final is not None or len(data) < 600
        decided = False
        for end in range(min(len(data), 600)):
            answer = ask(parse, data[:end])
            assert answer is not None or not decided
            decided = decided or answer is not None
            assert answer is None or answer == final
    try:
        read = socks5.parse_request(data)
    except BadSocks:
        return
    if read is not None:
        host, port = read[0]
        assert parse_host(host) == host
        again = socks5.request(host, port)
        assert socks5.parse_request(again) == ((host, port), len(again))


SEEDS = [
    b"\x05\x02\x00\x02",
    b"\x01\x05alice\x06secret",
    b"\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x50",
    b"\x05\x01\x00\x03\x0bexample.com\x01\xbb\x16\x03\x01",
    b"\x05\x01\x00\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x07\x00\x50",
    b"\x05\x01\x00\x03\x0b2001:DB8::7\x00\x01",
    b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00early",
    b"\x05\x05\x00",
    b"\x01\x00",
]

if __name__ == "__main__":
    driver.main(one, SEEDS)
