"""Pipes for splice, kept for reuse: a pipe per connection costs more than short connections save.

Used by relay only. A pipe in the pool is empty; one that cannot be emptied is closed instead.
"""

from __future__ import annotations

from typing import Final

from ferryman.dataplane import fdio

Pipe = tuple[int, int]
"""Read end, write end."""

SIZE: Final = 256 * 1024  # bytes; the kernel shrinks pipes of unprivileged users past their soft limit
KEPT: Final = 256
"""Idle pipes worth keeping."""


class PipePool:
    """Hands out empty pipes; `None` when the process has no descriptors left (the caller then copies)."""

    __slots__ = ("_idle",)

    def __init__(self) -> None:
        self._idle: list[Pipe] = []

    def get(self) -> Pipe | None:
        if self._idle:
            return self._idle.pop()
        try:
            return fdio.pipe(SIZE)
        except OSError:
            return None

    def put(self, pipe: Pipe) -> None:
        """Take back an empty pipe."""
        if len(self._idle) < KEPT:
            self._idle.append(pipe)
        else:
            self.drop(pipe)

    def drop(self, pipe: Pipe) -> None:
        """Close a pipe, with whatever is in it."""
        fdio.close(pipe[0])
        fdio.close(pipe[1])

    def empty(self) -> None:
        """Close all idle pipes: descriptors are scarce, or the worker ends."""
        while self._idle:
            self.drop(self._idle.pop())
