"""Why a client does not get what it asked for, in HTTP and in SOCKS5."""

from __future__ import annotations

import errno

import pytest

from ferryman.dataplane.connect import Failure
from ferryman.dataplane.refusal import SOCKS, STATUS, Refusal, denied, refused


def test_a_reply_says_why_to_people_and_to_tools() -> None:
    message = Refusal("dns_error", "nowhere.test: no such name").reply().decode()
    head, _, body = message.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 502 Bad Gateway\r\n")
    assert 'Proxy-Status: ferryman; error=dns_error; details="nowhere.test: no such name"' in head
    assert "Connection: close" in head
    assert f"Content-Length: {len(body)}" in head
    assert body == "ferryman: nowhere.test: no such name\n"


def test_a_reply_to_head_has_the_length_and_no_body() -> None:
    whole = Refusal("dns_error", "x").reply()
    assert Refusal("dns_error", "x").reply(head_only=True) == whole[: whole.index(b"\r\n\r\n") + 4]


def test_no_text_from_elsewhere_ends_a_line() -> None:
    message = Refusal("dns_error", 'a "b"\\\r\nX-Injected: 1', headers=[("Allow", "A\r\nX: 1")]).reply()
    assert b"\r\nX" not in message.partition(b"\r\n\r\n")[0]


def test_the_connection_stays_where_credentials_would_help() -> None:
    refusal = Refusal("http_request_denied", "who?", status=407, again=True, headers=[("Proxy-Authenticate", "Basic")])
    assert b"HTTP/1.1 407 " in refusal.reply()
    assert b"\r\nConnection: keep-alive\r\n" in refusal.reply()
    assert b"\r\nProxy-Authenticate: Basic\r\n" in refusal.reply()


def test_what_an_upstream_proxy_said_is_told() -> None:
    assert b"; received-status=403;" in Refusal("http_request_denied", "no", received=403).reply()


def test_a_rule_that_says_no_is_403_and_no_fault_of_anybody() -> None:
    refusal = denied("refused by the rule at f:1")
    assert (refusal.status, refusal.code, refusal.how, refusal.socks) == (403, "PR", "policy", 2)


@pytest.mark.parametrize(
    ("failure", "error", "status", "socks"),
    [
        (Failure("SC", "x", errno.ECONNREFUSED), "connection_refused", 502, 5),
        (Failure("sC", "x"), "connection_timeout", 504, 6),
        (Failure("SC", "x", errno.EHOSTUNREACH), "destination_ip_unroutable", 502, 3),
        (Failure("SC", "x", errno.ENETUNREACH), "destination_ip_unroutable", 502, 3),
        (Failure("RC", "x", errno.EMFILE), "proxy_internal_error", 500, 1),
        (Failure("CC", "x"), "connection_terminated", 502, 1),
    ],
)
def test_a_connection_that_failed(failure: Failure, error: str, status: int, socks: int) -> None:
    refusal = refused(failure)
    assert (refusal.error, refusal.status, refusal.socks, refusal.code) == (error, status, socks, failure.code)


def test_every_socks_reply_belongs_to_a_known_error() -> None:
    assert set(SOCKS) <= set(STATUS)
