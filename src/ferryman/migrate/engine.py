"""ferryman within a migration: the supervisor of a plan, in this process, and the lines of its log.

Workers are processes of their own as ever, and end with this one, however that ends. The listening sockets on loopback
are made beforehand, so that their ports are known.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from ferryman.controlplane import sockets
from ferryman.controlplane.supervisor import LoadResult, Options, Supervisor
from ferryman.migrate import MigrationError, ends

if TYPE_CHECKING:
    import socket

    from ferryman.migrate.ends import End
    from ferryman.plan import Address, Plan

Line = dict[str, Any]
"""A line of the access log (docs/reference/logs.md)."""

START: Final = 60.0  # seconds
STOP: Final = 10.0
_KEPT: Final = 200  # messages
_OWN: Final = "ferryman's own end of the way"


class Engine:
    """`heard` gets every line of its access log. `doors`: sockets that listen already."""

    def __init__(self, doors: Sequence[socket.socket], heard: Callable[[Line], None]) -> None:
        self._doors = _Doors(doors)
        self._heard = heard
        self._supervisor: Supervisor | None = None
        self._running: asyncio.Task[int] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._log = -1
        self._plan: Plan | None = None
        self._messages: list[str] = []
        self.heard_so_far = 0

    async def start(self, *parts: End, workers: int) -> None:
        """Returns once it listens. Raises MigrationError with what it says."""
        reading, self._log = os.pipe()
        self._reading = asyncio.create_task(self._read(reading))
        self._plan = plan = ends.united(*parts, workers=workers, log=self._log)
        ready = asyncio.Event()
        options = Options(control=None, foreground=False, ready=ready.set, elsewhere=self._doors, signals=False)
        self._supervisor = Supervisor(plan, self._load, options)
        self._running = asyncio.create_task(self._supervisor.main())
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({waiting, self._running}, timeout=START, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not ready.is_set():
            why = f": {self._failure()}" if self._running.done() else f" within {START:g} s"
            await self.stop()
            raise MigrationError(f"{_OWN} did not start{why}")

    async def reload(self, *parts: End, workers: int) -> None:
        """Follow another plan. Raises MigrationError; then the one before still counts."""
        assert self._supervisor is not None
        earlier, self._plan = self._plan, ends.united(*parts, workers=workers, log=self._log)
        ok, messages = await self._supervisor.reload()
        if not ok:
            self._plan = earlier
            raise MigrationError(f"{_OWN}: " + "\n".join(messages))

    async def gone(self) -> None:
        """Waits for its end, which is to be feared only if it is not asked for."""
        if self._running is not None:
            await asyncio.wait({self._running})

    async def stop(self) -> None:
        """End it, and wait until it has."""
        if self._supervisor is None or self._running is None or self._reading is None:
            return
        self._supervisor.begin_stop(drain=False)
        await asyncio.wait({self._running})
        os.close(self._log)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._reading, STOP)
        self._supervisor = None

    @property
    def fault(self) -> str:
        """Why it runs no more; "": it does."""
        if self._running is None or not self._running.done():
            return ""
        return f"{_OWN} has ended: {self._failure()}"

    def _failure(self) -> str:
        """Of a supervisor that has ended."""
        assert self._running is not None
        return str((not self._running.cancelled() and self._running.exception()) or "nobody asked it to")

    def messages_since(self, count: int) -> list[str]:
        """What it said after the first `count` messages (heard_so_far), as far as that is still kept."""
        new = self.heard_so_far - count
        return self._messages[-new:] if new else []

    def _load(self, renew: bool) -> LoadResult:
        return LoadResult(self._plan, [])

    async def _read(self, fd: int) -> None:
        """Lines of the access log are JSON, what the supervisor itself says is not."""
        stream = asyncio.StreamReader(limit=1 << 20)
        protocol = asyncio.StreamReaderProtocol(stream)
        pipe = os.fdopen(fd, "rb", 0)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
        with contextlib.closing(transport):
            async for raw in stream:
                if raw.startswith(b"{"):
                    with contextlib.suppress(ValueError):
                        self._heard(json.loads(raw))
                else:
                    self._messages.append(raw.decode(errors="replace").rstrip())
                    self.heard_so_far += 1
                    del self._messages[:-_KEPT]


class _Doors:
    """Listens with sockets that are there (controlplane.sockets.Elsewhere), and makes others itself."""

    def __init__(self, doors: Sequence[socket.socket]) -> None:
        self._by_place = {sock.getsockname()[:2]: sock for sock in doors}

    def bind(self, address: Address, backlog: int) -> socket.socket:
        there = self._by_place.get((address.host, address.port))
        return there.dup() if there is not None else sockets.bind(address, backlog)

    def release(self, address: Address) -> None:
        return
