"""Runs a Starlette application on sockets the supervisor owns: the stats pages and the control API.

uvicorn serves; what it would do on its own as a main program (signals, logging set-up, closing sockets) is not wanted
here. Knows nothing of what the applications say.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Sequence
from typing import Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

_HEAD_LIMIT: Final = 16 * 1024  # bytes of a request head
_CONNECTIONS: Final = 256  # at once; more are answered 503
_PATIENCE: Final = 10.0  # seconds to send a request


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers (the supervisor has them); `up` once it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()
        self.ending = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    async def main_loop(self) -> None:
        """uvicorn's wakes up ten times a second, which is most of what an idle supervisor would do."""
        while not self.ending.is_set():
            await self.on_tick(0)  # keeps the Date header true
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.ending.wait(), 1.0)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Protocol(H11Protocol):
    """uvicorn's, which would let clients that say nothing, or never end their request, hold their places for ever."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._timer.cancel()

    def _wait(self) -> None:
        self._seen = self._state()
        self._timer = self.loop.call_later(_PATIENCE, self._look)

    def _look(self) -> None:
        if self._seen == self._state() and self._seen[1]:
            self.transport.close()  # nothing was being answered, and no request came in all that time
        else:
            self._wait()

    def _state(self) -> tuple[object, bool]:
        """The last request, and whether it has been answered."""
        return self.cycle, self.cycle is None or self.cycle.response_complete


class WebServer:
    """One application on some listening sockets. The sockets stay the caller's; duplicates are served."""

    def __init__(self, app: ASGIApp) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            http=_Protocol,
            ws="none",
            h11_max_incomplete_event_size=_HEAD_LIMIT,
            limit_concurrency=_CONNECTIONS,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=1,
            server_header=False,
            proxy_headers=False,
        )
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Serve from now on."""
        self._task = asyncio.create_task(self._server.serve([sock.dup() for sock in sockets]))
        up = asyncio.create_task(self._server.up.wait())
        await asyncio.wait({up, self._task}, return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        if self._task.done():
            self._task.result()

    async def stop(self) -> None:
        """Answer what is being answered, then end."""
        self._server.should_exit = True
        self._server.ending.set()
        if self._task is not None:
            await self._task
