"""YAML to data with places: types, keys, variables, aliases, several files, and what is no YAML."""

from __future__ import annotations

import re

import pytest

from ferryman.config.dialects import native
from ferryman.config.source import Diagnostics, Document, Mark, Source


def parse(*texts: str, **environment: str) -> tuple[Document, list[str]]:
    diagnostics = Diagnostics()
    sources = [Source(f"{number}.yaml", text) for number, text in enumerate(texts, start=1)]
    document = native.parse(sources, diagnostics, environment)
    return document, [str(finding) for finding in diagnostics.found]


def data(text: str, **environment: str) -> dict[str, object]:
    document, findings = parse(text, **environment)
    assert findings == []
    return document.data


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-5", -5),
        ("0", 0),
        ("0600", "0600"),
        ("0x10", "0x10"),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e5", "1e5"),
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("null", None),
        ("~", None),
        ("'5'", "5"),
        ('"a\\tb"', "a\tb"),
        ("!!str 5", "5"),
        ("2024-01-02", "2024-01-02"),
        ("1:30", "1:30"),
        ("9" * 30, "9" * 30),
        ("127.0.0.1:443", "127.0.0.1:443"),
        (":443", ":443"),
    ],
)
def test_scalars_have_the_types_of_yaml_1_2(text: str, value: object) -> None:
    assert data(f"top: {{k: {text}}}" if not text.startswith(":") else f"top:\n  k: {text}") == {"top": {"k": value}}


def test_every_value_and_key_has_its_place() -> None:
    document, _ = parse("a:\n  b: value\n  c:\n    - x\n    - {y: 'zz'}\n")
    assert document.mark(("a", "b")) == Mark("1.yaml", 2, 6, 5)
    assert document.key(("a", "b")) == Mark("1.yaml", 2, 3, 1)
    assert document.mark(("a", "c")) == Mark("1.yaml", 3, 3, 1), "a section is where its key is"
    assert document.mark(("a", "c", 0)) == Mark("1.yaml", 4, 7, 1)
    assert document.mark(("a", "c", 1, "y")) == Mark("1.yaml", 5, 11, 4)
    assert document.mark(("a", "c", 9, "zz")) == document.mark(("a", "c"))
    assert document.mark(()) == Mark("1.yaml", 1, 1)


def test_variables_are_expanded_in_values_only() -> None:
    text = 'top: {"${A}": "${A}-${B:-none}", n: "${N}", m: "x$${A}", e: "${E:-set}"}\nnum: ${N}\n'
    assert data(text, A="a", N="3", E="") == {
        "top": {"${A}": "a-none", "n": "3", "m": "x${A}", "e": "set"},
        "num": 3,
    }


def test_a_variable_that_is_not_set_is_an_error_at_its_place() -> None:
    _, findings = parse("a: x\nb: ${NOPE}\nc: ${1}\n")
    assert findings == [
        "1.yaml:2:4: error: the environment variable NOPE is not set; set it, or write ${NOPE:-default}",
        "1.yaml:3:4: error: a ${ that no variable's name and } follow; write $${ for a plain ${",
    ]


def test_a_key_may_not_repeat() -> None:
    document, findings = parse("a: {b: 1, c: 2, b: {x: [3]}, d: 4}\n")
    assert document.data == {"a": {"b": 1, "c": 2, "d": 4}}
    assert findings == ["1.yaml:1:17: error: the key 'b' is already there, at 1.yaml:1:5; keep one of them"]


def test_keys_are_text() -> None:
    assert data("a: {443: x, true: y}") == {"a": {"443": "x", "true": "y"}}
    _, findings = parse("? [a]\n: b\n'': c\n")
    assert [re.sub(r";.*", "", f) for f in findings] == [
        "1.yaml:1:3: error: a key is a word",
        "1.yaml:3:1: error: a key is a word",
    ]


def test_aliases_merge_keys_and_room_for_anchors() -> None:
    text = """
x-common: &common {weight: 3, check: {interval: 1}}
a: {<<: *common, weight: 5}
b: [*common, *common]
"""
    document, findings = parse(text)
    assert findings == []
    common = {"weight": 3, "check": {"interval": 1}}
    assert document.data == {"a": {"check": {"interval": 1}, "weight": 5}, "b": [common, common]}
    assert document.data["b"][0] is not document.data["b"][1]  # type: ignore[index]
    assert document.mark(("a", "weight")) == Mark("1.yaml", 3, 26, 1)
    assert document.mark(("a", "check", "interval")) == Mark("1.yaml", 2, 49, 1)
    _, findings = parse("a: {<<: 5}\nb: *b\nc: &c [*c]")
    assert [f.split("; ")[0] for f in findings] == [
        "1.yaml:1:9: error: << takes one mapping",
        "1.yaml:2:4: error: *b stands for nothing: no &b comes before it",
        "1.yaml:3:8: error: *c stands for nothing: no &c comes before it",
    ]


def test_a_billion_laughs_end_early() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    document, findings = parse("\n".join(lines))
    assert document.data == {}
    assert len(findings) == 1
    assert "far too many values" in findings[0]


def test_depth_is_bounded() -> None:
    document, findings = parse("a: " + "[" * 500 + "]" * 500)
    assert document.data == {}
    assert "levels deep" in findings[0]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: *:443", '1:5: error: this is not YAML.*; quote what begins with \\*: "\\*:443"'),
        ("a: [::1]:443", '1:5: error: this is not YAML.*; quote what begins with \\[: "\\[::1\\]:443"'),
        ("a: %[sni]", '1:4: .*; quote what begins with %: "%\\[sni\\]"'),
        ("a: [${X:-1}]", r"quote it within \[\] and \{\}: "),
        ("a:\n\tb: c", "2:1: .*; indent with blanks"),
        ("a: b: c", "1:5: error: this is not YAML: mapping values"),
        ("a: 'x", "this is not YAML"),
        ("a: 1\n---\nb: 1", "2:1: error: a second document"),
        ("- a", "1:1: error: a configuration is a mapping"),
        ("text", "1:1: error: a configuration is a mapping"),
        ("a: x\x00y", r"1:5: error: character U\+0000"),
        ("a: \ud800", r"1:4: error: character U\+D800"),
        ("a: !foo b", "1:4: error: the tag !foo means nothing here"),
    ],
)
def test_what_is_not_yaml(text: str, complaint: str) -> None:
    _, findings = parse(text)
    assert len(findings) == 1
    assert re.search(complaint, findings[0])


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "null"])
def test_nothing_is_an_empty_document(text: str) -> None:
    assert data(text) == {}


def test_files_are_united() -> None:
    document, findings = parse(
        "global: {workers: 2, log: [a]}\nlisteners: {a: {bind: x}}\n",
        "global: {user: u, log: [b, c], workers: 2}\nlisteners: {b: {bind: y}}\nbackends: {c: {}}\n",
    )
    assert findings == []
    assert document.data == {
        "global": {"workers": 2, "log": ["a", "b", "c"], "user": "u"},
        "listeners": {"a": {"bind": "x"}, "b": {"bind": "y"}},
        "backends": {"c": {}},
    }
    assert document.mark(("global", "log", 2)) == Mark("2.yaml", 1, 28, 1)
    assert document.mark(("global", "log", 0)) == Mark("1.yaml", 1, 28, 1)
    assert document.mark(("listeners", "b", "bind")) == Mark("2.yaml", 2, 23, 1)


def test_what_two_files_define_is_refused_with_both_places() -> None:
    document, findings = parse(
        "global: {workers: 2}\nlisteners: {a: {bind: x}}\nbackends: 5\n",
        "global: {workers: 3}\nlisteners: {a: {bind: y}}\nbackends: {b: {}}\n",
    )
    assert document.data["listeners"] == {"a": {"bind": "x"}}
    assert [f.split("; ")[0] for f in findings] == [
        "2.yaml:3:1: error: backends is already defined, at 1.yaml:3:1",
        "2.yaml:1:10: error: global.workers is already defined, at 1.yaml:1:10",
        "2.yaml:2:13: error: listeners.a is already defined, at 1.yaml:2:13",
    ]


@pytest.mark.parametrize(
    ("text", "sure"),
    [
        ("listeners:\n  web: {}\n", True),
        ('{"listeners": {}}', True),
        ("global:\n  user: x\n", True),
        ("global\n    daemon\n", False),
        ("frontend x\n    bind *:80\n", False),
    ],
)
def test_recognises_its_own(text: str, sure: bool) -> None:
    assert (native.recognise(Source("f", text)) > 50) is sure


def test_a_password_is_text_whatever_it_looks_like() -> None:
    assert data("pages: {users: {admin: 12345, ops: null}}") == {"pages": {"users": {"admin": "12345", "ops": "null"}}}
