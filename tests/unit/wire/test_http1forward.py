"""Heads on their way: what is for this hop stays here, the rest goes on as it came."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman.wire.http1 import Request, Response, parse_request, parse_response
from ferryman.wire.http1forward import (
    connect_request,
    final_answer,
    forwarded_request,
    forwarded_response,
    forwards_left,
    has_passed,
    upgrade,
    via,
    wants_close,
)


def request(line: str, *fields: str) -> Request:
    answer = parse_request("\r\n".join([line, *fields, "\r\n"]).encode("latin-1"))
    assert answer is not None
    return answer[0]


def response(line: str, *fields: str) -> Response:
    answer = parse_response("\r\n".join([line, *fields, "\r\n"]).encode("latin-1"), "GET")
    assert answer is not None
    return answer[0]


def lines(head: bytes) -> list[str]:
    assert head.endswith(b"\r\n\r\n")
    return head.decode("latin-1").split("\r\n")[:-2]


GET = "GET http://Example.com:8080/a?b HTTP/1.1"
SPDY = ("POST http://h/exec HTTP/1.1", "Host: h", "Connection: Upgrade", "Upgrade: SPDY/3.1", "X-Stream: v4")


def test_a_request_of_curl() -> None:
    head = request(GET, "Host: Example.com:8080", "User-Agent: curl/8", "Accept: */*", "Proxy-Connection: Keep-Alive",
                   "Proxy-Authorization: Basic eDp5", "Authorization: Bearer z")  # fmt: skip
    assert lines(forwarded_request(head, head.path, [("Connection", "close")])) == [
        "GET /a?b HTTP/1.1",
        "Host: example.com:8080",
        "User-Agent: curl/8",
        "Accept: */*",
        "Authorization: Bearer z",
        "Via: 1.1 ferryman",
        "Connection: close",
    ]


def test_a_request_to_another_proxy_keeps_its_uri() -> None:
    head = request(GET, "Host: x")
    extra = [("Proxy-Authorization", "Basic eDp5")]
    assert lines(forwarded_request(head, head.target, extra)) == [
        GET,
        "Host: example.com:8080",
        "Via: 1.1 ferryman",
        "Proxy-Authorization: Basic eDp5",
    ]


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("http://h/", "h"),
        ("http://h:80/", "h"),
        ("http://H:81/", "h:81"),
        ("http://[::1]/", "[::1]"),
        ("http://[::1]:81/", "[::1]:81"),
        ("/", "evil.example"),
    ],
)
def test_host_is_what_the_uri_says(target: str, host: str) -> None:
    head = request(f"GET {target} HTTP/1.1", "Host: evil.example")
    assert lines(forwarded_request(head, head.path))[1] == f"Host: {host}"


def test_what_connection_names_stays_here_but_for_what_frames_the_message() -> None:
    head = request("POST http://h/ HTTP/1.1", "Host: h", "Connection: close, X-Hop ,HOST", "x-hop: 1", "X-On: 2",
                   "connection: content-length,transfer-encoding, Via,", "Content-Length: 5", "Keep-Alive: 5",
                   "TE: trailers", "Via: 1.0 other", "Trailer: Digest")  # fmt: skip
    assert lines(forwarded_request(head, "/")) == [
        "POST / HTTP/1.1",
        "Host: h",
        "X-On: 2",
        "Content-Length: 5",
        "Via: 1.0 other",
        "Trailer: Digest",
        "Via: 1.1 ferryman",
    ]


def test_an_old_client_is_announced_as_one() -> None:
    head = request("GET http://h/ HTTP/1.0")
    assert lines(forwarded_request(head, "/")) == ["GET / HTTP/1.1", "Host: h", "Via: 1.0 ferryman"]


# --- Upgrade ---


def test_an_upgrade_goes_on_and_so_does_its_101() -> None:
    head = request(*SPDY)
    assert upgrade(head) == "SPDY/3.1"
    assert lines(forwarded_request(head, head.path)) == [
        "POST /exec HTTP/1.1",
        "Host: h",
        "X-Stream: v4",
        "Via: 1.1 ferryman",
        "Connection: Upgrade",
        "Upgrade: SPDY/3.1",
    ]
    answer = response("HTTP/1.1 101 Switching Protocols", "Upgrade: SPDY/3.1", "Connection: upgrade", "X-Stream: v4")
    assert upgrade(answer) == "SPDY/3.1"
    assert lines(forwarded_response(answer, (1, 1))) == [
        "HTTP/1.1 101 Switching Protocols",
        "X-Stream: v4",
        "Via: 1.1 ferryman",
        "Connection: Upgrade",
        "Upgrade: SPDY/3.1",
    ]


def test_websocket_with_a_connection_of_several_options() -> None:
    head = request("GET http://h/ HTTP/1.1", "Host: h", "Connection: keep-alive, Upgrade", "Upgrade: websocket")
    assert upgrade(head) == "websocket"
    assert lines(forwarded_request(head, "/"))[-2:] == ["Connection: Upgrade", "Upgrade: websocket"]


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("GET http://h/ HTTP/1.1", ("Upgrade: websocket",)),
        ("GET http://h/ HTTP/1.1", ("Connection: Upgrade",)),
        ("GET http://h/ HTTP/1.1", ("Connection: close", "Upgrade: websocket")),
        ("GET http://h/ HTTP/1.0", ("Connection: Upgrade", "Upgrade: websocket")),
        ("GET http://h/ HTTP/1.1", ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMA")),
        ("GET http://h/ HTTP/1.1", ("Connection: Upgrade", "Upgrade: websocket", "Upgrade: H2C")),
    ],
)
def test_what_is_no_upgrade_is_taken_off(line: str, fields: tuple[str, ...]) -> None:
    head = request(line, "Host: h", *fields)
    assert upgrade(head) == ""
    assert [name.partition(":")[0] for name in lines(forwarded_request(head, "/"))[1:]] == ["Host", "Via"]


# --- responses ---


def test_a_response_loses_what_was_for_this_hop() -> None:
    answer = response("HTTP/1.0 200 Très bien", "Connection: X-Hop, close", "X-Hop: 1", "Keep-Alive: timeout=5",
                      "Content-Length: 5", "Set-Cookie: a", "Set-Cookie: b", "Proxy-Connection: close")  # fmt: skip
    assert lines(forwarded_response(answer, (1, 1), [("Connection", "close")])) == [
        "HTTP/1.1 200 Très bien",
        "Content-Length: 5",
        "Set-Cookie: a",
        "Set-Cookie: b",
        "Via: 1.0 ferryman",
        "Connection: close",
    ]


def test_chunks_are_announced_only_to_those_who_know_them() -> None:
    answer = response("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")
    assert "Transfer-Encoding: chunked" in lines(forwarded_response(answer, (1, 1)))
    assert lines(forwarded_response(answer, (1, 0))) == ["HTTP/1.1 200 OK", "Via: 1.1 ferryman"]


@pytest.mark.parametrize("status", ["100 Continue", "101 Switch", "204 None"])
def test_a_body_that_cannot_be_is_not_announced(status: str) -> None:
    answer = response(f"HTTP/1.1 {status}", "Content-Length: 5", "Transfer-Encoding: chunked")
    assert lines(forwarded_response(answer, (1, 1))) == [f"HTTP/1.1 {status}", "Via: 1.1 ferryman"]


@pytest.mark.parametrize(
    ("line", "fields", "closes"),
    [
        ("GET http://h/ HTTP/1.1", (), False),
        ("GET http://h/ HTTP/1.1", ("Connection: x, Close",), True),
        ("GET http://h/ HTTP/1.1", ("Proxy-Connection: close",), True),
        ("GET http://h/ HTTP/1.1", ("Proxy-Connection: close", "Connection: keep-alive"), False),
        ("GET http://h/ HTTP/1.0", (), True),
        ("GET http://h/ HTTP/1.0", ("Connection: Keep-Alive",), False),
        ("GET http://h/ HTTP/1.0", ("Proxy-Connection: Keep-Alive",), False),
        ("GET http://h/ HTTP/1.0", ("Connection: close, keep-alive",), True),
    ],
)
def test_who_closes(line: str, fields: tuple[str, ...], closes: bool) -> None:
    assert wants_close(request(line, "Host: h", *fields)) is closes


# --- CONNECT to another proxy ---


def test_a_tunnel_is_asked_for() -> None:
    assert connect_request("h", 443, "1.1 a") == b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\nVia: 1.1 a\r\n\r\n"
    assert connect_request("::1", 22, "1.1 a", "Basic eDp5") == (
        b"CONNECT [::1]:22 HTTP/1.1\r\nHost: [::1]:22\r\nVia: 1.1 a\r\nProxy-Authorization: Basic eDp5\r\n\r\n"
    )
    with pytest.raises(AssertionError):
        connect_request("h", 443, "1.1 a", "a\r\nX: y")


# --- Via ---


@pytest.mark.parametrize(
    ("fields", "sent", "passed"),
    [
        ((), "1.1 me", False),
        (("Via: 1.0 fred, 1.1 p.example.net",), "1.0 fred, 1.1 p.example.net, 1.1 me", False),
        (("Via: 1.0 fred", "via: HTTP/1.1 me (Apache/1.1)"), "1.0 fred, HTTP/1.1 me (Apache/1.1), 1.1 me", True),
        (("Via: 1.1 me",), "1.1 me, 1.1 me", True),
        (("Via: 1.1 me-too,1.1",), "1.1 me-too,1.1, 1.1 me", False),
    ],
)
def test_the_hops_so_far(fields: tuple[str, ...], sent: str, passed: bool) -> None:
    head = request("CONNECT h:443 HTTP/1.1", "Host: h", *fields)
    assert via(head, "me") == sent
    assert has_passed(head, "me") is passed
    assert lines(forwarded_request(head, "/", name="me"))[-1] == "Via: 1.1 me"


name = st.sampled_from(["A", "Connection", "Upgrade", "Keep-Alive", "Via", "X-Hop", "Proxy-Authorization", "TE"])
value = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_categories=("Cc",)), max_size=20)
some_fields = st.lists(
    st.tuples(name, st.one_of(value, st.sampled_from(["upgrade", "close, x-hop", "websocket"]))),
    max_size=8,
    unique_by=lambda field: "proxy" if field[0] == "Proxy-Authorization" else (field[0], field[1]),
)


@settings(deadline=None)
@given(some_fields)
def test_what_goes_on_is_a_head_and_a_second_time_nothing_is_taken_off(fields: list[tuple[str, str]]) -> None:
    head = request(GET, "Host: h", *(f"{name}: {value}" for name, value in fields))
    once = parse_request(forwarded_request(head, head.target))
    assert once is not None
    assert {"proxy-authorization", "keep-alive", "te"}.isdisjoint(once[0].names)
    again = parse_request(forwarded_request(once[0], head.target))
    assert again is not None
    assert sorted(again[0].headers) == sorted([*once[0].headers, ("Via", "1.1 ferryman")])


@pytest.mark.parametrize(
    ("method", "value", "left"),
    [
        ("OPTIONS", "0", 0),
        ("TRACE", "007", 7),
        ("TRACE", "9" * 5000, 999_999_999),
        ("OPTIONS", "-1", None),
        ("OPTIONS", "", None),
        ("OPTIONS", "\xb2", None),
        ("GET", "0", None),
    ],
)
def test_how_often_it_may_still_be_forwarded(method: str, value: str, left: int | None) -> None:
    head = request(f"{method} http://h/ HTTP/1.1", "Host: h", f"Max-Forwards: {value}")
    assert forwards_left(head) == left
    if left != 0:
        passed = [line for line in lines(forwarded_request(head, head.path)) if line.startswith("Max-Forwards:")]
        assert passed == [f"Max-Forwards: {value if left is None else left - 1}"]


def test_it_is_counted_down_though_connection_names_it() -> None:
    head = request("TRACE http://h/ HTTP/1.1", "Host: h", "Max-Forwards: 3", "Connection: Max-Forwards")
    assert "Max-Forwards: 2" in lines(forwarded_request(head, head.path))


def test_the_answer_of_the_last_hop() -> None:
    secrets = ("Cookie: c", "Authorization: x", "Proxy-Authorization: y")
    head = request("TRACE http://h/a HTTP/1.1", "Host: h", "Max-Forwards: 0", *secrets, "X-A: \xe9")
    content = b"TRACE http://h/a HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\nX-A: \xe9\r\n\r\n"
    assert final_answer(head, "GET", True) == (
        b"HTTP/1.1 200 OK\r\nContent-Type: message/http\r\nConnection: keep-alive\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(content), content)
    )
    asked = request("OPTIONS http://h HTTP/1.1", "Host: h", "Max-Forwards: 0")
    assert final_answer(asked, "GET, HEAD", False) == (
        b"HTTP/1.1 200 OK\r\nAllow: GET, HEAD\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    )
