"""Conditions as the native configuration writes them -> rules.condition.Condition.

Called by config.compile for every `when` and every entry of `tests`, with the place of the data, so that each mistake
is reported where it stands. Reads no files and knows no dialect: dialects yield native conditions.

    {sni: "*.example.org", client_address: [10.0.0.0/8, fd00::/8]}    all keys must hold
    [{sni: a.example.org}, internal]                                   one must hold; "internal" is an entry of `tests`
    {all: […]}   {any: […]}   {not: …}
    {"sni|lower": {suffix: .example.org}, alpn: {is: h2, ignore_case: true}}
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ferryman.config.source import Path
from ferryman.rules.condition import All, Any, Condition, Named, Not, Test
from ferryman.rules.expression import Expression, ExpressionError, nearest, parse
from ferryman.rules.fetches import FETCHES
from ferryman.rules.match import METHODS, Matcher, PatternError
from ferryman.rules.networks import abbreviated

Report = Callable[[Path, str, str], None]
"""Called with the place, the message and the hint ("" for none)."""

_MAX_DEPTH = 32
_METHOD_OF = {
    "sni": "name",
    "target_host": "name",
    "server_name": "name",
    "tls_version": "version",
    "tls_versions": "version",
    "time": "schedule",
}
_NAMES = ("sni", "target_host", "server_name")
_METHOD_BY_TYPE = {
    "string": "is",
    "address": "cidr",
    "integer": "integer",
    "boolean": "boolean",
    "binary": "binary",
}


def build(data: object, path: Path, tests: Mapping[str, Condition], report: Report, warn: Report) -> Condition | None:
    """The condition that `data`, standing at `path`, describes. None: it was wrong, and everything wrong is reported.

    `tests` are the named conditions that can be referred to; such a reference becomes Named.
    """
    return _Builder(tests, report, warn).condition(data, path, ())


def default_method(expression: Expression) -> str:
    """How a fact is compared when nothing else is said."""
    if all(call.name in ("lower", "upper") for call in expression.converters):
        return _METHOD_OF.get(expression.fact.name, _METHOD_BY_TYPE[expression.type])
    return _METHOD_BY_TYPE[expression.type]


@dataclass(frozen=True, slots=True)
class _Builder:
    tests: Mapping[str, Condition]
    report: Report
    warn: Report

    def condition(self, data: object, path: Path, above: tuple[int, ...]) -> Condition | None:
        """`above`: identities of what `data` stands in, since a YAML alias can make a thing part of itself."""
        if id(data) in above or len(above) > _MAX_DEPTH:
            self.report(path, f"conditions nested deeper than {_MAX_DEPTH}", "")
            return None
        above = (*above, id(data))
        match data:
            case str():
                return self.named(data, path)
            case list():
                return self.parts(data, path, above, Any)
            case dict() if data:
                return self.mapping(data, path, above)
        self.report(path, "this is no condition", "a condition is a mapping, a list, or the name of a test")
        return None

    def named(self, name: str, path: Path) -> Condition | None:
        if name in self.tests:
            return Named(name, self.tests[name])
        hint = nearest(name, self.tests)
        if not hint and name in FETCHES:
            hint = f"a test of that fact is written {{{name}: …}}"
        self.report(path, f'there is no test "{name}"', hint)
        return None

    def parts(
        self, data: list[object], path: Path, above: tuple[int, ...], kind: type[All] | type[Any]
    ) -> Condition | None:
        if not data:
            self.report(path, "an empty list of conditions", "")
            return None
        built = [self.condition(part, (*path, index), above) for index, part in enumerate(data)]
        parts = tuple(part for part in built if part is not None)
        if len(parts) < len(built):
            return None
        return parts[0] if len(parts) == 1 else kind(parts)

    def mapping(self, data: dict[object, object], path: Path, above: tuple[int, ...]) -> Condition | None:
        built = [self.entry(key, value, (*path, str(key)), above) for key, value in data.items()]
        parts = tuple(part for part in built if part is not None)
        if len(parts) < len(built):
            return None
        return parts[0] if len(parts) == 1 else All(parts)

    def entry(self, key: object, value: object, path: Path, above: tuple[int, ...]) -> Condition | None:
        if key == "not":
            part = self.condition(value, path, above)
            return None if part is None else Not(part)
        if key in ("all", "any"):
            if not isinstance(value, list):
                self.report(path, f'"{key}" takes a list of conditions', "")
                return None
            return self.parts(value, path, above, All if key == "all" else Any)
        if not isinstance(key, str):
            self.report(path, f"{key!r} is no fact", "")
            return None
        try:
            expression = parse(key)
        except ExpressionError as error:
            place = f" (character {error.offset + 1})" if error.offset else ""
            self.report(path, f'in "{key}": {error.message}{place}' if place else error.message, error.hint)
            return None
        return self.test(expression, value, path)

    def test(self, expression: Expression, value: object, path: Path) -> Condition | None:
        """One fact compared: `value` is patterns, or {method: patterns, ignore_case: …}."""
        method, ignore_case = default_method(expression), False
        if isinstance(value, dict):
            options = dict(value)
            ignored = options.pop("ignore_case", False)
            if not isinstance(ignored, bool):
                self.report((*path, "ignore_case"), "ignore_case is true or false", "")
                return None
            ignore_case = ignored
            if len(options) != 1:
                found = ", ".join(map(str, options)) or "none"
                self.report(path, f"one method is needed, not {found}", f"methods are {', '.join(METHODS)}")
                return None
            ((name, value),) = options.items()
            path = (*path, str(name))
            if name not in METHODS:
                hint = nearest(str(name), METHODS) or f"methods are {', '.join(METHODS)}"
                self.report(path, f'there is no method "{name}"', hint)
                return None
            method = str(name)
        patterns = self.patterns(value, method, path)
        if patterns is None:
            return None
        try:
            matcher = Matcher.build(method, patterns, ignore_case, expression.type)
        except PatternError as error:
            place = (*path, error.index) if error.index >= 0 and isinstance(value, list) else path
            what = f'"{patterns[error.index]}": ' if error.index >= 0 else f"{expression}: "
            self.report(place, what + error.message, "")
            return None
        self.advise(expression, matcher, path, isinstance(value, list))
        return Test(expression, matcher, f"{expression} {matcher.says()}")

    def patterns(self, value: object, method: str, path: Path) -> list[str] | None:
        """Patterns as text. YAML reads some of them as numbers or truth values."""
        values = value if isinstance(value, list) else [value]
        if not values:
            self.report(path, "an empty list of patterns never holds", "")
            return None
        patterns: list[str] = []
        for index, pattern in enumerate(values):
            if isinstance(pattern, bool) and method not in ("found", "boolean"):
                pattern = None
            if isinstance(pattern, bool):
                patterns.append("true" if pattern else "false")
            elif isinstance(pattern, str | int) or (isinstance(pattern, float) and method == "version"):
                patterns.append(str(pattern))
            else:
                place = (*path, index) if isinstance(value, list) else path
                self.report(place, "a pattern is text or a number", "put it in quotes")
        return patterns if len(patterns) == len(values) else None

    def advise(self, expression: Expression, matcher: Matcher, path: Path, listed: bool) -> None:
        """Warn of patterns that hold for more, or for less, than they seem to."""
        about_name = expression.fact.name in _NAMES and expression.type == "string"
        for index, pattern in enumerate(matcher.patterns):
            place = (*path, index) if listed else path
            if matcher.method == "regex" and about_name:
                if advice := loose_regex(pattern):
                    self.warn(place, *advice)
            elif matcher.method == "suffix" and about_name and pattern and not pattern.startswith("."):
                self.warn(
                    place,
                    f'the suffix "{pattern}" also holds for "not{pattern}", which is another name',
                    f'"*.{pattern}" as a name, or ".{pattern}"',
                )
            elif matcher.method == "cidr" and (meant := abbreviated(pattern)):
                self.warn(place, f'"{pattern}" stands for {meant[0]}', f"write {meant[1]} if that is meant")


_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", re.DOTALL)
_FLAGS = re.compile(r"\(\?[aimsux]+\)")


def loose_regex(pattern: str) -> tuple[str, str] | None:
    """Why a regular expression for names holds for other names as well, and what was probably meant. None: it is tight.

    Looks for what is written by mistake, not for what can be proven: no anchor at an end, and dots that stand for any
    character although what is around them reads like a host name.
    """
    flags = _FLAGS.match(pattern)
    front = flags[0] if flags else ""
    tokens = _TOKEN.findall(pattern[len(front) :])
    branches = _branches(tokens)
    begins = all(branch[:1] in (["^"], ["\\A"]) or branch[:2] == [".", "*"] for branch in branches)
    ends = all(branch[-1:] in (["$"], ["\\Z"]) or branch[-2:] == [".", "*"] for branch in branches)
    dots = {
        index
        for index, (token, after) in enumerate(zip(tokens, [*tokens[1:], ""], strict=True))
        if token == "." and after not in ("*", "+", "?", "{")
    }
    if begins and ends and not dots:
        return None
    holes = []
    if not (begins and ends):
        where = "" if not (begins or ends) else " at its end" if begins else " at its beginning"
        holes.append(f"it is not anchored{where}, so it holds for longer names too")
    if dots:
        holes.append("a bare dot stands for any character")
    tight = "".join("\\." if index in dots else token for index, token in enumerate(tokens))
    if len(branches) > 1 and not (begins and ends):
        tight, begins, ends = f"(?:{tight})", False, False
    tight = front + ("" if begins else "^") + tight + ("" if ends else "$")
    return f"the regex /{pattern}/ holds for more names than it seems to: {'; '.join(holes)}", f"write {tight}"


def _branches(tokens: list[str]) -> list[list[str]]:
    """What stands between the outermost "|"."""
    branches: list[list[str]] = [[]]
    depth = 0
    for token in tokens:
        depth += {"(": 1, ")": -1}.get(token, 0)
        if token == "|" and depth == 0:
            branches.append([])
        else:
            branches[-1].append(token)
    return branches
