"""Times of the week: what "Mon-Fri 08:00-18:00" stands for, and whether a moment such as "Mon 14:05" is in it.

Used by rules.match for the method `schedule`. Pure; knows neither clock nor time zone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ferryman.rules.fetches import DAYS

_PATTERN: Final = re.compile(r"(?P<days>[A-Za-z,-]+)?\s*(?:(?P<from>\d\d:\d\d)-(?P<to>\d\d:\d\d))?\Z")
_FORM: Final = 'a time is written "Mon-Fri 08:00-18:00", "Sat,Sun" or "22:00-06:00"'

Span = tuple[str, str]
"""Two moments "0 08:00" and "0 18:00" (0 is Monday): the first one belongs to it, the second does not."""


def moment(text: str) -> str:
    """ "Mon 14:05" as spans have it. "" when it is none."""
    day, _, clock = text.partition(" ")
    return f"{DAYS.index(day)} {clock}" if day in DAYS else ""


def spans(pattern: str) -> list[Span]:
    """The spans of a pattern. A time that ends before it begins goes on into the next day. Raises ValueError."""
    found = _PATTERN.match(pattern.strip())
    if found is None or not pattern.strip():
        raise ValueError(_FORM)
    begin, end = found["from"] or "00:00", found["to"] or "24:00"
    for clock in (begin, end):
        hours, minutes = int(clock[:2]), int(clock[3:])
        if minutes > 59 or hours > 24 or (hours == 24 and (minutes or clock is begin)):
            raise ValueError(f"there is no time {clock}; {_FORM}")
    if begin == end:
        raise ValueError("it ends when it begins; leave the time out where the whole day is meant")
    result: list[Span] = []
    for day in _days(found["days"] or "Mon-Sun"):
        if begin < end:
            result.append((f"{day} {begin}", f"{day} {end}"))
        else:
            result += [(f"{day} {begin}", f"{day} 24:00"), (f"{(day + 1) % 7} 00:00", f"{(day + 1) % 7} {end}")]
    return result


def _days(text: str) -> Iterator[int]:
    for part in text.split(","):
        first, dash, last = part.partition("-")
        low = _day(first)
        high = _day(last) if dash else low
        yield from (day % 7 for day in range(low, high + 1 if high >= low else high + 8))


def _day(name: str) -> int:
    try:
        return DAYS.index(name.capitalize())
    except ValueError:
        raise ValueError(f'there is no day "{name}"; days are {", ".join(DAYS)}') from None
