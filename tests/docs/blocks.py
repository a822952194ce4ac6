"""The fenced blocks of the Markdown documentation, with what a comment before them says.

Used by tests/docs. A comment on the line before a block is a mark: `<!-- run -->` for a console block whose commands a
test runs, `<!-- file: NAME -->` for a block that stands for a file in the folder where they run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").rglob("*.md"))]

_BLOCK = re.compile(
    r"(?:^[ ]*<!-- (?P<mark>.*?) -->\n)?^(?P<indent>[ ]*)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$",
    re.M | re.S,
)


@dataclass(frozen=True, slots=True)
class Block:
    page: Path
    line: int
    language: str
    text: str
    mark: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """Every fenced block of a page, in order."""
    content = page.read_text()
    for found in _BLOCK.finditer(content):
        indent = found["indent"]
        text = "".join(line.removeprefix(indent) for line in found["text"].splitlines(keepends=True))
        line = content.count("\n", 0, found.start("text"))
        yield Block(page, line, found["language"], text, found["mark"] or "")


def every_block() -> list[Block]:
    return [block for page in PAGES for block in blocks(page)]
