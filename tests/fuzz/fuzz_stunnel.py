"""Reading a stunnel.conf never raises, whatever the text, and every finding stands within it and shows no password.

Seeds are the golden configurations and the snippets that are held against stunnel.
"""

from __future__ import annotations

import re
from pathlib import Path

import driver

from ferryman.config.dialects import stunnel
from ferryman.config.source import Diagnostics, Source

TESTS = Path(__file__).parents[1]
SNIPPETS = TESTS / "unit" / "config" / "dialects" / "stunnel" / "snippets.txt"
SEEDS = [file.read_bytes().partition(b"-" * 40)[0] for file in sorted((TESTS / "golden" / "stunnel").glob("*.txt"))]
SEEDS += [part.encode() for part in re.split(r"^===.*\n", SNIPPETS.read_text(), flags=re.MULTILINE)[1:]]
SECRET = re.compile(r"^\s*protocolPassword\s*=\s*(\S{6,})\s*$", re.IGNORECASE | re.MULTILINE)


def one(data: bytes) -> None:
    text = data.decode("utf-8", "replace").replace("\0", "0")
    text = re.sub("include", "inclvde", text, flags=re.IGNORECASE)  # no wandering through this machine's files
    lines = text.split("\n")
    diagnostics = Diagnostics()
    source = Source("fuzz.conf", text)
    assert 0 <= stunnel.recognise(source) <= 100
    document = stunnel.parse([source], diagnostics, {})
    places = [finding.mark for finding in diagnostics.found]
    for mark in (*places, *document.marks.values()):
        assert mark is not None
        if mark.file == source.name:
            assert 1 <= mark.line <= len(lines)
            assert 1 <= mark.column <= len(lines[mark.line - 1]) + 1
            assert mark.column - 1 + mark.length <= len(lines[mark.line - 1])
    for secret in SECRET.findall(text):
        if text.count(secret) == 1:
            assert not any(secret in str(finding) for finding in diagnostics.found)


if __name__ == "__main__":
    driver.main(one, SEEDS)
