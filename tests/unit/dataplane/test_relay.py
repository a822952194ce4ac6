"""Two real sockets on each side of a tunnel, driven by the real loop in this thread."""

from __future__ import annotations

import gc
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from math import inf

import pytest
from rig import PATIENCE, Steady

from ferryman.dataplane import relay
from ferryman.dataplane.loop import EDGE, Loop
from ferryman.dataplane.record import Record
from ferryman.dataplane.relay import Carrier, Tunnel
from ferryman.plan import AccessLog, Listener

pytestmark = pytest.mark.twin

LISTENER = Listener(0, "test", "tcp", (), AccessLog((), "json"), client_fin_timeout=None)


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        far = socket.create_connection(server.getsockname())
        near, _ = server.accept()
    for sock in (near, far):  # the kernel would grow them to several MB each
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 256 * 1024)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 * 1024)
    near.setblocking(False)
    far.settimeout(PATIENCE)
    return near, far


class Crossing:
    """A tunnel between two connections; `client` and `server` are the far ends."""

    def __init__(self, limit: float = inf) -> None:
        self.over: list[Tunnel] = []
        self.time = Steady()
        self.loop = Loop(lambda now: self.tick(now), lambda: None)
        self.loop.interval = 0.02
        self.carrier = Carrier(self.loop, self.over.append, lambda tunnel: None)
        near_client, self.client = tcp_pair()
        near_server, self.server = tcp_pair()
        fds = near_client.detach(), near_server.detach()
        self.tunnel = Tunnel(self.carrier, Record(LISTENER, "192.0.2.1", 1, 0.0, self.loop.now), None, *fds, limit)
        for fd, end in zip(fds, (self.tunnel.client, self.tunnel.server), strict=True):
            self.loop.watch(fd, end, EDGE)
        self.until: Callable[[], bool] = lambda: False
        self.deadline = 0.0

    def tick(self, now: float) -> None:
        for handler in list(self.loop.table):
            if handler is not None:
                handler.sweep(now)
        self.loop.stopped = self.until() or now > self.deadline

    def run(self, until: Callable[[], bool]) -> None:
        """Let the loop run until the condition holds; fails when it never does."""
        self.until, self.deadline, self.loop.stopped = until, self.loop.now + PATIENCE, False
        self.loop.run()
        assert until(), "the condition did not come true"

    def exchange(self, *parties: Callable[[], object]) -> None:
        """Let blocking code of the far ends run in threads beside the loop."""
        errors: list[BaseException] = []

        def guarded(party: Callable[[], object]) -> None:
            try:
                party()
            except (OSError, AssertionError) as error:
                errors.append(error)

        threads = [threading.Thread(target=guarded, args=(party,)) for party in parties]
        for thread in threads:
            thread.start()
        self.run(lambda: not any(thread.is_alive() for thread in threads))
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def close(self) -> None:
        self.time.close()
        self.tunnel.finish("K-", "killed")
        self.loop.stopped = True
        self.loop.run()
        self.carrier.pipes.empty()
        self.loop.epoll.close()
        self.client.close()
        self.server.close()


@pytest.fixture
def crossing() -> Iterator[Crossing]:
    crossing = Crossing()
    yield crossing
    crossing.close()


def read_all(sock: socket.socket) -> bytes:
    chunks = []
    while chunk := sock.recv(65536):
        chunks.append(chunk)
    return b"".join(chunks)


def test_bytes_cross_both_ways(crossing: Crossing) -> None:
    def dialogue() -> None:
        crossing.client.sendall(b"ping")
        assert crossing.server.recv(100) == b"ping"
        crossing.server.sendall(b"pong")
        assert crossing.client.recv(100) == b"pong"

    crossing.exchange(dialogue)
    assert (crossing.tunnel.client.moved, crossing.tunnel.server.moved) == (4, 4)
    assert crossing.tunnel.record.path == "copy"


def test_half_close_is_passed_on_and_the_other_way_stays_open(crossing: Crossing) -> None:
    def dialogue() -> None:
        crossing.client.sendall(b"question")
        crossing.client.shutdown(socket.SHUT_WR)
        assert read_all(crossing.server) == b"question"
        crossing.server.sendall(b"answer")
        crossing.server.close()
        assert read_all(crossing.client) == b"answer"

    crossing.exchange(dialogue)
    crossing.run(lambda: bool(crossing.over))
    record = crossing.tunnel.record
    assert (record.code, record.how, record.bytes_in, record.bytes_out) == ("--", "fin", 8, 6)


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_reset_on_one_side_is_a_reset_on_the_other(crossing: Crossing, side: str) -> None:
    one, other = (crossing.client, crossing.server) if side == "client" else (crossing.server, crossing.client)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    one.close()
    crossing.run(lambda: bool(crossing.over))
    with pytest.raises(ConnectionResetError):
        other.recv(1)
    assert crossing.tunnel.record.code == ("CD" if side == "client" else "SD")
    assert crossing.tunnel.record.how == "rst"


def test_data_sent_before_a_reset_arrives_before_the_reset(crossing: Crossing) -> None:
    crossing.server.sendall(b"last words")
    crossing.server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    crossing.server.close()
    crossing.run(lambda: bool(crossing.over))
    received = b""
    with suppress(ConnectionResetError):
        received = read_all(crossing.client)
    moved = crossing.tunnel.record.bytes_out
    assert moved in (0, 10)  # the kernel may have discarded them when the reset came
    assert len(received) <= moved


def test_urgent_data_does_not_hold_up_what_follows(crossing: Crossing) -> None:
    crossing.client.send(b"before")
    crossing.client.send(b"!", socket.MSG_OOB)
    crossing.client.send(b"after")
    crossing.exchange(lambda: crossing.server.recv(11, socket.MSG_WAITALL))
    assert crossing.tunnel.client.moved == 11, "the urgent byte itself is dropped"


@pytest.mark.parametrize("how", ["killed", "timeout"])
def test_who_does_not_get_all_that_was_sent_sees_a_reset(crossing: Crossing, how: str) -> None:
    crossing.client.setblocking(False)

    def fill() -> bool:
        with suppress(BlockingIOError):
            while True:
                crossing.client.send(bytes(65536))
        return crossing.tunnel.client.waits

    crossing.run(fill)
    if how == "killed":
        crossing.tunnel.finish("K-", "killed")
    else:
        crossing.tunnel.half_closed(0.0)
    crossing.run(lambda: bool(crossing.over))
    with pytest.raises(ConnectionResetError):
        read_all(crossing.server)


def test_a_tunnel_that_is_over_is_freed_without_the_garbage_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        crossing = Crossing()
        crossing.client.close()
        crossing.server.close()
        crossing.run(lambda: bool(crossing.over))
        crossing.over.clear()
        del crossing.tunnel
        assert not [x for x in gc.get_objects() if isinstance(x, Tunnel)]
        crossing.loop.epoll.close()
    finally:
        gc.enable()


def test_bulk_is_spliced_and_arrives_exactly(crossing: Crossing) -> None:
    data = random.Random(1).randbytes(8_000_000)
    received: list[bytes] = []

    def send() -> None:
        crossing.client.sendall(data)
        crossing.client.shutdown(socket.SHUT_WR)

    crossing.exchange(send, lambda: received.append(read_all(crossing.server)))
    assert received[0] == data
    assert crossing.tunnel.record.path == "splice"
    assert crossing.tunnel.client.pipe is None, "the pipe goes back to the pool when it is empty"


def test_a_reader_that_stops_stops_the_writer_and_nothing_is_lost(crossing: Crossing) -> None:
    data = random.Random(2).randbytes(6_000_000)
    crossing.client.setblocking(False)
    sent = 0

    def fill() -> bool:
        nonlocal sent
        with suppress(BlockingIOError):
            while sent < len(data):
                sent += crossing.client.send(data[sent : sent + 65536])
        return crossing.tunnel.client.pipe is not None or crossing.tunnel.client.rest is not None

    crossing.run(fill)
    before = sent
    turns = 0

    def still() -> bool:
        nonlocal turns
        fill()
        turns += 1
        return turns > 10

    crossing.run(still)
    assert sent < len(data), "back-pressure must reach the sender"
    assert sent - before < 4_000_000
    received: list[bytes] = []

    def rest() -> None:
        crossing.client.settimeout(PATIENCE)
        crossing.client.sendall(data[sent:])
        crossing.client.shutdown(socket.SHUT_WR)

    crossing.exchange(rest, lambda: received.append(read_all(crossing.server)))
    assert received[0] == data


def test_without_a_descriptor_for_a_pipe_the_rest_waits_in_memory(
    crossing: Crossing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(size: int) -> tuple[int, int]:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("ferryman.dataplane.pipes.fdio.pipe", none_left)
    data = random.Random(3).randbytes(9_000_000)
    received: list[bytes] = []

    def send() -> None:
        crossing.client.sendall(data)
        crossing.client.shutdown(socket.SHUT_WR)

    def wait_then_read() -> None:
        assert blocked.wait(PATIENCE)
        received.append(read_all(crossing.server))

    blocked = threading.Event()
    original = relay.End._wait_with

    def noticed(end: relay.End, rest: object) -> None:
        original(end, rest)
        blocked.set()

    monkeypatch.setattr(relay.End, "_wait_with", noticed)
    crossing.exchange(send, wait_then_read)
    assert received[0] == data
    assert crossing.tunnel.record.path == "copy"


def test_silence_is_cut_after_the_limit() -> None:
    crossing = Crossing(limit=0.1)
    try:
        crossing.run(lambda: bool(crossing.over))
        assert crossing.tunnel.record.how == "timeout"
        assert crossing.tunnel.record.total_ms >= 100
        assert crossing.client.recv(1) == b""
    finally:
        crossing.close()


def test_traffic_one_way_keeps_both_sides_alive() -> None:
    crossing = Crossing(limit=1.0)
    try:
        start = crossing.loop.now

        def trickle() -> bool:
            crossing.client.send(b".")
            return crossing.loop.now - start > 2

        crossing.run(trickle)
        assert not crossing.over
    finally:
        crossing.close()
