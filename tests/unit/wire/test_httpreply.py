"""Replies of the proxy itself, as HTTP clients read them; nothing that is put in can end a line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferryman.wire.basic import challenge
from ferryman.wire.http1 import Response, parse_response
from ferryman.wire.httpreply import ESTABLISHED, proxy_status, reply, without_body

text = st.text(st.characters(exclude_categories=("Cs",)))


def read(message: bytes, method: str = "CONNECT") -> tuple[Response, bytes]:
    answer = parse_response(message, method)
    assert answer is not None
    return answer[0], message[answer[1] :]


def test_the_tunnel_begins_right_after_the_empty_line() -> None:
    head, rest = read(ESTABLISHED)
    assert (head.status, head.headers, head.body, rest) == (200, (), 0, b"")


def test_a_refusal_byte_for_byte() -> None:
    headers = [challenge("ferryman"), proxy_status("ferryman", "http_request_denied", "no credentials")]
    assert reply(407, "", headers, "Who are you?\n") == (
        b"HTTP/1.1 407 Proxy Authentication Required\r\n"
        b'Proxy-Authenticate: Basic realm="ferryman", charset="UTF-8"\r\n'
        b'Proxy-Status: ferryman; error=http_request_denied; details="no credentials"\r\n'
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: 13\r\n\r\nWho are you?\n"
    )


def test_a_reply_without_a_body_says_so() -> None:
    assert reply(502, "Down") == b"HTTP/1.1 502 Down\r\nContent-Length: 0\r\n\r\n"


def test_the_answer_to_head_has_the_length_and_no_body() -> None:
    message = without_body(reply(403, "", [("Connection", "close")], "No.\r\n\r\nNo."))
    head, rest = read(message, "HEAD")
    assert (head.get("content-length"), rest) == ("10", b"")


@pytest.mark.parametrize("status", [400, 403, 405, 407, 408, 413, 414, 429, 431, 501, 502, 503, 504, 505])
def test_every_status_has_a_reason(status: int) -> None:
    head, _ = read(reply(status, ""))
    assert head.status == status
    assert head.reason


def test_line_ends_become_question_marks() -> None:
    message = reply(502, "a\r\nX: y", [("A", "b\r\nSet-Cookie: c\n\rd\0e\x7f")], "")
    assert message == b"HTTP/1.1 502 a??X: y\r\nA: b??Set-Cookie: c??d?e?\r\nContent-Length: 0\r\n\r\n"


def test_a_field_name_that_is_none_is_a_mistake() -> None:
    for name in ("", "a b", "a:", "a\r\n", "é"):
        with pytest.raises(AssertionError):
            reply(502, "", [(name, "x")])


@given(text, text, text, text)
def test_no_text_adds_a_line(reason: str, value: str, details: str, body: str) -> None:
    fields = [("A", value), proxy_status(value, "dns_error", details, 503), challenge(value)]
    head, rest = read(reply(502, reason, fields, body))
    assert head.names[:3] == ("a", "proxy-status", "proxy-authenticate")
    assert set(head.names[3:]) <= {"content-type", "content-length"}
    assert rest == body.encode()
    assert head.body == len(rest)


@pytest.mark.parametrize(
    ("name", "details", "received", "value"),
    [
        ("ferryman", "", 0, "ferryman; error=dns_error"),
        ("a.b", 'say "hi"\\', 0, r'a.b; error=dns_error; details="say \"hi\"\\"'),
        ("a b", "", 0, '"a b"; error=dns_error'),
        ("1a", "é\n", 407, '"1a"; error=dns_error; received-status=407; details="??"'),
    ],
)
def test_proxy_status_is_a_structured_field(name: str, details: str, received: int, value: str) -> None:
    assert proxy_status(name, "dns_error", details, received) == ("Proxy-Status", value)


def test_an_error_type_that_is_none_is_a_mistake() -> None:
    for error in ("", "DNS", "a; b", "a\r\n"):
        with pytest.raises(AssertionError):
            proxy_status("ferryman", error)
