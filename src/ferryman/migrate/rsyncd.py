"""rsync as a daemon: one for each connection to a volume, on that connection, as inetd would start it.

A volume has a Unix socket in a folder that only this user can enter; the engine connects to it. So rsync itself listens
nowhere. A connection ends the one before it: the client is one process that tries again, and of two daemons that write
to the same files the one that was left behind would, when it notices, put its half of a file in the place of the whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable
from typing import Final

from ferryman.migrate import MigrationError, rsync
from ferryman.migrate.memory import private
from ferryman.migrate.volumes import Volume

_MUNGED: Final = b"/rsyncd-munged/"  # rsyncd.conf(5), munge symlinks
_PATIENCE: Final = 10.0  # seconds for a daemon to save what is half written


def configuration(volume: Volume, secrets: str, log: str) -> str:
    """rsyncd.conf(5) for one volume.

    As root it is locked into the volume (chroot). Otherwise links are kept as what leads nowhere (munged) as long as
    the migration goes on, so that the daemon can be led out of the volume by none; `tidy` makes them what they are.
    """
    root = os.geteuid() == 0
    return "\n".join(
        [
            f"log file = {log}",
            "reverse lookup = no",
            f"[{volume.name}]",
            f"path = {volume.path}",
            "read only = no",
            "write only = no",
            "list = no",
            "numeric ids = yes",
            f"auth users = {rsync.USER}",
            f"secrets file = {secrets}",
            "strict modes = yes",
            "refuse options = keep-dirlinks copy-unsafe-links copy-links copy-dirlinks remove-source-files",
            "max connections = 0",
            *(["uid = 0", "gid = 0", "use chroot = yes", "munge symlinks = no"] if root else []),
            *([] if root else ["use chroot = no", "munge symlinks = yes"]),
            "",
        ]
    )


class Daemon:
    """Serves one volume at the Unix socket `path`."""

    def __init__(self, program: str, volume: Volume, folder: str, password: str, came: Callable[[], None]) -> None:
        self.volume = volume
        self._base = tempfile.mkdtemp(prefix="v", dir=folder)
        self.path = os.path.join(self._base, "socket")  # short, whatever the volume is called
        self._program = program
        self._password = password
        self._came = came
        self._process: asyncio.subprocess.Process | None = None
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
            connection, _ = await loop.sock_accept(self._socket)
            with connection:
                await self._end()
                self._came()
                connection.setblocking(True)
                self._process = await asyncio.create_subprocess_exec(
                    self._program,
                    "--daemon",
                    f"--config={self._base}/conf",
                    stdin=connection.fileno(),
                    stdout=connection.fileno(),
                    stderr=asyncio.subprocess.DEVNULL,
                    env=rsync.environment(),
                    start_new_session=True,
                )

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


def unmunge(folder: bytes) -> None:
    """Make the links below a folder what they were at the source; times stay."""
    inner = list[bytes]()
    munged = list[bytes]()
    with os.scandir(folder) as there:
        for entry in there:
            if entry.is_dir(follow_symlinks=False):
                inner.append(entry.path)
            elif entry.is_symlink() and os.readlink(entry.path).startswith(_MUNGED):
                munged.append(entry.path)
    before = os.stat(folder)
    for path in munged:
        link = os.lstat(path)
        new = os.path.join(folder, b".ferryman-link")
        os.symlink(os.readlink(path).removeprefix(_MUNGED), new)
        os.utime(new, ns=(link.st_atime_ns, link.st_mtime_ns), follow_symlinks=False)
        os.replace(new, path)
    if munged:
        with contextlib.suppress(OSError):
            os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))
    for path in inner:
        with contextlib.suppress(PermissionError):  # what cannot be entered has nothing that was moved
            unmunge(path)
