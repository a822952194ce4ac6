"""Out of descriptors, out of places, out of a worker: ferryman bends and comes back."""

from __future__ import annotations

import os
import resource
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from ferry import PATIENCE, Ferry, free_port, until
from servers import EchoServer

pytestmark = pytest.mark.twin


def configuration(port: int, server: EchoServer, listener: str = "", backend: str = "", top: str = "") -> str:
    return (
        f"{top}\nlisteners:\n  web:\n    bind: 127.0.0.1:{port}\n{listener}"
        f"    backend:\n      servers: [{{name: s, address: '{server.address}'{backend}}}]\n"
    )


def answers(port: int, text: bytes = b"hello") -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
            sock.sendall(text)
            sock.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: sock.recv(65536), b"")) == text
    except OSError:
        return False


def test_out_of_descriptors_it_pauses_says_so_and_recovers(
    run_ferry: Callable[..., Ferry], echo: Callable[..., EchoServer]
) -> None:
    server, port = echo(), free_port()
    ferry = run_ferry(configuration(port, server, top="global: {workers: 1}"))
    (worker,) = ferry.workers()
    used = len(os.listdir(f"/proc/{worker}/fd"))
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (used + 21, used + 21))
    socks: list[socket.socket] = []
    for _ in range(30):
        with suppress(ConnectionResetError):  # reset so soon that the connecting meets it
            socks.append(socket.create_connection(("127.0.0.1", port), PATIENCE))
    try:
        until(lambda: "Too many open files" in ferry.log, "the complaint")
        served = 0
        for sock in socks[:8]:
            with suppress(ConnectionError):  # accepted with the last descriptor, and none left for the server's side
                sock.sendall(b"x")
                served += sock.recv(1) == b"x"
        assert served >= 3, "those that got through are served"
    finally:
        for sock in socks:
            sock.close()
    until(lambda: answers(port), "it to serve again")
    assert ferry.workers() == [worker], "the worker lived through it"
    assert ferry.log.count("pausing for a moment") <= 3, "said once in a while, not for every connection"


def test_a_listener_at_its_limit_lets_the_rest_wait(
    run_ferry: Callable[..., Ferry], echo: Callable[..., EchoServer]
) -> None:
    server, port = echo(), free_port()
    ferry = run_ferry(configuration(port, server, listener="    max_connections: 3\n"))
    socks = [socket.create_connection(("127.0.0.1", port), PATIENCE) for _ in range(5)]
    try:
        until(lambda: ferry.listener("web")["counts"]["sessions_now"] == 3, "three to be accepted")
        for sock in socks:
            sock.sendall(b"x")
        assert server.connections <= 3
        for sock in socks[:3]:
            assert sock.recv(1) == b"x"
            sock.close()
        for sock in socks[3:]:
            assert sock.recv(1) == b"x", "those that waited have their turn"
    finally:
        for sock in socks:
            sock.close()


def test_a_server_at_its_limit_lets_the_rest_queue(
    run_ferry: Callable[..., Ferry], echo: Callable[..., EchoServer]
) -> None:
    server, port = echo(), free_port()
    ferry = run_ferry(configuration(port, server, backend=", max_connections: 1"))
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as first:
        first.sendall(b"1")
        assert first.recv(1) == b"1"
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as second:
            second.sendall(b"2")
            until(lambda: ferry.status()["backends"][0]["counts"]["queue_now"] == 1, "the second to queue")
            first.close()
            assert second.recv(1) == b"2"
    until(lambda: len(ferry.lines()) == 2, "two lines")
    assert ferry.lines()[1]["times"]["queue"] >= 0


def test_a_place_in_the_queue_has_its_time(run_ferry: Callable[..., Ferry], echo: Callable[..., EchoServer]) -> None:
    server, port = echo(), free_port()
    text = configuration(port, server, backend=", max_connections: 1") + "      queue_timeout: 200ms\n"
    ferry = run_ferry(text)
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as first:
        first.sendall(b"1")
        assert first.recv(1) == b"1"
        with pytest.raises(ConnectionResetError), socket.create_connection(("127.0.0.1", port), PATIENCE) as second:
            second.recv(1)
    line = ferry.line(lambda line: line["code"] == "sQ")
    assert line["how"] == "timeout"
    assert line["times"]["total"] >= 200


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_killed_worker_is_replaced_and_the_port_never_closes(
    run_ferry: Callable[..., Ferry], echo: Callable[..., EchoServer]
) -> None:
    server, port = echo(), free_port()
    ferry = run_ferry(configuration(port, server, top="global: {workers: 2}"))
    for _ in range(4):
        assert answers(port)
    until(lambda: ferry.listener("web")["counts"]["sessions_now"] == 0, "them to end")
    before = ferry.workers()
    os.kill(before[0], signal.SIGKILL)
    until(lambda: not is_alive(before[0]), "it to be dead: what it has accepted by then is lost with it")
    for _ in range(20):
        assert answers(port), "the listening socket is shared: nothing is refused"
    until(lambda: len(ferry.workers()) == 2 and before[0] not in ferry.workers(), "a new worker")
    until(lambda: "killed by SIGKILL" in ferry.log, "the log to say so")
    assert ferry.listener("web")["counts"]["sessions"] == 24, "the sums of the dead worker are kept"


def test_a_hundred_connections_leave_no_memory_or_descriptors_behind(
    run_ferry: Callable[..., Ferry], echo: Callable[..., EchoServer]
) -> None:
    server, port = echo(), free_port()
    ferry = run_ferry(configuration(port, server, top="global: {workers: 1}"))

    def batch() -> None:
        for _ in range(100):
            assert answers(port, b"x" * 1000)
        until(lambda: ferry.listener("web")["counts"]["sessions_now"] == 0, "all to end")

    batch()
    descriptors, memory = ferry.descriptors(), ferry.memory()
    for _ in range(5):
        batch()
    until(lambda: ferry.descriptors() <= descriptors, "descriptors to return to where they were")
    assert ferry.memory() - memory < 300_000, "less than 600 bytes for each of 500 connections, and not growing"
