"""The event loop of a worker: epoll, the table of descriptors, and coarse time.

Handlers are looked up by descriptor and told the epoll mask; they never block. asyncio is not used here because it
costs three times as much per event; this is all that is needed of a loop. Knows nothing of connections.

Three rules that the rest relies on:

* `now` is read once per turn. Timeouts are coarse: they fire up to one tick late, never early.
* A descriptor that is closed through `close` stays open until the turn is over. So its number cannot be given to a
  new connection while events of the old one are still in the batch being worked off.
* A handler that raises, or the tick, is a bug: it is recorded and the handler is told to `abort`; the others go on.
"""

from __future__ import annotations

import errno
import select
import sys
import traceback
import types
from collections.abc import Callable, Generator
from time import monotonic
from typing import Final, Protocol

from ferryman.dataplane import fdio

IN: Final = select.EPOLLIN
OUT: Final = select.EPOLLOUT
ERR: Final = select.EPOLLERR
URGENT: Final = select.EPOLLPRI
HANGUP: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
EDGE: Final = select.EPOLLET | select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLPRI
"""What a stream socket is watched for; OUT is added once it was found full (its edges would only be noise)."""

EVENTS_PER_TURN: Final = 256

SCARCE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ENOSPC})
"""What the kernel says when it has no more of something: descriptors, memory, watches. Passes; no bug of ours."""


@types.coroutine
def suspend() -> Generator[None, None, None]:
    """In a coroutine: give the turn away until whoever drives it resumes it, for whatever reason."""
    yield


class Handler(Protocol):
    """What the table holds."""

    def event(self, mask: int) -> None: ...
    def abort(self) -> None: ...
    def sweep(self, now: float) -> None: ...


class Resumable(Protocol):
    """Something that used up its share of a turn and has more to do."""

    def resume(self) -> None: ...


class Loop:
    """One per worker. `tick` is called at least every `interval()` seconds (None: only on events)."""

    def __init__(self, tick: Callable[[float], None], turn_end: Callable[[], None]) -> None:
        self.epoll = select.epoll()
        self.table: list[Handler | None] = [None] * 4096
        self.now = monotonic()
        self.ready: list[Resumable] = []
        self.closing: list[int] = []
        self.interval: float | None = None
        self.stopped = False
        self._tick = tick
        self._turn_end = turn_end

    def watch(self, descriptor: int, handler: Handler, mask: int) -> None:
        """Add a descriptor. Raises OSError (ENOSPC, ENOMEM) when the kernel has no room for another watch."""
        if descriptor >= len(self.table):
            self.table.extend([None] * max(4096, descriptor + 1 - len(self.table)))
        self.epoll.register(descriptor, mask)
        self.table[descriptor] = handler

    def close(self, descriptor: int) -> None:
        """Forget a descriptor now, close it when the turn is over (closing takes it out of epoll)."""
        self.table[descriptor] = None
        self.closing.append(descriptor)

    def run(self) -> None:
        """Until `stopped`. Returns with every descriptor handed to `close` closed."""
        epoll, table = self.epoll, self.table
        next_tick = self.now
        while not self.stopped:
            interval = self.interval
            if self.ready:
                wait: float | None = 0.0
            elif interval is None:
                wait = None
            else:
                wait = max(next_tick - self.now, 0.0)
            events = iter(epoll.poll(wait, EVENTS_PER_TURN))
            self.now = monotonic()
            while True:
                handler: Handler | None = None
                try:
                    for descriptor, mask in events:
                        handler = table[descriptor]
                        if handler is not None:
                            handler.event(mask)
                    break
                except Exception:  # noqa: BLE001 - a bug in one connection must not end all others
                    self._record_bug(handler)
            if interval is not None and self.now >= next_tick:
                try:
                    self._tick(self.now)
                except Exception:  # noqa: BLE001
                    self._record_bug(self)
                next_tick = self.now + (self.interval or 1.0)
            elif self.interval is not None and next_tick > self.now + self.interval:
                next_tick = self.now + self.interval
            if self.ready:
                self._resume()
            if self.closing:
                self._close()
            self._turn_end()
        self._close()

    def _resume(self) -> None:
        ready, self.ready = self.ready, []
        for resumable in ready:
            try:
                resumable.resume()
            except Exception:  # noqa: BLE001
                self._record_bug(resumable)

    def _close(self) -> None:
        for descriptor in self.closing:
            fdio.close(descriptor)
        self.closing.clear()

    def _record_bug(self, handler: object) -> None:
        print(f"ferryman: internal error in {type(handler).__name__}", file=sys.stderr)
        traceback.print_exc()
        if (abort := getattr(handler, "abort", None)) is not None:
            try:
                abort()
            except Exception:  # noqa: BLE001
                traceback.print_exc()
