"""How many sessions and bytes a second: differences between two looks at the totals.

The supervisor calls `Rates.sample` once a second; snapshot reads. Pure: the caller brings totals and clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ferryman.controlplane.totals import PROCESS, Key
from ferryman.dataplane.counters import Cell

_CELLS = (Cell.SESSIONS, Cell.BYTES_IN, Cell.BYTES_OUT)


@dataclass(frozen=True, slots=True)
class Rate:
    """Per second, over the time between the last two samples."""

    sessions: int = 0
    sessions_max: int = 0  # the highest since the start or since maxima were cleared
    bytes_in: int = 0
    bytes_out: int = 0


class Rates:
    """Rates of every block, and of the process: what all listeners do together."""

    __slots__ = ("_at", "_counts", "_rates")

    def __init__(self) -> None:
        self._at = 0.0
        self._counts: dict[Key, list[int]] = {}
        self._rates: dict[Key, Rate] = {}

    def sample(self, totals: Mapping[Key, Sequence[int]], now: float) -> None:
        """Take note of `totals` (totals.total) at `now`, seconds of a monotonic clock."""
        counts = {key: [cells[cell] for cell in _CELLS] for key, cells in totals.items()}
        listeners = [numbers for (kind, _, _), numbers in counts.items() if kind == "listener"]
        for index in (1, 2):  # the process's block counts sessions, but no bytes
            counts[PROCESS][index] = sum(numbers[index] for numbers in listeners)
        elapsed = now - self._at
        if self._counts and elapsed > 0:
            self._rates = {key: self._rate(key, numbers, elapsed) for key, numbers in counts.items()}
        self._counts, self._at = counts, now

    def _rate(self, key: Key, counts: Sequence[int], elapsed: float) -> Rate:
        before = self._counts.get(key, counts)  # a name seen for the first time has no rate yet
        # counters fall back when an operator clears them: that is no negative rate
        sessions, bytes_in, bytes_out = (
            max(round((new - old) / elapsed), 0) for new, old in zip(counts, before, strict=True)
        )
        return Rate(sessions, max(sessions, self.of(key).sessions_max), bytes_in, bytes_out)

    def of(self, key: Key) -> Rate:
        return self._rates.get(key, _NONE)

    def clear_maxima(self) -> None:
        self._rates = {key: replace(rate, sessions_max=rate.sessions) for key, rate in self._rates.items()}


_NONE = Rate()
