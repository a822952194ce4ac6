"""Conditions: Kleene's three states, lists of values, and what conditions say of themselves."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Sequence

import pytest

from ferryman.rules.condition import (
    All,
    Any,
    Condition,
    Named,
    Not,
    State,
    Test,
    describe,
    evaluate,
    expressions,
)
from ferryman.rules.expression import parse
from ferryman.rules.facts import UNKNOWN, Facts
from ferryman.rules.match import Matcher


def a_test(fact: str, method: str, *patterns: str) -> Test:
    expression = parse(fact)
    matcher = Matcher.build(method, patterns, type=expression.type)
    return Test(expression, matcher, f"{fact} {matcher.says()}")


TRUE = a_test("always_true", "boolean")
FALSE = a_test("always_false", "boolean")
OPEN = a_test("sni", "is", "a")
OPERANDS: dict[State, Condition] = {True: TRUE, False: FALSE, UNKNOWN: OPEN}


def facts(data: bytes = b"", final: bool = False) -> Facts:
    return Facts("192.0.2.7", 40000, "198.51.100.1", 443, data=data, final=final)


@pytest.mark.parametrize("states", [*itertools.product([True, False, UNKNOWN], repeat=3)])
def test_kleene(states: Sequence[State]) -> None:
    parts = tuple(OPERANDS[state] for state in states)
    both: State = False if False in states else UNKNOWN if UNKNOWN in states else True
    either: State = True if True in states else UNKNOWN if UNKNOWN in states else False
    assert evaluate(All(parts), facts()) is both
    assert evaluate(Any(parts), facts()) is either
    assert evaluate(Not(parts[0]), facts()) is {True: False, False: True, UNKNOWN: UNKNOWN}[states[0]]
    assert evaluate(Named("x", parts[0]), facts()) is states[0]


def test_nothing_is_unknown_in_the_end() -> None:
    for parts in itertools.product(OPERANDS.values(), repeat=2):
        assert evaluate(All((Any(parts), Not(parts[0]))), facts(final=True)) in (True, False)


def test_empty_lists() -> None:
    assert evaluate(All(()), facts()) is True
    assert evaluate(Any(()), facts()) is False
    assert (describe(All(())), describe(Any(()))) == ("always", "never")


@pytest.mark.parametrize(
    ("test", "data", "so_far", "in_the_end"),
    [
        (a_test("length", "integer", "ge 5"), b"abc", UNKNOWN, False),
        (a_test("length", "integer", "ge 5"), b"abcde", True, True),
        (a_test("payload(0,0)", "prefix", "ab"), b"a", UNKNOWN, False),
        (a_test("payload(0,2)", "is", "ab"), b"xy", False, False),
        (a_test("payload(0,2)", "is", "ab"), b"a", UNKNOWN, False),
        (a_test("payload(0,2)", "found"), b"a", UNKNOWN, False),
        (a_test("payload(0,2)", "found", "false"), b"a", UNKNOWN, True),
        (a_test("payload(0,2)", "found", "false"), b"ab", False, False),
        (a_test("wait_end", "boolean"), b"", UNKNOWN, True),
        (a_test('text("h2,x")', "is", "h2"), b"", False, False),
    ],
)
def test_what_may_still_change(test: Test, data: bytes, so_far: State, in_the_end: State) -> None:
    assert evaluate(test, facts(data)) is so_far
    assert evaluate(test, facts(data, final=True)) is in_the_end
    assert evaluate(Not(test), facts(data, final=True)) is (not in_the_end)


def a_test_a_list_one_member_has_to_match() -> None:
    test = a_test("alpn", "is", "http/1.1", "spdy")
    assert test.holds_for("h2,http/1.1")
    assert test.holds_for("spdy")
    assert not test.holds_for("h2,http/1.0")


def test_in_words() -> None:
    internal = Named("internal", a_test("client_address", "cidr", "10.0.0.0/8"))
    condition = All((Any((TRUE, internal)), Not(Any((FALSE, TRUE))), Not(OPEN)))
    assert describe(condition) == (
        '(always_true is true or internal) and not (always_false is true or always_true is true) and not sni is "a"'
    )


def test_the_expressions_it_rests_on() -> None:
    condition = All((Any((TRUE, Named("n", OPEN))), Not(FALSE)))
    assert [str(expression) for expression in expressions(condition)] == ["always_true", "sni", "always_false"]
    assert expressions(None) == []


def test_it_can_be_sent_to_a_worker() -> None:
    condition = All((Any((TRUE, Named("n", OPEN))), Not(FALSE)))
    assert pickle.loads(pickle.dumps(condition)) == condition
