"""Numbers and times."""

from __future__ import annotations

import pytest

from ferryman.config.dialects.haproxy.quantities import integer, one_of, seconds
from ferryman.config.place import Mistake, Word
from ferryman.config.source import Mark

HERE = Mark("h.cfg", 1, 1)


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("1500", 1.5), ("10s", 10), ("3ms", 0.003), ("1m", 60), ("2h", 7200), ("1d", 86400), ("5000us", 0.005)],
)
def test_times(text: str, value: float) -> None:
    assert seconds(Word(text, HERE)).value == value


def test_a_time_may_have_another_unit() -> None:
    assert seconds(Word("10", HERE), "s").value == 10


@pytest.mark.parametrize("text", ["", "x", "5x", "1.5s", "-1", "99999999999", "25d", "1us", "5 s"])
def test_no_times(text: str) -> None:
    with pytest.raises(Mistake):
        seconds(Word(text, HERE))


@pytest.mark.parametrize("text", ["", "x", "5x", "1.5", "257", "-1"])
def test_no_numbers(text: str) -> None:
    with pytest.raises(Mistake):
        integer(Word(text, HERE), 0, 256)


def test_one_of_names_what_there_is() -> None:
    with pytest.raises(Mistake) as caught:
        one_of(Word("c", HERE), ("a", "b"))
    assert caught.value.hint == "there are a, b"
