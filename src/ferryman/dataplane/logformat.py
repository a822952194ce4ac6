"""HAProxy's log-format language (manual, 8.2.6): text, `%alias`, `%{+Q}alias` and `%[expression]`.

Used by accesslog. A template becomes a list of getters and a text for the % operator; nothing of it is ever run as
code. What aliases and facts there are is in logfields.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from ferryman.dataplane import logfields
from ferryman.dataplane.logfields import ALIASES, EMPTY, HTTP, Counts, Flags, Getter, Make
from ferryman.dataplane.record import Record
from ferryman.rules import expression
from ferryman.rules.converters import CONVERTERS
from ferryman.rules.facts import Missing, Value, as_text

TCP: Final = "%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq"
"""HAProxy's tcplog, which is also what it puts into the environment as HAPROXY_TCP_LOG_FMT."""


_PIECE: Final = re.compile(
    r"""(?P<text>[^% ]+) | (?P<blanks>\ +) | %(?P<percent>%)
    | %(?P<flags>\{[^}]*\})? (?: (?P<alias>[A-Za-z][A-Za-z0-9]*) | \[(?P<rest>) )
    | (?P<wrong>%)""",
    re.VERBOSE,
)
_FLAG: Final = re.compile(r"([+-])([QXE])\Z")


class _Reader:
    """Reads one template, from left to right."""

    def __init__(self, template: str) -> None:
        self.template = template
        self.text = ""  # for the % operator
        self.getters: list[Getter] = []
        self.names: set[str] = set()
        self.mistakes: list[tuple[int, str]] = []
        self._flags = Flags()  # what %o has set
        at = 0
        while at < len(template):
            found = _PIECE.match(template, at)
            assert found is not None  # any character begins some piece
            at = self._piece(found)

    def _piece(self, found: re.Match[str]) -> int:
        """Take one piece; where the next begins."""
        kind = found.lastgroup
        if kind == "text":
            self.text += found[0]
        elif kind == "blanks":
            # as in HAProxy: blanks only separate
            self.text += " " if self.text and not self.text.endswith(" ") else ""
        elif kind == "percent":
            self.text += "%%"
        elif kind == "wrong":
            self._wrong(found.start(), "a name, { or [ must follow the %; write %% for the character itself")
        elif kind == "alias":
            self._alias(found)
        else:
            return self._bracket(found)
        return found.end()

    def _alias(self, found: re.Match[str]) -> None:
        flags, name = self._flagged(found), found["alias"]
        if name == "o":
            self._flags = flags
            return
        if name in EMPTY:
            return
        make = ALIASES.get(name)
        if make is not None:
            self._add(name, make(flags))
        elif name in HTTP:
            self._wrong(found.start(), f"%{name} is about HTTP, which is carried here without being looked at")
        else:
            hint = expression.nearest(name, ALIASES)
            self._wrong(found.start(), f"there is no %{name}" + (f"; {hint}" if hint else ""))

    def _bracket(self, found: re.Match[str]) -> int:
        flags, start = self._flagged(found), found.end()
        end = next(_closing(self.template, start), -1)
        if end < 0:
            self._wrong(found.start(), "a ] is missing")
            return len(self.template)
        text = self.template[start:end]
        try:
            get = _expression(text)
        except ValueError as error:
            hint = f"; {error.hint}" if isinstance(error, expression.ExpressionError) and error.hint else ""
            self._wrong(start, f"{error}{hint}")
        else:
            self._add(re.split(r"[(,|\s]", text.strip())[0], logfields.text(flags, get, wild=True))
        return end + 1

    def _flagged(self, found: re.Match[str]) -> Flags:
        """The flags that hold for this item."""
        flags = self._flags
        for part in (found["flags"] or "{}")[1:-1].split(","):
            if flag := _FLAG.match(part.strip()):
                flags = flags._replace(**{flag[2]: flag[1] == "+"})
            elif part.strip():
                self._wrong(
                    found.start(), f'"{part.strip()}" is no flag: there are Q, X and E, with + or - before them'
                )
        return flags

    def _add(self, name: str, getter: Getter) -> None:
        self.names.add(name)
        self.getters.append(getter)
        self.text += "%s"

    def _wrong(self, offset: int, message: str) -> None:
        self.mistakes.append((offset, message))


def _closing(template: str, start: int) -> Iterator[int]:
    """Where a ] stands that is not in parentheses or quotes."""
    depth, quote = 0, ""
    for at in range(start, len(template)):
        character = template[at]
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"" and depth:
            quote = character
        elif character in "()":
            depth += 1 if character == "(" else -1
        elif character == "]" and depth <= 0:
            yield at


def compile_template(template: str) -> tuple[Make, set[str], list[tuple[int, str]]]:
    """What makes its lines, the names of aliases and facts it uses, and its mistakes with their offsets."""
    reader = _Reader(template)
    text, getters = encode_template(reader.text), reader.getters

    def make(record: Record, counts: Counts) -> str:
        return text % tuple([get(record, counts) for get in getters])

    return make, reader.names, reader.mistakes


def encode_template(text: str) -> str:
    """The operator's own text, in any language, but on one line."""
    return re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029]", " ", text)


def _split(text: str) -> list[str]:
    """A fact and its converters: parts between commas or bars that are not in parentheses or quotes."""
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "()":
            depth += 1 if character == "(" else -1
        elif character in ",|" and depth <= 0:
            parts.append("")
            continue
        parts[-1] += character
    return [part.strip() for part in parts]


def _expression(text: str) -> Callable[[Record], str]:
    """Text of an expression's value, "" without one. Raises ValueError (expression.ExpressionError is one)."""
    fact, *converters = _split(text)
    get = logfields.fact(fact)
    if not converters:
        return lambda r: "" if (value := get(r)) is None else str(value)
    calls = expression.parse("|".join(['text("")', *converters])).converters

    def evaluate(r: Record) -> str:
        first = get(r)
        if first is None:
            return ""
        value: Value | Missing = first
        for call in calls:
            value = CONVERTERS[call.name].function(value, *call.args)
            if isinstance(value, Missing):
                return ""
        assert not isinstance(value, Missing)
        return as_text(value)

    return evaluate
