"""A TCP connection to the first of some addresses that answers (RFC 8305), awaited by a session.

Used by dial for servers, by target and chain for what an explicit proxy reaches. One try; what follows a failure is the
caller's matter.
"""

from __future__ import annotations

import errno as names
import os
import socket
from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

from ferryman.dataplane import fdio
from ferryman.dataplane.generation import Generation, Target
from ferryman.dataplane.logfields import endpoint
from ferryman.dataplane.loop import EDGE, ERR, OUT, SCARCE, suspend
from ferryman.dataplane.record import Record
from ferryman.plan import Source
from ferryman.rules.facts import Facts

if TYPE_CHECKING:
    from ferryman.dataplane.worker import Worker

STAGGER: Final = 0.25  # seconds before the next address of a name is tried as well (RFC 8305 section 5)

Origin = tuple[str, int, bool, str]
"""Where a connection comes from, as fdio.connect_from has it: address, port, whether it is foreign, interface."""

ORIGIN: Final = (names.EPERM, names.EADDRNOTAVAIL, names.EADDRINUSE, names.ENODEV)
"""What may be wrong with an origin. EADDRNOTAVAIL: not this machine's, or all its ports are in use."""


class Requester(Protocol):
    """Who wants a connection: a client's session, or a pool of connections that are held ready (prewarm)."""

    worker: Worker
    generation: Generation
    record: Record
    facts: Facts | None
    fd: int  # the client's; -1: there is none
    client_mask: int
    server_mask: int
    deadline: float

    @property
    def expired(self) -> bool: ...
    def watch_client(self) -> None: ...
    def resume(self) -> None: ...
    def abort(self) -> None: ...


class Attempt:
    """A socket being connected, on behalf of a session."""

    __slots__ = ("fd", "mask", "session")

    def __init__(self, session: Requester, fd: int) -> None:
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
    """One try came to nothing: `code` as in the log, why in words, and the system's errno if it said so."""

    def __init__(self, code: str, reason: str, errno: int = 0) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.errno = errno

    @property
    def refused(self) -> bool:
        """Did the server say no, rather than nothing?"""
        return self.code == "SC" and self.errno != 0


async def connect_to(
    session: Requester,
    name: str,
    targets: Sequence[Target],
    port: int,
    timeout: float | None,
    keepalive: bool,
    source: Source | None = None,
) -> int:
    """A connection to the first of some addresses that answers; the loop watches it. Raises Failure.

    `name` is what messages call the other side, `source` where the connection is to come from. Once connected,
    `session.server_mask` is what epoll told of it.
    """
    worker, record = session.worker, session.record
    since = worker.loop.now
    limit = since + timeout if timeout is not None else inf
    attempts: list[Attempt] = []
    failure: Failure | None = None
    origin = _origin(session, source) if source is not None else None
    pending = list(targets) if origin is None else _reachable(name, targets, origin)
    next_start = since
    try:
        while True:
            now = worker.loop.now
            if pending and (not attempts or now >= next_start):
                next_start = now + STAGGER
                try:
                    attempts.append(_begin(session, pending.pop(0), port, keepalive, origin))
                except OSError as error:
                    failure = _failed(name, error.errno or 0, origin)
                    if error.errno in SCARCE:
                        worker.carrier.pipes.empty()
                    continue
                session.watch_client()
            if not attempts:
                assert failure is not None
                raise failure
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
                failure = _failed(name, fdio.so_error(attempt.fd))
                attempts.remove(attempt)
                worker.loop.close(attempt.fd)
                next_start = worker.loop.now
                break
            if session.client_mask & ERR:
                raise Failure("CC", "client: connection reset while the server was being reached")
            if worker.loop.now >= limit:
                raise Failure("sC", f"{name}: no answer within {timeout:g} s")
    finally:
        failure = None  # it would know this frame, which knows it: a cycle
        session.deadline = inf
        for attempt in attempts:
            worker.loop.close(attempt.fd)


def _origin(session: Requester, source: Source) -> Origin:
    """Where this session's connection comes from. A client of a Unix socket has no address to lend."""
    record = session.record
    if source.client and record.client_host != "unix":
        return record.client_host, record.client_port if source.client == "port" else 0, True, source.interface
    return source.address, source.port, source.foreign, source.interface


def _reachable(name: str, targets: Sequence[Target], origin: Origin) -> list[Target]:
    """Those of the origin's family. Raises Failure if there is none."""
    host = origin[0]
    wanted = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = [target for target in targets if target[0] == wanted] if host else list(targets)
    if not found:
        kinds = ("IPv4", "IPv6") if wanted == socket.AF_INET else ("IPv6", "IPv4")
        raise Failure("SC", f"{name}: cannot be reached from {kinds[0]} address {host}, it is at an {kinds[1]} address")
    return found


def _begin(session: Requester, target: Target, port: int, keepalive: bool, origin: Origin | None) -> Attempt:
    family, host = target
    fd, _ = fdio.connect(family, host, port) if origin is None else fdio.connect_from(family, host, port, *origin)
    attempt = Attempt(session, fd)
    try:
        if keepalive:
            fdio.keepalive(fd, 0, 0, 0)
        session.worker.loop.watch(fd, attempt, EDGE | OUT)
    except OSError:
        fdio.close(fd)
        raise
    return attempt


def _failed(name: str, errno: int, origin: Origin | None = None) -> Failure:
    text = os.strerror(errno) if errno else "connection failed"
    if origin is not None and errno in ORIGIN:
        why = ", which takes CAP_NET_RAW or CAP_NET_ADMIN" if origin[2] and errno == names.EPERM else ""
        where = endpoint(*origin[:2]) if origin[0] else f"interface {origin[3]}"
        return Failure("RC", f"{name}: cannot be reached from {where}{why}: {text}", errno)
    if errno in SCARCE or errno == names.EADDRNOTAVAIL:
        return Failure("RC", f"out of resources while connecting to {name}: {text}", errno)
    if errno == names.ETIMEDOUT:
        return Failure("sC", f"{name}: {text}", errno)
    return Failure("SC", f"{name}: {text}", errno or names.ECONNREFUSED)
