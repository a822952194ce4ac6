# ruff: noqa: E501 - a table reads best across
"""YAML and JSON as Kubernetes takes them, with places."""

from __future__ import annotations

import json
import random
import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferryman.config.source import Diagnostics, Path, Source
from ferryman.kubernetes.documents import Found, Json, documents, resolve


def read(text: str) -> tuple[list[Found], list[str]]:
    diagnostics = Diagnostics()
    found = list(documents(Source("x", text), diagnostics))
    return found, [str(each) for each in diagnostics.found]


def data(text: str) -> list[Json]:
    found, said = read(text)
    assert said == []
    return [each.data for each in found]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("80", 80), ('"80"', "80"), ("-1", -1), ("0x1F", 31), ("010", 8), ("089", 89.0), ("1.5", 1.5), ("1e3", 1000.0),
        ("no", False), ("On", True), ("'no'", "no"), ("~", None), ("", None), ("null", None), ("true", True),
        ("10.0.0.0/8", "10.0.0.0/8"), ("1.2.3.4", "1.2.3.4"), ("2001:db8::/32", "2001:db8::/32"), ("<x>", "<x>"),
        ("-", [None]), (".", "."), ("-x", "-x"), ("!!str 80", "80"), ("{a: [1, b]}", {"a": [1, "b"]}), ("y", "y"),
        (".5", 0.5), ("+.inf", float("inf")), ("1_000", "1_000"), ("2026-01-01", "2026-01-01"),
    ],
)  # fmt: skip
def test_values_have_types(text: str, value: Json) -> None:
    (found,) = data(f"k: {text}\n" if text != "-" else "k:\n-\n")
    assert found == {"k": value}


def test_documents_lists_and_folded_text() -> None:
    assert data("# nothing\n---\n---\na: 1\n...\n---\n- b\n--- >\n folded\n text\n") == [
        None,
        {"a": 1},
        ["b"],
        "folded text\n",
    ]
    assert data("") == []
    assert data('{"a": 1}\n{"b": [true, null, 1.5, "\\u00e9"]}\n[]') == [{"a": 1}, {"b": [True, None, 1.5, "é"]}, []]
    assert data("{a: 1}") == [{"a": 1}]


def test_anchors_and_merging() -> None:
    assert data("x: &a {b: 1, c: 2}\ny: *a\nz: {<<: *a, c: 3}\n") == [
        {"x": {"b": 1, "c": 2}, "y": {"b": 1, "c": 2}, "z": {"b": 1, "c": 3}}
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: b: c\n", "x:1:5: error: this is not YAML: mapping values are not allowed in this context"),
        ("a:\n\tb: 1\n", "x:2:1: error: this is not YAML: found character that cannot start any token; indent with blanks, not with tabs"),
        ("a: {{ .Values.x }}\n", "render it first"),
        ("a: 1\nb: 2\na: 3\n", "x:3:1: error: `a` is already there, further up; keep one of them"),
        ('{"a": 1, "a": 2}', "`a` is already there"),
        ("a: *b\n", "*b stands for nothing"),
        ("[1, 2]: 3\n", "a key is a word"),
        ("a: !!binary x\n", "the tag tag:yaml.org,2002:binary means nothing here"),
        ("a: \x01\n", "x:1:4: error: character U+0001 cannot be in YAML; remove it"),
        ("a: \ud800\n", "character U+D800 cannot be in YAML"),
        ("<<: 1\n", "<< takes one mapping"),
        ("a: " + "[" * 70 + "]" * 70, "nested more than 60 levels deep"),
        ('{"a": NaN', "this is not YAML"),
        ("a: [1\nb: 2\n", "this is not YAML"),
        ("a: &a [x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\n" + "".join(
            f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("bcdefg", "cdefgh", strict=True)
        ), "far too many values"),
    ],
)  # fmt: skip
def test_what_is_wrong_has_a_place(text: str, said: str) -> None:
    _, errors = read(text)
    assert len(errors) == 1
    assert said in errors[0]
    assert errors[0].startswith("x:")


def test_what_comes_before_a_mistake_is_kept() -> None:
    found, said = read("a: 1\n---\nb: 2\n---\n: : :\n\t-")
    assert [each.data for each in found][:2] == [{"a": 1}, {"b": 2}]
    assert len(said) == 1


TEXT = """\
# a comment
a: &x
  b: [10, {c: deep}]
  'quoted key': word
---
é: {ü: value}
l:
- n: *y
"""


def test_places() -> None:
    (first, second), _ = read(TEXT.replace("*y", "1"))

    def at(found: Found, *path: str | int) -> tuple[int, int, int]:
        mark = found.places.value(path)
        return mark.line, mark.column, mark.length

    assert at(first) == (2, 1, 1)
    assert at(first, "a", "b", 0) == (3, 7, 2)
    assert at(first, "a", "b", 1, "c") == (3, 15, 4)
    assert at(first, "a", "b", 9, "c") == (3, 6, 1)  # the nearest thing around it
    assert first.places.key(("a", "quoted key")).column == 3
    assert at(second, "é", "ü") == (6, 8, 5)
    assert at(second, "l", 0, "n") == (8, 6, 1)
    assert second.places.key(("l",)).line == 7


def test_places_in_json() -> None:
    text = '{"a": 1}\n{\n  "items": [ {"x": "y"}, {"k" : [1,  "two"]} ]\n}'
    (_, second), _ = read(text)
    mark = second.places.value(("items", 1, "k", 1))
    assert (mark.line, mark.column, mark.length) == (3, text.split("\n")[2].index('"two"') + 1, 5)
    assert second.places.key(("items", 1, "k")).column == text.split("\n")[2].index('"k"') + 1
    assert second.places.value(("items", 7)).column == 12


def leaves(value: Json, path: Path = ()) -> list[tuple[Path, Json]]:
    if isinstance(value, dict):
        return [leaf for key, each in value.items() for leaf in leaves(each, (*path, key))]
    if isinstance(value, list):
        return [leaf for index, each in enumerate(value) for leaf in leaves(each, (*path, index))]
    return [(path, value)]


WORDS = st.text(string.ascii_letters + "é ", min_size=1, max_size=6)
TREES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.integers(-999, 999), WORDS, st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=12,
)


@settings(max_examples=60)
@given(
    st.lists(st.dictionaries(WORDS, TREES, min_size=1, max_size=3), min_size=1, max_size=3), st.sampled_from([None, 2])
)
def test_each_value_stands_where_it_is_said_to(trees: list[dict[str, Json]], indent: int | None) -> None:
    """JSON, read as JSON and, after a line that JSON does not have, as YAML."""
    for head in ("", "# yaml\n---\n"):
        text = head + ("\n" if not head else "\n---\n").join(json.dumps(each, indent=indent) for each in trees)
        found, said = read(text)
        assert said == []
        assert [each.data for each in found] == trees
        lines = text.split("\n")
        for each in found:
            for path, value in leaves(each.data):
                if path and not isinstance(value, list | dict):
                    mark = each.places.value(path)
                    assert json.loads(lines[mark.line - 1][mark.column - 1 :][: mark.length]) == value


def test_resolving_is_total() -> None:
    rng = random.Random(1)
    for _ in range(2000):
        word = "".join(rng.choices("0123456789+-.eExXoOabnif_", k=rng.randrange(6)))
        assert isinstance(resolve(word), str | int | float | bool | None)
