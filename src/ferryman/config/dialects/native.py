"""The native dialect: YAML, the 1.2 core schema's idea of types, with the place of every key and value.

Called by config.load. Builds data from the parser's events itself, so that depth and the expansion of aliases are
bounded, keys may not repeat, and `no` stays text. It knows nothing of what the keys mean: that is config.model's.

Inside values (not keys) ${NAME} and ${NAME:-default} stand for environment variables, $${ for a plain ${. Top-level
keys that begin with x- are room for anchors and are left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import yaml

from ferryman.config.source import Diagnostics, Document, Mark, Path, Source

NAME: Final = "ferryman"

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DEEPEST: Final = 60
_EXPANDED: Final = 100_000  # values that aliases may add to what is written out

_LISTENERS = re.compile(r"""^\s*\{?\s*["']?listeners["']?\s*:""", re.MULTILINE)
_SECTIONS = re.compile(r"""^\s*\{?\s*["']?(global|backends)["']?\s*:""", re.MULTILINE)


def recognise(source: Source) -> int:
    """How sure it is that this text is native: 0 to 100."""
    if _LISTENERS.search(source.text):
        return 90
    if _SECTIONS.search(source.text):
        return 70
    return 30 if source.name.endswith((".yaml", ".yml", ".json")) else 0


def parse(sources: Sequence[Source], diagnostics: Diagnostics, environment: Mapping[str, str]) -> Document:
    """Read and unite the sources. A source that is no YAML at all leaves `data` empty, as nothing can be said of it."""
    trees = [_Tree(source, diagnostics, environment) for source in sources]
    read = [tree.read() for tree in trees]
    if not all(read):
        return Document(NAME, {}, {})
    whole = trees[0]
    for tree in trees[1:]:
        _unite(whole, tree, diagnostics)
    return Document(NAME, whole.data, whole.marks, whole.keys)


def resolve(text: str) -> object:
    """The value of a plain (unquoted) YAML scalar. Numbers with leading zeros stay text: they are modes or ids."""
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE"):
        return True
    if text in ("false", "False", "FALSE"):
        return False
    if re.fullmatch(r"[-+]?(0|[1-9][0-9]{0,17})", text):
        return int(text)
    if re.fullmatch(r"[-+]?(0|[1-9][0-9]{0,17})?\.[0-9]{1,18}|[-+]?[1-9][0-9]{0,17}\.", text):
        return float(text)
    return text


_VARIABLE = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})?")


class _VariableError(ValueError):
    """A ${…} that cannot be expanded; the hint is the second argument."""


def _expand(text: str, environment: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        name, default = found[1], found[2]
        if found[0] == "$${":
            return "${"
        if name is None:
            raise _VariableError("a ${ that no variable's name and } follow", "write $${ for a plain ${")
        if default is not None:
            return environment.get(name) or default
        if name not in environment:
            raise _VariableError(
                f"the environment variable {name} is not set", f"set it, or write ${{{name}:-default}}"
            )
        return environment[name]

    return _VARIABLE.sub(value, text)


class _StopError(Exception):
    """The rest of this source cannot be made sense of; already reported."""


class _Tree:
    """One source's data, built from YAML events; `marks` and `keys` as in Document."""

    def __init__(self, source: Source, diagnostics: Diagnostics, environment: Mapping[str, str]) -> None:
        self.source = source
        self.data: dict[str, object] = {}
        self.marks: dict[Path, Mark] = {}
        self.keys: dict[Path, Mark] = {}
        self._diagnostics = diagnostics
        self._environment = environment
        self._events: list[yaml.Event] = []
        self._anchors: dict[str, int] = {}  # name -> index of the event that begins what it names
        self._targets: dict[int, int | None] = {}  # index of an alias event -> the same
        self._budget = 0

    def read(self) -> bool:
        """Fill data, marks and keys. False when the text is no YAML, or not a single mapping."""
        self.marks[()] = Mark(self.source.name, 1, 1)
        try:
            self._events = self._parse()
            self._budget = len(self._events) + _EXPANDED
            starts = [i for i, event in enumerate(self._events) if isinstance(event, yaml.DocumentStartEvent)]
            if not starts:
                return True
            if len(starts) > 1:
                raise self._stop(self._mark(self._events[starts[1]]), "a second document begins here", "keep one")
            value, _ = self._value(starts[0] + 1, (), 0)
        except _StopError:
            return False
        if value is None:
            return True
        if not isinstance(value, dict):
            mark = self._mark(self._events[starts[0] + 1])
            self._diagnostics.error(mark, "a configuration is a mapping", "begin with `listeners:`")
            return False
        self.data = {key: entry for key, entry in value.items() if entry is not None and not key.startswith("x-")}
        return True

    def _parse(self) -> list[yaml.Event]:
        text = self.source.text
        if found := yaml.reader.Reader.NON_PRINTABLE.search(text):
            before = text[: found.start()]
            mark = Mark(self.source.name, before.count("\n") + 1, found.start() - before.rfind("\n"), 1)
            raise self._stop(mark, f"character U+{ord(found[0]):04X} cannot be in YAML", "remove it")
        try:
            return list(yaml.parse(text, Loader=_LOADER))
        except yaml.MarkedYAMLError as error:
            place = error.problem_mark or error.context_mark
            line = text.split("\n")[place.line] if place and place.line < text.count("\n") + 1 else ""
            mark = Mark(self.source.name, place.line + 1, place.column + 1, 1) if place else self.marks[()]
            where = f" ({error.context})" if error.context else ""
            raise self._stop(mark, f"this is not YAML: {error.problem}{where}", _syntax_hint(line)) from None
        except (yaml.YAMLError, RecursionError) as error:
            raise self._stop(self.marks[()], f"this is not YAML: {error}", "") from None

    def _stop(self, mark: Mark, message: str, hint: str) -> _StopError:
        self._diagnostics.error(mark, message, hint)
        return _StopError()

    def _mark(self, event: yaml.Event) -> Mark:
        start, end = cast(Any, event.start_mark), cast(Any, event.end_mark)
        length = end.column - start.column if end.line == start.line else 1
        return Mark(self.source.name, start.line + 1, start.column + 1, max(length, 1))

    def _value(self, index: int, path: Path, depth: int) -> tuple[Any, int]:
        """Build the value that begins with event `index`; return it and the index of the event after it."""
        event = cast(Any, self._events[index])
        self._budget -= 1
        if self._budget < 0:
            raise self._stop(self._mark(event), "its aliases (*) expand to far too many values", "write less of them")
        if depth > _DEEPEST:
            raise self._stop(self._mark(event), f"nested more than {_DEEPEST} levels deep", "")
        if path not in self.marks:
            self.marks[path] = self._mark(event)
        if isinstance(event, yaml.AliasEvent):
            target = self._targets.setdefault(index, self._anchors.get(str(event.anchor)))
            if target is None:
                message = f"*{event.anchor} stands for nothing: no &{event.anchor} comes before it"
                self._diagnostics.error(self._mark(event), message, "quote the value if it should begin with *")
                return None, index + 1
            return self._value(target, path, depth + 1)[0], index + 1
        if isinstance(event, yaml.ScalarEvent):
            built: Any = self._scalar(event, path)
            after = index + 1
        elif isinstance(event, yaml.SequenceStartEvent):
            built, after = self._sequence(index + 1, path, depth)
        else:
            built, after = self._mapping(index + 1, path, depth)
        if event.anchor:
            self._anchors[event.anchor] = index
        return built, after

    def _scalar(self, event: Any, path: Path) -> object:
        if event.tag not in (None, "!", "tag:yaml.org,2002:str"):
            self._diagnostics.error(self._mark(event), f"the tag {event.tag} means nothing here", "remove it")
            return None
        try:
            text = _expand(event.value, self._environment)
        except _VariableError as error:
            self._diagnostics.error(self._mark(event), *error.args)
            return event.value
        # a password stays text whatever it looks like, so that no complaint about its type can show it
        plain = event.implicit[0] and event.tag is None and path[-2:-1] != ("users",)
        return resolve(text) if plain else text

    def _sequence(self, index: int, path: Path, depth: int) -> tuple[list[Any], int]:
        built: list[Any] = []
        while not isinstance(self._events[index], yaml.SequenceEndEvent):
            entry, index = self._value(index, (*path, len(built)), depth + 1)
            built.append(entry)
        return built, index + 1

    def _mapping(self, index: int, path: Path, depth: int) -> tuple[dict[str, Any], int]:
        built: dict[str, Any] = {}
        merged: list[tuple[Any, dict[Path, Mark], dict[Path, Mark]]] = []
        while not isinstance(self._events[index], yaml.MappingEndEvent):
            event = cast(Any, self._events[index])
            key = self._key(event)
            if key is None:
                index = self._after(self._after(index))
            elif key == "<<" and event.implicit[0]:
                outer = self.marks, self.keys
                self.marks, self.keys = {}, {}
                value, index = self._value(index + 1, path, depth + 1)
                merged.append((value, self.marks, self.keys))
                self.marks, self.keys = outer
            elif key in built:
                before = self.keys[*path, key]
                self._diagnostics.error(
                    self._mark(event), f"the key {key!r} is already there, at {before}", "keep one of them"
                )
                index = self._after(index + 1)
            else:
                self.keys[*path, key] = self._mark(event)
                if not isinstance(self._events[index + 1], yaml.ScalarEvent):
                    self.marks[*path, key] = self._mark(event)
                built[key], index = self._value(index + 1, (*path, key), depth + 1)
        for value, marks, keys in merged:
            self._merge(built, path, value, marks, keys)
        return built, index + 1

    def _merge(
        self, into: dict[str, Any], path: Path, value: object, marks: dict[Path, Mark], keys: dict[Path, Mark]
    ) -> None:
        """`<<`: take over the entries of a mapping that are not there yet."""
        if not isinstance(value, dict):
            self._diagnostics.error(marks.get(path), "<< takes one mapping", "write `<<: *name` for each")
            return
        new = {key: entry for key, entry in value.items() if key not in into}
        into.update(new)
        at = len(path)
        self.marks.update((p, mark) for p, mark in marks.items() if len(p) > at and p[at] in new)
        self.keys.update((p, mark) for p, mark in keys.items() if len(p) > at and p[at] in new)

    def _key(self, event: Any) -> str | None:
        if isinstance(event, yaml.ScalarEvent) and event.value:
            return event.value
        self._diagnostics.error(self._mark(event), "a key is a word", "quote it if it is meant as text")
        return None

    def _after(self, index: int) -> int:
        """The index of the event after the whole value that begins at `index`."""
        depth = 0
        while True:
            event = self._events[index]
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            index += 1
            if depth == 0:
                return index


def _syntax_hint(line: str) -> str:
    """What a person who wrote this line may not know about YAML."""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "indent with blanks, not with tabs"
    if found := re.search(r"(?:^|[:,\[{-]\s+|-\s)([*%@`][^\s,#]*|\[[0-9A-Fa-f:.]+\][^\s,#]*)", line):
        return f'quote what begins with {found[1][0]}: "{found[1]}"'
    if found := re.search(r"[\[{].*(\$\{[^}]*\})", line):
        return f'quote it within [] and {{}}: "{found[1]}"'
    return ""


def _unite(whole: _Tree, other: _Tree, diagnostics: Diagnostics) -> None:
    """Take over the sections of another source; whatever both define is an error unless it can be added up."""
    refused: set[Path] = set()
    moved: dict[Path, int] = {}  # lists that were appended -> how many entries stood there before
    for section, entries in other.data.items():
        present = whole.data.setdefault(section, entries)
        if present is entries:
            continue
        if not (isinstance(present, dict) and isinstance(entries, dict)):
            refused.add((section,))
            continue
        for name, entry in entries.items():
            old = present.get(name)
            if name not in present:
                present[name] = entry
            elif section == "global" and isinstance(old, list) and isinstance(entry, list):
                moved[section, name] = len(old)
                old.extend(entry)
            elif section != "global" or old != entry:
                refused.add((section, name))
    for path in sorted(refused, key=str):
        place = whole.keys.get(path) or whole.marks[()]
        message = f"{'.'.join(map(str, path))} is already defined, at {place}"
        diagnostics.error(other.keys.get(path), message, "keep one of them, or give the other another name")
    for of, into in ((other.marks, whole.marks), (other.keys, whole.keys)):
        for path, mark in of.items():
            if path[:1] not in refused and path[:2] not in refused:
                shift = moved.get(path[:2], 0) if len(path) > 2 else 0
                at = (*path[:2], cast(int, path[2]) + shift, *path[3:]) if shift else path
                into.setdefault(at, mark)
