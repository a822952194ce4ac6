"""Times of the week."""

from __future__ import annotations

import pytest

from ferryman.rules.match import Matcher, PatternError


@pytest.mark.parametrize(
    ("pattern", "within", "without"),
    [
        ("Mon-Fri 08:00-18:00", ["Mon 08:00", "Fri 17:59"], ["Mon 07:59", "Fri 18:00", "Sat 12:00"]),
        ("Sat,Sun", ["Sat 00:00", "Sun 23:59"], ["Mon 00:00", "Fri 23:59"]),
        ("22:00-06:00", ["Sun 23:00", "Mon 05:59"], ["Mon 06:00", "Mon 21:59"]),
        ("Sun 22:00-06:00", ["Sun 22:00", "Mon 05:59"], ["Sun 05:00", "Mon 22:00"]),
        ("Fri-Mon", ["Fri 00:00", "Sat 12:00", "Mon 23:59"], ["Tue 00:00", "Thu 23:59"]),
        ("mon,WED 00:00-24:00", ["Mon 23:59", "Wed 00:00"], ["Tue 12:00"]),
    ],
)
def test_within(pattern: str, within: list[str], without: list[str]) -> None:
    matcher = Matcher.build("schedule", [pattern])
    assert [now for now in within if not matcher.matches(now)] == []
    assert [now for now in without if matcher.matches(now)] == []


@pytest.mark.parametrize("pattern", ["", " ", "8:00-18:00", "Mon 25:00-26:00", "Mon 24:00-08:00", "Mon 08:61-09:00",
                                     "Mon 08:00-08:00", "Mo 08:00-09:00", "Mon-", "Mon 08:00", "x"])  # fmt: skip
def test_what_is_no_time(pattern: str) -> None:
    with pytest.raises(PatternError):
        Matcher.build("schedule", ["Mon", pattern])


def test_several_patterns() -> None:
    matcher = Matcher.build("schedule", ["Mon 08:00-09:00", "Tue"])
    assert matcher.matches("Tue 10:00")
    assert not matcher.matches("Mon 10:00")
    assert not matcher.matches("nonsense")
    assert matcher.says() == "is within Mon 08:00-09:00 or Tue"
