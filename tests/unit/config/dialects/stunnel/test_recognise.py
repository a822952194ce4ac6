"""A stunnel.conf is known by its words, and no other program's file is taken for one."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferryman.config import dialects
from ferryman.config.dialects import stunnel
from ferryman.config.load import load
from ferryman.config.source import Source

GOLDEN = Path(__file__).parents[4] / "golden"
DASHES = "-" * 40


def best(text: str) -> str:
    scores = {name: dialects.module(name).recognise(Source("x.conf", text)) for name in dialects.DIALECTS}
    name = max(scores, key=lambda each: scores[each])
    return name if scores[name] else ""


@pytest.mark.parametrize("file", sorted((GOLDEN / "stunnel").glob("*.txt")), ids=lambda file: file.stem)
def test_its_own(file: Path) -> None:
    assert best(file.read_text().partition(DASHES)[0]) == "stunnel"


@pytest.mark.parametrize(("folder", "name"), [("squid", "squid"), ("haproxy", "haproxy")])
def test_those_of_others(folder: str, name: str) -> None:
    for file in (GOLDEN / folder).glob("*.txt"):
        text = file.read_text().partition(DASHES)[0]
        assert stunnel.recognise(Source("x.conf", text)) == 0, file
        assert best(text) == name, file


@pytest.mark.parametrize("text", ["", "; nothing\n", "[a]\n", "key value\n", "listeners:\n  a: {bind: '*:1'}\n"])
def test_nothing(text: str) -> None:
    assert stunnel.recognise(Source("x.conf", text)) == 0


def test_it_is_found_without_being_told() -> None:
    text = "[s]\nclient = yes\naccept = 127.0.0.1:1\nconnect = host.example:2\n"
    assert load([Source("x", text)], environment={}).document.dialect == "stunnel"
