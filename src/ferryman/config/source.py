"""Places in configuration text, and what is wrong there.

Every loader and the compiler report through `Diagnostics`, so that one run names every mistake, each with
file, line and column. This module reads no files and decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

OVERRIDES: Final = "--set"
"""Name of the source that stands for values given on the command line, one a line."""

Path = tuple[str | int, ...]
"""Where a value sits in the model: ("listeners", "web", "bind", 0)."""


@dataclass(frozen=True, slots=True)
class Source:
    """One piece of configuration text and the name people know it by (a path, or `<stdin>`)."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A span in a source: line and column count from 1, length in characters (0: only a point)."""

    file: str
    line: int
    column: int
    length: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding. `message` says what is wrong, `hint` what was probably meant or what to do."""

    severity: Literal["error", "warning"]
    mark: Mark | None
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.mark}: " if self.mark else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{where}{self.severity}: {self.message}{hint}"


@dataclass(slots=True)
class Diagnostics:
    """Collects findings in the order of their discovery."""

    found: list[Diagnostic] = field(default_factory=list)

    def error(self, mark: Mark | None, message: str, hint: str = "") -> None:
        self.found.append(Diagnostic("error", mark, message, hint))

    def warning(self, mark: Mark | None, message: str, hint: str = "") -> None:
        self.found.append(Diagnostic("warning", mark, message, hint))

    @property
    def errors(self) -> int:
        return sum(d.severity == "error" for d in self.found)

    @property
    def warnings(self) -> int:
        return sum(d.severity == "warning" for d in self.found)


@dataclass(frozen=True, slots=True)
class Document:
    """What a dialect makes of its text: the native configuration as plain data, and where each value stood.

    `data` is what `model.Configuration` validates (str, int, float, bool, list, dict only);
    `marks` maps a path in `data` to its place. A path without a mark of its own uses its nearest ancestor's.
    `keys` may add where the key of an entry stood, for findings that are about the key.
    """

    dialect: str
    data: dict[str, object]
    marks: dict[Path, Mark] = field(default_factory=dict)
    keys: dict[Path, Mark] = field(default_factory=dict)

    def mark(self, path: Path) -> Mark | None:
        """The place of the value at `path`, or of the nearest thing around it."""
        for end in range(len(path), -1, -1):
            if (mark := self.marks.get(path[:end])) is not None:
                return mark
        return None

    def key(self, path: Path) -> Mark | None:
        """The place of the key at `path`, or of its value, or of the nearest thing around."""
        return self.keys.get(path) or self.mark(path)


@dataclass(frozen=True, slots=True)
class Report:
    """Takes findings by their path in a document and files them under the place of that path."""

    document: Document
    diagnostics: Diagnostics
    files: set[str] = field(default_factory=set)  # that were read because the document names them, and folders

    def error(self, path: Path, message: str, hint: str = "") -> None:
        self.diagnostics.error(self.document.mark(path), message, hint)

    def warning(self, path: Path, message: str, hint: str = "") -> None:
        self.diagnostics.warning(self.document.mark(path), message, hint)

    def where(self, path: Path) -> str:
        """`file:line` of a path, as logs and explanations show it."""
        mark = self.document.mark(path)
        return f"{mark.file}:{mark.line}" if mark else ""
