"""ferryman as a child that carries a migration's bytes: written configuration, sockets, the lines of its log.

The child ends with its parent, however that ends: it hears the end of a pipe. The parent keeps the listening sockets
on loopback, so that their ports stay the same if the child has to be started anew.

`python -m ferryman.migrate.engine CONFIGURATION CONTROL` is the child.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ferryman.errors import ControlError
from ferryman.migrate import MigrationError, ends

if TYPE_CHECKING:
    from ferryman.controlplane.supervisor import Supervisor
    from ferryman.plan import Address

Line = dict[str, Any]
"""A line of the access log (docs/reference/logs.md)."""

START: Final = 60.0  # seconds
STOP: Final = 10.0
_READY: Final = b"ferryman-migrate-ready\n"
_KEPT: Final = 200  # messages


class Engine:
    """One child. `heard` gets every line of its access log."""

    def __init__(self, folder: str, sockets: Sequence[socket.socket], heard: Callable[[Line], None]) -> None:
        self._file = os.path.join(folder, "engine.yaml")
        self._control = os.path.join(folder, "control")
        self._sockets = list(sockets)
        self._heard = heard
        self._process: asyncio.subprocess.Process | None = None
        self._reading: list[asyncio.Task[None]] = []
        self._ready = asyncio.Event()
        self._messages: list[str] = []
        self.heard_so_far = 0
        self._document: Mapping[str, Any] = {}

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self, document: Mapping[str, Any]) -> None:
        """Returns once it listens. Raises MigrationError with what it says."""
        self._document = document
        self._write()
        self._ready.clear()
        fds = [sock.fileno() for sock in self._sockets]
        command = [sys.executable, "-m", "ferryman.migrate.engine", self._file, self._control, ",".join(map(str, fds))]
        self._process = process = await asyncio.create_subprocess_exec(
            *command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=fds,
            start_new_session=True,  # Ctrl-C is for the parent
            limit=1 << 20,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        self._reading = [
            asyncio.create_task(self._read_lines(process.stdout)),
            asyncio.create_task(self._read_messages(process.stderr)),
        ]
        ready = asyncio.create_task(self._ready.wait())
        ended = asyncio.create_task(process.wait())
        await asyncio.wait({ready, ended}, timeout=START, return_when=asyncio.FIRST_COMPLETED)
        for task in (ready, ended):
            task.cancel()
        if not self._ready.is_set():
            await self.stop()
            said = "\n".join(self._messages[-10:]) or "it said nothing"
            raise MigrationError(f"ferryman's own end of the way did not start: {said}")

    async def ensure(self) -> None:
        """Start it again if it has ended. Raises MigrationError."""
        if not self.running:
            await self.stop()
            await self.start(self._document)

    async def gone(self) -> None:
        """Waits for its end."""
        if self._process is not None:
            await self._process.wait()

    async def reload(self, document: Mapping[str, Any]) -> None:
        """Follow another configuration. Raises MigrationError; then the one before still counts."""
        from ferryman.controlplane.control import Client

        self._document = document
        self._write()
        try:
            answer = await asyncio.to_thread(Client(self._control).reload)
        except ControlError as error:
            raise MigrationError(f"ferryman's own end of the way: {error}") from None
        if not answer["ok"]:
            raise MigrationError("ferryman's own end of the way: " + "\n".join(answer["messages"]))

    async def stop(self) -> None:
        """End it, and wait until it has."""
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), STOP)
            except TimeoutError:
                process.kill()
                await process.wait()
        await asyncio.wait(self._reading, timeout=STOP)
        for task in self._reading:
            task.cancel()
        self._process = None

    @property
    def pid(self) -> int:
        """0: it does not run."""
        return self._process.pid if self._process is not None else 0

    def last_words(self) -> str:
        """What it said last on standard error."""
        return self._messages[-1] if self._messages else ""

    def messages_since(self, count: int) -> list[str]:
        """Those after the first `count` (heard_so_far), if they are still kept."""
        new = self.heard_so_far - count
        return self._messages[-new:] if new else []

    def _write(self) -> None:
        with open(self._file, "w", encoding="utf-8", opener=private) as file:
            file.write(ends.as_text(self._document))

    async def _read_lines(self, stream: asyncio.StreamReader) -> None:
        async for raw in stream:
            if raw == _READY:
                self._ready.set()
            elif raw.startswith(b"{"):
                with contextlib.suppress(ValueError):
                    self._heard(json.loads(raw))

    async def _read_messages(self, stream: asyncio.StreamReader) -> None:
        async for raw in stream:
            self._messages.append(raw.decode(errors="replace").rstrip())
            self.heard_so_far += 1
            del self._messages[:-_KEPT]


def private(path: str, flags: int) -> int:
    """An `opener` for files of which nobody else may know the contents."""
    return os.open(path, flags, 0o600)


# the child


class _Inherited:
    """Listens with the sockets of the parent (controlplane.sockets.Elsewhere), and makes others itself."""

    def __init__(self, fds: Sequence[int]) -> None:
        self._by_place = {}
        for fd in fds:
            sock = socket.socket(fileno=fd)
            sock.setblocking(False)
            self._by_place[sock.getsockname()[:2]] = sock

    def bind(self, address: Address, backlog: int) -> socket.socket:
        from ferryman.controlplane import sockets

        there = self._by_place.get((address.host, address.port))
        return there.dup() if there is not None else sockets.bind(address, backlog)

    def release(self, address: Address) -> None:
        return


async def _with_parent(owner: Supervisor) -> None:
    """Ends everything once the parent is gone."""
    gone = asyncio.Event()
    asyncio.get_running_loop().add_reader(0, gone.set)  # nothing is ever written: it is readable at its end
    await gone.wait()
    asyncio.get_running_loop().remove_reader(0)
    owner.begin_stop(drain=False)


def child(file: str, control: str, fds: str) -> int:
    """Be the engine until told to end, or until the parent is gone."""
    from ferryman.config.load import load, read
    from ferryman.controlplane.supervisor import LoadResult, Options, run
    from ferryman.errors import FerrymanError

    def loaded(renew: bool) -> LoadResult:
        found = load(read([file]), "ferryman")
        return LoadResult(found.plan, [str(one) for one in found.diagnostics.found if one.severity == "error"])

    def ready() -> None:
        sys.stdout.buffer.write(_READY)
        sys.stdout.flush()

    try:
        first = loaded(False)
        if first.plan is None:
            raise MigrationError("\n".join(first.messages))
        inherited = _Inherited([int(fd) for fd in fds.split(",") if fd])
        return run(first.plan, loaded, Options(control, elsewhere=inherited, beside=_with_parent, ready=ready))
    except FerrymanError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(child(*sys.argv[1:]))
