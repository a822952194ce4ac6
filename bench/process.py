"""Starting, pinning and stopping the processes of a comparison; ports; the log sink.

Every process is started through `running`, which stops it and its children by pid however the block ends.
"""

import contextlib
import ctypes
import os
import random
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from bench.measure import family

START_SECONDS = 15.0
STOP_SECONDS = 10.0
# Below the ephemeral range: the load opens tens of thousands of outgoing connections, one of which would else take a
# port between the moment it is chosen and the moment a proxy binds it.
PORTS = range(15000, 32000)
LISTEN_STATE = "0A"
_CLONE_NEWNET = 0x40000000
T = TypeVar("T")


class BenchError(Exception):
    """A measurement could not be made; the message says why, with the process's last words."""


def free_port() -> int:
    """A TCP port on loopback that the kernel says is free now."""
    for _ in range(200):
        port = random.choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise BenchError(f"no free port between {PORTS.start} and {PORTS.stop}")


def is_listening(port: int, pid: int) -> bool:
    """Whether something listens on this TCP port, in the network namespace of that process; looked up in /proc, so
    nobody sees a stray connection."""
    for table in (f"/proc/{pid}/net/tcp", f"/proc/{pid}/net/tcp6"):
        with contextlib.suppress(OSError):  # no IPv6 in this kernel; or the process has ended
            for line in Path(table).read_text().splitlines()[1:]:
                _, local, _, state, *_ = line.split()
                if state == LISTEN_STATE and int(local.rpartition(":")[2], 16) == port:
                    return True
    return False


@contextlib.contextmanager
def running(
    command: Sequence[str], cpus: set[int], ports: Sequence[int], log: Path, witness: int | None = None
) -> Iterator[int]:
    """Run `command` pinned to `cpus` until the block ends; yields its pid once it listens on all `ports`.

    It listens in its own network namespace, or in that of the process `witness`. Its output goes to the file `log`.
    Raises BenchError when it ends early or does not listen in time.
    """
    pinned = ["taskset", "-c", ",".join(map(str, sorted(cpus))), *command]
    with log.open("wb") as output:
        process = subprocess.Popen(
            pinned, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not all(is_listening(port, witness or process.pid) for port in ports):
            if process.poll() is not None or time.monotonic() > deadline:
                reason = "ended" if process.poll() is not None else "does not listen"
                raise BenchError(f"{command[0]} {reason}: {log.read_text(errors='replace')[-600:].strip()}")
            time.sleep(0.02)
        yield process.pid
    finally:
        _stop(process)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    members = family(process.pid)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    for pid in members:
        # children that outlived their parent; they were ours a moment ago and pids are not reused that fast
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def inside_network(namespace: Path, make: Callable[[], T]) -> T:
    """What `make` makes in a thread that is in a network namespace: where a socket was made, it stays."""

    def there() -> T:
        with namespace.open("rb") as file:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(file.fileno(), _CLONE_NEWNET) != 0:
                raise BenchError(f"setns: {os.strerror(ctypes.get_errno())}")
        return make()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(there).result()


class LogSink:
    """A UDP syslog address that takes log lines. Nobody reads it during a load: the kernel drops what does not fit,
    which costs every proxy the same and the load's CPU nothing."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]

    def __enter__(self) -> "LogSink":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def drain(self, patience: float = 0.0) -> list[str]:
        """The lines that were kept, oldest first; they show that a proxy really wrote its log. Waits `patience` seconds
        for the first."""
        lines = []
        select.select([self._socket], [], [], patience)
        with contextlib.suppress(BlockingIOError):
            while True:
                lines.append(self._socket.recv(8192).decode(errors="replace"))
        return lines
