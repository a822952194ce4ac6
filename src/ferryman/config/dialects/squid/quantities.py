"""Numbers, times, sizes and switches as Squid writes them: a number and its unit are two words.

Each reader takes words from a directive's arguments and raises Mistake at one.
"""

from __future__ import annotations

import re
from typing import Final

from ferryman.config.arguments import Arguments
from ferryman.config.nearest import nearest
from ferryman.config.place import At, Mistake, Word

_UNITS: Final = {
    "second": 1,
    "minute": 60,
    "hour": 3600,
    "day": 86400,
    "week": 7 * 86400,
    "fortnight": 14 * 86400,
    "month": 30 * 86400,
    "year": 365 * 86400,
}
_BYTES: Final = {"bytes": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}
_NUMBER: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,6})?")


def seconds(arguments: Arguments) -> At:
    """`2 minutes`: a time in seconds. A unit must be there, as Squid 5 demands."""
    word = arguments.need("a time")
    if not _NUMBER.fullmatch(word.text):
        raise Mistake(word, f"{word.text!r} is not a time", "write a number, a blank and a unit: 2 minutes")
    unit = arguments.take()
    if unit is None:
        raise Mistake(word, f"the time {word.text} has no unit", f"write {word.text} seconds")
    name = unit.text.lower().removesuffix("s")
    if name not in _UNITS:
        names = [f"{known}s" for known in _UNITS]
        raise Mistake(unit, f"{unit.text!r} is no unit of time", nearest(unit.text, names) or "such as seconds")
    return At(float(word.text) * _UNITS[name], word.mark)


def size(arguments: Arguments) -> At:
    """`64 KB`: bytes."""
    word = arguments.need("a size")
    return At(_size(word, word.text, arguments.take()), word.mark)


def joined_size(word: Word, text: str) -> At:
    """`4MB`, the value of an option at `word`: bytes."""
    found = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", text)
    if found is None:
        raise Mistake(word, f"{text!r} is not a size", "such as 4MB")
    return At(_size(word, found[1], Word(found[2] or "bytes", word.mark)), word.mark)


def _size(word: Word, number: str, unit: Word | None) -> int:
    if not _NUMBER.fullmatch(number):
        raise Mistake(word, f"{number!r} is not a size", "such as 64 KB")
    name = unit.text.lower() if unit else "bytes"
    if name not in _BYTES:
        assert unit is not None
        raise Mistake(unit, f"{unit.text!r} is no unit of size", "there are bytes, KB, MB and GB")
    return int(float(number) * _BYTES[name])


def integer(word: Word, least: int, most: int, text: str | None = None) -> At:
    """A whole number between `least` and `most`; `text` is what to read where that is not the whole word."""
    number = word.text if text is None else text
    if not re.fullmatch(r"[0-9]{1,18}", number):
        raise Mistake(word, f"{number or word.text!r} is not a number", "")
    if not least <= int(number) <= most:
        raise Mistake(word, f"{number} is out of range", f"it is {least} to {most}")
    return At(int(number), word.mark)


def switch(arguments: Arguments) -> At:
    """`on` or `off`."""
    word = arguments.need("on or off")
    if word.text not in ("on", "off"):
        raise Mistake(word, f"{word.text!r} is neither on nor off")
    return At(word.text == "on", word.mark)
