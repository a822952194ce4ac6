"""Stopping: at once, or when the last connection has ended."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable

import pytest
from ferry import PATIENCE, Ferry, free_port, until
from origin import Origin
from servers import EchoServer
from talk import Talk


def configuration(port: int, server: EchoServer, more: str = "") -> str:
    return f"{more}listeners:\n  web:\n    bind: 127.0.0.1:{port}\n    servers: ['{server.address}']\n"


def test_term_stops_at_once_and_leaves_nothing(
    run_ferry: Callable[..., Ferry], echo: Callable[..., EchoServer]
) -> None:
    server, port = echo(), free_port()
    ferry = run_ferry(configuration(port, server))
    workers = ferry.workers()
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
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
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
        client = f"127.0.0.1:{sock.getsockname()[1]}"
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
    assert ferry.process.wait(PATIENCE) == 0
    line = ferry.line(lambda line: line["client"] == client)
    assert (line["code"], line["ended_by"]) == ("--", "client")


def test_a_drain_has_a_limit(run_ferry: Callable[..., Ferry], echo: Callable[..., EchoServer]) -> None:
    server, port = echo(), free_port()
    ferry = run_ferry(configuration(port, server, "global: {drain_timeout: 300ms}\n"))
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
        ferry.client.drain()
        assert ferry.process.wait(PATIENCE) == 0
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    assert "the rest is cut" in ferry.log


def test_a_drain_of_an_explicit_proxy_waits_for_what_is_under_way_only(run_ferry: Callable[..., Ferry]) -> None:
    """Idle clients are let go, answers under way say that they are the last, and nothing new is begun."""
    port = free_port()
    text = f"listeners: {{out: {{bind: '127.0.0.1:{port}', connect: {{egress_allow: [127.0.0.1]}}}}}}"
    ferry = run_ferry(f"global: {{workers: 1}}\n{text}\n")
    origin = Origin()
    request = f"GET http://{origin.address}/say/x HTTP/1.1\r\nHost: x\r\n\r\n"
    slow = f"POST http://{origin.address}/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"
    with Talk(port) as idle, Talk(port) as busy, Talk(port) as plain, Talk(port) as tunnel, Talk(port) as silent:
        idle.send(request)
        assert idle.answer().get("connection") == ""
        busy.send(f"{slow}12")
        until(lambda: origin.connections == 2, "the request to be under way")
        until(lambda: ferry.listener("out")["counts"]["sessions_now"] == 5, "all to be accepted")
        ferry.client.drain()
        assert idle.rest() == b"", "an orderly end, at once"
        plain.send(request)
        refused = plain.answer()
        assert (refused.status, refused.error) == (503, "proxy_internal_response")
        assert (refused.get("retry-after"), refused.get("connection")) == ("5", "close")
        assert tunnel.connect(origin.address).status == 503
        silent.send(b"\x05\x01\x00\x05\x01\x00\x01\x7f\0\0\x01\x00\x50")
        assert silent.exactly(4) == b"\x05\x00\x05\x01"
        assert ferry.process.poll() is None, "one request is still under way"
        busy.send("34")
        last = busy.answer()
        assert (last.body, last.get("connection")) == (b"1234", "close")
        assert busy.rest() == b""
    assert ferry.process.wait(PATIENCE) == 0
    origin.close()
    ends = sorted((line.get("status") or 0, line["code"], line["how"]) for line in ferry.lines())
    assert ends == [(0, "K-", "shutdown"), (200, "--", "fin"), (200, "--", "fin"), *[(503, "K-", "shutdown")] * 2]
