"""One worker process as the supervisor sees it: started, told things, listened to, and noticed when it dies.

Decides nothing about restarting; the supervisor does. Reports of a worker are data, never trusted further than that.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from ferryman.dataplane.channel import Frames, send_order

SEND_TIMEOUT: Final = 5.0  # seconds a worker may take to read an order before it counts as stuck


class WorkerProcess:
    """`on_report` is called with each report, `on_exit` once with the exit status."""

    def __init__(
        self,
        index: int,
        on_report: Callable[[WorkerProcess, dict[str, Any]], None],
        on_exit: Callable[[WorkerProcess, int], None],
    ) -> None:
        self.index = index
        self.pid = 0
        self.generation = 0  # of the plan it has confirmed
        self.first = self.last = 0  # of the plans it was sent
        self.drained = False
        self.doors: set[str] = set()  # keys of the listening sockets it was given
        self._on_report = on_report
        self._on_exit = on_exit
        self._socket: socket.socket | None = None
        self._frames: Frames | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[dict[str, Any] | None]] = {}
        self._requests = 0

    async def start(self) -> None:
        """Spawn the process. Raises OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.settimeout(SEND_TIMEOUT)
        with theirs:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-P",  # nothing is imported from whatever folder this was started in
                    "-m",
                    "ferryman.dataplane.worker",
                    str(theirs.fileno()),
                    str(self.index),
                    pass_fds=(theirs.fileno(),),
                    stdin=asyncio.subprocess.DEVNULL,
                )
            except BaseException:
                ours.close()
                raise
        self.pid = self._process.pid
        self._socket = ours
        self._frames = Frames(ours, trusted=False)
        asyncio.get_running_loop().add_reader(ours.fileno(), self._readable)
        self._watcher = asyncio.create_task(self._wait())

    def order(self, kind: str, *values: object, descriptors: Sequence[int] = ()) -> bool:
        """Tell it something. False: it does not listen any more (its exit will be, or was, reported)."""
        if self._socket is None:
            return False
        try:
            send_order(self._socket, (kind, *values), descriptors)
        except OSError:
            self.kill()
            return False
        return True

    async def ask(self, kind: str, *values: object, timeout: float = 5.0) -> dict[str, Any] | None:
        """An order that is answered. None: no answer in time, or the worker is gone."""
        self._requests += 1
        request = self._requests
        future: asyncio.Future[dict[str, Any] | None] = asyncio.get_running_loop().create_future()
        self._waiting[request] = future
        try:
            if not self.order(kind, request, *values):
                return None
            return await asyncio.wait_for(future, timeout)
        except TimeoutError:
            return None
        finally:
            self._waiting.pop(request, None)

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        if self._process is not None and self._process.returncode is None:
            # not Popen's own kill, which collects the exit status of one that has ended, behind asyncio's back
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    async def ended(self, timeout: float) -> bool:
        """Wait for its end; False: still there."""
        if self._watcher is None:
            return True
        try:
            await asyncio.wait_for(asyncio.shield(self._watcher), timeout)
        except TimeoutError:
            return False
        return True

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    def _readable(self) -> None:
        assert self._frames is not None
        try:
            self._frames.receive()
            for report in self._frames.reports():
                self._take(report)
        except (EOFError, ValueError, OSError):
            self._hang_up()
            # a worker that garbles its reports is as good as dead
            self.kill()

    def _take(self, report: dict[str, Any]) -> None:
        request = report.get("request")
        future = self._waiting.get(request) if isinstance(request, int) else None
        if future is not None and not future.done():
            future.set_result(report)
        else:
            self._on_report(self, report)

    def _hang_up(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
        for future in self._waiting.values():
            if not future.done():
                future.set_result(None)

    async def _wait(self) -> None:
        assert self._process is not None
        status = await self._process.wait()
        self._hang_up()
        self._on_exit(self, status)


def describe_exit(status: int) -> str:
    """An exit status as people say it."""
    if status < 0:
        try:
            return f"killed by {signal.Signals(-status).name}"
        except ValueError:  # real-time signals have no names
            return f"killed by signal {-status}"
    return f"exit status {status}" if status else "ended"
