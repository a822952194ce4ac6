"""From the name of a target to a connection: resolved once, judged by address, by the first way that works."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import cast

import pytest
from proxying import answer, asks, connect_to, head, hop, line, proxy, through
from rig import Rig, closed_port

from ferryman.dataplane import target
from ferryman.dataplane.session import Session
from ferryman.rules.match import Matcher
from ferryman.rules.networks import Networks
from ferryman.rules.noproxy import NoProxy

pytestmark = pytest.mark.twin


def test_addresses_that_may_not_be_reached_are_left_out(rig: Rig) -> None:
    proxy(rig)
    far = rig.server()
    client = asks(rig, f"CONNECT both.test:{far.port} HTTP/1.1\r\n\r\n")
    answer(rig, "resolve", ["::1", "169.254.169.254", "127.0.0.1"])
    rig.run(far.waiting)
    far.accept().close()
    assert head(rig, client).startswith("HTTP/1.1 200 ")
    client.close()
    assert line(rig)["code"] == "--"


def test_a_name_with_no_other_address_is_refused(rig: Rig) -> None:
    proxy(rig)
    client = asks(rig, "CONNECT inside.test:80 HTTP/1.1\r\n\r\n")
    answer(rig, "resolve", ["169.254.169.254"])
    said = head(rig, client)
    assert said.startswith("HTTP/1.1 403 ")
    assert "error=destination_ip_prohibited" in said
    assert "a cloud metadata address" in said
    client.close()


def test_a_name_that_is_allowed_may_be_anywhere(rig: Rig) -> None:
    proxy(rig, egress_networks=Networks(), egress_names=Matcher.build("name", ["inside.test"]))
    far = rig.server()
    client = asks(rig, f"CONNECT inside.test:{far.port} HTTP/1.1\r\n\r\n")
    answer(rig, "resolve", ["127.0.0.1"])
    rig.run(far.waiting)
    far.accept().close()
    client.close()


@pytest.mark.parametrize(("error", "status"), [("dns_error", "502"), ("timeout", "504")])
def test_a_name_that_cannot_be_resolved(rig: Rig, error: str, status: str) -> None:
    proxy(rig)
    client = asks(rig, "CONNECT nowhere.test:80 HTTP/1.1\r\n\r\n")
    answer(rig, "resolve", None, error, "no such name")
    assert head(rig, client).startswith(f"HTTP/1.1 {status} ")
    client.close()


def test_the_next_way_is_tried_when_one_fails(rig: Rig) -> None:
    far = rig.server()
    proxy(rig, via=through((hop(closed_port()),), (hop(closed_port(), "socks5"),), ()))
    client = connect_to(rig, far.port)
    rig.run(far.waiting)
    far.accept().close()
    assert head(rig, client).startswith("HTTP/1.1 200 ")
    client.close()
    assert (line(rig)["retries"], line(rig)["via"]) == (2, None)


@pytest.mark.parametrize(("said", "goes_on"), [("403 Forbidden", False), ("503 Unavailable", True)])
def test_a_proxys_verdict_is_final_but_its_inability_is_not(rig: Rig, said: str, goes_on: bool) -> None:
    judge, far = rig.server(), rig.server()
    proxy(rig, via=through((hop(judge),), ()))
    client = connect_to(rig, far.port)
    rig.run(judge.waiting)
    connection = judge.accept()
    head(rig, connection)
    connection.sendall(f"HTTP/1.1 {said}\r\nContent-Length: 0\r\n\r\n".encode())
    if goes_on:
        rig.run(far.waiting)
        far.accept().close()
    answered = head(rig, client)
    assert answered.startswith("HTTP/1.1 200 " if goes_on else "HTTP/1.1 403 ")
    assert far.waiting() is False
    client.close()


def test_exceptions_of_a_proxy_are_reached_without_it(rig: Rig) -> None:
    far = rig.server()
    proxy(rig, via=through((hop(closed_port(), exceptions=NoProxy.of(["127.0.0.0/8"])),)))
    client = connect_to(rig, far.port)
    rig.run(far.waiting)
    far.accept().close()
    client.close()


def test_an_own_listener_is_no_target_by_whatever_address(rig: Rig) -> None:
    proxy(rig)
    entry = (int(socket.AF_INET), "127.8.9.10")
    session = cast(Session, SimpleNamespace(generation=rig.worker.generation))
    rig.worker.generation.wildcard_ports = frozenset({4711})
    assert ("127.8.9.10", 4711) in target._own(session, entry, 4711), "it is this machine's"
    assert ("127.8.9.10", 4712) not in target._own(session, entry, 4712), "nothing listens everywhere on this port"
    assert ("203.0.113.9", 4711) not in target._own(session, (entry[0], "203.0.113.9"), 4711), "it is not"
