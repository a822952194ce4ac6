"""Out of descriptors, out of places, out of a worker: ferryman bends and comes back."""

from __future__ import annotations

import os
import resource
import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from ferry import PATIENCE, Ferry, free_port, until
from servers import EchoServer

pytestmark = pytest.mark.twin


def configuration(port: int, server: EchoServer, workers: int) -> str:
    return f"""
global: {{workers: {workers}}}
listeners: {{web: {{bind: "127.0.0.1:{port}", servers: "{server.address}"}}}}
"""


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
    ferry = run_ferry(configuration(port, server, workers=1))
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


class Site:
    """A listener, with an echo server of its own, for each limit."""

    def __init__(self, run: Callable[..., Ferry], end: ExitStack) -> None:
        limits = {
            "listener": ("max_connections: 3, ", "", ""),
            "server": ("", ", max_connections: 1", ""),
            "queue": ("", ", max_connections: 1", ", queue_timeout: 200ms"),
        }
        self.servers = {name: EchoServer() for name in limits}
        for echo in self.servers.values():
            end.callback(echo.close)
        self.ports = {name: free_port() for name in limits}
        self.ferry = run(
            "listeners:\n"
            + "".join(
                f"  {name}: {{bind: '127.0.0.1:{self.ports[name]}', {listener}backend: "
                f"{{servers: [{{name: s, address: '{self.servers[name].address}'{server}}}]{backend}}}}}\n"
                for name, (listener, server, backend) in limits.items()
            )
        )

    def connect(self, listener: str) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.ports[listener]), PATIENCE)


@pytest.fixture(scope="module")
def site(run_shared_ferry: Callable[..., Ferry], at_the_end: ExitStack) -> Site:
    return Site(run_shared_ferry, at_the_end)


def test_a_listener_at_its_limit_lets_the_rest_wait(site: Site) -> None:
    socks = [site.connect("listener") for _ in range(5)]
    try:
        until(lambda: site.ferry.listener("listener")["counts"]["sessions_now"] == 3, "three to be accepted")
        for sock in socks:
            sock.sendall(b"x")
        assert site.servers["listener"].connections <= 3
        for sock in socks[:3]:
            assert sock.recv(1) == b"x"
            sock.close()
        for sock in socks[3:]:
            assert sock.recv(1) == b"x", "those that waited have their turn"
    finally:
        for sock in socks:
            sock.close()


def test_a_server_at_its_limit_lets_the_rest_queue(site: Site) -> None:
    def queue() -> int:
        rows = {row["name"]: row for row in site.ferry.status()["backends"]}
        return int(rows["server"]["counts"]["queue_now"])

    with site.connect("server") as first:
        first.sendall(b"1")
        assert first.recv(1) == b"1"
        with site.connect("server") as second:
            client = f"127.0.0.1:{second.getsockname()[1]}"
            second.sendall(b"2")
            until(lambda: queue() == 1, "the second to queue")
            first.close()
            assert second.recv(1) == b"2"
    assert site.ferry.line(lambda line: line["client"] == client)["times"]["queue"] >= 0


def test_a_place_in_the_queue_has_its_time(site: Site) -> None:
    with site.connect("queue") as first:
        first.sendall(b"1")
        assert first.recv(1) == b"1"
        with pytest.raises(ConnectionResetError), site.connect("queue") as second:
            second.recv(1)
    line = site.ferry.line(lambda line: line["listener"] == "queue" and line["code"] == "sQ")
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
    ferry = run_ferry(configuration(port, server, workers=2))
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
    ferry = run_ferry(configuration(port, server, workers=1))

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
