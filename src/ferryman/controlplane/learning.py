"""Clients that refuse the certificates made for some name: after a number of times they are not bumped for a while.

Refusals count in total, each within `time` of the one before. A connection that goes well is not reported (that would
be a report for each) and resets nothing: of the programs on one machine one may trust the authority and another not.

Used by answers, which hears of refusals from the workers and tells them what was learned; listed and forgotten through
the control API. Off unless a listener's `bump.learn` says otherwise: a client can bring about on purpose that what it
says to a name is not opened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from time import monotonic
from typing import Any, Final

from ferryman.dataplane.cache import Cache
from ferryman.dataplane.questions import Learned
from ferryman.plan import Learn, Plan

MOST: Final = 1000
"""Pairs of client and name that are spliced at the same time; the one learned first goes for another."""
COUNTED: Final = 16384
PAUSE: Final = 0.1
"""Seconds in which changes are gathered before the workers are told."""

Key = tuple[str, str, str]
"""Listener, client's address, name."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One that is spliced, for `seconds` more."""

    listener: str
    client: str
    name: str
    seconds: int


class Learning:
    """`push` gets all that holds, after each change; `tell` what operators should know: (level, text)."""

    def __init__(self, push: Callable[[Learned], None], tell: Callable[[str, str], None]) -> None:
        self._push = push
        self._tell = tell
        self._rules: dict[str, Learn] = {}  # by listener
        self._refusals: Cache[int] = Cache(COUNTED)
        self._learned: Learned = {}  # the one learned first is the first
        self._pushing: asyncio.TimerHandle | None = None

    def follow(self, plan: Plan) -> None:
        """Which listeners learn now. What others learned is forgotten."""
        bumps = {one.name: one.connect.bump for one in plan.listeners if one.connect is not None}
        self._rules = {name: bump.learn for name, bump in bumps.items() if bump is not None and bump.learn is not None}
        self._forget(lambda key: key[0] not in self._rules)

    def refused(self, listener: str, client: str, name: str) -> None:
        """A client refused the certificate for a name."""
        rule = self._rules.get(listener)
        if rule is None:
            return
        now, key = monotonic(), (listener, client, name)
        count = (self._refusals.get(key, now) or 0) + 1
        if count < rule.failures:
            self._refusals.put(key, count, now + rule.time)
            return
        self._refusals.drop(key)
        self._prune()
        self._learned.pop(key, None)
        while len(self._learned) >= MOST:
            del self._learned[next(iter(self._learned))]
        self._learned[key] = now + rule.time
        text = f"client {client} refused the certificate for {name} {count} times: spliced for {rule.time:g} s"
        self._tell("notice", f"{listener}: {text}")
        self._push_soon()

    def present(self) -> Learned:
        """All that holds now, for a worker that is new."""
        self._prune()
        return dict(self._learned)

    def entries(self) -> list[dict[str, Any]]:
        """The same for people: as plain data, the one learned last first."""
        now = monotonic()
        return [asdict(Entry(*key, int(until - now))) for key, until in reversed(self.present().items())]

    def forget(self, listener: str, client: str, name: str) -> int:
        """Bump these again; "" stands for all. Refusals counted so far are forgotten as well. How many there were."""
        wanted = (listener, client, name)
        return self._forget(lambda key: all(part in ("", own) for part, own in zip(wanted, key, strict=True)))

    def stop(self) -> None:
        """Tell nobody any more."""
        if self._pushing is not None:
            self._pushing.cancel()

    def _forget(self, condition: Callable[[Any], bool]) -> int:
        self._refusals.drop_where(condition)
        forgotten = [key for key in self.present() if condition(key)]
        for key in forgotten:
            del self._learned[key]
        if forgotten:
            self._push_soon()
        return len(forgotten)

    def _prune(self) -> None:
        now = monotonic()
        for key in [key for key, until in self._learned.items() if now >= until]:
            del self._learned[key]

    def _push_soon(self) -> None:
        def push() -> None:
            self._pushing = None
            self._push(self.present())

        if self._pushing is None:
            self._pushing = asyncio.get_running_loop().call_later(PAUSE, push)
