"""YAML as a tree in which every key and value knows its place.

Called for files of YAML that are not native: Traffic Server's, OpenNebula's. All scalars are text: what they mean is up
to whoever takes them. Raises nothing: what is no YAML, or too much of it, is reported, and there is no tree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from ferryman.config.place import Mistake, Word
from ferryman.config.source import Diagnostics, Mark, Source

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DEEPEST: Final = 40
_LARGEST: Final = 200_000  # values, those that aliases stand for among them


@dataclass(slots=True)
class Mapping:
    """Values by key; `keys` has the keys as they stand."""

    mark: Mark
    values: dict[str, Value] = field(default_factory=dict)
    keys: dict[str, Word] = field(default_factory=dict)


@dataclass(slots=True)
class Sequence:
    """A list."""

    mark: Mark
    items: list[Value] = field(default_factory=list)


Value = Word | Mapping | Sequence


def one(value: Value, name: str) -> Word:
    """A single value that says something. Raises Mistake."""
    if not isinstance(value, Word):
        raise Mistake(value.mark, f"`{name}` takes one value")
    if not value.text:
        raise Mistake(value, f"`{name}` needs a value")
    return value


def several(value: Value, name: str) -> list[Word]:
    """A list of values, or a single one. Raises Mistake."""
    items = value.items if isinstance(value, Sequence) else [value]
    return [one(item, name) for item in items]


def documents(source: Source, diagnostics: Diagnostics) -> list[Value]:
    """The trees of all documents in a text; none when it cannot be read."""
    if found := yaml.reader.Reader.NON_PRINTABLE.search(source.text):
        before = source.text[: found.start()]
        mark = Mark(source.name, before.count("\n") + 1, found.start() - before.rfind("\n"), 1)
        diagnostics.error(mark, f"character U+{ord(found[0]):04X} cannot be in YAML", "remove it")
        return []
    try:
        return _Builder(source, diagnostics, list(yaml.parse(source.text, Loader=_LOADER))).documents()
    except yaml.MarkedYAMLError as error:
        place = error.problem_mark or error.context_mark
        mark = _within(source, place.line, place.column, 1) if place else Mark(source.name, 1, 1)
        diagnostics.error(mark, f"this is not YAML: {error.problem}", _hint(source, mark))
    except (yaml.YAMLError, RecursionError) as error:
        diagnostics.error(Mark(source.name, 1, 1), f"this is not YAML: {error}")
    except Mistake as mistake:
        diagnostics.error(mistake.mark, mistake.message, mistake.hint)
    return []


def _within(source: Source, line: int, column: int, length: int) -> Mark:
    """A place, cut to the line: at the end of a text the parser points behind it."""
    lines = source.text.split("\n")
    line = min(line, len(lines) - 1)
    column = min(column, len(lines[line]))
    return Mark(source.name, line + 1, column + 1, max(0, min(length, len(lines[line]) - column)))


def _hint(source: Source, mark: Mark) -> str:
    line = source.text.split("\n")[mark.line - 1]
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "indent with blanks, not with tabs"
    if found := re.search(r"(?:^|[:,\[{-]\s+|-\s)([*%@`][^\s,#]*)", line):
        return f"quote what begins with {found[1][0]}: '{found[1]}'"
    return ""


class _Builder:
    """Makes values of events. `_anchors`: name -> index of the event that begins what it names."""

    def __init__(self, source: Source, diagnostics: Diagnostics, events: list[Any]) -> None:
        self._source = source
        self._diagnostics = diagnostics
        self._events = events
        self._anchors: dict[str, int] = {}
        self._left = _LARGEST

    def documents(self) -> list[Value]:
        starts = [at + 1 for at, event in enumerate(self._events) if isinstance(event, yaml.DocumentStartEvent)]
        return [self._value(start, 0)[0] for start in starts]

    def _mark(self, event: Any) -> Mark:
        start, end = event.start_mark, event.end_mark
        length = end.column - start.column if end.line == start.line else 1
        return _within(self._source, start.line, start.column, length)

    def _value(self, index: int, depth: int) -> tuple[Value, int]:
        """The value that begins with event `index`, and the index of the event after it."""
        event: Any = self._events[index]
        mark = self._mark(event)
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            raise Mistake(mark, "this is nested too deep" if depth > _DEEPEST else "these are too many values")
        if isinstance(event, yaml.AliasEvent):
            at = self._anchors.get(str(event.anchor))
            if at is None:
                raise Mistake(mark, f"*{event.anchor} stands for nothing", "quote what begins with *")
            return self._value(at, depth + 1)[0], index + 1
        if isinstance(event, yaml.ScalarEvent):
            plain = event.implicit[0] and event.value in ("~", "null", "Null", "NULL")
            built: Value = Word("" if plain else event.value, mark)
            after = index + 1
        elif isinstance(event, yaml.SequenceStartEvent):
            built, after = self._sequence(index + 1, mark, depth)
        else:
            built, after = self._mapping(index + 1, mark, depth)
        if event.anchor:
            self._anchors[event.anchor] = index
        return built, after

    def _sequence(self, index: int, mark: Mark, depth: int) -> tuple[Sequence, int]:
        built = Sequence(mark)
        while not isinstance(self._events[index], yaml.SequenceEndEvent):
            item, index = self._value(index, depth + 1)
            built.items.append(item)
        return built, index + 1

    def _mapping(self, index: int, mark: Mark, depth: int) -> tuple[Mapping, int]:
        built = Mapping(mark)
        while not isinstance(self._events[index], yaml.MappingEndEvent):
            key, index = self._value(index, depth + 1)
            value, index = self._value(index, depth + 1)
            if not isinstance(key, Word):
                self._diagnostics.error(key.mark, "a key is a word")
            elif key.text in built.values:
                first = built.keys[key.text].mark
                self._diagnostics.error(key.mark, f"`{key.text}` is already there, at {first}", "keep one of them")
            else:
                built.keys[key.text], built.values[key.text] = key, value
        return built, index + 1
