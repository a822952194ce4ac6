"""Native conditions: what they mean, which mistakes are named where, and which patterns earn a warning."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from ferryman.config.conditions import build, loose_regex
from ferryman.config.source import Path
from ferryman.rules.condition import All, Any, Condition, Named, Not, Test, describe, evaluate
from ferryman.rules.facts import UNKNOWN, Facts
from ferryman.wire.clienthello import ClientHello

AT: Path = ("listeners", "web", "routes", 0, "when")


@dataclass
class Findings:
    """What was reported and warned of, with places relative to the condition."""

    errors: list[tuple[Path, str, str]] = field(default_factory=list)
    warnings: list[tuple[Path, str, str]] = field(default_factory=list)

    def report(self, path: Path, message: str, hint: str) -> None:
        self.errors.append((path[len(AT) :], message, hint))

    def warn(self, path: Path, message: str, hint: str) -> None:
        self.warnings.append((path[len(AT) :], message, hint))


def built(data: object, **tests: Condition) -> Condition:
    findings = Findings()
    condition = build(data, AT, tests, findings.report, findings.warn)
    assert (findings.errors, findings.warnings) == ([], [])
    assert condition is not None
    return condition


def mistakes(data: object, **tests: Condition) -> list[tuple[Path, str, str]]:
    findings = Findings()
    assert build(data, AT, tests, findings.report, findings.warn) is None
    return findings.errors


def warnings(data: object) -> list[tuple[Path, str, str]]:
    findings = Findings()
    assert build(data, AT, {}, findings.report, findings.warn) is not None
    return findings.warnings


def facts(name: str | None = "www.example.org", alpn: tuple[str, ...] = ("h2",)) -> Facts:
    hello = ClientHello(0x301, 0x303, name, alpn, "none", False, 0, b"", b"\x03\x04\x03\x03", b"", b"", b"")
    return Facts("192.0.2.7", 40000, "198.51.100.1", 443, hello=hello, data=b"\x16\x03", usable_servers={"pool": 1})


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"sni": "*.example.org"}, "sni is *.example.org"),
        ({"sni": ["a.org", "www.example.org"]}, "sni is a.org or www.example.org"),
        ({"client_address": ["10.0.0.0/8", "192.0.2.0/24"]}, "client_address is in 10.0.0.0/8 or 192.0.2.0/24"),
        ({"local_port": 443}, "local_port is 443"),
        ({"local_port": [80, "400-500"]}, "local_port is 80 or 400-500"),
        ({"always_true": True}, "always_true is true"),
        ({"proto_http": False}, "proto_http is not true"),
        ({"alpn": "h2"}, 'alpn is "h2"'),
        ({"alpn": {"is": "H2", "ignore_case": True}}, 'alpn is "H2"'),
        ({"tls_versions": 3.4}, "tls_versions is 3.4"),
        ({"tls_version": "ge 3.1"}, "tls_version is ge 3.1"),
        ({"sni|lower": {"suffix": [".org", ".net"]}}, 'sni|lower ends with ".org" or ".net"'),
        ({"sni|upper": "www.example.org"}, "sni|upper is www.example.org"),
        ({"sni|field(1,.)": "www"}, 'sni|field(1,.) is "www"'),
        ({"sni": {"found": True}}, "sni is known"),
        ({"payload(0,2)": "1603"}, "payload(0,2) is 1603"),
        ({"usable_servers(pool)": "lt 2"}, "usable_servers(pool) is lt 2"),
        ({"sni": "www.example.org", "local_port": 443}, "sni is www.example.org and local_port is 443"),
        ([{"sni": "x"}, {"local_port": 443}], "sni is x or local_port is 443"),
        ({"not": {"sni": "x"}}, "not sni is x"),
        ({"all": [{"local_port": 443}], "any": [{"local_port": 443}]}, "local_port is 443 and local_port is 443"),
    ],
)
def test_meaning(data: object, text: str) -> None:
    condition = built(data)
    assert describe(condition) == text
    unknown_hello = Facts("192.0.2.7", 40000, "198.51.100.1", 443, usable_servers={"pool": 1})
    assert evaluate(condition, facts()) is True
    assert evaluate(condition, unknown_hello) in (True, UNKNOWN)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"target_host": "*.example.org"}, "target_host is *.example.org"),
        ({"server_name": "WWW.example.org"}, "server_name is WWW.example.org"),
        ({"target_port": [443, "8000-8999"]}, "target_port is 443 or 8000-8999"),
        ({"target_address": "10.0.0.0/8"}, "target_address is in 10.0.0.0/8"),
        ({"user": ["bob", "alice"]}, 'user is "bob" or "alice"'),
        ({"method": "CONNECT", "protocol": "connect"}, 'method is "CONNECT" and protocol is "connect"'),
        ({"time": ["Sun", "Mon-Sat 00:00-24:00"]}, "time is within Sun or Mon-Sat 00:00-24:00"),
        ({"step": [1, 2]}, "step is 1 or 2"),
    ],
)
def test_facts_of_an_explicit_proxy(data: object, text: str) -> None:
    condition = built(data)
    assert describe(condition) == text
    asked = Facts(
        "192.0.2.7", 40000, "198.51.100.1", 3128, user="alice", method="CONNECT", protocol="connect", step=2,
        target_host="www.example.org", target_port=8080, target_addresses=("192.0.2.1", "10.0.0.1"),
    )  # fmt: skip
    assert evaluate(condition, asked) is True


def test_a_name_refers_to_a_test() -> None:
    internal = built({"client_address": "10.0.0.0/8"})
    condition = built(["internal", {"not": "internal"}], internal=internal)
    assert condition == Any((Named("internal", internal), Not(Named("internal", internal))))


def test_all_and_any_nest() -> None:
    condition = built({"all": [{"any": [{"sni": "a"}, {"sni": "b"}]}, {"not": [{"sni": "c"}, {"sni": "d"}]}]})
    assert isinstance(condition, All)
    assert describe(condition) == "(sni is a or sni is b) and not (sni is c or sni is d)"


@pytest.mark.parametrize(
    ("data", "path", "message", "hint"),
    [
        (None, (), "this is no condition", "a condition is a mapping, a list, or the name of a test"),
        ({}, (), "this is no condition", "a condition is a mapping, a list, or the name of a test"),
        ([], (), "an empty list of conditions", ""),
        ("intrenal", (), 'there is no test "intrenal"', 'did you mean "internal"?'),
        ("sni", (), 'there is no test "sni"', "a test of that fact is written {sni: …}"),
        ({"snj": "x"}, ("snj",), 'there is no fact "snj"', 'did you mean "sni"?'),
        ({"sni|lowr": "x"}, ("sni|lowr",), 'in "sni|lowr": there is no converter "lowr" (character 5)',
         'did you mean "lower"?'),
        ({443: "x"}, ("443",), "443 is no fact", ""),
        ({"all": {"sni": "x"}}, ("all",), '"all" takes a list of conditions', ""),
        ({"not": {"snj": "x"}}, ("not", "snj"), 'there is no fact "snj"', 'did you mean "sni"?'),
        ([{"local_port": 1}, {"local_port": "x"}], (1, "local_port"), '"x": "x" is no number', ""),
        ({"sni": {"sufix": ".x"}}, ("sni", "sufix"), 'there is no method "sufix"', 'did you mean "suffix"?'),
        ({"sni": {"is": "x", "ignore_case": 1}}, ("sni", "ignore_case"), "ignore_case is true or false", ""),
        ({"sni": {"regex": ["a", "("]}}, ("sni", "regex", 1),
         '"(": this is no regular expression: missing ), unterminated subpattern at position 0', ""),
        ({"client_address": ["10.0.0.0/8", "10.0.0.0/40"]}, ("client_address", 1),
         '"10.0.0.0/40": "40" is no prefix length for IPv4 (0 to 32)', ""),
        ({"local_port": {"cidr": "10.0.0.0/8"}}, ("local_port", "cidr"),
         "local_port: cidr never holds for a value of type integer", ""),
        ({"sni": []}, ("sni",), "an empty list of patterns never holds", ""),
        ({"sni": None}, ("sni",), "a pattern is text or a number", "put it in quotes"),
        ({"sni": ["a", 1.5]}, ("sni", 1), "a pattern is text or a number", "put it in quotes"),
        ({"sni": True}, ("sni",), "a pattern is text or a number", "put it in quotes"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_where_it_is(data: object, path: Path, message: str, hint: str) -> None:
    assert mistakes(data, internal=All(())) == [(path, message, hint)]


@pytest.mark.parametrize("data", [{"sni": {}}, {"sni": {"is": "a", "prefix": "b"}}, {"sni": {"ignore_case": True}}])
def test_exactly_one_method_is_needed(data: object) -> None:
    (((place, message, hint)),) = mistakes(data)
    assert place == ("sni",)
    assert message.startswith("one method is needed, not ")
    assert "regex" in hint


def test_every_mistake_is_named_at_once() -> None:
    data = [{"snj": "x", "sni": "*x", "local_port": [1, "y", 2]}, "nothing", {"not": []}]
    assert [path for path, _, _ in mistakes(data)] == [(0, "snj"), (0, "sni"), (0, "local_port", 1), (1,), (2, "not")]


def test_a_condition_that_contains_itself_is_refused() -> None:
    data: list[object] = [{"sni": "a"}]
    data.append({"not": data})
    assert [message for _, message, _ in mistakes(data)] == ["conditions nested deeper than 32"]
    deep: object = {"sni": "a"}
    for _ in range(40):
        deep = {"not": deep}
    assert [message for _, message, _ in mistakes(deep)] == ["conditions nested deeper than 32"]


@pytest.mark.parametrize(
    ("pattern", "hole", "tight"),
    [
        ("ocp-disconnected.fede.ipv6.lab", "; a bare dot", r"^ocp-disconnected\.fede\.ipv6\.lab$"),
        (r"example\.org", "it is not anchored, so", r"^example\.org$"),
        (r"^example\.org", "not anchored at its end", r"^example\.org$"),
        (r"\.example\.org$", "not anchored at its beginning", r"^\.example\.org$"),
        (r"^a.b\.org$", ": a bare dot stands for", r"^a\.b\.org$"),
        (r"a\.org|b\.org", "it is not anchored, so", r"^(?:a\.org|b\.org)$"),
        (r"^a\.org$|b\.org", "not anchored, so", r"^(?:^a\.org$|b\.org)$"),
        ("(?i)a.org", "; a bare dot", r"(?i)^a\.org$"),
    ],
)
def test_a_loose_regex_earns_a_warning(pattern: str, hole: str, tight: str) -> None:
    (((path, message, hint)),) = warnings({"sni": {"regex": ["^ok$", pattern]}})
    assert path == ("sni", "regex", 1)
    assert hole in message
    assert hint == f"write {tight}"
    assert loose_regex(tight) is None


@pytest.mark.parametrize(
    "pattern",
    [
        r"^a\.org$",
        r"^(a|b)\.org$",
        r".*\.example\.org$",
        r"^[a-z.]+\.org$",
        r"\Aa\Z",
        r"^.+\.org$",
        r"(?i)^a$",
        r"^a$|^b$",
    ],
)
def test_a_tight_regex_does_not(pattern: str) -> None:
    assert warnings({"sni": {"regex": pattern}}) == []


@pytest.mark.parametrize(
    ("data", "path", "hint"),
    [
        ({"sni": {"suffix": "example.org"}}, ("sni", "suffix"), '"*.example.org" as a name, or ".example.org"'),
        ({"target_host": {"suffix": "x.org"}}, ("target_host", "suffix"), '"*.x.org" as a name, or ".x.org"'),
        ({"server_name": {"regex": "^a.org$"}}, ("server_name", "regex"), r"write ^a\.org$"),
        ({"client_address": ["10/8"]}, ("client_address", 0), "write 10.0.0.0/8 if that is meant"),
    ],
)
def test_patterns_that_mislead_earn_a_warning(data: object, path: Path, hint: str) -> None:
    assert [(place, text) for place, _, text in warnings(data)] == [(path, hint)]


@pytest.mark.parametrize(
    "data",
    [
        {"sni": {"suffix": ".example.org"}},
        {"alpn": {"suffix": "x"}},
        {"alpn": {"regex": "a.b"}},
        {"text(a)": {"regex": "."}},
    ],
)
def test_other_facts_earn_none(data: object) -> None:
    assert warnings(data) == []


def test_a_test_says_what_it_is() -> None:
    condition = built({"sni": {"regex": "^a$"}})
    assert isinstance(condition, Test)
    assert condition.text == "sni matches regex /^a$/"
