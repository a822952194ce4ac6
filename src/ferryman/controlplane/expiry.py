"""When the certificates that clients are shown expire: rows for pages and metrics, and warnings in good time.

Used by snapshot and by the supervisor. Knows only what the plan holds: a certificate that was replaced on disk is
another one once the plan has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from ferryman.controlplane.wording import duration
from ferryman.plan import Plan

SOON: Final = 30 * 86400.0
"""Seconds before the end from which on it is warned of."""
AGAIN: Final = 86400.0
"""Seconds until it is warned of once more."""


@dataclass(frozen=True, slots=True)
class CertificateRow:
    """One certificate of a listener. `not_after` is wall clock, `left` seconds, negative once it is over."""

    listener: str
    names: tuple[str, ...]
    file: str
    not_after: float
    left: int
    kind: str = ""  # of its key

    @property
    def condition(self) -> Literal["up", "going_down", "down"]:
        return "down" if self.left < 0 else "going_down" if self.left < SOON else "up"


def rows(plan: Plan, now: float) -> tuple[CertificateRow, ...]:
    """Of each listener the one that ends first at the top; one that several cases show is there once."""
    found: dict[tuple[str, str, float], CertificateRow] = {}
    for listener in plan.listeners:
        for case in listener.tls:
            for one in case.accept.certificates if case.accept is not None else ():
                left = int(one.not_after - now)
                row = CertificateRow(listener.name, one.names, one.where, one.not_after, left, one.kind)
                found.setdefault((listener.name, one.where, one.not_after), row)
    order = [listener.name for listener in plan.listeners]
    return tuple(sorted(found.values(), key=lambda row: (order.index(row.listener), row.not_after)))


class Warnings:
    """What is due to be said."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, float], float] = {}  # file and end -> when, wall clock

    def due(self, plan: Plan, now: float) -> list[str]:
        """Certificates that end soon or have ended, each once a day. `now`: wall clock."""
        messages = {}
        for row in rows(plan, now):
            key = row.file, row.not_after
            if row.condition != "up" and now - self._told.get(key, 0.0) >= AGAIN:
                names = ", ".join(row.names[:3]) or row.file
                when = f"expired {duration(-row.left)} ago" if row.left < 0 else f"expires in {duration(row.left)}"
                messages[key] = f"{row.listener}: the certificate for {names} {when} ({row.file})"
        self._told |= dict.fromkeys(messages, now)
        return list(messages.values())
