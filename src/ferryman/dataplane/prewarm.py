"""Connections to servers that are made before anybody asks for them, so that a client waits for none.

Called by worker (a pool for each server of a backend with `prewarm`, and its clock) and by dial, which takes from it.
What a client gets may depend on nothing that is only known with the client: config.compile_backend sees to that for the
TCP connection, and TLS is only begun where name and protocols to ask for are fixed (`_speaks_for_all`). A connection
whose server has closed it in the meantime is never given out; that its close is under way cannot be seen.

How many: as Traffic Server's second algorithm has it. One that is taken is replaced at once; of those that were missing
`rate` times as many are added every second, up to `max`; one that nobody wanted for `idle` seconds is closed, and not
replaced while there are more than `min`.
"""

from __future__ import annotations

import ssl
from math import inf
from time import time
from typing import TYPE_CHECKING, Final

from ferryman.dataplane import fdio, servertls
from ferryman.dataplane.connect import Attempt, Failure, connect_to
from ferryman.dataplane.counters import Cell
from ferryman.dataplane.loop import HANGUP, SCARCE
from ferryman.dataplane.record import Record
from ferryman.plan import Backend, Plan, Prewarm, Server
from ferryman.rules.facts import Facts

if TYPE_CHECKING:
    from ferryman.dataplane.generation import Generation
    from ferryman.dataplane.session import Session
    from ferryman.dataplane.worker import Worker

PERIOD: Final = 1.0  # seconds between looks at how many are wanted
PAUSE: Final = (1.0, 5.0)  # seconds before a server that could not be reached is tried again: at first, and at most


def pools(worker: Worker, generation: Generation) -> dict[int, Pool]:
    """By server id."""
    return {
        server.id: Pool(worker, generation, backend, server, backend.prewarm)
        for backend in generation.plan.backends
        if backend.prewarm is not None and generation.plan.listeners
        for server in backend.servers
    }


class Pool:
    """What one worker holds ready of one server."""

    def __init__(
        self, worker: Worker, generation: Generation, backend: Backend, server: Server, prewarm: Prewarm
    ) -> None:
        self.worker = worker
        self.generation = generation
        self.backend = backend
        self.server = server
        self.prewarm = prewarm
        self.secured = _speaks_for_all(generation.plan, server)
        self.making: dict[Warming, None] = {}
        self._ready: list[Warm] = []  # the youngest last
        self._size = float(prewarm.min)  # how many there should be
        self._missed = 0  # since the last look
        self._pause = 0.0
        self._next_try = 0.0
        self._next_look = 0.0
        self._queued = False

    def take(self, session: Session) -> int | ssl.SSLSocket | None:
        """A connection, which is the session's from now on. None: there is none for it."""
        generation, record = self.generation, session.record
        while self._ready and (not self.secured or self._wanted_by(session)):
            warm = self._ready.pop()  # the youngest is the least likely to be closed soon
            generation.server_gauge(self.server, Cell.PREWARMED_NOW, -1)
            if not warm.alive():
                warm.close()
                continue
            self.worker.loop.table[warm.fd] = Attempt(session, warm.fd)
            session.server_mask = warm.mask
            session.watch_client()
            record.connect_ms, record.prewarmed = 0, True
            generation.server_count(record, Cell.PREWARM_HITS)
            self._soon()
            return warm.fd if warm.sock is None else warm.sock
        self._missed += 1
        generation.server_count(record, Cell.PREWARM_MISSES)
        self._soon()
        return None

    def tick(self, now: float) -> None:
        """Deadlines of those being made, and once a second how many there should be."""
        for warming in self.making:
            if now >= warming.deadline:
                self.worker.loop.ready.append(warming)
        if now < self._next_look:
            return
        self._next_look = now + PERIOD
        if not self.generation.balancers[self.backend.id].takes(self.server.id):
            self.discard()
            return
        self._size = min(self._size + self._missed * self.prewarm.rate, float(self.prewarm.max))
        self._missed = 0
        limit = self.prewarm.idle or inf
        while self._ready and now - self._ready[0].since >= limit:
            self._drop(self._ready[0])
            self._size = max(self._size - 1, float(self.prewarm.min))
        self.resume()

    def resume(self) -> None:
        """Make what is wanting."""
        self._queued = False
        generation, server, most = self.generation, self.server, self.server.max_connections
        if self.worker.loop.now < self._next_try or not generation.targets[server.id]:
            return
        while len(self._ready) + len(self.making) < int(self._size):
            load = generation.server_load(server.id) + generation.server_prewarmed(server.id)
            if not generation.balancers[self.backend.id].takes(server.id) or (most and load >= most):
                return
            generation.server_gauge(server, Cell.PREWARMED_NOW, 1)
            warming = Warming(self)
            self.making[warming] = None
            warming.resume()
            if self._pause:
                return

    def made(self, warming: Warming, fd: int, sock: ssl.SSLSocket | None) -> None:
        """One more is ready."""
        del self.making[warming]
        self._pause = 0.0
        now = self.worker.loop.now
        warm = Warm(self, fd, sock, warming.server_mask, now)
        self.worker.loop.table[fd] = warm
        self._ready.append(warm)
        if warm.mask & HANGUP:
            self._drop(warm)

    def failed(self, warming: Warming, reason: str) -> None:
        """It could not be made. Whoever needs a connection will find out more; here it is only tried again later."""
        del self.making[warming]
        self.generation.server_gauge(self.server, Cell.PREWARMED_NOW, -1)
        if not self._pause:
            self.worker.complain(f"backend {self.backend.name}: no connection can be held ready: {reason}")
        first, longest = PAUSE
        self._pause = min(max(2 * self._pause, first), longest)
        self._next_try = self.worker.loop.now + self._pause

    def lost(self, warm: Warm) -> None:
        """The server has closed one. Another is made at the next look, lest a server that always does so be flooded."""
        self._drop(warm)

    def discard(self) -> None:
        """Close them all; new ones are made if `tick` goes on being called."""
        for warm in list(self._ready):
            self._drop(warm)
        for warming in list(self.making):
            del self.making[warming]
            self.generation.server_gauge(self.server, Cell.PREWARMED_NOW, -1)
            warming.coroutine.close()

    def _drop(self, warm: Warm) -> None:
        self._ready.remove(warm)
        self.generation.server_gauge(self.server, Cell.PREWARMED_NOW, -1)
        warm.close()

    def _soon(self) -> None:
        """At the end of this turn: what is being done for a client comes first."""
        if not self._queued:
            self._queued = True
            self.worker.loop.ready.append(self)
            self.worker.tick_soon()

    def _wanted_by(self, session: Session) -> bool:
        """Would the session ask the server for the same as was asked?"""
        connect, host = self.server.tls, self.server.address.hostname
        assert connect is not None
        asked = servertls.asked_name(session, connect, host), servertls.offered(session, connect)
        return asked == (connect.server_name if connect.server_name is not None else host, connect.alpn or ())


class Warm:
    """A connection that waits for somebody to need it: a handler of the loop's."""

    __slots__ = ("fd", "mask", "pool", "since", "sock")

    def __init__(self, pool: Pool, fd: int, sock: ssl.SSLSocket | None, mask: int, since: float) -> None:
        self.pool = pool
        self.fd = fd
        self.sock = sock
        self.mask = mask  # all that epoll told: what is read once is told once
        self.since = since

    def alive(self) -> bool:
        """Has the server not closed it, as far as the kernel knows?"""
        try:
            return fdio.peek(self.fd, 1) != b""
        except OSError:
            return False

    def close(self) -> None:
        if self.sock is not None:
            self.sock.detach()
        self.pool.worker.loop.close(self.fd)

    def event(self, mask: int) -> None:
        """Servers that speak first do so now, and TLS sends tickets: that is left for whoever takes it."""
        self.mask |= mask
        if mask & HANGUP:
            self.pool.lost(self)

    def sweep(self, now: float) -> None:
        """Pools have a clock of their own."""

    def abort(self) -> None:
        self.pool.lost(self)


class Warming:
    """A connection being made: to connect, tls and servertls what a session is to them, without a client."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.worker = pool.worker
        self.generation = pool.generation
        self.record = Record(pool.generation.plan.listeners[0], "", 0, time(), pool.worker.loop.now)
        self.record.backend, self.record.server = pool.backend, pool.server  # what is counted is counted there
        self.facts: Facts | None = None
        self.fd = -1
        self.client_mask = 0
        self.server_mask = 0
        self.deadline = inf
        self.coroutine = self._journey()

    async def _journey(self) -> None:
        pool, server, backend = self.pool, self.pool.server, self.pool.backend
        targets, port = self.generation.targets[server.id], server.address.port
        limit = backend.connect_timeout
        try:
            fd = await connect_to(self, server.name, targets, port, limit, backend.keepalive, server.source)
            sock = await servertls.secure(self, backend, server, fd) if pool.secured else None
        except Failure as failure:
            pool.failed(self, str(failure))
        else:
            pool.made(self, fd, sock)

    @property
    def expired(self) -> bool:
        return self.worker.loop.now >= self.deadline

    def watch_client(self) -> None:
        """There is none."""

    def resume(self) -> None:
        """Let it go on."""
        if self not in self.pool.making:
            return
        try:
            self.coroutine.send(None)
        except StopIteration:
            pass
        except OSError as error:
            if error.errno not in SCARCE:
                self.abort()
                raise
            self.pool.failed(self, f"out of resources: {error.strerror}")
        except Exception:
            self.abort()
            raise

    def abort(self) -> None:
        """A bug: give it up."""
        self.coroutine.close()
        if self in self.pool.making:
            self.pool.failed(self, "internal error")


def _speaks_for_all(plan: Plan, server: Server) -> bool:
    """Is what the server is asked for in TLS the same whoever the client is? `take` makes sure that it is."""
    connect = server.tls
    if connect is None:
        return False
    if not any(listener.tls for listener in plan.listeners):  # clients speak no TLS here that could tell anything
        return True
    return connect.server_name is not None and connect.alpn is not None
