"""Files that the configuration names, such as certificates: have any of them changed?

Used by the supervisor, which then makes a new plan of the configuration it has: the texts themselves are read again
only when somebody asks for a reload. A change counts once it has come to rest, since files are seldom written in one
go.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from time import monotonic
from typing import Final

EVERY: Final = 5.0
"""Seconds between two looks. A change is taken up with the look after the one that saw it."""

_Look = dict[str, tuple[int, int, int]]


class Watched:
    """The files of a plan, and folders of which all files are meant."""

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._known: _Look = {}
        self._last: _Look = {}
        self._due = 0.0

    def follow(self, names: Iterable[str]) -> None:
        """These are the files now, and as they are they have been read."""
        self._names = tuple(names)
        self._known = self._last = self._look()
        self._due = monotonic() + EVERY

    def changed(self, now: float) -> list[str]:
        """Names of those that are other ones than before, each told once. Looks only every so often."""
        if now < self._due or not self._names:
            return []
        self._due = now + EVERY
        before, self._last = self._last, self._look()
        if self._last == self._known or self._last != before:
            return []
        names = [name for name in self._names if self._last.get(name) != self._known.get(name)]
        self._known = self._last
        return names

    def _look(self) -> _Look:
        found = {}
        for name in self._names:
            try:
                status = os.stat(name)
            except OSError:
                continue
            found[name] = status.st_mtime_ns, status.st_size, status.st_ino
        return found
