"""The converters by name: what a fact's value can go through before it is compared, captured or logged.

Pure functions of one known value; ABSENT means that there is nothing to go on with. Read by rules.expression and by
the reference documentation.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ferryman.rules.facts import ABSENT, Missing, Parameter, Type, Value, as_text


@dataclass(frozen=True, slots=True)
class Converter:
    """One converter. `type` of what comes out (None: what went in); the last `optional` parameters may be left out."""

    type: Type | None
    function: Callable[..., Value | Missing]
    text: str
    parameters: tuple[Parameter, ...] = ()
    optional: int = 0


def _raw(value: Value) -> bytes:
    return value if isinstance(value, bytes) else as_text(value).encode("latin-1", "replace")


def _bytes(value: Value, offset: int, length: int | None = None) -> Value | Missing:
    whole = value if isinstance(value, bytes) else as_text(value)
    if offset >= len(whole):
        return ABSENT
    return whole[offset:] if length is None else whole[offset : offset + length]


def _pick(parts: list[str], number: int) -> Value | Missing:
    """The part of that number, from 1; from -1 backwards."""
    if not number or abs(number) > len(parts):
        return ABSENT
    return parts[number - 1 if number > 0 else number]


def _split(value: Value, delimiters: str) -> list[str]:
    return re.split(f"[{re.escape(delimiters)}]", as_text(value)) if delimiters else [as_text(value)]


def _field(value: Value, number: int, delimiters: str) -> Value | Missing:
    return _pick(_split(value, delimiters), number)


def _word(value: Value, number: int, delimiters: str) -> Value | Missing:
    return _pick([part for part in _split(value, delimiters) if part], number)


CONVERTERS: Final[dict[str, Converter]] = {
    "lower": Converter("string", lambda v: as_text(v).lower(), "in lower case"),
    "upper": Converter("string", lambda v: as_text(v).upper(), "in upper case"),
    "length": Converter("integer", lambda v: len(_raw(v)), "its length"),
    "hex": Converter("string", lambda v: _raw(v).hex().upper(), "its bytes in hexadecimal, upper case"),
    "bytes": Converter(None, _bytes, "a piece: offset from 0, length", ("size", "size"), 1),
    "field": Converter("string", _field, "the nth field between delimiters, -1: the last", ("integer", "text")),
    "word": Converter("string", _word, "the nth field that is not empty, -1: the last", ("integer", "text")),
    "prepend": Converter("string", lambda v, text: text + as_text(v), "with a text before it", ("text",)),
    "append": Converter("string", lambda v, text: as_text(v) + text, "with a text after it", ("text",)),
    "not": Converter("boolean", lambda v: not v, "true for false, 0 and nothing"),
}
