"""Conditions over facts: a tree of all / any / not over single tests, evaluated in three states.

Built by config.conditions, evaluated by rules.decision. Immutable and picklable: the plan carries them to the workers.

A test of something that is not known yet is UNKNOWN, and so is whatever depends on it (Kleene's logic). HAProxy goes
through a condition from left to right and waits at the first test that it cannot decide, also where a later one would
settle the matter. Here that is settled at once. The answer is the same, since a fact that is known stays as it is; it
only comes sooner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ferryman.rules.expression import Expression
from ferryman.rules.facts import ABSENT, UNKNOWN, Facts, Missing, Value
from ferryman.rules.match import Matcher

State = bool | Literal[Missing.UNKNOWN]
"""What a condition comes to."""


@dataclass(frozen=True, slots=True)
class Test:
    """One fact compared with patterns. `text` is how a person would say it, for explain and the log."""

    __test__ = False  # pytest: this is not a test case

    expression: Expression
    matcher: Matcher
    text: str

    def state(self, facts: Facts) -> State:
        expression = self.expression
        value = expression.evaluate(facts)
        if value is UNKNOWN:
            return UNKNOWN
        if value is ABSENT:
            return self.matcher.when_absent
        if self.holds_for(value):
            return True
        return UNKNOWN if not facts.final and expression.growing else False

    def holds_for(self, value: Value) -> bool:
        """Does a known value match? Of a list, one of its members has to."""
        matches = self.matcher.matches
        if isinstance(value, str) and "," in value and self.expression.many:
            return any(map(matches, value.split(",")))
        return matches(value)


@dataclass(frozen=True, slots=True)
class Not:
    part: Condition

    def state(self, facts: Facts) -> State:
        state = self.part.state(facts)
        return state if state is UNKNOWN else not state


@dataclass(frozen=True, slots=True)
class All:
    parts: tuple[Condition, ...]  # empty: true

    def state(self, facts: Facts) -> State:
        result: State = True
        for part in self.parts:
            state = part.state(facts)
            if state is False:
                return False
            if state is UNKNOWN:
                result = UNKNOWN
        return result


@dataclass(frozen=True, slots=True)
class Any:
    parts: tuple[Condition, ...]  # empty: false

    def state(self, facts: Facts) -> State:
        result: State = False
        for part in self.parts:
            state = part.state(facts)
            if state is True:
                return True
            if state is UNKNOWN:
                result = UNKNOWN
        return result


@dataclass(frozen=True, slots=True)
class Named:
    """A condition the operator gave a name; explain and the log show the name."""

    name: str
    condition: Condition

    def state(self, facts: Facts) -> State:
        return self.condition.state(facts)


Condition = Test | Not | All | Any | Named


def evaluate(condition: Condition, facts: Facts) -> State:
    """Does it hold? Never UNKNOWN when `facts.final`."""
    return condition.state(facts)


def describe(condition: Condition) -> str:
    """The condition in words; named ones by their name."""
    match condition:
        case Test():
            return condition.text
        case Named():
            return condition.name
        case Not():
            return f"not {_enclosed(condition.part)}"
        case All() | Any():
            word = " and " if isinstance(condition, All) else " or "
            if not condition.parts:
                return "always" if isinstance(condition, All) else "never"
            return word.join(map(_enclosed, condition.parts))


def _enclosed(condition: Condition) -> str:
    text = describe(condition)
    return f"({text})" if isinstance(condition, All | Any) and len(condition.parts) > 1 else text


def expressions(condition: Condition | None) -> list[Expression]:
    """Every expression a condition rests on, in order."""
    match condition:
        case None:
            return []
        case Test():
            return [condition.expression]
        case Named():
            return expressions(condition.condition)
        case Not():
            return expressions(condition.part)
        case All() | Any():
            return [expression for part in condition.parts for expression in expressions(part)]
