"""Reaching a server: which one, a place at it, the connection, and what is tried when it fails.

Called by session with `await`. Failure ends the session with its reason; success gives a connected descriptor that the
loop already watches. Retries follow HAProxy's manual (retries, option redispatch) with one improvement: a redispatch
never goes to a server that has just failed, also where the algorithm is a hash.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING, Final, Literal

from ferryman.dataplane import chain, destination, proxyhead, servertls
from ferryman.dataplane.connect import Failure, connect_to
from ferryman.dataplane.counters import Cell
from ferryman.dataplane.loop import ERR, suspend
from ferryman.dataplane.refusal import Refusal
from ferryman.plan import Backend, Chain, Server

if TYPE_CHECKING:
    from ferryman.dataplane.session import Session

PAUSE: Final = 1.0  # seconds before the same server is tried again after it refused


async def reach(session: Session, backend: Backend) -> int | ssl.SSLSocket | None:
    """A connection to one of the backend's servers, with TLS if it speaks that.

    None: there is none, and the session has ended.
    """
    if backend.destination is not None:
        return await destination.reach(session, backend, backend.destination)
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
                    return None
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
                return None
        try:
            return await _connect(session, backend, server)
        except Failure as caught:
            failure = caught.with_traceback(None)  # which would know this frame, which knows the failure: a cycle
        if session.client_mask & ERR:
            session.end("CC", "rst", "client: connection reset while the server was being reached")
            return None
        generation.server_count(record, Cell.CONNECT_ERRORS)
        if server.id not in tried:
            tried.append(server.id)
    generation.listener_count(session.listener, Cell.CONNECT_ERRORS)  # of sessions, not of attempts
    if failure is None:
        session.end("SC", "error", f"backend {backend.name} has no server available", reset=True)
    else:
        how = "timeout" if failure.code == "sC" else "rst" if failure.refused else "error"
        session.end(failure.code, how, failure.reason, reset=True)  # type: ignore[arg-type]
    return None


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


async def _connect(session: Session, backend: Backend, server: Server) -> int | ssl.SSLSocket:
    """One try at one server. Raises Failure."""
    pool = session.generation.pools.get(server.id)
    if pool is not None and not session.record.retries and (ready := pool.take(session)) is not None:
        secured = server.tls is None or isinstance(ready, ssl.SSLSocket)
        return ready if secured else await servertls.secure(session, backend, server, ready)  # type: ignore[arg-type]
    fd = await _by_first_way(session, backend, server)
    if server.send_proxy is not None:
        proxyhead.announce(session, server, fd)
    return fd if server.tls is None else await servertls.secure(session, backend, server, fd)


async def _by_first_way(session: Session, backend: Backend, server: Server) -> int:
    """A TCP connection, directly or through other proxies. Raises Failure."""
    port = server.address.port
    if server.address.from_client:
        port += session.learn().local_port
        if not 0 < port < 65536:
            raise Failure("SC", f"{server.name}: {port} is no port")
    if backend.via is None:
        return await _by(session, backend, server, port, ())
    *others, last = backend.via.chains_for(server.address.host, port)
    for hops in others:
        try:
            return await _by(session, backend, server, port, hops)
        except Failure:  # the next way may work; if none does, the last one's failure is told
            continue
    return await _by(session, backend, server, port, last)


async def _by(session: Session, backend: Backend, server: Server, port: int, hops: Chain) -> int:
    """One try at one server by one way. Raises Failure."""
    if hops:
        try:
            limit, patience = backend.connect_timeout, backend.negotiation_timeout
            return await chain.reach(session, hops, server.address.host, port, limit, patience=patience)
        except Refusal as refusal:
            raise Failure(refusal.code, f"{server.name}: {refusal.reason}") from None
    targets = session.generation.targets[server.id]
    if not targets:
        raise Failure("SC", f"{server.name}: its name {server.address.host} has no address")
    own = session.generation.own_of[session.listener.id]
    if port and any(own.hold(*target, port) for target in targets):
        raise Failure("PR", f"{server.name}: that is listener {session.listener.name} itself, which leads here")
    return await connect_to(
        session, server.name, targets, port, backend.connect_timeout, backend.keepalive, server.source
    )
