"""Rules in order: what a connection is told at accept, while it is inspected, and where it goes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ferryman.rules.condition import Condition, Not, Test
from ferryman.rules.decision import Action, Kind, Route, Rule, Verdict, connection, inspect, route
from ferryman.rules.expression import parse
from ferryman.rules.facts import ABSENT, Facts
from ferryman.rules.match import Matcher
from ferryman.wire.clienthello import ClientHello


def a_test(fact: str, method: str, *patterns: str) -> Condition:
    return Test(parse(fact), Matcher.build(method, patterns, type=parse(fact).type), fact)


def hello(name: str | None) -> ClientHello:
    return ClientHello(0x301, 0x303, name, (), "none", False, 0, b"", b"", b"", b"", b"")


WAITING = Facts("192.0.2.7", 40000, "198.51.100.1", 443, captures=[None, None])
LOCAL = a_test("client_address", "cidr", "127.0.0.0/8")
REMOTE = Not(LOCAL)
EXAMPLE = a_test("sni", "name", "*.example.org")

ACCEPT, WAIT = Verdict(Kind.ACCEPT), Verdict(Kind.WAIT)


def rule(action: Action, condition: Condition | None = None, where: str = "f:1") -> Rule:
    return Rule(action, condition, where)


def capture(fact: str, slot: int = 0, length: int = 0, condition: Condition | None = None) -> Rule:
    return Rule(Action.CAPTURE, condition, "f:9", parse(fact), slot, length)


def known(facts: Facts, name: str | None = None, final: bool = False) -> Facts:
    return replace(facts, hello=hello(name) if name != "-" else ABSENT, final=final, captures=[None, None])


@pytest.mark.parametrize(
    ("rules", "kind", "where"),
    [
        ([], Kind.ACCEPT, ""),
        ([rule(Action.REJECT, LOCAL)], Kind.ACCEPT, ""),
        ([rule(Action.REJECT, REMOTE, "f:3")], Kind.REJECT, "f:3"),
        ([rule(Action.ACCEPT, REMOTE, "f:2"), rule(Action.REJECT)], Kind.ACCEPT, "f:2"),
        ([rule(Action.REJECT, LOCAL), rule(Action.DROP, None, "f:4")], Kind.DROP, "f:4"),
        ([rule(Action.REJECT, EXAMPLE)], Kind.ACCEPT, ""),
    ],
)
def test_connection_rules_decide_at_once(rules: list[Rule], kind: Kind, where: str) -> None:
    verdict = connection(rules, WAITING)
    assert (verdict.kind, verdict.where) == (kind, where)


@pytest.mark.parametrize(
    ("rules", "kind"),
    [
        ([rule(Action.REJECT, a_test("peer_address", "cidr", "10.0.0.0/8"))], Kind.REJECT),
        ([rule(Action.REJECT, LOCAL)], Kind.WAIT),
        ([rule(Action.REJECT, LOCAL), rule(Action.REJECT)], Kind.WAIT),
        ([rule(Action.ACCEPT, a_test("peer_address", "cidr", "10.0.0.0/8")), rule(Action.REJECT, LOCAL)], Kind.ACCEPT),
        ([capture("client_address")], Kind.WAIT),
        ([], Kind.ACCEPT),
    ],
)
def test_connection_rules_wait_for_a_proxy_header(rules: list[Rule], kind: Kind) -> None:
    due = replace(WAITING, peer_address="10.0.0.1", header_due=True, captures=[None])
    assert connection(rules, due).kind is kind
    came = replace(due, client_address="127.0.0.1", header_due=False)
    assert connection(rules, came).kind is not Kind.WAIT


def test_a_refusal_says_which_rule_it_was() -> None:
    assert connection([rule(Action.REJECT, None, "web.cfg:12")], WAITING).reason == "refused by the rule at web.cfg:12"


@pytest.mark.parametrize(
    ("rules", "waiting", "matching", "other"),
    [
        ([], Kind.ACCEPT, Kind.ACCEPT, Kind.ACCEPT),
        ([rule(Action.REJECT, EXAMPLE)], Kind.WAIT, Kind.REJECT, Kind.ACCEPT),
        ([rule(Action.ACCEPT, REMOTE), rule(Action.REJECT, EXAMPLE)], Kind.ACCEPT, Kind.ACCEPT, Kind.ACCEPT),
        ([rule(Action.REJECT, Not(EXAMPLE))], Kind.WAIT, Kind.ACCEPT, Kind.REJECT),
        ([rule(Action.ACCEPT, EXAMPLE), rule(Action.DROP)], Kind.WAIT, Kind.ACCEPT, Kind.DROP),
        ([capture("sni"), rule(Action.REJECT)], Kind.WAIT, Kind.REJECT, Kind.REJECT),
        ([capture("sni", condition=LOCAL)], Kind.ACCEPT, Kind.ACCEPT, Kind.ACCEPT),
        ([rule(Action.ACCEPT, a_test("hello_type", "integer", "1"))], Kind.WAIT, Kind.ACCEPT, Kind.ACCEPT),
    ],
)
def test_inspect_rules_wait_for_what_they_need(rules: list[Rule], waiting: Kind, matching: Kind, other: Kind) -> None:
    assert inspect(rules, WAITING).kind is waiting
    assert inspect(rules, known(WAITING, "www.example.org")).kind is matching
    assert inspect(rules, known(WAITING, "www.example.net")).kind is other
    assert inspect(rules, known(WAITING, "-")).kind is other
    assert inspect(rules, replace(WAITING, final=True)).kind is other


@pytest.mark.parametrize(
    ("entry", "name", "kept"),
    [
        (capture("sni", 1, 7), "www.example.org", [None, "www.exa"]),
        (capture("sni", 1), "www.example.org", [None, "www.example.org"]),
        (capture("sni"), None, [None, None]),
        (capture("client_port"), None, ["40000", None]),
        (capture("always_true"), None, ["1", None]),
        (capture("sni", condition=LOCAL), "a", [None, None]),
    ],
)
def test_captures_are_kept(entry: Rule, name: str | None, kept: list[str | None]) -> None:
    facts = known(WAITING, name)
    assert inspect([entry], facts) == ACCEPT
    assert facts.captures == kept


def test_a_capture_of_what_grows_waits_for_the_end() -> None:
    facts = replace(WAITING, data=b"abc", captures=[None])
    assert inspect([capture("length")], facts) == WAIT
    assert facts.captures == [None]
    facts.final = True
    assert inspect([capture("length")], facts) == ACCEPT
    assert facts.captures == ["3"]


ROUTES = [Route(LOCAL, "f:1", "local"), Route(EXAMPLE, "f:2", "example")]
BY_NAME = Route(None, "f:3", expression=parse("sni|prepend(be_)"))
BACKENDS = {"local", "example", "rest", "be_a"}


@pytest.mark.parametrize(
    ("routes", "name", "expected"),
    [
        (ROUTES, "www.example.org", ("example", "f:2")),
        (ROUTES, "www.example.net", ("rest", "default")),
        (ROUTES, None, ("rest", "default")),
        (ROUTES, "-", ("rest", "default")),
        ([], None, ("rest", "default")),
        ([Route(None, "f:9", "local"), *ROUTES], None, ("local", "f:9")),
        ([BY_NAME, Route(None, "f:9", "local")], "a", ("be_a", "f:3")),
        ([BY_NAME, Route(None, "f:9", "local")], "b", ("rest", "default")),
        ([BY_NAME, Route(None, "f:9", "local")], None, ("rest", "default")),
    ],
)
def test_the_first_route_that_holds_is_taken(routes: list[Route], name: str | None, expected: tuple[str, str]) -> None:
    verdict = route(routes, "rest", known(WAITING, name), BACKENDS)
    assert (verdict.kind, verdict.backend, verdict.where) == (Kind.ROUTE, *expected)


@pytest.mark.parametrize("routes", [ROUTES, [BY_NAME]])
def test_a_route_waits_unless_the_facts_are_final(routes: list[Route]) -> None:
    assert route(routes, "rest", WAITING, BACKENDS) == WAIT
    assert route(routes, "rest", replace(WAITING, final=True), BACKENDS).backend == "rest"


@pytest.mark.parametrize(
    ("routes", "name", "reason"),
    [
        ([], None, "no route was taken and there is no default backend"),
        ([BY_NAME], "b", 'there is no backend "be_b" (f:3) and there is no default backend'),
        ([BY_NAME], None, "sni|prepend(be_) is not known (f:3) and there is no default backend"),
    ],
)
def test_without_a_backend_it_is_refused(routes: list[Route], name: str | None, reason: str) -> None:
    verdict = route(routes, "", known(WAITING, name), BACKENDS)
    assert verdict == Verdict(Kind.REJECT, "", "", reason)
