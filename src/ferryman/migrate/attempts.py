"""One volume, attempt after attempt: rsync is started, watched, and started again when the connection was to blame.

An attempt goes on from what the ones before have left. The pauses between attempts double, up to half a minute, and
begin anew once an attempt has moved something. What no further attempt can mend ends it at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from ferryman.migrate import MigrationError, RefusedError, changes, diagnosis, ends, progress, rsync
from ferryman.migrate.diagnosis import Cause
from ferryman.migrate.engine import Engine, Line
from ferryman.migrate.report import Standing
from ferryman.migrate.volumes import Volume, shown

LONGEST_PAUSE: Final = 30.0
_LOG_PATIENCE: Final = 3.0
"""Seconds that a line of the log may take to come after rsync has ended."""
_PARTIALS: Final = 3
"""Attempts that may leave single files out, before that is how it ends."""
_SAID: Final = 50
_LINES: Final = 100
"""Of the log, for each listener: whoever else is on this machine can have more written."""
_PACE: Final = (0.25, 1.0)
"""Seconds between looks at what rsync writes: less than a pipe of _PIPE bytes takes to be full; more if little came."""
_LAST: Final = 0.01
"""The same, when it is about to be over."""
_PIPE: Final = 1 << 20
_DIFFERENCES: Final = 100
_NAMED: Final = 5
_DIFFERENCE: Final = re.compile(r"(?:[<>ch.][fdLDS].{7,9}|\*[a-z]+ *) ")
"""rsync(1), --itemize-changes; everything else is numbers at the end."""


class Interrupted(Exception):  # noqa: N818 - what the user asked for
    """Ctrl-C."""


class Watcher(Protocol):
    """Hears of what happens at once; what changes all the time it reads from the standings."""

    def attempt_failed(self, standing: Standing, cause: Cause, pause: float | None) -> None: ...
    def changed(self, standing: Standing) -> None: ...


class Journal:
    """Lines of the engine's log, by listener."""

    def __init__(self) -> None:
        self.lines: defaultdict[str, list[Line]] = defaultdict(list)
        self._came = asyncio.Event()

    def hear(self, line: Line) -> None:
        kept = self.lines[str(line.get("listener"))]
        kept.append(line)
        del kept[:-_LINES]
        self._came.set()

    def clear(self, listener: str) -> None:
        self.lines[listener].clear()

    async def of(self, listener: str, patience: float = _LOG_PATIENCE) -> list[Line]:
        """Those since `clear`; waits until there is one, but not for ever."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while not self.lines[listener]:
                    self._came.clear()
                    await self._came.wait()
        return list(self.lines[listener])


@dataclass(slots=True)
class Ending:
    """Of one rsync. `said`: its complaints."""

    code: int
    said: list[str]
    stats: progress.Stats


@dataclass(slots=True)
class Way:
    """What all volumes of a migration share. `limit`: failures in a row without anything moved.

    `hop`: whom the engine connects to, for people.
    """

    program: str
    engine: Engine
    journal: Journal
    flags: rsync.Flags
    password: str
    user: str = rsync.USER
    ours: bool = True
    limit: int = 20
    hop: str = "server"
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    running: set[asyncio.subprocess.Process] = field(default_factory=set)

    def stop(self) -> None:
        """Ctrl-C: rsync tells the other end, which keeps what it has of a file. The second time: at once."""
        number = signal.SIGKILL if self.stopping.is_set() else signal.SIGINT
        self.stopping.set()
        for process in self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)

    async def pause(self, seconds: float) -> None:
        """Raises Interrupted."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), seconds)
        self.check()

    def check(self) -> None:
        if self.stopping.is_set():
            raise Interrupted


class Carrier:
    """Brings one volume over. `door`: where its rsync connects to; `module`: what the daemon calls it."""

    def __init__(
        self, way: Way, volume: Volume, module: str, door: tuple[str, int], standing: Standing, watcher: Watcher
    ) -> None:
        self._way = way
        self._volume = volume
        self._module = module
        self._door = door
        self.standing = standing
        self._watcher = watcher
        self._partials = 0
        self._began = 0

    async def copy(self) -> None:
        """Until it is there. Raises MigrationError with the reason, RefusedError, Interrupted.

        What was written to while it was read is read once more; what is written to even then is in the standing.
        """
        standing, command = self.standing, self._command(rsync.command)
        standing.changed = 0
        await self._repeat("moving", command, self._take_progress, self._copied)
        if await self._changed():
            moved = standing.files_moved
            await self._repeat("moving", command, self._take_progress, self._copied)
            if count := standing.files_moved - moved:  # 0: what is written to is left out
                standing.notes.append(f"{_files(count)} changed while being moved, and read once more")
                if again := await self._changed():
                    standing.changed = len(again)
                    names = ", ".join(shown(name) for name in again[:_NAMED])
                    standing.notes.append(
                        f"{_files(len(again))} changed even then, and may be half old, half new: {names}"
                    )

    async def _changed(self) -> list[str]:
        """The files that were written to while the last attempt ran."""
        way = self._way
        if way.flags.dry_run or not self.standing.files_moved:
            return []
        return await asyncio.to_thread(changes.since, self._volume.path, self._began, way.stopping.is_set)

    async def compare(self) -> None:
        """By checksums; what differs is in the standing. Raises as `copy`."""
        standing = self.standing
        command = self._command(rsync.verification)

        def difference(line: str) -> None:
            if _DIFFERENCE.match(line):
                standing.different += 1
                if len(standing.differences) < _DIFFERENCES:
                    standing.differences.append(line)

        def compared(ending: Ending) -> None:
            standing.compared = ending.stats.files

        def begin() -> None:
            standing.different = 0
            standing.differences.clear()

        await self._repeat("comparing", command, difference, compared, begin)

    def _command(self, make: Callable[..., list[str]]) -> list[str]:
        way = self._way
        return make(
            way.program, way.flags, self._volume.path, self._module, self._door, user=way.user, ours=way.ours
        )  # fmt: skip

    async def _repeat(
        self,
        state: Any,
        command: Sequence[str],
        take: Callable[[str], None],
        ended: Callable[[Ending], None],
        begin: Callable[[], None] = lambda: None,
    ) -> None:
        standing, failures = self.standing, 0
        while True:
            self._way.check()
            standing.state = state
            standing.attempts += state == "moving"
            self._watcher.changed(standing)
            begin()
            started, self._began = time.monotonic(), time.time_ns()
            try:
                cause = await self._once(command, take, ended)
            finally:
                standing.seconds += time.monotonic() - started
                got_on = standing.now > 0
                standing.moved, standing.now = standing.bytes, 0
                standing.files_moved, standing.files_now = standing.files_moved + standing.files_now, 0
                standing.rate, standing.left = 0.0, None
            if cause is None:
                return
            failures = 1 if got_on else failures + 1
            standing.causes.append(cause.text)
            if cause.outlook != "again" or failures > self._way.limit:
                self._end(cause, failures)
            pause = min(LONGEST_PAUSE, 2.0 ** (failures - 1))
            standing.state = "retrying"
            self._watcher.attempt_failed(standing, cause, pause)
            await self._way.pause(pause)

    def _end(self, cause: Cause, failures: int) -> None:
        """No further attempt."""
        self.standing.notes += [line for line in cause.files if line not in cause.text]
        self._watcher.attempt_failed(self.standing, cause, None)
        if cause.outlook == "refused":
            raise RefusedError(cause.text)
        given_up = f"; given up after {failures} attempts that moved nothing" if cause.outlook == "again" else ""
        raise MigrationError(cause.text + given_up)

    async def _once(
        self, command: Sequence[str], take: Callable[[str], None], ended: Callable[[Ending], None]
    ) -> Cause | None:
        """One attempt; None: it did what it should."""
        way, standing, listener = self._way, self.standing, ends.listener_name(self._volume.name)
        if way.engine.fault:
            return Cause(way.engine.fault, "failed")
        way.journal.clear(listener)
        heard = way.engine.heard_so_far
        ending = await self._run(command, take)
        lines = list[Line]()
        if ending.code in rsync.NETWORK or (ending.code and standing.now):
            lines = await way.journal.of(listener, 0.2 if way.stopping.is_set() else _LOG_PATIENCE)
        if lines:  # rsync counts what it found in place as well
            standing.now = min(standing.now, diagnosis.carried(lines))
        way.check()
        if ending.code == 0:
            ended(ending)
            return None
        if ending.code in (rsync.VANISHED, rsync.PARTIAL):
            return self._partial(ending, ended)
        gone = ""
        if not lines:  # what ended the worker also ended its log
            gone = next((line for line in way.engine.messages_since(heard) if " killed by " in line), "")
        return diagnosis.of(ending.code, ending.said, lines, way.hop, gone)

    def _partial(self, ending: Ending, ended: Callable[[Ending], None]) -> Cause | None:
        """Single files are missing: of those that vanished nothing is left to be moved; others may do better."""
        cause = diagnosis.of(ending.code, ending.said, [])
        self._partials += 1
        if cause.outlook == "again" and ending.code == rsync.VANISHED and self._partials > 1:
            self.standing.notes += [cause.text, *cause.files]
            ended(ending)
            return None
        if cause.outlook == "again" and self._partials >= _PARTIALS:
            return Cause(cause.text, "failed", cause.files)
        return cause

    async def _run(self, command: Sequence[str], take: Callable[[str], None]) -> Ending:
        """rsync, to its end."""
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        with contextlib.suppress(OSError):  # less is allowed to this user
            fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, _PIPE)
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writing,
                stderr=asyncio.subprocess.PIPE,
                env=rsync.environment(self._way.password),
                start_new_session=True,  # Ctrl-C comes from us
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self._way.running.add(process)
        if self._way.stopping.is_set():
            process.terminate()
        ending = Ending(0, [], progress.Stats())
        assert process.stderr is not None

        def line_came(line: str) -> None:
            ending.stats.take(line)
            take(line)

        def complained(line: str) -> None:
            ending.said.append(line)
            del ending.said[:-_SAID]

        try:
            complaints = asyncio.create_task(_lines(process.stderr, complained))
            await asyncio.gather(_paced(reading, line_came, complaints), complaints)
            ending.code = await process.wait()
        finally:
            os.close(reading)
            self._way.running.discard(process)
            if process.returncode is None:
                process.kill()
                await process.wait()
        return ending

    def _take_progress(self, line: str) -> None:
        found = progress.parse(line)
        if found is None:
            return
        standing = self.standing
        standing.now, standing.rate, standing.left = found.bytes, found.rate, found.left
        standing.files_now = found.moved or standing.files_now
        if found.files:
            standing.files_done, standing.files = found.files_done, found.files
        if found.percent:
            standing.total = found.total

    def _copied(self, ending: Ending) -> None:
        standing, stats = self.standing, ending.stats
        sent = stats.transferred_size if self._way.flags.dry_run else stats.literal
        standing.now, standing.files_now = sent, stats.transferred
        standing.files = standing.files_done = stats.files
        standing.total = stats.size
        standing.deleted += stats.deleted


def _files(count: int) -> str:
    return "1 file was" if count == 1 else f"{count} files were"


def next_pace(pace: float, came: int) -> float:
    """Seconds until the next look, after one that was `pace` seconds after the one before and found `came` bytes."""
    least, most = _PACE
    return least if came > _PIPE // 16 else min(2 * pace, most)


async def _paced(fd: int, take: Callable[[str], None], ended: asyncio.Task[None]) -> None:
    """rsync writes a line of progress for every file: to wake up for each would cost as much as moving a small one.

    `ended`: done once rsync is about to be over.
    """
    cut, pace = progress.Lines(), _PACE[0]
    while True:
        data = b""
        with contextlib.suppress(BlockingIOError):
            data = os.read(fd, _PIPE)
            if not data:
                break
            for line in progress.texts(progress.latest(cut.feed(data))):
                take(line)
        pace = next_pace(pace, len(data))
        await asyncio.wait({ended}, timeout=pace)
        if ended.done():  # what it has written is there, but whoever has its output as well may still be
            await asyncio.sleep(_LAST)
    for line in progress.texts([cut.rest]):
        take(line)


async def _lines(stream: asyncio.StreamReader, take: Callable[[str], None]) -> None:
    cut = progress.Lines()
    while data := await stream.read(65536):
        for line in progress.texts(cut.feed(data)):
            take(line)
    for line in progress.texts([cut.rest]):
        take(line)
