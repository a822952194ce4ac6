"""A TCP connection to the first of some addresses that answers (RFC 8305), awaited by a session.

Used by dial for servers, by target and chain for what an explicit proxy reaches. One try; what follows a failure is the
caller's matter.
"""

from __future__ import annotations

import errno as names
import os
from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING, Final

from ferryman.dataplane import fdio
from ferryman.dataplane.generation import Target
from ferryman.dataplane.loop import EDGE, ERR, OUT, SCARCE, suspend

if TYPE_CHECKING:
    from ferryman.dataplane.session import Session

STAGGER: Final = 0.25  # seconds before the next address of a name is tried as well (RFC 8305 section 5)


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
    session: Session, name: str, targets: Sequence[Target], port: int, timeout: float | None, keepalive: bool
) -> int:
    """A connection to the first of some addresses that answers; the loop watches it. Raises Failure.

    `name` is what messages call the other side. Once connected, `session.server_mask` is what epoll told of it.
    """
    worker, record = session.worker, session.record
    since = worker.loop.now
    limit = since + timeout if timeout is not None else inf
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
                    attempts.append(_begin(session, pending.pop(0), port, keepalive))
                except OSError as error:
                    failure = _failed(name, error.errno or 0)
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


def _begin(session: Session, target: Target, port: int, keepalive: bool) -> Attempt:
    family, host = target
    fd, _ = fdio.connect(family, host, port)
    attempt = Attempt(session, fd)
    try:
        if keepalive:
            fdio.keepalive(fd, 0, 0, 0)
        session.worker.loop.watch(fd, attempt, EDGE | OUT)
    except OSError:
        fdio.close(fd)
        raise
    return attempt


def _failed(name: str, errno: int) -> Failure:
    text = os.strerror(errno) if errno else "connection failed"
    if errno in SCARCE or errno == names.EADDRNOTAVAIL:
        return Failure("RC", f"out of resources while connecting to {name}: {text}", errno)
    if errno == names.ETIMEDOUT:
        return Failure("sC", f"{name}: {text}", errno)
    return Failure("SC", f"{name}: {text}", errno or names.ECONNREFUSED)
