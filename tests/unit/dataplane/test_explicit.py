"""The journey of a client that names its target, in a worker of this process; the wire is tests/e2e's matter."""

from __future__ import annotations

import socket

import pytest
from proxying import answer, asks, connect_to, head, line, proxy
from rig import Rig, closed_port, reset

from ferryman.rules.access import Access
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


def test_socks5_with_a_wrong_password(rig: Rig) -> None:
    proxy(rig, **USERS)
    client = rig.client()
    client.sendall(b"\x05\x01\x02\x01\x05alice\x02pw")
    answer(rig, "verify", False)
    assert rig.read(client, 4) == b"\x05\x02\x01\x01"
    client.close()
    found = line(rig)
    shown = [found[key] for key in ("protocol", "target", "user", "user_claimed", "error", "reason")]
    assert shown == ["socks5", None, None, "alice", "http_request_denied", "wrong user or password"]


def test_socks5_without_a_password(rig: Rig) -> None:
    proxy(rig, **USERS)
    client = rig.client()
    client.sendall(b"\x05\x01\x00")
    assert rig.read(client, 2) == b"\x05\xff"
    client.close()
    found = line(rig)
    assert (found["error"], found["reason"]) == ("http_request_denied", "SOCKS5: it offers no user and password")


def test_the_end_of_a_client_that_said_nothing(rig: Rig) -> None:
    proxy(rig)
    client = rig.client()
    client.shutdown(socket.SHUT_WR)
    found = line(rig)
    assert (found["code"], found["reason"]) == ("CR", "client: closed without a word")
