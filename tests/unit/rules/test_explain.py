"""What explain tells, and that it tells the same story as the decision."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ferryman.rules import access as decisions
from ferryman.rules import decision
from ferryman.rules.access import Access, TlsRule
from ferryman.rules.condition import All, Any, Condition, Named, Not, Test
from ferryman.rules.decision import Action, Kind, Route, Rule
from ferryman.rules.explain import Step, access, routes, rules, tls, via, why
from ferryman.rules.expression import parse
from ferryman.rules.facts import ABSENT, UNKNOWN, Facts
from ferryman.rules.match import Matcher
from ferryman.wire.clienthello import ClientHello


def a_test(fact: str, method: str, *patterns: str) -> Condition:
    matcher = Matcher.build(method, patterns, type=parse(fact).type)
    return Test(parse(fact), matcher, f"{fact} {matcher.says()}")


HELLO = ClientHello(0x301, 0x303, "api.example.org", (), "none", False, 0, b"", b"", b"", b"", b"")
WAITING = Facts("192.0.2.7", 40000, "198.51.100.1", 6443, data=b"\x16\x03", captures=[None])
KNOWN = replace(WAITING, hello=HELLO)
INTERNAL = a_test("client_address", "cidr", "10.0.0.0/8")
LAB = a_test("sni", "regex", "ocp.fede.lab")
API = a_test("sni", "name", "api.example.org")


@pytest.mark.parametrize(
    ("condition", "facts", "expected"),
    [
        (LAB, KNOWN, 'sni "api.example.org" does not match regex /ocp.fede.lab/'),
        (API, KNOWN, 'sni "api.example.org" is api.example.org'),
        (LAB, WAITING, "sni is not known yet"),
        (LAB, replace(KNOWN, hello=ABSENT), "sni is absent"),
        (LAB, replace(WAITING, final=True), "sni is absent"),
        (Not(API), KNOWN, 'sni "api.example.org" is api.example.org'),
        (Named("lab", LAB), KNOWN, 'lab: sni "api.example.org" does not match regex /ocp.fede.lab/'),
        (All((API, INTERNAL, LAB)), KNOWN, 'client_address "192.0.2.7" is not in 10.0.0.0/8'),
        (Any((LAB, API)), KNOWN, 'sni "api.example.org" is api.example.org'),
        (Any((INTERNAL, LAB)), WAITING, "sni is not known yet"),
        (
            Any((INTERNAL, LAB)),
            KNOWN,
            'client_address "192.0.2.7" is not in 10.0.0.0/8; '
            'sni "api.example.org" does not match regex /ocp.fede.lab/',
        ),
        (All(()), KNOWN, "always"),
        (a_test("length", "integer", "ge 9"), WAITING, "length is 2 so far and more may come"),
        (a_test("payload(0,2)", "binary", "1604"), WAITING, "payload(0,2) 0x1603 is not 1604"),
    ],
)
def test_why(condition: Condition, facts: Facts, expected: str) -> None:
    assert why(condition, facts) == expected


def test_what_a_client_sent_is_escaped() -> None:
    hello = HELLO._replace(sni="\x1b[2Jx\n")
    assert why(LAB, replace(KNOWN, hello=hello)).startswith(r'sni "\x1b[2Jx\n" does not match')


RULES = [
    Rule(Action.REJECT, INTERNAL, "f:1"),
    Rule(Action.CAPTURE, None, "f:2", parse("sni"), 0, 3),
    Rule(Action.ACCEPT, API, "f:3"),
    Rule(Action.REJECT, None, "f:4"),
]


def test_rules_step_by_step() -> None:
    facts = replace(KNOWN, captures=[None])
    assert rules(RULES, facts) == (
        Step(
            "f:1",
            "reject if client_address is in 10.0.0.0/8",
            "did not hold",
            'client_address "192.0.2.7" is not in 10.0.0.0/8',
        ),
        Step("f:2", "capture sni", "held", 'kept "api"'),
        Step("f:3", "accept if sni is api.example.org", "held", 'sni "api.example.org" is api.example.org'),
        Step("f:4", "reject", "not reached", "a rule before it ended the list"),
    )
    assert facts.captures == ["api"]


def test_a_rule_that_waits_is_the_last_one_reached() -> None:
    steps = rules(RULES, WAITING)
    assert [step.outcome for step in steps] == ["did not hold", "waits", "not reached", "not reached"]
    assert steps[1].why == "sni is not known yet"


ROUTES = [Route(LAB, "f:5", "lab"), Route(API, "f:6", expression=parse("sni"))]


def test_routes_step_by_step() -> None:
    no_lab = Step(
        "f:5",
        "to lab if sni matches regex /ocp.fede.lab/",
        "did not hold",
        'sni "api.example.org" does not match regex /ocp.fede.lab/',
    )
    text = "to %[sni] if sni is api.example.org"
    assert routes(ROUTES, "rest", KNOWN, {"lab", "rest", "api.example.org"}) == (
        no_lab,
        Step("f:6", text, "held", 'sni is "api.example.org"'),
        Step("default", "to rest", "not reached", "a route was taken"),
    )
    assert routes(ROUTES, "rest", KNOWN, {"lab", "rest"}) == (
        no_lab,
        Step("f:6", text, "held", 'sni is "api.example.org", which is no backend: the default is taken'),
        Step("default", "to rest", "held", "no route was taken"),
    )
    assert routes([], "", KNOWN, ()) == (
        Step("default", "no default backend: refused", "did not hold", "no route was taken"),
    )


@pytest.mark.parametrize("facts", [WAITING, KNOWN, replace(WAITING, final=True), replace(WAITING, hello=ABSENT)])
@pytest.mark.parametrize("default", ["rest", ""])
@pytest.mark.parametrize("backends", [{"lab", "rest"}, {"lab", "rest", "api.example.org"}])
def test_it_tells_what_was_decided(facts: Facts, default: str, backends: set[str]) -> None:
    verdict = decision.route(ROUTES, default, facts, backends)
    steps = routes(ROUTES, default, facts, backends)
    outcomes = {step.where: step.outcome for step in steps}
    if verdict.kind is Kind.ROUTE:
        assert outcomes[verdict.where] == "held"
    else:
        assert ("waits" in outcomes.values()) == (verdict.kind is Kind.WAIT)
        assert outcomes["default"] != "held"
    told = [step for step in rules(RULES, replace(facts, captures=[None])) if step.outcome in ("held", "waits")][-1]
    verdict = decision.inspect(RULES, replace(facts, captures=[None]))
    assert (verdict.kind is Kind.WAIT) == (told.outcome == "waits")
    assert verdict.where in ("", told.where)


# of an explicit proxy

USER = a_test("user", "is", "alice")
WEB = a_test("target_port", "integer", "443")
ASKED = replace(WAITING, user=UNKNOWN, target_host="www.example.org", target_port=443, protocol="connect")


def outcomes(steps: tuple[Step, ...]) -> list[str]:
    return [step.outcome for step in steps]


def test_access_tells_what_it_waits_for() -> None:
    entries = [Access(Not(WEB), "f:1", False), Access(All((WEB, USER)), "f:2", True), Access(None, "f:3", False)]
    assert access(entries, ASKED) == (
        Step("f:1", "deny if not target_port is 443", "did not hold", "target_port 443 is 443"),
        Step("f:2", 'allow if target_port is 443 and user is "alice"', "waits", "user is not known yet"),
        Step("f:3", "deny", "not reached", "a rule before it ended the list"),
        Step("default", "deny", "not reached", "a rule ended the list"),
    )
    assert outcomes(access(entries, replace(ASKED, user="bob"))) == [
        "did not hold", "did not hold", "held", "not reached",
    ]  # fmt: skip


def test_access_without_a_list() -> None:
    assert access(None, replace(ASKED, user=ABSENT)) == (
        Step("default", "allow everybody", "held", "there are no access rules"),
    )
    assert outcomes(access(None, ASKED)) == ["waits"]
    assert access([], ASKED)[-1] == Step("default", "deny", "held", "there are no rules")


@pytest.mark.parametrize("user", [UNKNOWN, ABSENT, "alice", "bob"])
@pytest.mark.parametrize(
    "entries",
    [
        [Access(USER, "f:1", True), Access(None, "f:2", False)],
        [Access(Any((USER, WEB)), "f:1", True)],
        [Access(Not(USER), "f:1", False), Access(WEB, "f:2", True)],
        [],
    ],
)
def test_access_tells_the_same_as_the_decision(entries: list[Access], user: str) -> None:
    facts = replace(ASKED, user=user)
    told = next(step for step in access(entries, facts) if step.outcome in ("held", "waits"))
    assert told.where == (decisions.access(entries, facts).where or "default")


def test_tls_tells_what_is_too_late() -> None:
    entries = [TlsRule(API, "f:1", "terminate"), TlsRule(None, "f:2", "peek"), TlsRule(None, "f:3", "bump")]
    first = tls(entries, replace(ASKED, step=1), 1)
    assert first[0] == Step("f:1", "terminate if sni is api.example.org", "did not hold", "sni is not known yet")
    assert outcomes(first) == ["did not hold", "held", "not reached", "not reached"]
    last = tls(entries, replace(KNOWN, step=3), 3, "peek")
    assert outcomes(last) == ["held", "not reached", "not reached", "not reached"]
    last = tls(entries[1:], replace(KNOWN, step=3), 3, "peek")
    assert [step.why for step in last[:2]] == ["to peek is not possible any more", "to bump is not possible any more"]
    assert last[-1] == Step("default", "splice", "held", "no rule held")


def test_via_names_the_way() -> None:
    class Way:
        condition = a_test("target_address", "cidr", "10.0.0.0/8")
        where = "f:1"
        through = "through http://a:1"

    facts = replace(ASKED, target_addresses=UNKNOWN)
    assert via([Way()], facts)[0] == Step(
        "f:1", "through http://a:1 if target_address is in 10.0.0.0/8", "waits", "target_address is not known yet"
    )
    assert outcomes(via([Way()], replace(facts, target_addresses=("192.0.2.1",)))) == ["did not hold", "held"]
