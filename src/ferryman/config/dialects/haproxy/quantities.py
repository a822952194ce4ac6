"""Numbers and times as HAProxy writes them (manual, 2.5): whole numbers only, a time's unit is milliseconds by default.

Each reader takes a word and raises Mistake at it.
"""

from __future__ import annotations

import re
from typing import Final

from ferryman.config.place import At, Mistake, Word

_MICROSECONDS: Final = {"us": 1, "ms": 10**3, "s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6, "d": 86400 * 10**6}
_LONGEST: Final = (2**31 - 1) * 1000  # microseconds


def seconds(word: Word, unit: str = "ms") -> At:
    """A time in seconds. `unit` is what a number without one counts in."""
    found = re.fullmatch(r"([0-9]{1,18})(us|ms|s|m|h|d)?", word.text)
    if found is None:
        raise Mistake(word, f"{word.text!r} is not a time", "write a whole number with a unit: 500ms, 10s, 1m, 2h, 1d")
    microseconds = int(found[1]) * _MICROSECONDS[found[2] or unit]
    if microseconds > _LONGEST:
        raise Mistake(
            word, f"{word.text} is too long a time", "HAProxy's longest is 24 days; leave it out for no limit"
        )
    if 0 < microseconds < 1000:
        raise Mistake(word, f"{word.text} is too short a time", "1ms is the shortest")
    return At(microseconds / 10**6, word.mark)


def integer(word: Word, least: int = 0, most: int = 2**31 - 1) -> At:
    """A whole number between `least` and `most`."""
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", word.text):
        raise Mistake(word, f"{word.text!r} is not a number", "")
    value = int(word.text)
    if not least <= value <= most:
        raise Mistake(word, f"{word.text} is out of range", f"it is {least} to {most}")
    return At(value, word.mark)


def one_of(word: Word, allowed: tuple[str, ...]) -> At:
    """One of a few words."""
    if word.text not in allowed:
        raise Mistake(word, f"{word.text!r} is not known here", f"there are {', '.join(allowed)}")
    return At(word.text, word.mark)
