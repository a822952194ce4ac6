"""Ten thousand clients that begin a request and never finish it: others are served, all are gone in the end."""

from __future__ import annotations

import resource
import selectors
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from ferry import PATIENCE, Ferry, free_port, until
from servers import EchoServer
from talk import Talk

COUNT = 10_000


@pytest.fixture
def room() -> Iterator[int]:
    """How many connections this process may have: its limit of descriptors is raised for the test."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield min(COUNT, hard - 500)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_half_open_heads_are_answered_and_closed_and_others_are_served_meanwhile(
    run_ferry: Callable[..., Ferry], echo: Callable[..., EchoServer], room: int
) -> None:
    server, patient, hasty = echo(), free_port(), free_port()
    ferry = run_ferry(f"""
global: {{workers: 1}}
listeners:
  patient: {{bind: "127.0.0.1:{patient}", connect: {{egress_allow: [127.0.0.1], head_timeout: 5m}}}}
  hasty: {{bind: "127.0.0.1:{hasty}", connect: {{egress_allow: [127.0.0.1], head_timeout: 3s}}}}
""")

    def served(why: str) -> None:
        with Talk(patient) as talk:
            assert talk.connect(server.address).status == 200, why
            talk.send(b"x")
            assert talk.exactly(1) == b"x"

    def there(listener: str) -> int:
        return int(ferry.listener(listener)["counts"]["sessions_now"])

    def begin(port: int, number: int) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", port), PATIENCE, (f"127.0.0.{2 + number % 7}", 0))
        sock.sendall(f"CONNECT {server.address} HTTP/1.1\r\nX-Number: {number}\r\n".encode())
        return sock

    served("alone")
    until(lambda: there("patient") == 0, "the first connection to end")
    descriptors, memory = ferry.descriptors(), ferry.memory()
    with ExitStack() as held:
        for number in range(room):
            held.enter_context(begin(patient, number))
        served("among the others")
        until(lambda: there("patient") == room, "all of them, and nobody else, to be there")
        assert (ferry.memory() - memory) / room < 8192, "bytes of memory for each"
    until(lambda: there("patient") == 0, "all to end with their clients")
    waiting = selectors.EpollSelector()
    for number in range(room):
        waiting.register(begin(hasty, number), selectors.EVENT_READ)
    served("while others are ended")
    answered = 0
    left = room
    while left:
        ready = waiting.select(PATIENCE)
        assert ready, f"{left} connections are still open"
        for key, _ in ready:
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            answered += sock.recv(4096).startswith(b"HTTP/1.1 408 ")
            waiting.unregister(sock)
            sock.close()
            left -= 1
    waiting.close()
    assert answered == room
    served("after it")
    until(lambda: there("patient") == there("hasty") == 0, "all connections to end")
    until(lambda: ferry.descriptors() <= descriptors, "descriptors to return to where they were")
