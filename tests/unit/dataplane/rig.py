"""A worker in the test's own process, on a plan made by hand, with real clients and servers around it.

The worker's loop runs only inside `Rig.run`, so everything between two runs happens while it sleeps. The far ends are
plain sockets: connecting and small sends do not need the worker, `Rig.read` lets it run until something has come.
"""

from __future__ import annotations

import os
import select
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from time import monotonic
from typing import Any

from ferryman.dataplane import counters, loop
from ferryman.dataplane.channel import Frames
from ferryman.dataplane.counters import Cell
from ferryman.dataplane.worker import Worker
from ferryman.plan import AccessLog, Address, Backend, Listener, LogTarget, Plan, Server, Settings

LINGER_RESET = b"\1\0\0\0\0\0\0\0"  # SO_LINGER on, 0 seconds
PATIENCE = 60.0


def reset(sock: socket.socket) -> None:
    """Close it so that the other side sees RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
    sock.close()


_CLOSED: list[socket.socket] = []


def closed_port() -> int:
    """A port that refuses connections, and stays so: it is bound (nobody else gets it), but nobody listens."""
    _CLOSED.append(socket.socket())
    _CLOSED[-1].bind(("127.0.0.1", 0))
    return int(_CLOSED[-1].getsockname()[1])


class Far:
    """A server's listening socket; what it accepts is closed with it."""

    def __init__(self, backlog: int = 128) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=backlog)
        self.port: int = self.socket.getsockname()[1]
        self.accepted: list[socket.socket] = []

    def waiting(self) -> bool:
        return bool(select.select([self.socket], [], [], 0)[0])

    def accept(self) -> socket.socket:
        connection, _ = self.socket.accept()
        connection.settimeout(PATIENCE)
        self.accepted.append(connection)
        return connection

    def close(self) -> None:
        for sock in (self.socket, *self.accepted):
            sock.close()


class Steady:
    """The clock of loops, until `close`. By it the machine pauses no longer than LONGEST, which ends no connection."""

    LONGEST = 0.2

    def __init__(self) -> None:
        self._seen = self._now = monotonic()
        loop.monotonic = self  # type: ignore[assignment]

    def __call__(self) -> float:
        seen = monotonic()
        self._now += min(seen - self._seen, self.LONGEST)
        self._seen = seen
        return self._now

    def close(self) -> None:
        loop.monotonic = monotonic


class Driven(Worker):
    """A worker whose loop asks on every tick whether to go on."""

    until: Callable[[], bool]
    deadline: float
    wished: float | None = None  # the interval that the worker itself asked for

    def tick(self, now: float) -> None:
        super().tick(now)
        self.wished = self.loop.interval
        self.loop.interval = 0.02
        if self.until() or now > self.deadline:
            self.loop.stopped = True


class Rig:
    """The worker, the supervisor's end of its channel, and everything it was given."""

    def __init__(self) -> None:
        self.time = Steady()
        self.channel, theirs = socket.socketpair()
        theirs.settimeout(PATIENCE)
        self.channel.settimeout(PATIENCE)
        self.reports_of = Frames(self.channel, trusted=False)
        self.worker = Driven(theirs, 0)
        self.said: list[dict[str, Any]] = []
        self.doors: dict[str, socket.socket] = {}
        self.peers: list[socket.socket | Far] = []
        self.logs = [tempfile.TemporaryFile()]  # noqa: SIM115 - closed in close
        self.number = 0
        self.theirs = theirs

    # plans

    def follow(self, plan: Plan, workers: int = 1, weights: dict[int, int] | None = None) -> memoryview:
        """Give the worker a plan as the supervisor would; a view of the counters."""
        memory = os.memfd_create("counters")
        os.ftruncate(memory, counters.size(plan) * workers)
        self.number += 1
        keys = [listener.name for listener in plan.listeners]
        fresh = [key for key in keys if key not in self.worker.doors]
        for key in fresh:
            if key in self.doors:
                continue
            self.doors[key] = socket.create_server(("127.0.0.1", 0))
            self.doors[key].setblocking(False)
        given = [os.dup(memory)]
        given += [os.dup(self.logs[0].fileno()) for _ in plan.log_targets]
        given += [os.dup(self.doors[key].fileno()) for key in fresh]
        self.worker.order_plan(
            self.number,
            plan,
            [(listener.name, listener.id) for listener in plan.listeners],
            fresh,
            {server.id: server.weight for server in plan.servers} if weights is None else weights,
            {},
            descriptors=given,
        )
        cells = counters.attach(memory, counters.size(plan) * workers)
        os.close(memory)
        return cells

    # running

    def run(self, until: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Let the worker run until the condition holds; fails when it never does."""
        turning = self.worker.loop
        self.worker.until, self.worker.deadline = until, turning.now + seconds
        turning.stopped, turning.interval = False, 0.02
        turning.run()
        assert until(), "the condition did not come true"

    def turns(self, count: int) -> None:
        """Let it run for some ticks: for what must not happen."""
        left = [count]

        def passed() -> bool:
            left[0] -= 1
            return left[0] < 0

        self.run(passed)

    def read(self, sock: socket.socket, count: int = 1) -> bytes:
        """What arrives at a far end: `count` bytes, or less at the end. Raises ConnectionResetError."""
        data = b""
        while len(data) < count:
            self.run(lambda: bool(select.select([sock], [], [], 0)[0]))
            if not (chunk := sock.recv(count - len(data))):
                break
            data += chunk
        return data

    def over(self) -> bool:
        return self.worker.live == 0

    # far ends

    def client(self, door: str = "web") -> socket.socket:
        sock = socket.create_connection(self.doors[door].getsockname(), PATIENCE)
        self.peers.append(sock)
        return sock

    def server(self, backlog: int = 128) -> Far:
        far = Far(backlog)
        self.peers.append(far)
        return far

    def through(self, far: Far, door: str = "web") -> tuple[socket.socket, socket.socket]:
        """A client and the server's side of a tunnel that is up."""
        client = self.client(door)
        self.run(far.waiting)
        connection = far.accept()
        client.sendall(b"?")
        assert self.read(connection) == b"?"
        return client, connection

    # what it says

    def reports(self, kind: str) -> list[dict[str, Any]]:
        """All reports of a kind so far."""
        if select.select([self.channel], [], [], 0)[0]:
            self.reports_of.receive()
        self.said += list(self.reports_of.reports())
        return [report for report in self.said if report["kind"] == kind]

    def lines(self) -> list[str]:
        """The access log so far."""
        self.worker.turn_end()
        self.logs[0].seek(0)
        return self.logs[0].read().decode().splitlines()

    def close(self) -> None:
        self.time.close()
        self.worker.order_drain(descriptors=[])
        self.worker.loop.stopped = True
        self.worker.run()
        for sink in self.worker.sinks.values():
            sink.close()
        self.worker.carrier.pipes.empty()
        self.worker.loop.epoll.close()
        for peer in (*self.peers, *self.doors.values(), self.channel, self.theirs, *self.logs):
            peer.close()


# parts of plans

LOG = LogTarget(0, "file", "log", format="raw", length=8000)


def server(port: int, name: str = "s", **fields: Any) -> Server:
    return replace(Server(0, name, "", Address("inet", "127.0.0.1", port)), **fields)


def plan(
    *servers: Server,
    listener: dict[str, Any] | None = None,
    backend: dict[str, Any] | None = None,
    settings: Settings | None = None,
    log: AccessLog | None = None,
    more: Sequence[str] = (),
) -> Plan:
    """A listener "web" (and `more`, alike) that leads to a backend "app" with these servers."""
    own = tuple(replace(one, id=index, backend="app") for index, one in enumerate(servers))
    lines = log or AccessLog((LOG,), "json")
    made = Listener(0, "web", "tcp", (), lines, default_backend="app")
    made = replace(made, **(listener or {}))
    listeners = [replace(made, id=index, name=name) for index, name in enumerate(("web", *more))]
    app = replace(Backend(0, "app", own, retries=0, connect_timeout=5.0), **(backend or {}))
    return Plan(settings or Settings(), tuple(listeners), (app,), own, lines.targets)


def gauges(plan: Plan, cells: memoryview) -> dict[str, int]:
    """What is open, by the counters: all 0 once everything has ended."""
    return {
        "process": cells[counters.process_base(plan) + Cell.SESSIONS_NOW],
        **{f"listener {x.name}": cells[counters.listener_base(plan, x.id) + Cell.SESSIONS_NOW] for x in plan.listeners},
        **{f"backend {x.name}": cells[counters.backend_base(plan, x.id) + Cell.SESSIONS_NOW] for x in plan.backends},
        **{f"queue {x.name}": cells[counters.backend_base(plan, x.id) + Cell.QUEUE_NOW] for x in plan.backends},
        **{f"server {x.name}": cells[counters.server_base(plan, x.id) + Cell.SESSIONS_NOW] for x in plan.servers},
    }


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@contextmanager
def hanging() -> Iterator[int]:
    """The port of a server whose queue is full: connections to it are not answered."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        assert select.select([server], [], [], PATIENCE)[0], "one is in the queue"
        yield int(server.getsockname()[1])
        for filler in fillers:
            filler.close()
