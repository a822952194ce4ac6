"""The decisions of an explicit proxy: may this client go there, what becomes of its TLS, which way out.

dataplane.explicit asks `access` once the target is named, dataplane.bump asks `tls` at each step, dataplane.target asks
`via`. Like rules.decision this module only decides; it neither waits nor acts. rules.explain tells the same story.

`access` reads a rule from left to right, as Squid does: the first part that does not hold settles it, and the first
part that cannot be told yet says what has to happen next (credentials, or the target's addresses).

`tls` follows Squid's ssl_bump: the whole list is read anew at each step; the first rule that holds and whose action is
possible at this step wins.

    step  what is known             possible                          none holds
    1     the target                all                               splice
    2     the client's hello        all                               after peek splice, after stare bump
    3     the server's hello        splice (not after stare at 2),    after peek splice, after stare bump
                                    bump (not after peek at 2),
                                    terminate

To peek at step 2 the client's hello is sent on as it came, so that its TLS can no longer be ended here; to stare, a
hello of our own is sent, so that it can no longer be handed on. peek and stare lead to the next step, the others end.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Protocol, TypeVar

from ferryman.rules.condition import All, Any, Condition, Named, Not, State, Test
from ferryman.rules.facts import ABSENT, UNKNOWN, Facts, Missing

T_co = TypeVar("T_co", covariant=True)

TlsAction = Literal["splice", "bump", "peek", "stare", "terminate"]


@dataclass(frozen=True, slots=True)
class Access:
    """One entry of `access`."""

    condition: Condition | None  # None: always
    where: str
    allow: bool


@dataclass(frozen=True, slots=True)
class TlsRule:
    """One entry of `tls`."""

    condition: Condition | None
    where: str
    action: TlsAction


class Leading(Protocol[T_co]):
    """One entry of `via`: plan.Via."""

    @property
    def condition(self) -> Condition | None: ...
    @property
    def where(self) -> str: ...
    @property
    def through(self) -> T_co: ...


class Kind(enum.Enum):
    """What `access` says."""

    ALLOW = "allow"
    DENY = "deny"
    CHALLENGE = "challenge"  # ask for (other) credentials: 407
    RESOLVE = "resolve"  # ask again once facts.target_addresses are known; ABSENT: there are none


class Verdict(NamedTuple):
    """`where`: the rule that decided; "" if none did. `reason`: for the log."""

    kind: Kind
    where: str
    reason: str


class TlsVerdict(NamedTuple):
    """`where`: the rule that decided; "" if none did."""

    action: TlsAction
    where: str
    reason: str


def access(rules: Sequence[Access] | None, facts: Facts) -> Verdict:
    """May the client go there? None: there is no list, which allows everybody whose credentials are right.

    Facts must not be final: `user` is UNKNOWN until valid credentials have come (ABSENT: nobody is ever asked),
    `target_addresses` until the name is resolved. A refusal by a rule whose last part is about the user is a
    CHALLENGE, since other credentials might do (Squid does so, too).
    """
    if rules is None:
        if facts.user is UNKNOWN:
            return Verdict(Kind.CHALLENGE, "", "credentials are needed")
        return Verdict(Kind.ALLOW, "", "there are no access rules")
    for rule in rules:
        state, last = (True, None) if rule.condition is None else settle(rule.condition, facts)
        about = last.expression.fact.name if last else ""
        if state is UNKNOWN:
            if about == "user":
                return Verdict(Kind.CHALLENGE, rule.where, f"the rule at {rule.where} needs credentials")
            if about == "target_address":
                return Verdict(Kind.RESOLVE, rule.where, f"the rule at {rule.where} needs the target's addresses")
        elif state is True:
            if rule.allow:
                return Verdict(Kind.ALLOW, rule.where, f"allowed by the rule at {rule.where}")
            kind = Kind.CHALLENGE if about == "user" and facts.user is not ABSENT else Kind.DENY
            return Verdict(kind, rule.where, f"refused by the rule at {rule.where}")
    return Verdict(Kind.DENY, "", "no access rule allows it")


def settle(condition: Condition, facts: Facts) -> tuple[State, Test | None]:
    """What it comes to, read from left to right, and the test that settled it: UNKNOWN ends the reading as well."""
    match condition:
        case Test():
            return condition.state(facts), condition
        case Named():
            return settle(condition.condition, facts)
        case Not():
            state, last = settle(condition.part, facts)
            return (state if state is UNKNOWN else not state), last
        case All() | Any():
            going_on = isinstance(condition, All)
            last = None
            for part in condition.parts:
                state, last = settle(part, facts)
                if state is not going_on:
                    return state, last
            return going_on, last


_STEPS: Final = (1, 2, 3)


def tls(rules: Iterable[TlsRule], facts: Facts, step: int, before: str = "") -> TlsVerdict:
    """What to do with the client's TLS at `step` (which `facts.step` becomes). `before`: the action at the last step.

    What is not known does not hold.
    """
    assert step in _STEPS
    facts.step = step
    for rule in rules:
        if not possible(rule.action, step, before):
            continue
        if rule.condition is None or rule.condition.state(facts) is True:
            return TlsVerdict(rule.action, rule.where, f"{rule.action} by the rule at {rule.where}")
    action = implied(before)
    return TlsVerdict(action, "", f"{action} after {before}" if before else "no tls rule holds")


def possible(action: str, step: int, before: str) -> bool:
    """Can this still be done at this step, after that action at the last one?"""
    if step < 3:
        return True
    return {"splice": before != "stare", "bump": before != "peek", "terminate": True}.get(action, False)


def implied(before: str) -> TlsAction:
    """What is done when no rule holds."""
    return "bump" if before == "stare" else "splice"


def via(rules: Iterable[Leading[T_co]], facts: Facts) -> T_co | Literal[Missing.UNKNOWN] | None:
    """The way out: of the first rule that holds. None: none does, the target is connected to directly.

    UNKNOWN: it depends on the target's addresses; ask again once they are known.
    """
    for rule in rules:
        state: State = True
        if rule.condition is not None:
            state, last = settle(rule.condition, facts)
            if state is UNKNOWN and last is not None and last.expression.fact.name == "target_address":
                return UNKNOWN
        if state is True:
            return rule.through
    return None
