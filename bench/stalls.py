"""How long a virtual CPU stood still because its host took it away.

A host that overcommits its CPUs, or holds a guest to a quota, stops a virtual CPU for tens of milliseconds at a time.
Few say so in the `steal` column; the guest then charges the pause to whoever was running. A ticker of real-time
priority on the proxy's CPU sees every pause as a late wake-up. Pauses come regardless of who runs, so a share s of
paused time inflates CPU times by 1/(1 - s) on average, and `Trial` takes that out again. (Checked with a loop of known
length: 41 µs alone, 103 µs charged at s = 0.59, 42 µs corrected.) Rates and latencies it cannot repair.

`python -m bench.stalls FILE` is the ticker; it adds up the paused seconds in FILE.
"""

import contextlib
import mmap
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

TICK = 0.005  # seconds; costs the proxy's CPU well under one percent
LATE = 0.003  # seconds; a wake-up later than this was a pause
SLOT = struct.Struct("d")


@contextlib.contextmanager
def stall_clock(cpus: set[int], folder: Path) -> Iterator[Callable[[], float]]:
    """Yields a function that tells the paused seconds so far, on the first of `cpus`; always 0 when this user may not
    have real-time priority, without which a late wake-up may just be another process's turn."""
    path = folder / "stalls"
    path.write_bytes(SLOT.pack(0.0))
    command = ["taskset", "-c", str(min(cpus)), sys.executable, "-m", "bench.stalls", str(path)]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        yield lambda: float(SLOT.unpack(path.read_bytes())[0])
    finally:
        process.kill()
        process.wait()


def main(path: str) -> None:
    """Tick until killed."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        return
    with Path(path).open("r+b") as file, mmap.mmap(file.fileno(), SLOT.size) as shared:
        paused = 0.0
        due = time.monotonic() + TICK
        while True:
            time.sleep(max(0.0, due - time.monotonic()))
            now = time.monotonic()
            if now - due > LATE:
                paused += now - due
                SLOT.pack_into(shared, 0, paused)
            due = now + TICK


if __name__ == "__main__":
    main(sys.argv[1])
