"""Reading a squid.conf never raises, whatever the text, and every finding stands within it.

Seeds are the golden configurations and the snippets that are held against Squid.
"""

from __future__ import annotations

import re
from pathlib import Path

import driver

from ferryman.config.dialects import squid
from ferryman.config.source import Diagnostics, Source

TESTS = Path(__file__).parents[1]
SNIPPETS = TESTS / "unit" / "config" / "dialects" / "squid" / "snippets.txt"
SEEDS = [file.read_bytes().partition(b"-" * 40)[0] for file in sorted((TESTS / "golden" / "squid").glob("*.txt"))]
SEEDS += [part.encode() for part in re.split(r"^===.*\n", SNIPPETS.read_text(), flags=re.MULTILINE)[1:]]


def one(data: bytes) -> None:
    text = data.decode("utf-8", "replace").replace("include", "inclvde")  # no wandering through this machine's files
    lines = text.split("\n")
    diagnostics = Diagnostics()
    source = Source("fuzz.conf", text)
    assert 0 <= squid.recognise(source) <= 100
    document = squid.parse([source], diagnostics, {})
    places = [finding.mark for finding in diagnostics.found]
    for mark in (*places, *document.marks.values()):
        assert mark is not None
        if mark.file == source.name:
            assert 1 <= mark.line <= len(lines)
            assert 1 <= mark.column <= len(lines[mark.line - 1]) + 1
            assert mark.column - 1 + mark.length <= len(lines[mark.line - 1])


if __name__ == "__main__":
    driver.main(one, SEEDS)
