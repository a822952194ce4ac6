"""YAML and JSON text as data, as Kubernetes takes it, and the place of every value in it.

Called by `manifests`. The third of our readers of YAML, since neither other fits: a value's type counts here (`port:
"80"` is no number), a text holds many documents, and there may be thousands of them. So data is built from the C
parser's events in one pass, and places are looked up only when somebody asks. Reads no files; raises nothing for bad
text: it is reported, and what comes after it is not read.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Protocol, cast

import yaml

from ferryman.config.place import Mistake
from ferryman.config.source import Diagnostics, Mark, Path, Source

Json = bool | int | float | str | list["Json"] | dict[str, "Json"] | None
"""What a document is made of."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DEEPEST: Final = 60
_TEMPLATE: Final = "this is a template: render it first, such as with `helm template`"
_EXPANDED: Final = 100_000  # values that aliases may add to what is written out


class Places(Protocol):
    """Where the values of one document stand."""

    def value(self, path: Path) -> Mark:
        """The place of a value, or of the nearest thing around it."""

    def key(self, path: Path) -> Mark:
        """The place of the key of an entry, or of the nearest thing around it."""


@dataclass(frozen=True, slots=True)
class Found:
    """A document."""

    data: Json
    places: Places


def documents(source: Source, diagnostics: Diagnostics) -> Iterator[Found]:
    """The documents of a text, one by one; what is wrong with it is reported."""
    text = source.text.lstrip()
    if text[:1] in ("{", "[") and (found := _json(source)) is not None:
        yield from found
        return
    yield from _yaml(source, diagnostics)


# JSON: the standard library reads it fast and forgets the places, which are found again where they are needed


class _RepeatedError(ValueError):
    """A key that is twice in one object: the other reader finds its place."""


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    built = dict(pairs)
    if len(built) != len(pairs):
        raise _RepeatedError
    return built


def _constant(name: str) -> Json:
    raise ValueError(name)


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_constant)
_SKIPPER: Final = json.JSONDecoder()
_BLANK: Final = re.compile(r"[ \t\n\r]*")


def _json(source: Source) -> list[Found] | None:
    """All documents of JSON, one after the other; None when it is not that: YAML's reader says what is wrong."""
    found: list[Found] = []
    text, at = source.text, _after_blank(source.text, 0)
    try:
        while at < len(text):
            data, end = _DECODER.raw_decode(text, at)
            found.append(Found(cast(Json, data), _JsonPlaces(source, at)))
            at = _after_blank(text, end)
    except (ValueError, RecursionError):
        return None
    return found


def _after_blank(text: str, at: int) -> int:
    blank = _BLANK.match(text, at)
    assert blank is not None
    return blank.end()


@dataclass(slots=True)
class _JsonPlaces:
    """Walks to a value by skipping others. `_known` keeps where the entries of a container begin, once walked."""

    source: Source
    start: int
    _known: dict[int, dict[str | int, tuple[int, int]]] = field(default_factory=dict)

    def value(self, path: Path) -> Mark:
        return self._mark(self._walk(path)[1])

    def key(self, path: Path) -> Mark:
        return self._mark(self._walk(path)[0])

    def _walk(self, path: Path) -> tuple[int, int]:
        """Where the key and the value begin."""
        here = self.start, self.start
        for step in path:
            entries = self._entries(here[1])
            if step not in entries:
                break
            here = entries[step]
        return here

    def _entries(self, at: int) -> dict[str | int, tuple[int, int]]:
        if at not in self._known:
            self._known[at] = dict(self._scan(at))
        return self._known[at]

    def _scan(self, at: int) -> Iterator[tuple[str | int, tuple[int, int]]]:
        """The entries of the container that begins here; the text was read before, so it is right."""
        text = self.source.text
        if text[at] not in "{[":
            return
        mapping, close = text[at] == "{", "}" if text[at] == "{" else "]"
        at, index = _after_blank(text, at + 1), 0
        while text[at] != close:
            name: str | int = index
            key = at
            if mapping:
                decoded, end = _SKIPPER.raw_decode(text, at)
                name = cast(str, decoded)
                at = _after_blank(text, _after_blank(text, end) + 1)
            yield name, (key if mapping else at, at)
            at = _after_blank(text, _SKIPPER.raw_decode(text, at)[1])
            at = _after_blank(text, at + 1) if text[at] == "," else at
            index += 1

    def _mark(self, at: int) -> Mark:
        text, starts = self.source.text, _line_starts(self.source.text)
        line = bisect_right(starts, at)
        end = at + 1 if text[at] in "{[" else _SKIPPER.raw_decode(text, at)[1]
        return Mark(self.source.name, line, at - starts[line - 1] + 1, end - at)


@lru_cache(4)
def _line_starts(text: str) -> list[int]:
    return [0, *(found.end() for found in re.finditer("\n", text))]


# YAML


def _yaml(source: Source, diagnostics: Diagnostics) -> Iterator[Found]:
    try:
        yield from _Data(source).documents()
    except yaml.MarkedYAMLError as error:
        place: Any = error.problem_mark or error.context_mark
        mark = _within(source, place.line, place.column) if place else Mark(source.name, 1, 1)
        diagnostics.error(mark, f"this is not YAML: {error.problem}", _hint(source, mark))
    except Mistake as mistake:
        diagnostics.error(mistake.mark, mistake.message, mistake.hint)
    except (yaml.YAMLError, UnicodeEncodeError, RecursionError) as error:
        if found := yaml.reader.Reader.NON_PRINTABLE.search(source.text):
            before = source.text[: found.start()]
            mark = Mark(source.name, before.count("\n") + 1, found.start() - before.rfind("\n"), 1)
            diagnostics.error(mark, f"character U+{ord(found[0]):04X} cannot be in YAML", "remove it")
        else:
            diagnostics.error(Mark(source.name, 1, 1), f"this is not YAML: {error}")


def _within(source: Source, line: int, column: int) -> Mark:
    """A place, cut to the text: at the end of it the parser points behind it."""
    lines = source.text.split("\n")
    line = min(line, len(lines) - 1)
    return Mark(source.name, line + 1, min(column, len(lines[line])) + 1, 0)


def _hint(source: Source, mark: Mark) -> str:
    line = source.text.split("\n")[mark.line - 1]
    if "{{" in source.text:
        return _TEMPLATE
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "indent with blanks, not with tabs"
    if found := re.search(r"(?:^|[:,\[{-]\s+|-\s)([*%@`][^\s,#]*)", line):
        return f"quote what begins with {found[1][0]}: '{found[1]}'"
    return ""


_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"), False),
}
"""YAML 1.1's, as Kubernetes reads them: an unquoted `no` is no text."""
_NUMBER: Final = re.compile(r"[-+]?(?:\d{1,18}|0[xX][0-9a-fA-F]{1,15}|0[oO]?[0-7]{1,18})")
_FLOAT: Final = re.compile(r"[-+]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


@lru_cache(4096)
def resolve(text: str) -> Json:
    """The value of an unquoted scalar."""
    if text in _WORDS:
        return _WORDS[text]
    first = text[0]
    if not (first in "-+." or first.isdigit()):
        return text
    if _NUMBER.fullmatch(text):
        digits = text.lstrip("+-")
        if digits[0] == "0" and len(digits) > 1 and digits.isdigit():  # an octal number, or none at all
            return int(digits, 8) if set(digits) <= set("01234567") else float(digits)
        return int(text, 0)
    return float(text.replace(".inf", "inf").replace(".nan", "nan")) if _FLOAT.fullmatch(text.lower()) else text


_Event = Any
"""The parser's: the stubs of PyYAML do not know what its events have."""
_Node = Any
"""Where something stands: the event of a scalar; or of a container, with (event of the key, node) of each entry."""


class _Data:
    """Makes data of events. Keeps none of them: a hundred thousand objects more cost more time than all the rest."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._events: Iterator[_Event] = yaml.parse(source.text, Loader=_LOADER)
        self._anchors: dict[str, tuple[Json, int]] = {}  # with the number of values in it
        self._seen = 0
        self._added = 0

    def documents(self) -> Iterator[Found]:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors.clear()
                mark: Any = event.start_mark
                data = self._value(next(self._events), 0)
                end: Any = next(self._events).end_mark
                yield Found(data, _YamlPlaces(self._source, mark.index, end.index, mark.line))

    def _mistake(self, event: _Event, message: str, hint: str = "") -> Mistake:
        return Mistake(_mark(self._source.name, event, 0), message, hint)

    def _value(self, event: _Event, depth: int) -> Json:
        kind = type(event)
        self._seen += 1
        if kind is yaml.ScalarEvent and not event.anchor:
            return self._scalar(event)
        if kind is yaml.AliasEvent:
            return self._alias(event)
        if depth > _DEEPEST:
            raise self._mistake(event, f"nested more than {_DEEPEST} levels deep")
        before = self._seen
        built: Json
        if kind is yaml.ScalarEvent:
            built = self._scalar(event)
        elif kind is yaml.MappingStartEvent:
            built = self._mapping(depth + 1)
        else:
            built = self._sequence(depth + 1)
        if event.anchor:
            self._anchors[event.anchor] = built, self._seen - before + 1
        return built

    def _alias(self, event: _Event) -> Json:
        if event.anchor not in self._anchors:
            raise self._mistake(event, f"*{event.anchor} stands for nothing", "quote what begins with *")
        built, size = self._anchors[event.anchor]
        self._seen += size
        self._added += size
        if self._added > _EXPANDED:
            raise self._mistake(event, "its aliases (*) expand to far too many values", "write less of them")
        return built

    def _scalar(self, event: _Event) -> Json:
        if event.implicit[0] and event.tag is None:
            return resolve(event.value)
        if event.tag in (None, "!", "tag:yaml.org,2002:str"):
            return cast(str, event.value)
        raise self._mistake(event, f"the tag {event.tag} means nothing here", "remove it")

    def _sequence(self, depth: int) -> list[Json]:
        built: list[Json] = []
        for each in self._events:
            if type(each) is yaml.SequenceEndEvent:
                break
            built.append(self._value(each, depth))
        return built

    def _mapping(self, depth: int) -> dict[str, Json]:
        built: dict[str, Json] = {}
        merged: list[Json] = []
        for key in self._events:
            kind = type(key)
            if kind is yaml.MappingEndEvent:
                break
            if kind is not yaml.ScalarEvent:
                hint = _TEMPLATE if "{{" in self._source.text else "quote it if it is meant as text"
                raise self._mistake(key, "a key is a word", hint)
            name = key.value
            value = self._value(next(self._events), depth)
            if name == "<<" and key.implicit[0]:
                if not isinstance(value, dict):
                    raise self._mistake(key, "<< takes one mapping", "write `<<: *name` for each")
                merged.append(value)
            elif name in built:
                raise self._mistake(key, f"`{name}` is already there, further up", "keep one of them")
            else:
                built[name] = value
        for each in merged:
            for name, value in cast(dict[str, Json], each).items():
                built.setdefault(name, value)
        return built


@dataclass(slots=True)
class _YamlPlaces:
    """Parses its document once more when it is asked; the text was read before, so it is right."""

    source: Source
    start: int
    end: int
    line: int  # of the first character, from 0
    _tree: _Node = None

    def value(self, path: Path) -> Mark:
        return _mark(self.source.name, self._walk(path)[1], self.line)

    def key(self, path: Path) -> Mark:
        return _mark(self.source.name, self._walk(path)[0], self.line)

    def _walk(self, path: Path) -> tuple[_Event, _Event]:
        """The events of the key and of the value."""
        if self._tree is None:
            events: Iterator[_Event] = yaml.parse(self.source.text[self.start : self.end], Loader=_LOADER)
            first = next(event for event in events if isinstance(event, yaml.DocumentStartEvent))
            assert first is not None
            self._tree = _places(next(events), events, {})
        key = node = self._tree
        for step in path:
            entries = node[1] if isinstance(node, tuple) else {}
            if step not in entries:
                break
            key, node = entries[step]
        return (key[0] if isinstance(key, tuple) else key), (node[0] if isinstance(node, tuple) else node)


def _places(event: _Event, events: Iterator[_Event], anchors: dict[str, _Node]) -> _Node:
    """The places of the value that begins with `event`."""
    if isinstance(event, yaml.AliasEvent):
        return anchors[str(event.anchor)]
    node: _Node = event
    entries: dict[str | int, tuple[_Event, _Node]] = {}
    if isinstance(event, yaml.SequenceStartEvent):
        for index, each in enumerate(events):
            if isinstance(each, yaml.SequenceEndEvent):
                break
            entries[index] = each, _places(each, events, anchors)
        node = event, entries
    elif isinstance(event, yaml.MappingStartEvent):
        merged: list[dict[str | int, tuple[_Event, _Node]]] = []
        for key in events:
            if isinstance(key, yaml.MappingEndEvent):
                break
            value = _places(next(events), events, anchors)
            if key.value == "<<" and key.implicit[0]:
                merged.append(value[1])
            else:
                entries[key.value] = key, value
        for more in merged:
            for name, entry in more.items():
                entries.setdefault(name, entry)
        node = event, entries
    if isinstance(event, yaml.NodeEvent) and event.anchor:
        anchors[str(event.anchor)] = node
    return node


def _mark(file: str, event: _Event, line: int) -> Mark:
    start, end = event.start_mark, event.end_mark
    length = end.column - start.column if end.line == start.line else 1
    return Mark(file, line + start.line + 1, start.column + 1, max(length, 1))
