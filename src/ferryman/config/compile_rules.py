"""Rules and routes of the configuration to those of the plan, with their conditions and expressions.

Called by config.compile_listener and config.compile_backend.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Protocol

from ferryman.config.conditions import build
from ferryman.config.model import RouteSettings, RuleSettings
from ferryman.config.source import Mark, Path, Report
from ferryman.rules.condition import Any, Condition, expressions
from ferryman.rules.decision import Action, Route, Rule
from ferryman.rules.expression import Expression, ExpressionError, parse
from ferryman.rules.facts import Needs

Tests = Mapping[str, Condition]


class Conditional(Protocol):
    """An entry of any list of rules."""

    @property
    def condition(self) -> Condition | None: ...
    @property
    def where(self) -> str: ...


def compile_tests(data: Mapping[str, object], path: Path, report: Report) -> Tests:
    """Named conditions; each may use those before it."""
    tests: dict[str, Condition] = {}
    for name, value in data.items():
        built = build(value, (*path, name), tests, report.error, report.warning)
        tests[name] = built if built is not None else Any(())  # reported; its users are not to be blamed as well
    return tests


def compile_rules(
    entries: Sequence[RuleSettings], path: Path, tests: Tests, first_slot: int, report: Report
) -> tuple[Rule, ...]:
    """An ordered list of rules; captures get slots from `first_slot` on."""
    rules: list[Rule] = []
    slot = first_slot
    for number, entry in enumerate(entries):
        at = (*path, number)
        condition = compile_condition(entry.when, (*at, "when"), tests, report)
        expression: Expression | None = None
        if entry.action == "capture":
            expression = compile_expression(entry.fact, (*at, "fact"), report)
            if not entry.length:
                report.error(at, "a capture needs to know how many characters to keep", "add `length: 100`")
        elif entry.fact or entry.length:
            report.error(at, f"`fact` and `length` belong to a capture, this is {entry.action}", "remove them")
        action = Action(entry.action)
        rules.append(Rule(action, condition, report.where(at), expression, slot if expression else 0, entry.length))
        slot += action is Action.CAPTURE
    return tuple(rules)


def compile_routes(entries: Sequence[RouteSettings], path: Path, tests: Tests, report: Report) -> tuple[Route, ...]:
    """An ordered list of routes. Whether there is what they lead to is for the caller to see."""
    routes: list[Route] = []
    for number, entry in enumerate(entries):
        at = (*path, number)
        condition = compile_condition(entry.when, (*at, "when"), tests, report)
        if entry.to.startswith("%[") and entry.to.endswith("]"):
            expression = compile_expression(entry.to[2:-1], (*at, "to"), report, before=2, after=1)
            routes.append(Route(condition, report.where(at), expression=expression))
        else:
            mixed = "%[" in entry.to
            if mixed:
                report.error((*at, "to"), "a computed name is one %[fact] and nothing around it", "use |prepend(text)")
            routes.append(Route(condition, report.where(at), "" if mixed else entry.to))
    return tuple(routes)


def compile_expression(text: str, path: Path, report: Report, before: int = 0, after: int = 0) -> Expression | None:
    """An expression, or None after reporting what is wrong with it. The value has more characters around it."""
    if not text:
        report.error(path, "a fact is missing", "such as sni or client_address")
        return None
    try:
        return parse(text)
    except ExpressionError as error:
        mark = _spot(report.document.mark(path), before + len(text) + after, before + error.offset)
        report.diagnostics.error(mark, error.message, error.hint)
        return None


def rules_read_bytes(rules: Sequence[Rule | Route]) -> bool:
    """Does any of them need what the client sends?"""
    return any(expression.needs == "bytes" for rule in rules for expression in _expressions(rule))


def rules_need_handshake(rules: Sequence[Rule | Route]) -> bool:
    """Does any of them need what a handshake with the client has come to?"""
    return any(expression.needs == "handshake" for rule in rules for expression in _expressions(rule))


def refuse_facts(
    rules: Sequence[Conditional], path: Path, needs: Container[Needs], message: str, hint: str, report: Report
) -> None:
    """Report the rules that rest on facts of such a kind. The message has the fact in front of it."""
    for number, rule in enumerate(rules):
        for expression in _expressions(rule):
            if expression.needs in needs:
                report.error((*path, number), f"{expression.fact.name} {message}", hint)
                break


def refuse_target_facts(rules: Sequence[Conditional], path: Path, report: Report) -> None:
    """Report the rules that rest on what only the client of an explicit proxy says."""
    hint = "it is a fact in `access`, `tls` and `via` of `connect`"
    refuse_facts(rules, path, ("target",), "is not known here: no client has named a target", hint, report)


def _expressions(rule: Conditional) -> list[Expression]:
    own = rule.expression if isinstance(rule, Rule | Route) else None
    return expressions(rule.condition) + ([] if own is None else [own])


def warn_of_unreachable(rules: Sequence[Conditional], path: Path, report: Report) -> None:
    """Warn of the first entry behind one that always ends the list."""
    for number, rule in enumerate(rules[:-1]):
        if rule.condition is None and not (isinstance(rule, Rule) and rule.action is Action.CAPTURE):
            report.warning((*path, number + 1), f"this is never reached: {rule.where} always ends the list before it")
            return


def compile_condition(data: object, path: Path, tests: Tests, report: Report) -> Condition | None:
    """`when`: None stands for always, and for a condition that is wrong (which is reported)."""
    return None if data is None else build(data, path, tests, report.error, report.warning)


def _spot(mark: Mark | None, length: int, offset: int) -> Mark | None:
    """The place `offset` characters into a value of `length` characters, if its mark covers just that."""
    if mark is None or mark.length not in (length, length + 2):
        return mark
    quote = (mark.length - length) // 2
    return Mark(mark.file, mark.line, mark.column + quote + min(offset, length - 1), 1)
