"""CPU time of a proxy, taken only while the machine really ran.

A host that overcommits its CPUs, or holds a guest to a quota, stops a virtual CPU for tens of milliseconds at a time.
Few say so in the `steal` column; the guest then charges the pause to whoever was running, and costs come out several
times too high. A ticker of real-time priority on the proxy's CPU sees every pause as a late wake-up. Between two
wake-ups in time nothing was stopped: only those stretches count. What a proxy did in them is told by the machine's TCP
segment counter, whose total over a load is known to stand for so many operations.

`python -m bench.stalls FILE` is the ticker; it adds up what it sees in FILE (`Seen`).
"""

import contextlib
import mmap
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

TICK = 0.005  # seconds; costs the proxy's CPU about one percent
LATE = 0.001  # seconds; a wake-up later than this was a pause
SHAPE = struct.Struct("ddQ")
MIN_SHARE = 0.02  # of the time must have been undisturbed for a result to mean anything


@dataclass(frozen=True, slots=True)
class Seen:
    """Since the ticker started: seconds paused; and of the undisturbed stretches the proxy's CPU seconds and the
    machine's TCP segments."""

    paused: float
    cpu: float
    segments: int

    def __sub__(self, other: "Seen") -> "Seen":
        return Seen(self.paused - other.paused, self.cpu - other.cpu, self.segments - other.segments)


@dataclass(frozen=True, slots=True)
class StallClock:
    """Reads what the ticker saw; `follow` tells it whose CPU time to take."""

    path: Path

    def follow(self, pids: list[int]) -> None:
        fresh = self.path.with_suffix(".new")
        fresh.write_text(" ".join(map(str, pids)))
        fresh.rename(self.path.with_suffix(".pids"))

    def __call__(self) -> Seen:
        return Seen(*SHAPE.unpack(self.path.read_bytes()))


@contextlib.contextmanager
def stall_clock(cpus: set[int], folder: Path) -> Iterator[StallClock]:
    """A ticker on the first of `cpus`. It sees nothing when this user may not have real-time priority, without which a
    late wake-up may just be another process's turn."""
    path = folder / "stalls"
    path.write_bytes(SHAPE.pack(0.0, 0.0, 0))
    clock = StallClock(path)
    clock.follow([])
    command = ["taskset", "-c", str(min(cpus)), sys.executable, "-m", "bench.stalls", str(path)]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        yield clock
    finally:
        process.kill()
        process.wait()


def segments(pid: int) -> int:
    """TCP segments that came in since boot, in the network namespace of that process (InSegs of RFC 1213)."""
    lines = Path(f"/proc/{pid}/net/snmp").read_text().splitlines()
    names, values = (line.split() for line in lines if line[:4] == "Tcp:")
    return int(values[names.index("InSegs")])


def reader(path: Path) -> Callable[[], tuple[float, int] | None]:
    """Gives a function: CPU seconds of the followed processes, with threads that came and went, and TCP segments where
    the first of them is; None when these have changed."""
    pids: list[int] = []
    clocks: list[int] = []
    known: tuple[int, int] | None = None

    def read() -> tuple[float, int] | None:
        nonlocal pids, clocks, known
        status = path.stat()
        present = (status.st_ino, status.st_mtime_ns)
        if present != known:
            known = present
            pids = list(map(int, path.read_text().split()))
            clocks = list(map(process_clock, pids))
            return None
        try:
            return (sum(map(time.clock_gettime, clocks)), segments(pids[0])) if pids else None
        except OSError:  # one of them has ended
            return None

    return read


def process_clock(pid: int) -> int:
    """The clock of a process's CPU time, all its threads included, also those that ended (clock_getcpuclockid(3))."""
    return ~pid << 3 | 2


def main(path: str) -> None:
    """Tick until killed."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        return
    look = reader(Path(path).with_suffix(".pids"))
    with Path(path).open("r+b") as file, mmap.mmap(file.fileno(), SHAPE.size) as shared:
        paused = cpu = 0.0
        passed = 0
        before: tuple[float, int] | None = None
        due = time.monotonic() + TICK
        while True:
            time.sleep(max(0.0, due - time.monotonic()))
            late = time.monotonic() - due
            seen = look()
            stopped = time.monotonic() - due - late > LATE  # paused while looking
            after = None if stopped else seen
            if late > LATE:
                paused += late
            elif before is not None and after is not None:
                cpu += after[0] - before[0]
                passed += after[1] - before[1]
            before = after
            SHAPE.pack_into(shared, 0, paused, cpu, passed)
            due = time.monotonic() + TICK


if __name__ == "__main__":
    main(sys.argv[1])
