"""Rules of ip_allow.yaml."""

from __future__ import annotations

import pytest

from ferryman.config.dialects.ats import ipallow
from ferryman.config.dialects.ats.ipallow import Rules
from ferryman.config.place import split
from ferryman.config.source import Diagnostics, Source

STOCK = """
ip_allow:
  - {apply: in, ip_addrs: 127.0.0.1, action: allow, methods: ALL}
  - {apply: in, ip_addrs: "::1", action: allow}
  - {apply: in, ip_addrs: 0/0, action: deny, methods: [PURGE, PUSH]}
  - {apply: in, ip_addrs: "::/0", action: set_deny, methods: PURGE}
"""


def read(text: str) -> tuple[Rules, list[str]]:
    diagnostics, rules = Diagnostics(), Rules()
    ipallow.read(Source("a", text), rules, diagnostics)
    return rules, [str(finding) for finding in diagnostics.found]


def connection(text: str) -> object:
    rules, said = read(text)
    assert said == []
    return split(rules.connection("client_address"), {})


def test_methods_are_not_looked_at() -> None:
    assert connection(STOCK) == []


def test_whoever_no_rule_knows_is_refused() -> None:
    assert connection("ip_allow: {apply: in, ip_addrs: [10.0.0.0/8, 192.0.2.1], action: allow}") == [
        {"action": "accept", "when": {"client_address": {"cidr": ["10.0.0.0/8", "192.0.2.1/32"]}}},
        {"action": "reject"},
    ]


def test_the_first_rule_counts() -> None:
    text = "ip_allow: [{apply: in, ip_addrs: 10.0.0.1, action: deny}," + STOCK.partition("allow:")[2].replace(
        "  - {", "{"
    ).replace("}\n", "},\n")
    found = connection(f"{text}]")
    assert isinstance(found, list)
    assert found[0] == {"action": "reject", "when": {"client_address": {"cidr": ["10.0.0.1/32"]}}}
    assert len(found) == 5
    assert all(rule["action"] == "accept" for rule in found[1:])


def test_no_file_is_no_rule() -> None:
    assert Rules().connection("client_address") == []


def test_destinations() -> None:
    rules, said = read("""
ip_allow:
  - {apply: out, ip_addrs: 10.0.0.1, action: allow, methods: CONNECT}
  - {apply: out, ip_addrs: 10.0.0.0/8, action: deny, methods: CONNECT}
  - {apply: out, ip_addrs: 192.0.2.0/24, action: allow, methods: GET}
  - {apply: out, ip_addrs: 198.51.100.0/24, action: deny, methods: GET}
""")
    assert said == []
    refused = [rules.refusal(text) is not None for text in ("10.0.0.1", "10.0.0.2", "192.0.2.1", "198.51.100.1", "::1")]
    assert refused == [False, True, True, False, False]
    assert [at.value for at in rules.allowed()] == ["10.0.0.1/32", "198.51.100.0/24"]
    assert rules.denies is not None


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("- a", "an ip_allow.yaml is a mapping"),
        ("ip_alow: []", "unknown key 'ip_alow'; did you mean 'ip_allow'?"),
        ("ip_categories: []", "'ip_categories' is Traffic Server's, not supported by ferryman yet"),
        ("ip_allow: [a]", "a rule is a mapping"),
        ("ip_allow: [{apply: in, ip_addrs: 1.1.1.1}]", "the rule has no `action`"),
        ("ip_allow: [{apply: on, ip_addrs: 1.1.1.1, action: allow}]", "'on' is neither in nor out"),
        ("ip_allow: [{apply: in, ip_addrs: 1.1.1.1, action: alow}]", "unknown action 'alow'; did you mean 'allow'?"),
        ("ip_allow: [{apply: in, action: allow}]", "whom is this rule about?"),
        ("ip_allow: [{apply: in, ip_addrs: x, action: allow}]", "'x' is no address"),
        ("ip_allow: [{apply: in, ip_addr: x, action: allow}]", "unknown key 'ip_addr'; did you mean 'ip_addrs'?"),
        ("ip_allow: [{apply: in, ip_categories: X, action: allow}]", "not supported by ferryman yet"),
    ],
)
def test_mistakes(text: str, finding: str) -> None:
    said = read(text)[1]
    assert len(said) == 1
    assert finding in said[0]
