"""Ten thousand clients that begin a request and never finish it: others are served, all are gone in the end."""

from __future__ import annotations

import resource
import selectors
import socket
import time
from collections.abc import Callable, Iterator

import pytest
from ferry import Ferry, free_port, until
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
    server, port = echo(), free_port()
    ferry = run_ferry(f"""
global: {{workers: 1}}
listeners:
  out:
    bind: 127.0.0.1:{port}
    connect: {{egress_allow: [127.0.0.1], head_timeout: 3s}}
""")
    with Talk(port) as talk:
        assert talk.connect(server.address).status == 200
    until(lambda: ferry.listener("out")["counts"]["sessions_now"] == 0, "the first connection to end")
    descriptors, memory = ferry.descriptors(), ferry.memory()
    waiting = selectors.EpollSelector()
    socks = []
    begun = time.monotonic()
    for number in range(room):
        sock = socket.create_connection(("127.0.0.1", port), 20, (f"127.0.0.{2 + number % 7}", 0))
        sock.sendall(f"CONNECT {server.address} HTTP/1.1\r\nX-Number: {number}\r\n".encode())
        socks.append(sock)
        waiting.register(sock, selectors.EVENT_READ)
    with Talk(port) as talk:
        assert talk.connect(server.address).status == 200, "served among the others"
        talk.send(b"x")
        assert talk.exactly(1) == b"x"
    taken = ferry.listener("out")["counts"]["sessions_now"]
    grown = ferry.memory() - memory
    answered = 0
    left = room
    while left:
        ready = waiting.select(20)
        assert ready, f"{left} connections are still open after {time.monotonic() - begun:.0f} s"
        for key, _ in ready:
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            answered += sock.recv(4096).startswith(b"HTTP/1.1 408 ")
            waiting.unregister(sock)
            sock.close()
            left -= 1
    waiting.close()
    assert answered == room
    assert taken > room * 0.4, "most were there at the same time, also on a busy machine"
    assert grown / taken < 8192, "bytes of memory for each"
    with Talk(port) as talk:
        assert talk.connect(server.address).status == 200, "served after it"
    until(lambda: ferry.listener("out")["counts"]["sessions_now"] == 0, "all connections to end")
    until(lambda: ferry.descriptors() <= descriptors, "descriptors to return to where they were")
