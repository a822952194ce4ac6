"""Reaching a server: which one, a place at it, the connection, and what is tried when it fails.

Called by session with `await`. Failure ends the session with its reason; success gives a connected descriptor that the
loop already watches. Retries follow HAProxy's manual (retries, option redispatch) with one improvement: a redispatch
never goes to a server that has just failed, also where the algorithm is a hash.
"""

from __future__ import annotations

import errno as names
import os
from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING, Final, Literal

from ferryman.dataplane import fdio
from ferryman.dataplane.counters import Cell
from ferryman.dataplane.generation import Target
from ferryman.dataplane.loop import EDGE, ERR, OUT, SCARCE, suspend
from ferryman.plan import Backend, Server

if TYPE_CHECKING:
    from ferryman.dataplane.session import Session

STAGGER: Final = 0.25  # seconds before the next address of a name is tried as well (RFC 8305 section 5)
PAUSE: Final = 1.0  # seconds before the same server is tried again after it refused


class Attempt:
    """A socket being connected, on behalf of a session."""

    __slots__ = ("fd", "mask", "session")

    def __init__(self, session: Session, fd: int) -> None:
        self.session = session
        self.fd = fd
        self.mask = 0

    def event(self, mask: int) -> None:
        self.mask |= mask
        self.session.resume()

    def sweep(self, now: float) -> None:
        """Its session has the deadline."""

    def abort(self) -> None:
        self.session.abort()


class Failure(Exception):  # noqa: N818 - an outcome of trying, not an error of ours
    """One try came to nothing: `code` as in the log, whether the server refused, and why in words."""

    def __init__(self, code: str, reason: str, refused: bool = False) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.refused = refused


async def reach(session: Session, backend: Backend) -> int:
    """A connection to one of the backend's servers. -1: there is none, and the session has ended."""
    generation, record = session.generation, session.record
    tried: list[int] = []
    failure: Failure | None = None
    for attempt in range(backend.retries + 1):
        server = record.server
        if server is None or _may_move(session, backend, attempt, server):
            chosen = _choose(session, backend, tried)
            if chosen == "queue":
                chosen = await _queue(session, backend, tried)
            if chosen is None:
                if session.fd < 0:  # ended while it waited
                    return -1
                if server is None:
                    break
            else:
                if server is not None:
                    record.redispatched = True
                    generation.count(record, Cell.REDISPATCHES)
                    generation.vacate(server)
                record.server = server = chosen
                generation.assigned(server, record.wall)
                failure = None
        assert server is not None
        if attempt:
            record.retries += 1
            generation.count(record, Cell.RETRIES)
            if failure is not None and failure.refused and not await _pause(session, backend):
                return -1
        try:
            return await _connect(session, backend, server)
        except Failure as caught:
            failure = caught.with_traceback(None)  # which would know this frame, which knows the failure: a cycle
        if session.client_mask & ERR:
            session.end("CC", "rst", "client: connection reset while the server was being reached")
            return -1
        generation.count(record, Cell.CONNECT_ERRORS)
        if server.id not in tried:
            tried.append(server.id)
    if failure is None:
        generation.listener_count(session.listener, Cell.CONNECT_ERRORS)
        session.end("SC", "error", f"backend {backend.name} has no server available", reset=True)
    else:
        how = "timeout" if failure.code == "sC" else "rst" if failure.refused else "error"
        session.end(failure.code, how, failure.reason, reset=True)  # type: ignore[arg-type]
    return -1


def _may_move(session: Session, backend: Backend, attempt: int, server: Server) -> bool:
    """May this retry go to another server? (option redispatch) Also at once when checks found the server down."""
    if not backend.redispatch:
        return False
    if not session.generation.balancers[backend.id].takes(server.id):
        return True
    if backend.redispatch < 0:
        return attempt == backend.retries
    return attempt % backend.redispatch == 0


def _choose(session: Session, backend: Backend, tried: Sequence[int]) -> Server | Literal["queue"] | None:
    """Take a place at a server. None: there is none; "queue": one has to be waited for."""
    full = _full(session, backend, tried) if backend.id in session.generation.bounded else []
    if not (session.generation.queues[backend.id] and not tried):  # nobody overtakes those who wait
        server = _pick(session, backend, tried, full)
        if server is not None or not full:
            return server
    return "queue"


def _pick(session: Session, backend: Backend, tried: Sequence[int], full: list[int]) -> Server | None:
    """Take a place at a server. None: there is none; `full` are those that have no place, and may grow."""
    while True:
        server = _select(session, backend, tried, full)
        if server is None or session.generation.occupy(server):
            return server
        full.append(server.id)  # another worker was faster


def _select(session: Session, backend: Backend, tried: Sequence[int], full: Sequence[int]) -> Server | None:
    """By the backend's rules for servers, else by its algorithm. None: no server, or none with a free place."""
    generation = session.generation
    balancer = generation.balancers[backend.id]
    for rule in backend.server_rules:
        if rule.condition is None or rule.condition.state(session.learn()) is True:
            server = next((s for s in backend.servers if s.name == rule.backend), None)
            if server is not None and balancer.takes(server.id) and server.id not in tried:
                return server if server.id not in full else None
    if backend.algorithm == "source" and full:  # clients stay with their server, also when they must wait for it
        server = balancer.pick(session.record.client_host, generation.server_load, tried)
        return server if server is None or server.id not in full else None
    return balancer.pick(session.record.client_host, generation.server_load, (*tried, *full) if full else tried)


def _full(session: Session, backend: Backend, tried: Sequence[int]) -> list[int]:
    """Servers at their max_connections that would be taken otherwise."""
    load, takes = session.generation.server_load, session.generation.balancers[backend.id].takes
    return [
        s.id
        for s in backend.servers
        if s.max_connections and load(s.id) >= s.max_connections and s.id not in tried and takes(s.id)
    ]


async def _queue(session: Session, backend: Backend, tried: Sequence[int]) -> Server | None:
    generation, record = session.generation, session.record
    queue = generation.queues[backend.id]
    record.backend_queue = len(queue)
    limits = [server.max_queue for server in backend.servers]
    if all(limits) and len(queue) >= sum(limits):
        session.end("SQ", "policy", f"the queue of backend {backend.name} is full", reset=True)
        return None
    since = session.worker.loop.now
    session.deadline = since + backend.queue_timeout if backend.queue_timeout is not None else inf
    session.watch_client()
    queue.append(session)
    generation.queue_gauge(backend)
    try:
        while True:
            await suspend()
            if session.client_mask & ERR:
                session.end("CQ", "rst", "client: connection reset while waiting for a server")
                return None
            if session.granted:
                session.granted = False
                full = _full(session, backend, tried)
                server = _pick(session, backend, tried, full)
                if server is not None:
                    record.queue_ms = int((session.worker.loop.now - since) * 1000)
                    generation.count(record, Cell.QUEUE_MS, record.queue_ms)
                    return server
                if not full:  # all that could be waited for are down
                    return None
                if tried or backend.server_rules or backend.algorithm == "source":
                    # it waits for a certain server; those behind it may wait for another
                    queue.remove(session)
                    queue.append(session)
            if session.expired:
                session.end("sQ", "timeout", f"no server of {backend.name} had a free place in time", reset=True)
                return None
    finally:
        session.deadline = inf
        queue.remove(session)
        generation.queue_gauge(backend)
        session.worker.grant(queue)  # there may be room for more than one


async def _pause(session: Session, backend: Backend) -> bool:
    """Wait before the server that refused is asked again. False: the client is gone."""
    session.watch_client()
    session.deadline = session.worker.loop.now + min(PAUSE, backend.connect_timeout or PAUSE)
    while not session.expired:
        await suspend()
        if session.client_mask & ERR:
            session.end("CC", "rst", "client: connection reset while the server was being reached")
            return False
    session.deadline = inf
    return True


async def _connect(session: Session, backend: Backend, server: Server) -> int:
    """One try at one server: the first of its addresses that answers wins. Raises Failure."""
    worker, record = session.worker, session.record
    targets = session.generation.targets[server.id]
    port = server.address.port
    if server.address.from_client:
        port += fdio.sockname(session.fd)[1]
        if not 0 < port < 65536:
            raise Failure("SC", f"{server.name}: {port} is no port")
    since = worker.loop.now
    limit = since + backend.connect_timeout if backend.connect_timeout is not None else inf
    attempts: list[Attempt] = []
    failure: Failure | None = None
    pending = list(targets)
    next_start = since
    try:
        while True:
            now = worker.loop.now
            if pending and (not attempts or now >= next_start):
                next_start = now + STAGGER
                try:
                    attempts.append(_begin(session, backend, pending.pop(0), port))
                except OSError as error:
                    failure = _failed(server, error.errno or 0)
                    if error.errno in SCARCE:
                        worker.carrier.pipes.empty()
                    continue
                session.watch_client()
            if not attempts:
                raise failure or Failure("SC", f"{server.name}: its name {server.address.host} has no address")
            session.deadline = min(limit, next_start) if pending else limit
            await suspend()
            for attempt in attempts:
                mask = attempt.mask
                if not mask:
                    continue
                if mask & OUT and not mask & ERR:
                    record.connect_ms = int((worker.loop.now - since) * 1000)
                    session.server_mask = mask
                    attempts.remove(attempt)
                    return attempt.fd
                failure = _failed(server, fdio.so_error(attempt.fd))
                attempts.remove(attempt)
                worker.loop.close(attempt.fd)
                next_start = worker.loop.now
                break
            if session.client_mask & ERR:
                raise Failure("CC", "client: connection reset while the server was being reached")
            if worker.loop.now >= limit:
                raise Failure("sC", f"{server.name}: no answer within {backend.connect_timeout:g} s")
    finally:
        session.deadline = inf
        for attempt in attempts:
            worker.loop.close(attempt.fd)


def _begin(session: Session, backend: Backend, target: Target, port: int) -> Attempt:
    family, host = target
    fd, _ = fdio.connect(family, host, port)
    attempt = Attempt(session, fd)
    try:
        if backend.keepalive:
            fdio.keepalive(fd, 0, 0, 0)
        session.worker.loop.watch(fd, attempt, EDGE | OUT)
    except OSError:
        fdio.close(fd)
        raise
    return attempt


def _failed(server: Server, errno: int) -> Failure:
    text = os.strerror(errno) if errno else "connection failed"
    if errno in SCARCE or errno == names.EADDRNOTAVAIL:
        return Failure("RC", f"out of resources while connecting to {server.name}: {text}")
    if errno == names.ETIMEDOUT:
        return Failure("sC", f"{server.name}: {text}")
    return Failure("SC", f"{server.name}: {text}", refused=True)
