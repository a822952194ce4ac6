"""What an explicit proxy would make of a wish: access, the way out, the guard, TLS step by step."""

from __future__ import annotations

import pytest

from ferryman.controlplane.trace_connect import Explicit, Wish, follow
from ferryman.plan import Address, Bump, Connect, Hop, Through, Via
from ferryman.rules.access import Access, TlsRule
from ferryman.rules.condition import Condition, Test
from ferryman.rules.expression import parse
from ferryman.rules.facts import Facts
from ferryman.rules.match import Matcher
from ferryman.rules.networks import Networks, network
from ferryman.wire.clienthello import ClientHello

HELLO = ClientHello(0x301, 0x303, "www.example.org", (), "none", False, 0, b"", b"", b"", b"", b"")
USERS = (("alice", "hash"),)
PROXY = Hop("http", Address("name", "proxy", 3128), "u", "hush")


def a_test(fact: str, method: str, *patterns: str) -> Condition:
    matcher = Matcher.build(method, patterns, type=parse(fact).type)
    return Test(parse(fact), matcher, f"{fact} {matcher.says()}")


ALICE = a_test("user", "is", "alice")
INSIDE = a_test("target_address", "cidr", "10.0.0.0/8")


def told(connect: Connect, wish: Wish | None = None, hello: ClientHello | None = HELLO) -> Explicit:
    facts = Facts("192.0.2.7", 40000, "198.51.100.1", 3128)
    return follow(connect, wish or Wish("www.example.org", 443), facts, hello)


def test_directly_and_untouched() -> None:
    found = told(Connect())
    assert (found.status, found.refused, found.action, str(found.ways)) == (200, "", "", "directly")
    assert found.guard == "depends on the addresses of www.example.org"


def test_who_it_is() -> None:
    connect = Connect(users=USERS, authenticate=True, access=(Access(ALICE, "f:1", True),))
    refused = told(connect)
    assert (refused.status, refused.refused) == (407, "the rule at f:1 needs credentials")
    assert told(connect, Wish("www.example.org", 443, "alice")).status == 200
    assert told(connect, Wish("www.example.org", 443, "Alice")).status == 407
    assert told(Connect(users=USERS, authenticate=True)).status == 407
    mixed = Connect(users=USERS, authenticate=True, ignore_case=True, access=(Access(ALICE, "f:1", True),))
    assert told(mixed, Wish("www.example.org", 443, "Alice")).status == 200


def test_what_no_rule_allows() -> None:
    found = told(Connect(access=()))
    assert (found.status, found.refused) == (403, "no access rule allows it")
    assert not found.tls


def test_protocols() -> None:
    only = Connect(protocols=("connect",))
    assert told(only).status == 200
    assert told(only, Wish("a.example", 80, method="GET")).status == 405
    assert told(only, Wish("a.example", 80, method="")).refused == "socks5 is not taken here; it takes connect"


def test_it_may_depend_on_addresses() -> None:
    found = told(Connect(access=(Access(INSIDE, "f:1", False), Access(None, "f:2", True))))
    assert found.depends == "on the addresses of www.example.org, which the rule at f:1 looks at"
    assert (found.status, [step.outcome for step in found.access]) == (200, ["did not hold", "held", "not reached"])
    assert found.guard == "depends on the addresses of www.example.org"
    assert told(Connect(access=(Access(INSIDE, "f:1", True),))).refused == "no access rule allows it"
    found = told(Connect(via=(Via(INSIDE, "f:1", Through(((PROXY,),))),)))
    assert found.depends == "on the addresses of www.example.org, which a rule of `via` looks at"
    assert str(found.ways) == "directly"
    given = Wish("www.example.org", 443, addresses=("10.0.0.1",))
    assert told(Connect(access=(Access(INSIDE, "f:1", False),)), given).refused == "refused by the rule at f:1"
    assert told(Connect(access=(Access(INSIDE, "f:1", True),)), Wish("10.0.0.9", 443)).status == 200


def test_ways_never_show_passwords() -> None:
    found = told(Connect(via=(Via(None, "f:1", Through(((PROXY,), ()))),)))
    assert str(found.ways) == "through http://proxy:3128, else directly"
    assert "hush" not in repr(found)


@pytest.mark.parametrize(
    ("wish", "status", "guard"),
    [
        (Wish("127.0.0.1", 22), 403, "127.0.0.1 is a loopback address"),
        (Wish("a.example", 22, addresses=("127.0.0.1",)), 403, "127.0.0.1 is a loopback address"),
        (Wish("a.example", 22, addresses=("127.0.0.1", "192.0.2.1")), 200, "127.0.0.1 is a loopback address"),
        (Wish("a.example", 22, addresses=("192.0.2.1",)), 200, ""),
        (Wish("169.254.1.1", 80), 200, ""),
        (Wish("let.example", 22, addresses=("127.0.0.1",)), 200, "let.example is let through by its name"),
    ],
)
def test_guard(wish: Wish, status: int, guard: str) -> None:
    names = Matcher.build("name", ["let.example"])
    found = told(Connect(egress_networks=Networks.of([network("169.254.0.0/16")]), egress_names=names), wish)
    assert (found.status, found.guard) == (status, guard)


def test_guard_of_what_another_proxy_resolves() -> None:
    connect = Connect(via=(Via(None, "f:1", Through(((PROXY,),))),))
    assert told(connect, Wish("localhost", 80)).refused == "localhost is a loopback name (egress guard)"
    assert told(connect).guard == ""
    assert told(Connect(egress_guard=False), Wish("127.0.0.1", 80)).status == 200


def rules(*lines: tuple[str, Condition | None]) -> tuple[TlsRule, ...]:
    return tuple(TlsRule(condition, f"f:{number}", action) for number, (action, condition) in enumerate(lines, 1))  # type: ignore[arg-type]


def step(*steps: int) -> Condition:
    return a_test("step", "integer", *map(str, steps))


def test_tls_step_by_step() -> None:
    connect = Connect(
        bump=Bump("ca", "ca"),
        tls=rules(("peek", step(1)), ("stare", step(2)), ("splice", a_test("server_name", "name", "*.bank.example"))),
    )
    found = told(connect)
    assert [[each.where for each in steps if each.outcome == "held"] for steps in found.tls] == [
        ["f:1"], ["f:2"], ["default"],
    ]  # fmt: skip
    assert found.action == "bump"
    assert told(connect, Wish("a.bank.example", 443)).action == "bump"


def test_tls_knows_the_certificate_at_step_3() -> None:
    bank = a_test("server_name", "name", "*.bank.example")
    connect = Connect(tls=rules(("terminate", bank), ("peek", None)))
    assert told(connect).action == "splice"
    found = told(connect, Wish("www.example.org", 443, certificate=("www.bank.example",)))
    assert (found.action, found.refused, len(found.tls)) == ("terminate", "terminate by the rule at f:1", 3)


def test_what_is_no_tls() -> None:
    connect = Connect(tls=rules(("peek", None)))
    assert told(connect, hello=None).action == "tunnel"
    refused = told(Connect(tls=rules(("peek", None)), on_unknown_protocol="respond"), hello=None)
    assert (refused.action, refused.refused) == ("respond", "it does not speak TLS")
    assert told(Connect(tls=rules(("splice", None)), on_unknown_protocol="terminate"), hello=None).refused == ""
    plain = told(connect, Wish("a.example", 80, method="GET"), None)
    assert (plain.tls, plain.action) == ([], "")


def test_terminate_at_once() -> None:
    found = told(Connect(tls=rules(("terminate", None))))
    assert (found.status, found.refused) == (403, "terminate by the rule at f:1")
