"""What an explicit proxy does with TLS: the list `tls` and the CA behind `bump`.

Called by config.compile_connect. Plays the list through at every step it can get to (rules.access), to point out the
rules that never decide anything.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from ferryman.config.compile_rules import Tests, compile_condition
from ferryman.config.files import check_authority, located, read_certificates
from ferryman.config.model_connect import BumpSettings, ConnectSettings, TlsSettings
from ferryman.config.source import Path, Report
from ferryman.plan import Bump, Learn
from ferryman.rules.access import TlsRule, possible
from ferryman.rules.condition import All, Any, Condition, Named, Not, State, Test, expressions
from ferryman.rules.facts import UNKNOWN, Facts

_LEADS_ON: Final = ("peek", "stare")


def compile_tls(entries: Sequence[TlsSettings], path: Path, tests: Tests, report: Report) -> tuple[TlsRule, ...]:
    rules = tuple(
        TlsRule(
            compile_condition(entry.when, (*path, number, "when"), tests, report),
            report.where((*path, number)),
            entry.action,
        )
        for number, entry in enumerate(entries)
    )
    _warn_of_unreachable(rules, path, report)
    return rules


def compile_bump(settings: ConnectSettings, rules: Sequence[TlsRule], path: Path, report: Report) -> Bump | None:
    bump = settings.bump
    needed = next((number for number, rule in enumerate(rules) if rule.action in ("bump", "stare")), None)
    if bump is None:
        if needed is not None:
            message = f"to {rules[needed].action}, a CA is needed that signs what clients get to see"
            report.error((*path, "tls", needed), message, "add `bump: {ca: FILE, key: FILE}`")
        return None
    if needed is None:
        message = "nothing is ever opened: no rule of `tls` says bump or stare"
        report.warning((*path, "bump"), message, "add {action: bump} to `tls`, or remove `bump`")
    return _bump(bump, (*path, "bump"), report)


def warn_of_unknown_protocol(settings: ConnectSettings, path: Path, report: Report) -> None:
    """Point out that TLS is opened or ended, and what is no TLS goes on without a word about it."""
    if "on_unknown_protocol" in settings.model_fields_set:
        return
    strict = next((n for n, entry in enumerate(settings.tls) if entry.action in ("bump", "terminate")), None)
    if strict is not None:
        message = f"who does not speak TLS gets past this {settings.tls[strict].action}: it is carried untouched"
        hint = "write `on_unknown_protocol: terminate` (or respond) beside `tls`, or tunnel if that is meant"
        report.warning((*path, "tls", strict), message, hint)


def _bump(settings: BumpSettings, path: Path, report: Report) -> Bump:
    key_path = (*path, "key") if settings.key else (*path, "ca")
    ca, key = located(settings.ca, (*path, "ca"), report), located(settings.key or settings.ca, key_path, report)
    check_authority(ca, (*path, "ca"), key, key_path, report)
    keep = located(settings.keep, (*path, "keep"), report)
    if keep and not os.path.isdir(keep):
        report.error((*path, "keep"), f"{keep} is no folder", f"mkdir -m 700 {keep}")
    return Bump(
        ca_file=ca,
        key_file=key,
        cache=settings.cache,
        server_ca=read_certificates(settings.server_ca, (*path, "server_ca"), report) if settings.server_ca else "",
        keep=keep,
        learn=Learn(settings.learn.failures, settings.learn.time) if settings.learn else None,
        untrusted=settings.untrusted,
    )


# which rules ever decide something


@dataclass(slots=True)
class _Reached:
    """What playing the list through came to."""

    rules: set[int] = field(default_factory=set)  # that may decide
    before: dict[int, int] = field(default_factory=dict)  # a rule that cannot -> one that always decides before it
    ends: dict[int, int] = field(default_factory=dict)  # step -> the first rule that always decides there
    steps: set[int] = field(default_factory=set)


def _warn_of_unreachable(rules: Sequence[TlsRule], path: Path, report: Report) -> None:
    reached = _explore(rules)
    for number, rule in enumerate(rules):
        if number in reached.rules:
            continue
        at = (*path, number)
        early = [each.fact.name for each in expressions(rule.condition) if each.needs == "bytes"]
        if early and reached.steps == {1}:
            decided = (
                f"{rules[reached.ends[1]].where} decides at step 1" if 1 in reached.ends else "nothing leads there"
            )
            message = f"this never decides: {early[0]} is known at step 2, and {decided}"
            report.warning(at, message, "let {action: peek, when: {step: 1}} come first")
        elif number in reached.before:
            first = rules[reached.before[number]].where
            report.warning(at, f"this is never reached: {first} always decides before it", "move it up")
        else:
            report.warning(at, f"this never decides: where it could hold, to {rule.action} is not possible")


def _explore(rules: Sequence[TlsRule]) -> _Reached:
    reached = _Reached()
    to_do = [(1, "")]
    for step, before in to_do:
        reached.steps.add(step)
        ended: int | None = None
        for number, rule in enumerate(rules):
            state = True if rule.condition is None else _state(rule.condition, step)
            if state is False or not possible(rule.action, step, before):
                continue
            if ended is not None:
                reached.before.setdefault(number, ended)
                continue
            reached.rules.add(number)
            if rule.action in _LEADS_ON and (step + 1, rule.action) not in to_do:
                to_do.append((step + 1, rule.action))
            if state is True:
                ended = number
                reached.ends.setdefault(step, number)
    return reached


def _state(condition: Condition, step: int) -> State:
    """True or False where the step alone says so. At step 1 no test of the client's hello holds."""
    if step > 1 or not any(each.needs == "bytes" for each in expressions(condition)):
        return _supposed(condition, step, UNKNOWN)
    ways = [_supposed(condition, step, others) for others in (True, False)]
    return UNKNOWN if True in ways else False


def _supposed(condition: Condition, step: int, others: State) -> State:
    """What it comes to if every test but those of `step` and of the hello comes to `others`."""
    match condition:
        case Test():
            fact = condition.expression.fact.name
            if fact == "step":
                return condition.state(Facts("", 0, "", 0, step=step))
            if fact in ("always_true", "always_false"):
                return fact == "always_true"
            return UNKNOWN if condition.expression.needs == "bytes" else others
        case Named():
            return _supposed(condition.condition, step, others)
        case Not():
            state = _supposed(condition.part, step, others)
            return state if state is UNKNOWN else not state
        case All() | Any():
            decisive = isinstance(condition, Any)
            states = [_supposed(part, step, others) for part in condition.parts]
            return decisive if decisive in states else UNKNOWN if UNKNOWN in states else not decisive
