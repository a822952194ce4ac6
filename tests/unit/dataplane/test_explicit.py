"""The journey of a client that names its target, in a worker of this process; the wire is tests/e2e's matter."""

from __future__ import annotations

import gc
import socket

import pytest
from proxying import answer, asks, connect_to, head, line, proxy
from rig import Rig, closed_port, reset

from ferryman.dataplane.refusal import Refusal
from ferryman.plan import Access
from ferryman.rules.condition import Test
from ferryman.rules.expression import parse
from ferryman.rules.match import Matcher

pytestmark = pytest.mark.twin

ALICE = "Proxy-Authorization: Basic YWxpY2U6cHc="
USERS = {"authenticate": True, "users": (("alice", "hash"),)}


def test_connect_becomes_a_tunnel(rig: Rig) -> None:
    proxy(rig)
    far = rig.server()
    client = connect_to(rig, far.port)
    client.sendall(b"early")
    rig.run(far.waiting)
    connection = far.accept()
    assert head(rig, client) == "HTTP/1.1 200 Connection established\r\n\r\n"
    assert rig.read(connection, 5) == b"early"
    connection.sendall(b"late")
    assert rig.read(client, 4) == b"late"
    client.close()
    connection.close()
    found = line(rig)
    assert (found["protocol"], found["target"], found["bytes"]) == (
        "connect",
        f"127.0.0.1:{far.port}",
        {"in": 5, "out": 4},
    )


def test_nothing_is_granted_before_the_target_is_connected(rig: Rig) -> None:
    proxy(rig)
    client = connect_to(rig, closed_port())
    assert head(rig, client).startswith("HTTP/1.1 502 ")
    client.close()
    assert (line(rig)["error"], line(rig)["code"]) == ("connection_refused", "SC")


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


def test_credentials_that_nobody_can_check_now(rig: Rig) -> None:
    proxy(rig, **USERS)
    client = connect_to(rig, 443, ALICE)
    answer(rig, "verify", None, "busy", "too many logins")
    said = head(rig, client)
    assert said.startswith("HTTP/1.1 429 ")
    assert "Retry-After: 5" in said
    client.close()


def test_a_name_is_resolved_once_for_rules_and_connection(rig: Rig) -> None:
    here = Test(parse("target_address"), Matcher.build("cidr", ["127.0.0.1"], type=parse("target_address").type), "")
    proxy(rig, access=(Access(here, "f:1", True),))
    far = rig.server()
    client = asks(rig, f"CONNECT name.test:{far.port} HTTP/1.1\r\n\r\n")
    answer(rig, "resolve", ["127.0.0.1"])
    rig.run(far.waiting)
    far.accept().close()
    client.close()
    assert line(rig)["rule"] == "f:1"
    assert not rig.reports("ask"), "no second look-up, which might be answered otherwise"


def test_a_rule_is_named_without_its_folder(rig: Rig) -> None:
    proxy(rig, access=(Access(None, "/etc/ferryman/a.yaml:7", False),))
    client = connect_to(rig, 443)
    said = head(rig, client)
    assert said.startswith("HTTP/1.1 403 ")
    assert "a.yaml:7" in said
    assert "/etc/ferryman" not in said
    client.close()
    assert line(rig)["rule"] == "/etc/ferryman/a.yaml:7"


def test_a_client_that_leaves_while_it_waits_leaves_nothing_behind(rig: Rig) -> None:
    proxy(rig)
    client = asks(rig, "CONNECT name.test:443 HTTP/1.1\r\n\r\n")
    rig.run(lambda: bool(rig.reports("ask")))
    reset(client)
    answer(rig, "resolve", None, "dns_error", "no such name")
    assert line(rig)["error"] == "dns_error"


def test_silence_is_answered_when_time_is_up(rig: Rig) -> None:
    proxy(rig, head_timeout=0.1)
    client = rig.client()
    assert head(rig, client).startswith("HTTP/1.1 408 ")
    client.close()
    assert (line(rig)["code"], line(rig)["how"]) == ("cR", "timeout")


def test_socks5_on_the_same_port(rig: Rig) -> None:
    proxy(rig)
    far = rig.server()
    client = rig.client()
    client.sendall(b"\x05\x01\x00\x05\x01\x00\x01\x7f\0\0\x01" + far.port.to_bytes(2, "big"))
    rig.run(far.waiting)
    connection = far.accept()
    assert rig.read(client, 12) == b"\x05\x00\x05\x00\x00\x01" + bytes(6)
    connection.close()
    client.close()
    assert line(rig)["protocol"] == "socks5"


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


def test_the_end_of_a_client_that_said_nothing(rig: Rig) -> None:
    proxy(rig)
    client = rig.client()
    client.shutdown(socket.SHUT_WR)
    found = line(rig)
    assert (found["code"], found["reason"]) == ("CR", "client: closed without a word")
