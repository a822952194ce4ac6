"""YAML with places."""

from __future__ import annotations

import pytest

from ferryman.config import yamltree as tree
from ferryman.config.place import Mistake, Word
from ferryman.config.source import Diagnostics, Source


def read(text: str) -> tuple[list[tree.Value], list[str]]:
    diagnostics = Diagnostics()
    found = tree.documents(Source("t.yaml", text), diagnostics)
    return found, [str(finding) for finding in diagnostics.found]


def test_scalars_are_text_and_know_their_place() -> None:
    (found,), said = read("a: 0x1\nb: [~, 'null', no]\n")
    assert said == []
    assert isinstance(found, tree.Mapping)
    word = found.values["a"]
    assert isinstance(word, Word)
    assert (word.text, word.mark.line, word.mark.column, word.mark.length) == ("0x1", 1, 4, 3)
    assert found.keys["b"].mark.line == 2
    listed = found.values["b"]
    assert isinstance(listed, tree.Sequence)
    assert [item.text for item in listed.items if isinstance(item, Word)] == ["", "null", "no"]


def test_several_documents() -> None:
    found, said = read("a: 1\n---\nb: 2\n")
    assert (len(found), said) == (2, [])


def test_aliases_stand_for_what_they_name() -> None:
    (found,), _ = read("a: &x [1, 2]\nb: *x\n")
    assert isinstance(found, tree.Mapping)
    assert [word.text for word in tree.several(found.values["b"], "b")] == ["1", "2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "error: this is not YAML: "),
        ("a: 1\na: 2\n", "t.yaml:2:1: error: `a` is already there, at t.yaml:1:1; keep one of them"),
        ("fqdn: *.a\n", "quote what begins with *: '*.a'"),
        ("a: \x01", "t.yaml:1:4: error: character U+0001 cannot be in YAML; remove it"),
        ("fqdn: *a\n", "t.yaml:1:7: error: *a stands for nothing; quote what begins with *"),
        ("[a]: 1\n", "t.yaml:1:1: error: a key is a word"),
        ("\ta: 1\n", "indent with blanks, not with tabs"),
        ("a: " + "[" * 99 + "]" * 99, "this is nested too deep"),
        ("a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
            f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 10)}]\n" for n in range(6)
        ), "these are too many values"),
    ],
)  # fmt: skip
def test_mistakes(text: str, message: str) -> None:
    _, said = read(text)
    assert len(said) == 1
    assert message in said[0]


def test_one_and_several_refuse_what_they_are_not() -> None:
    (found,), _ = read("a: [1]\nb:\nc: 1\n")
    assert isinstance(found, tree.Mapping)
    for key in ("a", "b"):
        with pytest.raises(Mistake):
            tree.one(found.values[key], key)
    assert [word.text for word in tree.several(found.values["c"], "c")] == ["1"]
