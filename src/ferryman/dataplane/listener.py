"""Accepting: a listening descriptor in the loop, its limits, and what happens when descriptors run out.

The descriptor is shared by all workers and watched with EPOLLEXCLUSIVE, so the kernel wakes one of them. A listener at
its limit is paused, not refused: the excess waits in the kernel's backlog, as HAProxy's manual has it (maxconn).
"""

from __future__ import annotations

import errno
import select
from typing import TYPE_CHECKING, Final

from ferryman.dataplane import fdio
from ferryman.dataplane.counters import Cell
from ferryman.dataplane.loop import SCARCE
from ferryman.dataplane.record import Record
from ferryman.dataplane.session import Session
from ferryman.plan import Listener

if TYPE_CHECKING:
    from ferryman.dataplane.worker import Worker

BATCH: Final = (
    8  # connections taken per event: enough to keep the queue short, few enough to let tunnels have their turn
)
BREATHER: Final = 0.1  # seconds without accepting once descriptors or memory ran out

PASSING: Final = frozenset(
    {
        errno.ECONNABORTED, errno.EPROTO, errno.EINTR, errno.EPERM, errno.ENETDOWN, errno.ENOPROTOOPT,
        errno.EHOSTDOWN, errno.ENONET, errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH, errno.ETIMEDOUT,
    }
)  # fmt: skip
"""Errors of the connection that was to be accepted, not of the listener (accept(2), "Error handling")."""

WILDCARDS: Final = ("0.0.0.0", "::")
MASK: Final = select.EPOLLIN | select.EPOLLEXCLUSIVE


class Clients:
    """How many connections there are from each address, at listeners that limit it. A plan changes nothing of that."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}

    def enter(self, record: Record) -> int:
        """One more; how many that makes."""
        key = self._key(record)
        count = self._counts[key] = self._counts.get(key, 0) + 1
        return count

    def leave(self, record: Record) -> None:
        """It is over."""
        key = self._key(record)
        if count := self._counts[key] - 1:
            self._counts[key] = count
        else:
            del self._counts[key]

    @staticmethod
    def _key(record: Record) -> tuple[str, str]:
        return record.listener.name, record.peer[0] if record.peer else record.client_host


class Door:
    """One listening descriptor. While `paused` it accepts nothing until there is room and `resume_at` has come."""

    __slots__ = ("fd", "key", "listener", "local", "paused", "resume_at", "worker")

    def __init__(self, worker: Worker, key: str, listener: Listener, fd: int) -> None:
        self.worker = worker
        self.key = key  # what names the descriptor across plans
        self.listener = listener
        self.fd = fd
        self.paused = False
        self.resume_at = 0.0
        host, port = fdio.sockname(fd)
        self.local = None if host in WILDCARDS else (host, port)  # where every client of this door came to
        worker.loop.watch(fd, self, MASK)

    def event(self, mask: int) -> None:
        """Somebody is at the door."""
        worker, listener = self.worker, self.listener
        generation = worker.generation
        for _ in range(BATCH):
            if not generation.claim(listener):
                self.pause(0.0)
                return
            try:
                accepted = fdio.accept(self.fd)
            except OSError as error:
                generation.unclaim(listener)
                self._failed(error)
                return
            if accepted is None:
                generation.unclaim(listener)
                return
            fd, host, port = accepted
            session = Session(worker, listener, fd, host, port)
            if self.local is not None and not listener.transparent:
                session.record.local_host, session.record.local_port = self.local
            worker.begin(session)

    def _failed(self, error: OSError) -> None:
        if error.errno in PASSING:
            return
        self.worker.generation.listener_count(self.listener, Cell.ACCEPT_ERRORS)
        if error.errno in SCARCE:
            self.worker.carrier.pipes.empty()
        self.worker.complain(f"listener {self.listener.name}: accept: {error.strerror}; pausing for a moment")
        self.pause(self.worker.loop.now + BREATHER)

    def pause(self, until: float) -> None:
        """Stop accepting: until a time, or (0.0) until there is room again."""
        if not self.paused:
            self.paused = True
            self.worker.paused.append(self)
            self.worker.loop.epoll.unregister(self.fd)
        self.resume_at = until
        self.worker.tick_soon()  # nothing else may be alive here that would end and make room

    def unpause(self) -> None:
        """Accept again; what came in the meantime is told at once (level-triggered)."""
        try:
            self.worker.loop.epoll.register(self.fd, MASK)
        except OSError as error:
            self.worker.complain(f"listener {self.listener.name}: {error.strerror}; pausing for a moment")
            self.resume_at = self.worker.loop.now + BREATHER
        else:
            self.paused = False
            self.worker.paused.remove(self)

    def close(self) -> None:
        """Stop for good. The supervisor's copy of the descriptor decides whether the port is freed."""
        if self in self.worker.paused:
            self.worker.paused.remove(self)
        if not self.paused:
            self.worker.loop.epoll.unregister(self.fd)
        self.worker.loop.close(self.fd)

    def sweep(self, now: float) -> None:
        """Paused doors are looked at on every tick (worker.paused), not here."""

    def abort(self) -> None:
        """A bug in a new connection's first step; the door stays open."""
