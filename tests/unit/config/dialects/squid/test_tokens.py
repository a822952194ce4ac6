"""Lines into words."""

from __future__ import annotations

import pytest

from ferryman.config.dialects.squid.tokens import lines, words
from ferryman.config.place import Mistake
from ferryman.config.source import Source


def found(text: str) -> list[list[str]]:
    return [[word.text for word in words(pieces)] for pieces in lines(Source("s.conf", text))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("# a\n\n  # b\n", []),
        ("a b\tc\r\n  d # e f\n", [["a", "b", "c"], ["d"]]),
        ("a #b\nb#c\n", [["a"], ["b#c"]]),
        ('a "b c"\n', [["a", '"b', 'c"']]),
        ("a b \\\n  c\nd", [["a", "b", "c"], ["d"]]),
        ("a b\\\n  c\n", [["a", "bc"]]),
        ("a \\\n# not this\n\n b\n", [["a", "b"]]),
        ("a # b \\\nc\nd\n", [["a"], ["d"]]),
        ("a \\", [["a"]]),
        ("a ${service_name}.pid ${other}\n", [["a", "squid.pid", "${other}"]]),
    ],
)
def test_words(text: str, expected: list[list[str]]) -> None:
    assert found(text) == expected


def test_places() -> None:
    (pieces,) = lines(Source("s.conf", "\n  a bc \\\n   d\n"))
    assert [str(word.mark) for word in words(pieces)] == ["s.conf:2:3", "s.conf:2:5", "s.conf:3:4"]
    assert [word.mark.length for word in words(pieces)] == [1, 2, 1]


def test_what_differs_from_worker_to_worker_is_refused() -> None:
    (pieces,) = lines(Source("s.conf", "a ${process_number}\n"))
    with pytest.raises(Mistake, match="not supported") as mistake:
        words(pieces)
    assert str(mistake.value.mark) == "s.conf:1:3"
