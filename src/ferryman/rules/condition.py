"""Conditions over facts: a tree of all / any / not over single tests, evaluated in three states.

Built by config.compile, evaluated by rules.decision. Immutable and picklable: the plan carries them to the workers.
"""

from __future__ import annotations

from dataclasses import dataclass

from ferryman.rules.expression import Expression
from ferryman.rules.match import Matcher


@dataclass(frozen=True, slots=True)
class Test:
    """One fact compared with patterns. `text` is how a person would say it, for explain and the log."""

    expression: Expression
    matcher: Matcher
    text: str


@dataclass(frozen=True, slots=True)
class Not:
    part: Condition


@dataclass(frozen=True, slots=True)
class All:
    parts: tuple[Condition, ...]  # empty: true


@dataclass(frozen=True, slots=True)
class Any:
    parts: tuple[Condition, ...]  # empty: false


@dataclass(frozen=True, slots=True)
class Named:
    """A condition the operator gave a name; explain and the log show the name."""

    name: str
    condition: Condition


Condition = Test | Not | All | Any | Named
