"""Which files of a volume were written to while they were read. rsync sends what it finds there, and says nothing.

A file that was written to meanwhile arrives half old, half new, with the time that it had before: so its time at the
source tells. Called by migrate.attempts once rsync has come to a good end; follows no links and writes nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_COARSE: Final = 20_000_000
"""Nanoseconds that the time of a file may lag behind the clock."""
_AHEAD: Final = 60_000_000_000
"""Whatever is later than this was not written now, but by a machine whose clock is wrong."""


def since(folder: str, began: int, stopped: Callable[[], bool] = lambda: False) -> list[str]:
    """The regular files that were written to since `began` (nanoseconds since 1970), as paths below `folder`.

    What cannot be entered is left out, since rsync has complained about it. `stopped`: nobody waits any more.
    """
    found = list[str]()
    first, last = began - _COARSE, time.time_ns() + _AHEAD
    todo = [folder]
    while todo and not stopped():
        with suppress(OSError), os.scandir(todo.pop()) as there:
            for entry in there:
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    with suppress(FileNotFoundError):
                        if first <= entry.stat(follow_symlinks=False).st_mtime_ns <= last:
                            found.append(os.path.relpath(entry.path, folder))
    return found
