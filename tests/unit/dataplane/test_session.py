"""The journey of a connection, accept to tunnel, in a worker of this process."""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import ssl
from typing import Any

import pytest
from rig import Far, Rig, plan, reset, server

from ferryman.dataplane import counters
from ferryman.dataplane.counters import Cell
from ferryman.plan import Plan
from ferryman.rules.condition import Condition, Test
from ferryman.rules.decision import Action, Route, Rule
from ferryman.rules.expression import parse
from ferryman.rules.match import Matcher

pytestmark = pytest.mark.twin


def condition(fact: str, method: str, *patterns: str) -> Condition:
    return Test(parse(fact), Matcher.build(method, patterns, type=parse(fact).type), fact)


TO_APP = Route(condition("sni", "name", "*.example.org"), "f:1", "app")
NAME = Rule(Action.CAPTURE, None, "f:3", parse("sni"))


def by_name(far: Far, **listener: Any) -> Plan:
    """*.example.org goes to the server, everything else is refused."""
    fields = {"routes": (TO_APP,), "default_backend": "", "needs_hello": True, "inspect_timeout": 5.0, **listener}
    return plan(server(far.port), listener=fields)


def hello(name: str = "www.example.org") -> bytes:
    outgoing = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def line(rig: Rig) -> dict[str, Any]:
    rig.run(lambda: bool(rig.lines()))
    found: dict[str, Any] = json.loads(rig.lines()[-1])
    return found


def test_what_rules_have_looked_at_reaches_the_server_untouched(rig: Rig) -> None:
    far = rig.server()
    rig.follow(by_name(far))
    client, data = rig.client(), hello() + b"and more"
    client.sendall(data)
    rig.run(far.waiting)
    connection = far.accept()
    assert rig.read(connection, len(data)) == data
    client.close()
    connection.close()
    assert (line(rig)["sni"], line(rig)["rule"], line(rig)["bytes"]["in"]) == ("www.example.org", "f:1", len(data))


@pytest.mark.parametrize("cut", [1, 5, 100, -1])
def test_the_rest_of_a_hello_is_waited_for(rig: Rig, cut: int) -> None:
    far = rig.server()
    rig.follow(by_name(far))
    client, data = rig.client(), hello()
    client.sendall(data[:cut])
    rig.run(lambda: bool(rig.worker.waiting))
    rig.turns(2)
    assert not far.waiting()
    client.sendall(data[cut:])
    rig.run(far.waiting)
    connection = far.accept()
    assert rig.read(connection, len(data)) == data
    client.sendall(b"x")
    assert rig.read(connection) == b"x", "one byte is told again, though more was waited for before"


def test_half_a_hello_and_nothing_more_is_decided_when_time_is_up(rig: Rig) -> None:
    far = rig.server()
    made = by_name(far, inspect_timeout=0.1, default_backend="app")
    cells = rig.follow(made)
    client, data = rig.client(), hello()[:50]
    client.sendall(data)
    rig.run(far.waiting)
    assert rig.read(far.accept(), 50) == data
    assert cells[counters.listener_base(made, 0) + Cell.BAD_HELLOS] == 1


def test_a_client_that_ends_after_half_a_hello_is_decided_at_once(rig: Rig) -> None:
    far = rig.server()
    rig.follow(by_name(far, default_backend="app"))
    client, data = rig.client(), hello()[:50]
    client.sendall(data)
    client.shutdown(socket.SHUT_WR)
    rig.run(far.waiting)
    assert rig.read(far.accept(), 51) == data, "with its end behind it"


def test_what_is_no_hello_goes_where_no_name_leads(rig: Rig) -> None:
    far = rig.server()
    rig.follow(by_name(far))
    client = rig.client()
    client.sendall(b"GET / HTTP/1.0\r\n\r\n")
    with pytest.raises(ConnectionResetError):  # it had sent something that nobody read
        rig.read(client)
    assert (line(rig)["code"], line(rig)["how"]) == ("PR", "policy")


def test_a_name_is_kept_for_the_log(rig: Rig) -> None:
    far = rig.server()
    rig.follow(by_name(far, inspect=(NAME,), capture_slots=1))
    client = rig.client()
    client.sendall(hello("other.example"))
    assert line(rig)["captures"] == ["other.example"]


@pytest.mark.parametrize("sent", [b"", b"\x16\x03"])
def test_a_client_that_leaves_while_its_hello_is_awaited(rig: Rig, sent: bytes) -> None:
    far = rig.server()
    made = by_name(far)
    cells = rig.follow(made)
    client = rig.client()
    client.sendall(sent)
    rig.run(lambda: bool(rig.worker.waiting))
    reset(client)
    assert (line(rig)["code"], line(rig)["how"]) == ("CR", "rst")
    assert cells[counters.listener_base(made, 0) + Cell.CLIENT_ABORTS] == 1


def test_a_client_that_ends_without_a_word(rig: Rig) -> None:
    rig.follow(by_name(rig.server()))
    rig.client().close()
    assert line(rig)["reason"] == "client: closed without having sent anything"


def test_bytes_sent_before_the_server_was_reached_are_kept_and_so_is_the_end(rig: Rig) -> None:
    far = rig.server()
    rig.follow(plan(server(far.port)))
    client = rig.client()
    client.sendall(b"early")
    client.shutdown(socket.SHUT_WR)
    rig.run(far.waiting)
    assert rig.read(far.accept(), 6) == b"early"


def test_a_server_that_speaks_first_and_ends_at_once(rig: Rig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as far:
        rig.follow(plan(server(far.getsockname()[1])))
        client = rig.client()
        far.settimeout(60)
        rig.run(lambda: bool(select.select([far], [], [], 0)[0]))
        connection, _ = far.accept()
        connection.sendall(b"bye")
        connection.close()
        assert rig.read(client, 4) == b"bye"


def test_refused_at_accept(rig: Rig) -> None:
    made = plan(server(1), listener={"connection": (Rule(Action.REJECT, None, "f:7"),)})
    cells = rig.follow(made)
    assert rig.read(rig.client()) == b""
    said = line(rig)
    assert (said["code"], said["rule"], said["reason"]) == ("PR", "f:7", "refused by the rule at f:7")
    assert cells[counters.listener_base(made, 0) + Cell.DENIED_CONNECTION] == 1


def test_dropped_a_client_hears_nothing_as_far_as_may_be(rig: Rig) -> None:
    rig.follow(plan(server(1), listener={"connection": (Rule(Action.DROP, None, "f:8"),)}))
    client = rig.client()
    rig.run(rig.over)
    assert line(rig)["rule"] == "f:8"
    if os.geteuid() == 0:  # CAP_NET_ADMIN
        assert not select.select([client], [], [], 0.1)[0]


def test_when_the_kernel_has_no_room_the_connection_is_refused_and_the_log_says_why(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    rig.follow(by_name(rig.server()))

    def no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(rig.worker.loop, "watch", no_room)
    client = rig.client()
    with pytest.raises(ConnectionResetError):
        rig.read(client)
    assert (line(rig)["code"], line(rig)["reason"]) == ("RC", "out of resources: No space left on device")
    assert "internal error" not in capfd.readouterr().err


def test_a_session_that_became_a_tunnel_can_do_it_no_harm(rig: Rig) -> None:
    far = rig.server()
    rig.follow(plan(server(far.port)))
    rig.client()
    rig.run(lambda: bool(rig.worker.waiting))
    (session,) = rig.worker.waiting
    rig.run(lambda: not rig.worker.waiting)
    session.resume()
    session.abort()
    session.cut("K-", "killed", "too late")
    assert rig.worker.live == 1
