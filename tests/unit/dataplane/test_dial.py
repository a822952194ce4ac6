"""Reaching a server: places and queues, retries, redispatch, several addresses; in a worker of this process."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
from rig import Far, Rig, closed_port, gauges, hanging, plan, reset, server

from ferryman.dataplane import counters
from ferryman.dataplane.counters import Cell
from ferryman.plan import Address
from ferryman.rules.decision import Route

pytestmark = pytest.mark.twin


def line(rig: Rig, index: int = -1) -> dict[str, Any]:
    rig.run(lambda: len(rig.lines()) > max(index, 0))
    found: dict[str, Any] = json.loads(rig.lines()[index])
    return found


def queue_length(rig: Rig) -> Callable[[int], Callable[[], bool]]:
    return lambda length: lambda: len(rig.worker.generation.queues[0]) == length


def arrives_at(rig: Rig, client: socket.socket, far: Far) -> bool:
    rig.run(far.waiting)
    connection = far.accept()
    client.sendall(b"!")
    return rig.read(connection) == b"!"


# retries


def test_the_same_server_is_asked_again_after_a_pause(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ferryman.dataplane.dial.PAUSE", 0.05)
    made = plan(server(closed_port()), backend={"retries": 2, "redispatch": 0})
    cells = rig.follow(made)
    client = rig.client()
    with pytest.raises(ConnectionResetError):
        rig.read(client)
    said = line(rig)
    assert (said["code"], said["how"], said["retries"]) == ("SC", "rst", 2)
    assert said["times"]["total"] >= 100
    base = counters.server_base(made, 0)
    assert (cells[base + Cell.CONNECT_ERRORS], cells[base + Cell.RETRIES], cells[base + Cell.SESSIONS]) == (3, 2, 1)
    assert cells[counters.listener_base(made, 0) + Cell.CONNECT_ERRORS] == 1  # it is one session


def test_the_last_retry_may_go_elsewhere_and_at_once(rig: Rig) -> None:
    far = rig.server()
    made = plan(server(closed_port(), "dead"), server(far.port, "good"), backend={"retries": 1, "algorithm": "first"})
    cells = rig.follow(made)
    client = rig.client()
    assert arrives_at(rig, client, far)
    assert gauges(made, cells)["server dead"] == 0
    assert cells[counters.backend_base(made, 0) + Cell.REDISPATCHES] == 1
    assert cells[counters.listener_base(made, 0) + Cell.CONNECT_ERRORS] == 0  # it has a server
    rig.worker.order_kill(1, [1], descriptors=[])
    assert line(rig)["redispatched"] is True


def test_a_client_that_left_is_no_failure_of_the_server(rig: Rig) -> None:
    with hanging() as port:
        made = plan(server(port), backend={"retries": 3})
        cells = rig.follow(made)
        client = rig.client()
        rig.run(lambda: bool(rig.worker.waiting))
        reset(client)
        rig.run(rig.over)
    assert line(rig)["code"] == "CC"
    assert cells[counters.server_base(made, 0) + Cell.CONNECT_ERRORS] == 0


def test_no_answer_in_time(rig: Rig) -> None:
    with hanging() as port:
        rig.follow(plan(server(port), backend={"connect_timeout": 0.1}))
        rig.client()
        said = line(rig)
    assert (said["code"], said["how"], said["reason"]) == ("sC", "timeout", "s: no answer within 0.1 s")


# places


def test_who_waits_gets_the_place_that_is_freed(rig: Rig) -> None:
    far = rig.server()
    made = plan(server(far.port, max_connections=1))
    cells = rig.follow(made)
    first, connection = rig.through(far)
    second = rig.client()
    rig.run(queue_length(rig)(1))
    assert gauges(made, cells)["queue app"] == 1
    first.close()
    connection.close()
    assert arrives_at(rig, second, far)
    assert gauges(made, cells)["queue app"] == 0


def test_nobody_overtakes_those_who_wait(rig: Rig) -> None:
    far = rig.server()
    made = plan(server(far.port, max_connections=1))
    cells = rig.follow(made, workers=2)
    cells[counters.size(made) // 8 + counters.server_base(made, 0) + Cell.SESSIONS_NOW] = 1  # another worker's
    first = rig.client()
    rig.run(queue_length(rig)(1))
    cells[counters.size(made) // 8 + counters.server_base(made, 0) + Cell.SESSIONS_NOW] = 0
    second = rig.client()
    assert arrives_at(rig, first, far)
    rig.run(queue_length(rig)(1))
    assert not far.waiting()
    second.close()


def test_as_many_go_on_as_there_are_places(rig: Rig) -> None:
    far = rig.server()
    made = plan(server(far.port, max_connections=3))
    cells = rig.follow(made, workers=2)
    elsewhere = counters.size(made) // 8 + counters.server_base(made, 0) + Cell.SESSIONS_NOW
    cells[elsewhere] = 3
    for _ in range(4):
        rig.client()
    rig.run(queue_length(rig)(4))
    cells[elsewhere] = 0
    rig.worker.grant(rig.worker.generation.queues[0])
    while rig.worker.loop.ready:
        rig.worker.loop._resume()
    assert queue_length(rig)(1)(), "all in one go, not one at each look at the clock"


def test_a_server_that_fails_while_full_is_not_waited_for(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ferryman.dataplane.dial.PAUSE", 0.05)
    rig.follow(plan(server(closed_port(), max_connections=1), backend={"retries": 1}))
    client = rig.client()
    with pytest.raises(ConnectionResetError):
        rig.read(client)
    assert line(rig)["code"] == "SC"


def test_when_all_servers_go_down_those_who_wait_are_refused(rig: Rig) -> None:
    far = rig.server()
    rig.follow(plan(server(far.port, max_connections=1)))
    rig.through(far)
    waiting = rig.client()
    rig.run(queue_length(rig)(1))
    rig.worker.order_weights({}, descriptors=[])
    with pytest.raises(ConnectionResetError):
        rig.read(waiting)
    assert "no server available" in line(rig)["reason"]


def test_a_down_server_that_is_full_is_no_reason_to_wait(rig: Rig) -> None:
    far = rig.server()
    rig.follow(plan(server(far.port, max_connections=1)))
    rig.through(far)
    rig.worker.order_weights({}, descriptors=[])
    client = rig.client()
    with pytest.raises(ConnectionResetError):
        rig.read(client)
    assert "no server available" in line(rig)["reason"]


def test_a_queue_without_limit_at_one_server_has_none(rig: Rig) -> None:
    far = rig.server()
    rig.follow(plan(server(far.port, "a", max_connections=1, max_queue=1), server(1, "b", max_connections=1)))
    rig.worker.order_weights({0: 1}, descriptors=[])
    rig.through(far)
    for _ in range(3):
        rig.client()
    rig.run(queue_length(rig)(3))


def test_clients_wait_for_their_own_server_where_the_source_decides(rig: Rig) -> None:
    fars = [rig.server(), rig.server()]
    members = [server(far.port, f"s{index}", max_connections=1) for index, far in enumerate(fars)]
    rig.follow(plan(*members, backend={"algorithm": "source"}))
    rig.client()
    rig.run(lambda: any(far.waiting() for far in fars))
    rig.client()
    rig.run(queue_length(rig)(1))
    assert sum(far.waiting() for far in fars) == 1, "the other server would be free"


def test_a_rule_for_servers_respects_their_limits(rig: Rig) -> None:
    far, other = rig.server(), rig.server()
    rules = (Route(None, "f:1", "a"),)
    members = (server(far.port, "a", max_connections=1), server(other.port, "b"))
    rig.follow(plan(*members, backend={"server_rules": rules}))
    first, connection = rig.through(far)
    second = rig.client()
    rig.run(queue_length(rig)(1))
    assert not other.waiting()
    first.close()
    connection.close()
    assert arrives_at(rig, second, far)


# addresses


def test_another_address_of_a_name_is_tried_when_the_first_is_slow(rig: Rig) -> None:
    with hanging() as port, socket.create_server(("127.0.0.2", port)) as good:
        rig.follow(plan(server(port, address=Address("name", "two.example", port))))
        rig.worker.order_addresses({0: ["127.0.0.1", "127.0.0.2"]}, descriptors=[])
        client = rig.client()
        rig.run(lambda: rig.worker.live == 1 and not rig.worker.waiting)
        connection, _ = good.accept()
        client.sendall(b"x")
        with connection:
            assert rig.read(connection) == b"x"


def test_another_address_is_tried_at_once_when_the_first_refuses(rig: Rig) -> None:
    port = closed_port()
    with socket.create_server(("127.0.0.2", port)):
        rig.follow(plan(server(port, address=Address("name", "two.example", port))))
        rig.worker.order_addresses({0: ["127.0.0.1", "127.0.0.2"]}, descriptors=[])
        rig.client()
        rig.run(lambda: rig.worker.live == 1 and not rig.worker.waiting)
        rig.worker.order_kill(1, [1], descriptors=[])
    said = line(rig)
    assert (said["retries"], said["code"]) == (0, "K-")


def test_a_port_relative_to_the_clients_that_is_none_is_a_failure_not_a_bug(
    rig: Rig, capfd: pytest.CaptureFixture[str]
) -> None:
    rig.follow(plan(server(1, address=Address("inet", "127.0.0.1", 60000, from_client=True))))
    client = rig.client()
    with pytest.raises(ConnectionResetError):
        rig.read(client)
    assert "is no port" in line(rig)["reason"]
    assert "internal error" not in capfd.readouterr().err


def test_unix_servers_are_reached_too(rig: Rig, tmp_path: object) -> None:
    with socket.socket(socket.AF_UNIX) as far:
        far.bind(f"{tmp_path}/s")
        far.listen()
        far.settimeout(60)
        rig.follow(plan(server(0, address=Address("unix", f"{tmp_path}/s")), backend={"keepalive": True}))
        client = rig.client()
        client.sendall(b"x")
        rig.run(lambda: rig.worker.live == 1 and not rig.worker.waiting)
        connection, _ = far.accept()
        with connection:
            assert rig.read(connection) == b"x"


@pytest.mark.parametrize("wanted", [True, False])
def test_keep_alive_towards_servers(rig: Rig, wanted: bool) -> None:
    far = rig.server()
    rig.follow(plan(server(far.port), backend={"keepalive": wanted}))
    rig.through(far)
    (tunnel,) = rig.worker.tunnels()
    with socket.socket(fileno=tunnel.server.fd) as sock:
        assert bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) is wanted
        sock.detach()
