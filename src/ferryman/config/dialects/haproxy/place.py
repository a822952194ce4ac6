"""Values that know where they stood, while the native data is put together.

The dialect builds a tree of dict, list and plain values in which any value may be wrapped in `At`; `split` takes the
wrappers off and notes their places. Words and mistakes carry places as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ferryman.config.source import Mark, Path


class At(NamedTuple):
    """A value of the tree and its place."""

    value: object
    mark: Mark


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
