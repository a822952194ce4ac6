"""Numbers, times, sizes and switches."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ferryman.config.arguments import Arguments
from ferryman.config.dialects.squid.quantities import integer, joined_size, seconds, size, switch
from ferryman.config.place import At, Mistake, Word
from ferryman.config.source import Mark


def arguments(text: str) -> Arguments:
    return Arguments([Word(word, Mark("s.conf", 1, 1)) for word in f"x {text}".split()])


@pytest.mark.parametrize(
    ("reader", "text", "expected"),
    [
        (seconds, "10 seconds", 10.0),
        (seconds, "1 minute", 60.0),
        (seconds, "0.5 hours", 1800.0),
        (seconds, "2 DAYS", 172800.0),
        (seconds, "1 week", 604800.0),
        (size, "64 KB", 65536),
        (size, "4 MB", 4 << 20),
        (size, "100", 100),
        (switch, "on", True),
        (switch, "off", False),
    ],
)
def test_values(reader: Callable[[Arguments], At], text: str, expected: object) -> None:
    assert reader(arguments(text)).value == expected


@pytest.mark.parametrize(
    ("reader", "text"),
    [
        (seconds, ""),
        (seconds, "10"),
        (seconds, "10s"),
        (seconds, "-1 seconds"),
        (seconds, "1 dy"),
        (seconds, "1 milliseconds"),
        (size, "1 TB"),
        (size, "x KB"),
        (switch, "yes"),
        (switch, ""),
    ],
)
def test_mistakes(reader: Callable[[Arguments], At], text: str) -> None:
    with pytest.raises(Mistake):
        reader(arguments(text))


def test_sizes_in_one_word() -> None:
    word = Word("x=4MB", Mark("s.conf", 1, 1))
    assert [joined_size(word, text).value for text in ("4MB", "0", "10kb", "7bytes")] == [4 << 20, 0, 10240, 7]
    for text in ("", "MB", "4 MB", "4XB", "1.2.3MB"):
        with pytest.raises(Mistake):
            joined_size(word, text)


def test_numbers_have_bounds() -> None:
    word = Word("7", Mark("s.conf", 1, 1))
    assert integer(word, 1, 7).value == 7
    for text in ("8", "x", "", "-1"):
        with pytest.raises(Mistake):
            integer(word, 1, 7, text)
