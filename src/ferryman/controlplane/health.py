"""Health checks: each server is probed now and then, in one place for all workers.

Used by the supervisor; what one check does is in probe. The counting is HAProxy's (manual: server parameters check,
rise, fall, fastinter, downinter): a server has health 0 … rise+fall-1 and is up from `rise` on. It starts at `rise`, so
that its first check decides; a failed check takes one away, or all once it falls below `rise`; a good one adds one, or
fills up from `rise` on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from ferryman.controlplane.outcome import Outcome
from ferryman.controlplane.probe import probe
from ferryman.controlplane.resolver import report_crash
from ferryman.controlplane.serverstate import ServerState
from ferryman.plan import Check

SPREAD: Final = 1.0
"""Seconds: the shortest interval of at least this is what the first checks of all servers are spread over."""

Changed = Callable[[ServerState], None]


class Health:
    """Checks servers that have a check and are not in maintenance.

    `on_result` is called when a check told something new (another status or health), `on_change` when a server went up
    or down by it; both after the state has been updated.
    """

    def __init__(self, on_change: Changed, on_result: Changed) -> None:
        self._on_change = on_change
        self._on_result = on_result
        self._states: Sequence[ServerState] = ()
        self._tasks: dict[int, tuple[ServerState, asyncio.Task[None]]] = {}  # by id() of the state, which is held
        self._resting: dict[int, ServerState] = {}  # in maintenance
        self._running = False

    def start(self) -> None:
        """Begin; needs a running loop."""
        self._running = True
        self.update(self._states)

    def stop(self) -> None:
        """Check no more."""
        self._running = False
        for _, task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    def update(self, states: Sequence[ServerState]) -> None:
        """These are the servers now, or one went into maintenance or left it. States that stay keep their rhythm."""
        self._states = states
        wanted = {id(state): state for state in states if state.server.check and state.admin != "maint"}
        for key in [key for key in self._tasks if key not in wanted]:
            self._tasks.pop(key)[1].cancel()
        for key in [key for key in self._resting if key in wanted]:
            state = self._resting[key]
            if state.server.check is not None:
                # after maintenance nothing is known: up, and the next check decides
                state.health = state.server.check.rise
        self._resting = {id(state): state for state in states if state.admin == "maint"}
        if not self._running:
            return
        fresh = [state for key, state in wanted.items() if key not in self._tasks]
        for state, delay in zip(fresh, first_delays([interval(state) for state in fresh]), strict=True):
            task = asyncio.create_task(
                self._watch(state, delay), name=f"check {state.server.backend}/{state.server.name}"
            )
            task.add_done_callback(report_crash)
            self._tasks[id(state)] = (state, task)

    async def _watch(self, state: ServerState, delay: float) -> None:
        """Check one server again and again; the interval counts from the end of a check."""
        while True:
            await asyncio.sleep(delay)
            check = state.server.check
            if check is None:
                return
            began = time.monotonic()
            state.check_running = True
            try:
                outcome = await probe(state, check)
            finally:
                state.check_running = False
            self._settle(state, check, outcome, int((time.monotonic() - began) * 1000))
            delay = interval(state)

    def _settle(self, state: ServerState, check: Check, outcome: Outcome, ms: int) -> None:
        was_up, health = state.up, state.health
        full = check.rise + check.fall - 1
        if outcome.good:
            state.health = health + 1 if health + 1 < check.rise else full
        elif health:
            state.checks_failed += 1
            state.health = health - 1 if health - 1 >= check.rise else 0
        before = state.check_status, state.check_code
        state.check_status, state.check_description, state.check_code = outcome
        state.check_ms = ms
        news = (state.check_status, state.check_code, state.health) != (*before, health)
        now = time.time()
        if was_up and not state.up:
            state.downs += 1
            state.changed_at = now
        elif state.up and not was_up:
            state.down_seconds += max(now - state.changed_at, 0.0)
            state.changed_at = now
        if news:
            self._on_result(state)
        if state.up != was_up:
            self._on_change(state)


def interval(state: ServerState) -> float:
    """Seconds until the next check."""
    check = state.server.check
    assert check is not None
    if state.health >= check.rise + check.fall - 1:
        return check.interval
    if not state.health:
        return check.down_interval or check.interval
    return check.fast_interval or check.interval


def first_delays(intervals: Sequence[float]) -> list[float]:
    """When the first checks begin, in seconds from now: one at once, the others evenly spread."""
    common = min((one for one in intervals if one >= SPREAD), default=0.0)
    return [max(common, own) * place / len(intervals) for place, own in enumerate(intervals)]
