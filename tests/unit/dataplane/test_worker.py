"""A worker in this process: orders in, connections through, and nothing left behind whatever happens to them."""

from __future__ import annotations

import gc
import json
import select
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from rig import Rig, closed_port, gauges, hanging, open_descriptors, plan, reset, server

from ferryman.dataplane import connect, counters
from ferryman.dataplane.channel import send_order
from ferryman.dataplane.counters import Cell
from ferryman.dataplane.loop import ERR
from ferryman.dataplane.record import Record
from ferryman.dataplane.relay import End, Tunnel
from ferryman.dataplane.session import Session
from ferryman.dataplane.worker import BROKEN
from ferryman.plan import AccessLog, Address, LogTarget
from ferryman.rules.decision import Action, Rule

pytestmark = pytest.mark.twin

REJECT = Rule(Action.REJECT, None, "f:1")
DROP = Rule(Action.DROP, None, "f:2")


def codes(rig: Rig) -> list[str]:
    return [json.loads(line)["code"] for line in rig.lines()]


# each of these makes a connection end in its own way; `meet` gives the plan, `end` what happens then


def carried(rig: Rig) -> None:
    far = rig.server()
    rig.follow(plan(server(far.port)))
    client, connection = rig.through(far)
    client.close()
    assert rig.read(connection) == b""
    connection.close()


def bulk(rig: Rig) -> None:
    far = rig.server()
    rig.follow(plan(server(far.port)))
    client, connection = rig.through(far)
    client.setblocking(False)
    connection.setblocking(False)
    sent = received = 0
    while received < 3_000_000:
        if sent < 3_000_000 and select.select([], [client], [], 0)[1]:
            sent += client.send(bytes(min(200_000, 3_000_000 - sent)))
        rig.turns(1)
        while select.select([connection], [], [], 0)[0]:
            received += len(connection.recv(1_000_000))
    reset(client)


def refused_at_accept(rig: Rig) -> None:
    rig.follow(plan(server(1), listener={"connection": (REJECT,)}))
    rig.client()


def dropped(rig: Rig) -> None:
    rig.follow(plan(server(1), listener={"inspect": (DROP,)}))
    rig.client()


def without_backend(rig: Rig) -> None:
    rig.follow(plan(server(1), listener={"default_backend": ""}))
    rig.client()


def without_server(rig: Rig) -> None:
    rig.follow(plan(server(1)), weights={0: 0})
    rig.client()


def without_address(rig: Rig) -> None:
    rig.follow(plan(replace(server(1), address=Address("name", "nowhere.example", 1))))
    rig.client()


def refused_by_all(rig: Rig) -> None:
    rig.follow(plan(server(closed_port(), "a"), server(closed_port(), "b"), backend={"retries": 1}))
    rig.client()


def gone_while_dialing(rig: Rig) -> None:
    with hanging() as port:
        rig.follow(plan(server(port)))
        client = rig.client()
        rig.run(lambda: bool(rig.worker.waiting))
        reset(client)
        rig.run(rig.over)


def killed_while_dialing(rig: Rig) -> None:
    with hanging() as port:
        rig.follow(plan(server(port)))
        rig.client()
        rig.run(lambda: bool(rig.worker.waiting))
        rig.worker.order_kill(1, [1], descriptors=[])


def gone_in_the_pause(rig: Rig) -> None:
    rig.follow(plan(server(closed_port()), backend={"retries": 1}))
    client = rig.client()
    rig.run(lambda: any(session.record.retries for session in rig.worker.waiting))
    reset(client)


def queued(rig: Rig, **backend: Any) -> socket.socket:
    """A server's only place is taken; the client that waits for it."""
    far = rig.server()
    rig.follow(plan(server(far.port, max_connections=1), backend=backend))
    rig.through(far)
    waiting = rig.client()
    rig.run(lambda: bool(rig.worker.generation.queues[0]))
    return waiting


def gone_in_the_queue(rig: Rig) -> None:
    reset(queued(rig))
    rig.run(lambda: not rig.worker.waiting)
    rig.worker.order_kill(1, [1], descriptors=[])


def killed_in_the_queue(rig: Rig) -> None:
    queued(rig)
    rig.worker.order_kill(1, [2, 1], descriptors=[])


def too_long_in_the_queue(rig: Rig) -> None:
    queued(rig, queue_timeout=0.5)
    rig.run(lambda: not rig.worker.waiting)
    rig.worker.order_kill(1, [1], descriptors=[])


def too_many_in_the_queue(rig: Rig) -> None:
    far = rig.server()
    rig.follow(plan(server(far.port, max_connections=1, max_queue=1)))
    rig.through(far)
    rig.client()
    rig.run(lambda: bool(rig.worker.generation.queues[0]))
    rig.client()
    rig.run(lambda: rig.worker.connections == 3 and len(rig.worker.waiting) == 1)
    rig.worker.order_kill(1, [1, 2], descriptors=[])


def broken_by_a_bug(rig: Rig) -> None:
    with pytest.MonkeyPatch.context() as patch, hanging() as port:
        rig.follow(plan(server(port)))
        rig.client()
        rig.run(lambda: bool(rig.worker.waiting))

        def bug(*_: object) -> None:
            raise RuntimeError("a bug")

        patch.setattr("ferryman.dataplane.connect.fdio.so_error", bug)
        (session,) = rig.worker.waiting
        (attempt,) = [h for h in rig.worker.loop.table if isinstance(h, connect.Attempt)]
        attempt.mask = ERR
        rig.worker.loop.ready.append(session)
        rig.run(rig.over)


WAYS: list[tuple[Callable[[Rig], object], list[str]]] = [
    (carried, ["--"]),
    (bulk, ["CD"]),
    (refused_at_accept, ["PR"]),
    (dropped, ["PR"]),
    (without_backend, ["SC"]),
    (without_server, ["SC"]),
    (without_address, ["SC"]),
    (refused_by_all, ["SC"]),
    (gone_while_dialing, ["CC"]),
    (killed_while_dialing, ["K-"]),
    (gone_in_the_pause, ["CC"]),
    (gone_in_the_queue, ["CQ", "K-"]),
    (killed_in_the_queue, ["K-", "K-"]),
    (too_long_in_the_queue, ["sQ", "K-"]),
    (too_many_in_the_queue, ["SQ", "K-", "K-"]),
    (broken_by_a_bug, ["I-"]),
]


@pytest.mark.parametrize(("way", "expected"), WAYS, ids=lambda value: getattr(value, "__name__", ""))
def test_however_a_connection_ends_nothing_of_it_is_left(
    rig: Rig, way: Callable[[Rig], object], expected: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    gc.collect()
    gc.disable()  # as in a worker
    try:
        way(rig)
        rig.run(rig.over)
        rig.turns(1)
        left = [
            x for x in gc.get_objects() if isinstance(x, Session | Tunnel | Record | connect.Attempt | connect.Failure)
        ]
        left += [x for x in gc.get_objects() if isinstance(x, End) and hasattr(x, "tunnel")]
        assert not left, "what only the garbage collector could free is a leak"
    finally:
        gc.enable()
    worker = rig.worker
    assert not worker.waiting
    present = worker.generation.plan
    assert not any(gauges(present, worker.generation.cells).values())
    assert sorted(codes(rig)) == sorted(expected)
    table = {number for number, handler in enumerate(worker.loop.table) if handler is not None}
    assert table == {rig.theirs.fileno(), worker.doors["web"].fd}, "no descriptor is watched any more"
    if way is not broken_by_a_bug:
        assert "internal error" not in capfd.readouterr().err


def test_descriptors_return_to_where_they_were(rig: Rig) -> None:
    rig.follow(plan(server(closed_port(), "a"), server(closed_port(), "b"), backend={"retries": 1}))
    before = open_descriptors()
    for _ in range(5):
        rig.client()
    rig.run(lambda: rig.worker.connections == 5 and rig.over())
    assert open_descriptors() == before + 5, "only the far ends are still open"


# several plans


def test_a_tunnel_of_an_earlier_plan_logs_its_end_where_it_would_have(rig: Rig) -> None:
    far = rig.server()
    rig.follow(plan(server(far.port)))
    client, connection = rig.through(far)
    rig.follow(plan(server(far.port, "renamed")))
    client.close()
    connection.close()
    rig.run(rig.over)
    assert [json.loads(line)["server"] for line in rig.lines()] == ["s"]


def test_its_target_stays_open_as_long_as_it_lives_though_the_new_plan_has_none(rig: Rig) -> None:
    far = rig.server()
    rig.follow(plan(server(far.port)))
    client, connection = rig.through(far)
    rig.follow(plan(server(far.port), log=AccessLog((), "json")))
    assert len(rig.worker.sinks) == 1
    client.close()
    connection.close()
    rig.run(rig.over)
    assert codes(rig) == ["--"]
    assert not rig.worker.sinks, "nobody writes to it any more"
    assert rig.worker.generations == [rig.worker.generation]


def test_numbers_of_connections_in_its_line_are_those_of_its_own_plan(
    rig: Rig, capfd: pytest.CaptureFixture[str]
) -> None:
    far = rig.server()
    target = LogTarget(0, "file", "log", format="raw")
    rig.follow(plan(server(far.port), log=AccessLog((target,), "tcp"), more=("second",)))
    client, connection = rig.through(far, "second")
    rig.follow(plan(server(far.port), log=AccessLog((target,), "tcp")))
    client.close()
    connection.close()
    rig.run(rig.over)
    (line,) = rig.lines()
    assert " second app/s " in line
    assert "internal error" not in capfd.readouterr().err


def test_log_files_are_replaced_in_the_order_of_the_plan(rig: Rig) -> None:
    far = rig.server()
    rig.follow(plan(server(far.port)))
    read, write = socket.socketpair()
    rig.peers += [read]
    rig.worker.order_logs(descriptors=[write.detach()])
    client, connection = rig.through(far)
    client.close()
    connection.close()
    rig.run(rig.over)
    assert b'"code":"--"' in read.recv(5000)
    assert not rig.lines()


def test_one_who_queues_by_an_earlier_plan_gets_the_place_another_worker_frees(rig: Rig) -> None:
    far = rig.server()
    first = plan(server(far.port, max_connections=1))
    cells = rig.follow(first, workers=2)
    elsewhere = counters.size(first) // 8 + counters.server_base(first, 0) + Cell.SESSIONS_NOW
    cells[elsewhere] = 1  # the other worker's connection
    client = rig.client()
    rig.run(lambda: bool(rig.worker.generation.queues[0]))
    rig.follow(plan(server(far.port, max_connections=1)), workers=2)
    cells[elsewhere] = 0
    client.sendall(b"x")
    rig.run(far.waiting)
    assert rig.read(far.accept()) == b"x"


def test_marking_a_server_down_ends_its_tunnels_whatever_plan_they_began_with(rig: Rig) -> None:
    far, other = rig.server(), rig.server()
    rig.follow(plan(server(far.port, "a")))
    client, _ = rig.through(far)
    rig.follow(plan(server(other.port, "b"), server(far.port, "a")))
    rig.worker.order_kill_server(0, descriptors=[])
    assert rig.worker.live == 1, "another server than the one the tunnel has gone to"
    rig.worker.order_kill_server(1, descriptors=[])
    rig.run(rig.over)
    with pytest.raises(ConnectionResetError):
        rig.read(client)
    assert codes(rig) == ["D-"]


# orders


def test_it_lists_and_ends_connections(rig: Rig) -> None:
    far = rig.server()
    rig.follow(plan(server(far.port)))
    client, _ = rig.through(far)
    rig.worker.order_sessions(7, descriptors=[])
    (answer,) = rig.reports("sessions")
    (row,) = answer["sessions"]
    assert (answer["request"], row["server"], row["state"], row["bytes_in"]) == (7, "s", "carried", 1)
    rig.worker.order_kill(8, [row["id"], 999], descriptors=[])
    assert rig.reports("killed") == [{"kind": "killed", "request": 8, "count": 1}]
    with pytest.raises(ConnectionResetError):
        rig.read(client)


def test_draining_closes_the_doors_and_tells_when_the_last_has_ended(rig: Rig) -> None:
    far = rig.server()
    rig.follow(plan(server(far.port)))
    client, connection = rig.through(far)
    rig.worker.order_drain(descriptors=[])
    rig.client()  # waits in the kernel's queue, for another worker
    rig.turns(2)
    assert rig.worker.connections == 1
    assert not rig.reports("drained")
    client.close()
    connection.close()
    rig.run(rig.over)
    assert len(rig.reports("drained")) == 1


def test_a_plan_while_draining_opens_no_door_and_keeps_no_descriptor(rig: Rig) -> None:
    rig.follow(plan(server(1)))
    rig.worker.order_drain(descriptors=[])
    rig.turns(1)
    before = open_descriptors()
    rig.follow(plan(server(1), more=("second",)))
    rig.turns(1)
    assert open_descriptors() == before + 1, "the test's own socket"
    assert not rig.worker.doors


def test_when_the_supervisor_is_gone_everything_is_cut_and_logged(rig: Rig) -> None:
    far = rig.server()
    rig.follow(plan(server(far.port)))
    client, _ = rig.through(far)
    rig.worker.order_sessions(1, descriptors=[])  # never read: the supervisor's end is reset, not closed in order
    rig.channel.close()
    rig.worker.until = lambda: False
    assert rig.worker.run() == 0
    assert [json.loads(line)["how"] for line in rig.lines()] == ["shutdown"]
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_an_order_that_cannot_be_carried_out_ends_the_worker_with_a_status(
    rig: Rig, capfd: pytest.CaptureFixture[str]
) -> None:
    rig.follow(plan(server(1)))
    send_order(rig.channel, ("addresses", {99: ["192.0.2.1"]}))
    rig.worker.until = lambda: False
    assert rig.worker.run() == BROKEN
    assert "internal error in Driven" in capfd.readouterr().err


def test_orders_arrive_through_the_channel(rig: Rig) -> None:
    rig.follow(plan(server(1)))
    send_order(rig.channel, ("weights", {0: 0}))
    rig.run(lambda: rig.worker.generation.usable["app"] == 0)
    assert rig.reports("ready") == [{"kind": "ready", "generation": 1}]


# time


def test_with_nothing_alive_it_sleeps_without_a_clock(rig: Rig) -> None:
    rig.follow(plan(server(1)))
    rig.turns(2)
    assert rig.worker.wished is None


def test_silent_tunnels_are_cut_soon_after_their_limit(rig: Rig) -> None:
    far = rig.server()
    rig.follow(plan(server(far.port), listener={"client_timeout": 0.5}))
    client, _ = rig.through(far)
    assert rig.read(client) == b""
    assert codes(rig) == ["cD"]


def test_counters_see_a_tunnel_while_it_lives_and_count_nothing_twice(rig: Rig) -> None:
    far = rig.server()
    made = plan(server(far.port), listener={"client_timeout": 3.0})
    cells = rig.follow(made)
    base = counters.server_base(made, 0)
    client, connection = rig.through(far)
    client.sendall(b"12345")
    rig.run(lambda: cells[base + Cell.BYTES_IN] == 6)
    connection.sendall(b"1234")
    assert rig.read(client, 4) == b"1234"
    client.close()
    connection.close()
    rig.run(rig.over)
    assert (cells[base + Cell.BYTES_IN], cells[base + Cell.BYTES_OUT], cells[base + Cell.SESSIONS]) == (6, 4, 1)


def test_what_moved_within_the_kernel_is_counted(rig: Rig) -> None:
    bulk(rig)
    rig.run(rig.over)
    made, cells = rig.worker.generation.plan, rig.worker.generation.cells
    base = counters.listener_base(made, 0)
    assert cells[base + Cell.SPLICED] == 1
    assert 2_000_000 < cells[base + Cell.BYTES_SPLICED] <= 3_000_001
