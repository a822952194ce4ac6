"""Lines into services: comments, `[service]`, `name = value`, folders that are included.

Called by the package's `parse`. What stands before the first service counts for all of them, as in stunnel: it is
what each service's own options follow. Knows which options there are (keywords.py), and what none of them means.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from ferryman.config.dialects.stunnel import keywords
from ferryman.config.dialects.stunnel.keywords import GLOBAL, SERVICE
from ferryman.config.place import Mistake, RawLine, Word
from ferryman.config.source import Diagnostics, Mark, Source

_DEEPEST: Final = 16  # folders within folders
_LARGEST: Final = 1 << 20  # bytes of an included file
_BLANKS: Final = " \t\r\v\f"
_ALIASES: Final = {"curve": "curves", "session": "sessioncachetimeout"}


@dataclass(slots=True)
class Options:
    """Options in the order of the file, names in lower case: of a service, or of what stands before the first one."""

    name: str
    mark: Mark
    said: list[tuple[str, Word]] = field(default_factory=list)
    names: list[Word] = field(default_factory=list)  # of `said`, as they are written

    def last(self, name: str) -> Word | None:
        """The value that counts where each one replaces the one before."""
        return next((value for key, value in reversed(self.said) if key == name), None)

    def all(self, name: str) -> list[Word]:
        return [value for key, value in self.said if key == name]

    def truth(self, name: str, usual: bool) -> bool:
        value = self.last(name)
        return usual if value is None else value.text.lower() == "yes"

    def place(self, name: str) -> Mark:
        """Where the name of an option stands, for findings that must not show its value."""
        places = [word.mark for (key, _), word in zip(self.said, self.names, strict=True) if key == name]
        return places[-1] if places else self.mark

    def add(self, name: Word, value: Word) -> None:
        lower = name.text.lower()
        self.said.append((_ALIASES.get(lower, lower), value))
        self.names.append(name)


class Reader:
    """Reads all lines, in order, into `process` and `services`."""

    def __init__(self, place: Mark, diagnostics: Diagnostics) -> None:
        self.process = Options("", place)
        self.services: list[Options] = []
        self.faulty: set[str] = set()  # services with a line that was left out
        self._diagnostics = diagnostics

    def read(self, sources: Sequence[Source]) -> None:
        for source in sources:
            self._source(source, 0)

    def _source(self, source: Source, depth: int) -> None:
        for line in lines(source):
            try:
                self._line(line, depth)
            except Mistake as mistake:
                if self.services:
                    self.faulty.add(self.services[-1].name)
                self._diagnostics.error(mistake.mark, mistake.message, mistake.hint)

    def _line(self, line: RawLine, depth: int) -> None:
        text = line.text.strip(_BLANKS)
        start = line.text.index(text)
        mark = line.mark(start, start + len(text))
        if text.startswith("[") and text.endswith("]"):
            self._begin(text[1:-1], mark)
            return
        name, value = _halves(line, start, mark)
        in_service = bool(self.services)
        lower = name.text.lower()
        if not in_service and lower in GLOBAL.rows:
            table = GLOBAL
        elif lower in SERVICE.rows:
            table = SERVICE
        else:
            raise keywords.unknown(name, in_service)
        if table.wanted(name, value, self._diagnostics) is None:
            return
        if lower == "include":
            self._include(value, depth)
        else:
            (self.services[-1] if in_service else self.process).add(name, value)

    def _begin(self, name: str, mark: Mark) -> None:
        """A service has what was said before the first one, and what follows."""
        common = [
            pair for pair in zip(self.process.said, self.process.names, strict=True) if pair[0][0] in SERVICE.rows
        ]
        self.services.append(Options(name, mark, [said for said, _ in common], [name for _, name in common]))

    def _include(self, folder: Word, depth: int) -> None:
        """All files of a folder, in the order of their names; folders in it are left out."""
        if depth >= _DEEPEST:
            raise Mistake(folder, f"folders include each other more than {_DEEPEST} deep")
        try:
            names = sorted(os.listdir(folder.text), key=os.fsencode)
        except OSError as error:
            hint = "`include` is of a folder" if os.path.isfile(folder.text) else ""
            raise Mistake(folder, f"cannot read {folder.text}: {error.strerror}", hint) from None
        for path in (os.path.join(folder.text, name) for name in names):
            if os.path.isfile(path):
                self._source(_included(folder, path), depth + 1)


def lines(source: Source) -> Iterator[RawLine]:
    """Those that are neither empty nor comments."""
    for number, text in enumerate(source.text.split("\n"), start=1):
        stripped = text.strip(_BLANKS)
        if stripped and stripped[0] not in "#;":
            yield RawLine(source.name, number, text)


def _halves(line: RawLine, start: int, mark: Mark) -> tuple[Word, Word]:
    before, equals, after = line.text[start:].partition("=")
    if not equals:
        raise Mistake(mark, "there is no '=' in this line", "write NAME = VALUE, or [SERVICE]")
    name, value = before.rstrip(_BLANKS), after.strip(_BLANKS)
    at = start + len(before) + 1 + (len(after) - len(after.lstrip(_BLANKS)))
    if not name:
        raise Mistake(mark, "there is nothing before the '='", "write NAME = VALUE")
    return Word(name, line.mark(start, start + len(name))), Word(value, line.mark(at, at + len(value)))


def _included(word: Word, path: str) -> Source:
    try:
        with open(path, "rb") as file:
            raw = file.read(_LARGEST + 1)
    except OSError as error:
        raise Mistake(word, f"cannot read {path}: {error.strerror}") from None
    if len(raw) > _LARGEST:
        raise Mistake(word, f"{path} is larger than {_LARGEST >> 20} MiB", "is it a configuration?")
    try:
        return Source(path, raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise Mistake(word, f"{path} is not UTF-8: byte {error.start + 1}") from None
