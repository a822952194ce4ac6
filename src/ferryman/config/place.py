"""Words that know where they stand, for dialects that are read line by line, and values that do, for the native data.

A dialect's reader cuts lines into `Word`s; what takes them raises `Mistake` at one. The dialect builds a tree of dict,
list and plain values in which any value may be wrapped in `At`; `split` takes the wrappers off and notes their places.
Knows no dialect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ferryman.config.source import Mark, Path


class At(NamedTuple):
    """A value of the tree and its place."""

    value: object
    mark: Mark


@dataclass(frozen=True, slots=True)
class RawLine:
    """A line as it stands in its file; `number` counts from 1."""

    file: str
    number: int
    text: str

    def mark(self, start: int = 0, end: int | None = None) -> Mark:
        """The place of the characters from `start` up to `end` (the end of the line)."""
        stop = len(self.text) if end is None else min(end, len(self.text))
        return Mark(self.file, self.number, start + 1, max(0, stop - start))


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a line, unquoted and expanded, with the place of what was written."""

    text: str
    mark: Mark


class Mistake(Exception):  # noqa: N818 - it never leaves the dialect, and is no failure of the program
    """What is wrong with a line. The reader of the line reports it and goes on with the next."""

    def __init__(self, where: Word | Mark, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.mark = where.mark if isinstance(where, Word) else where
        self.message = message
        self.hint = hint


def span(words: Sequence[Word]) -> Mark:
    """The place from the first word to the last one on the same line."""
    first = words[0].mark
    last = [word.mark for word in words if (word.mark.file, word.mark.line) == (first.file, first.line)][-1]
    return Mark(first.file, first.line, first.column, last.column + last.length - first.column)


def split(tree: object, marks: dict[Path, Mark], path: Path = ()) -> object:
    """The plain data of a tree; the places of its wrapped values are added to `marks`."""
    while isinstance(tree, At):
        marks[path] = tree.mark
        tree = tree.value
    if isinstance(tree, dict):
        return {key: split(value, marks, (*path, key)) for key, value in tree.items()}
    if isinstance(tree, list):
        return [split(value, marks, (*path, index)) for index, value in enumerate(tree)]
    return tree
