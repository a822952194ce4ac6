"""Reload: the new plan is taken whole or not at all, and no connection notices."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable

import pytest
from ferry import PATIENCE, Ferry, free_port, until
from servers import EchoServer


def configuration(port: int, server: EchoServer, name: str = "web") -> str:
    return f"listeners:\n  {name}:\n    bind: 127.0.0.1:{port}\n    servers: ['{server.address}']\n"


@pytest.fixture(scope="module")
def shared(run_shared_ferry: Callable[..., Ferry]) -> Ferry:
    text = f"listeners: {{first: {{bind: '127.0.0.1:{free_port()}', servers: '127.0.0.1:1'}}}}\n"
    return run_shared_ferry(text, "ferryman.yaml", "--workers", "2")


@pytest.fixture
def run(shared: Ferry) -> Callable[[str], Ferry]:
    """ferryman with this configuration: the same one for all tests, which it reaches by a reload as well."""

    def start(text: str) -> Ferry:
        shared.file.write_text(text)
        assert (told := shared.client.reload())["ok"] is True, told
        return shared

    return start


def talk(sock: socket.socket, text: bytes) -> bytes:
    sock.sendall(text)
    received = b""
    while len(received) < len(text):
        chunk = sock.recv(4096)
        assert chunk, "the connection ended"
        received += chunk
    return received


def test_live_tunnels_stay_and_new_connections_follow_the_new_plan(
    run: Callable[[str], Ferry], echo: Callable[..., EchoServer]
) -> None:
    old, new, port = echo(), echo(), free_port()
    ferry = run(configuration(port, old, "tunnels"))
    workers = ferry.workers()
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as before:
        assert talk(before, b"one") == b"one"
        ferry.file.write_text(configuration(port, new, "tunnels"))
        assert ferry.client.reload()["ok"] is True
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as after:
            assert talk(after, b"two") == b"two"
            assert (old.connections, new.connections) == (1, 1)
            assert talk(before, b"three") == b"three", "the old tunnel lives on"
    assert ferry.workers() == workers, "no process was replaced"
    until(lambda: ferry.listener("tunnels")["counts"]["sessions_now"] == 0, "both to end")
    assert ferry.listener("tunnels")["counts"]["sessions"] == 2, "counters go on over the reload"


def test_a_bad_configuration_changes_nothing_and_says_why(
    run: Callable[[str], Ferry], echo: Callable[..., EchoServer]
) -> None:
    server, port = echo(), free_port()
    ferry = run(configuration(port, server))
    ferry.file.write_text(configuration(port, server) + "nonsense: 1\n")
    answer = ferry.client.reload()
    assert answer["ok"] is False
    assert any("nonsense" in message and ":5:1" in message for message in answer["messages"]), answer
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
        assert talk(sock, b"still there") == b"still there"


def test_a_port_that_is_taken_refuses_the_whole_reload(
    run: Callable[[str], Ferry], echo: Callable[..., EchoServer]
) -> None:
    server, port = echo(), free_port()
    ferry = run(configuration(port, server))
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        taken = occupied.getsockname()[1]
        ferry.file.write_text(configuration(port, server) + f"  more:\n    bind: 127.0.0.1:{taken}\n    to: web\n")
        answer = ferry.client.reload()
    assert answer["ok"] is False
    assert any(str(taken) in message and "in use" in message for message in answer["messages"]), answer
    assert [row["name"] for row in ferry.status()["listeners"]] == ["web"]


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR2])
def test_signals_reload(run: Callable[[str], Ferry], echo: Callable[..., EchoServer], number: signal.Signals) -> None:
    server, port, other = echo(), free_port(), free_port()
    ferry = run(configuration(port, server))
    ferry.file.write_text(configuration(other, server))
    ferry.signal(number)

    until(lambda: listens(other), "the listener to move")
    until(lambda: not listens(port), "the old port to be closed")


def test_no_connection_is_lost_while_reloading_under_load(
    run: Callable[[str], Ferry], echo: Callable[..., EchoServer]
) -> None:
    server, port = echo(), free_port()
    ferry = run(configuration(port, server))
    done, failures, count = threading.Event(), [], [0]

    def load() -> None:
        while not done.is_set():
            try:
                with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
                    assert talk(sock, b"x" * 100) == b"x" * 100
                count[0] += 1
            except (OSError, AssertionError) as error:
                failures.append(repr(error))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        reloads = 0
        while reloads < 10 or (count[0] <= 20 and not failures):
            assert ferry.client.reload()["ok"] is True
            reloads += 1
    finally:
        done.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert not failures, failures[:3]


def test_health_outlives_a_reload(run: Callable[[str], Ferry], echo: Callable[..., EchoServer]) -> None:
    server, port, dead = echo(), free_port(), free_port()
    text = f"""
listeners:
  web:
    bind: 127.0.0.1:{port}
    backend:
      check: {{interval: 100ms, timeout: 1m}}
      servers: ["{server.address}", {{name: dead, address: "127.0.0.1:{dead}"}}]
"""
    ferry = run(text)
    until(lambda: ferry.server("dead")["status"] == "DOWN", "the dead server to be found")
    since = ferry.server("dead")["state"]["changed_at"]
    ferry.file.write_text(text + "    client_timeout: 1m\n")
    assert ferry.client.reload()["ok"] is True
    row = ferry.server("dead")
    assert (row["status"], row["state"]["changed_at"]) == ("DOWN", since)
