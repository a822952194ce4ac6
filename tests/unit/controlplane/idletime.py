"""Time that passes only while nothing happens: however slow the machine is, only what waits in vain takes time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class _Selector(selectors.DefaultSelector):  # type: ignore[valid-type,misc]
    waited = 0.0

    def select(self, timeout: float | None = None) -> Any:
        events = super().select(timeout)
        if timeout and not events:
            self.waited += timeout
        return events


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._idle = _Selector()
        super().__init__(self._idle)

    def time(self) -> float:
        return self._idle.waited


def run(story: Coroutine[Any, Any, None]) -> None:
    """As asyncio.run, for stories without other processes or threads: their time would not count either."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        runner.run(story)
