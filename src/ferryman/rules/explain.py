"""The lists of rules.decision and rules.access, told step by step: which rule held, which did not, and why.

`ferryman explain` prints it. Asks the same conditions as these, in the same order; decides nothing.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol

from ferryman.rules.access import Access, Leading, TlsRule, implied, possible, settle
from ferryman.rules.condition import All, Any, Condition, Named, Not, State, Test, describe
from ferryman.rules.decision import Action, Route, Rule, capture
from ferryman.rules.facts import UNKNOWN, Facts, Missing, Value, as_text

Outcome = Literal["held", "did not hold", "waits", "not reached"]


class Step(NamedTuple):
    """One rule: its place, what it says, what came of it, and why."""

    where: str
    text: str
    outcome: Outcome
    why: str


def rules(entries: Sequence[Rule], facts: Facts) -> tuple[Step, ...]:
    """The steps of `connection` or `inspect` rules. Like them, it stores captures in `facts`."""
    steps: list[Step] = []
    over = False
    for rule in entries:
        text = rule.action.value + (f" {rule.expression}" if rule.expression is not None else "") + _if(rule.condition)
        if over:
            steps.append(Step(rule.where, text, "not reached", "a rule before it ended the list"))
            continue
        step = _step(rule.where, text, rule.condition, facts)
        if step.outcome == "held" and rule.action is Action.CAPTURE:
            if capture(rule, facts):
                kept = facts.captures[rule.slot]
                step = step._replace(why=f"{rule.expression} is absent" if kept is None else f'kept "{kept}"')
            else:
                step = step._replace(outcome="waits", why=f"{rule.expression} is not known yet")
        steps.append(step)
        over = step.outcome == "waits" or (step.outcome == "held" and rule.action is not Action.CAPTURE)
    return tuple(steps)


def routes(entries: Sequence[Route], default: str, facts: Facts, backends: Container[str]) -> tuple[Step, ...]:
    """The steps of `routes`, the default as the last one."""
    steps: list[Step] = []
    last: Outcome = "held" if default else "did not hold"
    for entry in entries:
        name = entry.backend if entry.expression is None else f"%[{entry.expression}]"
        text = f"to {name}{_if(entry.condition)}"
        if steps and steps[-1].outcome != "did not hold":
            steps.append(Step(entry.where, text, "not reached", "a route before it was taken"))
            continue
        step = _step(entry.where, text, entry.condition, facts)
        if step.outcome != "did not hold":
            last = "not reached"
        if step.outcome == "held" and entry.expression is not None:
            value = entry.expression.evaluate(facts)
            step = step._replace(why=f"{entry.expression} {_said(value)}")
            if value is UNKNOWN:
                step = step._replace(outcome="waits")
            elif isinstance(value, Missing) or as_text(value) not in backends:
                step = step._replace(why=f"{step.why}, which is no backend: the default is taken")
                last = "held" if default else "did not hold"
        steps.append(step)
    text = f"to {default}" if default else "no default backend: refused"
    why_last = "a route was taken" if last == "not reached" else "no route was taken"
    return (*steps, Step("default", text, last, why_last))


def access(entries: Sequence[Access] | None, facts: Facts) -> tuple[Step, ...]:
    """The steps of an explicit proxy's `access`, what comes without a rule as the last one."""
    if entries is None:
        waits = facts.user is UNKNOWN
        text = "allow everybody" if not waits else "allow everybody who gives the right credentials"
        return (Step("default", text, "waits" if waits else "held", "there are no access rules"),)
    texts = ["allow" if entry.allow else "deny" for entry in entries]
    return _until_one_holds(entries, texts, facts, "deny", may_wait=True)


def tls(entries: Sequence[TlsRule], facts: Facts, step: int, before: str = "") -> tuple[Step, ...]:
    """The steps of `tls` at one of its steps. `facts.step` must be that."""
    late = {
        number: f"to {entry.action} is not possible any more"
        for number, entry in enumerate(entries)
        if not possible(entry.action, step, before)
    }
    texts = [entry.action for entry in entries]
    return _until_one_holds(entries, texts, facts, implied(before), may_wait=False, late=late)


def via(entries: Sequence[Leading[object]], facts: Facts) -> tuple[Step, ...]:
    """The steps of `via`."""
    return _until_one_holds(entries, [str(entry.through) for entry in entries], facts, "directly", may_wait=True)


class _Entry(Protocol):
    @property
    def condition(self) -> Condition | None: ...
    @property
    def where(self) -> str: ...


def _until_one_holds(
    entries: Sequence[_Entry],
    texts: Sequence[str],
    facts: Facts,
    otherwise: str,
    may_wait: bool,
    late: Mapping[int, str] = MappingProxyType({}),
) -> tuple[Step, ...]:
    """Steps until one ends the list, each read from left to right. `late`: why an entry cannot do anything any more."""
    steps: list[Step] = []
    for number, (entry, text) in enumerate(zip(entries, texts, strict=True)):
        text += _if(entry.condition)
        if steps and steps[-1].outcome != "did not hold":
            steps.append(Step(entry.where, text, "not reached", "a rule before it ended the list"))
        elif number in late:
            steps.append(Step(entry.where, text, "did not hold", late[number]))
        elif entry.condition is None:
            steps.append(Step(entry.where, text, "held", "it has no condition"))
        else:
            steps.append(_read(entry.where, text, entry.condition, facts, may_wait))
    over = any(step.outcome != "did not hold" for step in steps)
    why_last = "a rule ended the list" if over else "no rule held" if steps else "there are no rules"
    return (*steps, Step("default", otherwise, "not reached" if over else "held", why_last))


def _read(where: str, text: str, condition: Condition, facts: Facts, may_wait: bool) -> Step:
    """As rules.access reads it: from left to right where something can be waited for, else at once."""
    state, last = settle(condition, facts)
    if may_wait and state is UNKNOWN and last is not None:
        return Step(where, text, "waits", f"{last.expression} is not known yet")
    step = _step(where, text, condition, facts)
    return step._replace(outcome="did not hold") if step.outcome == "waits" else step


def _if(condition: Condition | None) -> str:
    return "" if condition is None else f" if {describe(condition)}"


def _step(where: str, text: str, condition: Condition | None, facts: Facts) -> Step:
    if condition is None:
        return Step(where, text, "held", "it has no condition")
    state = condition.state(facts)
    outcome: Outcome = "waits" if state is UNKNOWN else "held" if state else "did not hold"
    return Step(where, text, outcome, why(condition, facts))


def why(condition: Condition, facts: Facts) -> str:
    """What makes the condition come to what it comes to."""
    return _why(condition, facts, condition.state(facts))


def _why(condition: Condition, facts: Facts, state: State) -> str:
    match condition:
        case Test():
            return _test(condition, facts, state)
        case Named():
            return f"{condition.name}: {_why(condition.condition, facts, state)}"
        case Not():
            return why(condition.part, facts)
        case All() | Any():
            decisive = isinstance(condition, Any)  # the one state that settles it
            parts = condition.parts
            if state is decisive or state is UNKNOWN:
                parts = tuple(part for part in parts if part.state(facts) is state)[:1]
            return "; ".join(why(part, facts) for part in parts) or describe(condition)


def _test(test: Test, facts: Facts, state: State) -> str:
    value = test.expression.evaluate(facts)
    if isinstance(value, Missing):
        return f"{test.expression} {_said(value)}"
    if state is UNKNOWN:
        return f"{test.expression} {_said(value)} so far and more may come"
    return f"{test.expression} {_quoted(value)} {test.matcher.says(state)}"


def _said(value: Value | Missing) -> str:
    return f"is {value.value if isinstance(value, Missing) else _quoted(value)}"


def _quoted(value: Value) -> str:
    """The value as explain shows it; what the client sent is escaped and cut."""
    if isinstance(value, bytes):
        return f"0x{value[:32].hex()}{'…' if len(value) > 32 else ''}"
    if isinstance(value, str):
        shown = value if value.isprintable() else value.encode("unicode_escape").decode("ascii")
        return f'"{shown[:200]}{"…" if len(shown) > 200 else ""}"'
    return str(value).lower()
