"""Connecting to the first of some addresses that answers, in a worker of this process."""

from __future__ import annotations

import errno
import gc
import os
import socket
from typing import Any, NamedTuple

import pytest
from rig import Rig, closed_port, hanging, plan, server

from ferryman.dataplane import connect
from ferryman.dataplane.connect import Failure, connect_to
from ferryman.dataplane.session import Session
from ferryman.plan import Source

pytestmark = pytest.mark.twin

Targets = list[tuple[int, str]]


class Failed(NamedTuple):
    """What is left of a failure."""

    code: str
    reason: str
    errno: int
    refused: bool


class Connecting(Session):
    """A session that connects and then ends; `outcome` is the descriptor, or the failure."""

    __slots__ = ("outcome", "port", "source", "targets", "timeout")
    outcome: Any
    source: Source | None
    targets: Targets
    port: int
    timeout: float

    async def journey(self) -> None:
        try:
            self.outcome = await connect_to(self, "there", self.targets, self.port, self.timeout, True, self.source)
            self.worker.loop.close(self.outcome)
        except Failure as failure:
            self.outcome = Failed(failure.code, failure.reason, failure.errno, failure.refused)
        self.end("--", "fin", "")


def begin(
    rig: Rig, targets: Targets, port: int, timeout: float = 5.0, source: Source | None = None, client: str = "192.0.2.7"
) -> tuple[Connecting, socket.socket]:
    rig.follow(plan(server(1)))
    ours, theirs = socket.socketpair()
    rig.peers.append(theirs)
    listener = rig.worker.generation.plan.listeners[0]
    made = Connecting(rig.worker, listener, ours.detach(), client, 4711)
    made.targets, made.port, made.timeout, made.source, made.outcome = targets, port, timeout, source, None
    assert rig.worker.generation.claim(listener)
    rig.worker.begin(made)
    return made, theirs


def outcome(rig: Rig, targets: Targets, port: int, timeout: float = 5.0, **origin: Any) -> Any:
    session, _ = begin(rig, targets, port, timeout, **origin)
    rig.run(lambda: session.outcome is not None)
    return session.outcome


def v4(host: str = "127.0.0.1") -> tuple[int, str]:
    return int(socket.AF_INET), host


def test_the_next_address_is_tried_at_once_when_one_refuses(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "STAGGER", 60.0)
    far = rig.server()  # on 127.0.0.1 alone
    assert outcome(rig, [v4("127.0.0.2"), v4("127.0.0.3"), v4()], far.port) > 0


def test_the_next_address_is_tried_when_one_is_silent_for_a_moment(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "STAGGER", 0.05)
    with hanging() as port, socket.create_server(("127.0.0.2", port)):
        assert outcome(rig, [v4(), v4("127.0.0.2")], port) > 0


def test_a_refusal_is_told_with_the_systems_reason(rig: Rig) -> None:
    failure = outcome(rig, [v4()], closed_port())
    assert (failure.code, failure.errno, failure.refused) == ("SC", errno.ECONNREFUSED, True)
    assert failure.reason == "there: Connection refused"


def test_no_answer_in_time(rig: Rig) -> None:
    with hanging() as port:
        failure = outcome(rig, [v4()], port, 0.1)
    assert (failure.code, failure.reason, failure.refused) == ("sC", "there: no answer within 0.1 s", False)


def test_a_client_that_leaves_ends_it(rig: Rig) -> None:
    with hanging() as port:
        session, client = begin(rig, [v4()], port)
        rig.turns(1)
        session.client_mask |= connect.ERR
        session.resume()
        rig.run(lambda: session.outcome is not None)
        client.close()
    assert session.outcome.code == "CC"


def test_from_a_fixed_address(rig: Rig) -> None:
    far = rig.server()
    assert outcome(rig, [v4()], far.port, source=Source("127.0.0.77")) > 0
    assert far.accept().getpeername()[0] == "127.0.0.77"


def test_from_the_client_s_address_and_port(rig: Rig) -> None:
    """127.0.0.78 is an address of this machine as well, so that answers come back."""
    far = rig.server()
    source = Source(client="port")
    if os.geteuid() == 0:
        assert outcome(rig, [v4()], far.port, source=source, client="127.0.0.78") > 0
        assert far.accept().getpeername() == ("127.0.0.78", 4711)
    else:
        failure = outcome(rig, [v4()], far.port, source=source, client="127.0.0.78")
        assert failure.code == "RC"
        assert "from 127.0.0.78:4711, which takes CAP_NET_RAW or CAP_NET_ADMIN" in failure.reason


def test_of_a_client_without_an_address_nothing_is_lent(rig: Rig) -> None:
    far = rig.server()
    assert outcome(rig, [v4()], far.port, source=Source("127.0.0.79", client="address"), client="unix") > 0
    assert far.accept().getpeername()[0] == "127.0.0.79"


def test_of_several_addresses_those_of_the_client_s_family_are_tried(rig: Rig) -> None:
    far = rig.server()
    targets = [(int(socket.AF_INET6), "::1"), v4()]
    assert outcome(rig, targets, far.port, source=Source("127.0.0.77")) > 0


def test_a_client_of_the_other_family_is_a_clear_failure(rig: Rig) -> None:
    failure = outcome(rig, [(int(socket.AF_INET6), "::1")], 1, source=Source(client="address"))
    assert failure.code == "SC"
    assert failure.reason == "there: cannot be reached from IPv4 address 192.0.2.7, it is at an IPv6 address"
    failure = outcome(rig, [v4()], 1, source=Source(client="address"), client="2001:db8::7")
    assert failure.reason == "there: cannot be reached from IPv6 address 2001:db8::7, it is at an IPv4 address"


def test_an_address_or_interface_that_is_not_there_is_named(rig: Rig) -> None:
    failure = outcome(rig, [v4()], 1, source=Source("203.0.113.9"))
    assert (failure.code, failure.errno) == ("RC", errno.EADDRNOTAVAIL)
    assert failure.reason == "there: cannot be reached from 203.0.113.9:0: Cannot assign requested address"
    failure = outcome(rig, [v4()], 1, source=Source(interface="no-such-card"))
    assert failure.reason == "there: cannot be reached from interface no-such-card: No such device"


def test_failures_leave_no_cycles_behind(rig: Rig) -> None:
    """The worker runs without the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            assert outcome(rig, [v4()], closed_port()).code == "SC"
        rig.run(rig.over)
        rig.turns(1)
        assert not [found for found in gc.get_objects() if isinstance(found, Failure)]
    finally:
        gc.enable()
