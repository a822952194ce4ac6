"""Values kept for a while, within bounds: what was used least recently goes first.

Used by questions (names, credentials, certificates) and by the supervisor for the same on its side. Knows nothing of
what it keeps; the caller says what the time is, what a value weighs and until when it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class Cache(Generic[V]):
    """At most `limit` in sum of weights: entries where each weighs 1, bytes where weights are bytes."""

    __slots__ = ("_entries", "limit", "weight")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.weight = 0
        self._entries: dict[Hashable, tuple[V, float, int]] = {}  # the least recently used first

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable, now: float) -> V | None:
        """What was kept under this key; None: nothing, or not any more."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return None
        if now >= entry[1]:
            self.weight -= entry[2]
            return None
        self._entries[key] = entry
        return entry[0]

    def put(self, key: Hashable, value: V, until: float, weight: int = 1) -> None:
        """Keep a value, and let others go for it. One heavier than all there is room for is not kept."""
        self.drop(key)
        if weight > self.limit:
            return
        self.weight += weight
        self._entries[key] = (value, until, weight)
        while self.weight > self.limit:
            self.drop(next(iter(self._entries)))

    def drop(self, key: Hashable) -> None:
        """Forget one, if it is there."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.weight -= entry[2]

    def drop_where(self, condition: Callable[[Hashable], bool]) -> None:
        """Forget all whose key fits."""
        for key in [key for key in self._entries if condition(key)]:
            self.drop(key)

    def clear(self) -> None:
        self._entries.clear()
        self.weight = 0
