"""Rules in order, and the verdict they come to, with its reason.

The journey of a connection asks three lists: `connection` (addresses only, at accept), `inspect` (may wait for the
client's first bytes), `routes` (which backend).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ferryman.rules.condition import Condition
from ferryman.rules.expression import Expression


class Action(enum.Enum):
    """What a matching rule does. ACCEPT and the refusals end the list; the others go on with the next rule."""

    ACCEPT = "accept"
    REJECT = "reject"  # refuse: close
    DROP = "drop"  # refuse and say nothing at all, not even a FIN
    CAPTURE = "capture"


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of `connection` or `inspect`. CAPTURE stores `expression`, at most `length` characters, in `slot`."""

    action: Action
    condition: Condition | None  # None: always
    where: str  # "haproxy.cfg:41", for explain and the log
    expression: Expression | None = None
    slot: int = 0
    length: int = 0


@dataclass(frozen=True, slots=True)
class Route:
    """`backend` if the condition holds. `expression`, when set, computes the backend's name instead."""

    condition: Condition | None
    where: str
    backend: str = ""
    expression: Expression | None = None
