"""However a head is cut, the HTTP/1 reader gives one answer and never raises but BadHead; what it takes goes on safely.

That is: a prefix answers None or the answer of the whole; a value has only bytes that it may have and says where the
head ends; and the head that is made of it for the next hop is read there as the same message, without fields of this
hop.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable

import driver

from ferryman.wire.authority import format_authority, parse_authority
from ferryman.wire.basic import basic_authorization, basic_credentials
from ferryman.wire.http1 import BadHead, Framing, Request, Response, parse_request, parse_response
from ferryman.wire.http1forward import forwarded_request, forwarded_response, upgrade

LIMIT = 400

Head = Request | Response
Reader = Callable[[bytes], tuple[Head, int] | None]


def ask(read: Reader, data: bytes) -> tuple[Head, int] | tuple[int, str] | None:
    try:
        return read(data)
    except BadHead as error:
        return error.status, error.reason


def check_cuts(read: Reader, data: bytes, rng: random.Random) -> None:
    final = ask(read, data)
    around = (data.find(b"\n") + 1, data.find(b"\r\n\r\n") + 4, LIMIT, LIMIT + 1)
    ends = sorted({*around, *(max(0, end - 1) for end in around), *(rng.randrange(len(data) + 1) for _ in range(12))})
    decided = False
    for end in ends:
        answer = ask(read, data[:end])
        if answer is None:
            assert not decided
        else:
            decided = True
            assert answer == final
    assert final is not None or len(data) <= LIMIT


def check_head(head: Head, data: bytes) -> None:
    assert data.endswith(b"\r\n\r\n")
    assert data.count(b"\n") == len(head.headers) + 2 + data.startswith(b"\r\n")
    for name, (sent, value) in zip(head.names, head.headers, strict=True):
        assert sent.lower() == name
        assert value == value.strip(" \t")
        assert not {"\r", "\n", "\0"} & {*name, *value}
    lengths = head.get_all("content-length")
    if head.body is Framing.CHUNKED:
        assert not lengths
    elif isinstance(head, Request):
        assert lengths in ([], [str(head.body)]) or int(lengths[0]) == head.body


def check_request(head: Request) -> None:
    if head.form in ("authority", "absolute"):
        assert parse_authority(format_authority(head.host, head.port)) == (head.host, head.port)
    credentials = basic_credentials(head.get("proxy-authorization") or "")
    if credentials is not None:
        assert basic_credentials(basic_authorization(*credentials)) == credentials
    if head.form not in ("origin", "absolute") or head.get("host") == "":
        return
    for target in (head.path, head.target):
        again = parse_request(forwarded_request(head, target))
        assert again is not None
        check_same(head, again[0])
        assert (again[0].method, again[0].target) == (head.method, target)
        assert again[0].get_all("proxy-authorization") == []


def check_same(head: Head, again: Head) -> None:
    assert again.body == head.body
    assert again.get_all("via")[-1].endswith("ferryman")
    assert upgrade(again) == upgrade(head)
    assert ("connection" in again.names) == bool(upgrade(head))
    assert "keep-alive" not in again.names


def one(data: bytes) -> None:
    rng = random.Random(zlib.crc32(data))
    check_cuts(lambda piece: parse_request(piece, LIMIT), data, rng)
    answer = ask(parse_request, data)
    if answer is not None and isinstance(answer[0], Request):
        check_head(answer[0], data[: int(answer[1])])
        check_request(answer[0])
    for method in ("GET", "HEAD", "CONNECT"):
        check_cuts(lambda piece, method=method: parse_response(piece, method, LIMIT), data, rng)  # type: ignore[misc]
        response = ask(lambda piece, method=method: parse_response(piece, method), data)  # type: ignore[misc]
        if response is not None and isinstance(response[0], Response):
            check_head(response[0], data[: int(response[1])])
            if response[0].status != 204 and method == "GET":
                again = parse_response(forwarded_response(response[0], (1, 1)), method)
                assert again is not None
                check_same(response[0], again[0])


FIELDS = (
    b"Host: h:81\r\nProxy-Authorization: basic dTpw\r\nConnection: Upgrade, X-Hop\r\nX-Hop: 1\r\nUpgrade: SPDY/3.1\r\n"
)
SEEDS = [
    b"CONNECT dvm.apps.example:443 HTTP/1.1\r\nHost: dvm.apps.example:443\r\nProxy-Authorization: basic dTpw\r\n\r\n",
    b"CONNECT [2001:db8::1]:443 HTTP/1.0\r\n\r\n\x16\x03\x01",
    b"\r\nPOST http://h:81/x?y HTTP/1.1\r\n" + FIELDS + b"Content-Length: 5\r\n\r\nhello",
    b"GET /x HTTP/1.1\r\n" + FIELDS + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost:\t\r\nKeep-Alive: timeout=5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello",
    b"HTTP/1.0 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=x\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"a" * LIMIT + b"\r\n\r\n",
]

if __name__ == "__main__":
    driver.main(one, SEEDS)
