"""Expressions: a fact, its arguments, and converters applied to it, as in `payload(0,4)|hex`.

Made by config from text, evaluated by rules.condition, rules.decision and the access log. An expression knows what it
needs, so that the compiler can tell which listeners have to look at a client's first bytes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ferryman.rules.converters import CONVERTERS, Converter
from ferryman.rules.facts import ABSENT, UNKNOWN, Argument, Facts, Missing, Needs, Parameter, Type, Value
from ferryman.rules.fetches import FETCHES, Fetch


class ExpressionError(ValueError):
    """Text that is no expression: what is wrong, at which character (from 0), and perhaps what was meant."""

    def __init__(self, message: str, offset: int, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Call:
    """A fact or a converter by its native name, with arguments."""

    name: str
    args: tuple[Argument, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}({','.join(map(_written, self.args))})" if self.args else self.name


@dataclass(frozen=True, slots=True)
class Expression:
    """A fact and the converters its value goes through, in order. `parse` makes it; the names are known ones."""

    fact: Call
    converters: tuple[Call, ...] = ()

    def __str__(self) -> str:
        return "|".join(map(str, (self.fact, *self.converters)))

    @property
    def type(self) -> Type:
        for call in reversed(self.converters):
            if (type_ := CONVERTERS[call.name].type) is not None:
                return type_
        own = FETCHES[self.fact.name].type
        return "string" if own != "binary" and self.converters else own

    @property
    def needs(self) -> Needs:
        return FETCHES[self.fact.name].needs

    @property
    def growing(self) -> bool:
        """Is its value, though known, only the value so far until the facts are final?"""
        return FETCHES[self.fact.name].growing(self.fact.args)

    @property
    def many(self) -> bool:
        """Is its value a list, joined by commas, of which one has to match?"""
        return FETCHES[self.fact.name].many and not self.converters

    def evaluate(self, facts: Facts) -> Value | Missing:
        """The value for one connection at this moment; never UNKNOWN when `facts.final`."""
        call = self.fact
        value = FETCHES[call.name].function(facts, *call.args)
        if value is UNKNOWN and facts.final:
            return ABSENT
        for call in self.converters:
            if isinstance(value, Missing):
                return value
            value = CONVERTERS[call.name].function(value, *call.args)
        return value


_NAME: Final = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_.]*)\s*")
_ARGUMENT: Final = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|([^\s"'(),|\\]*))\s*""", re.DOTALL)
_PLAIN: Final = re.compile(r"""[^\s"'(),|\\]+\Z""")
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}\Z")
_SIZE: Final = re.compile(r"[0-9]{1,9}\Z|0x[0-9A-Fa-f]{1,7}\Z")
_MAX_TEXT: Final = 4096


def parse(text: str) -> Expression:
    """Read `name(argument,…)|converter(argument,…)|…`. Text arguments may be quoted: "a, b", with \\ before " and \\.

    Raises ExpressionError.
    """
    if len(text) > _MAX_TEXT:
        raise ExpressionError(f"an expression longer than {_MAX_TEXT} characters", _MAX_TEXT)
    fact, position = _call(text, 0, "fact", FETCHES)
    converters: list[Call] = []
    while position < len(text):
        if text[position] != "|":
            raise ExpressionError(f'unexpected "{text[position]}"', position, 'converters follow after "|"')
        call, position = _call(text, position + 1, "converter", CONVERTERS)
        converters.append(call)
    return Expression(fact, tuple(converters))


def _call(text: str, position: int, kind: str, table: dict[str, Fetch] | dict[str, Converter]) -> tuple[Call, int]:
    """The call that begins at `position`, and where it ends."""
    found = _NAME.match(text, position)
    if found is None:
        raise ExpressionError(f"a {kind} is missing", position)
    name = found[1]
    entry = table.get(name)
    if entry is None:
        raise ExpressionError(f'there is no {kind} "{name}"', found.start(1), nearest(name, table))
    position = found.end()
    args: list[Argument] = []
    if text[position : position + 1] == "(":
        while text[position] != ")":
            args_left = entry.parameters[len(args) :]
            value, position = _argument(text, position + 1, args_left[0] if args_left else None, name)
            args.append(value)
        position += 1
        while text[position : position + 1].isspace():
            position += 1
    required = len(entry.parameters) - entry.optional
    if len(args) < required:
        plural = "s" if required > 1 else ""
        raise ExpressionError(f"{name} needs {required} argument{plural}, not {len(args)}", found.start(1))
    return Call(name, tuple(args)), position


def _argument(text: str, position: int, parameter: Parameter | None, name: str) -> tuple[Argument, int]:
    """The argument that begins at `position`, and where the comma or parenthesis after it is."""
    found = _ARGUMENT.match(text, position)
    assert found is not None  # it matches nothing as well
    end = found.end()
    if text[end : end + 1] not in (",", ")"):
        raise ExpressionError('a "," or ")" is missing' if end == len(text) else f'unexpected "{text[end]}"', end)
    if parameter is None:
        raise ExpressionError(f"too many arguments for {name}", position)
    quoted, bare = found[1], found[2]
    value: str = bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)
    start = found.start(1 if bare is None else 2)
    if quoted is None and not value:
        raise ExpressionError("an argument is missing", start)
    if parameter == "text":
        return value, end
    if quoted is not None or not (_SIZE if parameter == "size" else _INTEGER).match(value):
        raise ExpressionError(f'"{value}" is no number', start)
    return (value if parameter == "offset" else int(value, 16 if value.startswith("0x") else 10)), end


def _written(argument: Argument) -> str:
    """As `parse` reads it."""
    text = str(argument)
    return text if _PLAIN.match(text) else '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint that names what was probably meant; empty when nothing is near."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f'did you mean "{close[0]}"?' if close else ""
