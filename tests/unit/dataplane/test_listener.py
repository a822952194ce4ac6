"""Doors: limits, breathers, reloads; in a worker of this process."""

from __future__ import annotations

import errno
import os
import socket

import pytest
from rig import Rig, closed_port, gauges, plan, reset, server

from ferryman.dataplane import counters
from ferryman.dataplane.counters import Cell
from ferryman.dataplane.worker import TICK
from ferryman.plan import Settings

pytestmark = pytest.mark.twin


def accepted(rig: Rig) -> int:
    return rig.worker.connections


@pytest.mark.parametrize("whose", ["listener", "process"])
def test_at_the_limit_the_next_waits_and_comes_when_there_is_room(rig: Rig, whose: str) -> None:
    far = rig.server()
    limit = {"listener": {"max_connections": 2}} if whose == "listener" else {"settings": Settings(max_connections=2)}
    made = plan(server(far.port), **limit)  # type: ignore[arg-type]
    cells = rig.follow(made)
    clients = [rig.client() for _ in range(3)]
    rig.run(lambda: accepted(rig) == 2)
    rig.turns(3)
    assert accepted(rig) == 2
    assert gauges(made, cells)["process"] == 2
    clients[0].close()
    rig.run(far.waiting)
    far.accept().close()
    rig.run(lambda: accepted(rig) == 3)


def test_a_door_paused_for_what_others_hold_looks_again_though_nothing_lives_here(rig: Rig) -> None:
    far = rig.server()
    made = plan(server(far.port), listener={"max_connections": 1})
    cells = rig.follow(made, workers=2)
    elsewhere = counters.size(made) // 8 + counters.listener_base(made, 0) + Cell.SESSIONS_NOW
    rig.turns(2)
    cells[elsewhere] = 1
    rig.worker.loop.interval = rig.worker.wished
    assert rig.worker.loop.interval is None
    rig.client()
    rig.worker.doors["web"].event(1)
    assert rig.worker.loop.interval == TICK, "nothing else would ever wake it"
    cells[elsewhere] = 0
    rig.run(lambda: accepted(rig) == 1)


def test_two_workers_never_take_the_same_last_place(rig: Rig) -> None:
    made = plan(server(1), listener={"max_connections": 2})
    cells = rig.follow(made, workers=2)
    generation = rig.worker.generation
    elsewhere = counters.size(made) // 8 + counters.listener_base(made, 0) + Cell.SESSIONS_NOW
    assert generation.claim(made.listeners[0])
    cells[elsewhere] = 1  # between our looking and our accepting
    assert not generation.claim(made.listeners[0])
    assert gauges(made, cells)["listener web"] == 1, "a place that was not to be had is given back"
    generation.unclaim(made.listeners[0])


def test_out_of_descriptors_it_pauses_says_so_once_and_goes_on(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    far = rig.server()
    made = plan(server(far.port))
    cells = rig.follow(made)
    tries = [0]

    def accept(listener: int) -> None:
        tries[0] += 1
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr("ferryman.dataplane.listener.fdio.accept", accept)
        rig.client()
        rig.run(lambda: tries[0] == 2)
    rig.run(lambda: accepted(rig) == 1)
    assert cells[counters.listener_base(made, 0) + Cell.ACCEPT_ERRORS] == 2
    (said,) = rig.reports("event")
    assert said["text"] == "listener web: accept: Too many open files; pausing for a moment"


def test_a_connection_that_broke_before_it_was_accepted_is_no_reason_to_pause(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = plan(server(closed_port()))
    cells = rig.follow(made)

    def accept(listener: int) -> None:
        raise OSError(errno.ECONNABORTED, os.strerror(errno.ECONNABORTED))

    monkeypatch.setattr("ferryman.dataplane.listener.fdio.accept", accept)
    rig.client()
    rig.turns(2)
    assert not rig.worker.paused
    assert gauges(made, cells)["listener web"] == 0


def test_a_door_that_cannot_be_watched_again_tries_later(rig: Rig) -> None:
    far = rig.server()
    rig.follow(plan(server(far.port)))
    door = rig.worker.doors["web"]
    door.pause(0.0)
    number, door.fd = door.fd, 10_000  # EBADF stands for ENOMEM
    door.unpause()
    assert door.paused
    assert rig.worker.paused == [door]
    door.fd = number
    rig.client()
    rig.run(lambda: accepted(rig) == 1)


def test_a_paused_door_follows_a_new_plan(rig: Rig) -> None:
    far = rig.server()
    rig.follow(plan(server(far.port), listener={"max_connections": 1}))
    rig.through(far)
    rig.client()
    rig.run(lambda: bool(rig.worker.paused))
    made = plan(server(far.port))
    cells = rig.follow(made)
    rig.run(lambda: accepted(rig) == 2)
    assert gauges(made, cells)["listener web"] == 1, "what came by the old plan is counted there"


def test_a_paused_door_can_be_closed_by_a_new_plan(rig: Rig) -> None:
    far = rig.server()
    rig.follow(plan(server(far.port), listener={"max_connections": 1}, more=("second",)))
    rig.through(far, "second")
    rig.client("second")
    rig.run(lambda: bool(rig.worker.paused))
    fd = rig.worker.doors["second"].fd
    rig.follow(plan(server(far.port)))
    rig.turns(1)
    assert not rig.worker.paused
    assert rig.worker.loop.table[fd] is None
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_where_a_client_came_to_is_known(rig: Rig) -> None:
    far = rig.server()
    rig.follow(plan(server(far.port)))
    rig.through(far)
    (tunnel,) = rig.worker.tunnels()
    assert (tunnel.record.local_host, tunnel.record.local_port) == rig.doors["web"].getsockname()
    assert (tunnel.record.client_host, tunnel.record.client_port) == rig.peers[-1].getsockname()  # type: ignore[union-attr]


def test_a_door_on_all_addresses_asks_each_connection(rig: Rig) -> None:
    far = rig.server()
    rig.doors["web"] = socket.create_server(("0.0.0.0", 0))
    rig.doors["web"].setblocking(False)
    rig.follow(plan(server(far.port)))
    assert rig.worker.doors["web"].local is None
    with socket.create_connection(("127.0.0.5", rig.doors["web"].getsockname()[1])):
        rig.run(lambda: accepted(rig) == 1)
        rig.run(lambda: bool(rig.worker.tunnels()))
        (tunnel,) = rig.worker.tunnels()
        assert tunnel.record.local_host == "127.0.0.5"


def test_one_client_has_so_many_and_no_more(rig: Rig) -> None:
    far = rig.server()
    made = plan(server(far.port), listener={"max_per_client": 2})
    cells = rig.follow(made)
    kept = [rig.through(far)[0] for _ in range(2)]
    over = rig.client()
    rig.run(lambda: accepted(rig) == 3)
    with pytest.raises(ConnectionResetError):
        over.recv(1)
    assert cells[counters.listener_base(made, 0) + Cell.DENIED_CONNECTION] == 1
    rig.follow(plan(server(far.port), listener={"max_per_client": 2}))
    with pytest.raises(ConnectionResetError):
        rig.read(rig.client(), 1)
    reset(kept[0])
    rig.run(lambda: rig.worker.live == 1)
    rig.through(far)


def test_a_limit_that_comes_and_goes_with_the_plan(rig: Rig) -> None:
    far = rig.server()
    first = rig.follow(plan(server(far.port)))
    assert first
    kept = [rig.through(far)[0] for _ in range(2)]
    rig.follow(plan(server(far.port), listener={"max_per_client": 1}))
    kept.append(rig.through(far)[0])
    rig.follow(plan(server(far.port)))
    kept.append(rig.through(far)[0])
    for client in kept:
        reset(client)
    rig.run(lambda: rig.worker.live == 0)
    rig.follow(plan(server(far.port), listener={"max_per_client": 1}))
    rig.through(far)
    with pytest.raises(ConnectionResetError):
        rig.read(rig.client(), 1)
