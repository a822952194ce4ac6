"""rsync as a daemon: one for each connection to a volume, on that connection, as inetd would start it.

A volume has a Unix socket in a folder that only this user can enter; the engine connects to it. So rsync itself listens
nowhere. A client that has shown the password ends the one before it: it is one process that tries again, and of two
daemons that write to the same files the one that was left behind would, when it notices, put its half of a file in the
place of the whole. Whoever has not shown it ends nobody: at the client's machine others can connect as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import stat
import tempfile
from asyncio.subprocess import Process
from typing import Final

from ferryman.migrate import MigrationError, rsync
from ferryman.migrate.memory import private
from ferryman.migrate.volumes import Volume

_MUNGED: Final = b"/rsyncd-munged/"  # rsyncd.conf(5), munge symlinks
_PATIENCE: Final = 10.0  # seconds for a daemon to save what is half written
_STRANGER: Final = 60.0  # seconds for a client to show the password
_STRANGERS: Final = 8  # of them at once; the oldest gives way
_PAUSE: Final = 0.5  # seconds, where no connection can be served
_TURN: Final = (
    'echo "$RSYNC_ARG1 $RSYNC_ARG2" >"/proc/self/fd/$FERRYMAN_ASK" && read -r turn <"/proc/self/fd/$FERRYMAN_TURN"'
)
"""What a daemon runs between the password and the first file: it waits until those before it have ended."""
_ONLY_LOOKS: Final = re.compile(rb"--server -[lHogDtprXASWcv]*n[lHogDtprXASWcv]*(?:e[.A-Za-z0-9]*)?\n")
"""What a client asks for that writes nothing: flags without values, --dry-run among them."""


def configuration(volume: Volume, secrets_file: str, log: str) -> str:
    """rsyncd.conf(5) for one volume.

    As root it is locked into the volume (chroot). Otherwise links are kept as what leads nowhere (munged) as long as
    the migration goes on, so that the daemon can be led out of the volume by none; `tidy` makes them what they are.
    Nothing can be read from it: whoever has stolen a client's place gets to know nothing of what was there before.
    """
    root = os.geteuid() == 0
    return "\n".join(
        [
            f"log file = {log}",
            "reverse lookup = no",
            f"[{volume.name}]",
            f"path = {volume.path}",
            "read only = no",
            "write only = yes",
            "list = no",
            "numeric ids = yes",
            f"auth users = {rsync.USER}",
            f"secrets file = {secrets_file}",
            "strict modes = yes",
            "refuse options = keep-dirlinks copy-unsafe-links copy-links copy-dirlinks remove-source-files",
            "max connections = 0",
            f"pre-xfer exec = {_TURN}",
            *(["uid = 0", "gid = 0", "use chroot = yes", "munge symlinks = no"] if root else []),
            *([] if root else ["use chroot = no", "munge symlinks = yes"]),
            "",
        ]
    )


class Daemon:
    """Serves one volume at the Unix socket `path`."""

    def __init__(self, program: str, volume: Volume, folder: str, password: str) -> None:
        self.volume = volume
        self.written = False
        """Whether a client may have changed something: it asked for more than a dry run."""
        self._base = tempfile.mkdtemp(prefix="v", dir=folder)
        self.path = os.path.join(self._base, "socket")  # short, whatever the volume is called
        self._program = program
        self._password = password
        self._process: Process | None = None
        self._strangers: dict[Process, None] = {}  # the oldest first
        self._introductions: set[asyncio.Task[None]] = set()
        self._changing = asyncio.Lock()
        self._accepting: asyncio.Task[None] | None = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)

    def start(self) -> None:
        """Make the folder for what is half written, and listen. Raises MigrationError."""
        try:
            os.makedirs(os.path.join(self.volume.path, rsync.UNFINISHED), mode=0o700, exist_ok=True)
        except OSError as error:
            raise MigrationError(f"cannot write to {self.volume.path}: {error.strerror}") from None
        with open(os.path.join(self._base, "secrets"), "w", encoding="ascii", opener=private) as file:
            file.write(f"{rsync.USER}:{self._password}\n")
        with open(
            os.path.join(self._base, "conf"), "w", encoding="utf-8", errors="surrogateescape", opener=private
        ) as file:
            file.write(configuration(self.volume, os.path.join(self._base, "secrets"), os.path.join(self._base, "log")))
        self._socket.bind(self.path)
        self._socket.listen()
        self._accepting = asyncio.create_task(self._accept())

    async def stop(self) -> None:
        """End what runs, and wait until nothing writes any more."""
        if self._accepting is not None:
            self._accepting.cancel()
        self._socket.close()
        while self._strangers:
            self._send_away()
        await asyncio.gather(*self._introductions)
        async with self._changing:
            await self._end()

    def tidy(self) -> None:
        """The migration is complete: leave nothing of it in the volume but what was moved."""
        if os.geteuid() != 0:
            unmunge(os.fsencode(self.volume.path))
        before = os.stat(self.volume.path)
        shutil.rmtree(os.path.join(self.volume.path, rsync.UNFINISHED), ignore_errors=True)
        with contextlib.suppress(OSError):  # not ours: then its time was never set either
            os.utime(self.volume.path, ns=(before.st_atime_ns, before.st_mtime_ns))

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._socket)
                with connection:
                    await self._serve(connection)
            except OSError:  # no descriptor is left, or no process can be made: the client tries again
                await asyncio.sleep(_PAUSE)

    async def _serve(self, connection: socket.socket) -> None:
        """Start a daemon on a connection. Raises OSError."""
        if len(self._strangers) >= _STRANGERS:
            self._send_away()
        connection.setblocking(True)
        asked, ask = os.pipe()
        turn, grant = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                self._program,
                "--daemon",
                f"--config={self._base}/conf",
                stdin=connection.fileno(),
                stdout=connection.fileno(),
                stderr=asyncio.subprocess.DEVNULL,
                env={**rsync.environment(), "FERRYMAN_ASK": str(ask), "FERRYMAN_TURN": str(turn)},
                pass_fds=(ask, turn),
                start_new_session=True,
            )
        except BaseException:
            os.close(asked)
            os.close(grant)
            raise
        finally:
            os.close(ask)
            os.close(turn)
        self._strangers[process] = None
        task = asyncio.create_task(self._introduce(process, asked, grant))
        self._introductions.add(task)
        task.add_done_callback(self._introductions.discard)

    def _send_away(self) -> None:
        """The oldest of those who have not shown the password."""
        process = next(iter(self._strangers))
        del self._strangers[process]
        _signal_group(process.pid, signal.SIGKILL)

    async def _introduce(self, process: Process, asked: int, grant: int) -> None:
        """Wait until its client has shown the password; then end the daemon before it, and let it begin."""
        try:
            if not await _readable(asked, _STRANGER) or not (request := os.read(asked, 4096)):
                _signal_group(process.pid, signal.SIGKILL)
                await process.wait()
                return
            async with self._changing:
                await self._end()
                self._process = process
                self.written = self.written or not _ONLY_LOOKS.fullmatch(request)
                with contextlib.suppress(BrokenPipeError):  # it has ended meanwhile
                    os.write(grant, b"\n")
        finally:
            os.close(asked)
            os.close(grant)
            self._strangers.pop(process, None)

    async def _end(self) -> None:
        """End the daemon before this, with all its processes: it keeps what it has of a file."""
        process, self._process = self._process, None
        if process is None:
            return
        deadline = asyncio.get_running_loop().time() + _PATIENCE
        number: int = signal.SIGTERM
        while _signal_group(process.pid, number):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(process.wait()), 0.1)
            await asyncio.sleep(0.02)
            number = signal.SIGKILL if asyncio.get_running_loop().time() > deadline else 0


def _signal_group(pid: int, number: int) -> bool:
    """Was there anybody left in the group?"""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return False
    return True


async def _readable(fd: int, seconds: float) -> bool:
    """Is there something to be read, or its end, within that time?"""
    loop, there = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(fd, there.set)
    try:
        async with asyncio.timeout(seconds):
            await there.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(fd)
    return True


def unmunge(folder: bytes) -> None:
    """Make the links below a folder what they were at the source; modes and times stay."""
    waiting, changed = [folder], list[tuple[bytes, os.stat_result]]()
    while waiting:
        path = waiting.pop()
        with contextlib.suppress(PermissionError):  # it is another user's: nothing in it was moved
            before = os.stat(path, follow_symlinks=False)
            if before.st_mode & 0o700 != 0o700:  # as with folders that are read only at the source
                os.chmod(path, 0o700)
                changed.append((path, before))
            inner, links = _unmunge(path)
            waiting += inner
            if links:
                changed.append((path, before))
    for path, before in reversed(changed):
        with contextlib.suppress(OSError):
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
            os.chmod(path, stat.S_IMODE(before.st_mode))


def _unmunge(folder: bytes) -> tuple[list[bytes], int]:
    """One folder's links: the folders in it, and how many links there were."""
    inner, munged = list[bytes](), list[bytes]()
    with os.scandir(folder) as there:
        for entry in there:
            if entry.is_dir(follow_symlinks=False):
                inner.append(entry.path)
            elif entry.is_symlink() and os.readlink(entry.path).startswith(_MUNGED):
                munged.append(entry.path)
    for path in munged:
        link = os.lstat(path)
        new = os.path.join(folder, f".ferryman-{secrets.token_hex(8)}".encode())
        os.symlink(os.readlink(path).removeprefix(_MUNGED), new)
        os.utime(new, ns=(link.st_atime_ns, link.st_mtime_ns), follow_symlinks=False)
        os.replace(new, path)
    return inner, len(munged)
