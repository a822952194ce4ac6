"""Stopping: at once, or when the last connection has ended."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable

import pytest
from ferry import Ferry, free_port, until
from servers import EchoServer


def configuration(port: int, server: EchoServer, more: str = "") -> str:
    return f"{more}listeners:\n  web:\n    bind: 127.0.0.1:{port}\n    servers: ['{server.address}']\n"


def test_term_stops_at_once_and_leaves_nothing(
    run_ferry: Callable[..., Ferry], echo: Callable[..., EchoServer]
) -> None:
    server, port = echo(), free_port()
    ferry = run_ferry(configuration(port, server))
    workers = ferry.workers()
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
        assert ferry.stop() == 0
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    assert not [pid for pid in workers if os.path.exists(f"/proc/{pid}")]
    assert not os.path.exists(ferry.control)
    assert ferry.line()["how"] == "shutdown"


@pytest.mark.parametrize("how", ["signal", "command"])
def test_drain_lets_what_is_open_end(
    run_ferry: Callable[..., Ferry], echo: Callable[..., EchoServer], how: str
) -> None:
    server, port = echo(), free_port()
    ferry = run_ferry(configuration(port, server))
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall(b"before")
        assert sock.recv(10) == b"before"
        if how == "signal":
            ferry.signal(signal.SIGUSR1)
        else:
            ferry.client.drain()

        def refused() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) != 0

        until(refused, "new connections to be refused")
        sock.sendall(b"after")
        assert sock.recv(10) == b"after"
        assert ferry.process.poll() is None
    assert ferry.process.wait(10) == 0
    assert (ferry.line()["code"], ferry.line()["ended_by"]) == ("--", "client")


def test_a_drain_has_a_limit(run_ferry: Callable[..., Ferry], echo: Callable[..., EchoServer]) -> None:
    server, port = echo(), free_port()
    ferry = run_ferry(configuration(port, server, "global: {drain_timeout: 300ms}\n"))
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
        ferry.client.drain()
        assert ferry.process.wait(10) == 0
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    assert "the rest is cut" in ferry.log
