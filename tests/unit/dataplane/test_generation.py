"""A plan's counters, addresses and loads in one worker."""

from __future__ import annotations

import os
import socket
from dataclasses import replace

import pytest
from rig import gauges, plan, server

from ferryman.dataplane import counters
from ferryman.dataplane.counters import Cell
from ferryman.dataplane.generation import Generation
from ferryman.dataplane.record import Record
from ferryman.plan import Address, Plan, Server


def generation(made: Plan, index: int = 0, workers: int = 2, cells: memoryview | None = None) -> Generation:
    if cells is None:
        memory = os.memfd_create("counters")
        os.ftruncate(memory, counters.size(made) * workers)
        cells = counters.attach(memory, counters.size(made) * workers)
        os.close(memory)
    return Generation(1, made, cells, index, [])


MADE = plan(server(1, "a"), server(2, "b", max_connections=2))


def connection(made: Plan = MADE) -> Record:
    return Record(made.listeners[0], "192.0.2.1", 1, 1_700_000_000.5, 100.0)


def begin(one: Generation, record: Record, where: Server | None = None) -> Record:
    """Through all steps up to a server."""
    assert one.claim(record.listener)
    one.accepted(record)
    if where is not None:
        record.backend = MADE.backends[0]
        one.routed(record.backend, record.wall)
        assert one.occupy(where)
        record.server = where
        one.assigned(where, record.wall)
    return record


def test_a_connection_is_counted_at_each_place_it_comes_to() -> None:
    one = generation(MADE)
    record = begin(one, connection(), MADE.servers[0])
    assert gauges(MADE, one.cells) == {
        "process": 1, "listener web": 1, "backend app": 1, "queue app": 0, "server a": 1, "server b": 0,
    }  # fmt: skip
    record.bytes_in, record.bytes_out, record.total_ms, record.connect_ms = 10, 20, 7, 2
    one.moved(record, 4, 5)
    one.ended(record, 4, 5)
    assert not any(gauges(MADE, one.cells).values())
    assert one.live == 0
    for base in (
        counters.listener_base(MADE, 0), counters.backend_base(MADE, 0), counters.server_base(MADE, 0),
    ):  # fmt: skip
        cells = one.cells[base : base + counters.WIDTH]
        assert (cells[Cell.SESSIONS], cells[Cell.SESSIONS_MAX]) == (1, 1)
        assert (cells[Cell.BYTES_IN], cells[Cell.BYTES_OUT]) == (10, 20)
        assert (cells[Cell.TOTAL_MS], cells[Cell.CONNECT_MS]) == (7, 2)
        assert cells[Cell.LAST_SESSION] == 1_700_000_000


def test_peaks_stay() -> None:
    one = generation(MADE)
    for record in [begin(one, connection(), MADE.servers[0]) for _ in range(3)]:
        one.ended(record, 0, 0)
    one.ended(begin(one, connection()), 0, 0)
    base = counters.process_base(MADE)
    assert (one.cells[base + Cell.SESSIONS_MAX], one.cells[base + Cell.SESSIONS]) == (3, 4)


@pytest.mark.parametrize(
    ("code", "how", "cell"),
    [
        ("CD", "rst", Cell.CLIENT_ABORTS),
        ("CR", "fin", Cell.CLIENT_ABORTS),
        ("SD", "rst", Cell.SERVER_ABORTS),
        ("sD", "timeout", Cell.TIMEOUTS),
    ],
)
def test_bad_ends_are_counted_also_before_a_backend_was_found(code: str, how: str, cell: Cell) -> None:
    one = generation(MADE)
    record = begin(one, connection())
    record.code, record.how = code, how  # type: ignore[assignment]
    one.ended(record, 0, 0)
    assert one.cells[counters.listener_base(MADE, 0) + cell] == 1


def test_loads_are_sums_over_workers_and_each_writes_its_own() -> None:
    first = generation(MADE)
    second = generation(MADE, 1, cells=first.cells)
    begin(first, connection(), MADE.servers[1])
    begin(second, connection(), MADE.servers[1])
    for one in (first, second):
        assert (one.server_load(1), one.listener_load(0), one.backend_load(0), one.process_load()) == (2, 2, 2, 2)
        assert one.live == 1
    assert not second.occupy(MADE.servers[1]), "full over all workers"
    assert second.server_load(1) == 2
    counts = first.counts(begin(first, connection()))
    assert counts == (3, 3, 0, 0)


def test_a_fixed_address_is_known_from_the_start_and_a_name_is_not() -> None:
    servers = [
        server(1), server(1, "u", address=Address("unix", "/run/x")),
        server(1, "x", address=Address("abstract", "y")), server(1, "n", address=Address("name", "db.example", 5)),
    ]  # fmt: skip
    assert generation(plan(*servers)).targets == [
        ((socket.AF_INET, "127.0.0.1"),), ((socket.AF_UNIX, "/run/x"),), ((socket.AF_UNIX, "\0y"),), (),
    ]  # fmt: skip


def test_families_take_turns_ipv6_first() -> None:
    one = generation(MADE)
    one.set_addresses(0, ["192.0.2.1", "192.0.2.2", "2001:db8::1"])
    assert [host for _, host in one.targets[0]] == ["2001:db8::1", "192.0.2.1", "192.0.2.2"]


def test_usable_servers_follow_the_weights() -> None:
    one = generation(replace(MADE))
    assert one.usable == {"app": 2}
    one.set_weights({1: 5})
    assert one.usable == {"app": 1}


def test_a_queue_is_seen_with_its_peak() -> None:
    one = generation(MADE)
    one.queues[0].extend([None, None])  # type: ignore[list-item]
    one.queue_gauge(MADE.backends[0])
    one.queues[0].clear()
    one.queue_gauge(MADE.backends[0])
    base = counters.backend_base(MADE, 0)
    assert (one.cells[base + Cell.QUEUE_NOW], one.cells[base + Cell.QUEUE_MAX]) == (0, 2)
