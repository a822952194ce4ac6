"""What the supervisor knows of each server: admin state, health, weight. Outlives plans, by backend and server name.

Changed by health (checks), runtime (operators) and reloads; shown by snapshot; workers are told the effective weight.
Does no IO.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal

from ferryman.plan import Server

Admin = Literal["ready", "drain", "maint"]


@dataclass(slots=True)
class ServerState:
    """One server. `health` counts 0 … rise+fall-1; the server is up at `rise` and above (HAProxy's scale)."""

    server: Server
    admin: Admin = "ready"
    weight: int = 1
    health: int = 0
    changed_at: float = field(default_factory=time.time)  # wall clock of the last UP/DOWN/admin change
    check_status: str = ""  # of outcome.STATUSES; "" when unchecked
    check_code: int = 0  # of the answer, where such a status has one
    check_running: bool = False
    check_ms: int = -1
    check_description: str = ""
    checks_failed: int = 0
    downs: int = 0  # UP -> DOWN transitions
    down_seconds: float = 0.0  # before the present state
    addresses: tuple[str, ...] = ()  # of a name: what it resolved to last

    @classmethod
    def new(cls, server: Server) -> ServerState:
        """A server nothing is known of yet: up, but one failed check away from being down."""
        return cls(
            server=server,
            admin="maint" if server.disabled else "ready",
            weight=server.weight,
            health=server.check.rise if server.check else 1,
            check_status="INI" if server.check else "",
        )

    def adopt(self, server: Server) -> None:
        """A reload: the same server in a new plan. What was found out and ordered stays; what was configured is new."""
        check, old = server.check, self.server.check
        if (check is None) != (old is None):
            fresh = ServerState.new(server)
            self.health, self.check_status = fresh.health, fresh.check_status
        elif check is not None and old is not None and (check.rise, check.fall) != (old.rise, old.fall):
            self.health = check.rise + check.fall - 1 if self.up else 0
        if server.weight != self.server.weight:
            self.weight = server.weight
        if server.disabled != self.server.disabled:
            self.admin = "maint" if server.disabled else "ready"
        self.server = server

    @property
    def up(self) -> bool:
        return self.server.check is None or self.health >= self.server.check.rise

    @property
    def effective_weight(self) -> int:
        """What workers use: 0 takes no new connection."""
        return self.weight if self.up and self.admin == "ready" else 0

    @property
    def status(self) -> str:
        """As HAProxy's CSV has it: UP, DOWN, "UP 2/3", "DOWN 1/2", MAINT, DRAIN, "no check"."""
        if self.admin == "maint":
            return "MAINT"
        check = self.server.check
        if self.up and (self.admin == "drain" or self.weight == 0):
            return "DRAIN"
        if check is None:
            return "no check"
        if self.up:
            full = check.rise + check.fall - 1
            return "UP" if self.health == full else f"UP {self.health - check.rise + 1}/{check.fall}"
        return f"DOWN {self.health}/{check.rise}" if self.health else "DOWN"
