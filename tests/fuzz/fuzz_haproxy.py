"""Reading a haproxy.cfg never raises, whatever the text, and every finding stands within it.

Seeds are the golden configurations and the snippets that are held against HAProxy.
"""

from __future__ import annotations

import re
from pathlib import Path

import driver

from ferryman.config.dialects import haproxy
from ferryman.config.source import Diagnostics, Source

TESTS = Path(__file__).parents[1]
SNIPPETS = TESTS / "unit" / "config" / "dialects" / "haproxy" / "snippets.txt"
SEEDS = [file.read_bytes() for file in sorted((TESTS / "golden" / "haproxy").glob("*.*"))]
SEEDS += [part.encode() for part in re.split(r"^===.*\n", SNIPPETS.read_text(), flags=re.MULTILINE)[1:]]


def one(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    lines = text.split("\n")
    diagnostics = Diagnostics()
    source = Source("fuzz.cfg", text)
    assert 0 <= haproxy.recognise(source) <= 100
    document = haproxy.parse([source], diagnostics, {"HOME": "/root", "A": "b c"})
    places = [finding.mark for finding in diagnostics.found]
    for mark in (*places, *document.marks.values()):
        assert mark is not None
        if mark.file == source.name:
            assert 1 <= mark.line <= len(lines)
            assert 1 <= mark.column <= len(lines[mark.line - 1]) + 1
            assert mark.column - 1 + mark.length <= len(lines[mark.line - 1])


if __name__ == "__main__":
    driver.main(one, SEEDS)
