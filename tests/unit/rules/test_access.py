"""Who may go where, what becomes of TLS at each step, and which way out."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from ferryman.rules import access
from ferryman.rules.access import Access, Kind, TlsRule
from ferryman.rules.condition import All, Any, Condition, Named, Not, Test
from ferryman.rules.expression import parse
from ferryman.rules.facts import ABSENT, UNKNOWN, Facts, Missing
from ferryman.rules.match import Matcher


def part(fact: str, *patterns: str, method: str | None = None) -> Test:
    expression = parse(fact)
    return Test(expression, Matcher.build(method or "is", patterns, type=expression.type), fact)


USER = part("user", method="found")
ALICE = part("user", "alice")
PORT = part("target_port", "443", method="integer")
INSIDE = part("target_address", "10.0.0.0/8", method="cidr")


def facts(
    user: str | Missing = ABSENT,
    port: int = 443,
    addresses: tuple[str, ...] | Missing = UNKNOWN,
    host: str = "www.example.org",
) -> Facts:
    return Facts(
        "192.0.2.7", 40000, "198.51.100.1", 3128,
        user=user, protocol="connect", method="CONNECT", target_host=host, target_port=port, target_addresses=addresses,
    )  # fmt: skip


def allow(condition: Condition | None = None) -> Access:
    return Access(condition, "p.yaml:1", True)


def deny(condition: Condition | None = None) -> Access:
    return Access(condition, "p.yaml:2", False)


# access


@pytest.mark.parametrize(
    ("rules", "given", "kind"),
    [
        pytest.param(None, facts(), Kind.ALLOW, id="no list, nobody is asked"),
        pytest.param(None, facts(UNKNOWN), Kind.CHALLENGE, id="no list, but users"),
        pytest.param(None, facts("alice"), Kind.ALLOW, id="no list, credentials are right"),
        pytest.param([], facts(), Kind.DENY, id="an empty list"),
        pytest.param([allow()], facts(UNKNOWN), Kind.ALLOW, id="nobody is asked by a rule without a user"),
        pytest.param([allow(PORT)], facts(port=22), Kind.DENY, id="no rule holds"),
        pytest.param([deny(PORT), allow()], facts(), Kind.DENY, id="the first one wins"),
        pytest.param([allow(ALICE)], facts(UNKNOWN), Kind.CHALLENGE, id="who is it?"),
        pytest.param([allow(ALICE)], facts("alice"), Kind.ALLOW, id="it is she"),
        pytest.param([allow(ALICE)], facts("bob"), Kind.DENY, id="it is somebody else"),
        pytest.param([deny(Not(USER)), allow()], facts(UNKNOWN), Kind.CHALLENGE, id="refuse whoever is not known"),
        pytest.param([deny(Not(USER)), allow()], facts("bob"), Kind.ALLOW, id="whoever is known goes on"),
        pytest.param([deny(ALICE)], facts("alice"), Kind.CHALLENGE, id="others may do: ends with the user"),
        pytest.param([deny(All((ALICE, PORT)))], facts("alice"), Kind.DENY, id="others do not help: ends otherwise"),
        pytest.param([deny(Not(ALICE))], facts(), Kind.DENY, id="no 407 where nobody can say who he is"),
        pytest.param([allow(All((PORT, ALICE)))], facts(UNKNOWN, 22), Kind.DENY, id="the port settles it first"),
        pytest.param([allow(All((ALICE, PORT)))], facts(UNKNOWN, 22), Kind.CHALLENGE, id="the user comes first"),
        pytest.param([allow(Any((ALICE, PORT)))], facts(UNKNOWN), Kind.CHALLENGE, id="the user comes first in any"),
        pytest.param([allow(Any((PORT, ALICE)))], facts(UNKNOWN), Kind.ALLOW, id="the port suffices"),
        pytest.param([deny(INSIDE), allow()], facts(), Kind.RESOLVE, id="which addresses?"),
        pytest.param(
            [deny(INSIDE), allow()], facts(addresses=("192.0.2.1", "10.1.2.3")), Kind.DENY, id="one is inside"
        ),
        pytest.param([deny(INSIDE), allow()], facts(addresses=("2001:db8::1",)), Kind.ALLOW, id="none is inside"),
        pytest.param([deny(INSIDE), allow()], facts(addresses=ABSENT), Kind.ALLOW, id="there are none"),
        pytest.param([deny(All((ALICE, INSIDE)))], facts(UNKNOWN), Kind.CHALLENGE, id="first the user"),
        pytest.param([deny(All((ALICE, INSIDE)))], facts("alice"), Kind.RESOLVE, id="then the addresses"),
        pytest.param([allow(Named("staff", ALICE))], facts(UNKNOWN), Kind.CHALLENGE, id="by name"),
        pytest.param([allow(part("sni", "a", method="name")), deny()], facts(), Kind.DENY, id="what is not known"),
    ],
)
def test_access(rules: list[Access] | None, given: Facts, kind: Kind) -> None:
    assert access.access(rules, given).kind is kind


def test_access_names_the_rule_that_decided() -> None:
    verdict = access.access([allow(ALICE), deny()], facts("bob"))
    assert verdict == (Kind.DENY, "p.yaml:2", "refused by the rule at p.yaml:2")


# tls


def line(action: str, condition: Condition | None = None) -> TlsRule:
    assert action in ("splice", "bump", "peek", "stare", "terminate")
    return TlsRule(condition, f"squid.conf:{action}", action)  # type: ignore[arg-type]


def at(*steps: int) -> Test:
    return part("step", *map(str, steps), method="integer")


def journey(*rules: TlsRule, given: Facts | None = None) -> list[str]:
    """The actions from step to step until one ends it."""
    actions: list[str] = []
    for step in (1, 2, 3):
        before = actions[-1] if actions else ""
        actions.append(access.tls(rules, given or facts(), step, before).action)
        if actions[-1] not in ("peek", "stare"):
            break
    return actions


@pytest.mark.parametrize(
    ("rules", "actions"),
    [
        pytest.param([], ["splice"], id="no list"),
        pytest.param([line("bump", part("target_port", "8443"))], ["splice"], id="none holds"),
        pytest.param([line("splice")], ["splice"], id="splice"),
        pytest.param([line("bump")], ["bump"], id="bump"),
        pytest.param([line("terminate")], ["terminate"], id="terminate"),
        pytest.param([line("peek")], ["peek", "peek", "splice"], id="peek all: splice in the end"),
        pytest.param([line("stare")], ["stare", "stare", "bump"], id="stare all: bump in the end"),
        pytest.param([line("peek", at(1))], ["peek", "splice"], id="none holds at step 2 after peek"),
        pytest.param([line("stare", at(1))], ["stare", "bump"], id="none holds at step 2 after stare"),
        pytest.param([line("peek", at(1)), line("bump")], ["peek", "bump"], id="the usual way to bump"),
        pytest.param([line("peek", at(1)), line("splice")], ["peek", "splice"], id="the usual way to splice"),
        pytest.param([line("peek", at(1, 2)), line("bump")], ["peek", "peek", "splice"], id="peek at 2 precludes bump"),
        pytest.param(
            [line("stare", at(1, 2)), line("splice")], ["stare", "stare", "bump"], id="stare at 2 precludes splice"
        ),
        pytest.param([line("stare"), line("bump")], ["stare", "stare", "bump"], id="stare is skipped at 3"),
        pytest.param([line("peek"), line("splice")], ["peek", "peek", "splice"], id="peek is skipped at 3"),
        pytest.param([line("peek"), line("terminate")], ["peek", "peek", "terminate"], id="terminate at 3"),
        pytest.param(
            [line("stare", at(1)), line("peek", at(2)), line("bump")],
            ["stare", "peek", "splice"],
            id="stare, then peek",
        ),
        pytest.param(
            [line("peek", at(1)), line("stare", at(2)), line("splice", at(3))],
            ["peek", "stare", "bump"],
            id="peek, then stare: splice at 3 is too late",
        ),
        pytest.param([line("bump"), line("splice")], ["bump"], id="a line after bump all is never reached"),
    ],
)
def test_tls_steps(rules: list[TlsRule], actions: list[str]) -> None:
    assert journey(*rules) == actions


def test_tls_skips_a_rule_that_cannot_be_told_yet() -> None:
    sni = part("sni", "www.example.org", method="name")
    assert journey(line("splice", sni), line("bump")) == ["bump"]
    assert journey(line("splice", Not(sni)), line("bump")) == ["bump"]


def test_tls_says_which_rule() -> None:
    given = facts()
    assert access.tls([line("bump")], given, 1) == ("bump", "squid.conf:bump", "bump by the rule at squid.conf:bump")
    assert access.tls([], given, 2, "stare") == ("bump", "", "bump after stare")
    assert access.tls([], given, 1) == ("splice", "", "no tls rule holds")
    assert given.step == 1


# via


@dataclass(frozen=True)
class Way:
    condition: Condition | None
    through: str
    where: str = "p.yaml:3"


def test_via_takes_the_first_that_holds() -> None:
    ways = [Way(ALICE, "hers"), Way(PORT, "tls"), Way(None, "other")]
    assert access.via(ways, facts("alice")) == "hers"
    assert access.via(ways, facts()) == "tls"
    assert access.via(ways, facts(port=80)) == "other"
    assert access.via(ways[:2], facts(port=80)) is None


def test_via_may_depend_on_the_addresses() -> None:
    ways = [Way(INSIDE, "inner"), Way(None, "outer")]
    assert access.via(ways, facts()) is UNKNOWN
    assert access.via(ways, facts(addresses=("10.0.0.1",))) == "inner"
    assert access.via(ways, facts(addresses=ABSENT)) == "outer"
