"""Rules in order, and the verdict they come to, with its reason.

The journey of a connection asks three lists: `connection` (addresses only, at accept), `inspect` (may wait for the
client's first bytes), `routes` (which backend). dataplane.session asks; it waits and acts, this module only decides.
rules.explain tells the same story with every step.
"""

from __future__ import annotations

import enum
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from ferryman.rules.condition import Condition
from ferryman.rules.expression import Expression
from ferryman.rules.facts import UNKNOWN, Facts, Missing, as_text


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
    length: int = 0  # 0: all of it


@dataclass(frozen=True, slots=True)
class Route:
    """`backend` if the condition holds. `expression`, when set, computes the backend's name instead."""

    condition: Condition | None
    where: str
    backend: str = ""
    expression: Expression | None = None


class Kind(enum.Enum):
    """What a verdict says."""

    ACCEPT = "accept"  # go on
    REJECT = "reject"
    DROP = "drop"
    WAIT = "wait"  # ask again when more is known, or with final facts
    ROUTE = "route"  # to `backend`


class Verdict(NamedTuple):
    """A tuple, because every connection gets one: a frozen dataclass takes four times as long to make."""

    kind: Kind
    backend: str = ""
    where: str = ""  # the place of the rule that decided; "default" for the default backend
    reason: str = ""


_ACCEPT: Final = Verdict(Kind.ACCEPT)
_WAIT: Final = Verdict(Kind.WAIT)
_ENDS: Final = {Action.ACCEPT: Kind.ACCEPT, Action.REJECT: Kind.REJECT, Action.DROP: Kind.DROP}


def connection(rules: Sequence[Rule], facts: Facts) -> Verdict:
    """ACCEPT, REJECT or DROP by what is known at accept; WAIT at a rule that needs the PROXY header, if one is due.

    What else is not known does not hold. After WAIT the whole list is asked again.
    """
    return _first(rules, facts, may_wait=facts.header_due)


def inspect(rules: Sequence[Rule], facts: Facts) -> Verdict:
    """ACCEPT, REJECT, DROP, or WAIT at a rule that cannot be decided yet (never when `facts.final`).

    Captures go to `facts.captures`. After WAIT the whole list is asked again.
    """
    return _first(rules, facts, may_wait=not facts.final)


def _first(rules: Sequence[Rule], facts: Facts, may_wait: bool) -> Verdict:
    for rule in rules:
        if rule.condition is not None:
            state = rule.condition.state(facts)
            if state is UNKNOWN and may_wait:
                return _WAIT
            if state is not True:
                continue
        if rule.action is Action.CAPTURE:
            if not capture(rule, facts) and may_wait:
                return _WAIT
        else:
            kind = _ENDS[rule.action]
            return Verdict(kind, "", rule.where, "" if kind is Kind.ACCEPT else f"refused by the rule at {rule.where}")
    return _ACCEPT


def capture(rule: Rule, facts: Facts) -> bool:
    """Keep what the rule's expression gives. False: its value, or its last value, is still to come."""
    assert rule.expression is not None
    value = rule.expression.evaluate(facts)
    if value is UNKNOWN or (rule.expression.growing and not facts.final):
        return False
    text = None if isinstance(value, Missing) else as_text(value)
    facts.captures[rule.slot] = text[: rule.length] if text is not None and rule.length else text
    return True


def route(routes: Sequence[Route], default: str, facts: Facts, backends: Container[str]) -> Verdict:
    """ROUTE to a backend, REJECT when none is left, or WAIT for a route that cannot be decided yet.

    The first route that holds is taken. If it computes a name that no backend has, the default is taken, not the next
    route. HAProxy never waits here; final facts give its behaviour.
    """
    for entry in routes:
        if entry.condition is not None:
            state = entry.condition.state(facts)
            if state is UNKNOWN and not facts.final:
                return _WAIT
            if state is not True:
                continue
        if entry.expression is None:
            return Verdict(Kind.ROUTE, entry.backend, entry.where)
        value = entry.expression.evaluate(facts)
        if value is UNKNOWN:
            return _WAIT
        name = "" if isinstance(value, Missing) else as_text(value)
        if name in backends:
            return Verdict(Kind.ROUTE, name, entry.where)
        reason = f'there is no backend "{name}"' if name else f"{entry.expression} is not known"
        return _default(default, f"{reason} ({entry.where})")
    return _default(default, "no route was taken")


def _default(default: str, reason: str) -> Verdict:
    if default:
        return Verdict(Kind.ROUTE, default, "default", reason)
    return Verdict(Kind.REJECT, "", "", f"{reason} and there is no default backend")
