"""Credentials are asked for, checked elsewhere and dropped; refusals name their rule and leave nothing behind."""

from __future__ import annotations

import gc
import json

import pytest
from proxying import answer, asks, connect_to, head, line, proxy
from rig import Rig, closed_port, reset

from ferryman.dataplane import counters
from ferryman.dataplane.counters import Cell
from ferryman.dataplane.refusal import Refusal
from ferryman.rules.access import Access

pytestmark = pytest.mark.twin

ALICE = "Proxy-Authorization: Basic YWxpY2U6cHc="
USERS = {"authenticate": True, "users": (("alice", "hash"),)}


def test_credentials_are_asked_for_and_verified_elsewhere(rig: Rig) -> None:
    proxy(rig, **USERS)
    far = rig.server()
    client = connect_to(rig, far.port)
    assert head(rig, client).startswith("HTTP/1.1 407 ")
    client.sendall(f"CONNECT 127.0.0.1:{far.port} HTTP/1.1\r\n{ALICE}\r\n\r\n".encode())
    question = answer(rig, "verify", True)
    assert question["arguments"] == ["127.0.0.1", "alice", "pw"]
    rig.run(far.waiting)
    far.accept().close()
    client.close()
    assert line(rig)["user"] == "alice"


def test_each_try_has_its_line_and_is_counted(rig: Rig) -> None:
    made = proxy(rig, **USERS)
    cells = rig.follow(made)
    for text in ("CONNECT 127.0.0.1:1 HTTP/1.1\r\n\r\n", "GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: x\r\n\r\n"):
        client = asks(rig, text)
        assert head(rig, client).startswith("HTTP/1.1 407 ")
        client.sendall(text.encode())
        rig.run(lambda: len(rig.lines()) % 2 == 0)
        client.close()
        rig.run(rig.over)
    rows = [json.loads(row) for row in rig.lines()]
    shown = [(row["method"], row["status"], row["code"], row["error"]) for row in rows]
    assert shown == [(method, 407, "PR", "http_request_denied") for method in ("CONNECT", "CONNECT", "GET", "GET")]
    base = counters.listener_base(made, 0)
    assert (cells[base + Cell.SESSIONS], cells[base + Cell.DENIED_CONTENT]) == (2, 4)


@pytest.mark.parametrize("method", ["CONNECT 127.0.0.1:1", "GET http://127.0.0.1:1/"])
def test_a_request_that_comes_back_goes_no_further(rig: Rig, method: str) -> None:
    proxy(rig, **USERS)
    rig.worker.order_name("ferryman-0123abcd", descriptors=[])
    client = asks(rig, f"{method} HTTP/1.1\r\nHost: x\r\nVia: 1.1 ferryman-0123abcd, 1.1 other\r\n\r\n")
    said = head(rig, client)
    assert said.startswith("HTTP/1.1 502 ")
    assert "Proxy-Status: ferryman; error=proxy_loop_detected" in said
    client.close()
    found = line(rig)
    assert (found["code"], found["error"]) == ("PR", "proxy_loop_detected")
    other = asks(rig, f"{method} HTTP/1.1\r\nHost: x\r\nVia: 1.1 ferryman-4567cdef\r\n\r\n")
    assert head(rig, other).startswith("HTTP/1.1 407 ")
    other.close()


def test_the_line_of_a_guess_names_the_reason_and_who_was_claimed(rig: Rig) -> None:
    proxy(rig, **USERS)
    client = connect_to(rig, 443, ALICE)
    answer(rig, "verify", False)
    assert head(rig, client).startswith("HTTP/1.1 407 ")
    reset(client)
    found = line(rig)
    shown = [found[key] for key in ("code", "reason", "user", "user_claimed", "target")]
    assert shown == ["PR", "wrong user or password", None, "alice", "127.0.0.1:443"]
    assert len(rig.lines()) == 1, "the end of the connection is worth none"
    assert "YWxpY2U6cHc" not in rig.lines()[0]
    assert '"pw"' not in rig.lines()[0]


def test_a_client_that_leaves_while_it_is_refused(rig: Rig) -> None:
    proxy(rig, **USERS)
    client = connect_to(rig, 443, ALICE)
    rig.run(lambda: bool(rig.reports("ask")))
    reset(client)
    answer(rig, "verify", False)
    found = line(rig)
    assert (found["reason"], found["user_claimed"]) == ("wrong user or password", "alice")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("Bearer abc", "only Basic credentials are taken"),
        ('Digest username="alice"', "only Basic credentials are taken"),
        ("Basic ????", "credentials without a user or a password, or that are not base64"),
    ],
)
def test_credentials_that_are_none(rig: Rig, value: str, reason: str) -> None:
    proxy(rig, **USERS)
    client = connect_to(rig, 443, f"Proxy-Authorization: {value}")
    assert head(rig, client).startswith("HTTP/1.1 407 ")
    client.close()
    assert (line(rig)["reason"], line(rig)["user_claimed"]) == (reason, None)


def test_a_client_that_does_not_try_again_is_not_spoken_to(rig: Rig) -> None:
    proxy(rig, head_timeout=0.1, **USERS)
    client = connect_to(rig, 443)
    said = head(rig, client)
    rig.run(rig.over)
    rest = b"".join(iter(lambda: client.recv(4096), b""))
    client.close()
    assert said.startswith("HTTP/1.1 407 ")
    assert b"HTTP" not in rest, "no second answer"
    assert [json.loads(row)["status"] for row in rig.lines()] == [407]


def test_credentials_that_nobody_can_check_now(rig: Rig) -> None:
    proxy(rig, **USERS)
    client = connect_to(rig, 443, ALICE)
    answer(rig, "verify", None, "busy", "too many logins")
    said = head(rig, client)
    assert said.startswith("HTTP/1.1 429 ")
    assert "Retry-After: 5" in said
    client.close()


def test_a_rule_is_named_without_its_folder(rig: Rig) -> None:
    proxy(rig, access=(Access(None, "/etc/ferryman/a.yaml:7", False),))
    client = connect_to(rig, 443)
    said = head(rig, client)
    assert said.startswith("HTTP/1.1 403 ")
    assert "a.yaml:7" in said
    assert "/etc/ferryman" not in said
    client.close()
    assert line(rig)["rule"] == "/etc/ferryman/a.yaml:7"


def test_refusals_leave_no_cycles_behind(rig: Rig) -> None:
    """The worker runs without the garbage collector."""
    proxy(rig)
    gc.collect()
    gc.disable()
    try:
        for text in ("CONNECT 127.0.0.1:{} HTTP/1.1\r\n\r\n", "GET http://127.0.0.1:{}/ HTTP/1.1\r\nHost: x\r\n\r\n"):
            client = asks(rig, text.format(closed_port()))
            assert head(rig, client).startswith("HTTP/1.1 502 ")
            client.close()
            rig.run(rig.over)
        client = asks(rig, "CONNECT nowhere.test:443 HTTP/1.1\r\n\r\n")
        answer(rig, "resolve", None, "dns_error", "no such name")
        assert head(rig, client).startswith("HTTP/1.1 502 ")
        client.close()
        rig.run(rig.over)
        assert not [found for found in gc.get_objects() if isinstance(found, Refusal)]
        kinds = {"Session", "ClientStream", "Resolved", "Way"}
        rig.turns(1)
        left = [type(found).__name__ for found in gc.get_objects() if type(found).__name__ in kinds]
        assert not left
    finally:
        gc.enable()
