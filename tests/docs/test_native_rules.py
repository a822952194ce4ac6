"""docs/reference/native-rules.md: its table of methods is complete, and each example does what it says."""

from __future__ import annotations

import re

import pytest

from ferryman.config.conditions import default_method
from ferryman.rules.expression import parse
from ferryman.rules.facts import Value
from ferryman.rules.match import METHODS, Matcher
from tests.docs.blocks import ROOT

PAGE = (ROOT / "docs" / "reference" / "native-rules.md").read_text()
ROW = re.compile(r"^\| `(\w+)` \| .*? \| `([^`]+)` for (.*?) \| `([^`]+)` for (.*?) \|$", re.M)
ROWS = ROW.findall(PAGE.partition("## Methods")[2].partition("###")[0])


def value(text: str) -> Value:
    if text == "any value":
        return "x"
    found = re.search(r"`([^`]+)`", text)
    assert found is not None
    return bytes.fromhex(found[1]) if text.startswith("the bytes") else found[1]


@pytest.mark.parametrize(("method", "holds", "of", "fails", "not_of"), ROWS, ids=[row[0] for row in ROWS])
def test_examples(method: str, holds: str, of: str, fails: str, not_of: str) -> None:
    assert Matcher.build(method, [holds]).matches(value(of))
    assert not Matcher.build(method, [fails]).matches(value(not_of))


def test_every_method_has_a_row() -> None:
    assert [row[0] for row in ROWS] == list(METHODS)


@pytest.mark.parametrize(
    ("fact", "method"),
    [
        ("sni", "name"),
        ("sni|lower", "name"),
        ("tls_version", "version"),
        ("tls_versions", "version"),
        ("alpn", "is"),
        ("client_address", "cidr"),
        ("client_port", "integer"),
        ("proto_http", "boolean"),
        ("ciphers", "binary"),
    ],
)
def test_without_a_method(fact: str, method: str) -> None:
    assert default_method(parse(fact)) == method
