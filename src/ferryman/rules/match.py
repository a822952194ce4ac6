"""Matchers: how a known value is compared with patterns.

`Matcher.build` is called once, by config.conditions; `matches` once per connection and test, so what takes time is done
beforehand and ten thousand patterns cost about as much as ten, except for `contains` and `regex`, which try one after
the other. Matchers are values and picklable. Whether a value is there at all is not decided here.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Final, TypeVar

from ferryman.rules.facts import Type, Value, as_text
from ferryman.rules.networks import Networks, network
from ferryman.rules.schedule import Span, moment, spans

T = TypeVar("T")
_TEXT: Final[frozenset[Type]] = frozenset({"string", "integer", "boolean", "address", "binary"})
_NUMBER: Final[frozenset[Type]] = frozenset({"integer", "string", "boolean"})
_ADDRESS: Final[frozenset[Type]] = frozenset({"address", "string"})
_NAME: Final[frozenset[Type]] = frozenset({"string"})
_BYTES: Final[frozenset[Type]] = frozenset({"binary", "string"})


class PatternError(ValueError):
    """A pattern that its method cannot take. `index`: which one; -1: it is not about a single pattern."""

    def __init__(self, message: str, index: int = -1) -> None:
        super().__init__(message)
        self.message = message
        self.index = index


@dataclass(frozen=True, slots=True)
class Matcher:
    """`method` with its patterns; `matches` answers for one known value."""

    method: str
    patterns: tuple[str, ...]
    ignore_case: bool = False

    def matches(self, value: Value) -> bool:
        raise NotImplementedError

    @property
    def when_absent(self) -> bool:
        """The answer when there is no value."""
        return False

    def says(self, positive: bool = True) -> str:
        """As a predicate: `is "a" or "b"`, `does not match /x/`."""
        if self.method in ("found", "boolean"):
            wanted = not self.patterns or _truth(self.patterns[0])
            return f"is {'' if wanted is positive else 'not '}{'known' if self.method == 'found' else 'true'}"
        shown = [pattern_text(self.method, pattern) for pattern in self.patterns[:3]]
        if len(self.patterns) > 3:
            shown.append(f"{len(self.patterns) - 3} more")
        return f"{_VERBS[self.method][not positive]} {' or '.join(shown)}"

    @staticmethod
    def build(method: str, patterns: Sequence[str], ignore_case: bool = False, type: Type = "string") -> Matcher:
        """The matcher for values of `type`.

        Raises PatternError: for an unknown method, one that never fits the type, or a pattern that it cannot take.
        """
        entry = _METHODS.get(method)
        if entry is None:
            raise PatternError(f'there is no method "{method}"')
        types, make = entry
        if type not in types:
            raise PatternError(f"{method} never holds for a value of type {type}")
        if not patterns and method not in ("found", "boolean"):
            raise PatternError(f"{method} needs a pattern")
        return make(method, tuple(patterns), ignore_case)


def pattern_text(method: str, pattern: str) -> str:
    if method == "regex":
        return f"/{pattern}/"
    return f'"{pattern}"' if method in ("is", "prefix", "suffix", "contains", "directory", "domain") else pattern


def _each(parse: Callable[[str], T], patterns: Iterable[str]) -> list[T]:
    """`parse` every pattern; its ValueError becomes a PatternError that knows which one it was."""
    results: list[T] = []
    for index, pattern in enumerate(patterns):
        try:
            results.append(parse(pattern))
        except ValueError as error:
            raise PatternError(str(error), index) from None
    return results


def _folded(patterns: Iterable[str], ignore_case: bool) -> list[str]:
    return [pattern.lower() for pattern in patterns] if ignore_case else list(patterns)


# text


@dataclass(frozen=True, slots=True)
class _Is(Matcher):
    table: frozenset[str] = field(default=frozenset(), compare=False, repr=False)

    def matches(self, value: Value) -> bool:
        text = value if isinstance(value, str) else as_text(value)
        return (text.lower() if self.ignore_case else text) in self.table


def _is(method: str, patterns: tuple[str, ...], ignore_case: bool) -> Matcher:
    return _Is(method, patterns, ignore_case, frozenset(_folded(patterns, ignore_case)))


@dataclass(frozen=True, slots=True)
class _Ends(Matcher):
    """Prefix and suffix. Few patterns are compared directly, many through a table and their different lengths."""

    few: tuple[str, ...] = field(default=(), compare=False, repr=False)
    table: frozenset[str] = field(default=frozenset(), compare=False, repr=False)
    lengths: tuple[int, ...] = field(default=(), compare=False, repr=False)

    def matches(self, value: Value) -> bool:
        text = as_text(value)
        if self.ignore_case:
            text = text.lower()
        if self.method == "prefix":
            if self.few:
                return text.startswith(self.few)
            return any(text[:length] in self.table for length in self.lengths)
        if self.few:
            return text.endswith(self.few)
        size = len(text)
        return any(length <= size and text[size - length :] in self.table for length in self.lengths)


def _ends(method: str, patterns: tuple[str, ...], ignore_case: bool) -> Matcher:
    folded = _folded(patterns, ignore_case)
    if len(folded) <= 16:
        return _Ends(method, patterns, ignore_case, tuple(folded))
    lengths = tuple(sorted(set(map(len, folded))))
    return _Ends(method, patterns, ignore_case, (), frozenset(folded), lengths)


@dataclass(frozen=True, slots=True)
class _Contains(Matcher):
    parts: tuple[str, ...] = field(default=(), compare=False, repr=False)

    def matches(self, value: Value) -> bool:
        text = as_text(value)
        if self.ignore_case:
            text = text.lower()
        return any(part in text for part in self.parts)


def _contains(method: str, patterns: tuple[str, ...], ignore_case: bool) -> Matcher:
    return _Contains(method, patterns, ignore_case, tuple(_folded(patterns, ignore_case)))


_DELIMITERS: Final = {"directory": "/?", "domain": "/?.:"}


@dataclass(frozen=True, slots=True)
class _Words(Matcher):
    """Patterns that stand between delimiters (or the ends of the text), as HAProxy's `dir` and `dom` have it."""

    table: frozenset[str] = field(default=frozenset(), compare=False, repr=False)
    spans: tuple[int, ...] = field(default=(), compare=False, repr=False)  # how many words patterns have

    def matches(self, value: Value) -> bool:
        text = as_text(value)
        if self.ignore_case:
            text = text.lower()
        delimiters = _DELIMITERS[self.method]
        cuts = [-1, *(at for at, character in enumerate(text) if character in delimiters), len(text)]
        for span in self.spans:
            for first in range(len(cuts) - span):
                if text[cuts[first] + 1 : cuts[first + span]] in self.table:
                    return True
        return False


def _words(method: str, patterns: tuple[str, ...], ignore_case: bool) -> Matcher:
    delimiters = _DELIMITERS[method]

    def word(pattern: str) -> str:
        stripped = pattern.strip(delimiters)
        if not stripped:
            raise ValueError("there is nothing to look for in it")
        return stripped

    table = _each(word, _folded(patterns, ignore_case))
    spans = {1 + sum(character in delimiters for character in entry) for entry in table}
    return _Words(method, patterns, ignore_case, frozenset(table), tuple(sorted(spans)))


@dataclass(frozen=True, slots=True)
class _Name(Matcher):
    """Host names. `*.` at the front stands for one label or more; case and a dot at the end do not matter."""

    exact: frozenset[str] = field(default=frozenset(), compare=False, repr=False)
    below: frozenset[str] = field(default=frozenset(), compare=False, repr=False)  # what follows a leading "*."
    every: bool = field(default=False, compare=False, repr=False)  # there is a pattern "*"

    def matches(self, value: Value) -> bool:
        name = as_text(value).lower()
        if name.endswith("."):
            name = name[:-1]
        if name in self.exact or self.every:
            return True
        if self.below:
            dot = name.find(".", 1)
            while dot > 0:
                if name[dot + 1 :] in self.below:
                    return True
                dot = name.find(".", dot + 1)
        return False


_HOST: Final = re.compile(r"(?:\*|(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)\Z")


def _host(pattern: str) -> str:
    name = pattern.lower().removesuffix(".")
    if not _HOST.match(name):
        if not name.isascii():
            raise ValueError("a name is given in its ASCII form, xn--…")
        if name.startswith("."):
            raise ValueError(f'a name does not begin with a dot; "*{name}" stands for all below "{name[1:]}"')
        raise ValueError('this is no host name; a "*" stands only at the front, with a dot after it')
    return name


def _name(method: str, patterns: tuple[str, ...], ignore_case: bool) -> Matcher:
    names = _each(_host, patterns)
    exact = frozenset(name for name in names if name[0] != "*")
    below = frozenset(name[2:] for name in names if name[0] == "*" and name != "*")
    return _Name(method, patterns, True, exact, below, "*" in names)


@dataclass(frozen=True, slots=True)
class _Regex(Matcher):
    compiled: tuple[re.Pattern[str], ...] = field(default=(), compare=False, repr=False)

    def matches(self, value: Value) -> bool:
        text = as_text(value)
        return any(pattern.search(text) for pattern in self.compiled)


_POSIX: Final = re.compile(r"\[\[:\^?[a-z]+:\]|\[[^\]]*\[:\^?[a-z]+:\]")


def _regex(method: str, patterns: tuple[str, ...], ignore_case: bool) -> Matcher:
    def compiled(pattern: str) -> re.Pattern[str]:
        if _POSIX.search(pattern):
            raise ValueError("character classes such as [:alnum:] are not known here; write [0-9A-Za-z]")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                return re.compile(pattern, re.IGNORECASE if ignore_case else 0)
        except (re.error, OverflowError, RecursionError, Warning) as error:
            raise ValueError(f"this is no regular expression: {error}") from None

    return _Regex(method, patterns, ignore_case, tuple(_each(compiled, patterns)))


# numbers


_COMPARED: Final = re.compile(r"(?:(eq|ge|gt|le|lt)\s+|(==?|>=?|<=?)\s*)?(.+)\Z", re.DOTALL)
_RANGED: Final = re.compile(r"([0-9.]*)([:-])([0-9.]*)\Z")
_Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Numbers(Matcher):
    singles: frozenset[float] = field(default=frozenset(), compare=False, repr=False)
    ranges: tuple[_Range, ...] = field(default=(), compare=False, repr=False)

    def holds(self, number: int) -> bool:
        return number in self.singles or any(low <= number <= high for low, high in self.ranges)


class _Integer(_Numbers):
    __slots__ = ()

    def matches(self, value: Value) -> bool:
        if isinstance(value, int):
            return self.holds(value)
        try:
            return self.holds(int(as_text(value)))
        except ValueError:
            return False


class _Version(_Numbers):
    __slots__ = ()

    def matches(self, value: Value) -> bool:
        try:
            return self.holds(_version(as_text(value)))
        except ValueError:
            return False


class _Length(_Numbers):
    __slots__ = ()

    def matches(self, value: Value) -> bool:
        return self.holds(len(value) if isinstance(value, bytes) else len(as_text(value)))


def _integer(text: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", text):
        raise ValueError(f'"{text}" is no number')
    return int(text)


def _version(text: str) -> int:
    """MAJOR.MINOR, each below 65536, as one number; MAJOR alone is MAJOR.0."""
    major, _, minor = text.partition(".")
    if not re.fullmatch(r"[0-9]{1,5}(?:\.[0-9]{1,5})?", text) or int(major) > 65535 or int(minor or 0) > 65535:
        raise ValueError(f'"{text}" is no version such as 3.3')
    return int(major) << 16 | int(minor or 0)


def _range(text: str, number: Callable[[str], int]) -> _Range:
    """`5`, `1:9`, `1-9`, `:9`, `1:`, `ge 5`, `>=5` and so on."""
    compared = _COMPARED.match(text.strip())
    if compared is None:
        raise ValueError("a number is missing")
    operator, rest = compared[1] or compared[2] or "", compared[3]
    ranged = _RANGED.match(rest)
    if ranged is not None and (ranged[1] or ranged[3]):
        if operator not in ("", "eq", "=", "=="):
            raise ValueError("a comparison takes one number, not a range")
        low = number(ranged[1]) if ranged[1] else -inf
        high = number(ranged[3]) if ranged[3] else inf
        if low > high:
            raise ValueError("the range ends before it begins")
        return low, high
    value = number(rest)
    match operator:
        case "ge" | ">=":
            return value, inf
        case "gt" | ">":
            return value + 1, inf
        case "le" | "<=":
            return -inf, value
        case "lt" | "<":
            return -inf, value - 1
    return value, value


def _numbers(method: str, patterns: tuple[str, ...], ignore_case: bool) -> Matcher:
    number = _version if method == "version" else _integer
    ranges = _each(lambda pattern: _range(pattern, number), patterns)
    singles = frozenset(low for low, high in ranges if low == high)
    kind = {"integer": _Integer, "version": _Version, "length": _Length}[method]
    return kind(method, patterns, ignore_case, singles, tuple(r for r in ranges if r[0] != r[1]))


# addresses


@dataclass(frozen=True, slots=True)
class _Cidr(Matcher):
    networks: Networks = field(default=Networks(), compare=False, repr=False)

    def matches(self, value: Value) -> bool:
        return self.networks.hold(as_text(value))


def _cidr(method: str, patterns: tuple[str, ...], ignore_case: bool) -> Matcher:
    return _Cidr(method, patterns, ignore_case, Networks.of(_each(network, patterns)))


# the rest


@dataclass(frozen=True, slots=True)
class _Schedule(Matcher):
    spans: tuple[Span, ...] = field(default=(), compare=False, repr=False)

    def matches(self, value: Value) -> bool:
        now = moment(as_text(value))
        return any(begin <= now < end for begin, end in self.spans)


def _schedule(method: str, patterns: tuple[str, ...], ignore_case: bool) -> Matcher:
    return _Schedule(method, patterns, ignore_case, tuple(span for each in _each(spans, patterns) for span in each))


@dataclass(frozen=True, slots=True)
class _Binary(Matcher):
    table: frozenset[bytes] = field(default=frozenset(), compare=False, repr=False)

    def matches(self, value: Value) -> bool:
        return (value if isinstance(value, bytes) else as_text(value).encode("latin-1", "replace")) in self.table


def _binary(method: str, patterns: tuple[str, ...], ignore_case: bool) -> Matcher:
    def unhex(pattern: str) -> bytes:
        try:
            return bytes.fromhex(pattern)
        except ValueError:
            raise ValueError("bytes are given in hexadecimal, two digits each") from None

    return _Binary(method, patterns, ignore_case, frozenset(_each(unhex, patterns)))


def _truth(pattern: str) -> bool:
    try:
        return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[pattern.lower()]
    except KeyError:
        raise ValueError('"true" or "false" is meant to stand here') from None


@dataclass(frozen=True, slots=True)
class _Boolean(Matcher):
    wanted: frozenset[bool] = field(default=frozenset({True}), compare=False, repr=False)

    def matches(self, value: Value) -> bool:
        return (value not in ("", "0", "false") if isinstance(value, str) else bool(value)) in self.wanted


@dataclass(frozen=True, slots=True)
class _Found(Matcher):
    wanted: frozenset[bool] = field(default=frozenset({True}), compare=False, repr=False)

    def matches(self, value: Value) -> bool:
        return True in self.wanted

    @property
    def when_absent(self) -> bool:
        return False in self.wanted


def _truths(method: str, patterns: tuple[str, ...], ignore_case: bool) -> Matcher:
    wanted = frozenset(_each(_truth, patterns)) or frozenset({True})
    return (_Found if method == "found" else _Boolean)(method, patterns, ignore_case, wanted)


_Make = Callable[[str, tuple[str, ...], bool], Matcher]
_METHODS: Final[dict[str, tuple[frozenset[Type], _Make]]] = {
    "is": (_TEXT, _is),
    "name": (_NAME, _name),
    "prefix": (_TEXT, _ends),
    "suffix": (_TEXT, _ends),
    "contains": (_TEXT, _contains),
    "directory": (_TEXT, _words),
    "domain": (_TEXT, _words),
    "regex": (_TEXT, _regex),
    "length": (_TEXT, _numbers),
    "integer": (_NUMBER, _numbers),
    "version": (_NAME, _numbers),
    "cidr": (_ADDRESS, _cidr),
    "schedule": (_NAME, _schedule),
    "binary": (_BYTES, _binary),
    "boolean": (_TEXT, _truths),
    "found": (_TEXT, _truths),
}
METHODS: Final = tuple(_METHODS)

_VERBS: Final[dict[str, tuple[str, str]]] = {
    "is": ("is", "is not"),
    "name": ("is", "is not"),
    "prefix": ("begins with", "does not begin with"),
    "suffix": ("ends with", "does not end with"),
    "contains": ("contains", "does not contain"),
    "directory": ("has the directory", "does not have the directory"),
    "domain": ("has the domain part", "does not have the domain part"),
    "regex": ("matches regex", "does not match regex"),
    "length": ("has a length of", "does not have a length of"),
    "integer": ("is", "is not"),
    "version": ("is", "is not"),
    "cidr": ("is in", "is not in"),
    "schedule": ("is within", "is not within"),
    "binary": ("is", "is not"),
}
