"""From the name of a target to a connection: resolved once, judged by address, by the first way that works."""

from __future__ import annotations

from dataclasses import replace

import pytest
from proxying import answer, asks, connect_to, head, hop, line, proxy, through
from rig import Rig, closed_port

from ferryman.plan import Address
from ferryman.rules.match import Matcher
from ferryman.rules.networks import Networks, network
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


@pytest.mark.parametrize(
    ("allowed", "name", "status"),
    [("127.0.0.0/8", "", 403), ("127.0.0.1", "", 502), ("10.0.0.0/8", "127.0.0.1", 502)],
)
def test_own_listeners_are_not_let_through_with_others(rig: Rig, allowed: str, name: str, status: int) -> None:
    port = closed_port()
    names = Matcher.build("name", [name]) if name else None
    made = proxy(rig, egress_networks=Networks.of([network(allowed)]), egress_names=names)
    bound = replace(made.listeners[0], bind=(Address("inet", "127.0.0.1", port),))
    rig.follow(replace(made, listeners=(bound,)))
    client = connect_to(rig, port)
    said = head(rig, client)
    assert said.startswith(f"HTTP/1.1 {status} ")
    assert ("a listener of this proxy" in said) is (status == 403)
    client.close()


@pytest.mark.parametrize(("host", "allowed"), [("localhost", "127.0.0.0/8"), ("metadata.goog", "169.254.169.254")])
def test_names_resolved_elsewhere_are_let_through_as_what_they_stand_for(rig: Rig, host: str, allowed: str) -> None:
    far = rig.server()
    proxy(rig, via=through((hop(far),)), egress_networks=Networks.of([network(allowed)]))
    client = asks(rig, f"CONNECT {host}:443 HTTP/1.1\r\n\r\n")
    rig.run(far.waiting)
    client.close()
