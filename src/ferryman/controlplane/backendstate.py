"""Whether a backend has any server to offer, since when, and for how long it had none. Outlives plans, by name.

The supervisor notes every change of a server; snapshot shows it. Does no IO.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ferryman.controlplane.serverstate import ServerState


def usable(states: Iterable[ServerState]) -> bool:
    """True if any server, backups included, takes new connections."""
    return any(state.effective_weight > 0 for state in states)


@dataclass(slots=True)
class BackendState:
    """One backend. Times are wall clock, seconds."""

    changed_at: float
    up: bool = True
    downs: int = 0  # UP -> DOWN transitions
    down_seconds: float = 0.0  # before the present state

    def note(self, up: bool, now: float) -> bool:
        """Take note of what it is now; True if that is a change."""
        if up == self.up:
            return False
        if up:
            self.down_seconds += max(now - self.changed_at, 0.0)
        else:
            self.downs += 1
        self.up, self.changed_at = up, now
        return True
